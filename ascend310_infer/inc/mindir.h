// Validation of a MindIR file before MindSpore Lite parses it.
#ifndef DGN_MINDIR_H_
#define DGN_MINDIR_H_

#include <cstdint>
#include <string>

namespace dgn {

struct MindIr {
  int64_t version = 0;   // mind_ir_version; 0 in files of early MindSpore versions, which lack the field
  std::string producer;  // version of the MindSpore that wrote the file
  int64_t inputs = 0, outputs = 0, nodes = 0;
};

// Parses the Protocol Buffers messages of the file. Checks that each length lies within the enclosing message, that
// known fields have their wire type, that each tensor has as many bytes as its shape and type require, and that there
// is one graph. Throws UserError, naming the file, if a check fails.
MindIr InspectMindIr(const std::string &bytes, const std::string &name);

}  // namespace dgn

#endif  // DGN_MINDIR_H_

// A look at a MindIR file before MindSpore Lite sees it.
#ifndef DGN_MINDIR_H_
#define DGN_MINDIR_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace dgn {

struct MindIr {
  int64_t version = 0;  // mind_ir_version; files of early MindSpore have none
  std::string producer;  // version of the MindSpore that wrote it
  int64_t inputs = 0, outputs = 0, nodes = 0;
};

// Walks through the file's Protocol Buffers messages: every length must fit into what holds it, every known field must be of
// its type, every tensor must have as many bytes as its shape says, and there must be a graph.
// Throws UserError, naming the file, if not.
MindIr InspectMindIr(std::string_view bytes, const std::string &name);

}  // namespace dgn

#endif  // DGN_MINDIR_H_

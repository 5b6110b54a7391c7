// The header of NumPy's .npy files (format versions 1 to 3) of float32 arrays.
#ifndef DGN_NPY_H_
#define DGN_NPY_H_

#include <cstdint>
#include <string>

#include "array.h"

namespace dgn {

struct NpyHeader {
  Shape shape;
  uint64_t offset = 0;  // of the first value in the file
};

// Parses the header of an .npy file of `file_size` bytes; start: its first bytes, 64 KiB at most are needed.
// Throws UserError, naming the file, unless it holds little-endian float32 in C order and has the size that its shape
// requires.
NpyHeader ParseNpyHeader(const std::string &start, uint64_t file_size, const std::string &name);

// The header of an .npy file for an array of this shape.
std::string MakeNpyHeader(const Shape &shape);

}  // namespace dgn

#endif  // DGN_NPY_H_

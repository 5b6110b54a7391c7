// NumPy's .npy files of float32 (format versions 1 to 3), and .bin files of nothing but the numbers.
#ifndef DGN_NPY_H_
#define DGN_NPY_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "array.h"

namespace dgn {

struct NpyHeader {
  Shape shape;
  uint64_t offset = 0;  // of the first number in the file
};

// The header at the `start` of an .npy file of `file_size` bytes; 64 KiB of it are always enough.
// Throws UserError, naming the file, if it is no .npy file of little-endian float32 in rows, or not as long as it says.
NpyHeader ParseNpyHeader(std::string_view start, uint64_t file_size, const std::string &name);

// The header of an .npy file with an array of this shape.
std::string NpyHeaderOf(const Shape &shape);

}  // namespace dgn

#endif  // DGN_NPY_H_

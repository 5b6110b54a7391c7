// Arrays of 32-bit floating point numbers, in rows (the last dimension runs fastest).
#ifndef DGN_ARRAY_H_
#define DGN_ARRAY_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dgn {

using Shape = std::vector<int64_t>;

struct Array {
  Shape shape;
  std::vector<float> values;
};

// The number of elements. Throws UserError, naming `what`, if a dimension is negative or the product does not fit.
uint64_t Count(const Shape &shape, const std::string &what);

// (2, 3), as Python writes it.
std::string Text(const Shape &shape);

// The shape of one sample: all but the first dimension.
Shape Tail(const Shape &shape);

// An array of the shape, filled with 0.
Array Zeros(const Shape &shape);

// Sample `row` of an array whose first dimension counts samples.
Array Row(const Array &array, int64_t row);

// Samples one below the other; all have the same shape. Throws RunFailed if there are none.
Array Stack(const std::vector<Array> &samples);

// Throws RunFailed, naming `what`, if a value is not a number or infinite.
void CheckFinite(const Array &array, const std::string &what);

}  // namespace dgn

#endif  // DGN_ARRAY_H_

// Dense float32 arrays in row-major order.
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

// Number of elements. Throws UserError, naming `what`, for a negative dimension and for a product that overflows.
uint64_t ElementCount(const Shape &shape, const std::string &what);

// The shape as Python prints a tuple: (2, 3).
std::string ShapeText(const Shape &shape);

// The shape of one sample of a batch: all dimensions but the first.
Shape SampleShape(const Shape &shape);

Array Zeros(const Shape &shape);

// Sample `index` of an array (N, ...).
Array SampleAt(const Array &array, int64_t index);

// Samples of equal shape (...) as one array (N, ...). Throws RunFailed if there are none.
Array Stack(const std::vector<Array> &samples);

// Throws RunFailed, naming `what`, if an element is NaN or infinite.
void CheckFinite(const Array &array, const std::string &what);

}  // namespace dgn

#endif  // DGN_ARRAY_H_

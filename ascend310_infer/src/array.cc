#include "array.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace dgn {

uint64_t ElementCount(const Shape &shape, const std::string &what) {
  constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max() >> 8;  // so that a size in bytes fits as well
  uint64_t count = 1;
  for (int64_t dimension : shape) {
    if (dimension < 0) throw UserError(what + ": the shape " + ShapeText(shape) + " has a negative dimension");
    const uint64_t size = static_cast<uint64_t>(dimension);
    if (size != 0 && count > kLargest / size) {
      throw UserError(what + ": the shape " + ShapeText(shape) + " has too many elements for a file");
    }
    count *= size;
  }
  return count;
}

std::string ShapeText(const Shape &shape) {
  std::string text = "(";
  for (size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Shape SampleShape(const Shape &shape) { return shape.empty() ? Shape() : Shape(shape.begin() + 1, shape.end()); }

Array Zeros(const Shape &shape) { return {shape, std::vector<float>(ElementCount(shape, "an array"))}; }

Array SampleAt(const Array &array, int64_t index) {
  const Shape shape = SampleShape(array.shape);
  const auto size = static_cast<std::ptrdiff_t>(ElementCount(shape, "a sample"));
  const auto first = array.values.begin() + index * size;
  return {shape, std::vector<float>(first, first + size)};
}

Array Stack(const std::vector<Array> &samples) {
  if (samples.empty()) throw RunFailed("no samples to stack");
  Array stack{samples.front().shape, {}};
  stack.shape.insert(stack.shape.begin(), static_cast<int64_t>(samples.size()));
  for (const Array &sample : samples) {
    stack.values.insert(stack.values.end(), sample.values.begin(), sample.values.end());
  }
  return stack;
}

void CheckFinite(const Array &array, const std::string &what) {
  const auto bad = std::find_if(array.values.begin(), array.values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != array.values.end()) {
    throw RunFailed(what + ": element " + std::to_string(bad - array.values.begin()) + " is not finite");
  }
}

}  // namespace dgn

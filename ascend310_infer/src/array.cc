#include "array.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"

namespace dgn {

uint64_t Count(const Shape &shape, const std::string &what) {
  uint64_t count = 1;
  for (int64_t dimension : shape) {
    if (dimension < 0) throw UserError(what + ": the shape " + Text(shape) + " has a negative dimension");
    const uint64_t size = static_cast<uint64_t>(dimension);
    if (size != 0 && count > (std::numeric_limits<uint64_t>::max() >> 8) / size) {
      throw UserError(what + ": the shape " + Text(shape) + " has more elements than a file can hold");
    }
    count *= size;
  }
  return count;
}

std::string Text(const Shape &shape) {
  std::string text = "(";
  for (size_t d = 0; d < shape.size(); ++d) text += (d ? ", " : "") + std::to_string(shape[d]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

Shape Tail(const Shape &shape) { return shape.empty() ? Shape() : Shape(shape.begin() + 1, shape.end()); }

Array Zeros(const Shape &shape) { return {shape, std::vector<float>(Count(shape, "an array"))}; }

Array Row(const Array &array, int64_t row) {
  const Shape shape = Tail(array.shape);
  const auto size = static_cast<std::ptrdiff_t>(Count(shape, "a sample"));
  const auto first = array.values.begin() + row * size;
  return {shape, std::vector<float>(first, first + size)};
}

Array Stack(const std::vector<Array> &samples) {
  if (samples.empty()) throw RunFailed("no samples to put together");
  Array stack{samples.front().shape, {}};
  stack.shape.insert(stack.shape.begin(), static_cast<int64_t>(samples.size()));
  for (const Array &sample : samples) stack.values.insert(stack.values.end(), sample.values.begin(), sample.values.end());
  return stack;
}

void CheckFinite(const Array &array, const std::string &what) {
  const auto bad = std::find_if(array.values.begin(), array.values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != array.values.end()) {
    throw RunFailed(what + ": element " + std::to_string(bad - array.values.begin()) + " is not a finite number");
  }
}

}  // namespace dgn

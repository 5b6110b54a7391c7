// What runs a model: arrays in, arrays out. MindSpore Lite is behind it (lite_network.h); tests put other things there.
#ifndef DGN_NETWORK_H_
#define DGN_NETWORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

struct Port {
  std::string name;
  Shape shape;
};

class Network {
 public:
  virtual ~Network() = default;
  virtual const std::vector<Port> &inputs() const = 0;

  // Arrays of the inputs' shapes, in their order -> what the model gives; `milliseconds`: of the device's work alone.
  // Throws RunFailed.
  virtual std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) = 0;
};

}  // namespace dgn

#endif  // DGN_NETWORK_H_

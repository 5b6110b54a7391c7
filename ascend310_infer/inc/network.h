// Interface of a loaded model. LiteNetwork (lite_network.cc) implements it; the tests use a fake.
#ifndef DGN_NETWORK_H_
#define DGN_NETWORK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

struct InputInfo {
  std::string name;
  Shape shape;
};

class Network {
 public:
  virtual ~Network() = default;
  virtual const std::vector<InputInfo> &inputs() const = 0;

  // Runs the model on arrays of the inputs' shapes, in their order, and returns its outputs.
  // milliseconds: time of the computation, without the copies of inputs and outputs. Throws RunFailed.
  virtual std::vector<Array> Run(const std::vector<Array> &inputs, double *milliseconds) = 0;
};

}  // namespace dgn

#endif  // DGN_NETWORK_H_

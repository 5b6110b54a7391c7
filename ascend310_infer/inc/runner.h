// A network with its warm-up, its clock and the checks of what goes in and comes out.
#ifndef DGN_RUNNER_H_
#define DGN_RUNNER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"
#include "network.h"
#include "timing.h"

namespace dgn {

class Runner {
 public:
  // warmup: so many times the first call is made before it counts.
  Runner(Network *network, int64_t warmup) : network_(network), warmup_(warmup) {}

  const std::vector<Port> &inputs() const { return network_->inputs(); }

  // Throws RunFailed if the shapes are not those of the inputs, or a result is no finite number.
  std::vector<Array> Run(const std::vector<Array> &inputs);

  const Timing &timing() const { return timing_; }

 private:
  Network *network_;
  int64_t warmup_;
  Timing timing_;
};

// A decoder: latents of each group -> image, appearance, displacement; of a plain model the image alone.
class Decoder {
 public:
  // Throws UserError if the network is none.
  explicit Decoder(Runner *runner);

  const std::vector<std::string> &groups() const { return groups_; }  // z_app and z_geo, or z
  Shape latent_shape(size_t group) const { return Tail(runner_->inputs()[group].shape); }
  int64_t batch() const { return runner_->inputs().front().shape.front(); }

  // At most `batch` samples, latents of each group -> each sample's parts; a smaller batch is filled up for the call.
  std::vector<std::vector<Array>> Decode(const std::vector<std::vector<Array>> &latents);

 private:
  Runner *runner_;
  std::vector<std::string> groups_;
};

// Latents' names by the number of groups. Throws UserError, saying what the file might be, if there are not 1 or 2.
std::vector<std::string> GroupNames(size_t count, const std::string &what);

// The samples as an array of `batch` of them, the first repeated where they are fewer.
Array Filled(std::vector<Array> samples, int64_t batch);

}  // namespace dgn

#endif  // DGN_RUNNER_H_

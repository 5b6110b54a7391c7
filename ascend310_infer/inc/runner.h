// Runs a network with warm-up calls, timing and checks of its inputs and outputs.
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
  // warmup: number of additional, untimed runs of the first call.
  Runner(Network *network, int64_t warmup) : network_(network), warmup_(warmup) {}

  const std::vector<InputInfo> &inputs() const { return network_->inputs(); }

  // Throws RunFailed if the shapes differ from those of the inputs, or if an output is not finite.
  std::vector<Array> Run(const std::vector<Array> &inputs);

  const Timing &timing() const { return timing_; }

 private:
  Network *network_;
  int64_t warmup_;
  Timing timing_;
};

// A decoder: latents of each group -> image, appearance, displacement; a model with one group outputs the image only.
class Decoder {
 public:
  // Throws UserError if the inputs are not those of a decoder.
  explicit Decoder(Runner *runner);

  const std::vector<std::string> &groups() const { return groups_; }  // z_app and z_geo, or z
  Shape latent_shape(size_t group) const { return SampleShape(runner_->inputs()[group].shape); }
  int64_t batch() const { return runner_->inputs().front().shape.front(); }

  // latents: for each group those of at most `batch` samples. Returns the outputs of each sample.
  std::vector<std::vector<Array>> Decode(const std::vector<std::vector<Array>> &latents);

 private:
  Runner *runner_;
  std::vector<std::string> groups_;
};

// Names of the `count` latent groups that are the `ends` (inputs, outputs) of a network. Throws UserError if there are
// not 1 or 2.
std::vector<std::string> GroupNames(size_t count, const std::string &network, const std::string &ends);

// The samples as an array (batch, ...), padded by copies of the first one.
Array PadBatch(std::vector<Array> samples, int64_t batch);

}  // namespace dgn

#endif  // DGN_RUNNER_H_

#include "runner.h"

#include "error.h"

namespace dgn {

std::vector<Array> Runner::Run(const std::vector<Array> &inputs) {
  const std::vector<Port> &ports = network_->inputs();
  if (inputs.size() != ports.size()) {
    throw RunFailed(std::to_string(inputs.size()) + " arrays for a network of " + std::to_string(ports.size()) + " inputs");
  }
  for (size_t k = 0; k < ports.size(); ++k) {
    if (inputs[k].shape != ports[k].shape) {
      throw RunFailed("input " + ports[k].name + " has the shape " + Text(ports[k].shape) + ", and it was given " + Text(inputs[k].shape));
    }
  }
  double milliseconds = 0;
  for (; warmup_ > 0; --warmup_) {
    network_->Run(inputs, &milliseconds);
    timing_.AddWarmup(milliseconds);
  }
  std::vector<Array> outputs = network_->Run(inputs, &milliseconds);
  timing_.Add(milliseconds);
  for (size_t k = 0; k < outputs.size(); ++k) CheckFinite(outputs[k], "output " + std::to_string(k) + " of the network");
  return outputs;
}

Decoder::Decoder(Runner *runner) : runner_(runner) {
  const std::vector<Port> &ports = runner->inputs();
  groups_ = GroupNames(ports.size(), "the decoder");
  for (const Port &port : ports) {
    if (port.shape.size() != 2 || port.shape[0] < 1 || port.shape[0] != ports[0].shape[0] || port.shape[1] < 1) {
      throw UserError("the network is not a decoder: its input " + port.name + " has the shape " + Text(port.shape) +
                      ", and latents have (samples, dimensions)");
    }
  }
}

std::vector<std::vector<Array>> Decoder::Decode(const std::vector<std::vector<Array>> &latents) {
  std::vector<Array> inputs;
  for (const std::vector<Array> &group : latents) inputs.push_back(Filled(group, batch()));
  const std::vector<Array> outputs = runner_->Run(inputs);
  if (outputs.size() != (groups_.size() == 2 ? 3 : 1)) {
    throw RunFailed("the decoder gives " + std::to_string(outputs.size()) + " arrays; " + (groups_.size() == 2 ? "image, appearance, displacement" : "an image") +
                    " were expected");
  }
  for (const Array &output : outputs) {
    if (output.shape.size() < 4 || output.shape[0] != batch()) throw RunFailed("the decoder gives an array of the shape " + Text(output.shape));
  }
  std::vector<std::vector<Array>> samples;
  for (size_t row = 0; row < latents.front().size(); ++row) {
    std::vector<Array> parts;
    for (const Array &output : outputs) parts.push_back(Row(output, static_cast<int64_t>(row)));
    samples.push_back(parts);
  }
  return samples;
}

std::vector<std::string> GroupNames(size_t count, const std::string &what) {
  if (count == 1) return {"z"};
  if (count == 2) return {"z_app", "z_geo"};
  throw UserError(what + " should take latents of one or two groups, and this file takes " + std::to_string(count) +
                  "; decoder.mindir is for reconstruct, traverse and recombine, inference_lite.mindir for infer");
}

Array Filled(std::vector<Array> samples, int64_t batch) {
  while (static_cast<int64_t>(samples.size()) < batch) samples.push_back(Array(samples.at(0)));
  return Stack(samples);
}

}  // namespace dgn

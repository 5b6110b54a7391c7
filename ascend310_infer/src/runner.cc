#include "runner.h"

#include "error.h"

namespace dgn {

std::vector<Array> Runner::Run(const std::vector<Array> &inputs) {
  const std::vector<InputInfo> &expected = network_->inputs();
  if (inputs.size() != expected.size()) {
    throw RunFailed(std::to_string(inputs.size()) + " arrays for a network with " + std::to_string(expected.size()) +
                    " inputs");
  }
  for (size_t k = 0; k < expected.size(); ++k) {
    if (inputs[k].shape != expected[k].shape) {
      throw RunFailed("input " + expected[k].name + " has the shape " + ShapeText(expected[k].shape) + "; got " +
                      ShapeText(inputs[k].shape));
    }
  }
  double milliseconds = 0;
  for (; warmup_ > 0; --warmup_) {
    network_->Run(inputs, &milliseconds);
    timing_.AddWarmup(milliseconds);
  }
  std::vector<Array> outputs = network_->Run(inputs, &milliseconds);
  timing_.Add(milliseconds);
  for (size_t k = 0; k < outputs.size(); ++k)
    CheckFinite(outputs[k], "output " + std::to_string(k) + " of the network");
  return outputs;
}

Decoder::Decoder(Runner *runner) : runner_(runner) {
  const std::vector<InputInfo> &inputs = runner->inputs();
  groups_ = GroupNames(inputs.size(), "the decoder", "inputs");
  for (const InputInfo &input : inputs) {
    const Shape &shape = input.shape;
    if (shape.size() != 2 || shape[0] < 1 || shape[0] != inputs[0].shape[0] || shape[1] < 1) {
      throw UserError("the network is not a decoder: its input " + input.name + " has the shape " + ShapeText(shape) +
                      " instead of (samples, dimensions)");
    }
  }
}

std::vector<std::vector<Array>> Decoder::Decode(const std::vector<std::vector<Array>> &latents) {
  std::vector<Array> inputs;
  for (const std::vector<Array> &group : latents) inputs.push_back(PadBatch(group, batch()));
  const std::vector<Array> outputs = runner_->Run(inputs);
  const bool deformable = groups_.size() == 2;
  if (outputs.size() != (deformable ? 3 : 1)) {
    throw RunFailed("the decoder has " + std::to_string(outputs.size()) + " outputs instead of " +
                    (deformable ? "image, appearance, displacement" : "an image"));
  }
  for (const Array &output : outputs) {
    if (output.shape.size() < 4 || output.shape[0] != batch()) {
      throw RunFailed("an output of the decoder has the shape " + ShapeText(output.shape));
    }
  }
  std::vector<std::vector<Array>> samples(latents.front().size());
  for (size_t k = 0; k < samples.size(); ++k) {
    for (const Array &output : outputs) samples[k].push_back(SampleAt(output, static_cast<int64_t>(k)));
  }
  return samples;
}

std::vector<std::string> GroupNames(size_t count, const std::string &network, const std::string &ends) {
  if (count == 1) return {"z"};
  if (count == 2) return {"z_app", "z_geo"};
  throw UserError(network + " should have latents of 1 or 2 groups as " + ends + "; this file has " +
                  std::to_string(count) + " " + ends +
                  " (decoder.mindir is for reconstruct, traverse and recombine, inference_lite.mindir for infer, "
                  "encoder.mindir for encode)");
}

Array PadBatch(std::vector<Array> samples, int64_t batch) {
  while (static_cast<int64_t>(samples.size()) < batch) samples.push_back(Array(samples.at(0)));
  return Stack(samples);
}

}  // namespace dgn

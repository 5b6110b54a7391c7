// Latents of images, by the exported Langevin steps.
#include <algorithm>
#include <cstdio>

#include "error.h"
#include "files.h"
#include "jobs.h"
#include "noise.h"
#include "samples.h"

namespace dgn {
namespace {

// The inputs of inference_lite.mindir: images, latents of each group, noise (steps, samples, dimensions) of each group that moves.
struct Inputs {
  std::vector<std::string> groups;
  size_t given = 0;  // so many of them, the first, are not inferred (labels) and have no noise
  Shape image;
  std::vector<Shape> latents;
  int64_t batch = 0, steps = 0;

  explicit Inputs(const std::vector<Port> &ports) {
    const std::string not_it = "the network does not infer latents (inference_lite.mindir does): ";
    if (ports.size() < 3 || ports.size() > 5) throw UserError(not_it + "it has " + std::to_string(ports.size()) + " inputs, and 3 to 5 are needed");
    groups = GroupNames(ports.size() / 2, "the inference");
    given = 1 + 2 * groups.size() - ports.size();
    image = Tail(ports[0].shape);
    if (image.size() != 3 || ports[0].shape[0] < 1) throw UserError(not_it + "its first input has the shape " + Text(ports[0].shape));
    batch = ports[0].shape[0];
    const Shape &first_noise = ports.back().shape;
    steps = first_noise.empty() ? 0 : first_noise[0];
    for (size_t g = 0; g < groups.size(); ++g) {
      const Shape &z = ports[1 + g].shape;
      if (z.size() != 2 || z[0] != batch) throw UserError(not_it + "latents of the shape " + Text(z) + " with images of the shape " + Text(ports[0].shape));
      latents.push_back(Tail(z));
      if (g < given) continue;
      const Shape &noise = ports[1 + groups.size() + g - given].shape;
      if (steps < 1 || noise != Shape{steps, batch, z[1]}) {
        throw UserError(not_it + "latents of the shape " + Text(z) + " with noise of the shape " + Text(noise));
      }
    }
  }
};

void CheckRange(const Array &image, const std::string &name) {
  const auto [low, high] = std::minmax_element(image.values.begin(), image.values.end());
  if (*low < -0.01f || *high > 1.01f) {
    throw UserError("image " + name + " has values from " + std::to_string(*low) + " to " + std::to_string(*high) + "; they must be in [0, 1]");
  }
}

int64_t Calls(int64_t steps, int64_t of_a_call) { return (steps + of_a_call - 1) / of_a_call; }

// The noise of group g for a call, (steps, samples, dimensions): of `count` samples from `first` on; 0 for those that fill up the batch.
Array CallNoise(const Inputs &inputs, size_t g, int64_t seed, int64_t first, int64_t count, int64_t call) {
  const int64_t size = inputs.latents[g][0];
  Array noise = Zeros({inputs.steps, inputs.batch, size});
  for (int64_t k = 0; k < count; ++k) {
    const std::vector<float> own = Noise(seed, first + k, call, static_cast<int64_t>(g), static_cast<size_t>(inputs.steps * size));
    for (int64_t step = 0; step < inputs.steps; ++step) {
      std::copy_n(own.begin() + step * size, size, noise.values.begin() + (step * inputs.batch + k) * size);
    }
  }
  return noise;
}

// Latents to begin with, a set for each group; none where all begin at 0.
std::vector<Samples> OpenStart(const Arguments &arguments, const Inputs &inputs, const Samples &images) {
  std::vector<Samples> start;
  if (arguments.start_path.empty()) {
    if (inputs.given == 0) return start;
    throw UserError("this model does not infer " + inputs.groups.front() + ", the label of an image: give it by --start_path, with 0 for " +
                    inputs.groups.back());
  }
  for (size_t g = 0; g < inputs.groups.size(); ++g) {
    start.emplace_back(arguments.start_path + "/" + inputs.groups[g], inputs.latents[g], arguments.limit);
    CheckSameNames(images, start.back());
  }
  return start;
}

}  // namespace

void Infer(const Arguments &arguments, Runner *runner) {
  const Inputs inputs(runner->inputs());
  const Samples images(arguments.input_path, inputs.image, arguments.limit);
  const std::vector<Samples> start = OpenStart(arguments, inputs, images);
  const int64_t noisy = Calls(arguments.steps, inputs.steps), calls = noisy + Calls(arguments.settle, inputs.steps);
  for (const std::string &group : inputs.groups) MakeFolder(arguments.output_path + "/" + group);

  for (int64_t first = 0; first < images.size(); first += inputs.batch) {
    const int64_t here = std::min(inputs.batch, images.size() - first);
    std::vector<Array> batch;
    for (int64_t k = 0; k < here; ++k) {
      batch.push_back(images.Read(first + k));
      CheckRange(batch.back(), images.name(first + k));
    }
    std::vector<Array> state{Filled(batch, inputs.batch)};
    for (size_t g = 0; g < inputs.groups.size(); ++g) {
      std::vector<Array> begun;
      for (int64_t k = 0; k < here; ++k) begun.push_back(start.empty() ? Zeros(inputs.latents[g]) : start[g].Read(first + k));
      state.push_back(Filled(begun, inputs.batch));
    }
    for (int64_t call = 0; call < calls; ++call) {
      std::vector<Array> sent = state;
      for (size_t g = inputs.given; g < inputs.groups.size(); ++g) {
        sent.push_back(CallNoise(inputs, g, arguments.seed, first, call < noisy ? here : 0, call));
      }
      const std::vector<Array> moved = runner->Run(sent);
      for (size_t g = 0; g < inputs.groups.size(); ++g) {
        if (moved.size() != inputs.groups.size() || moved[g].shape != state[1 + g].shape) {
          throw RunFailed("the inference does not give latents of the shapes that it takes");
        }
        state[1 + g] = moved[g];
      }
    }
    for (size_t g = 0; g < inputs.groups.size(); ++g) {
      for (int64_t k = 0; k < here; ++k) {
        WriteArray(arguments.output_path + "/" + inputs.groups[g] + "/" + images.name(first + k), Row(state[1 + g], k), arguments.format == "npy");
      }
    }
  }
  std::printf("latents of %lld images after %lld steps, %lld of them with noise; written to %s\n", static_cast<long long>(images.size()),
              static_cast<long long>(calls * inputs.steps), static_cast<long long>(noisy * inputs.steps), arguments.output_path.c_str());
}

}  // namespace dgn

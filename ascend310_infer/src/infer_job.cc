// The jobs infer and encode: latents of images by the exported Langevin steps, or by the exported encoder.
#include <algorithm>
#include <cstdio>

#include "error.h"
#include "files.h"
#include "jobs.h"
#include "noise.h"
#include "samples.h"

namespace dgn {
namespace {

// Layout of the inputs of inference_lite.mindir: images (N, C, H, W), latents (N, d) of each group, and noise (steps,
// N, d) of each group that is inferred.
struct InputLayout {
  std::vector<std::string> groups;
  size_t given = 0;  // number of leading groups that are not inferred (labels) and have no noise
  Shape image;
  std::vector<Shape> latents;
  int64_t batch = 0, steps = 0;

  explicit InputLayout(const std::vector<InputInfo> &inputs) {
    if (inputs.size() < 3 || inputs.size() > 5)
      Fail("it has " + std::to_string(inputs.size()) + " inputs instead of 3 to 5");
    groups = GroupNames(inputs.size() / 2, "the inference", "inputs");
    given = 1 + 2 * groups.size() - inputs.size();
    image = SampleShape(inputs[0].shape);
    if (image.size() != 3 || inputs[0].shape[0] < 1)
      Fail("its first input has the shape " + ShapeText(inputs[0].shape));
    batch = inputs[0].shape[0];
    const Shape &last_noise = inputs.back().shape;
    steps = last_noise.empty() ? 0 : last_noise[0];
    for (size_t g = 0; g < groups.size(); ++g) {
      const Shape &z = inputs[1 + g].shape;
      const std::string found = "latents of the shape " + ShapeText(z) + " with ";
      if (z.size() != 2 || z[0] != batch) Fail(found + "images of the shape " + ShapeText(inputs[0].shape));
      latents.push_back(SampleShape(z));
      if (g < given) continue;
      const Shape &noise = inputs[1 + groups.size() + g - given].shape;
      if (steps < 1 || noise != Shape{steps, batch, z[1]}) Fail(found + "noise of the shape " + ShapeText(noise));
    }
  }

 private:
  [[noreturn]] static void Fail(const std::string &reason) {
    throw UserError("the network is not an inference network (use inference_lite.mindir): " + reason);
  }
};

void CheckRange(const Array &image, const std::string &name) {
  const auto range = std::minmax_element(image.values.begin(), image.values.end());
  if (*range.first < -0.01f || *range.second > 1.01f) {
    throw UserError("image " + name + " has values from " + std::to_string(*range.first) + " to " +
                    std::to_string(*range.second) + "; they must be in [0, 1]");
  }
}

// Number of calls for at least `steps` steps.
int64_t CallCount(int64_t steps, int64_t steps_per_call) { return (steps + steps_per_call - 1) / steps_per_call; }

// Noise (steps, N, d) of group g for one call, of `count` samples from index `first`; 0 for the padding of the batch.
Array CallNoise(const InputLayout &layout, size_t g, int64_t seed, int64_t first, int64_t count, int64_t call) {
  const int64_t size = layout.latents[g][0];
  Array noise = Zeros({layout.steps, layout.batch, size});
  for (int64_t k = 0; k < count; ++k) {
    const std::vector<float> values =
        Noise(seed, first + k, call, static_cast<int64_t>(g), static_cast<size_t>(layout.steps * size));
    for (int64_t step = 0; step < layout.steps; ++step) {
      std::copy_n(values.begin() + step * size, size, noise.values.begin() + (step * layout.batch + k) * size);
    }
  }
  return noise;
}

// Initial latents of --start_path, for each group, with the names of the images; empty: all start at 0.
std::vector<Samples> OpenStart(const Arguments &arguments, const InputLayout &layout, const Samples &images) {
  std::vector<Samples> start;
  if (arguments.start_path.empty()) {
    if (layout.given == 0) return start;
    throw UserError("this model does not infer " + layout.groups.front() +
                    ", the label of an image: provide it by --start_path, " + "with 0 for " + layout.groups.back());
  }
  for (size_t g = 0; g < layout.groups.size(); ++g) {
    start.emplace_back(arguments.start_path + "/" + layout.groups[g], layout.latents[g], 0);
    CheckSameNames(images, start.back());
  }
  return start;
}

// `count` images from index `first`, padded to `batch`.
Array ReadImages(const Samples &images, int64_t first, int64_t count, int64_t batch) {
  std::vector<Array> read;
  for (int64_t k = 0; k < count; ++k) {
    read.push_back(images.Read(first + k));
    CheckRange(read.back(), images.name(first + k));
  }
  return PadBatch(read, batch);
}

// Writes the first `count` latents of each group, those of the images from index `first`.
void WriteLatents(const Arguments &arguments, const std::vector<std::string> &groups, const Array *latents,
                  const Samples &images, int64_t first, int64_t count) {
  for (size_t g = 0; g < groups.size(); ++g) {
    for (int64_t k = 0; k < count; ++k) {
      const std::string path = arguments.output_path + "/" + groups[g] + "/" + images.name(first + k);
      WriteArray(path, SampleAt(latents[g], k), arguments.format == "npy");
    }
  }
}

// The images of one batch and their initial latents: the first inputs of a call.
std::vector<Array> InitialState(const InputLayout &layout, const Samples &images, const std::vector<Samples> &start,
                                int64_t first, int64_t count) {
  std::vector<Array> state{ReadImages(images, first, count, layout.batch)};
  for (size_t g = 0; g < layout.groups.size(); ++g) {
    std::vector<Array> latents;
    for (int64_t k = 0; k < count; ++k) {
      const std::string name = images.name(first + k);
      latents.push_back(start.empty() ? Zeros(layout.latents[g]) : start[g].Read(start[g].Find(name)));
    }
    state.push_back(PadBatch(latents, layout.batch));
  }
  return state;
}

}  // namespace

void Infer(const Arguments &arguments, Runner *runner) {
  const InputLayout layout(runner->inputs());
  const Samples images(arguments.input_path, layout.image, arguments.limit);
  const std::vector<Samples> start = OpenStart(arguments, layout, images);
  const int64_t noisy = CallCount(arguments.steps, layout.steps);
  const int64_t calls = noisy + CallCount(arguments.descent_steps, layout.steps);
  for (const std::string &group : layout.groups) MakeFolder(arguments.output_path + "/" + group);

  for (int64_t first = 0; first < images.size(); first += layout.batch) {
    const int64_t count = std::min(layout.batch, images.size() - first);
    std::vector<Array> state = InitialState(layout, images, start, first, count);
    for (int64_t call = 0; call < calls; ++call) {
      std::vector<Array> inputs = state;
      for (size_t g = layout.given; g < layout.groups.size(); ++g) {
        inputs.push_back(CallNoise(layout, g, arguments.seed, first, call < noisy ? count : 0, call));
      }
      const std::vector<Array> latents = runner->Run(inputs);
      for (size_t g = 0; g < layout.groups.size(); ++g) {
        if (latents.size() != layout.groups.size() || latents[g].shape != state[1 + g].shape) {
          throw RunFailed("the outputs of the inference network do not have the shapes of its latent inputs");
        }
        state[1 + g] = latents[g];
      }
    }
    WriteLatents(arguments, layout.groups, &state[1], images, first, count);
  }
  std::printf("latents of %lld images after %lld steps, %lld of them with noise; written to %s\n",
              static_cast<long long>(images.size()), static_cast<long long>(calls * layout.steps),
              static_cast<long long>(noisy * layout.steps), arguments.output_path.c_str());
}

void Encode(const Arguments &arguments, Runner *runner) {
  const std::vector<InputInfo> &inputs = runner->inputs();
  if (inputs.size() != 1 || inputs[0].shape.size() != 4 || inputs[0].shape[0] < 1) {
    throw UserError("the network is not an encoder (use encoder.mindir): its only input must be images, but it has " +
                    std::to_string(inputs.size()) + " inputs, the first of the shape " + ShapeText(inputs[0].shape));
  }
  const Samples images(arguments.input_path, SampleShape(inputs[0].shape), arguments.limit);
  const int64_t batch = inputs[0].shape[0];
  MakeFolder(arguments.output_path);
  for (int64_t first = 0; first < images.size(); first += batch) {
    const int64_t count = std::min(batch, images.size() - first);
    const std::vector<Array> latents = runner->Run({ReadImages(images, first, count, batch)});
    const std::vector<std::string> groups = GroupNames(latents.size(), "the encoder", "outputs");
    for (const Array &z : latents) {
      if (z.shape.size() != 2 || z.shape[0] != batch) throw RunFailed("an output of the encoder is not latents");
    }
    for (const std::string &group : groups) MakeFolder(arguments.output_path + "/" + group);
    WriteLatents(arguments, groups, latents.data(), images, first, count);
  }
  std::printf("latents of %lld images by the encoder; written to %s\n", static_cast<long long>(images.size()),
              arguments.output_path.c_str());
}

}  // namespace dgn

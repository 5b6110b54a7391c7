// The jobs that run the decoder: reconstruct, traverse, recombine.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <set>

#include "error.h"
#include "files.h"
#include "jobs.h"
#include "picture.h"
#include "samples.h"

namespace dgn {
namespace {

using Latents = std::vector<Array>;  // of one sample: one array per group
using Outputs = std::vector<Array>;  // of one sample: image, appearance, displacement; or image

constexpr int64_t kMaxSheetSide = 16384;     // pixels
constexpr int64_t kMaxSheetPictures = 4096;  // of a recombination, which are held in memory

// Decodes `count` samples batch by batch. latents_of(k) returns the latents of sample k; use(k, outputs) receives its
// outputs.
template <typename LatentsOf, typename Use>
void DecodeAll(Decoder *decoder, int64_t count, LatentsOf latents_of, Use use) {
  for (int64_t first = 0; first < count; first += decoder->batch()) {
    const int64_t size = std::min(decoder->batch(), count - first);
    std::vector<std::vector<Array>> groups(decoder->groups().size());
    for (int64_t k = 0; k < size; ++k) {
      const Latents latents = latents_of(first + k);
      for (size_t g = 0; g < groups.size(); ++g) groups[g].push_back(latents[g]);
    }
    const auto samples = decoder->Decode(groups);
    for (int64_t k = 0; k < size; ++k) use(first + k, samples[static_cast<size_t>(k)]);
  }
}

// Writes each sample's outputs as array files, and image and appearance as PNG files too.
class OutputWriter {
 public:
  OutputWriter(const Arguments &arguments, const Decoder &decoder)
      : folder_(arguments.output_path), npy_(arguments.format == "npy") {
    names_ = {"image"};
    if (decoder.groups().size() == 2) names_.insert(names_.end(), {"appearance", "displacement"});
    for (const std::string &name : names_) MakeFolder(folder_ + "/" + name);
  }

  void Write(const std::string &sample, const Outputs &outputs) const {
    for (size_t k = 0; k < outputs.size(); ++k) {
      const std::string path = folder_ + "/" + names_[k] + "/" + sample;
      WriteArray(path, outputs[k], npy_);
      if (k < 2) WritePng(path + ".png", MakePicture(outputs[k]));
    }
  }

 private:
  std::string folder_;
  bool npy_;
  std::vector<std::string> names_;
};

// Writes a grid of pictures as one PNG file, unless it would exceed kMaxSheetSide.
void WriteSheet(const std::string &path, const std::vector<std::vector<Picture>> &rows) {
  const Picture &first = rows.front().front();
  const auto columns = static_cast<int64_t>(rows.front().size()), lines = static_cast<int64_t>(rows.size());
  if (columns * (first.width + 3) > kMaxSheetSide || lines * (first.height + 3) > kMaxSheetSide) {
    std::printf("%s not written: a grid of %lld x %lld pictures is too large\n", path.c_str(),
                static_cast<long long>(lines), static_cast<long long>(columns));
    return;
  }
  WritePng(path, Tile(rows));
  std::printf("picture           %s\n", path.c_str());
}

Picture FirstFrame(const Outputs &outputs) { return MakePicture(outputs.front(), 1); }

// The latents of --input_path: for each group its samples.
std::vector<Samples> OpenLatents(const Arguments &arguments, const Decoder &decoder) {
  std::vector<Samples> opened;
  for (size_t g = 0; g < decoder.groups().size(); ++g) {
    const std::string folder = arguments.input_path + "/" + decoder.groups()[g];
    opened.emplace_back(folder, decoder.latent_shape(g), arguments.limit);
  }
  if (opened.size() == 2) CheckSameNames(opened[0], opened[1]);
  return opened;
}

Latents ReadLatents(const std::vector<Samples> &opened, int64_t index) {
  Latents latents;
  for (const Samples &group : opened) latents.push_back(group.Read(index));
  return latents;
}

// The latents `base` with group `group` replaced by zeros and `value` in one dimension.
Latents WithDimension(const Latents &base, size_t group, int64_t dimension, double value) {
  Latents latents = base;
  latents[group] = Zeros(base[group].shape);
  latents[group].values[static_cast<size_t>(dimension)] = static_cast<float>(value);
  return latents;
}

// Dimensions of a group in decreasing order of their effect: the root mean square difference of the images at -gamma
// and gamma.
std::vector<int64_t> RankDimensions(Decoder *decoder, const Latents &base, size_t group, double gamma) {
  const int64_t size = base[group].shape[0];
  std::vector<double> effect(static_cast<size_t>(size));
  Array low;
  DecodeAll(
      decoder, 2 * size, [&](int64_t k) { return WithDimension(base, group, k / 2, k % 2 ? gamma : -gamma); },
      [&](int64_t k, const Outputs &outputs) {
        if (k % 2 == 0) {
          low = outputs.front();
          return;
        }
        double sum = 0;
        for (size_t p = 0; p < low.values.size(); ++p) {
          sum += std::pow(static_cast<double>(outputs.front().values[p]) - low.values[p], 2);
        }
        effect[static_cast<size_t>(k / 2)] = std::sqrt(sum / static_cast<double>(low.values.size()));
      });
  std::vector<int64_t> order(effect.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&effect](int64_t a, int64_t b) {
    return effect[static_cast<size_t>(a)] > effect[static_cast<size_t>(b)];
  });
  return order;
}

// Index of --group among the decoder's groups. Throws UserError if the model has no such group.
size_t FindGroup(const Arguments &arguments, const Decoder &decoder) {
  const std::vector<std::string> &groups = decoder.groups();
  const auto found = std::find(groups.begin(), groups.end(), arguments.group);
  if (found == groups.end()) {
    throw UserError("--group is " + arguments.group + "; this model has " + groups.front() +
                    (groups.size() == 2 ? " and " + groups.back() : ""));
  }
  return static_cast<size_t>(found - groups.begin());
}

// --dimensions, or the --rows dimensions with the largest effect.
std::vector<int64_t> ChooseDimensions(const Arguments &arguments, Decoder *decoder, const Latents &base, size_t group) {
  const int64_t size = base[group].shape[0];
  for (const int64_t dimension : arguments.dimensions) {
    if (dimension >= size) {
      throw UserError("--dimensions contains " + std::to_string(dimension) + "; " + arguments.group + " has 0 to " +
                      std::to_string(size - 1));
    }
  }
  if (!arguments.dimensions.empty()) return arguments.dimensions;
  std::vector<int64_t> dimensions = RankDimensions(decoder, base, group, arguments.gamma);
  dimensions.resize(static_cast<size_t>(std::min(arguments.rows, size)));
  return dimensions;
}

}  // namespace

void Reconstruct(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  const std::vector<Samples> latents = OpenLatents(arguments, decoder);
  const OutputWriter writer(arguments, decoder);
  const int64_t count = latents.front().size();
  DecodeAll(
      &decoder, count, [&latents](int64_t k) { return ReadLatents(latents, k); },
      [&](int64_t k, const Outputs &outputs) { writer.Write(latents.front().name(k), outputs); });
  std::printf("%lld samples decoded; written to %s\n", static_cast<long long>(count), arguments.output_path.c_str());
}

void Traverse(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  const size_t group = FindGroup(arguments, decoder);
  Latents base;
  for (size_t g = 0; g < decoder.groups().size(); ++g) base.push_back(Zeros(decoder.latent_shape(g)));
  if (!arguments.input_path.empty()) base = ReadLatents(OpenLatents(arguments, decoder), 0);

  const std::vector<int64_t> dimensions = ChooseDimensions(arguments, &decoder, base, group);
  const int64_t positions = arguments.positions;
  std::vector<std::vector<Picture>> rows(dimensions.size());
  std::vector<Array> images;
  DecodeAll(
      &decoder, static_cast<int64_t>(dimensions.size()) * positions,
      [&](int64_t k) {
        const double step = 2 * arguments.gamma / static_cast<double>(positions - 1);
        const double value = -arguments.gamma + static_cast<double>(k % positions) * step;
        return WithDimension(base, group, dimensions[static_cast<size_t>(k / positions)], value);
      },
      [&](int64_t k, const Outputs &outputs) {
        rows[static_cast<size_t>(k / positions)].push_back(FirstFrame(outputs));
        images.push_back(outputs.front());
      });
  MakeFolder(arguments.output_path);
  Array traversal = Stack(images);  // (dimensions * positions, ...) -> (dimensions, positions, ...)
  traversal.shape[0] = positions;
  traversal.shape.insert(traversal.shape.begin(), static_cast<int64_t>(dimensions.size()));
  WriteArray(arguments.output_path + "/traversal", traversal, arguments.format == "npy");
  std::string list;
  for (const int64_t dimension : dimensions) list += (list.empty() ? "" : " ") + std::to_string(dimension);
  WriteFile(arguments.output_path + "/dimensions.txt", list + "\n");
  std::printf("dimensions of %s, one per row: %s\n", arguments.group.c_str(), list.c_str());
  WriteSheet(arguments.output_path + "/traversal.png", rows);
}

void Recombine(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  if (decoder.groups().size() != 2) {
    throw UserError("recombine needs a model with appearance and geometry latents; this model has one group");
  }
  const Samples appearance(arguments.input_path + "/z_app", decoder.latent_shape(0), arguments.limit);
  const Samples geometry(arguments.second_path + "/z_geo", decoder.latent_shape(1), arguments.limit);
  const bool aligned = arguments.pairs == "aligned";
  if (aligned && appearance.size() != geometry.size()) {
    throw UserError("--pairs aligned needs sets of equal size; they have " + std::to_string(appearance.size()) +
                    " and " + std::to_string(geometry.size()) + " samples");
  }
  const int64_t columns = aligned ? 1 : geometry.size(), count = appearance.size() * columns;
  const auto geometry_of = [=](int64_t k) { return aligned ? k : k % columns; };
  const auto name_of = [&](int64_t k) { return appearance.name(k / columns) + "__" + geometry.name(geometry_of(k)); };
  std::set<std::string> names;
  for (int64_t k = 0; k < count; ++k) {
    if (!names.insert(name_of(k)).second) {
      throw UserError("two pairs of samples would both be written as " + name_of(k) + "; rename one of the samples");
    }
  }
  const OutputWriter writer(arguments, decoder);
  std::vector<std::vector<Picture>> rows(static_cast<size_t>(appearance.size()));
  DecodeAll(
      &decoder, count, [&](int64_t k) { return Latents{appearance.Read(k / columns), geometry.Read(geometry_of(k))}; },
      [&](int64_t k, const Outputs &outputs) {
        writer.Write(name_of(k), outputs);
        if (count <= kMaxSheetPictures) rows[static_cast<size_t>(k / columns)].push_back(FirstFrame(outputs));
      });
  std::printf("%lld images: appearance of %lld samples, geometry of %lld; written to %s\n",
              static_cast<long long>(count), static_cast<long long>(appearance.size()),
              static_cast<long long>(geometry.size()), arguments.output_path.c_str());
  if (count <= kMaxSheetPictures) {
    WriteSheet(arguments.output_path + "/recombination.png", rows);
  } else {
    std::printf("recombination.png not written: %lld pictures are too many (most: %lld)\n",
                static_cast<long long>(count), static_cast<long long>(kMaxSheetPictures));
  }
}

}  // namespace dgn

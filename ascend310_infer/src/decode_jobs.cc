// The jobs that run the decoder: reconstruct, traverse, recombine.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "error.h"
#include "files.h"
#include "jobs.h"
#include "picture.h"
#include "samples.h"

namespace dgn {
namespace {

using Latents = std::vector<Array>;  // of one sample: one array per group
using Outputs = std::vector<Array>;  // of one sample: image, appearance, displacement; or image

constexpr int64_t kMaxTraversal = 4096;  // images, which are held in memory

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

Picture FirstFrame(const Outputs &outputs) { return MakePicture(outputs.front(), 1); }

// The latents of --input_path: for each group its samples. Those of the first group are the first --limit.
std::vector<Samples> OpenLatents(const Arguments &arguments, const Decoder &decoder) {
  std::vector<Samples> opened;
  for (size_t g = 0; g < decoder.groups().size(); ++g) {
    const std::string folder = arguments.input_path + "/" + decoder.groups()[g];
    opened.emplace_back(folder, decoder.latent_shape(g), g == 0 ? arguments.limit : 0);
  }
  if (opened.size() == 2) CheckSameNames(opened[0], opened[1]);
  return opened;
}

// The latents of sample `index` of the first group, and those of the same name of the other group.
Latents ReadLatents(const std::vector<Samples> &opened, int64_t index) {
  const std::string name = opened.front().name(index);
  Latents latents;
  for (const Samples &group : opened) latents.push_back(group.Read(group.Find(name)));
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

// Number of dimensions to traverse in a group of `size` dimensions. Throws UserError if one of --dimensions does not
// exist, or if the traversal would have more than kMaxTraversal images.
int64_t CountRows(const Arguments &arguments, int64_t size) {
  for (const int64_t dimension : arguments.dimensions) {
    if (dimension >= size) {
      throw UserError("--dimensions contains " + std::to_string(dimension) + "; " + arguments.group + " has 0 to " +
                      std::to_string(size - 1));
    }
  }
  const auto listed = static_cast<int64_t>(arguments.dimensions.size());
  const int64_t rows = listed ? listed : std::min(arguments.rows, size), images = rows * arguments.positions;
  if (images > kMaxTraversal) {
    throw UserError(std::to_string(rows) + " dimensions at " + std::to_string(arguments.positions) +
                    " --positions are " + std::to_string(images) + " images; at most " +
                    std::to_string(kMaxTraversal) + " are supported");
  }
  return rows;
}

// Throws UserError if two pairs of samples would have one name, such as a with b__c and a__b with c: one appearance name
// then begins with the other one.
void CheckPairNames(const Samples &appearance, const Samples &geometry, bool aligned) {
  for (int64_t k = 0; k < appearance.size(); ++k) {
    const std::string name = appearance.name(k) + "__";
    for (size_t at = name.find("__", 1); at + 2 < name.size(); at = name.find("__", at + 1)) {
      const int64_t shorter = appearance.Find(name.substr(0, at));
      const int64_t first = aligned ? k : 0, end = shorter < 0 ? first : aligned ? k + 1 : geometry.size();
      for (int64_t g = first; g < end; ++g) {
        const int64_t other = geometry.Find(name.substr(at + 2) + geometry.name(g));
        if (other < 0 || (aligned && other != shorter)) continue;
        throw UserError("two pairs of samples would both be written as " + name + geometry.name(g) +
                        "; rename one of the samples");
      }
    }
  }
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

  const int64_t rows = CountRows(arguments, base[group].shape[0]), positions = arguments.positions;
  MakeFolder(arguments.output_path);
  std::vector<int64_t> dimensions = arguments.dimensions;
  if (dimensions.empty()) dimensions = RankDimensions(&decoder, base, group, arguments.gamma);
  dimensions.resize(static_cast<size_t>(rows));
  Sheet sheet(rows, positions);
  Array traversal;
  DecodeAll(
      &decoder, rows * positions,
      [&](int64_t k) {
        const double step = 2 * arguments.gamma / static_cast<double>(positions - 1);
        const double value = -arguments.gamma + static_cast<double>(k % positions) * step;
        return WithDimension(base, group, dimensions[static_cast<size_t>(k / positions)], value);
      },
      [&](int64_t k, const Outputs &outputs) {
        const Array &image = outputs.front();
        sheet.Draw(k / positions, k % positions, FirstFrame(outputs));
        if (k == 0) {
          traversal.shape = image.shape;
          traversal.values.reserve(static_cast<size_t>(rows * positions) * image.values.size());
        }
        traversal.values.insert(traversal.values.end(), image.values.begin(), image.values.end());
      });
  traversal.shape.insert(traversal.shape.begin(), {rows, positions});
  WriteArray(arguments.output_path + "/traversal", traversal, arguments.format == "npy");
  std::string list;
  for (const int64_t dimension : dimensions) list += (list.empty() ? "" : " ") + std::to_string(dimension);
  WriteFile(arguments.output_path + "/dimensions.txt", list + "\n");
  std::printf("dimensions of %s, one per row: %s\n", arguments.group.c_str(), list.c_str());
  sheet.Write(arguments.output_path + "/traversal.png");
}

void Recombine(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  if (decoder.groups().size() != 2) {
    throw UserError("recombine needs a model with appearance and geometry latents; this model has one group");
  }
  const bool aligned = arguments.pairs == "aligned";
  const Samples appearance(arguments.input_path + "/z_app", decoder.latent_shape(0), arguments.limit);
  const Samples geometry(arguments.second_path + "/z_geo", decoder.latent_shape(1), aligned ? 0 : arguments.limit);
  const bool too_many = appearance.complete() && geometry.size() > appearance.size();
  if (aligned && (too_many || geometry.size() < appearance.size())) {
    throw UserError("--pairs aligned needs sets of equal size; they have " + std::to_string(appearance.size()) +
                    " and " + std::to_string(geometry.size()) + " samples");
  }
  const bool by_name = aligned && FirstMissing(appearance, geometry) == appearance.size();
  if (aligned && !by_name) {
    std::fprintf(stderr, "dgn_infer: note: the two sets have samples of other names; they are paired in order: %s with "
                 "%s ...\n", appearance.name(0).c_str(), geometry.name(0).c_str());
  }
  if (!by_name) CheckPairNames(appearance, geometry, aligned);
  const int64_t columns = aligned ? 1 : geometry.size(), count = appearance.size() * columns;
  const auto geometry_of = [&](int64_t k) {
    return by_name ? geometry.Find(appearance.name(k)) : aligned ? k : k % columns;
  };
  const OutputWriter writer(arguments, decoder);
  Sheet sheet(appearance.size(), columns);
  DecodeAll(
      &decoder, count, [&](int64_t k) { return Latents{appearance.Read(k / columns), geometry.Read(geometry_of(k))}; },
      [&](int64_t k, const Outputs &outputs) {
        writer.Write(appearance.name(k / columns) + "__" + geometry.name(geometry_of(k)), outputs);
        sheet.Draw(k / columns, k % columns, FirstFrame(outputs));
      });
  std::printf("%lld images: appearance of %lld samples, geometry of %lld; written to %s\n",
              static_cast<long long>(count), static_cast<long long>(appearance.size()),
              static_cast<long long>(aligned ? count : columns), arguments.output_path.c_str());
  sheet.Write(arguments.output_path + "/recombination.png");
}

}  // namespace dgn

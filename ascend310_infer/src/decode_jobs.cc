// The jobs of the decoder.
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

using Latents = std::vector<Array>;  // of one sample, a group each

constexpr int64_t kSheetSide = 16384;  // pixels of a sheet, at most

// Decodes any number of samples, batch by batch; `latents_of` and `use` are called with each one's index.
template <typename LatentsOf, typename Use>
void DecodeAll(Decoder *decoder, int64_t count, LatentsOf latents_of, Use use) {
  for (int64_t first = 0; first < count; first += decoder->batch()) {
    const int64_t here = std::min(decoder->batch(), count - first);
    std::vector<std::vector<Array>> groups(decoder->groups().size());
    for (int64_t k = 0; k < here; ++k) {
      const Latents latents = latents_of(first + k);
      for (size_t g = 0; g < groups.size(); ++g) groups[g].push_back(latents[g]);
    }
    const auto samples = decoder->Decode(groups);
    for (int64_t k = 0; k < here; ++k) use(first + k, samples[static_cast<size_t>(k)]);
  }
}

// The files of decoded samples.
class Album {
 public:
  Album(const Arguments &arguments, const Decoder &decoder) : folder_(arguments.output_path), npy_(arguments.format == "npy") {
    names_ = {"image"};
    if (decoder.groups().size() == 2) names_.insert(names_.end(), {"appearance", "displacement"});
    for (const std::string &name : names_) MakeFolder(folder_ + "/" + name);
  }

  void Add(const std::string &name, const std::vector<Array> &parts) const {
    for (size_t p = 0; p < parts.size(); ++p) {
      const std::string path = folder_ + "/" + names_[p] + "/" + name;
      WriteArray(path, parts[p], npy_);
      if (p < 2) WritePng(path + ".png", MakePicture(parts[p]));
    }
  }

 private:
  std::string folder_;
  bool npy_;
  std::vector<std::string> names_;
};

// Writes pictures as one sheet, unless it would be too large to be looked at.
void WriteSheet(const std::string &path, const std::vector<std::vector<Picture>> &rows) {
  const Picture &one = rows.front().front();
  const auto columns = static_cast<int64_t>(rows.front().size()), lines = static_cast<int64_t>(rows.size());
  if (columns * (one.width + 3) > kSheetSide || lines * (one.height + 3) > kSheetSide) {
    std::printf("%s: %lld x %lld pictures are too many for a sheet\n", path.c_str(), static_cast<long long>(lines), static_cast<long long>(columns));
    return;
  }
  WritePng(path, Tile(rows));
  std::printf("picture           %s\n", path.c_str());
}

Picture Still(const std::vector<Array> &parts) { return MakePicture(parts.front(), 1); }

std::vector<Samples> OpenLatents(const Arguments &arguments, const Decoder &decoder) {
  std::vector<Samples> opened;
  for (size_t g = 0; g < decoder.groups().size(); ++g) {
    opened.emplace_back(arguments.input_path + "/" + decoder.groups()[g], decoder.latent_shape(g), arguments.limit);
  }
  if (opened.size() == 2) CheckSameNames(opened[0], opened[1]);
  return opened;
}

Latents ReadLatents(const std::vector<Samples> &opened, int64_t index) {
  Latents latents;
  for (const Samples &group : opened) latents.push_back(group.Read(index));
  return latents;
}

// The two ends of every dimension decoded: dimensions by the size of their effect on the image, the largest first.
std::vector<int64_t> Ranked(Decoder *decoder, const Latents &held, size_t moving, double gamma) {
  const int64_t size = held[moving].shape[0];
  std::vector<double> effect(static_cast<size_t>(size));
  Array low;
  DecodeAll(
      decoder, 2 * size,
      [&](int64_t k) {
        Latents latents = held;
        latents[moving] = Zeros({size});
        latents[moving].values[static_cast<size_t>(k / 2)] = static_cast<float>(k % 2 ? gamma : -gamma);
        return latents;
      },
      [&](int64_t k, const std::vector<Array> &parts) {
        if (k % 2 == 0) {
          low = parts.front();
          return;
        }
        double sum = 0;
        for (size_t p = 0; p < low.values.size(); ++p) sum += std::pow(static_cast<double>(parts.front().values[p]) - low.values[p], 2);
        effect[static_cast<size_t>(k / 2)] = std::sqrt(sum / static_cast<double>(low.values.size()));
      });
  std::vector<int64_t> order(effect.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&effect](int64_t a, int64_t b) { return effect[static_cast<size_t>(a)] > effect[static_cast<size_t>(b)]; });
  return order;
}

}  // namespace

void Reconstruct(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  const std::vector<Samples> latents = OpenLatents(arguments, decoder);
  const Album album(arguments, decoder);
  DecodeAll(
      &decoder, latents.front().size(), [&latents](int64_t k) { return ReadLatents(latents, k); },
      [&](int64_t k, const std::vector<Array> &parts) { album.Add(latents.front().name(k), parts); });
  std::printf("%lld samples decoded; written to %s\n", static_cast<long long>(latents.front().size()), arguments.output_path.c_str());
}

void Traverse(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  const auto found = std::find(decoder.groups().begin(), decoder.groups().end(), arguments.group);
  if (found == decoder.groups().end()) {
    throw UserError("--group is " + arguments.group + "; this model has " + decoder.groups().front() +
                    (decoder.groups().size() == 2 ? " and " + decoder.groups().back() : ""));
  }
  const auto moving = static_cast<size_t>(found - decoder.groups().begin());
  Latents held;
  for (size_t g = 0; g < decoder.groups().size(); ++g) held.push_back(Zeros(decoder.latent_shape(g)));
  if (!arguments.input_path.empty()) held = ReadLatents(OpenLatents(arguments, decoder), 0);

  const int64_t size = held[moving].shape[0], positions = arguments.positions;
  std::vector<int64_t> dimensions = arguments.dimensions;
  for (const int64_t dimension : dimensions) {
    if (dimension >= size) throw UserError("--dimensions names " + std::to_string(dimension) + "; " + arguments.group + " has 0 to " + std::to_string(size - 1));
  }
  if (dimensions.empty()) {
    dimensions = Ranked(&decoder, held, moving, arguments.gamma);
    dimensions.resize(static_cast<size_t>(std::min(arguments.rows, size)));
  }
  std::vector<std::vector<Picture>> rows(dimensions.size());
  std::vector<Array> images;
  DecodeAll(
      &decoder, static_cast<int64_t>(dimensions.size()) * positions,
      [&](int64_t k) {
        Latents latents = held;
        latents[moving] = Zeros({size});
        const double place = -arguments.gamma + static_cast<double>(k % positions) * (2 * arguments.gamma / static_cast<double>(positions - 1));
        latents[moving].values[static_cast<size_t>(dimensions[static_cast<size_t>(k / positions)])] = static_cast<float>(place);
        return latents;
      },
      [&](int64_t k, const std::vector<Array> &parts) {
        rows[static_cast<size_t>(k / positions)].push_back(Still(parts));
        images.push_back(parts.front());
      });
  MakeFolder(arguments.output_path);
  Array table = Stack(images);
  table.shape[0] = positions;
  table.shape.insert(table.shape.begin(), static_cast<int64_t>(dimensions.size()));
  WriteArray(arguments.output_path + "/traversal", table, arguments.format == "npy");
  std::string chosen;
  for (const int64_t dimension : dimensions) chosen += (chosen.empty() ? "" : " ") + std::to_string(dimension);
  WriteFile(arguments.output_path + "/dimensions.txt", chosen + "\n");
  std::printf("dimensions of %s, a row each: %s\n", arguments.group.c_str(), chosen.c_str());
  WriteSheet(arguments.output_path + "/traversal.png", rows);
}

void Recombine(const Arguments &arguments, Runner *runner) {
  Decoder decoder(runner);
  if (decoder.groups().size() != 2) throw UserError("recombine needs a model with appearance and geometry; this one has one group of latents");
  const Samples appearance(arguments.input_path + "/z_app", decoder.latent_shape(0), arguments.limit);
  const Samples geometry(arguments.second_path + "/z_geo", decoder.latent_shape(1), arguments.limit);
  const bool aligned = arguments.pairs == "aligned";
  if (aligned && appearance.size() != geometry.size()) {
    throw UserError("--pairs aligned needs as many samples in both sets; there are " + std::to_string(appearance.size()) + " and " +
                    std::to_string(geometry.size()));
  }
  const int64_t columns = aligned ? 1 : geometry.size();
  const auto geometry_of = [=](int64_t k) { return aligned ? k : k % columns; };
  const Album album(arguments, decoder);
  std::vector<std::vector<Picture>> rows(static_cast<size_t>(appearance.size()));
  DecodeAll(
      &decoder, appearance.size() * columns, [&](int64_t k) { return Latents{appearance.Read(k / columns), geometry.Read(geometry_of(k))}; },
      [&](int64_t k, const std::vector<Array> &parts) {
        album.Add(appearance.name(k / columns) + "__" + geometry.name(geometry_of(k)), parts);
        rows[static_cast<size_t>(k / columns)].push_back(Still(parts));
      });
  std::printf("%lld pictures: appearance of %lld samples, geometry of %lld; written to %s\n", static_cast<long long>(appearance.size() * columns),
              static_cast<long long>(appearance.size()), static_cast<long long>(geometry.size()), arguments.output_path.c_str());
  WriteSheet(arguments.output_path + "/recombination.png", rows);
}

}  // namespace dgn

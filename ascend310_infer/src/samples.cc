#include "samples.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "error.h"
#include "files.h"
#include "npy.h"

namespace dgn {
namespace {

constexpr uint64_t kHeaderBytes = 1 << 16;

}  // namespace

Samples::Samples(const std::string &folder, const Shape &shape, int64_t limit)
    : folder_(folder), shape_(shape), sample_bytes_(ElementCount(shape, folder) * sizeof(float)) {
  if (sample_bytes_ == 0) throw UserError("a sample of the shape " + ShapeText(shape) + " is empty");
  for (const std::string &file : ListFiles(folder)) Add(file);
  if (entries_.empty()) throw UserError(folder + " has no .npy or .bin files");
  if (limit > 0 && limit < size()) entries_.resize(static_cast<size_t>(limit));
  std::set<std::string> names;
  for (const Entry &entry : entries_) {
    if (!names.insert(entry.name).second) throw UserError(folder + " has two samples named " + entry.name);
  }
}

void Samples::Add(const std::string &file) {
  const std::string extension = Extension(file), stem = Stem(file), path = folder_ + "/" + file;
  if (extension != ".npy" && extension != ".bin") return;
  const uint64_t size = FileSize(path);
  uint64_t offset = 0, count = 0;
  bool single = false;
  if (extension == ".npy") {
    std::string start(std::min(size, kHeaderBytes), '\0');
    ReadBytes(path, 0, start.size(), &start[0]);
    const NpyHeader header = ParseNpyHeader(start, size, path);
    single = header.shape == shape_;
    if (!single && (header.shape.empty() || SampleShape(header.shape) != shape_)) {
      std::string several = ShapeText(shape_);
      several.insert(1, "n, ");
      throw UserError(path + " has the shape " + ShapeText(header.shape) + "; " + ShapeText(shape_) + " or " + several +
                      " is required");
    }
    offset = header.offset;
    count = single ? 1 : static_cast<uint64_t>(header.shape.front());
  } else {
    if (size % sample_bytes_ != 0) {
      throw UserError(path + " has " + std::to_string(size) + " bytes, which is not a multiple of the " +
                      std::to_string(sample_bytes_) + " bytes of a sample of the shape " + ShapeText(shape_) +
                      " in float32");
    }
    count = size / sample_bytes_;
    single = count == 1;
  }
  if (count == 0) throw UserError(path + " has no samples");
  for (uint64_t k = 0; k < count; ++k) {
    entries_.push_back({single ? stem : stem + "_" + std::to_string(k), path, offset + k * sample_bytes_});
  }
}

Array Samples::Read(int64_t index) const {
  const Entry &entry = entries_.at(static_cast<size_t>(index));
  Array sample = Zeros(shape_);
  ReadBytes(entry.path, entry.offset, sample_bytes_, sample.values.data());
  for (size_t k = 0; k < sample.values.size(); ++k) {
    if (!std::isfinite(sample.values[k])) {
      throw UserError(entry.path + ": element " + std::to_string(k) + " of sample " + entry.name + " is not finite");
    }
  }
  return sample;
}

void CheckSameNames(const Samples &a, const Samples &b) {
  for (int64_t k = 0; k < std::min(a.size(), b.size()); ++k) {
    if (a.name(k) != b.name(k)) {
      throw UserError("sample " + std::to_string(k) + " is " + a.name(k) + " in " + a.folder() + " and " + b.name(k) +
                      " in " + b.folder() + "; both must have the same samples");
    }
  }
  if (a.size() != b.size()) {
    throw UserError(a.folder() + " has " + std::to_string(a.size()) + " samples, " + b.folder() + " " +
                    std::to_string(b.size()));
  }
}

}  // namespace dgn

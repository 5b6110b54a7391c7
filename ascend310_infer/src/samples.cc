#include "samples.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "error.h"
#include "files.h"
#include "npy.h"

namespace dgn {
namespace {

constexpr uint64_t kHeaderBytes = 1 << 16;

}  // namespace

Samples::Samples(const std::string &folder, const Shape &shape, int64_t limit)
    : folder_(folder), shape_(shape), bytes_(Count(shape, folder) * sizeof(float)) {
  if (bytes_ == 0) throw UserError("a sample of the shape " + Text(shape) + " holds nothing");
  for (const std::string &file : ListFiles(folder)) Add(file);
  if (entries_.empty()) throw UserError(folder + " holds no .npy or .bin files");
  if (limit > 0 && limit < size()) entries_.resize(static_cast<size_t>(limit));
  std::set<std::string> seen;
  for (const Entry &entry : entries_) {
    if (!seen.insert(entry.name).second) throw UserError(folder + " holds two samples of the name " + entry.name);
  }
}

void Samples::Add(const std::string &file) {
  const std::filesystem::path name(file);
  const std::string kind = name.extension().string(), path = (std::filesystem::path(folder_) / file).string();
  if (kind != ".npy" && kind != ".bin") return;
  const uint64_t size = FileSize(path);
  uint64_t offset = 0, count = 0;
  bool one = false;
  if (kind == ".npy") {
    std::string start(std::min(size, kHeaderBytes), '\0');
    ReadBytes(path, 0, start.size(), start.data());
    const NpyHeader header = ParseNpyHeader(start, size, path);
    one = header.shape == shape_;
    if (!one && (header.shape.empty() || Tail(header.shape) != shape_)) {
      Shape several = shape_;
      several.insert(several.begin(), 1);
      throw UserError(path + " has the shape " + Text(header.shape) + "; " + Text(shape_) + ", or several as " + Text(several) + ", is needed");
    }
    offset = header.offset;
    count = one ? 1 : static_cast<uint64_t>(header.shape.front());
  } else {
    if (size % bytes_ != 0) {
      throw UserError(path + " has " + std::to_string(size) + " bytes; a sample of the shape " + Text(shape_) + " has " +
                      std::to_string(bytes_) + " (float32), and a file must hold whole samples");
    }
    count = size / bytes_;
    one = count == 1;
  }
  if (count == 0) throw UserError(path + " holds no sample");
  const std::string stem = name.stem().string();
  for (uint64_t k = 0; k < count; ++k) {
    entries_.push_back({one ? stem : stem + "_" + std::to_string(k), path, offset + k * bytes_});
  }
}

Array Samples::Read(int64_t index) const {
  const Entry &entry = entries_.at(static_cast<size_t>(index));
  Array sample = Zeros(shape_);
  ReadBytes(entry.path, entry.offset, bytes_, sample.values.data());
  for (size_t k = 0; k < sample.values.size(); ++k) {
    if (!std::isfinite(sample.values[k])) {
      throw UserError(entry.path + ": element " + std::to_string(k) + " of sample " + entry.name + " is not a finite number");
    }
  }
  return sample;
}

void CheckSameNames(const Samples &a, const Samples &b) {
  for (int64_t k = 0; k < std::min(a.size(), b.size()); ++k) {
    if (a.name(k) != b.name(k)) {
      throw UserError("sample " + std::to_string(k) + " is " + a.name(k) + " in " + a.folder() + " and " + b.name(k) + " in " + b.folder() +
                      "; both must hold the same samples");
    }
  }
  if (a.size() != b.size()) {
    throw UserError(a.folder() + " holds " + std::to_string(a.size()) + " samples, " + b.folder() + " " + std::to_string(b.size()));
  }
}

}  // namespace dgn

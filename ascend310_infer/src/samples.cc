#include "samples.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

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
  for (const std::string &file : ListFiles(folder)) Add(file, limit);
  if (files_.empty()) throw UserError(folder + " has no .npy or .bin files");
  for (const File &file : files_) {  // a_0 may be a sample of a.npy, which Find gives, and of a_0.npy
    if (Find(name(file.first)) != file.first) throw UserError(folder + " has two samples named " + name(file.first));
  }
}

void Samples::Add(const std::string &file, int64_t limit) {
  const std::string extension = Extension(file), stem = Stem(file), path = folder_ + "/" + file;
  if (extension != ".npy" && extension != ".bin") return;
  if (limit > 0 && size_ == limit) complete_ = false;
  if (!complete_) return;
  const uint64_t size = FileSize(path);
  uint64_t offset = 0;
  int64_t count = 1;
  bool numbered = false;
  if (extension == ".npy") {
    std::string start(std::min(size, kHeaderBytes), '\0');
    ReadBytes(path, 0, start.size(), &start[0]);
    const NpyHeader header = ParseNpyHeader(start, size, path);
    numbered = header.shape != shape_;
    if (numbered && (header.shape.empty() || SampleShape(header.shape) != shape_)) {
      std::string several = ShapeText(shape_);
      several.insert(1, "n, ");
      throw UserError(path + " has the shape " + ShapeText(header.shape) + "; " + ShapeText(shape_) + " or " + several +
                      " is required");
    }
    offset = header.offset;
    if (numbered) count = header.shape.front();
  } else {
    if (size % sample_bytes_ != 0) {
      throw UserError(path + " has " + std::to_string(size) + " bytes, which is not a multiple of the " +
                      std::to_string(sample_bytes_) + " bytes of a sample of the shape " + ShapeText(shape_) +
                      " in float32");
    }
    count = static_cast<int64_t>(size / sample_bytes_);
    numbered = count > 1;
  }
  if (count == 0) throw UserError(path + " has no samples");
  if (!by_stem_.emplace(stem, files_.size()).second) {
    throw UserError(folder_ + " has two files named " + stem + ", .bin and .npy; rename or remove one");
  }
  if (limit > 0 && count > limit - size_) {
    count = limit - size_;
    complete_ = false;
  }
  files_.push_back({file, numbered, size_, count, offset});
  size_ += count;
}

const Samples::File &Samples::FileOf(int64_t index) const {
  const auto after = [](int64_t wanted, const File &file) { return wanted < file.first; };
  return *(std::upper_bound(files_.begin(), files_.end(), index, after) - 1);
}

std::string Samples::name(int64_t index) const {
  const File &file = FileOf(index);
  return Stem(file.name) + (file.numbered ? "_" + std::to_string(index - file.first) : "");
}

int64_t Samples::Find(const std::string &wanted) const {
  const size_t line = wanted.rfind('_');
  const auto several = line == std::string::npos ? by_stem_.end() : by_stem_.find(wanted.substr(0, line));
  if (several != by_stem_.end() && files_[several->second].numbered) {
    const File &file = files_[several->second];
    const int64_t number = std::strtoll(wanted.c_str() + line + 1, nullptr, 10);
    if (number >= 0 && number < file.count && name(file.first + number) == wanted) return file.first + number;
  }
  const auto single = by_stem_.find(wanted);
  return single != by_stem_.end() && !files_[single->second].numbered ? files_[single->second].first : -1;
}

Array Samples::Read(int64_t index) const {
  const File &file = FileOf(index);
  const std::string path = folder_ + "/" + file.name;
  Array sample = Zeros(shape_);
  const uint64_t skipped = static_cast<uint64_t>(index - file.first) * sample_bytes_;
  ReadBytes(path, file.offset + skipped, sample_bytes_, sample.values.data());
  for (size_t k = 0; k < sample.values.size(); ++k) {
    if (!std::isfinite(sample.values[k])) {
      throw UserError(path + ": element " + std::to_string(k) + " of sample " + name(index) + " is not finite");
    }
  }
  return sample;
}

int64_t FirstMissing(const Samples &a, const Samples &b) {
  int64_t k = 0;
  while (k < a.size() && b.Find(a.name(k)) >= 0) ++k;
  return k;
}

void CheckSameNames(const Samples &a, const Samples &b) {
  const auto check = [](const Samples &one, const Samples &other) {
    const int64_t missing = FirstMissing(one, other);
    if (missing == one.size()) return;
    throw UserError(other.folder() + " has no sample " + one.name(missing) + ", which is in " + one.folder() +
                    "; both must have the same samples");
  };
  check(a, b);
  if (a.complete()) check(b, a);
}

}  // namespace dgn

// Samples of one shape in the .npy and .bin files of a folder, read on demand.
#ifndef DGN_SAMPLES_H_
#define DGN_SAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

class Samples {
 public:
  // A file holds one sample or n of them: an .npy file of `shape` or (n, *shape), or a .bin file with their
  // little-endian float32 values. limit: only the first `limit` samples; 0: all. Checks all headers and sizes. Throws
  // UserError naming the file that does not match.
  Samples(const std::string &folder, const Shape &shape, int64_t limit);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  const std::string &folder() const { return folder_; }

  // The file's name without extension, followed by _0, _1 ... if the file holds several samples.
  const std::string &name(int64_t index) const { return entries_[static_cast<size_t>(index)].name; }

  // Throws UserError if a value is not finite, or if the file was truncated since the constructor read it.
  Array Read(int64_t index) const;

 private:
  struct Entry {
    std::string name, path;
    uint64_t offset;
  };

  void Add(const std::string &file);

  std::string folder_;
  Shape shape_;
  uint64_t sample_bytes_;
  std::vector<Entry> entries_;
};

// Throws UserError, naming the first difference, unless both folders hold samples of the same names.
void CheckSameNames(const Samples &a, const Samples &b);

}  // namespace dgn

#endif  // DGN_SAMPLES_H_

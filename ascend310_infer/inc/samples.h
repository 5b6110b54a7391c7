// A folder of .bin or .npy files as samples of one known shape, read when they are asked for.
#ifndef DGN_SAMPLES_H_
#define DGN_SAMPLES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

class Samples {
 public:
  // A file holds one sample or several, one after the other: an .npy of `shape` or (n, *shape), a .bin of n times as many
  // little-endian float32. Looks at all headers and sizes; limit: the first so many samples alone, 0 for all.
  // Throws UserError naming the file that does not fit.
  Samples(const std::string &folder, const Shape &shape, int64_t limit);

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  const std::string &folder() const { return folder_; }

  // The file's name without its ending; with _0, _1 ... if it holds several samples.
  const std::string &name(int64_t index) const { return entries_[static_cast<size_t>(index)].name; }

  // Throws UserError if a number is not finite, or the file has changed meanwhile.
  Array Read(int64_t index) const;

 private:
  struct Entry {
    std::string name, path;
    uint64_t offset;
  };

  void Add(const std::string &file);

  std::string folder_;
  Shape shape_;
  uint64_t bytes_;  // of a sample
  std::vector<Entry> entries_;
};

// Throws UserError naming the first difference if two folders do not hold samples of the same names.
void CheckSameNames(const Samples &a, const Samples &b);

}  // namespace dgn

#endif  // DGN_SAMPLES_H_

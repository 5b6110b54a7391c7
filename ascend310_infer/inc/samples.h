// Samples of one shape in the .npy and .bin files of a folder, read on demand.
#ifndef DGN_SAMPLES_H_
#define DGN_SAMPLES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

class Samples {
 public:
  // A file holds one sample or n of them: an .npy file of `shape` or (n, *shape), or a .bin file with their
  // little-endian float32 values. The order is that of ListFiles. limit: only the first `limit` samples; 0: all. Checks
  // the headers and sizes of the files used. Throws UserError naming a file that does not match, or the name of two.
  Samples(const std::string &folder, const Shape &shape, int64_t limit);

  int64_t size() const { return size_; }
  bool complete() const { return complete_; }  // whether the limit left no sample out
  const std::string &folder() const { return folder_; }

  // The file's name without extension, followed by _0, _1 ... for an .npy file of (n, *shape), even with n = 1, and for
  // a .bin file of several samples.
  std::string name(int64_t index) const;

  // The index of a sample; -1 if there is none of this name.
  int64_t Find(const std::string &wanted) const;

  // Throws UserError if a value is not finite, or if the file was truncated since the constructor read it.
  Array Read(int64_t index) const;

 private:
  struct File {
    std::string name;
    bool numbered;         // whether its samples are named stem_0, stem_1 ... rather than stem
    int64_t first, count;  // of its samples
    uint64_t offset;       // of the first value
  };

  void Add(const std::string &file, int64_t limit);
  const File &FileOf(int64_t index) const;

  std::string folder_;
  Shape shape_;
  uint64_t sample_bytes_;
  int64_t size_ = 0;
  bool complete_ = true;
  std::vector<File> files_;
  std::map<std::string, size_t> by_stem_;  // index in files_
};

// Index of the first sample of `a` whose name `b` lacks; a.size() if there is none.
int64_t FirstMissing(const Samples &a, const Samples &b);

// Throws UserError, naming a sample, if `b` lacks one of `a`, or has another one though `a` is complete.
void CheckSameNames(const Samples &a, const Samples &b);

}  // namespace dgn

#endif  // DGN_SAMPLES_H_

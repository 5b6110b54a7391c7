// File access by POSIX calls: std::filesystem needs GCC 8, and Ascend hosts have GCC 7.3.
#ifndef DGN_FILES_H_
#define DGN_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

// Names of the files in a folder, without subfolders and hidden files, in natural order of the names without extension:
// numbers by value, so that x_2 precedes x_10. Throws UserError if the folder cannot be read.
std::vector<std::string> ListFiles(const std::string &folder);

// The part of a file name from its last dot on (".npy"), and the part before it.
std::string Extension(const std::string &name);
std::string Stem(const std::string &name);

// Throws UserError if `path` is not a regular file.
uint64_t FileSize(const std::string &path);

// Reads `size` bytes from `offset` into `target`. Throws UserError if the file cannot be read or is shorter.
void ReadBytes(const std::string &path, uint64_t offset, uint64_t size, void *target);

// The content of a file of at most `limit` bytes. Throws UserError.
std::string ReadFile(const std::string &path, uint64_t limit);

// Creates a folder and its missing parents. Throws RunFailed.
void MakeFolder(const std::string &path);

// Writes a new file .dgn-PID in the same folder, which must exist, flushes it to disk and renames it, so that `path` is
// never incomplete, even after a loss of power. Throws RunFailed.
void WriteFile(const std::string &path, const std::string &bytes);

// Writes path.npy, or path.bin with only the values. Throws RunFailed.
void WriteArray(const std::string &path, const Array &array, bool npy);

}  // namespace dgn

#endif  // DGN_FILES_H_

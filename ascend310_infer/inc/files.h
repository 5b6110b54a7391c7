// Files read with checked sizes, and written beside their place and renamed: whole or absent.
#ifndef DGN_FILES_H_
#define DGN_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "array.h"

namespace dgn {

// Sorted names of the files in a folder, without folders and hidden files. Throws UserError if it cannot be read.
std::vector<std::string> ListFiles(const std::string &folder);

// Throws UserError if it is no readable file.
uint64_t FileSize(const std::string &path);

// `size` bytes from `offset` on into `target`. Throws UserError if the file cannot be read or ends before.
void ReadBytes(const std::string &path, uint64_t offset, uint64_t size, void *target);

// The whole file, of at most `limit` bytes. Throws UserError.
std::string ReadFile(const std::string &path, uint64_t limit);

// Makes a folder and those above it. Throws RunFailed if the disk refuses.
void MakeFolder(const std::string &path);

// Throws RunFailed, naming the path, if the disk refuses; its folder must be there.
void WriteFile(const std::string &path, const std::string &bytes);

// The array as path.npy, or its numbers alone as path.bin.
void WriteArray(const std::string &path, const Array &array, bool npy);

}  // namespace dgn

#endif  // DGN_FILES_H_

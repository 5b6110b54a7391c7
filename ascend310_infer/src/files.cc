#include "files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "error.h"
#include "npy.h"

namespace dgn {

namespace fs = std::filesystem;

std::vector<std::string> ListFiles(const std::string &folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw UserError(folder + " is not a folder" + (fs::exists(folder, error) ? "" : " (there is nothing of this name)"));
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (name.front() != '.' && !entry->is_directory(ignored)) names.push_back(name);
  }
  if (error) throw UserError("cannot read the folder " + folder + ": " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

uint64_t FileSize(const std::string &path) {
  std::error_code error;
  const bool regular = fs::is_regular_file(path, error);
  if (error || !regular) throw UserError("cannot read " + path + ": " + (error ? error.message() : "it is not a file"));
  const uint64_t size = fs::file_size(path, error);
  if (error) throw UserError("cannot read " + path + ": " + error.message());
  return size;
}

void ReadBytes(const std::string &path, uint64_t offset, uint64_t size, void *target) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw UserError("cannot read " + path + ": " + std::strerror(errno));
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(static_cast<char *>(target), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(file.gcount()) != size) {
    throw UserError(path + " ends after " + std::to_string(offset + static_cast<uint64_t>(file.gcount())) + " bytes; " +
                    std::to_string(offset + size) + " are needed");
  }
}

std::string ReadFile(const std::string &path, uint64_t limit) {
  const uint64_t size = FileSize(path);
  if (size > limit) throw UserError(path + " has " + std::to_string(size) + " bytes; at most " + std::to_string(limit) + " are expected");
  std::string bytes(size, '\0');
  ReadBytes(path, 0, size, bytes.data());
  return bytes;
}

void MakeFolder(const std::string &path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw RunFailed("cannot make the folder " + path + ": " + error.message());
}

void WriteFile(const std::string &path, const std::string &bytes) {
  const fs::path target(path);
  const std::string beside = (target.parent_path() / ("." + std::to_string(getpid()) + "-" + target.filename().string())).string();
  std::ofstream file(beside, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file || std::rename(beside.c_str(), path.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    std::remove(beside.c_str());
    throw RunFailed("cannot write " + path + ": " + why);
  }
}

void WriteArray(const std::string &path, const Array &array, bool npy) {
  std::string bytes = npy ? NpyHeaderOf(array.shape) : "";
  bytes.append(reinterpret_cast<const char *>(array.values.data()), array.values.size() * sizeof(float));
  WriteFile(path + (npy ? ".npy" : ".bin"), bytes);
}

}  // namespace dgn

#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <utility>

#include "error.h"
#include "npy.h"

namespace dgn {
namespace {

struct CloseFolder {
  void operator()(DIR *folder) const { closedir(folder); }
};

bool IsFolder(const std::string &path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// Position of the dot before the extension; the length of the name if it has none.
size_t ExtensionStart(const std::string &name) {
  const size_t dot = name.rfind('.');
  return dot == std::string::npos || dot == 0 ? name.size() : dot;
}

// A text whose order is natural order: each number of the name becomes the character 0, a byte with its number of
// digits, and its digits, without leading zeros. natural_key in cpp_files.py is the same function.
std::string NaturalKey(const std::string &name) {
  const char *const digits = "0123456789";
  std::string key;
  for (size_t at = 0; at < name.size();) {
    const size_t start = std::min(name.find_first_of(digits, at), name.size());
    const size_t end = std::min(name.find_first_not_of(digits, start), name.size());
    const size_t first = std::min(name.find_first_not_of('0', start), end);
    key.append(name, at, start - at);
    if (start < end) key.append({'0', static_cast<char>(end - first)}).append(name, first, end - first);
    at = end;
  }
  return key;
}

// Whether all bytes could be written; errno is set otherwise.
bool WriteAll(int file, const std::string &bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t size = write(file, bytes.data() + done, bytes.size() - done);
    if (size < 0 && errno != EINTR) return false;
    done += static_cast<size_t>(std::max<ssize_t>(size, 0));
  }
  return true;
}

}  // namespace

std::vector<std::string> ListFiles(const std::string &folder) {
  const std::unique_ptr<DIR, CloseFolder> handle(opendir(folder.c_str()));
  if (handle == nullptr) {
    if (errno == ENOENT) throw UserError("there is no folder " + folder);
    if (errno == ENOTDIR) throw UserError(folder + " is not a folder");
    throw UserError("cannot read the folder " + folder + ": " + std::strerror(errno));
  }
  std::vector<std::pair<std::string, std::string>> found;  // sorting key, name
  for (;;) {
    errno = 0;
    const struct dirent *entry = readdir(handle.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name.front() != '.' && !IsFolder(folder + "/" + name)) found.emplace_back(NaturalKey(Stem(name)), name);
  }
  if (errno != 0) throw UserError("cannot read the folder " + folder + ": " + std::strerror(errno));
  std::sort(found.begin(), found.end());
  std::vector<std::string> names;
  for (auto &file : found) names.push_back(std::move(file.second));
  return names;
}

std::string Extension(const std::string &name) { return name.substr(ExtensionStart(name)); }

std::string Stem(const std::string &name) { return name.substr(0, ExtensionStart(name)); }

uint64_t FileSize(const std::string &path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) throw UserError("cannot read " + path + ": " + std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw UserError("cannot read " + path + ": not a regular file");
  return static_cast<uint64_t>(status.st_size);
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
  if (size > limit) {
    throw UserError(path + " has " + std::to_string(size) + " bytes; at most " + std::to_string(limit) +
                    " are supported");
  }
  std::string bytes(size, '\0');
  ReadBytes(path, 0, size, &bytes[0]);
  return bytes;
}

void MakeFolder(const std::string &path) {
  for (size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0777) == 0) continue;
    const int error = errno == EEXIST ? ENOTDIR : errno;
    if (!IsFolder(part)) throw RunFailed("cannot create the folder " + part + ": " + std::strerror(error));
  }
}

void WriteFile(const std::string &path, const std::string &bytes) {
  const size_t slash = path.rfind('/'), name = slash == std::string::npos ? 0 : slash + 1;
  const std::string temporary = path.substr(0, name) + ".dgn-" + std::to_string(getpid());  // short: `path` may be long
  unlink(temporary.c_str());
  const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  const bool written = file >= 0 && WriteAll(file, bytes) && fsync(file) == 0 &&
                       std::rename(temporary.c_str(), path.c_str()) == 0;
  const std::string reason = std::strerror(errno);
  if (file >= 0) close(file);
  if (written) return;
  if (file >= 0) unlink(temporary.c_str());
  throw RunFailed("cannot write " + path + ": " + reason);
}

void WriteArray(const std::string &path, const Array &array, bool npy) {
  std::string bytes = npy ? MakeNpyHeader(array.shape) : "";
  bytes.append(reinterpret_cast<const char *>(array.values.data()), array.values.size() * sizeof(float));
  WriteFile(path + (npy ? ".npy" : ".bin"), bytes);
}

}  // namespace dgn

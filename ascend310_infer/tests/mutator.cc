#include "mutator.h"

#include <algorithm>

namespace dgn {

std::string Mutator::Changed(std::string bytes) {
  for (size_t changes = 1 + Below(4); changes > 0 && !bytes.empty(); --changes) {
    const size_t at = Below(bytes.size()), size = std::min(bytes.size() - at, 1 + Below(16));
    switch (Below(6)) {
      case 0: bytes[at] = static_cast<char>(bytes[at] ^ 1 << Below(8)); break;
      case 1: bytes[at] = static_cast<char>(Below(256)); break;
      case 2: bytes.replace(at, size, RandomBytes(size)); break;
      case 3: bytes.erase(at, size); break;
      case 4: bytes.insert(at, bytes.substr(at, size)); break;
      default: bytes.insert(at, RandomBytes(size)); break;
    }
  }
  return bytes;
}

std::string Mutator::RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  for (char &c : bytes) c = static_cast<char>(Below(256));
  return bytes;
}

}  // namespace dgn

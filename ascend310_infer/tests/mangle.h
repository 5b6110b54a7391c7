// Whole inputs made into broken ones, by a seed.
#ifndef DGN_MANGLE_H_
#define DGN_MANGLE_H_

#include <random>
#include <string>

namespace dgn {

class Mangler {
 public:
  explicit Mangler(uint64_t seed) : generator_(seed) {}

  // A number below `bound`, which is above 0.
  size_t Below(size_t bound) { return std::uniform_int_distribution<size_t>(0, bound - 1)(generator_); }

  // Shorter by at least a byte.
  std::string Cut(const std::string &bytes) { return bytes.substr(0, Below(bytes.size())); }

  // Longer by some bytes.
  std::string Grown(const std::string &bytes) { return bytes + Noise(1 + Below(40)); }

  // Bits turned over, bytes overwritten, removed, doubled or put in: anything may come of it, also nothing.
  std::string Changed(std::string bytes);

  // Bytes without any sense.
  std::string Noise(size_t size);

 private:
  std::mt19937_64 generator_;
};

}  // namespace dgn

#endif  // DGN_MANGLE_H_

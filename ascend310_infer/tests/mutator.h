// Random mutations of valid inputs, reproducible by a seed.
#ifndef DGN_MUTATOR_H_
#define DGN_MUTATOR_H_

#include <random>
#include <string>

namespace dgn {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : generator_(seed) {}

  // A random number in [0, bound); bound > 0.
  size_t Below(size_t bound) { return std::uniform_int_distribution<size_t>(0, bound - 1)(generator_); }

  // Without at least the last byte.
  std::string Truncated(const std::string &bytes) { return bytes.substr(0, Below(bytes.size())); }

  // With 1 to 40 random bytes appended.
  std::string Extended(const std::string &bytes) { return bytes + RandomBytes(1 + Below(40)); }

  // With bits flipped and bytes overwritten, removed, duplicated or inserted. The result may still be valid.
  std::string Changed(std::string bytes);

  std::string RandomBytes(size_t size);

 private:
  std::mt19937_64 generator_;
};

}  // namespace dgn

#endif  // DGN_MUTATOR_H_

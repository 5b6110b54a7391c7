#include "noise.h"

#include <cmath>
#include <random>

namespace dgn {

std::vector<float> Noise(int64_t seed, int64_t sample, int64_t call, int64_t group, size_t count) {
  const auto low = [](int64_t n) { return static_cast<uint32_t>(n); };
  const auto high = [](int64_t n) { return static_cast<uint32_t>(static_cast<uint64_t>(n) >> 32); };
  std::seed_seq seeds{low(seed), low(sample), high(sample), low(call), high(call), low(group)};
  std::mt19937_64 generator(seeds);
  constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
  // in (0, 1], whose logarithm is finite; the largest value is rounded to 1
  const auto uniform = [&generator] { return (static_cast<double>(generator() >> 11) + 0.5) * kUnit; };
  const double two_pi = 2 * std::acos(-1.0);
  std::vector<float> noise(count);
  // Box-Muller transform: unlike std::normal_distribution it gives the same values with every standard library.
  for (size_t k = 0; k < count; k += 2) {
    const double radius = std::sqrt(-2 * std::log(uniform())), angle = two_pi * uniform();
    noise[k] = static_cast<float>(radius * std::cos(angle));
    if (k + 1 < count) noise[k + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return noise;
}

}  // namespace dgn

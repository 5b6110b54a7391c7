// Standard normal noise that depends on the seed, the sample and the place in its chain alone: not on batches.
#ifndef DGN_NOISE_H_
#define DGN_NOISE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dgn {

// `count` numbers for one sample's call `call` of the chain. group: which latents they move.
std::vector<float> Noise(int64_t seed, int64_t sample, int64_t call, int64_t group, size_t count);

}  // namespace dgn

#endif  // DGN_NOISE_H_

// Standard normal noise of the Langevin dynamics, independent of the batch size.
#ifndef DGN_NOISE_H_
#define DGN_NOISE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dgn {

// `count` values, determined by the seed, the sample's index, the call's index in the chain and the latent group's
// index.
std::vector<float> Noise(int64_t seed, int64_t sample, int64_t call, int64_t group, size_t count);

}  // namespace dgn

#endif  // DGN_NOISE_H_

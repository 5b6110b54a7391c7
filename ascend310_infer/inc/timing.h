// Durations of a network's calls.
#ifndef DGN_TIMING_H_
#define DGN_TIMING_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dgn {

class Timing {
 public:
  void AddWarmup(double milliseconds) { warmup_.push_back(milliseconds); }
  void Add(double milliseconds) { calls_.push_back(milliseconds); }

  // The average in the format of MindSpore's model zoo, then median, 95th percentile (nearest rank) and warm-up.
  // batch: number of samples of a call.
  std::string Report(int64_t batch) const;

 private:
  std::vector<double> warmup_, calls_;
};

}  // namespace dgn

#endif  // DGN_TIMING_H_

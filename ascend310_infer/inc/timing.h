// How long the calls of a network took.
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

  // The line that users of the model zoo know, and below it median, 95th percentile (nearest rank) and the warm-up.
  // batch: samples of a call.
  std::string Report(int64_t batch) const;

 private:
  std::vector<double> warmup_, calls_;
};

}  // namespace dgn

#endif  // DGN_TIMING_H_

#include "timing.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace dgn {
namespace {

std::string Rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", value);
  return text;
}

// Nearest-rank percentile: the smallest value that is at least as large as the fraction `share` of all values.
double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<size_t>(rank, 1) - 1];
}

}  // namespace

std::string Timing::Report(int64_t batch) const {
  if (calls_.empty()) return "NN inference cost average time: 0 ms of infer_count 0\n";
  const double sum = std::accumulate(calls_.begin(), calls_.end(), 0.0);
  std::string text = "NN inference cost average time: " + Rounded(sum / static_cast<double>(calls_.size())) +
                     " ms of infer_count " + std::to_string(calls_.size()) + "\n" + "median " +
                     Rounded(Percentile(calls_, 0.5)) + " ms, 95th percentile " + Rounded(Percentile(calls_, 0.95)) +
                     " ms; samples per call: " + std::to_string(batch) + "; ";
  if (warmup_.empty()) return text + "no warm-up\n";
  return text + std::to_string(warmup_.size()) + " warm-up calls not included, the first took " +
         Rounded(warmup_.front()) + " ms\n";
}

}  // namespace dgn

// The command line of dgn_infer.
#ifndef DGN_ARGUMENTS_H_
#define DGN_ARGUMENTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dgn {

struct Arguments {
  std::string mindir_path, job = "reconstruct", input_path, second_path, start_path, output_path = "result";
  std::string device_type = "Ascend310", group = "z_app", pairs = "grid", format = "npy";
  int64_t device_id = 0, batch = 1, threads = 0, warmup = 3, limit = 0;
  int64_t rows = 6, positions = 11;                  // traverse
  int64_t steps = 300, descent_steps = 0, seed = 1;  // infer
  double gamma = 3;
  std::vector<int64_t> dimensions;
  bool help = false;
};

// The text printed by --help.
std::string Usage();

// Parses `--name value` and `--name=value`. Throws UserError for an unknown option and for a missing or invalid value.
Arguments ParseArguments(const std::vector<std::string> &words);

}  // namespace dgn

#endif  // DGN_ARGUMENTS_H_

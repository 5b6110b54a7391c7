#include "jobs.h"

#include <cstdio>

#include "files.h"

namespace dgn {

void RunJob(const Arguments &arguments, Network *network) {
  Runner runner(network, arguments.warmup);
  if (arguments.job == "reconstruct") Reconstruct(arguments, &runner);
  if (arguments.job == "traverse") Traverse(arguments, &runner);
  if (arguments.job == "recombine") Recombine(arguments, &runner);
  if (arguments.job == "infer") Infer(arguments, &runner);
  if (arguments.job == "encode") Encode(arguments, &runner);
  const std::string report = runner.timing().Report(runner.inputs().front().shape.front());
  std::fputs(report.c_str(), stdout);
  WriteFile(arguments.output_path + "/time.txt", report);
}

}  // namespace dgn

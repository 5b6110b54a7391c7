// Arguments, the network, the job, and the exit code.
#include <cstdio>
#include <string>
#include <vector>

#include "arguments.h"
#include "error.h"
#include "jobs.h"
#include "lite_network.h"

int main(int argc, char **argv) {
  try {
    const dgn::Arguments arguments = dgn::ParseArguments(std::vector<std::string>(argv + 1, argv + argc));
    if (arguments.help) {
      std::fputs(dgn::Usage().c_str(), stdout);
      return 0;
    }
    const auto network = dgn::OpenLite(arguments);
    dgn::RunJob(arguments, network.get());
    return 0;
  } catch (const dgn::Error &error) {
    std::fprintf(stderr, "dgn_infer: %s\n", error.what());
    return error.exit_code();
  } catch (const std::exception &error) {
    std::fprintf(stderr, "dgn_infer: %s\n", error.what());
    return 1;
  }
}

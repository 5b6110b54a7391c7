// Parses the arguments, loads the network, runs the job and returns the exit code.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "arguments.h"
#include "error.h"
#include "jobs.h"
#include "lite_network.h"

namespace {

// Turns off the log of MindSpore Lite unless the user has set GLOG_v. MindSpore Lite reads the variable when its
// library is loaded, before main, so the program is executed again with it.
void SilenceLite(char **argv) {
  if (std::getenv("GLOG_v") == nullptr && setenv("GLOG_v", "4", 1) == 0) execv("/proc/self/exe", argv);
}

}  // namespace

int main(int argc, char **argv) {
  SilenceLite(argv);
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
  } catch (const std::bad_alloc &) {
    std::fputs("dgn_infer: not enough memory\n", stderr);
    return 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "dgn_infer: %s\n", error.what());
    return 1;
  }
}

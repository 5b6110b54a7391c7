// What the native operators share: checks of their arguments, and threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace dgn {

// What an operator returns to MindSpore; anything but kDone is an error of the call.
enum Status { kDone = 0, kWrongType = 1, kWrongCount = 2, kWrongShape = 3 };

inline Status Check(int nparam, int wanted, const char **dtypes) {
  if (nparam != wanted) return kWrongCount;
  const bool floats = std::all_of(dtypes, dtypes + nparam, [](const char *d) { return std::strcmp(d, "float32") == 0; });
  return floats ? kDone : kWrongType;
}

// OMP_NUM_THREADS if it is set, as for the other operators of the program, else one a core.
inline int64_t Threads() {
  const char *wish = std::getenv("OMP_NUM_THREADS");
  const int64_t asked = wish ? std::atoll(wish) : 0;
  return asked > 0 ? asked : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

// MindSpore binds its own threads to single cores, and a thread inherits the cores of the one that started it: gives the
// calling thread back all that the process may use, else all parts of an operator would run on one core.
inline void UseAllCores() {
#ifdef __linux__
  cpu_set_t cores;
  if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0) sched_setaffinity(0, sizeof cores, &cores);
#endif
}

// Calls work(begin, end) on parts of 0..count-1, in threads if there is enough work for that (`operations` in all;
// starting a thread takes as long as some 100,000 of them).
template <typename Work>
void ParallelFor(int64_t count, int64_t operations, Work work) {
  const int64_t threads = std::min({Threads(), operations / 100000 + 1, std::max<int64_t>(count, 1)});
  std::vector<std::thread> pool;
  for (int64_t t = 1; t < threads; ++t) {
    pool.emplace_back([=, &work] {
      UseAllCores();
      work(count * t / threads, count * (t + 1) / threads);
    });
  }
  work(int64_t{0}, count / threads);
  for (auto &thread : pool) thread.join();
}

}  // namespace dgn

// What the native operators share: checks of their arguments, and threads.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dgn {

// What an operator returns to MindSpore; anything but kDone is an error of the call.
enum Status { kDone = 0, kWrongType = 1, kWrongCount = 2, kWrongShape = 3 };

inline Status Check(int nparam, int wanted, const char **dtypes) {
  if (nparam != wanted) return kWrongCount;
  const bool floats = std::all_of(dtypes, dtypes + nparam, [](const char *d) { return std::strcmp(d, "float32") == 0; });
  return floats ? kDone : kWrongType;
}

// DGN_THREADS if it is set, else one a core. (Not OMP_NUM_THREADS: MindSpore sets that to 1 for itself.)
inline int64_t Threads() {
  const char *wish = std::getenv("DGN_THREADS");
  const int64_t asked = wish ? std::atoll(wish) : 0;
  return asked > 0 ? asked : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

// Threads that wait for parts of an operator's work. They live as long as the program: an operator takes a few
// milliseconds, and a thread that is started anew often shares the core of the one that started it for that long.
class Workers {
 public:
  static Workers &All() {
    static Workers *workers = new Workers;  // never destroyed: its threads may still wait when the program ends
    return *workers;
  }

  // Calls part(0) ... part(parts - 1), the caller taking parts like every worker; returns when all are done.
  void Run(int64_t parts, const std::function<void(int64_t)> &part) {
    const std::unique_lock<std::mutex> alone(running_, std::try_to_lock);
    if (parts < 2 || !alone.owns_lock()) {  // another operator has the workers
      for (int64_t p = 0; p < parts; ++p) part(p);
      return;
    }
    Grow(std::min(Threads(), parts) - 1);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      part_ = &part;
      next_ = 0;
      parts_ = left_ = parts;
    }
    wake_.notify_all();
    std::unique_lock<std::mutex> lock(mutex_);
    TakeParts(&lock);
    done_.wait(lock, [this] { return left_ == 0; });
  }

 private:
  void Grow(int64_t wanted) {
    for (; count_ < wanted; ++count_) {
      std::thread([this] {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
          wake_.wait(lock, [this] { return next_ < parts_; });
          TakeParts(&lock);
        }
      }).detach();
    }
  }

  void TakeParts(std::unique_lock<std::mutex> *lock) {
    while (next_ < parts_) {
      const int64_t p = next_++;
      lock->unlock();
      (*part_)(p);
      lock->lock();
      if (--left_ == 0) done_.notify_one();
    }
  }

  std::mutex running_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)> *part_ = nullptr;
  int64_t next_ = 0, parts_ = 0, left_ = 0, count_ = 0;
};

// Calls work(begin, end) on parts of 0..count-1, by several threads if there is enough to do for that (`operations` in
// all; waking a thread takes as long as some 100,000 of them).
template <typename Work>
void ParallelFor(int64_t count, int64_t operations, Work work) {
  constexpr int64_t kPartsEach = 2;  // so that a thread that comes late leaves less to wait for
  const bool worth = operations > 200000 && Threads() > 1;
  const int64_t parts = worth ? std::min(count, kPartsEach * Threads()) : 1;
  Workers::All().Run(parts, [&](int64_t p) { work(count * p / parts, count * (p + 1) / parts); });
}

}  // namespace dgn

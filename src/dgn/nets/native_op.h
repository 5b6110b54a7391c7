// Shared by the C++ operators: checks of their arguments, and a thread pool.
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

// The return value of an operator; MindSpore reports anything but kDone as an error of the call.
enum Status { kDone = 0, kWrongType = 1, kWrongCount = 2, kWrongShape = 3 };

// Checks the number of inputs and outputs, and that all are float32.
inline Status Check(int nparam, int expected, const char **dtypes) {
  if (nparam != expected) return kWrongCount;
  const auto is_float = [](const char *type) { return std::strcmp(type, "float32") == 0; };
  return std::all_of(dtypes, dtypes + nparam, is_float) ? kDone : kWrongType;
}

// DGN_THREADS if it is set, else one per core. (Not OMP_NUM_THREADS, which MindSpore sets to 1.)
inline int64_t Threads() {
  const char *text = std::getenv("DGN_THREADS");
  const int64_t requested = text ? std::atoll(text) : 0;
  return requested > 0 ? requested : std::max<int64_t>(1, std::thread::hardware_concurrency());
}

// A pool of threads that run the tasks of one operator at a time. The threads live as long as the process: an
// operator takes a few milliseconds, and for about that long a new thread often shares a core with the thread that
// started it.
class ThreadPool {
 public:
  static ThreadPool &Global() {
    static ThreadPool *pool = new ThreadPool;  // never destroyed: its threads may still wait when the process exits
    return *pool;
  }

  // Calls task(0) ... task(tasks - 1), also in the calling thread; returns when all are done.
  void Run(int64_t tasks, const std::function<void(int64_t)> &task) {
    const std::unique_lock<std::mutex> exclusive(running_, std::try_to_lock);
    if (tasks < 2 || !exclusive.owns_lock()) {  // not owned: another operator is using the pool
      for (int64_t t = 0; t < tasks; ++t) task(t);
      return;
    }
    Grow(std::min(Threads(), tasks) - 1);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      task_ = &task;
      next_ = 0;
      tasks_ = unfinished_ = tasks;
    }
    wake_.notify_all();
    std::unique_lock<std::mutex> lock(mutex_);
    RunTasks(&lock);
    done_.wait(lock, [this] { return unfinished_ == 0; });
  }

 private:
  void Grow(int64_t threads) {
    for (; threads_ < threads; ++threads_) {
      std::thread([this] {
        std::unique_lock<std::mutex> lock(mutex_);
        for (;;) {
          wake_.wait(lock, [this] { return next_ < tasks_; });
          RunTasks(&lock);
        }
      }).detach();
    }
  }

  // Runs tasks until none is left to start. `lock` holds mutex_, which is released while a task runs.
  void RunTasks(std::unique_lock<std::mutex> *lock) {
    while (next_ < tasks_) {
      const int64_t t = next_++;
      lock->unlock();
      (*task_)(t);
      lock->lock();
      if (--unfinished_ == 0) done_.notify_one();
    }
  }

  std::mutex running_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)> *task_ = nullptr;
  int64_t next_ = 0, tasks_ = 0, unfinished_ = 0, threads_ = 0;
};

// Calls work(begin, end) on ranges that cover 0 .. count - 1, in several threads if the number of arithmetic
// operations in all is worth it: waking a thread takes about as long as 100,000 of them.
template <typename Work>
void ParallelFor(int64_t count, int64_t operations, Work work) {
  constexpr int64_t kTasksPerThread = 2;  // more than one, so that a thread that wakes late delays the end less
  const bool parallel = operations > 200000 && Threads() > 1;
  const int64_t tasks = parallel ? std::min(count, kTasksPerThread * Threads()) : 1;
  ThreadPool::Global().Run(tasks, [&](int64_t t) { work(count * t / tasks, count * (t + 1) / tasks); });
}

}  // namespace dgn

// The entry point of an operator by MindSpore's interface of "aot" operators: run(nparam, params, shapes, dtypes),
// with the inputs and then the outputs in params.
#define DGN_OPERATOR(name, run)                                                                                        \
  extern "C" int name(int nparam, void **params, int *, int64_t **shapes, const char **dtypes, void *, void *) {       \
    return run(nparam, params, shapes, dtypes);                                                                        \
  }

#include "run/threads_available.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace a3c {

int threads_available(int count) noexcept {
  std::mutex mutex;
  std::condition_variable changed;
  bool counted = false;  // guarded by mutex
  std::vector<std::thread> threads;
  try {
    threads.reserve(static_cast<size_t>(count));
    while (static_cast<int>(threads.size()) < count)
      threads.emplace_back([&] {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return counted; });
      });
  } catch (const std::exception&) {  // no more threads, or no memory for another
  }
  {
    const std::lock_guard lock(mutex);
    counted = true;
  }
  changed.notify_all();
  for (std::thread& thread : threads) thread.join();
  return static_cast<int>(threads.size());
}

}  // namespace a3c

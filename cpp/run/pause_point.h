// Where the workers of a run stand still while it is paused.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace a3c {

class PausePoint {
 public:
  // For a worker, where it may stand still: returns false at once where the run is not paused, which costs one load,
  // and else true when it goes on. `stands` is true meanwhile.
  bool pass(std::atomic<bool>& stands) {
    if (!closed_.load(std::memory_order_relaxed)) return false;
    wait(stands);
    return true;
  }
  // That a worker's thread has ended.
  void leave();

  // Before the threads begin: so many workers will come by.
  void expect(int workers);
  void close();
  void open();
  // Waits until every worker stands still or has ended, at most `seconds`; false where the time was over, or it was
  // opened.
  bool wait_until_all_stand(double seconds);

 private:
  void wait(std::atomic<bool>& stands);

  std::mutex mutex_;
  std::condition_variable changed_;  // notified when any of these changes
  std::atomic<bool> closed_{false};  // written under mutex_
  int expected_ = 0, standing_ = 0;  // guarded by mutex_
};

}  // namespace a3c

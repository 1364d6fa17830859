#include "run/pause_point.h"

#include <algorithm>
#include <chrono>

#include "run/forks.h"

namespace a3c {

void PausePoint::wait(std::atomic<bool>& stands) {
  const Waiting now;  // and a fork of the process may happen
  std::unique_lock lock(mutex_);
  stands = true;
  ++standing_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return !closed_; });
  --standing_;
  stands = false;
}

void PausePoint::leave() {
  const std::lock_guard lock(mutex_);
  --expected_;
  changed_.notify_all();
}

void PausePoint::expect(int workers) {
  const std::lock_guard lock(mutex_);
  expected_ = workers;
}

void PausePoint::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

void PausePoint::open() {
  const std::lock_guard lock(mutex_);
  closed_ = false;
  changed_.notify_all();
}

bool PausePoint::wait_until_all_stand(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e8)),
                    [&] { return !closed_ || standing_ >= expected_; });
  return closed_ && standing_ >= expected_;
}

}  // namespace a3c

#include "run/stats.h"

#include <algorithm>
#include <limits>

namespace a3c {

void UpdateLog::add(const LossTerms& terms, double grad_norm) {
  const Entry entry{terms.policy_loss, terms.value_loss, terms.entropy, grad_norm};
  const std::lock_guard lock(mutex_);
  if (entries_.size() < kWindow) {
    entries_.push_back(entry);
  } else {
    entries_[next_] = entry;
    next_ = (next_ + 1) % kWindow;
  }
}

size_t UpdateLog::sum_into(Entry& sum) const {
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    sum.policy_loss += entry.policy_loss;
    sum.value_loss += entry.value_loss;
    sum.entropy += entry.entropy;
    sum.grad_norm += entry.grad_norm;
  }
  return entries_.size();
}

void StageLog::set(const StageClock& clock) {
  const std::lock_guard lock(mutex_);
  std::copy_n(clock.nanoseconds, kNumStages, nanoseconds_.begin());
}

void StageLog::sum_into(std::array<int64_t, kNumStages>& nanoseconds) const {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < nanoseconds.size(); ++i) nanoseconds[i] += nanoseconds_[i];
}

void EpisodeLog::add(double episode_return, int64_t length) {
  const std::lock_guard lock(mutex_);
  last_.emplace_back(episode_return, length);
  if (last_.size() > kWindow) last_.pop_front();
  ++count_;
}

void EpisodeLog::set_count(int64_t count) {
  const std::lock_guard lock(mutex_);
  count_ = count;
}

EpisodeLog::Summary EpisodeLog::summary() const {
  const std::lock_guard lock(mutex_);
  if (last_.empty()) {
    constexpr double nan = std::numeric_limits<double>::quiet_NaN();
    return {count_, nan, nan};
  }
  double total_return = 0, total_length = 0;
  for (const auto& [episode_return, length] : last_) {
    total_return += episode_return;
    total_length += static_cast<double>(length);
  }
  const auto n = static_cast<double>(last_.size());
  return {count_, total_return / n, total_length / n};
}

}  // namespace a3c

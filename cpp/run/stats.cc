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
  double total_return = 0, total_length = 0, total_return_short = 0;
  const size_t count = last_.size(), count_short = std::min(count, kShortWindow);
  for (size_t i = 0; i < count; ++i) {
    total_return += last_[i].first;
    total_length += static_cast<double>(last_[i].second);
    if (i >= count - count_short) total_return_short += last_[i].first;
  }
  const auto mean = [](double total, size_t n) {
    return n > 0 ? total / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
  };
  return {count_, mean(total_return, count), mean(total_length, count), mean(total_return_short, count_short)};
}

}  // namespace a3c

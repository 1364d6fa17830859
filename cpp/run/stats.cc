#include "run/stats.h"

#include <algorithm>
#include <limits>

namespace a3c {

UpdateEntry::UpdateEntry(const LossTerms& terms, double grad_norm)
    : policy_loss(terms.policy_loss),
      value_loss(terms.value_loss),
      entropy(terms.entropy),
      approx_kl(terms.approx_kl),
      clip_fraction(terms.clip_fraction),
      grad_norm(grad_norm) {}

UpdateEntry& UpdateEntry::operator+=(const UpdateEntry& other) {
  policy_loss += other.policy_loss;
  value_loss += other.value_loss;
  entropy += other.entropy;
  approx_kl += other.approx_kl;
  clip_fraction += other.clip_fraction;
  grad_norm += other.grad_norm;
  return *this;
}

void StageLog::set(const StageClock& clock) {
  const std::lock_guard lock(mutex_);
  std::copy_n(clock.nanoseconds, kNumStages, nanoseconds_.begin());
}

void StageLog::sum_into(std::array<int64_t, kNumStages>& nanoseconds) const {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < nanoseconds.size(); ++i) nanoseconds[i] += nanoseconds_[i];
}

void EpisodeLog::add(double episode_return, int64_t length, int worker, int64_t step) {
  const std::lock_guard lock(mutex_);
  const Told told{episode_return, length, worker, step};
  if (added_ < kKept)
    told_.push_back(told);
  else
    told_[static_cast<size_t>(added_ % kKept)] = told;
  ++added_;
  last_.push_back({episode_return, length});
  if (last_.size() > kWindow) last_.pop_front();
  ++count_;
}

void EpisodeLog::hear(const std::vector<Episode>& elsewhere) {
  const std::lock_guard lock(mutex_);
  for (const Episode& episode : elsewhere) {
    last_.push_back(episode);
    if (last_.size() > kWindow) last_.pop_front();
  }
  heard_ += static_cast<int64_t>(elsewhere.size());
}

void EpisodeLog::load(int64_t count, const std::vector<Episode>& recent) {
  const std::lock_guard lock(mutex_);
  count_ = count;
  heard_ = 0;
  last_.assign(recent.end() - static_cast<int64_t>(std::min(recent.size(), kWindow)), recent.end());
}

std::vector<EpisodeLog::Episode> EpisodeLog::recent() const {
  const std::lock_guard lock(mutex_);
  return {last_.begin(), last_.end()};
}

int64_t EpisodeLog::added() const {
  const std::lock_guard lock(mutex_);
  return added_;
}

std::vector<EpisodeLog::Told> EpisodeLog::since(int64_t& from, int64_t most) const {
  const std::lock_guard lock(mutex_);
  from = std::clamp(from, std::max<int64_t>(0, added_ - kKept), added_);
  std::vector<Told> found;
  const int64_t end = std::min(added_, from + most);
  found.reserve(static_cast<size_t>(end - from));
  for (int64_t n = from; n < end; ++n) found.push_back(told_[static_cast<size_t>(n % kKept)]);
  return found;
}

EpisodeLog::Summary EpisodeLog::summary() const {
  const std::lock_guard lock(mutex_);
  double total_return = 0, total_length = 0, total_return_short = 0;
  const size_t known = last_.size();
  const size_t there_were = static_cast<size_t>(count_ + heard_);
  const size_t window = std::min(there_were, kWindow), window_short = std::min(there_were, kShortWindow);
  for (size_t i = 0; i < known; ++i) {
    total_return += last_[i].episode_return;
    total_length += static_cast<double>(last_[i].length);
    if (i + window_short >= known) total_return_short += last_[i].episode_return;
  }
  const auto mean = [known](double total, size_t n) {
    return n > 0 && known >= n ? total / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
  };
  return {count_, static_cast<int64_t>(known), mean(total_return, window), mean(total_length, window),
          mean(total_return_short, window_short)};
}

}  // namespace a3c

// What a run tells about itself while it runs: written by workers, merged by readers, stopping nobody.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "learn/loss.h"
#include "stages.h"

namespace a3c {

// The losses of a worker's last updates.
class UpdateLog {
 public:
  static constexpr size_t kWindow = 100;  // updates

  struct Entry {
    double policy_loss, value_loss, entropy, grad_norm;
  };

  void add(const LossTerms& terms, double grad_norm);
  // Adds the entries of the window to `sum` and returns their number.
  size_t sum_into(Entry& sum) const;

 private:
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_: a ring of at most kWindow
  size_t next_ = 0;             // guarded by mutex_
};

// Where a worker's time went, in rollouts that are finished.
class StageLog {
 public:
  void set(const StageClock& clock);
  void sum_into(std::array<int64_t, kNumStages>& nanoseconds) const;

 private:
  mutable std::mutex mutex_;
  std::array<int64_t, kNumStages> nanoseconds_{};  // guarded by mutex_
};

// The finished episodes of all workers.
class EpisodeLog {
 public:
  static constexpr size_t kWindow = 100, kShortWindow = 20;  // episodes

  void add(double episode_return, int64_t length);
  void set_count(int64_t count);
  // The number of episodes so far and the means over the last kWindow and kShortWindow of them, or over all where there
  // are fewer; NaN before the first.
  struct Summary {
    int64_t episodes;
    double mean_return_100, mean_length_100, mean_return_20;
  };
  Summary summary() const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::pair<double, int64_t>> last_;  // guarded by mutex_
  int64_t count_ = 0;                            // guarded by mutex_
};

struct Stats {
  int64_t steps = 0;            // valid agent steps of finished rollouts
  int64_t updates = 0;          // pushes
  int64_t skipped_updates = 0;  // gradients that were not finite
  int64_t episodes = 0;
  double mean_return_100 = 0, mean_length_100 = 0, mean_return_20 = 0;  // NaN before the first episode
  double policy_loss = 0, value_loss = 0, entropy = 0, grad_norm = 0;   // NaN before the first update
  double learning_rate = 0, entropy_coef = 0;
};

}  // namespace a3c

// What a run tells about itself while it runs: written by workers, merged by readers, stopping nobody.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "learn/loss.h"
#include "learn/value_fit.h"
#include "stages.h"

namespace a3c {

// The last entries of a worker; an `Entry` adds up with +=.
template <typename T>
class Window {
 public:
  using Entry = T;
  static constexpr size_t kWindow = 100;

  void add(const Entry& entry) {
    const std::lock_guard lock(mutex_);
    entries_[added_++ % kWindow] = entry;
  }
  // Adds the entries of the window to `sum` and returns their number.
  size_t sum_into(Entry& sum) const {
    const std::lock_guard lock(mutex_);
    const size_t count = std::min(added_, kWindow);
    for (size_t i = 0; i < count; ++i) sum += entries_[i];
    return count;
  }

 private:
  mutable std::mutex mutex_;
  std::array<Entry, kWindow> entries_;  // guarded by mutex_: a ring
  size_t added_ = 0;                    // guarded by mutex_
};

// What an update says of itself.
struct UpdateEntry {
  double policy_loss = 0, value_loss = 0, entropy = 0, approx_kl = 0, clip_fraction = 0, grad_norm = 0;

  UpdateEntry() = default;
  UpdateEntry(const LossTerms& terms, double grad_norm);
  UpdateEntry& operator+=(const UpdateEntry& other);
};
using UpdateLog = Window<UpdateEntry>;

// How well the values fit the returns of each rollout.
using FitLog = Window<ValueFit>;

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

  struct Episode {
    double episode_return;
    int64_t length;  // agent steps
  };

  // One that a worker has finished, when so many steps of the run had been learned from.
  void add(double episode_return, int64_t length, int worker = 0, int64_t step = 0);
  // The number of episodes so far and the means over the last kWindow and kShortWindow of them, or over all where there
  // are fewer; NaN before the first, and where the log does not know that many of the episodes that there were.
  struct Summary {
    int64_t episodes;
    int64_t known;  // of the last kWindow
    double mean_return_100, mean_length_100, mean_return_20;
  };
  Summary summary() const;

  // Those that other hosts have finished, oldest first: they are among the last ones, and are not told of.
  void hear(const std::vector<Episode>& elsewhere);

  // What the log goes on from: the number of episodes and the last of them, oldest first, as recent() gives them.
  void load(int64_t count, const std::vector<Episode>& recent);
  std::vector<Episode> recent() const;

  // What readers are told of each episode. The log keeps the newest of them: a reader that comes late is told of fewer.
  static constexpr int64_t kKept = 1 << 16;
  struct Told {
    double episode_return;
    int64_t length;
    int32_t worker;
    int64_t step;
  };
  // How many have been added since the log was made.
  int64_t added() const;
  // Those from number `from` on that are kept, at most `most`, oldest first; `from` becomes the number of the first
  // one.
  std::vector<Told> since(int64_t& from, int64_t most) const;

 private:
  mutable std::mutex mutex_;
  std::deque<Episode> last_;  // guarded by mutex_: at most kWindow
  int64_t count_ = 0;         // guarded by mutex_
  int64_t heard_ = 0;         // guarded by mutex_: of other hosts
  std::vector<Told> told_;    // guarded by mutex_: a ring of at most kKept, number n at n % kKept
  int64_t added_ = 0;         // guarded by mutex_
};

struct Stats {
  int64_t steps = 0;            // valid agent steps of finished rollouts
  int64_t updates = 0;          // pushes
  int64_t skipped_updates = 0;  // gradients that were not finite
  int64_t episodes = 0;
  int64_t known_episodes = 0;  // of the last 100: fewer at the beginning, and after a resume that knew none
  double mean_return_100 = 0, mean_length_100 = 0, mean_return_20 = 0;  // NaN where they are not known
  double policy_loss = 0, value_loss = 0, entropy = 0, grad_norm = 0;   // NaN before the first update
  double approx_kl = 0, clip_fraction = 0;                              // so are these
  double explained_variance = 0;                                        // NaN where the returns are all the same
  double learning_rate = 0, entropy_coef = 0;
  double wall_seconds = 0;  // during which workers ran
};

}  // namespace a3c

// Running moments of what is observed and of what is paid, and what they are for: observations near 0 with deviation 1,
// and rewards in units of the deviation of their discounted sum.
//
// All workers share one set of moments. Each takes a copy before a rollout, with which it goes on until the rollout's
// end, and then adds what it has seen: two short locks a rollout, none between. Steps that only reset count in neither,
// nor does what is not finite: it would stay in the moments for ever.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "env/spec.h"

namespace a3c {

// Mean and sum of squared deviations of `count` vectors; two sets add up exactly (Chan et al. 1979).
struct Moments {
  explicit Moments(int64_t size = 0) : mean(static_cast<size_t>(size)), squares(static_cast<size_t>(size)) {}

  void add(const Moments& other);
  double variance(size_t i) const { return count > 1 ? squares[i] / count : 1.0; }

  double count = 0;
  std::vector<double> mean;
  std::vector<double> squares;  // sum of (x - mean)^2
};

// `count` vectors by the sums of (x - mean) and of (x - mean)^2 around another mean, in the fields of `Moments`. Unlike
// moments they can be subtracted, and a difference of counts below 0 makes sense.
Moments sums_around(const Moments& moments, const std::vector<double>& mean);
// The other way: of sums around `mean`.
Moments moments_of(const Moments& sums, const std::vector<double>& mean);

// Of the numbers of observations, and of the discounted returns so far; the latter have one element.
struct Normalization {
  explicit Normalization(int64_t num_features = 0) : observations(num_features), returns(1) {}
  Moments observations, returns;
};

// What is shared. From any thread.
class Normalizer {
 public:
  explicit Normalizer(int64_t num_features) : moments_(num_features) {}

  Normalization read() const;
  void add(const Normalization& seen);
  void load(const Normalization& moments);
  // Replaces the moments by what `change` makes of them; nobody adds to them meanwhile.
  template <typename Change>
  void replace(const Change& change) {
    const std::lock_guard lock(mutex_);
    moments_ = change(moments_);
  }

 private:
  mutable std::mutex mutex_;
  Normalization moments_;  // guarded by mutex_
};

// (x - mean) / sqrt(variance + 1e-8), cut at -10 and 10.
class ObservationScale {
 public:
  explicit ObservationScale(int64_t num_features);
  void set(const double* mean, const double* variance);
  void apply(const float* numbers, float* normalized) const;

 private:
  std::vector<float> mean_, inverse_deviation_;
};

// One worker's part. Its thread alone.
class WorkerNormalizer {
 public:
  WorkerNormalizer(const ObservationSpec& spec, int num_envs, bool of_observations, bool of_rewards, double gamma);

  // Before a rollout, and before its first observation where row 0 has none yet: the moments that it goes on with; the
  // observations in row 0 are normalized by them.
  void begin_rollout(const Normalizer& shared, uint8_t* row);
  // What has come of a step, or the first observation: rows are kept, counted where the agent is to act on them, and
  // normalized in place. done [num_envs].
  void observe(uint8_t* row, const uint8_t* done);
  // Normalizes other observations in place by the same moments, and counts none of them.
  void apply(uint8_t* row) const;
  // The observation at which a saved run goes on: it has been counted.
  void restore(uint8_t* row);
  // The reward that is learned from of environment `env`, whose step was the agent's own.
  float reward(int env, float paid, bool done);
  // After a rollout, and where one is broken off.
  void end_rollout(Normalizer& shared);

  std::vector<double> discounted_return;  // [num_envs] since the episode or the life began; part of a worker's state

 private:
  void normalize(uint8_t* row);
  float* numbers_of(uint8_t* row, int env) const;

  const ObservationSpec spec_;
  const int num_envs_;
  const bool of_observations_, of_rewards_;
  const double gamma_;
  Normalization moments_;           // those of this rollout
  Normalization seen_;              // since it began: sums of the differences to the mean, and of their squares
  ObservationScale scale_;          // of moments_
  float reward_scale_ = 1;          // of moments_
  std::vector<float> observation_;  // [num_envs][num_features] the newest, as the environments showed it
};

}  // namespace a3c

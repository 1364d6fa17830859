#include "learn/normalizer.h"

#include <algorithm>
#include <cmath>

namespace a3c {
namespace {

constexpr double kVarianceEps = 1e-8;
constexpr float kLimit = 10;

void clear(Moments& moments) {
  moments.count = 0;
  std::fill(moments.mean.begin(), moments.mean.end(), 0.0);
  std::fill(moments.squares.begin(), moments.squares.end(), 0.0);
}

}  // namespace

Moments sums_around(const Moments& moments, const std::vector<double>& mean) {
  Moments sums(static_cast<int64_t>(mean.size()));
  sums.count = moments.count;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double difference = moments.mean[i] - mean[i];
    sums.mean[i] = moments.count * difference;
    sums.squares[i] = moments.squares[i] + sums.mean[i] * difference;
  }
  return sums;
}

Moments moments_of(const Moments& sums, const std::vector<double>& mean) {
  Moments result(static_cast<int64_t>(mean.size()));
  result.count = sums.count;
  if (sums.count == 0) return result;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double difference = sums.mean[i] / sums.count;
    result.mean[i] = mean[i] + difference;
    result.squares[i] = std::max(0.0, sums.squares[i] - sums.mean[i] * difference);
  }
  return result;
}

void Moments::add(const Moments& other) {
  if (other.count == 0) return;
  const double total = count + other.count;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double difference = other.mean[i] - mean[i];
    mean[i] += difference * other.count / total;
    squares[i] += other.squares[i] + difference * difference * count * other.count / total;
  }
  count = total;
}

Normalization Normalizer::read() const {
  const std::lock_guard lock(mutex_);
  return moments_;
}

void Normalizer::add(const Normalization& seen) {
  const std::lock_guard lock(mutex_);
  moments_.observations.add(seen.observations);
  moments_.returns.add(seen.returns);
}

void Normalizer::load(const Normalization& moments) {
  const std::lock_guard lock(mutex_);
  moments_ = moments;
}

ObservationScale::ObservationScale(int64_t num_features)
    : mean_(static_cast<size_t>(num_features)), inverse_deviation_(static_cast<size_t>(num_features), 1.0f) {}

void ObservationScale::set(const double* mean, const double* variance) {
  for (size_t i = 0; i < mean_.size(); ++i) {
    mean_[i] = static_cast<float>(mean[i]);
    inverse_deviation_[i] = static_cast<float>(1 / std::sqrt(variance[i] + kVarianceEps));
  }
}

void ObservationScale::apply(const float* numbers, float* normalized) const {
  for (size_t i = 0; i < mean_.size(); ++i)
    normalized[i] = std::clamp((numbers[i] - mean_[i]) * inverse_deviation_[i], -kLimit, kLimit);
}

WorkerNormalizer::WorkerNormalizer(const ObservationSpec& spec, int num_envs, bool of_observations, bool of_rewards,
                                   double gamma)
    : discounted_return(static_cast<size_t>(num_envs)),
      spec_(spec),
      num_envs_(num_envs),
      of_observations_(of_observations && spec.num_features > 0),
      of_rewards_(of_rewards),
      gamma_(gamma),
      moments_(spec.num_features),
      seen_(spec.num_features),
      scale_(spec.num_features),
      observation_(static_cast<size_t>(num_envs * spec.num_features)) {}

float* WorkerNormalizer::numbers_of(uint8_t* row, int env) const {
  return reinterpret_cast<float*>(row + env * spec_.bytes() + spec_.features_offset());
}

void WorkerNormalizer::begin_rollout(const Normalizer& shared, uint8_t* row) {
  if (!of_observations_ && !of_rewards_) return;
  moments_ = shared.read();
  if (of_observations_) {
    std::vector<double> variance(moments_.observations.mean.size());
    for (size_t i = 0; i < variance.size(); ++i) variance[i] = moments_.observations.variance(i);
    scale_.set(moments_.observations.mean.data(), variance.data());
    normalize(row);
  }
  if (of_rewards_) reward_scale_ = static_cast<float>(1 / std::sqrt(moments_.returns.variance(0) + kVarianceEps));
}

void WorkerNormalizer::observe(uint8_t* row, const uint8_t* done) {
  if (!of_observations_) return;
  const auto size = static_cast<size_t>(spec_.num_features);
  Moments& seen = seen_.observations;
  const double* around = moments_.observations.mean.data();
  for (int env = 0; env < num_envs_; ++env) {
    const float* numbers = numbers_of(row, env);
    std::copy_n(numbers, size, &observation_[env * size]);
    if (done[env]) continue;  // the next step is none of the agent's
    if (!std::all_of(numbers, numbers + size, [](float x) { return std::isfinite(x); })) continue;
    seen.count += 1;
    for (size_t i = 0; i < size; ++i) {
      const double difference = numbers[i] - around[i];
      seen.mean[i] += difference;
      seen.squares[i] += difference * difference;
    }
  }
  normalize(row);
}

void WorkerNormalizer::restore(uint8_t* row) {
  if (!of_observations_) return;
  const auto size = static_cast<size_t>(spec_.num_features);
  for (int env = 0; env < num_envs_; ++env) std::copy_n(numbers_of(row, env), size, &observation_[env * size]);
}

void WorkerNormalizer::normalize(uint8_t* row) {
  for (int env = 0; env < num_envs_; ++env)
    scale_.apply(&observation_[static_cast<size_t>(env * spec_.num_features)], numbers_of(row, env));
}

void WorkerNormalizer::apply(uint8_t* row) const {
  if (!of_observations_) return;
  for (int env = 0; env < num_envs_; ++env) scale_.apply(numbers_of(row, env), numbers_of(row, env));
}

float WorkerNormalizer::reward(int env, float paid, bool done) {
  if (!of_rewards_ || !std::isfinite(paid)) return paid;
  double& sum = discounted_return[env];
  sum = gamma_ * sum + paid;
  const double difference = sum - moments_.returns.mean[0];
  seen_.returns.count += 1;
  seen_.returns.mean[0] += difference;
  seen_.returns.squares[0] += difference * difference;
  if (done) sum = 0;
  return std::clamp(paid * reward_scale_, -kLimit, kLimit);
}

void WorkerNormalizer::end_rollout(Normalizer& shared) {
  if (!of_observations_ && !of_rewards_) return;
  Normalization seen(spec_.num_features);
  if (seen_.observations.count > 0) seen.observations = moments_of(seen_.observations, moments_.observations.mean);
  if (seen_.returns.count > 0) seen.returns = moments_of(seen_.returns, moments_.returns.mean);
  shared.add(seen);
  clear(seen_.observations);
  clear(seen_.returns);
}

}  // namespace a3c

#include "run/agreement.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace a3c {
namespace {

// a + sign * b, of sums around the same mean.
Moments combined(Moments a, const Moments& b, double sign) {
  a.count += sign * b.count;
  for (size_t i = 0; i < a.mean.size(); ++i) {
    a.mean[i] += sign * b.mean[i];
    a.squares[i] += sign * b.squares[i];
  }
  return a;
}

// Sums around `from` as sums around `to`.
Moments moved(Moments sums, const std::vector<double>& from, const std::vector<double>& to) {
  for (size_t i = 0; i < from.size(); ++i) {
    const double shift = from[i] - to[i];
    sums.squares[i] += shift * (2 * sums.mean[i] + sums.count * shift);
    sums.mean[i] += sums.count * shift;
  }
  return sums;
}

// What has been added to `agreed` to make `now`, as sums around the mean of `agreed`.
Moments since(const Moments& now, const Moments& agreed) {
  return combined(sums_around(now, agreed.mean), sums_around(agreed, agreed.mean), -1);
}

// `agreed` and what was done since, sums around the mean of `agreed`.
Moments with(const Moments& agreed, const Moments& sums) {
  return moments_of(combined(sums_around(agreed, agreed.mean), sums, 1), agreed.mean);
}

double* write(const Moments& moments, double* to) {
  *to++ = moments.count;
  to = std::copy(moments.mean.begin(), moments.mean.end(), to);
  return std::copy(moments.squares.begin(), moments.squares.end(), to);
}

const double* read(const double* from, Moments& moments) {
  moments.count = *from++;
  const auto size = moments.mean.size();
  std::copy_n(from, size, moments.mean.begin());
  std::copy_n(from + size, size, moments.squares.begin());
  return from + 2 * size;
}

int64_t whole(double count) {
  return static_cast<int64_t>(std::llround(count));
}

}  // namespace

void Agreement::Counts::write(double* counts) const {
  for (const double count : {steps, updates, episodes, skipped_updates}) *counts++ = count;
  a3c::write(moments.returns, a3c::write(moments.observations, counts));
}

void Agreement::Counts::read(const double* counts) {
  for (double* count : {&steps, &updates, &episodes, &skipped_updates}) *count = *counts++;
  a3c::read(a3c::read(counts, moments.observations), moments.returns);
}

Agreement::Agreement(Shared& shared)
    : shared_(shared),
      agreed_(static_cast<size_t>(shared.params.size())),
      agreed_counts_(now()),
      taken_(agreed_.size()),
      taken_counts_(static_cast<int64_t>(agreed_counts_.moments.observations.mean.size())) {
  shared.params.pull(agreed_.data());
}

void Agreement::begin() {
  give_back();
  const std::lock_guard lock(mutex_);
  agreed_counts_ = now();
  shared_.params.pull(agreed_.data());
}

int64_t Agreement::num_counts() const {
  return 4 + 2 + 2 * static_cast<int64_t>(agreed_counts_.moments.observations.mean.size() + 1);
}

Agreement::Counts Agreement::now() const {
  const Normalization moments = shared_.normalizer.read();
  Counts counts(static_cast<int64_t>(moments.observations.mean.size()));
  counts.steps = static_cast<double>(shared_.steps.load());
  counts.updates = static_cast<double>(shared_.params.updates() + shared_.updates_elsewhere.load());
  counts.episodes = static_cast<double>(shared_.episodes.summary().episodes + shared_.episodes_elsewhere.load());
  counts.skipped_updates = static_cast<double>(shared_.skipped_updates.load());
  counts.moments = moments;
  return counts;
}

void Agreement::take(float* difference, double* counts) {
  const std::lock_guard lock(mutex_);
  shared_.params.pull(taken_.data());
  for (size_t i = 0; i < taken_.size(); ++i) taken_[i] -= agreed_[i];
  std::copy(taken_.begin(), taken_.end(), difference);

  const Counts present = now();
  taken_counts_.steps = present.steps - agreed_counts_.steps;
  taken_counts_.updates = present.updates - agreed_counts_.updates;
  taken_counts_.episodes = present.episodes - agreed_counts_.episodes;
  taken_counts_.skipped_updates = present.skipped_updates - agreed_counts_.skipped_updates;
  taken_counts_.moments.observations = since(present.moments.observations, agreed_counts_.moments.observations);
  taken_counts_.moments.returns = since(present.moments.returns, agreed_counts_.moments.returns);
  taken_counts_.write(counts);
}

void Agreement::add(const float* total, const double* counts) {
  const std::lock_guard lock(mutex_);
  std::vector<float> agreed(agreed_.size());
  for (size_t i = 0; i < agreed.size(); ++i) agreed[i] = agreed_[i] + total[i];

  Counts sums = taken_counts_, next = agreed_counts_;
  sums.read(counts);
  next.steps += sums.steps;
  next.updates += sums.updates;
  next.episodes += sums.episodes;
  next.skipped_updates += sums.skipped_updates;
  next.moments.observations = with(agreed_counts_.moments.observations, sums.moments.observations);
  next.moments.returns = with(agreed_counts_.moments.returns, sums.moments.returns);
  become(std::move(agreed), next);
}

void Agreement::adopt(const float* agreed, const double* counts) {
  const std::lock_guard lock(mutex_);
  Counts next = agreed_counts_;
  next.read(counts);
  become({agreed, agreed + agreed_.size()}, next);
}

void Agreement::become(std::vector<float> agreed, const Counts& counts) {
  std::vector<float> delta(agreed.size());
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = (agreed[i] - agreed_[i]) - taken_[i];
  shared_.params.add(delta.data());
  agreed_ = std::move(agreed);
  std::fill(taken_.begin(), taken_.end(), 0.0f);

  const Counts before = std::exchange(agreed_counts_, counts);
  const Counts taken =
      std::exchange(taken_counts_, Counts(static_cast<int64_t>(before.moments.observations.mean.size())));
  const int64_t steps = whole(counts.steps - before.steps - taken.steps);
  shared_.steps += steps;
  shared_.claimed += steps;
  shared_.updates_elsewhere += whole(counts.updates - before.updates - taken.updates);
  shared_.episodes_elsewhere += whole(counts.episodes - before.episodes - taken.episodes);
  shared_.skipped_updates += whole(counts.skipped_updates - before.skipped_updates - taken.skipped_updates);
  const auto moments = [](const Moments& present, const Moments& old, const Moments& sent, const Moments& agreed_now) {
    const Moments kept = combined(since(present, old), sent, -1);
    if (kept.count == 0) return agreed_now;  // and no rounding of what was dropped
    return with(agreed_now, moved(kept, old.mean, agreed_now.mean));
  };
  shared_.normalizer.replace([&](const Normalization& present) {
    Normalization next = present;
    next.observations = moments(present.observations, before.moments.observations, taken.moments.observations,
                                counts.moments.observations);
    next.returns = moments(present.returns, before.moments.returns, taken.moments.returns, counts.moments.returns);
    return next;
  });
}

void Agreement::give_back() {
  const std::lock_guard lock(mutex_);
  std::fill(taken_.begin(), taken_.end(), 0.0f);
  taken_counts_ = Counts(static_cast<int64_t>(agreed_counts_.moments.observations.mean.size()));
}

void Agreement::read(float* agreed, double* counts) {
  const std::lock_guard lock(mutex_);
  std::copy(agreed_.begin(), agreed_.end(), agreed);
  agreed_counts_.write(counts);
}

}  // namespace a3c

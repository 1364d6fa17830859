#include "learn/normalizer.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/random.h"

namespace a3c {
namespace {

using Doubles = std::vector<double>;
using Rows = std::vector<std::vector<float>>;  // of the numbers of observations

constexpr double kGamma = 0.9;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Far from 0, where sums of squares would have nothing left of a variance.
Rows random_rows(size_t count, size_t size, uint64_t seed, float center = 1000) {
  Random random(seed);
  Rows rows(count, std::vector<float>(size));
  for (std::vector<float>& row : rows)
    for (size_t i = 0; i < size; ++i)
      row[i] = center * static_cast<float>(i + 1) + (2 * random.uniform() - 1) * static_cast<float>(i + 1);
  return rows;
}

// By the definition: the mean first, and then the deviations from it.
Moments moments_of(const Rows& rows, size_t begin, size_t end) {
  Moments result(static_cast<int64_t>(rows[0].size()));
  result.count = static_cast<double>(end - begin);
  for (size_t i = 0; i < rows[0].size() && end > begin; ++i) {
    for (size_t n = begin; n < end; ++n) result.mean[i] += rows[n][i] / result.count;
    for (size_t n = begin; n < end; ++n) result.squares[i] += std::pow(rows[n][i] - result.mean[i], 2);
  }
  return result;
}

void check_close(const Moments& found, const Moments& expected) {
  CHECK_EQUAL(found.count, expected.count);
  for (size_t i = 0; i < expected.mean.size(); ++i) {
    CHECK_CLOSE(found.mean[i], expected.mean[i], 1e-7 * (1 + std::abs(expected.mean[i])));
    CHECK_CLOSE(found.squares[i], expected.squares[i], 1e-6 * (1e-3 + expected.squares[i]));
  }
}

bool same(const Normalization& a, const Normalization& b) {
  const auto equal = [](const Moments& x, const Moments& y) {
    return x.count == y.count && x.mean == y.mean && x.squares == y.squares;
  };
  return equal(a.observations, b.observations) && equal(a.returns, b.returns);
}

TEST(moments_add_up_to_those_of_all_however_they_are_split) {
  const Rows rows = random_rows(50, 3, 1);
  const Moments whole = moments_of(rows, 0, 50);
  for (size_t first = 0; first <= 50; ++first)
    for (const size_t second : {first, (first + 50) / 2, size_t{50}}) {
      Moments sum(3);
      sum.add(moments_of(rows, 0, first));
      sum.add(moments_of(rows, first, second));
      sum.add(moments_of(rows, second, 50));
      check_close(sum, whole);
    }
  Moments one_by_one(3);
  for (size_t n = 0; n < 50; ++n) one_by_one.add(moments_of(rows, n, n + 1));
  check_close(one_by_one, whole);
}

TEST(the_variance_is_1_until_two_are_known) {
  Moments moments(1);
  CHECK_EQUAL(moments.variance(0), 1.0);
  moments.add(moments_of({{5}}, 0, 1));
  CHECK_EQUAL(moments.variance(0), 1.0);
  moments.add(moments_of({{7}}, 0, 1));
  CHECK_CLOSE(moments.variance(0), 1.0, 1e-12);
  moments.add(moments_of({{12}}, 0, 1));
  CHECK_CLOSE(moments.variance(0), (9 + 1 + 16) / 3.0, 1e-12);
}

TEST(a_scale_takes_the_mean_away_and_divides_by_the_deviation_and_cuts_at_10) {
  ObservationScale scale(3);
  const Doubles mean{100, -2, 5}, variance{25, 4, 0};
  scale.set(mean.data(), variance.data());
  const auto apply = [&](const std::vector<float>& numbers) {
    std::vector<float> result(3);
    scale.apply(numbers.data(), result.data());
    return result;
  };
  const std::vector<float> normalized = apply({110, -3, 5});
  CHECK_CLOSE(normalized[0], 2, 1e-5);
  CHECK_CLOSE(normalized[1], -0.5, 1e-5);
  CHECK_EQUAL(normalized[2], 0.0f);  // what never changes is 0 and no NaN
  CHECK(apply({1000, -1000, 6}) == (std::vector<float>{10, -10, 10}));
  ObservationScale fresh(1);
  float number = 0.7f;
  fresh.apply(&number, &number);
  CHECK_EQUAL(number, 0.7f);
}

// The normalizer of one worker and a row of observations: two numbers behind three bytes each.
struct Observer {
  explicit Observer(int envs, bool of_observations = true, bool of_rewards = false)
      : num_envs(envs),
        normalizer(spec, envs, of_observations, of_rewards, kGamma),
        row(static_cast<size_t>(envs * spec.bytes()), 99) {}

  // Writes the numbers of all environments as they come from outside, and has them observed.
  void observe(const Rows& numbers, std::vector<uint8_t> done = {}) {
    done.resize(num_envs);
    for (int env = 0; env < num_envs; ++env) std::memcpy(at(env), numbers[env].data(), 8);
    normalizer.observe(row.data(), done.data());
  }
  uint8_t* at(int env) { return row.data() + env * spec.bytes() + spec.features_offset(); }
  std::vector<float> numbers(int env) {
    std::vector<float> result(2);
    std::memcpy(result.data(), at(env), 8);
    return result;
  }
  void begin(const Normalizer& shared) { normalizer.begin_rollout(shared, row.data()); }

  const ObservationSpec spec = array_of({3}, ElementType::uint8, 2);
  const int num_envs;
  WorkerNormalizer normalizer;
  std::vector<uint8_t> row;
};

std::vector<float> normalized(const std::vector<float>& numbers, const Moments& moments) {
  std::vector<float> result;
  for (size_t i = 0; i < numbers.size(); ++i)
    result.push_back(static_cast<float>((numbers[i] - moments.mean[i]) / std::sqrt(moments.variance(i) + 1e-8)));
  return result;
}

void check_close(const std::vector<float>& found, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) CHECK_CLOSE(found[i], expected[i], 1e-3);  // floats of 1000
}

TEST(what_was_observed_in_a_rollout_is_merged_at_its_end) {
  Normalizer shared(2);
  Observer observer(2);
  const Rows rows = random_rows(12, 2, 2);
  size_t seen = 0;
  for (int rollout = 0; rollout < 3; ++rollout) {
    observer.begin(shared);
    for (int t = 0; t < 2; ++t, seen += 2) observer.observe({rows[seen], rows[seen + 1]});
    CHECK_EQUAL(shared.read().observations.count, static_cast<double>(seen - 4));  // nothing before the end
    observer.normalizer.end_rollout(shared);
    check_close(shared.read().observations, moments_of(rows, 0, seen));
  }
  observer.normalizer.end_rollout(shared);  // nothing was seen since
  check_close(shared.read().observations, moments_of(rows, 0, seen));
  CHECK_EQUAL(shared.read().returns.count, 0.0);
}

TEST(observations_on_which_nobody_acts_are_not_counted_and_normalized_all_the_same) {
  Normalizer shared(2);
  const Rows rows = random_rows(4, 2, 3);
  Normalization known(2);
  known.observations = moments_of(random_rows(20, 2, 4), 0, 20);
  shared.load(known);
  Observer observer(2);
  observer.begin(shared);
  observer.observe({rows[0], rows[1]}, {1, 0});
  observer.observe({rows[2], rows[3]}, {0, 1});
  for (int env = 0; env < 2; ++env) check_close(observer.numbers(env), normalized(rows[2 + env], known.observations));
  observer.normalizer.end_rollout(shared);
  Moments expected = known.observations;
  expected.add(moments_of({rows[1], rows[2]}, 0, 2));
  check_close(shared.read().observations, expected);
}

TEST(an_array_and_what_lies_behind_it_stay_as_they_are) {
  Normalizer shared(2);
  Observer observer(2);
  observer.begin(shared);
  observer.observe(random_rows(2, 2, 5));
  observer.begin(shared);
  for (int env = 0; env < 2; ++env)
    for (int i = 0; i < 4; ++i) CHECK_EQUAL(int{observer.row[env * observer.spec.bytes() + i]}, 99);
}

TEST(a_rollout_begins_with_the_newest_moments_of_the_observation_as_it_was_shown) {
  Normalizer shared(2);
  Observer observer(1);
  const Rows rows = random_rows(1, 2, 6, 3);
  observer.begin(shared);
  observer.observe(rows);
  CHECK(observer.numbers(0) == rows[0]);  // nothing is known
  for (const uint64_t seed : {7, 8}) {
    Normalization known(2);
    known.observations = moments_of(random_rows(20, 2, seed, 3), 0, 20);
    shared.load(known);
    CHECK(observer.numbers(0) != normalized(rows[0], known.observations));
    observer.begin(shared);
    check_close(observer.numbers(0), normalized(rows[0], known.observations));
  }
}

TEST(a_saved_observation_is_normalized_again_and_not_counted_again) {
  Normalization known(2);
  known.observations = moments_of(random_rows(20, 2, 9), 0, 20);
  Normalizer shared(2);
  shared.load(known);
  const Rows rows = random_rows(1, 2, 10);
  Observer observer(1);
  std::memcpy(observer.at(0), rows[0].data(), 8);
  observer.normalizer.restore(observer.row.data());
  observer.begin(shared);
  check_close(observer.numbers(0), normalized(rows[0], known.observations));
  observer.normalizer.end_rollout(shared);
  CHECK(same(shared.read(), known));
}

TEST(rewards_are_measured_by_the_deviation_of_their_discounted_sum_and_cut_at_10) {
  Normalizer shared(2);
  Observer observer(2, false, true);
  observer.begin(shared);
  CHECK_EQUAL(observer.normalizer.reward(0, 7, false), 7.0f);  // nothing is known
  CHECK_EQUAL(observer.normalizer.reward(0, -70, false), -10.0f);

  Normalization known(2);
  known.returns.count = 50;
  known.returns.mean = {300};
  known.returns.squares = {50 * 16.0};
  shared.load(known);
  Observer other(2, false, true);
  other.begin(shared);
  const float paid[] = {2, -1, 100, 3};
  const bool done[] = {false, false, true, false};
  const float expected[] = {0.5f, -0.25f, 10, 0.75f};
  Rows sums;
  double sum = 0;
  for (int t = 0; t < 4; ++t) {
    CHECK_CLOSE(other.normalizer.reward(1, paid[t], done[t]), expected[t], 1e-6);  // the mean is not taken away
    sum = kGamma * sum + double{paid[t]};
    sums.push_back({static_cast<float>(sum)});
    if (done[t]) sum = 0;
    CHECK_CLOSE(other.normalizer.discounted_return[1], sum, 1e-9);
  }
  CHECK_EQUAL(other.normalizer.discounted_return[0], 0.0);
  other.normalizer.end_rollout(shared);
  Moments merged = known.returns;
  merged.add(moments_of(sums, 0, 4));
  check_close(shared.read().returns, merged);
  CHECK_EQUAL(shared.read().observations.count, 0.0);
}

// It would be in the moments for ever, and in what all workers see.
TEST(what_is_not_finite_is_counted_nowhere) {
  const Rows rows = random_rows(3, 2, 14);
  for (const float odd : {kNan, kInf, -kInf}) {
    Normalizer shared(2);
    Observer observer(2, true, true);
    observer.begin(shared);
    observer.observe({rows[0], {rows[1][0], odd}});
    observer.observe({{odd, rows[1][1]}, rows[2]});
    for (const float paid : {1.0f, odd, 2.0f}) observer.normalizer.reward(0, paid, false);
    CHECK(!std::isfinite(observer.normalizer.reward(1, odd, false)));  // its update is skipped
    observer.normalizer.end_rollout(shared);
    check_close(shared.read().observations, moments_of({rows[0], rows[2]}, 0, 2));
    check_close(shared.read().returns, moments_of({{1}, {2.9f}}, 0, 2));
  }
}

TEST(the_order_in_which_workers_merge_matters_by_a_rounding_alone) {
  const Rows rows = random_rows(40, 2, 11);
  const auto merged = [&](bool first_is_first) {
    Normalizer shared(2);
    Observer one(1, true, true), two(1, true, true);
    for (int rollout = 0; rollout < 4; ++rollout) {
      for (Observer* observer : {&one, &two}) observer->begin(shared);  // both from the same moments
      for (int t = 0; t < 5; ++t) {
        one.observe({rows[rollout * 10 + t]});
        two.observe({rows[rollout * 10 + 5 + t]});
        one.normalizer.reward(0, static_cast<float>(t), false);
        two.normalizer.reward(0, static_cast<float>(t * t), t == 3);
      }
      (first_is_first ? one : two).normalizer.end_rollout(shared);
      (first_is_first ? two : one).normalizer.end_rollout(shared);
    }
    return shared.read();
  };
  const Normalization a = merged(true), b = merged(false);
  CHECK_EQUAL(a.observations.count, 40.0);
  CHECK_EQUAL(a.returns.count, 40.0);
  check_close(a.observations, b.observations);
  check_close(a.observations, moments_of(rows, 0, 40));
  check_close(a.returns, b.returns);
}

TEST(what_is_off_is_left_alone) {
  Normalization known(2);
  known.observations = moments_of(random_rows(20, 2, 12), 0, 20);
  known.returns.count = 50;
  known.returns.squares = {50 * 16.0};
  const Rows rows = random_rows(1, 2, 13);
  for (const bool of_observations : {false, true})
    for (const bool of_rewards : {false, true}) {
      Normalizer shared(2);
      shared.load(known);
      Observer observer(1, of_observations, of_rewards);
      observer.begin(shared);
      observer.observe(rows);
      const float reward = observer.normalizer.reward(0, 1e6f, false);
      CHECK_EQUAL(observer.numbers(0) == rows[0], !of_observations);
      CHECK_EQUAL(reward, of_rewards ? 10.0f : 1e6f);
      observer.normalizer.end_rollout(shared);
      CHECK_EQUAL(shared.read().observations.count, of_observations ? 21.0 : 20.0);
      CHECK_EQUAL(shared.read().returns.count, of_rewards ? 51.0 : 50.0);
      CHECK_EQUAL(observer.normalizer.discounted_return[0] != 0, of_rewards);
    }
}

// An image has no numbers: there is nothing to keep, and nothing may be touched.
TEST(an_image_without_numbers_is_left_alone) {
  const ObservationSpec spec = array_of({5});
  Normalizer shared(0);
  WorkerNormalizer normalizer(spec, 2, true, false, kGamma);
  std::vector<uint8_t> row(10, 99);
  const std::vector<uint8_t> done(2), before = row;
  normalizer.restore(row.data());
  normalizer.begin_rollout(shared, row.data());
  normalizer.observe(row.data(), done.data());
  normalizer.end_rollout(shared);
  CHECK(row == before);
  CHECK_EQUAL(shared.read().observations.count, 0.0);
}

TEST(workers_merge_while_others_read) {
  Normalizer shared(2);
  constexpr int kThreads = 4, kEach = 500;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      Observer observer(1);
      for (int j = 0; j < kEach; ++j) {
        observer.begin(shared);
        observer.observe({{3, 5}});
        observer.normalizer.end_rollout(shared);
      }
    });
  bool whole = true;
  for (int j = 0; j < kEach; ++j) {
    const Moments moments = shared.read().observations;
    whole &= moments.count == 0 || (moments.mean[0] == 3 && moments.mean[1] == 5 && moments.squares[0] == 0);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(whole);
  CHECK_EQUAL(shared.read().observations.count, double{kThreads * kEach});
}

}  // namespace
}  // namespace a3c

// Several hosts in one process: what each has, and what all agree on, by the definition.
#include "run/agreement.h"

#include <atomic>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/random.h"

namespace a3c {
namespace {

constexpr int64_t kParameters = 37, kFeatures = 3;

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// Samples that a normalizer has seen, kept for the definition.
struct Seen {
  std::vector<Doubles> observations;
  Doubles returns;
};

struct Host {
  Shared shared{small_config(), 1, kParameters, kFeatures};
  std::unique_ptr<Agreement> agreement;
  Floats difference = Floats(kParameters);
  Doubles counts;
  Random random;

  explicit Host(uint64_t seed) : random(seed) {
    agreement = std::make_unique<Agreement>(shared);
    counts.resize(static_cast<size_t>(agreement->num_counts()));
  }

  Floats theta() const {
    Floats values(kParameters);
    shared.params.pull(values.data());
    return values;
  }
  Floats agreed() {
    Floats values(kParameters);
    Doubles ignored(counts.size());
    agreement->read(values.data(), ignored.data());
    return values;
  }
  Doubles agreed_counts() {
    Floats ignored(kParameters);
    Doubles values(counts.size());
    agreement->read(ignored.data(), values.data());
    return values;
  }

  // As workers do it.
  void learn(Seen& seen, int steps) {
    const SharedParams::Push push = shared.params.begin_push(1, 1e-2);
    Floats gradient(kParameters);
    for (float& g : gradient) g = random.uniform() - 0.5f;
    shared.params.push(push, 0, kParameters, gradient.data());
    shared.steps += steps;
    shared.claimed += steps;
    shared.episodes.add(1, steps);
    Normalization sums(kFeatures);
    for (int n = 0; n < steps; ++n) {
      Doubles row;
      for (int64_t i = 0; i < kFeatures; ++i) row.push_back(1000 * static_cast<double>(i) + random.uniform());
      const double discounted = random.uniform();
      Normalization one(kFeatures);
      one.observations.count = one.returns.count = 1;
      one.observations.mean = row;
      one.returns.mean = {discounted};
      sums.observations.add(one.observations);
      sums.returns.add(one.returns);
      seen.observations.push_back(row);
      seen.returns.push_back(discounted);
    }
    shared.normalizer.add(sums);
  }

  void take() { agreement->take(difference.data(), counts.data()); }
};

template <typename T>
std::vector<T> sum(const std::vector<T>& a, const std::vector<T>& b) {
  std::vector<T> result(a.size());
  for (size_t i = 0; i < a.size(); ++i) result[i] = a[i] + b[i];
  return result;
}

void add(Host& host, const Floats& total, const Doubles& counts) {
  host.agreement->add(total.data(), counts.data());
}

void exchange(Host& a, Host& b) {
  a.take();
  b.take();
  const Floats total = sum(a.difference, b.difference);
  const Doubles counts = sum(a.counts, b.counts);
  add(a, total, counts);
  add(b, total, counts);
}

void check_close(const Floats& found, const Floats& expected) {
  for (size_t i = 0; i < expected.size(); ++i) CHECK_CLOSE(found[i], expected[i], 1e-6);
}

void check_moments(const Host& host, const Seen& seen) {
  const Normalization found = host.shared.normalizer.read();
  CHECK_EQUAL(found.observations.count, static_cast<double>(seen.observations.size()));
  for (size_t i = 0; i < kFeatures; ++i) {
    double mean = 0, squares = 0;
    for (const Doubles& row : seen.observations) mean += row[i] / static_cast<double>(seen.observations.size());
    for (const Doubles& row : seen.observations) squares += std::pow(row[i] - mean, 2);
    CHECK_CLOSE(found.observations.mean[i], mean, 1e-9 * (1 + mean));
    // Before anything is agreed on sums are around 0, and have the rounding of the squared mean.
    CHECK_CLOSE(found.observations.squares[i], squares,
                1e-6 * squares + 1e-14 * found.observations.count * mean * mean);
  }
  CHECK_EQUAL(found.returns.count, static_cast<double>(seen.returns.size()));
}

TEST(each_host_has_what_all_have_learned) {
  Host a(1), b(2);
  Seen seen;
  Floats expected = a.theta();
  for (int round = 0; round < 5; ++round) {
    const Floats before_a = a.theta(), before_b = b.theta();
    for (int n = 0; n <= round; ++n) a.learn(seen, 3);
    b.learn(seen, 4);
    for (size_t i = 0; i < expected.size(); ++i)
      expected[i] += (a.theta()[i] - before_a[i]) + (b.theta()[i] - before_b[i]);
    exchange(a, b);
    check_close(a.theta(), expected);
    check_close(b.theta(), expected);
    CHECK(a.agreed() == b.agreed());
    CHECK(a.agreed_counts() == b.agreed_counts());
    check_moments(a, seen);
    check_moments(b, seen);
  }
  CHECK_EQUAL(a.shared.steps.load(), 3 * 15 + 4 * 5);
  CHECK_EQUAL(b.shared.steps.load(), 3 * 15 + 4 * 5);
  CHECK_EQUAL(a.shared.claimed.load(), 3 * 15 + 4 * 5);
  CHECK_EQUAL(a.shared.params.updates(), 15);  // the optimizer's own count stays each host's
  CHECK_EQUAL(a.shared.params.updates() + a.shared.updates_elsewhere.load(), 20);
  CHECK_EQUAL(b.shared.params.updates() + b.shared.updates_elsewhere.load(), 20);
  CHECK_EQUAL(b.shared.episodes.summary().episodes + b.shared.episodes_elsewhere.load(), 20);
}

TEST(what_is_learned_during_an_exchange_is_in_the_next) {
  Host a(1), b(2);
  Seen seen;
  a.learn(seen, 2);
  b.learn(seen, 2);
  a.take();
  b.take();
  const Floats total = sum(a.difference, b.difference);
  const Doubles counts = sum(a.counts, b.counts);
  const Floats before = a.theta();
  a.learn(seen, 5);
  const Floats after = a.theta();
  add(a, total, counts);
  add(b, total, counts);
  Floats later(kParameters);
  for (size_t i = 0; i < later.size(); ++i) later[i] = after[i] - before[i];
  check_close(a.theta(), sum(b.theta(), later));
  CHECK_EQUAL(a.shared.steps.load(), 9);
  CHECK_EQUAL(b.shared.steps.load(), 4);
  exchange(a, b);
  check_close(a.theta(), b.theta());
  CHECK_EQUAL(b.shared.steps.load(), 9);
  check_moments(a, seen);
  check_moments(b, seen);
}

TEST(an_exchange_that_failed_is_made_again) {
  Host a(1), b(2);
  Seen seen;
  a.learn(seen, 2);
  a.take();
  const Floats first = a.difference;
  a.agreement->give_back();
  a.take();
  CHECK(a.difference == first);
  a.agreement->give_back();
  b.learn(seen, 3);
  exchange(a, b);
  check_close(a.theta(), b.theta());
  check_moments(a, seen);
  check_moments(b, seen);
}

// The sum reached one host and not the other: its own part is in it already.
TEST(one_that_missed_the_end_of_an_exchange_adopts_it) {
  Host a(1), b(2);
  Seen seen;
  a.learn(seen, 2);
  b.learn(seen, 3);
  a.take();
  b.take();
  add(a, sum(a.difference, b.difference), sum(a.counts, b.counts));
  b.learn(seen, 4);  // and goes on
  Floats agreed(kParameters);
  Doubles counts(a.counts.size());
  a.agreement->read(agreed.data(), counts.data());
  b.agreement->adopt(agreed.data(), counts.data());
  CHECK(b.agreed() == a.agreed());
  CHECK_EQUAL(b.shared.steps.load(), 9);
  exchange(a, b);
  check_close(a.theta(), b.theta());
  CHECK_EQUAL(a.shared.steps.load(), 9);
  check_moments(a, seen);
  check_moments(b, seen);
}

TEST(one_that_was_away_drops_what_it_did_alone) {
  Host a(1), b(2);
  Seen seen, lost;
  exchange(a, b);
  a.learn(seen, 2);
  b.learn(lost, 30);
  a.take();
  add(a, a.difference, a.counts);
  Floats agreed(kParameters);
  Doubles counts(a.counts.size());
  a.agreement->read(agreed.data(), counts.data());
  b.take();
  b.agreement->adopt(agreed.data(), counts.data());
  check_close(b.theta(), a.theta());
  CHECK_EQUAL(b.shared.steps.load(), 2);
  CHECK_EQUAL(b.shared.claimed.load(), 2);
  check_moments(b, seen);
}

// Under ThreadSanitizer: an exchange meets workers that push, pull and count.
TEST(workers_go_on_during_exchanges) {
  Host a(1), b(2);
  std::atomic<bool> stop = false;
  Seen seen_a, seen_b;
  std::thread worker_a([&] {
    while (!stop) a.learn(seen_a, 2);
  });
  std::thread worker_b([&] {
    while (!stop) b.learn(seen_b, 3);
  });
  for (int n = 0; n < 200; ++n) exchange(a, b);
  stop = true;
  worker_a.join();
  worker_b.join();
  exchange(a, b);
  // A push that meets an addition may be lost in part; whatever theta is then, the next difference has it.
  check_close(a.theta(), b.theta());
  CHECK(a.agreed() == b.agreed());
  CHECK_EQUAL(a.shared.steps.load(), b.shared.steps.load());
  CHECK_EQUAL(a.shared.steps.load(), static_cast<int64_t>(seen_a.returns.size() + seen_b.returns.size()));
}

}  // namespace
}  // namespace a3c

#include "learn/loss.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c {
namespace {

constexpr int kSamples = 12;
constexpr int kActions = 5;

struct Batch {
  std::vector<float> logits, values, advantages, returns, d_logits, d_values;
  std::vector<int32_t> actions;
  std::vector<uint8_t> valid;

  LossTerms loss(const LossConfig& config) {
    return actor_critic_loss(kSamples, kActions, logits.data(), nullptr, values.data(), actions.data(),
                             advantages.data(), returns.data(), valid.data(), config, d_logits.data(), d_values.data());
  }
};

Batch random_batch() {
  Random random(21);
  Batch batch;
  const auto fill = [&](std::vector<float>& to, size_t size) {
    for (size_t i = 0; i < size; ++i) to.push_back(4 * random.uniform() - 2);
  };
  fill(batch.logits, kSamples * kActions);
  fill(batch.values, kSamples);
  fill(batch.advantages, kSamples);
  fill(batch.returns, kSamples);
  for (int i = 0; i < kSamples; ++i) {
    batch.actions.push_back(static_cast<int32_t>(random.next() % kActions));
    batch.valid.push_back(i % 3 != 1);
  }
  batch.d_logits.assign(kSamples * kActions, 99);
  batch.d_values.assign(kSamples, 99);
  return batch;
}

struct Terms {
  double policy = 0, value = 0, entropy = 0;
  double total(const LossConfig& config) const {
    return policy + config.value_coef * value - config.entropy_coef * entropy;
  }
};

// The definition, in double.
Terms slow_loss(const Batch& batch, const std::vector<double>& logits, const std::vector<double>& values) {
  Terms terms;
  int valid = 0;
  for (int i = 0; i < kSamples; ++i) {
    if (!batch.valid[i]) continue;
    ++valid;
    const double* row = &logits[i * kActions];
    double sum = 0;
    for (int a = 0; a < kActions; ++a) sum += std::exp(row[a]);
    for (int a = 0; a < kActions; ++a) terms.entropy -= std::exp(row[a]) / sum * (row[a] - std::log(sum));
    terms.policy -= (row[batch.actions[i]] - std::log(sum)) * batch.advantages[i];
    terms.value += (batch.returns[i] - values[i]) * (batch.returns[i] - values[i]);
  }
  return {terms.policy / valid, terms.value / valid, terms.entropy / valid};
}

TEST(the_terms_are_means_over_the_valid_samples) {
  Batch batch = random_batch();
  const LossTerms terms = batch.loss({0.5f, 0.01f, 0.2f});
  const Terms expected =
      slow_loss(batch, {batch.logits.begin(), batch.logits.end()}, {batch.values.begin(), batch.values.end()});
  CHECK_EQUAL(terms.valid, 8);
  CHECK_CLOSE(terms.policy_loss, expected.policy, 1e-5);
  CHECK_CLOSE(terms.value_loss, expected.value, 1e-5);
  CHECK_CLOSE(terms.entropy, expected.entropy, 1e-5);
}

TEST(the_gradients_are_those_of_the_total) {
  const LossConfig config{0.5f, 0.05f, 0.2f};
  Batch batch = random_batch();
  batch.loss(config);
  constexpr double kStep = 1e-5;
  const std::vector<double> logits(batch.logits.begin(), batch.logits.end());
  const std::vector<double> values(batch.values.begin(), batch.values.end());
  const auto slope = [&](const std::vector<double>& at, size_t i, auto&& loss) {
    std::vector<double> up = at, down = at;
    up[i] += kStep;
    down[i] -= kStep;
    return (loss(up).total(config) - loss(down).total(config)) / (2 * kStep);
  };
  for (size_t i = 0; i < logits.size(); ++i)
    CHECK_CLOSE(batch.d_logits[i], slope(logits, i, [&](const auto& x) { return slow_loss(batch, x, values); }), 1e-5);
  for (size_t i = 0; i < values.size(); ++i)
    CHECK_CLOSE(batch.d_values[i], slope(values, i, [&](const auto& x) { return slow_loss(batch, logits, x); }), 1e-5);
}

TEST(samples_that_are_not_valid_have_no_weight_whatever_they_hold) {
  Batch batch = random_batch();
  const LossTerms terms = batch.loss({0.5f, 0.01f, 0.2f});
  const std::vector<float> d_logits = batch.d_logits, d_values = batch.d_values;
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  for (int i = 1; i < kSamples; i += 3) {
    batch.values[i] = batch.advantages[i] = batch.returns[i] = nan;
    for (int a = 0; a < kActions; ++a) batch.logits[i * kActions + a] = nan;
  }
  const LossTerms again = batch.loss({0.5f, 0.01f, 0.2f});
  CHECK_EQUAL(again.policy_loss, terms.policy_loss);
  CHECK_EQUAL(again.value_loss, terms.value_loss);
  CHECK_EQUAL(again.entropy, terms.entropy);
  CHECK(batch.d_logits == d_logits);
  CHECK(batch.d_values == d_values);
  for (int i = 1; i < kSamples; i += 3) CHECK_EQUAL(batch.d_values[i], 0.0f);
}

TEST(without_a_valid_sample_everything_is_0) {
  Batch batch = random_batch();
  batch.valid.assign(kSamples, 0);
  const LossTerms terms = batch.loss({0.5f, 0.01f, 0.2f});
  CHECK_EQUAL(terms.valid, 0);
  CHECK_EQUAL(terms.policy_loss, 0.0);
  CHECK_EQUAL(terms.value_loss, 0.0);
  CHECK_EQUAL(terms.entropy, 0.0);
  for (const float d : batch.d_logits) CHECK_EQUAL(d, 0.0f);
  for (const float d : batch.d_values) CHECK_EQUAL(d, 0.0f);
}

TEST(as_many_actions_as_are_allowed_fit) {
  const std::vector<float> logits(kMaxActions, 0.0f);
  std::vector<float> d_logits(kMaxActions);
  const float value = 0, advantage = 1, target = 0;
  float d_value = 0;
  const int32_t action = kMaxActions - 1;
  const uint8_t valid = 1;
  const LossTerms terms = actor_critic_loss(1, kMaxActions, logits.data(), nullptr, &value, &action, &advantage,
                                            &target, &valid, {0.5f, 0.0f, 0.2f}, d_logits.data(), &d_value);
  CHECK_CLOSE(terms.entropy, std::log(double{kMaxActions}), 1e-4);
  CHECK_CLOSE(d_logits[kMaxActions - 1], 1.0 / kMaxActions - 1, 1e-6);
}

}  // namespace
}  // namespace a3c

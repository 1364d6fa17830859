#include "learn/loss.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numbers>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/random.h"
#include "policy/categorical.h"

namespace a3c {
namespace {

using Doubles = std::vector<double>;

struct Density {
  double log_prob, entropy;
};

// log pi(a|s) and H by their definitions, in double; `policy` and `action` are one sample's.
Density density_of(const ActionSpec& spec, const double* policy, const float* action) {
  Density result{0, 0};
  if (spec.continuous()) {
    for (int j = 0; j < spec.size(); ++j) {
      const double log_std = policy[spec.size() + j], z = (action[j] - policy[j]) / std::exp(log_std);
      result.log_prob -= z * z / 2 + log_std + std::log(2 * std::numbers::pi) / 2;
      result.entropy += log_std + std::log(2 * std::numbers::pi * std::numbers::e) / 2;
    }
    return result;
  }
  for (int j = 0; j < spec.size(); policy += spec.choices[j++]) {
    double sum = 0;
    for (int a = 0; a < spec.choices[j]; ++a) sum += std::exp(policy[a]);
    result.log_prob += policy[static_cast<int>(action[j])] - std::log(sum);
    for (int a = 0; a < spec.choices[j]; ++a) result.entropy -= std::exp(policy[a]) / sum * (policy[a] - std::log(sum));
  }
  return result;
}

struct Batch {
  ActionSpec spec;
  std::unique_ptr<const Distribution> distribution;
  int samples;
  std::vector<float> policy, acting_policy, values, advantages, returns, d_policy, d_values, actions;
  std::vector<uint8_t> valid;

  LossTerms loss(const LossConfig& config, bool again = false) {
    return actor_critic_loss(*distribution, samples, policy.data(), again ? acting_policy.data() : nullptr,
                             values.data(), actions.data(), advantages.data(), returns.data(), valid.data(), config,
                             d_policy.data(), d_values.data());
  }
};

Batch random_batch(const ActionSpec& spec, int samples = 12) {
  Random random(21);
  Batch batch{spec, make_distribution(spec), samples, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  const int outputs = batch.distribution->num_outputs();
  const auto fill = [&](std::vector<float>& to, int size) {
    for (int i = 0; i < size; ++i) to.push_back(4 * random.uniform() - 2);
  };
  fill(batch.policy, samples * outputs);
  if (spec.continuous())  // so that no ratio is a number beyond all others
    for (float& output : batch.policy) output /= 4;
  batch.acting_policy = batch.policy;
  const float difference = spec.continuous() ? 0.1f : 0.5f;
  for (float& output : batch.acting_policy) output += difference * (2 * random.uniform() - 1);
  fill(batch.values, samples);
  fill(batch.advantages, samples);
  fill(batch.returns, samples);
  for (int i = 0; i < samples; ++i) {
    for (int j = 0; j < spec.size(); ++j)
      batch.actions.push_back(spec.continuous() ? 2 * random.uniform() - 1
                                                : static_cast<float>(random.below(spec.choices[j])));
    batch.valid.push_back(i % 3 != 1);
  }
  batch.d_policy.assign(batch.policy.size(), 99);
  batch.d_values.assign(samples, 99);
  return batch;
}

const std::vector<ActionSpec>& kinds_of_actions() {
  static const std::vector<ActionSpec> kinds{discrete({5}), discrete({3, 2, 4}), continuous({-1, -1}, {1, 1})};
  return kinds;
}

struct Terms {
  double policy = 0, value = 0, entropy = 0;
  double total(const LossConfig& config) const {
    return policy + config.value_coef * value - config.entropy_coef * entropy;
  }
};

// The definition, in double.
Terms slow_loss(const Batch& batch, const Doubles& policy, const Doubles& values, const LossConfig& config,
                bool again = false) {
  const int outputs = batch.distribution->num_outputs();
  const Doubles acting_policy(batch.acting_policy.begin(), batch.acting_policy.end());
  Terms terms;
  int valid = 0;
  for (int i = 0; i < batch.samples; ++i) {
    if (!batch.valid[i]) continue;
    ++valid;
    const float* action = &batch.actions[i * batch.spec.size()];
    const Density density = density_of(batch.spec, &policy[i * outputs], action);
    const double advantage = batch.advantages[i];
    if (again) {
      const double ratio =
          std::exp(density.log_prob - density_of(batch.spec, &acting_policy[i * outputs], action).log_prob);
      const double clipped = std::clamp(ratio, 1.0 - config.clip_coef, 1.0 + config.clip_coef);
      terms.policy -= std::min(ratio * advantage, clipped * advantage);
    } else {
      terms.policy -= density.log_prob * advantage;
    }
    terms.entropy += density.entropy;
    terms.value += (batch.returns[i] - values[i]) * (batch.returns[i] - values[i]);
  }
  return {terms.policy / valid, terms.value / valid, terms.entropy / valid};
}

void check_terms(Batch& batch, const LossConfig& config, bool again) {
  const LossTerms terms = batch.loss(config, again);
  const Terms expected = slow_loss(batch, {batch.policy.begin(), batch.policy.end()},
                                   {batch.values.begin(), batch.values.end()}, config, again);
  CHECK_EQUAL(terms.valid, std::count(batch.valid.begin(), batch.valid.end(), 1));
  CHECK_CLOSE(terms.policy_loss, expected.policy, 1e-5 * (1 + std::abs(expected.policy)));
  CHECK_CLOSE(terms.value_loss, expected.value, 1e-5);
  CHECK_CLOSE(terms.entropy, expected.entropy, 1e-5);
}

void check_gradients(Batch& batch, const LossConfig& config, bool again) {
  batch.loss(config, again);
  constexpr double kStep = 1e-5;
  const Doubles policy(batch.policy.begin(), batch.policy.end());
  const Doubles values(batch.values.begin(), batch.values.end());
  const auto slope = [&](const Doubles& at, size_t i, auto&& loss) {
    Doubles up = at, down = at;
    up[i] += kStep;
    down[i] -= kStep;
    return (loss(up).total(config) - loss(down).total(config)) / (2 * kStep);
  };
  for (size_t i = 0; i < policy.size(); ++i) {
    const double expected = slope(policy, i, [&](const auto& x) { return slow_loss(batch, x, values, config, again); });
    CHECK_CLOSE(batch.d_policy[i], expected, 1e-5 * (1 + std::abs(expected)));
  }
  for (size_t i = 0; i < values.size(); ++i)
    CHECK_CLOSE(batch.d_values[i],
                slope(values, i, [&](const auto& x) { return slow_loss(batch, policy, x, config, again); }), 1e-5);
}

TEST(the_terms_are_means_over_the_valid_samples) {
  for (const ActionSpec& spec : kinds_of_actions()) {
    Batch batch = random_batch(spec);
    check_terms(batch, {0.5f, 0.01f, 0.2f}, false);
    CHECK_EQUAL(batch.loss({0.5f, 0.01f, 0.2f}).valid, 8);
  }
}

TEST(the_gradients_are_those_of_the_total) {
  for (const ActionSpec& spec : kinds_of_actions()) {
    Batch batch = random_batch(spec);
    check_gradients(batch, {0.5f, 0.05f, 0.2f}, false);
  }
}

// A clip coefficient that some ratios are beyond and others are not.
TEST(of_samples_used_again_the_terms_and_the_gradients_are_those_of_the_clipped_ratio) {
  for (const ActionSpec& spec : kinds_of_actions()) {
    Batch batch = random_batch(spec, 40);
    check_terms(batch, {0.5f, 0.05f, 0.05f}, true);
    check_gradients(batch, {0.5f, 0.05f, 0.05f}, true);
    batch.loss({0.5f, 0.0f, 0.05f}, true);
    int with = 0, without = 0;
    const int outputs = batch.distribution->num_outputs();
    for (int i = 0; i < batch.samples; ++i)
      if (batch.valid[i]) (batch.d_policy[i * outputs] != 0 ? with : without) += 1;
    CHECK(with > 0);
    CHECK(without > 0);
  }
}

TEST(of_samples_used_again_by_the_same_policy_the_gradients_are_the_same) {
  for (const ActionSpec& spec : kinds_of_actions()) {
    Batch batch = random_batch(spec);
    batch.acting_policy = batch.policy;
    batch.loss({0.5f, 0.05f, 0.2f}, false);
    const std::vector<float> d_policy = batch.d_policy, d_values = batch.d_values;
    batch.loss({0.5f, 0.05f, 0.2f}, true);
    for (size_t i = 0; i < d_policy.size(); ++i)
      CHECK_CLOSE(batch.d_policy[i], d_policy[i], 1e-6 * (1 + std::abs(d_policy[i])));
    CHECK(batch.d_values == d_values);
  }
}

// The samples go through in blocks; nothing may be seen of that.
TEST(many_samples_are_those_of_several_small_batches) {
  for (const ActionSpec& spec : kinds_of_actions())
    for (const int samples : {63, 64, 65, 200}) {
      Batch batch = random_batch(spec, samples);
      for (const bool again : {false, true}) {
        check_terms(batch, {0.5f, 0.05f, 0.1f}, again);
        const auto valid = static_cast<float>(batch.loss({0.5f, 0.05f, 0.1f}, again).valid);
        const int outputs = batch.distribution->num_outputs(), size = spec.size();
        for (int i = 0; i < samples; ++i) {
          std::vector<float> d_policy(outputs);
          float d_value = 0;
          actor_critic_loss(*batch.distribution, 1, &batch.policy[i * outputs],
                            again ? &batch.acting_policy[i * outputs] : nullptr, &batch.values[i],
                            &batch.actions[i * size], &batch.advantages[i], &batch.returns[i], &batch.valid[i],
                            {0.5f, 0.05f, 0.1f}, d_policy.data(), &d_value);
          CHECK_CLOSE(batch.d_values[i] * valid, d_value, 1e-5);
          for (int j = 0; j < outputs; ++j)
            CHECK_CLOSE(batch.d_policy[i * outputs + j] * valid, d_policy[j], 1e-5 * (1 + std::abs(d_policy[j])));
        }
      }
    }
}

TEST(samples_that_are_not_valid_have_no_weight_whatever_they_hold) {
  for (const ActionSpec& spec : kinds_of_actions())
    for (const bool again : {false, true}) {
      Batch batch = random_batch(spec);
      const int outputs = batch.distribution->num_outputs();
      const LossTerms terms = batch.loss({0.5f, 0.01f, 0.2f}, again);
      const std::vector<float> d_policy = batch.d_policy, d_values = batch.d_values;
      constexpr float nan = std::numeric_limits<float>::quiet_NaN();
      for (int i = 1; i < batch.samples; i += 3) {
        batch.values[i] = batch.advantages[i] = batch.returns[i] = nan;
        std::fill_n(&batch.policy[i * outputs], outputs, nan);
        std::fill_n(&batch.acting_policy[i * outputs], outputs, nan);
      }
      const LossTerms after = batch.loss({0.5f, 0.01f, 0.2f}, again);
      CHECK_EQUAL(after.policy_loss, terms.policy_loss);
      CHECK_EQUAL(after.value_loss, terms.value_loss);
      CHECK_EQUAL(after.entropy, terms.entropy);
      CHECK(batch.d_policy == d_policy);
      CHECK(batch.d_values == d_values);
      for (int i = 1; i < batch.samples; i += 3) {
        CHECK_EQUAL(batch.d_values[i], 0.0f);
        for (int j = 0; j < outputs; ++j) CHECK_EQUAL(batch.d_policy[i * outputs + j], 0.0f);
      }
    }
}

TEST(without_a_valid_sample_everything_is_0) {
  for (const ActionSpec& spec : kinds_of_actions()) {
    Batch batch = random_batch(spec);
    batch.valid.assign(batch.valid.size(), 0);
    const LossTerms terms = batch.loss({0.5f, 0.01f, 0.2f});
    CHECK_EQUAL(terms.valid, 0);
    CHECK_EQUAL(terms.policy_loss, 0.0);
    CHECK_EQUAL(terms.value_loss, 0.0);
    CHECK_EQUAL(terms.entropy, 0.0);
    for (const float d : batch.d_policy) CHECK_EQUAL(d, 0.0f);
    for (const float d : batch.d_values) CHECK_EQUAL(d, 0.0f);
  }
}

TEST(thousands_of_actions_fit) {
  constexpr int kActions = 5000;
  const std::vector<float> policy(kActions, 0.0f);
  std::vector<float> d_policy(kActions);
  const float value = 0, advantage = 1, target = 0, action = kActions - 1;
  float d_value = 0;
  const uint8_t valid = 1;
  const LossTerms terms = actor_critic_loss(Categorical(kActions), 1, policy.data(), nullptr, &value, &action,
                                            &advantage, &target, &valid, {0.5f, 0.0f, 0.2f}, d_policy.data(), &d_value);
  CHECK_CLOSE(terms.entropy, std::log(double{kActions}), 1e-3);
  CHECK_CLOSE(d_policy[kActions - 1], 1.0 / kActions - 1, 1e-6);
}

}  // namespace
}  // namespace a3c

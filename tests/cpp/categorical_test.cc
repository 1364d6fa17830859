#include "policy/categorical.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c::categorical {
namespace {

constexpr float kLargestUniform = 1.0f - 0x1p-24f;

std::vector<double> softmax(const std::vector<float>& logits) {
  double sum = 0;
  std::vector<double> p;
  for (const float logit : logits) sum += std::exp(double{logit});
  for (const float logit : logits) p.push_back(std::exp(double{logit}) / sum);
  return p;
}

int sample_of(const std::vector<float>& logits, float uniform) {
  return sample(logits.data(), static_cast<int>(logits.size()), uniform);
}

TEST(log_softmax_is_the_log_of_softmax) {
  const std::vector<float> logits{0.3f, -2.0f, 1.5f, 0.0f};
  std::vector<float> log_p(4);
  log_softmax(logits.data(), 4, log_p.data());
  const std::vector<double> p = softmax(logits);
  for (int a = 0; a < 4; ++a) CHECK_CLOSE(log_p[a], std::log(p[a]), 1e-6);
}

TEST(large_logits_do_not_overflow) {
  for (const float shift : {1e4f, -1e4f, 1e30f}) {
    const std::vector<float> logits{shift, shift, shift};
    std::vector<float> log_p(3);
    log_softmax(logits.data(), 3, log_p.data());
    for (const float value : log_p) CHECK_CLOSE(value, -std::log(3.0), 1e-5);
    CHECK_EQUAL(sample_of(logits, 0.0f), 0);
    CHECK_EQUAL(sample_of(logits, 0.5f), 1);
    CHECK_EQUAL(sample_of(logits, kLargestUniform), 2);
  }
}

TEST(entropy_is_largest_for_the_uniform_policy_and_0_for_a_certain_one) {
  std::vector<float> log_p(5);
  const std::vector<float> even(5, 2.0f);
  log_softmax(even.data(), 5, log_p.data());
  CHECK_CLOSE(entropy(log_p.data(), 5), std::log(5.0), 1e-6);
  const std::vector<float> certain{0, 1000, 0, 0, 0};
  log_softmax(certain.data(), 5, log_p.data());
  CHECK_CLOSE(entropy(log_p.data(), 5), 0, 1e-6);
  const std::vector<float> logits{0.3f, -2.0f, 1.5f, 0.0f, 0.7f};
  log_softmax(logits.data(), 5, log_p.data());
  double expected = 0;
  for (const double p : softmax(logits)) expected -= p * std::log(p);
  CHECK_CLOSE(entropy(log_p.data(), 5), expected, 1e-6);
}

TEST(the_sample_inverts_the_cumulative_distribution) {
  const std::vector<float> logits{std::log(0.2f), std::log(0.5f), std::log(0.3f)};
  CHECK_EQUAL(sample_of(logits, 0.0f), 0);
  CHECK_EQUAL(sample_of(logits, 0.199f), 0);
  CHECK_EQUAL(sample_of(logits, 0.201f), 1);
  CHECK_EQUAL(sample_of(logits, 0.699f), 1);
  CHECK_EQUAL(sample_of(logits, 0.701f), 2);
  CHECK_EQUAL(sample_of(logits, kLargestUniform), 2);
}

TEST(samples_come_as_often_as_they_should) {
  const std::vector<float> logits{0.0f, 1.0f, -1.0f, 0.5f};
  const std::vector<double> p = softmax(logits);
  std::vector<int> count(4);
  Random random(11);
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) ++count[sample_of(logits, random.uniform())];
  for (int a = 0; a < 4; ++a) CHECK_CLOSE(double{1} * count[a] / kCount, p[a], 0.006);  // over five standard deviations
}

TEST(an_action_without_probability_is_not_chosen) {
  for (const float uniform : {0.0f, 0.5f, kLargestUniform}) {
    CHECK_EQUAL(sample_of({-1000, 0, -1000}, uniform), 1);
    CHECK_EQUAL(sample_of({0, -1000}, uniform), 0);
    CHECK_EQUAL(sample_of({-1000, 0}, uniform), 1);
  }
}

TEST(the_action_is_in_range_whatever_the_logits) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float inf = std::numeric_limits<float>::infinity();
  const std::vector<std::vector<float>> odd{
      {nan, nan, nan}, {0, nan, 0}, {inf, 0, 0}, {inf, inf, 0}, {-inf, -inf, -inf}};
  for (const std::vector<float>& logits : odd)
    for (const float uniform : {0.0f, 0.5f, kLargestUniform}) {
      const int action = sample_of(logits, uniform);
      CHECK(action >= 0 && action < 3);
    }
  CHECK_EQUAL(sample_of({5}, 0.7f), 0);  // one action is all there is
}

// -advantage log pi(action) - entropy_coef H, in double.
double objective(const std::vector<double>& logits, int action, double advantage, double entropy_coef) {
  double sum = 0, h = 0;
  for (const double logit : logits) sum += std::exp(logit);
  for (const double logit : logits) h -= std::exp(logit) / sum * (logit - std::log(sum));
  return -advantage * (logits[action] - std::log(sum)) - entropy_coef * h;
}

TEST(the_gradient_is_that_of_the_objective) {
  const std::vector<float> logits{0.3f, -1.0f, 0.8f, 0.1f};
  std::vector<float> log_p(4), d_logits(4);
  log_softmax(logits.data(), 4, log_p.data());
  const float h = entropy(log_p.data(), 4);
  for (const float advantage : {-2.0f, 0.0f, 1.5f})
    for (const float entropy_coef : {0.0f, 0.3f})
      for (int action = 0; action < 4; ++action) {
        policy_gradient(log_p.data(), 4, action, advantage, entropy_coef, h, 0.25f, d_logits.data());
        for (int a = 0; a < 4; ++a) {
          constexpr double kStep = 1e-5;
          std::vector<double> up(logits.begin(), logits.end()), down = up;
          up[a] += kStep;
          down[a] -= kStep;
          const double slope =
              (objective(up, action, advantage, entropy_coef) - objective(down, action, advantage, entropy_coef)) /
              (2 * kStep);
          CHECK_CLOSE(d_logits[a], 0.25 * slope, 1e-5);
        }
      }
}

TEST(log_prob_is_an_element_of_log_softmax_to_the_last_bit) {
  const std::vector<std::vector<float>> rows{{0.3f, -2.0f, 1.5f, 0.0f}, {1e30f, 0, 0, 1e30f}};
  for (const std::vector<float>& logits : rows) {
    std::vector<float> log_p(4);
    log_softmax(logits.data(), 4, log_p.data());
    for (int action = 0; action < 4; ++action) CHECK_EQUAL(log_prob(logits.data(), 4, action), log_p[action]);
  }
}

// A batch for the class, whose samples are those of the functions above, one by one.
struct Batch {
  static constexpr int kCount = 7, kActions = 4;
  std::vector<float> logits, actions, weights;

  Batch() {
    Random random(5);
    for (int i = 0; i < kCount * kActions; ++i) logits.push_back(4 * random.uniform() - 2);
    for (int i = 0; i < kCount; ++i) {
      actions.push_back(static_cast<float>(random.below(kActions)));
      weights.push_back(4 * random.uniform() - 2);
    }
  }
  const float* row(int i) const { return &logits[i * kActions]; }
};

TEST(a_batch_is_sampled_with_one_uniform_number_each) {
  const Batch batch;
  const Categorical distribution(Batch::kActions);
  Random random(3), same(3);
  std::vector<float> actions(Batch::kCount);
  for (int round = 0; round < 20; ++round) {
    distribution.sample(Batch::kCount, batch.logits.data(), random, actions.data());
    for (int i = 0; i < Batch::kCount; ++i)
      CHECK_EQUAL(actions[i], static_cast<float>(sample(batch.row(i), Batch::kActions, same.uniform())));
  }
  CHECK_EQUAL(random.state(), same.state());
}

TEST(the_mode_is_the_first_of_the_largest_logits) {
  const Categorical distribution(3);
  const std::vector<float> logits{0, 2, 1, 3, -1, 3, -5, -4, -3};
  std::vector<float> actions(3);
  distribution.mode(3, logits.data(), actions.data());
  CHECK(actions == (std::vector<float>{1, 0, 2}));
}

TEST(a_batch_is_evaluated_and_differentiated_sample_by_sample) {
  const Batch batch;
  constexpr int kActions = Batch::kActions;
  const Categorical distribution(kActions);
  CHECK_EQUAL(distribution.num_outputs(), kActions);
  CHECK_EQUAL(distribution.action_size(), 1);
  std::vector<float> log_probs(Batch::kCount), again(Batch::kCount), entropies(Batch::kCount);
  std::vector<float> work(batch.logits.size());
  distribution.evaluate(Batch::kCount, batch.logits.data(), batch.actions.data(), log_probs.data(), entropies.data(),
                        work.data());
  distribution.log_prob(Batch::kCount, batch.logits.data(), batch.actions.data(), again.data());
  CHECK(again == log_probs);
  distribution.gradient(Batch::kCount, batch.logits.data(), batch.actions.data(), batch.weights.data(),
                        entropies.data(), 0.3f, 0.25f, work.data());
  for (int i = 0; i < Batch::kCount; ++i) {
    std::vector<float> log_p(kActions), d_logits(kActions);
    const auto action = static_cast<int32_t>(batch.actions[i]);
    log_softmax(batch.row(i), kActions, log_p.data());
    CHECK_EQUAL(log_probs[i], log_p[action]);
    CHECK_EQUAL(entropies[i], entropy(log_p.data(), kActions));
    policy_gradient(log_p.data(), kActions, action, batch.weights[i], 0.3f, entropies[i], 0.25f, d_logits.data());
    for (int a = 0; a < kActions; ++a) CHECK_EQUAL(work[i * kActions + a], d_logits[a]);
  }
}

}  // namespace
}  // namespace a3c::categorical

#include "policy/multi_categorical.h"

#include <cmath>
#include <memory>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/random.h"
#include "policy/categorical.h"
#include "policy/gaussian.h"

namespace a3c {
namespace {

using Floats = std::vector<float>;

const std::vector<int> kChoices{3, 1, 5, 2};
constexpr int kCount = 6, kOutputs = 11;

// What a distribution says of a batch.
struct Judged {
  Floats log_probs, entropies, work;

  bool operator==(const Judged&) const = default;
};

struct Batch {
  Floats outputs, actions, weights;

  explicit Batch(const std::vector<int>& choices) {
    Random random(41);
    for (int i = 0; i < kCount; ++i) {
      for (const int count : choices) {
        for (int a = 0; a < count; ++a) outputs.push_back(4 * random.uniform() - 2);
        actions.push_back(static_cast<float>(random.below(count)));
      }
      weights.push_back(4 * random.uniform() - 2);
    }
  }

  Judged judge(const Distribution& distribution) const {
    Judged judged{Floats(kCount), Floats(kCount), Floats(outputs.size())};
    distribution.evaluate(kCount, outputs.data(), actions.data(), judged.log_probs.data(), judged.entropies.data(),
                          judged.work.data());
    return judged;
  }
  void differentiate(const Distribution& distribution, Judged& judged) const {
    distribution.gradient(kCount, outputs.data(), actions.data(), weights.data(), judged.entropies.data(), 0.3f, 0.25f,
                          judged.work.data());
  }
};

TEST(it_has_as_many_outputs_as_there_are_choices) {
  CHECK_EQUAL(MultiCategorical(kChoices).num_outputs(), kOutputs);
  CHECK_EQUAL(MultiCategorical(kChoices).action_size(), 4);
}

TEST(every_kind_of_action_has_its_distribution) {
  CHECK(dynamic_cast<const Categorical*>(make_distribution(discrete({3})).get()));
  CHECK(dynamic_cast<const MultiCategorical*>(make_distribution(discrete({3, 2})).get()));
  CHECK(dynamic_cast<const Gaussian*>(make_distribution(continuous({-1, -1}, {1, 1})).get()));
  CHECK_EQUAL(make_distribution(discrete({3, 2}))->num_outputs(), 5);
  CHECK_EQUAL(make_distribution(continuous({-1, -1}, {1, 1}))->num_outputs(), 4);
}

TEST(log_probs_and_entropies_are_sums_and_gradients_are_those_of_the_components) {
  const Batch batch(kChoices);
  const MultiCategorical distribution(kChoices);
  Judged judged = batch.judge(distribution);
  const Floats log_probs = judged.log_probs, entropies = judged.entropies;
  Floats alone(kCount);
  distribution.log_prob(kCount, batch.outputs.data(), batch.actions.data(), alone.data());
  CHECK(alone == log_probs);  // the importance ratio of a policy with itself is 1 and nothing else
  batch.differentiate(distribution, judged);
  const float* outputs = batch.outputs.data();
  const float* action = batch.actions.data();
  const float* gradient = judged.work.data();
  for (int i = 0; i < kCount; ++i) {
    double log_prob_sum = 0, entropy_sum = 0;
    for (const int count : kChoices) {
      const auto chosen = static_cast<int32_t>(*action++);
      Floats log_p(count), d_logits(count);
      categorical::log_softmax(outputs, count, log_p.data());
      const float entropy = categorical::entropy(log_p.data(), count);
      log_prob_sum += log_p[chosen];
      entropy_sum += entropy;
      categorical::policy_gradient(log_p.data(), count, chosen, batch.weights[i], 0.3f, entropy, 0.25f,
                                   d_logits.data());
      for (int a = 0; a < count; ++a) CHECK_EQUAL(*gradient++, d_logits[a]);
      outputs += count;
    }
    CHECK_CLOSE(log_probs[i], log_prob_sum, 1e-5);
    CHECK_CLOSE(entropies[i], entropy_sum, 1e-5);
  }
}

TEST(one_component_is_a_categorical_to_the_last_bit) {
  const std::vector<int> choices{5};
  const Batch batch(choices);
  const MultiCategorical multi(choices);
  const Categorical single(5);
  Judged a = batch.judge(multi), b = batch.judge(single);
  CHECK(a == b);
  batch.differentiate(multi, a);
  batch.differentiate(single, b);
  CHECK(a == b);
  Floats x(kCount), y(kCount);
  multi.log_prob(kCount, batch.outputs.data(), batch.actions.data(), x.data());
  single.log_prob(kCount, batch.outputs.data(), batch.actions.data(), y.data());
  CHECK(x == y);
  multi.mode(kCount, batch.outputs.data(), x.data());
  single.mode(kCount, batch.outputs.data(), y.data());
  CHECK(x == y);
  Random one(3), other(3);
  for (int round = 0; round < 50; ++round) {
    multi.sample(kCount, batch.outputs.data(), one, x.data());
    single.sample(kCount, batch.outputs.data(), other, y.data());
    CHECK(x == y);
  }
  CHECK_EQUAL(one.state(), other.state());
}

TEST(the_gradient_is_that_of_the_objective) {
  const Batch batch(kChoices);
  const MultiCategorical distribution(kChoices);
  Judged judged = batch.judge(distribution);
  batch.differentiate(distribution, judged);
  for (int i = 0; i < kCount; ++i) {
    const auto objective = [&](const std::vector<double>& row) {
      double total = 0;
      const double* logits = row.data();
      for (size_t c = 0; c < kChoices.size(); ++c) {
        double sum = 0;
        for (int a = 0; a < kChoices[c]; ++a) sum += std::exp(logits[a]);
        total -= batch.weights[i] * (logits[static_cast<int>(batch.actions[i * kChoices.size() + c])] - std::log(sum));
        for (int a = 0; a < kChoices[c]; ++a) total += 0.3 * std::exp(logits[a]) / sum * (logits[a] - std::log(sum));
        logits += kChoices[c];
      }
      return total;
    };
    for (int j = 0; j < kOutputs; ++j) {
      constexpr double kStep = 1e-5;
      std::vector<double> up(&batch.outputs[i * kOutputs], &batch.outputs[i * kOutputs] + kOutputs), down = up;
      up[j] += kStep;
      down[j] -= kStep;
      CHECK_CLOSE(judged.work[i * kOutputs + j], 0.25 * (objective(up) - objective(down)) / (2 * kStep), 1e-5);
    }
  }
}

TEST(components_are_sampled_independently_and_as_often_as_they_should_be) {
  const MultiCategorical distribution({2, 3});
  const Floats outputs{std::log(0.25f), std::log(0.75f), std::log(0.5f), std::log(0.2f), std::log(0.3f)};
  constexpr int kDraws = 200000;
  const double first[] = {0.25, 0.75}, second[] = {0.5, 0.2, 0.3};
  int count[2][3] = {};
  Random random(9);
  Floats action(2);
  for (int draw = 0; draw < kDraws; ++draw) {
    distribution.sample(1, outputs.data(), random, action.data());
    ++count[static_cast<int>(action[0])][static_cast<int>(action[1])];
  }
  for (int a = 0; a < 2; ++a)
    for (int b = 0; b < 3; ++b) CHECK_CLOSE(double{1} * count[a][b] / kDraws, first[a] * second[b], 0.006);
}

TEST(the_mode_has_the_largest_logit_of_each_component) {
  const MultiCategorical distribution({3, 2});
  const Floats outputs{0, 2, 1, 5, 7, 9, 1, 9, 4, 3};
  Floats actions(4);
  distribution.mode(2, outputs.data(), actions.data());
  CHECK(actions == (Floats{1, 1, 0, 0}));
}

}  // namespace
}  // namespace a3c

#include "policy/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr int kCount = 6, kSize = 3;

// outputs [mu, log sigma] with sigmas from 1/7 to 7, and actions near and far from mu.
struct Batch {
  Floats outputs, actions, weights, log_probs = Floats(kCount), entropies = Floats(kCount);
  Floats work = Floats(kCount * 2 * kSize);

  Batch() {
    Random random(31);
    for (int i = 0; i < kCount * 2 * kSize; ++i) outputs.push_back(4 * random.uniform() - 2);
    for (int i = 0; i < kCount * kSize; ++i) actions.push_back(6 * random.uniform() - 3);
    for (int i = 0; i < kCount; ++i) weights.push_back(4 * random.uniform() - 2);
  }
  void evaluate() {
    Gaussian(kSize).evaluate(kCount, outputs.data(), actions.data(), log_probs.data(), entropies.data(), work.data());
  }
  Doubles row(int i) const { return {&outputs[i * 2 * kSize], &outputs[i * 2 * kSize] + 2 * kSize}; }
};

// By the definition: the logarithm of a product of densities.
double slow_log_prob(const Doubles& outputs, const float* action) {
  double density = 1;
  for (int j = 0; j < kSize; ++j) {
    const double sigma = std::exp(outputs[kSize + j]), z = (action[j] - outputs[j]) / sigma;
    density *= std::exp(-z * z / 2) / (sigma * std::sqrt(2 * std::numbers::pi));
  }
  return std::log(density);
}

double slow_entropy(const Doubles& outputs) {
  double total = 0;
  for (int j = 0; j < kSize; ++j)
    total += std::log(std::exp(outputs[kSize + j]) * std::sqrt(2 * std::numbers::pi * std::numbers::e));
  return total;
}

TEST(it_has_a_mean_and_a_deviation_for_each_component) {
  CHECK_EQUAL(Gaussian(3).num_outputs(), 6);
  CHECK_EQUAL(Gaussian(3).action_size(), 3);
}

TEST(log_prob_is_the_logarithm_of_the_density) {
  Batch batch;
  Gaussian(kSize).log_prob(kCount, batch.outputs.data(), batch.actions.data(), batch.log_probs.data());
  for (int i = 0; i < kCount; ++i) {
    const double expected = slow_log_prob(batch.row(i), &batch.actions[i * kSize]);
    CHECK_CLOSE(batch.log_probs[i], expected, 1e-5 * (1 + std::abs(expected)));
  }
  // The importance ratio of a policy with itself must be 1 and nothing else.
  const Floats alone = batch.log_probs;
  batch.evaluate();
  CHECK(batch.log_probs == alone);
}

TEST(the_entropy_depends_on_the_deviations_alone) {
  Batch batch;
  batch.evaluate();
  for (int i = 0; i < kCount; ++i) CHECK_CLOSE(batch.entropies[i], slow_entropy(batch.row(i)), 1e-5);
  const Floats before = batch.entropies;
  for (float& action : batch.actions) action += 1;
  for (int i = 0; i < kCount; ++i)
    for (int j = 0; j < kSize; ++j) batch.outputs[i * 2 * kSize + j] -= 3;
  batch.evaluate();
  CHECK(batch.entropies == before);
}

TEST(the_gradient_is_that_of_the_objective) {
  for (const float entropy_coef : {0.0f, 0.3f}) {
    Batch batch;
    batch.evaluate();
    Gaussian(kSize).gradient(kCount, batch.outputs.data(), batch.actions.data(), batch.weights.data(),
                             batch.entropies.data(), entropy_coef, 0.25f, batch.work.data());
    for (int i = 0; i < kCount; ++i) {
      const auto objective = [&](const Doubles& outputs) {
        return -batch.weights[i] * slow_log_prob(outputs, &batch.actions[i * kSize]) -
               entropy_coef * slow_entropy(outputs);
      };
      for (int j = 0; j < 2 * kSize; ++j) {
        constexpr double kStep = 1e-5;
        Doubles up = batch.row(i), down = up;
        up[j] += kStep;
        down[j] -= kStep;
        const double slope = (objective(up) - objective(down)) / (2 * kStep);
        CHECK_CLOSE(batch.work[i * 2 * kSize + j], 0.25 * slope, 1e-5 * (1 + std::abs(slope)));
      }
    }
  }
}

// The standard errors of 100,000 samples: sigma / 316 of the mean and of the deviation less, sqrt(24 / n) of z^4.
TEST(samples_have_the_mean_the_deviation_and_the_tails_of_a_gaussian) {
  const Floats outputs{0.5f, -3.0f, 100.0f, std::log(0.2f), 0.0f, std::log(5.0f)};
  constexpr int kDraws = 100000;
  Random random(17);
  Floats action(kSize);
  Doubles sum(kSize), squares(kSize), cubes(kSize), fourths(kSize), inside(kSize);
  double product = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    Gaussian(kSize).sample(1, outputs.data(), random, action.data());
    Doubles z;
    for (int j = 0; j < kSize; ++j) {
      z.push_back((double{action[j]} - outputs[j]) / std::exp(double{outputs[kSize + j]}));
      sum[j] += z[j] / kDraws;
      squares[j] += z[j] * z[j] / kDraws;
      cubes[j] += z[j] * z[j] * z[j] / kDraws;
      fourths[j] += z[j] * z[j] * z[j] * z[j] / kDraws;
      inside[j] += std::abs(z[j]) < 1 ? 1.0 / kDraws : 0;
    }
    product += z[0] * z[1] / kDraws;
  }
  for (int j = 0; j < kSize; ++j) {
    CHECK_CLOSE(sum[j], 0, 0.016);      // five standard errors, as what follows
    CHECK_CLOSE(squares[j], 1, 0.023);  //
    CHECK_CLOSE(cubes[j], 0, 0.062);    //
    CHECK_CLOSE(fourths[j], 3, 0.16);   //
    CHECK_CLOSE(inside[j], std::erf(std::sqrt(0.5)), 0.008);
  }
  CHECK_CLOSE(product, 0, 0.016);  // the components are independent
}

TEST(samples_depend_on_the_state_of_the_random_numbers_alone) {
  const Batch batch;
  Floats at_once(kCount * kSize), one_by_one(kCount * kSize), other(kCount * kSize);
  Random random(5), same(5), another(6);
  Gaussian(kSize).sample(kCount, batch.outputs.data(), random, at_once.data());
  for (int i = 0; i < kCount; ++i) {
    Random resumed(same.state());  // as after a checkpoint: nothing else is kept
    Gaussian(kSize).sample(1, &batch.outputs[i * 2 * kSize], resumed, &one_by_one[i * kSize]);
    same = resumed;
  }
  CHECK(at_once == one_by_one);
  CHECK_EQUAL(random.state(), same.state());
  for (int i = 0; i < 2 * kCount * kSize; ++i) another.next();
  Random two_each(6);
  Gaussian(kSize).sample(kCount, batch.outputs.data(), two_each, other.data());
  CHECK_EQUAL(two_each.state(), another.state());
  CHECK(other != at_once);
}

TEST(a_sample_is_finite_whatever_the_uniform_numbers_are) {
  const Floats outputs{0, 0};
  Floats action(1);
  Random random(1);
  float largest = 0;
  for (int draw = 0; draw < 1000000; ++draw) {
    Gaussian(1).sample(1, outputs.data(), random, action.data());
    CHECK(std::isfinite(action[0]));
    largest = std::max(largest, std::abs(action[0]));
  }
  CHECK(largest > 4 && largest < 5.8f);  // sqrt(-2 log 2^-24)
}

TEST(the_mode_is_the_mean) {
  const Batch batch;
  Floats actions(kCount * kSize);
  Gaussian(kSize).mode(kCount, batch.outputs.data(), actions.data());
  for (int i = 0; i < kCount; ++i)
    for (int j = 0; j < kSize; ++j) CHECK_EQUAL(actions[i * kSize + j], batch.outputs[i * 2 * kSize + j]);
}

}  // namespace
}  // namespace a3c

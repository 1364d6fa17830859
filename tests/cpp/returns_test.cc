#include "learn/returns.h"

#include <cmath>
#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c {
namespace {

struct Block {
  int t_max, num_envs;
  std::vector<float> rewards, values;
  std::vector<uint8_t> done, bootstraps;
  std::vector<float> returns, advantages;

  Block(int steps, int envs) : t_max(steps), num_envs(envs) {
    const auto size = static_cast<size_t>(steps * envs);
    rewards.resize(size);
    values.resize(size + static_cast<size_t>(envs));
    done.resize(size);
    bootstraps.assign(size, 1);
    returns.resize(size);
    advantages.resize(size);
  }
  void n_step(double gamma) {
    n_step_returns(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma,
                   returns.data(), advantages.data());
  }
  void generalized(double gamma, double lambda) {
    gae(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma, lambda, returns.data(),
        advantages.data());
  }
  size_t at(int t, int k) const { return static_cast<size_t>(t * num_envs + k); }
};

Block random_block(int steps, int envs, uint64_t seed) {
  Random random(seed);
  Block block(steps, envs);
  for (float& reward : block.rewards) reward = 2 * random.uniform() - 1;
  for (float& value : block.values) value = 4 * random.uniform() - 2;
  for (size_t i = 0; i < block.done.size(); ++i) {
    block.done[i] = random.uniform() < 0.3f;
    block.bootstraps[i] = !block.done[i] || random.uniform() < 0.5f;
  }
  return block;
}

// By the definition, one sum for each step, in double: the discounted rewards up to the first done step or the cut,
// and beyond it the value of the next observation where that counts.
double slow_return(const Block& block, int t, int k, double gamma) {
  double total = 0, discount = 1;
  for (int u = t; u < block.t_max; ++u) {
    total += discount * double{block.rewards[block.at(u, k)]};
    discount *= gamma;
    if (block.done[block.at(u, k)] || u == block.t_max - 1)
      return total + (block.bootstraps[block.at(u, k)] ? discount * double{block.values[block.at(u + 1, k)]} : 0);
  }
  return total;
}

// The sum of the temporal differences of equation 16, up to the first done step or the cut.
double slow_advantage(const Block& block, int t, int k, double gamma, double lambda) {
  double total = 0, weight = 1;
  for (int u = t; u < block.t_max; ++u) {
    const size_t i = block.at(u, k);
    const double next = block.bootstraps[i] ? gamma * double{block.values[block.at(u + 1, k)]} : 0;
    total += weight * (double{block.rewards[i]} + next - double{block.values[i]});
    weight *= gamma * lambda;
    if (block.done[i]) break;
  }
  return total;
}

TEST(three_steps_by_hand) {
  Block block(3, 1);
  block.rewards = {1, 2, 3};
  block.values = {10, 20, 30, 40};
  block.n_step(0.5);
  CHECK_CLOSE(block.returns[2], 3 + 0.5 * 40, 1e-5);
  CHECK_CLOSE(block.returns[1], 2 + 0.5 * 23, 1e-5);
  CHECK_CLOSE(block.returns[0], 1 + 0.5 * 13.5, 1e-5);
  CHECK_CLOSE(block.advantages[0], 7.75 - 10, 1e-5);
}

TEST(a_termination_cuts_and_a_truncation_bootstraps) {
  Block block(3, 2);
  block.rewards = {1, 1, 1, 1, 1, 1};
  block.values = {0, 0, 8, 8, 8, 8, 100, 100};
  block.done = {1, 1, 0, 0, 0, 0};
  block.bootstraps = {0, 1, 1, 1, 1, 1};  // environment 0 terminated at step 0, environment 1 was truncated there
  block.n_step(0.5);
  CHECK_CLOSE(block.returns[block.at(0, 0)], 1, 1e-6);
  CHECK_CLOSE(block.returns[block.at(0, 1)], 1 + 0.5 * 8, 1e-6);
  block.generalized(0.5, 0.9);
  CHECK_CLOSE(block.returns[block.at(0, 0)], 1, 1e-6);
  CHECK_CLOSE(block.returns[block.at(0, 1)], 1 + 0.5 * 8, 1e-6);
}

TEST(at_the_cut_only_a_termination_forgets_the_value) {
  Block block(1, 3);
  block.values = {0, 0, 0, 10, 10, 10};
  block.done = {0, 1, 1};
  block.bootstraps = {1, 0, 1};
  block.n_step(1.0);
  CHECK_CLOSE(block.returns[0], 10, 1e-6);
  CHECK_CLOSE(block.returns[1], 0, 1e-6);
  CHECK_CLOSE(block.returns[2], 10, 1e-6);
}

TEST(random_blocks_equal_the_definition) {
  for (const auto& [steps, envs] : std::vector<std::pair<int, int>>{{1, 1}, {1, 7}, {20, 1}, {20, 5}, {64, 3}})
    for (const double gamma : {0.0, 0.9, 0.99, 1.0}) {
      Block block = random_block(steps, envs, static_cast<uint64_t>(steps * 100 + envs));
      block.n_step(gamma);
      for (int t = 0; t < steps; ++t)
        for (int k = 0; k < envs; ++k) {
          const size_t i = block.at(t, k);
          CHECK_CLOSE(block.returns[i], slow_return(block, t, k, gamma), 1e-4);
          CHECK_CLOSE(block.advantages[i], slow_return(block, t, k, gamma) - block.values[i], 1e-4);
        }
      for (const double lambda : {0.0, 0.95, 1.0}) {
        block.generalized(gamma, lambda);
        for (int t = 0; t < steps; ++t)
          for (int k = 0; k < envs; ++k) {
            const size_t i = block.at(t, k);
            const double expected = slow_advantage(block, t, k, gamma, lambda);
            CHECK_CLOSE(block.advantages[i], expected, 1e-4);
            CHECK_CLOSE(block.returns[i], expected + block.values[i], 1e-4);
          }
      }
    }
}

TEST(lambda_1_is_the_n_step_return) {
  Block block = random_block(20, 4, 3);
  block.n_step(0.97);
  const std::vector<float> returns = block.returns;
  block.generalized(0.97, 1.0);
  for (size_t i = 0; i < returns.size(); ++i) CHECK_CLOSE(block.returns[i], returns[i], 1e-4);
}

TEST(nothing_before_a_done_step_reads_past_it) {
  const float nan = std::nanf("");
  for (const bool generalized : {false, true}) {
    Block block = random_block(4, 1, 8);
    block.done = {0, 1, 0, 0};
    block.bootstraps = {1, 0, 1, 1};
    block.rewards[2] = block.rewards[3] = nan;  // the reset step and what follows
    block.values[2] = block.values[3] = block.values[4] = nan;
    generalized ? block.generalized(0.9, 0.95) : block.n_step(0.9);
    CHECK(std::isfinite(block.returns[0]) && std::isfinite(block.advantages[0]));
    CHECK(std::isfinite(block.returns[1]) && std::isfinite(block.advantages[1]));
  }
}

TEST(environments_do_not_mix) {
  Block block = random_block(10, 3, 4);
  block.n_step(0.99);
  const std::vector<float> before = block.returns;
  for (int t = 0; t < 10; ++t) block.rewards[block.at(t, 1)] += 5;
  block.n_step(0.99);
  for (int t = 0; t < 10; ++t) {
    CHECK_EQUAL(block.returns[block.at(t, 0)], before[block.at(t, 0)]);
    CHECK_EQUAL(block.returns[block.at(t, 2)], before[block.at(t, 2)]);
    CHECK(block.returns[block.at(t, 1)] > before[block.at(t, 1)]);
  }
}

}  // namespace
}  // namespace a3c

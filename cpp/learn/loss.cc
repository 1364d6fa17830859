#include "learn/loss.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace a3c {
namespace {

// Samples that go through together: what is known of each lies on the stack.
constexpr int64_t kBlock = 64;

// The weight of -grad log pi(a|s), and what the sample adds to the sum of the objective.
struct Weighted {
  float weight;
  double objective;
};

// Adds how far the policies are from each other to `terms`.
Weighted weigh(float log_prob, const float* acting_log_prob, float advantage, float clip_coef, LossTerms& terms) {
  if (!acting_log_prob) return {advantage, double{log_prob} * advantage};
  const float ratio = std::exp(log_prob - *acting_log_prob);
  const float clipped = std::clamp(ratio, 1.0f - clip_coef, 1.0f + clip_coef);
  const float objective = std::min(ratio * advantage, clipped * advantage);
  terms.approx_kl += (double{ratio} - 1.0) - (log_prob - *acting_log_prob);
  terms.clip_fraction += clipped != ratio ? 1.0 : 0.0;
  return {objective < ratio * advantage ? 0.0f : objective, objective};  // a clipped ratio has no gradient
}

}  // namespace

LossTerms actor_critic_loss(const Distribution& distribution, int64_t num_samples, const float* policy,
                            const float* acting_policy, const float* values, const float* actions,
                            const float* advantages, const float* returns, const uint8_t* valid,
                            const LossConfig& config, float* d_policy, float* d_values) {
  const int outputs = distribution.num_outputs();
  LossTerms terms;
  terms.valid = std::count_if(valid, valid + num_samples, [](uint8_t v) { return v != 0; });
  const float scale = terms.valid > 0 ? 1.0f / static_cast<float>(terms.valid) : 0.0f;
  std::array<float, kBlock> log_probs, acting_log_probs, entropies, weights;
  for (int64_t first = 0; first < num_samples; first += kBlock) {
    const int64_t count = std::min(kBlock, num_samples - first);
    const float* const block_policy = policy + first * outputs;
    const float* const block_actions = actions + first * distribution.action_size();
    float* const d_block = d_policy + first * outputs;
    distribution.evaluate(count, block_policy, block_actions, log_probs.data(), entropies.data(), d_block);
    if (acting_policy)
      distribution.log_prob(count, acting_policy + first * outputs, block_actions, acting_log_probs.data());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t sample = first + i;
      weights[i] = d_values[sample] = 0;
      if (!valid[sample]) continue;
      const Weighted weighted = weigh(log_probs[i], acting_policy ? &acting_log_probs[i] : nullptr, advantages[sample],
                                      config.clip_coef, terms);
      weights[i] = weighted.weight;
      const float error = values[sample] - returns[sample];
      d_values[sample] = 2.0f * config.value_coef * error * scale;
      terms.policy_loss -= weighted.objective;
      terms.value_loss += double{error} * error;
      terms.entropy += entropies[i];
    }
    distribution.gradient(count, block_policy, block_actions, weights.data(), entropies.data(), config.entropy_coef,
                          scale, d_block);
    for (int64_t i = 0; i < count; ++i)
      if (!valid[first + i]) std::fill_n(d_block + i * outputs, outputs, 0.0f);
  }
  const double divisor = terms.valid > 0 ? static_cast<double>(terms.valid) : 1.0;
  terms.policy_loss /= divisor;
  terms.value_loss /= divisor;
  terms.entropy /= divisor;
  terms.approx_kl /= divisor;
  terms.clip_fraction /= divisor;
  return terms;
}

}  // namespace a3c

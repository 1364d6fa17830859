#include "learn/loss.h"

#include <algorithm>
#include <array>

#include "learn/categorical.h"

namespace a3c {

LossTerms actor_critic_loss(int64_t num_samples, int num_actions, const float* logits, const float* values,
                            const int32_t* actions, const float* advantages, const float* returns, const uint8_t* valid,
                            const LossConfig& config, float* d_logits, float* d_values) {
  LossTerms terms;
  terms.valid = std::count_if(valid, valid + num_samples, [](uint8_t v) { return v != 0; });
  const float scale = terms.valid > 0 ? 1.0f / static_cast<float>(terms.valid) : 0.0f;
  std::array<float, kMaxActions> log_probabilities;
  for (int64_t i = 0; i < num_samples; ++i) {
    float* d_logit = d_logits + i * num_actions;
    if (!valid[i]) {
      std::fill_n(d_logit, num_actions, 0.0f);
      d_values[i] = 0;
      continue;
    }
    categorical::log_softmax(logits + i * num_actions, num_actions, log_probabilities.data());
    const float entropy = categorical::entropy(log_probabilities.data(), num_actions);
    categorical::policy_gradient(log_probabilities.data(), num_actions, actions[i], advantages[i], config.entropy_coef,
                                 entropy, scale, d_logit);
    const float error = values[i] - returns[i];
    d_values[i] = 2.0f * config.value_coef * error * scale;

    terms.policy_loss -= double{log_probabilities[actions[i]]} * advantages[i];
    terms.value_loss += double{error} * error;
    terms.entropy += entropy;
  }
  const double divisor = terms.valid > 0 ? static_cast<double>(terms.valid) : 1.0;
  terms.policy_loss /= divisor;
  terms.value_loss /= divisor;
  terms.entropy /= divisor;
  return terms;
}

}  // namespace a3c

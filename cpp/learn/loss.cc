#include "learn/loss.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "learn/categorical.h"

namespace a3c {

LossTerms actor_critic_loss(int64_t num_samples, int num_actions, const float* logits, const float* acting_logits,
                            const float* values, const int32_t* actions, const float* advantages, const float* returns,
                            const uint8_t* valid, const LossConfig& config, float* d_logits, float* d_values) {
  LossTerms terms;
  terms.valid = std::count_if(valid, valid + num_samples, [](uint8_t v) { return v != 0; });
  const float scale = terms.valid > 0 ? 1.0f / static_cast<float>(terms.valid) : 0.0f;
  std::array<float, kMaxActions> log_probabilities, acting_log_probabilities;
  for (int64_t i = 0; i < num_samples; ++i) {
    float* d_logit = d_logits + i * num_actions;
    if (!valid[i]) {
      std::fill_n(d_logit, num_actions, 0.0f);
      d_values[i] = 0;
      continue;
    }
    categorical::log_softmax(logits + i * num_actions, num_actions, log_probabilities.data());
    const float entropy = categorical::entropy(log_probabilities.data(), num_actions);
    float weight = advantages[i];  // of -grad log pi(a|s)
    if (acting_logits) {
      categorical::log_softmax(acting_logits + i * num_actions, num_actions, acting_log_probabilities.data());
      const float ratio = std::exp(log_probabilities[actions[i]] - acting_log_probabilities[actions[i]]);
      const float clipped = std::clamp(ratio, 1.0f - config.clip_coef, 1.0f + config.clip_coef);
      const float objective = std::min(ratio * advantages[i], clipped * advantages[i]);
      weight = objective < ratio * advantages[i] ? 0.0f : objective;  // a clipped ratio has no gradient
      terms.policy_loss -= objective;
    } else {
      terms.policy_loss -= double{log_probabilities[actions[i]]} * advantages[i];
    }
    categorical::policy_gradient(log_probabilities.data(), num_actions, actions[i], weight, config.entropy_coef,
                                 entropy, scale, d_logit);
    const float error = values[i] - returns[i];
    d_values[i] = 2.0f * config.value_coef * error * scale;

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

// The actor-critic loss and its gradient with respect to the network's outputs; a pure function.
#pragma once

#include <cstdint>

namespace a3c {

struct LossConfig {
  float value_coef;    // c_v
  float entropy_coef;  // beta
  float clip_coef;     // epsilon: how far the importance ratio may go from 1
};

// Means over the valid samples of one update.
struct LossTerms {
  double policy_loss = 0;  // mean of -log pi(a|s) A, or of -min(r A, clip(r) A)
  double value_loss = 0;   // mean of (R - V)^2, without c_v
  double entropy = 0;      // mean of H(pi), in nats
  int64_t valid = 0;       // samples that counted
};

// L = mean over valid samples of  -log pi(a|s) A + c_v (R - V(s))^2 - beta H(pi(.|s)).
// Mnih et al. 2016, section 4, and Algorithm S3. A and R are constants: no gradient passes through them.
//
// With acting_logits, those of the policy that chose the actions, the samples are used again: the first term becomes
// -min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) with the importance ratio r = pi(a|s) / pi_acting(a|s), Schulman et
// al. 2017, equation 7. Null where that policy is pi itself: r is 1, and the gradients are the same.
//
// logits, acting_logits, d_logits: [num_samples][num_actions]; all else [num_samples]. Samples with valid == 0 (reset
// steps, where the environment ignored the action) get zero gradient and no weight. num_actions is at most kMaxActions.
inline constexpr int kMaxActions = 1024;
LossTerms actor_critic_loss(int64_t num_samples, int num_actions, const float* logits, const float* acting_logits,
                            const float* values, const int32_t* actions, const float* advantages, const float* returns,
                            const uint8_t* valid, const LossConfig& config, float* d_logits, float* d_values);

}  // namespace a3c

// The actor-critic loss and its gradient with respect to the network's outputs; a pure function.
#pragma once

#include <cstdint>

namespace a3c {

struct LossConfig {
  float value_coef;    // c_v
  float entropy_coef;  // beta
};

// Means over the valid samples of one update.
struct LossTerms {
  double policy_loss = 0;  // mean of -log pi(a|s) A
  double value_loss = 0;   // mean of (R - V)^2, without c_v
  double entropy = 0;      // mean of H(pi), in nats
  int64_t valid = 0;       // samples that counted
};

// L = mean over valid samples of  -log pi(a|s) A + c_v (R - V(s))^2 - beta H(pi(.|s)).
// Mnih et al. 2016, section 4, and Algorithm S3. A and R are constants: no gradient passes through them.
//
// logits, d_logits: [num_samples][num_actions]; all else [num_samples]. Samples with valid == 0 (reset steps, where
// the environment ignored the action) get zero gradient and no weight. num_actions is at most kMaxActions.
inline constexpr int kMaxActions = 1024;
LossTerms actor_critic_loss(int64_t num_samples, int num_actions, const float* logits, const float* values,
                            const int32_t* actions, const float* advantages, const float* returns, const uint8_t* valid,
                            const LossConfig& config, float* d_logits, float* d_values);

}  // namespace a3c

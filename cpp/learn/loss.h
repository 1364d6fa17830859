// The actor-critic loss and its gradient with respect to the network's outputs; a pure function.
#pragma once

#include <cstdint>

#include "policy/distribution.h"

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
  // How far pi is from the policy that chose the actions; 0 without acting_policy, which says that it is the same.
  double approx_kl = 0;      // mean of r - 1 - log r, Schulman's estimate of KL(pi_acting || pi), in nats
  double clip_fraction = 0;  // share of the samples whose ratio is beyond 1 - epsilon or 1 + epsilon
  int64_t valid = 0;         // samples that counted
};

// L = mean over valid samples of  -log pi(a|s) A + c_v (R - V(s))^2 - beta H(pi(.|s)).
// Mnih et al. 2016, section 4, and Algorithm S3. A and R are constants: no gradient passes through them.
//
// With acting_policy, the outputs of the policy that chose the actions, the samples are used again: the first term
// becomes -min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) with the importance ratio r = pi(a|s) / pi_acting(a|s),
// Schulman et al. 2017, equation 7. Null where that policy is pi itself: r is 1, and the gradients are the same.
//
// policy, acting_policy, d_policy: [num_samples][num_outputs] of `distribution`; actions: [num_samples][action_size];
// all else [num_samples]. Samples with valid == 0 (reset steps, where the environment ignored the action) get zero
// gradient and no weight.
LossTerms actor_critic_loss(const Distribution& distribution, int64_t num_samples, const float* policy,
                            const float* acting_policy, const float* values, const float* actions,
                            const float* advantages, const float* returns, const uint8_t* valid,
                            const LossConfig& config, float* d_policy, float* d_values);

}  // namespace a3c

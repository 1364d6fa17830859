// The categorical policy pi(a|s) = softmax(logits): all that the rest of the code knows of discrete actions.
// A policy of another kind (a Gaussian for continuous actions) is a file beside this one with the same functions.
#pragma once

#include <cstdint>

namespace a3c::categorical {

// The inverse-CDF sample of softmax(logits) at `uniform` in [0, 1).
int32_t sample(const float* logits, int num_actions, float uniform);

// log pi(.|s), shifted by the largest logit so that nothing overflows.
void log_softmax(const float* logits, int num_actions, float* log_probabilities);

// H(pi) = -sum_a pi(a|s) log pi(a|s), in nats.
float entropy(const float* log_probabilities, int num_actions);

// d/dlogits of -advantage * log pi(action|s) - entropy_coef * H(pi), times `scale`:
//   advantage * (pi - onehot(action)) + entropy_coef * pi * (log pi + H).
void policy_gradient(const float* log_probabilities, int num_actions, int32_t action, float advantage,
                     float entropy_coef, float entropy, float scale, float* d_logits);

}  // namespace a3c::categorical

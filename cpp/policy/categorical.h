// pi(a|s) = softmax(logits): one of n discrete actions.
#pragma once

#include "policy/distribution.h"

namespace a3c {

// What one softmax of n logits is; MultiCategorical has several.
namespace categorical {

// The inverse-CDF sample of softmax(logits) at `uniform` in [0, 1).
int32_t sample(const float* logits, int num_actions, float uniform);

// log pi(.|s), shifted by the largest logit so that nothing overflows.
void log_softmax(const float* logits, int num_actions, float* log_probabilities);

// H(pi) = -sum_a pi(a|s) log pi(a|s), in nats.
float entropy(const float* log_probabilities, int num_actions);

// d/dlogits of -advantage * log pi(action|s) - entropy_coef * H(pi), times `scale`:
//   advantage * (pi - onehot(action)) + entropy_coef * pi * (log pi + H).
// `d_logits` may be `log_probabilities`.
void policy_gradient(const float* log_probabilities, int num_actions, int32_t action, float advantage,
                     float entropy_coef, float entropy, float scale, float* d_logits);

// log pi(action|s) alone, without memory of one's own.
float log_prob(const float* logits, int num_actions, int32_t action);

}  // namespace categorical

class Categorical final : public Distribution {
 public:
  explicit Categorical(int num_actions) : num_actions_(num_actions) {}

  int num_outputs() const override { return num_actions_; }
  int action_size() const override { return 1; }
  void sample(int64_t count, const float* outputs, Random& random, float* actions) const override;
  void mode(int64_t count, const float* outputs, float* actions) const override;
  void log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const override;
  void evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs, float* entropies,
                float* work) const override;
  void gradient(int64_t count, const float* outputs, const float* actions, const float* weights, const float* entropies,
                float entropy_coef, float scale, float* work) const override;

 private:
  const int num_actions_;
};

}  // namespace a3c

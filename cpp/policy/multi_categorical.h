// Several discrete choices at once, each with a softmax of its own: pi(a|s) = prod_i softmax(logits_i)[a_i].
// The logarithms of the probabilities and the entropies add up.
#pragma once

#include <vector>

#include "policy/distribution.h"

namespace a3c {

class MultiCategorical final : public Distribution {
 public:
  // `choices`: how many there are of each component.
  explicit MultiCategorical(std::vector<int> choices);

  // Of the components one after another.
  int num_outputs() const override { return num_outputs_; }
  int action_size() const override { return static_cast<int>(choices_.size()); }
  void sample(int64_t count, const float* outputs, Random& random, float* actions) const override;
  void mode(int64_t count, const float* outputs, float* actions) const override;
  void log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const override;
  void evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs, float* entropies,
                float* work) const override;
  void gradient(int64_t count, const float* outputs, const float* actions, const float* weights, const float* entropies,
                float entropy_coef, float scale, float* work) const override;

 private:
  const std::vector<int> choices_;
  const int num_outputs_;
};

}  // namespace a3c

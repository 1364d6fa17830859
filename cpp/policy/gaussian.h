// Continuous actions: a diagonal Gaussian over u, which is an action in the policy's own units, see ActionSpec.
//
//   u_i ~ N(mu_i(s), sigma_i);  outputs [mu, log sigma], n each
//   log pi(u|s) = sum_i -z_i^2 / 2 - log sigma_i - log(2 pi) / 2, with z_i = (u_i - mu_i) / sigma_i
//   H(pi) = sum_i log sigma_i + log(2 pi e) / 2
//
// Mnih et al. 2016, section 9. The density is that of u before it is clipped to the bounds, and nothing squashes it.
#pragma once

#include "policy/distribution.h"

namespace a3c {

class Gaussian final : public Distribution {
 public:
  explicit Gaussian(int size) : size_(size) {}

  int num_outputs() const override { return 2 * size_; }
  int action_size() const override { return size_; }
  // By Box and Muller, two uniform numbers for each component.
  void sample(int64_t count, const float* outputs, Random& random, float* actions) const override;
  void mode(int64_t count, const float* outputs, float* actions) const override;
  void log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const override;
  void evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs, float* entropies,
                float* work) const override;
  void gradient(int64_t count, const float* outputs, const float* actions, const float* weights, const float* entropies,
                float entropy_coef, float scale, float* work) const override;

 private:
  const int size_;
};

}  // namespace a3c

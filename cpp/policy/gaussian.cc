#include "policy/gaussian.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace a3c {
namespace {

constexpr float kHalfLogTwoPi = 0.918938533f;

// One number of N(0, 1). Its partner is not kept: what is drawn must not depend on what was drawn before.
float normal(Random& random) {
  const float radius = std::sqrt(-2.0f * std::log(1.0f - random.uniform()));  // of (0, 1]
  return radius * std::cos(2.0f * std::numbers::pi_v<float> * random.uniform());
}

}  // namespace

void Gaussian::sample(int64_t count, const float* outputs, Random& random, float* actions) const {
  for (int64_t i = 0; i < count; ++i, outputs += 2 * size_)
    for (int j = 0; j < size_; ++j) *actions++ = outputs[j] + std::exp(outputs[size_ + j]) * normal(random);
}

void Gaussian::mode(int64_t count, const float* outputs, float* actions) const {
  for (int64_t i = 0; i < count; ++i) std::copy_n(outputs + i * 2 * size_, size_, actions + i * size_);
}

void Gaussian::log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const {
  for (int64_t i = 0; i < count; ++i, outputs += 2 * size_, actions += size_) {
    float sum = 0;
    for (int j = 0; j < size_; ++j) {
      const float log_std = outputs[size_ + j];
      const float z = (actions[j] - outputs[j]) * std::exp(-log_std);
      sum -= 0.5f * z * z + log_std + kHalfLogTwoPi;
    }
    log_probs[i] = sum;
  }
}

void Gaussian::evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs, float* entropies,
                        float* work) const {
  for (int64_t i = 0; i < count; ++i, outputs += 2 * size_, actions += size_, work += 2 * size_) {
    float log_prob = 0, entropy = 0;
    for (int j = 0; j < size_; ++j) {
      const float log_std = outputs[size_ + j];
      const float inverse_std = std::exp(-log_std);
      const float z = (actions[j] - outputs[j]) * inverse_std;
      log_prob -= 0.5f * z * z + log_std + kHalfLogTwoPi;
      entropy += log_std + kHalfLogTwoPi + 0.5f;
      work[j] = z * inverse_std;
      work[size_ + j] = z * z - 1;
    }
    log_probs[i] = log_prob;
    entropies[i] = entropy;
  }
}

void Gaussian::gradient(int64_t count, const float*, const float*, const float* weights, const float*,
                        float entropy_coef, float scale, float* work) const {
  for (int64_t i = 0; i < count; ++i, work += 2 * size_)
    for (int j = 0; j < size_; ++j) {
      work[j] *= -scale * weights[i];
      work[size_ + j] = scale * (-weights[i] * work[size_ + j] - entropy_coef);
    }
}

}  // namespace a3c

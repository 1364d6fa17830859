#include "learn/categorical.h"

#include <algorithm>
#include <cmath>

namespace a3c::categorical {

int32_t sample(const float* logits, int num_actions, float uniform) {
  const float largest = *std::max_element(logits, logits + num_actions);
  float sum = 0;
  for (int a = 0; a < num_actions; ++a) sum += std::exp(logits[a] - largest);
  float left = uniform * sum;
  for (int a = 0; a < num_actions - 1; ++a) {
    left -= std::exp(logits[a] - largest);
    if (left < 0) return a;
  }
  return num_actions - 1;
}

void log_softmax(const float* logits, int num_actions, float* log_probabilities) {
  const float largest = *std::max_element(logits, logits + num_actions);
  float sum = 0;
  for (int a = 0; a < num_actions; ++a) sum += std::exp(logits[a] - largest);
  const float log_sum = std::log(sum);
  // In this order: the largest logit and the logarithm may differ by more than a float's 7 digits.
  for (int a = 0; a < num_actions; ++a) log_probabilities[a] = (logits[a] - largest) - log_sum;
}

float entropy(const float* log_probabilities, int num_actions) {
  float total = 0;
  for (int a = 0; a < num_actions; ++a) total -= std::exp(log_probabilities[a]) * log_probabilities[a];
  return total;
}

void policy_gradient(const float* log_probabilities, int num_actions, int32_t action, float advantage,
                     float entropy_coef, float entropy, float scale, float* d_logits) {
  for (int a = 0; a < num_actions; ++a) {
    const float probability = std::exp(log_probabilities[a]);
    const float policy_term = advantage * (probability - (a == action ? 1.0f : 0.0f));
    const float entropy_term = entropy_coef * probability * (log_probabilities[a] + entropy);
    d_logits[a] = scale * (policy_term + entropy_term);
  }
}

}  // namespace a3c::categorical

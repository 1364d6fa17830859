#include "policy/categorical.h"

#include <algorithm>
#include <cmath>

namespace a3c {
namespace categorical {

int32_t sample(const float* logits, int num_actions, float uniform) {
  const float largest = *std::max_element(logits, logits + num_actions);
  float sum = 0;
  for (int a = 0; a < num_actions; ++a) sum += std::exp(logits[a] - largest);
  float left = uniform * sum;
  for (int a = 0; a < num_actions - 1; ++a) {
    left -= std::exp(logits[a] - largest);
    if (left < 0) return a;
  }
  // Rounding has left something: the last action that has a probability.
  int last = num_actions - 1;
  while (last > 0 && std::exp(logits[last] - largest) == 0) --last;
  return last;
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
    const float log_probability = log_probabilities[a];
    const float probability = std::exp(log_probability);
    const float policy_term = advantage * (probability - (a == action ? 1.0f : 0.0f));
    const float entropy_term = entropy_coef * probability * (log_probability + entropy);
    d_logits[a] = scale * (policy_term + entropy_term);
  }
}

float log_prob(const float* logits, int num_actions, int32_t action) {
  const float largest = *std::max_element(logits, logits + num_actions);
  float sum = 0;
  for (int a = 0; a < num_actions; ++a) sum += std::exp(logits[a] - largest);
  return (logits[action] - largest) - std::log(sum);
}

}  // namespace categorical

void Categorical::sample(int64_t count, const float* outputs, Random& random, float* actions) const {
  for (int64_t i = 0; i < count; ++i)
    actions[i] = static_cast<float>(categorical::sample(outputs + i * num_actions_, num_actions_, random.uniform()));
}

void Categorical::mode(int64_t count, const float* outputs, float* actions) const {
  for (int64_t i = 0; i < count; ++i, outputs += num_actions_)
    actions[i] = static_cast<float>(std::max_element(outputs, outputs + num_actions_) - outputs);
}

void Categorical::log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const {
  for (int64_t i = 0; i < count; ++i)
    log_probs[i] = categorical::log_prob(outputs + i * num_actions_, num_actions_, static_cast<int32_t>(actions[i]));
}

void Categorical::evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs,
                           float* entropies, float* work) const {
  for (int64_t i = 0; i < count; ++i) {
    float* log_probabilities = work + i * num_actions_;
    categorical::log_softmax(outputs + i * num_actions_, num_actions_, log_probabilities);
    log_probs[i] = log_probabilities[static_cast<int32_t>(actions[i])];
    entropies[i] = categorical::entropy(log_probabilities, num_actions_);
  }
}

void Categorical::gradient(int64_t count, const float*, const float* actions, const float* weights,
                           const float* entropies, float entropy_coef, float scale, float* work) const {
  for (int64_t i = 0; i < count; ++i, work += num_actions_)
    categorical::policy_gradient(work, num_actions_, static_cast<int32_t>(actions[i]), weights[i], entropy_coef,
                                 entropies[i], scale, work);
}

}  // namespace a3c

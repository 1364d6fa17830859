#include "policy/multi_categorical.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "policy/categorical.h"

namespace a3c {

MultiCategorical::MultiCategorical(std::vector<int> choices)
    : choices_(std::move(choices)), num_outputs_(std::accumulate(choices_.begin(), choices_.end(), 0)) {}

void MultiCategorical::sample(int64_t count, const float* outputs, Random& random, float* actions) const {
  for (int64_t i = 0; i < count; ++i)
    for (int choices : choices_) {
      *actions++ = static_cast<float>(categorical::sample(outputs, choices, random.uniform()));
      outputs += choices;
    }
}

void MultiCategorical::mode(int64_t count, const float* outputs, float* actions) const {
  for (int64_t i = 0; i < count; ++i)
    for (int choices : choices_) {
      *actions++ = static_cast<float>(std::max_element(outputs, outputs + choices) - outputs);
      outputs += choices;
    }
}

void MultiCategorical::log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const {
  for (int64_t i = 0; i < count; ++i) {
    log_probs[i] = 0;
    for (int choices : choices_) {
      log_probs[i] += categorical::log_prob(outputs, choices, static_cast<int32_t>(*actions++));
      outputs += choices;
    }
  }
}

void MultiCategorical::evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs,
                                float* entropies, float* work) const {
  for (int64_t i = 0; i < count; ++i) {
    log_probs[i] = entropies[i] = 0;
    for (int choices : choices_) {
      categorical::log_softmax(outputs, choices, work);
      log_probs[i] += work[static_cast<int32_t>(*actions++)];
      entropies[i] += categorical::entropy(work, choices);
      outputs += choices;
      work += choices;
    }
  }
}

void MultiCategorical::gradient(int64_t count, const float*, const float* actions, const float* weights, const float*,
                                float entropy_coef, float scale, float* work) const {
  for (int64_t i = 0; i < count; ++i)
    for (int choices : choices_) {
      const float entropy = categorical::entropy(work, choices);  // of this component alone
      categorical::policy_gradient(work, choices, static_cast<int32_t>(*actions++), weights[i], entropy_coef, entropy,
                                   scale, work);
      work += choices;
    }
}

}  // namespace a3c

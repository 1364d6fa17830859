#include "policy/distribution.h"

#include "policy/categorical.h"
#include "policy/gaussian.h"
#include "policy/multi_categorical.h"

namespace a3c {

void forbid(int64_t size, const uint8_t* masks, float* logits) {
  constexpr float kForbidden = -1e9f;  // and not -inf, which times a probability of 0 would be no number
  for (int64_t i = 0; i < size; ++i)
    if (!masks[i]) logits[i] = kForbidden;
}

std::unique_ptr<const Distribution> make_distribution(const ActionSpec& action) {
  if (action.continuous()) return std::make_unique<Gaussian>(action.size());
  if (action.size() == 1) return std::make_unique<Categorical>(action.choices[0]);
  return std::make_unique<MultiCategorical>(action.choices);
}

}  // namespace a3c

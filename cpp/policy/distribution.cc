#include "policy/distribution.h"

#include "policy/categorical.h"
#include "policy/gaussian.h"
#include "policy/multi_categorical.h"

namespace a3c {

std::unique_ptr<const Distribution> make_distribution(const ActionSpec& action) {
  if (action.continuous()) return std::make_unique<Gaussian>(action.size());
  if (action.size() == 1) return std::make_unique<Categorical>(action.choices[0]);
  return std::make_unique<MultiCategorical>(action.choices);
}

}  // namespace a3c

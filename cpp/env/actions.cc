#include "env/actions.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace a3c {

void check_action(const ActionSpec& spec, const float* action) {
  for (int i = 0; i < spec.size(); ++i) {
    const float value = action[i];
    const bool fits =
        spec.continuous() ? std::isfinite(value) : value >= 0 && value < static_cast<float>(spec.choices[i]);
    if (fits && (spec.continuous() || value == std::floor(value))) continue;
    const std::string of_component = spec.size() > 1 ? " of component " + std::to_string(i) : "";
    if (spec.continuous()) throw std::out_of_range("action " + std::to_string(value) + of_component + " is not finite");
    throw std::out_of_range("action " + std::to_string(value) + of_component + " is no whole number from 0 to " +
                            std::to_string(spec.choices[i] - 1));
  }
}

void check_allowed(const ActionSpec& spec, const uint8_t* mask, const float* action) {
  for (int i = 0; i < spec.size(); mask += spec.choices[i++]) {
    const auto choice = static_cast<int>(action[i]);
    if (!mask[choice])
      throw std::out_of_range("action " + std::to_string(choice) + " is not allowed here by the environment");
  }
}

double to_environment(const ActionSpec& spec, int i, float component) {
  if (!spec.continuous()) return component;
  const double low = spec.low[i], high = spec.high[i];
  const bool bounded = std::isfinite(low) && std::isfinite(high);
  return std::clamp(bounded ? (low + high) / 2 + (high - low) / 2 * component : double{component}, low, high);
}

}  // namespace a3c

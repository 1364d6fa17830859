// Actions on their way from the policy to an environment.
#pragma once

#include <cstdint>

#include "env/spec.h"

namespace a3c {

// Throws std::out_of_range unless `action` [size] is one of these: whole numbers of the choices, or finite numbers.
void check_action(const ActionSpec& spec, const float* action);

// Throws std::out_of_range where a choice is not allowed by `mask`, a byte for each choice of each component.
void check_allowed(const ActionSpec& spec, const uint8_t* mask, const float* action);

// Component i of an action as the environment is given it. Continuous ones in its own units, see ActionSpec.
double to_environment(const ActionSpec& spec, int i, float component);

}  // namespace a3c

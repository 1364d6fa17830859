#pragma once

#include <string>

#include "config.h"

namespace a3c::bindings {

// Errors: std::invalid_argument for another name than uint8 and float32.
ObservationType observation_type(const std::string& name);

}  // namespace a3c::bindings

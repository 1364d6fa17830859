// The settings that may change while the workers run. Each is read where it is used, so that the next update has it.
#pragma once

#include <atomic>
#include <stdexcept>
#include <string>

#include "config.h"

namespace a3c {

struct LiveSettings {
  explicit LiveSettings(const TrainConfig& config)
      : learning_rate(config.learning_rate),
        entropy_coef(config.entropy_coef),
        value_coef(config.value_coef),
        clip_coef(config.clip_coef),
        max_grad_norm(config.max_grad_norm) {}

  // By the name of TrainConfig. Throws std::invalid_argument for another.
  std::atomic<double>& operator[](const std::string& name) {
    if (name == "learning_rate") return learning_rate;
    if (name == "entropy_coef") return entropy_coef;
    if (name == "value_coef") return value_coef;
    if (name == "clip_coef") return clip_coef;
    if (name == "max_grad_norm") return max_grad_norm;
    throw std::invalid_argument(name + " cannot change while the workers run");
  }

  // Atomic, all of them: set by any thread, read by every worker.
  std::atomic<double> learning_rate;
  std::atomic<double> entropy_coef;
  std::atomic<double> value_coef;
  std::atomic<double> clip_coef;
  std::atomic<double> max_grad_norm;
};

}  // namespace a3c

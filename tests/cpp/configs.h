// Configurations of runs that are small enough to be over in milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "config.h"
#include "env/scripted/fake_env.h"
#include "policy/distribution.h"

namespace a3c {

inline ObservationSpec numbers(int64_t count) {
  return {.array_shape = {}, .num_features = count};
}
inline ObservationSpec array_of(std::vector<int64_t> shape, ElementType type = ElementType::uint8,
                                int64_t num_features = 0) {
  return {.array_shape = std::move(shape), .array_type = type, .num_features = num_features};
}
inline ActionSpec discrete(std::vector<int> choices) {
  return {.choices = std::move(choices), .low = {}, .high = {}};
}
inline ActionSpec continuous(std::vector<float> low, std::vector<float> high) {
  return {.choices = {}, .low = std::move(low), .high = std::move(high)};
}

inline EnvSpec small_spec(int num_envs = 2, const ActionSpec& action = discrete({3})) {
  return {num_envs, numbers(4), action};
}

inline ModelConfig model_of(const EnvSpec& spec) {
  ModelConfig config;
  config.observation = spec.observation;
  config.num_outputs = make_distribution(spec.action)->num_outputs();
  config.num_log_std = spec.action.continuous() ? spec.action.size() : 0;
  config.hidden_sizes = {8};
  return config;
}

inline OptimizerConfig rmsprop_config() {
  return {.kind = OptimizerKind::rmsprop, .rmsprop_alpha = 0.99, .eps = 0.1};
}

inline OptimizerConfig adam_config() {
  return {.kind = OptimizerKind::adam, .adam_beta1 = 0.9, .adam_beta2 = 0.999, .eps = 1e-5};
}

inline TrainConfig small_config(int envs_per_update = 2) {
  TrainConfig config;
  config.total_steps = 1000000;
  config.t_max = 5;
  config.update_epochs = 1;
  config.envs_per_update = envs_per_update;
  config.gamma = 0.99;
  config.gae_lambda = 1.0;
  config.entropy_coef = 0.01;
  config.value_coef = 0.5;
  config.max_grad_norm = 0.5;
  config.learning_rate = 1e-2;
  config.learning_rate_decay_power = 0;
  config.optimizer = rmsprop_config();
  config.seed = 7;
  config.watchdog_seconds = 3600;  // on however busy a machine
  return config;
}

inline FakeEnvConfig fake_config(int num_envs = 2, uint32_t seed = 1) {
  FakeEnvConfig config;
  config.spec = small_spec(num_envs);
  config.seed = seed;
  return config;
}

}  // namespace a3c

// Configurations of runs that are small enough to be over in milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config.h"
#include "env/fake_env.h"

namespace a3c {

inline EnvSpec small_spec(int num_envs = 2) {
  return {num_envs, {4}, ObservationType::float32, 3};
}

inline ModelConfig model_of(const EnvSpec& spec) {
  return {ModelKind::mlp, spec.observation_shape, spec.observation_type, spec.num_actions, {8}};
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
  config.watchdog_seconds = 60;
  return config;
}

inline FakeEnvConfig fake_config(int num_envs = 2, uint32_t seed = 1) {
  FakeEnvConfig config;
  config.spec = small_spec(num_envs);
  config.seed = seed;
  return config;
}

}  // namespace a3c

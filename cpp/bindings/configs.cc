// The settings and specs, which Python has checked.
#include "bindings/fields.h"
#include "bindings/python.h"
#include "config.h"
#include "model/exported/exported_network.h"

namespace a3c::bindings {
namespace {

const bool kOptional = true;

void bind_specs(py::module_& m) {
  Fields<ObservationSpec>(m, "ObservationSpec")
      .field("array_shape", &ObservationSpec::array_shape, kOptional)
      .field("array_type", &ObservationSpec::array_type,
             {{"uint8", ElementType::uint8}, {"float32", ElementType::float32}}, kOptional)
      .field("num_features", &ObservationSpec::num_features, kOptional);
  Fields<ActionSpec>(m, "ActionSpec")
      .field("choices", &ActionSpec::choices, kOptional)
      .field("low", &ActionSpec::low, kOptional)
      .field("high", &ActionSpec::high, kOptional)
      .field("masked", &ActionSpec::masked, kOptional);
  Fields<EnvSpec>(m, "EnvSpec")
      .field("num_envs", &EnvSpec::num_envs)
      .field("observation", &EnvSpec::observation)
      .field("action", &EnvSpec::action);
}

}  // namespace

void bind_configs(py::module_& m) {
  bind_specs(m);
  Fields<OptimizerConfig>(m, "OptimizerConfig")
      .field("kind", &OptimizerConfig::kind, {{"rmsprop", OptimizerKind::rmsprop}, {"adam", OptimizerKind::adam}})
      .field("rmsprop_alpha", &OptimizerConfig::rmsprop_alpha)
      .field("adam_beta1", &OptimizerConfig::adam_beta1)
      .field("adam_beta2", &OptimizerConfig::adam_beta2)
      .field("eps", &OptimizerConfig::eps);
  Fields<ModelConfig>(m, "ModelConfig")
      .field("kind", &ModelConfig::kind,
             {{"paper", ModelKind::paper},
              {"nature", ModelKind::nature},
              {"small", ModelKind::small},
              {"mlp", ModelKind::mlp}})
      .field("observation", &ModelConfig::observation)
      .field("num_outputs", &ModelConfig::num_outputs)
      .field("num_log_std", &ModelConfig::num_log_std, kOptional)
      .field("initial_log_std", &ModelConfig::initial_log_std, kOptional)
      .field("hidden_sizes", &ModelConfig::hidden_sizes)
      .field("activation", &ModelConfig::activation,
             {{"tanh", Activation::tanh}, {"relu", Activation::relu}, {"elu", Activation::elu}}, kOptional)
      .field("separate_value", &ModelConfig::separate_value, kOptional)
      .field("lstm_size", &ModelConfig::lstm_size, kOptional)
      .field("observation_offset", &ModelConfig::observation_offset, kOptional)
      .field("observation_scale", &ModelConfig::observation_scale, kOptional)
      .field("precision", &ModelConfig::precision,
             {{"auto", Precision::automatic}, {"fp32", Precision::fp32}, {"bf16", Precision::bf16}}, kOptional)
      .field("exported", &ModelConfig::exported, kOptional);
  Fields<TrainConfig>(m, "TrainConfig")
      .field("total_steps", &TrainConfig::total_steps)
      .field("t_max", &TrainConfig::t_max)
      .field("envs_per_update", &TrainConfig::envs_per_update)
      .field("update_epochs", &TrainConfig::update_epochs)
      .field("clip_coef", &TrainConfig::clip_coef)
      .field("normalize_advantages", &TrainConfig::normalize_advantages)
      .field("normalize_observations", &TrainConfig::normalize_observations)
      .field("normalize_rewards", &TrainConfig::normalize_rewards)
      .field("gamma", &TrainConfig::gamma)
      .field("gae_lambda", &TrainConfig::gae_lambda)
      .field("entropy_coef", &TrainConfig::entropy_coef)
      .field("entropy_final_fraction", &TrainConfig::entropy_final_fraction)
      .field("entropy_decay_steps", &TrainConfig::entropy_decay_steps)
      .field("value_coef", &TrainConfig::value_coef)
      .field("max_grad_norm", &TrainConfig::max_grad_norm)
      .field("learning_rate", &TrainConfig::learning_rate)
      .field("learning_rate_decay_power", &TrainConfig::learning_rate_decay_power)
      .field("learning_rate_warmup", &TrainConfig::learning_rate_warmup)
      .field("optimizer", &TrainConfig::optimizer)
      .field("seed", &TrainConfig::seed)
      .field("first_worker", &TrainConfig::first_worker, kOptional)
      .field("watchdog_seconds", &TrainConfig::watchdog_seconds);
}

}  // namespace a3c::bindings

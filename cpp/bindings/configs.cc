// The settings, which Python has checked: names become enumerators.
#include "bindings/configs.h"

#include <stdexcept>
#include <vector>

#include "bindings/python.h"
#include "learn/loss.h"

namespace a3c::bindings {

ObservationType observation_type(const std::string& name) {
  if (name == "uint8") return ObservationType::uint8;
  if (name == "float32") return ObservationType::float32;
  throw std::invalid_argument("observation_type " + name + " is not built: uint8 or float32");
}

namespace {

ModelKind model_kind(const std::string& name) {
  if (name == "paper") return ModelKind::paper;
  if (name == "nature") return ModelKind::nature;
  if (name == "mlp") return ModelKind::mlp;
  throw std::invalid_argument("model " + name + " is not built: paper, nature or mlp");
}

OptimizerKind optimizer_kind(const std::string& name) {
  if (name == "rmsprop") return OptimizerKind::rmsprop;
  if (name == "adam") return OptimizerKind::adam;
  throw std::invalid_argument("optimizer " + name + " is not built: rmsprop or adam");
}

Precision precision_of(const std::string& name) {
  if (name == "auto") return Precision::automatic;
  if (name == "fp32") return Precision::fp32;
  if (name == "bf16") return Precision::bf16;
  throw std::invalid_argument("precision " + name + " is not built: auto, fp32 or bf16");
}

}  // namespace

void bind_configs(py::module_& m) {
  py::class_<OptimizerConfig>(m, "OptimizerConfig")
      .def(
          py::init([](const std::string& kind, double rmsprop_alpha, double adam_beta1, double adam_beta2, double eps) {
            return OptimizerConfig{optimizer_kind(kind), rmsprop_alpha, adam_beta1, adam_beta2, eps};
          }),
          py::kw_only(), "kind"_a, "rmsprop_alpha"_a, "adam_beta1"_a, "adam_beta2"_a, "eps"_a);

  py::class_<ModelConfig>(m, "ModelConfig")
      .def(py::init([](const std::string& kind, std::vector<int64_t> shape, const std::string& type, int num_actions,
                       std::vector<int64_t> hidden_sizes, int lstm_size, double observation_offset,
                       double observation_scale, const std::string& precision) {
             require(num_actions > 0 && num_actions <= kMaxActions, "num_actions is out of range");
             return ModelConfig{model_kind(kind),   std::move(shape),        observation_type(type),
                                num_actions,        std::move(hidden_sizes), lstm_size,
                                observation_offset, observation_scale,       precision_of(precision)};
           }),
           py::kw_only(), "kind"_a, "observation_shape"_a, "observation_type"_a, "num_actions"_a, "hidden_sizes"_a,
           "lstm_size"_a = 0, "observation_offset"_a = 0.0, "observation_scale"_a = 1.0, "precision"_a = "auto");

  py::class_<TrainConfig>(m, "TrainConfig")
      .def(py::init([](int64_t total_steps, int t_max, int envs_per_update, int update_epochs, double clip_coef,
                       bool normalize_advantages, double gamma, double gae_lambda, double entropy_coef,
                       double entropy_final_fraction, int64_t entropy_decay_steps, double value_coef,
                       double max_grad_norm, double learning_rate, double learning_rate_decay_power,
                       int64_t learning_rate_warmup, const OptimizerConfig& optimizer, uint64_t seed,
                       double watchdog_seconds) {
             return TrainConfig{total_steps,
                                t_max,
                                envs_per_update,
                                update_epochs,
                                clip_coef,
                                normalize_advantages,
                                gamma,
                                gae_lambda,
                                entropy_coef,
                                entropy_final_fraction,
                                entropy_decay_steps,
                                value_coef,
                                max_grad_norm,
                                learning_rate,
                                learning_rate_decay_power,
                                learning_rate_warmup,
                                optimizer,
                                seed,
                                watchdog_seconds};
           }),
           py::kw_only(), "total_steps"_a, "t_max"_a, "envs_per_update"_a, "update_epochs"_a, "clip_coef"_a,
           "normalize_advantages"_a, "gamma"_a, "gae_lambda"_a, "entropy_coef"_a, "entropy_final_fraction"_a,
           "entropy_decay_steps"_a, "value_coef"_a, "max_grad_norm"_a, "learning_rate"_a, "learning_rate_decay_power"_a,
           "learning_rate_warmup"_a, "optimizer"_a, "seed"_a, "watchdog_seconds"_a);
}

}  // namespace a3c::bindings

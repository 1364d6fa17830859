// The plain structs that cross the Python boundary once, before any thread starts.
// Defaults and validation are Python's, a3c_fast/defaults.py and config.py: nothing here has a default that matters.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "env/spec.h"

namespace a3c {

struct ExportedNetwork;  // model/exported

enum class ModelKind { paper, nature, small, mlp };
enum class Activation { tanh, relu, elu };
enum class OptimizerKind { rmsprop, adam };
enum class Precision { automatic, fp32, bf16 };

struct ModelConfig {
  ModelKind kind = ModelKind::mlp;
  ObservationSpec observation;
  int num_outputs = 0;                // of the policy for one sample: what its distribution is made of, see policy/
  int num_log_std = 0;                // the last of them are a Gaussian's log sigma: parameters, whatever is observed
  double initial_log_std = 0;         // what these begin with
  std::vector<int64_t> hidden_sizes;  // of `mlp` alone, as the two that follow
  Activation activation = Activation::tanh;
  bool separate_value = false;    // the value has layers of its own
  int lstm_size = 0;              // units of the LSTM between torso and heads; 0: none
  double observation_offset = 0;  // the first layer is given (bytes / 255 - offset) * scale of an image
  double observation_scale = 1;
  Precision precision = Precision::automatic;  // of the arithmetic; parameters are float32
  // A network of the user's own. It takes observations as they are, and of what stands above it is concerned by
  // `observation` and `num_outputs` alone.
  std::shared_ptr<const ExportedNetwork> exported;
};

struct OptimizerConfig {
  OptimizerKind kind = OptimizerKind::rmsprop;
  double rmsprop_alpha = 0;  // decay of the mean square
  double adam_beta1 = 0;
  double adam_beta2 = 0;
  double eps = 0;  // inside the root for RMSProp, outside for Adam
};

struct TrainConfig {
  int64_t total_steps = 0;  // agent steps at which a learning rate that falls reaches 0
  int t_max = 0;            // steps of each environment in a rollout
  int envs_per_update = 0;  // divides every worker's number of environments
  int update_epochs = 0;    // times that a rollout is learned from; 1 is A3C
  double clip_coef = 0;     // of the importance ratio from the second time on
  bool normalize_advantages = false;
  bool normalize_observations = false;  // their numbers, not images
  bool normalize_rewards = false;
  double gamma = 0;
  double gae_lambda = 0;              // 1: the n-step return of the paper
  double entropy_coef = 0;            // at first
  double entropy_final_fraction = 0;  // of it is left from entropy_decay_steps on, linearly until then
  int64_t entropy_decay_steps = 0;    // agent steps; 0: entropy_coef stays
  double value_coef = 0;
  double max_grad_norm = 0;  // 0: no clipping
  double learning_rate = 0;
  double learning_rate_decay_power = 0;  // it falls with this power of the share of total_steps that is left
  int64_t learning_rate_warmup = 0;      // agent steps over which it first rises, evenly
  OptimizerConfig optimizer;
  uint64_t seed = 0;
  uint64_t first_worker = 0;    // the number of this engine's first worker among those of all hosts
  double watchdog_seconds = 0;  // a worker silent for so long fails the run
};

}  // namespace a3c

// The t_max x K block that a worker fills and learns from. All arrays are time-major, C-contiguous.
#pragma once

#include <cstdint>
#include <vector>

#include "env/spec.h"

namespace a3c {

// Owned by one worker; nothing is shared. Index [t][k] is t * num_envs + k.
struct Rollout {
  int t_max;
  int num_envs;
  int num_outputs;  // of the policy
  int action_size;
  int64_t observation_bytes;

  std::vector<uint8_t> observations;  // [t_max + 1][K][observation_bytes]: the last row is what the cut bootstraps from
  std::vector<float> actions;         // [t_max][K][action_size]
  std::vector<float> policy;          // [t_max + 1][K][num_outputs]
  std::vector<float> values;          // [t_max + 1][K]
  std::vector<float> rewards;         // [t_max][K]
  std::vector<uint8_t> done;          // [t_max][K]: the return ends at step t
  std::vector<uint8_t> bootstraps;    // [t_max][K]: V(s_{t+1}) counts (true unless step t terminated)
  std::vector<uint8_t> valid;         // [t_max][K]: step t was the policy's own; reset steps are 0
  std::vector<uint8_t> starts;        // [t_max + 1][K]: the observation is the first of an episode
  std::vector<uint8_t> masks;         // [t_max + 1][K][num_outputs]: allowed choices, empty where all always are
  std::vector<float> returns;         // [t_max][K]
  std::vector<float> advantages;      // [t_max][K]

  Rollout(int t_max, const EnvSpec& spec, int num_outputs);

  int64_t size() const { return int64_t{t_max} * num_envs; }
  uint8_t* observation_row(int t) { return observations.data() + t * num_envs * observation_bytes; }
  uint8_t* mask_row(int t) { return masks.data() + at(t) * num_outputs; }
  float* action_row(int t) { return actions.data() + at(t) * action_size; }
  int64_t at(int t, int env = 0) const { return int64_t{t} * num_envs + env; }
};

}  // namespace a3c

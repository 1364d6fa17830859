// One worker of A3C, readable top to bottom: pull, roll out, returns, gradients, push. Mnih et al. 2016, Algorithm S3.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "env/env_client.h"
#include "learn/normalizer.h"
#include "learn/random.h"
#include "learn/rollout.h"
#include "learn/shared_params.h"
#include "model/network.h"
#include "policy/distribution.h"
#include "run/live_settings.h"
#include "run/pause_point.h"
#include "run/stats.h"

namespace a3c {

// What the workers of one run share.
struct Shared {
  Shared(const TrainConfig& config, int num_workers, int64_t num_parameters, int64_t num_features)
      : config(config),
        live(config),
        num_workers(num_workers),
        params(num_parameters, config.optimizer),
        normalizer(num_features) {}

  // Of the next update: learning_rate * min(1, learned / warmup) * (1 - steps / total_steps)^decay_power, at least 0.
  // `learned` is what the updates so far and the next one learn from: the first takes the first step of the ramp.
  // `steps` would not do, which stands still while the first rollouts are learned from. Or what its schedule says.
  double learning_rate() const;
  // From entropy_coef linearly to entropy_final_fraction of it at entropy_decay_steps. Or what its schedule says.
  double entropy_coef() const;

  const TrainConfig config;                 // constant; of what is in `live` only what it began with
  LiveSettings live;                        // a mutex of each for those that set it, atomic for who reads it
  const int num_workers;                    // constant
  SharedParams params;                      // racy on purpose, because Hogwild
  Normalizer normalizer;                    // its own mutex
  std::atomic<bool> stop{false};            // atomic; seen between any two environment steps
  PausePoint pause;                         // its own mutex; passed between environment steps and between updates
  std::atomic<int64_t> until{0};            // atomic; no rollout begins at or beyond this step
  std::atomic<int64_t> claimed{0};          // atomic; steps of finished rollouts and of those under way
  std::atomic<int64_t> steps{0};            // atomic; valid steps of finished rollouts
  std::atomic<int64_t> skipped_updates{0};  // atomic
  // Atomic; of other hosts, whose steps and skipped updates count with this one's (run/agreement.h).
  std::atomic<int64_t> updates_elsewhere{0}, episodes_elsewhere{0};
  EpisodeLog episodes;  // its own mutex
};

// All that is one worker's own. Its thread alone touches it while it runs, but for what says otherwise. It outlives
// the thread: the next start() goes on from the step where the last one ended.
struct Worker {
  Worker(int index, std::unique_ptr<EnvClient> env, const TrainConfig& train, const ModelConfig& model);

  const int index;
  const std::unique_ptr<EnvClient> env;
  const std::unique_ptr<const Distribution> distribution;  // pi, of the network's outputs
  StageClock clock{};                      // of the worker's thread; `stages` holds what others may read
  const std::unique_ptr<Network> network;  // theta'
  Rollout rollout;
  WorkerNormalizer normalizer;
  Random random;
  // Where environments begin the next episode within the step that ends one, else empty: the rows that episodes were
  // truncated at, [K][observation_bytes], and what the network says of them.
  std::vector<uint8_t> final_observations;
  std::vector<uint8_t> no_starts;  // [K] of zeros
  std::vector<float> final_policy, final_values;
  bool has_observation = false;         // row 0 of the rollout holds the current observation
  std::vector<double> episode_return;   // [K] raw reward since the episode began
  std::vector<int64_t> episode_length;  // [K]
  int skipped_in_a_row = 0;

  std::vector<int64_t> sample_order;  // [t_max * K] in which an epoch's updates take the samples of the rollout ...
  std::vector<int> env_order;         // [K] ... and its environments, where they stay whole
  // One update's samples, [t_max * envs_per_update].
  struct UpdateBatch {
    int64_t size = 0;
    std::vector<float> actions, policy, acting_policy, values, advantages, returns, d_policy, d_values;
    std::vector<uint8_t> valid, masks;
  } update;

  UpdateLog updates;                      // its own mutex
  FitLog fits;                            // its own mutex
  StageLog stages;                        // its own mutex
  std::atomic<int64_t> heartbeat{0};      // atomic; moves with every environment step and every update
  std::atomic<const char*> activity{""};  // atomic; what a worker that is silent was doing
  std::atomic<bool> stands{false};        // atomic; it stands still, since the run is paused
};

// The thread body. Returns when shared.stop is set or shared.until is reached; throws what the environment, the
// model or ten non-finite gradients in a row throw. Blocks only in env.recv() and, while the run is
// paused, in shared.pause.
void run_worker(Worker& worker, Shared& shared);

}  // namespace a3c

// A scripted batch of environments: exact, learnable, and able to fail on demand. For tests and sanitizers.
//
// Each environment is a 32-bit key that every step hashes with the action. The key determines the observation, and
// observation element i tells which action is paid in component i, so that a policy can be learned: a discrete one is
// paid where it is that, a continuous one by its squared distance, and then the key does not depend on it, so that
// rounding changes nothing. One step in 64 terminates, one in 64 loses a life, and an episode is truncated after
// `max_episode_steps`. tests/reference.py mirrors it.
#pragma once

#include <cstdint>
#include <vector>

#include "env/env_client.h"

namespace a3c {

struct FakeEnvConfig {
  EnvSpec spec;
  uint32_t seed = 0;
  int max_episode_steps = 40;
  int64_t fail_at = -1;  // throw in the recv() of this step, counted from 0 at the reset
  int64_t hang_at = -1;  // sleep for hang_seconds in the recv() of this step
  double hang_seconds = 0;
};

class FakeEnv final : public EnvClient {
 public:
  explicit FakeEnv(const FakeEnvConfig& config);

  const EnvSpec& spec() const override { return config_.spec; }
  const StepBatch& recv(void* observations) override;
  void send(const float* actions) override;
  std::string save_state() const override;
  void load_state(const std::string& state) override;

 private:
  struct State {
    uint32_t key, episode, step, needs_reset;
  };
  void reset(int env);
  void advance(int env, const float* action);
  float payment(uint32_t key, const float* action) const;

  FakeEnvConfig config_;
  std::vector<State> states_;
  std::vector<float> reward_, raw_reward_;
  std::vector<uint8_t> done_, bootstraps_, episode_ended_, valid_, starts_;
  StepBatch batch_;
  int64_t step_ = 0;
};

}  // namespace a3c

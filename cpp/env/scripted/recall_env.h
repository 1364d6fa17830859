// A memory task: the first observation of an episode shows a cue, the last one asks for it, those between are empty.
// Acting by the observation alone is right once in num_cues; for the tests of the LSTM.
#pragma once

#include <cstdint>
#include <vector>

#include "env/env_client.h"
#include "learn/random.h"

namespace a3c {

class RecallEnv final : public EnvClient {
 public:
  static constexpr int kNumCues = 4;
  static constexpr int kSteps = 4;  // of an episode; the last action is paid 1 where it names the cue

  RecallEnv(int num_envs, uint64_t seed);

  // Observations [kNumCues + 1]: the cue, one of them 1, in the first step; the last element is 1 in the last step.
  const EnvSpec& spec() const override { return spec_; }
  const StepBatch& recv(void* observations) override;
  void send(const float* actions) override;

 private:
  struct State {
    int cue, step;
    bool needs_reset;
  };

  const EnvSpec spec_;
  Random random_;
  std::vector<State> states_;
  std::vector<float> reward_;
  std::vector<uint8_t> done_, bootstraps_, valid_, starts_;
  StepBatch batch_{};
};

}  // namespace a3c

#include "env/scripted/recall_env.h"

#include <algorithm>

#include "env/actions.h"

namespace a3c {

RecallEnv::RecallEnv(int num_envs, uint64_t seed)
    : spec_{num_envs, {.num_features = kNumCues + 1}, {.choices = {kNumCues}}},
      random_(seed),
      reward_(num_envs),
      done_(num_envs),
      bootstraps_(num_envs, 1),
      valid_(num_envs),
      starts_(num_envs, 1) {
  for (int env = 0; env < num_envs; ++env) states_.push_back({static_cast<int>(random_.below(kNumCues)), 0, false});
}

const StepBatch& RecallEnv::recv(void* observations) {
  auto* output = static_cast<float*>(observations);
  std::fill_n(output, spec_.num_envs * (kNumCues + 1), 0.0f);
  for (const State& state : states_) {
    if (state.step == 0) output[state.cue] = 1;
    if (state.step == kSteps - 1) output[kNumCues] = 1;
    output += kNumCues + 1;
  }
  batch_ = {reward_.data(), reward_.data(), done_.data(),  bootstraps_.data(),
            done_.data(),   valid_.data(),  starts_.data()};
  return batch_;
}

void RecallEnv::send(const float* actions) {
  for (int env = 0; env < spec_.num_envs; ++env) {
    check_action(spec_.action, actions + env);
    State& state = states_[env];
    reward_[env] = 0;
    done_[env] = 0;
    valid_[env] = !state.needs_reset;
    starts_[env] = state.needs_reset;
    if (state.needs_reset) {
      state = {static_cast<int>(random_.below(kNumCues)), 0, false};
    } else if (++state.step == kSteps) {
      reward_[env] = static_cast<int>(actions[env]) == state.cue ? 1 : 0;
      done_[env] = 1;
      state.needs_reset = true;
    }
    bootstraps_[env] = !done_[env];
  }
}

}  // namespace a3c

#include "env/fake_env.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace a3c {
namespace {

constexpr uint32_t kGolden = 0x9e3779b9u;

uint32_t mix(uint32_t x) {  // a bijection with good avalanche: the constants of MurmurHash3's finalizer
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ (x >> 16);
}

}  // namespace

FakeEnv::FakeEnv(const FakeEnvConfig& config)
    : config_(config),
      states_(config.spec.num_envs),
      reward_(config.spec.num_envs),
      raw_reward_(config.spec.num_envs),
      done_(config.spec.num_envs),
      bootstraps_(config.spec.num_envs, 1),
      episode_ended_(config.spec.num_envs),
      batch_{reward_.data(), raw_reward_.data(), done_.data(), bootstraps_.data(), episode_ended_.data()} {
  for (int env = 0; env < config_.spec.num_envs; ++env) {
    states_[env] = {0, 0, 0, 0};
    reset(env);
  }
}

void FakeEnv::reset(int env) {
  State& state = states_[env];
  state.episode += 1;
  state.key = mix(config_.seed ^ mix(static_cast<uint32_t>(env) * kGolden + state.episode));
  state.needs_reset = 0;
}

void FakeEnv::advance(int env, int32_t action) {
  State& state = states_[env];
  reward_[env] = raw_reward_[env] = 0;
  done_[env] = episode_ended_[env] = 0;
  bootstraps_[env] = 1;
  if (state.needs_reset) {
    if (state.needs_reset == 2) state.step = 0;
    reset(env);
    return;
  }
  const uint64_t fraction = mix(state.key) >> 8;  // 24 bits, what observation element 0 shows
  const auto paid = static_cast<int32_t>((fraction * static_cast<uint64_t>(config_.spec.num_actions)) >> 24);
  if (action == paid) {
    raw_reward_[env] = 1 + static_cast<float>(state.key & 3);
    reward_[env] = 1;
  }
  state.step += 1;
  state.key = mix(state.key + static_cast<uint32_t>(action) + 1);
  const uint32_t event = mix(state.key ^ kGolden) % 64;
  const bool terminated = event == 0;
  const bool life_lost = event == 1;
  const bool truncated = static_cast<int>(state.step) >= config_.max_episode_steps;
  done_[env] = terminated || life_lost || truncated;
  bootstraps_[env] = !done_[env] || (truncated && !terminated);
  episode_ended_[env] = terminated || truncated;
  state.needs_reset = done_[env] ? (episode_ended_[env] ? 2 : 1) : 0;
}

const StepBatch& FakeEnv::recv(void* observations) {
  if (step_ == config_.fail_at) throw std::runtime_error("scripted failure at step " + std::to_string(step_));
  if (step_ == config_.hang_at) std::this_thread::sleep_for(std::chrono::duration<double>(config_.hang_seconds));
  const int64_t size = config_.spec.observation_size();
  for (int env = 0; env < config_.spec.num_envs; ++env) {
    for (int64_t j = 0; j < size; ++j) {
      const uint32_t value = mix(states_[env].key + static_cast<uint32_t>(j) * kGolden);
      if (config_.spec.observation_type == ObservationType::uint8)
        static_cast<uint8_t*>(observations)[env * size + j] = static_cast<uint8_t>(value >> 24);
      else
        static_cast<float*>(observations)[env * size + j] = static_cast<float>(value >> 8) * 0x1p-23f - 1.0f;
    }
  }
  ++step_;
  return batch_;
}

void FakeEnv::send(const int32_t* actions) {
  for (int env = 0; env < config_.spec.num_envs; ++env) {
    if (actions[env] < 0 || actions[env] >= config_.spec.num_actions) throw std::out_of_range("action out of range");
    advance(env, actions[env]);
  }
}

std::string FakeEnv::save_state() const {
  const int64_t current = step_ - 1;  // the recv() after load_state() shows this step again
  std::string state(sizeof(current) + states_.size() * sizeof(State), '\0');
  std::memcpy(state.data(), &current, sizeof(current));
  std::memcpy(state.data() + sizeof(step_), states_.data(), states_.size() * sizeof(State));
  return state;
}

void FakeEnv::load_state(const std::string& state) {
  if (state.size() != sizeof(step_) + states_.size() * sizeof(State))
    throw std::invalid_argument("the saved state is of another number of environments");
  std::memcpy(&step_, state.data(), sizeof(step_));
  std::memcpy(states_.data(), state.data() + sizeof(step_), states_.size() * sizeof(State));
}

}  // namespace a3c

#include "env/scripted/fake_env.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "env/actions.h"

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

// 24 bits of observation element i.
uint32_t fraction(uint32_t key, int64_t i) {
  return mix(key + static_cast<uint32_t>(i) * kGolden) >> 8;
}

// The same as a number from -1 to 1.
float number(uint32_t key, int64_t i) {
  return static_cast<float>(fraction(key, i)) * 0x1p-23f - 1.0f;
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
      valid_(config.spec.num_envs),
      starts_(config.spec.num_envs, 1),
      batch_{reward_.data(),     raw_reward_.data(),    done_.data(),  //
             bootstraps_.data(), episode_ended_.data(), valid_.data(), starts_.data()} {
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

// Of an action: the share of its components that are the paid ones, or 1 less the mean squared distance to them.
float FakeEnv::payment(uint32_t key, const float* action) const {
  const ActionSpec& spec = config_.spec.action;
  float sum = 0;
  for (int i = 0; i < spec.size(); ++i) {
    if (spec.continuous()) {
      const float distance = static_cast<float>(to_environment(spec, i, action[i])) - number(key, i);
      sum += 1 - distance * distance;
    } else {
      const uint64_t paid = (uint64_t{fraction(key, i)} * static_cast<uint64_t>(spec.choices[i])) >> 24;
      sum += static_cast<uint64_t>(action[i]) == paid ? 1 : 0;
    }
  }
  return sum / static_cast<float>(spec.size());
}

void FakeEnv::advance(int env, const float* action) {
  State& state = states_[env];
  reward_[env] = raw_reward_[env] = 0;
  done_[env] = episode_ended_[env] = 0;
  bootstraps_[env] = 1;
  valid_[env] = !state.needs_reset;
  starts_[env] = state.needs_reset == 2;
  if (state.needs_reset) {
    if (state.needs_reset == 2) state.step = 0;
    reset(env);
    return;
  }
  reward_[env] = payment(state.key, action);
  raw_reward_[env] = reward_[env] * (1 + static_cast<float>(state.key & 3));
  state.step += 1;
  uint32_t chosen = 1;
  if (!config_.spec.action.continuous())
    for (int i = 0; i < config_.spec.action.size(); ++i)
      chosen += static_cast<uint32_t>(i + 1) * static_cast<uint32_t>(action[i]);
  state.key = mix(state.key + chosen);
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
  const ObservationSpec& spec = config_.spec.observation;
  const bool bytes = spec.array_type == ElementType::uint8;
  for (int env = 0; env < config_.spec.num_envs; ++env) {
    auto* const row = static_cast<uint8_t*>(observations) + env * spec.bytes();
    const uint32_t key = states_[env].key;
    for (int64_t j = 0; j < spec.array_size(); ++j) {
      if (bytes)
        row[j] = static_cast<uint8_t>(fraction(key, j) >> 16);
      else
        reinterpret_cast<float*>(row)[j] = number(key, j);
    }
    auto* const numbers = reinterpret_cast<float*>(row + spec.features_offset());
    for (int64_t j = 0; j < spec.num_features; ++j) numbers[j] = number(key, spec.array_size() + j);
  }
  ++step_;
  return batch_;
}

void FakeEnv::send(const float* actions) {
  for (int env = 0; env < config_.spec.num_envs; ++env, actions += config_.spec.action.size()) {
    check_action(config_.spec.action, actions);
    advance(env, actions);
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

// The memory of a recurrent network: what it holds of each environment before each step of a rollout.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace a3c {

// Observations that are sequences, one for each environment: observation number step * (count / steps) + sequence.
struct Sequences {
  int steps = 1;
  const uint8_t* starts = nullptr;  // [count]: an episode begins here, so the state before it is zero; null: none does
  const float* state = nullptr;     // [count / steps][state_size]: before the first step; null: zero
  float* next_state = nullptr;      // [count / steps][state_size]: after the last step, where it is wanted
};

// Owned by one network. An LSTM's state is [2][lstm_size], h and c; state_size is 0 where nothing is remembered.
struct Recurrence {
  Recurrence(int t_max, int num_envs, int state_size)
      : num_envs(num_envs),
        state_size(state_size),
        states(static_cast<size_t>(t_max + 2) * num_envs * state_size),
        starts(static_cast<size_t>(t_max + 1) * num_envs) {}

  float* state(int64_t t) { return states.data() + t * num_envs * state_size; }

  // The steps t .. of the last rollout are the steps 0 .. of the next one.
  void carry(int t) {
    if (state_size > 0)  // else there is nothing, and memmove wants an address even so
      std::memmove(state(0), state(t), static_cast<size_t>(num_envs) * state_size * sizeof(float));
  }

  // What begins at step t has no past.
  void begin(int t, const uint8_t* starts_at_t) {
    std::copy_n(starts_at_t, num_envs, &starts[int64_t{t} * num_envs]);
    for (int env = 0; env < num_envs; ++env)
      if (starts_at_t[env]) std::fill_n(state(t) + int64_t{env} * state_size, state_size, 0.0f);
  }

  const int num_envs;
  const int state_size;
  std::vector<float> states;    // [t_max + 2][num_envs][state_size]: before each step, zero where an episode begins
  std::vector<uint8_t> starts;  // [t_max + 1][num_envs]
};

}  // namespace a3c

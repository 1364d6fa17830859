#include "model/kernels/lstm_heads.h"

#include <algorithm>
#include <string>

#include "model/kernels/dense_layout.h"

namespace a3c {
namespace {

using kernels::DenseLayer;
using kernels::DenseLstm;

// Each gate of torch.nn.LSTMCell's [4 * units] begins on a line.
void add_gates(DenseLayer& layer, const DenseLstm& lstm, const std::vector<ParameterSpec>& specs,
               const std::string& weight, bool biased) {
  const ParameterSpec& spec = find(specs, weight);
  const int64_t bias = find(specs, "lstm.bias_ih").offset, second = find(specs, "lstm.bias_hh").offset;
  layer.in = static_cast<int>(spec.shape[1]);
  layer.columns = 4 * lstm.width;
  layer.num_segments = 4;
  for (int gate = 0; gate < 4; ++gate) {
    const int64_t row = int64_t{gate} * lstm.units;
    layer.segments[gate] = {lstm.units, gate * lstm.width, spec.offset + row * layer.in, biased ? bias + row : -1,
                            biased ? second + row : -1};
  }
}

}  // namespace

LstmHeads::LstmHeads(const ModelConfig& config, const std::vector<ParameterSpec>& specs, kernels::DenseNetState& state,
                     const kernels::DenseNetKernels& kernels, KernelMemory& memory)
    : state_(state), kernels_(kernels), recurrence_(state.t_max, state.num_envs, 2 * config.lstm_size) {
  DenseLstm& lstm = state.lstm;
  lstm.units = config.lstm_size;
  lstm.width = static_cast<int>(padded(lstm.units));
  add_gates(lstm.input, lstm, specs, "lstm.weight_ih", true);
  add_gates(lstm.hidden, lstm, specs, "lstm.weight_hh", false);
  finish_layer(lstm.input, true, memory);
  finish_layer(lstm.hidden, true, memory);
  keep_output(lstm.input, slots_of(state), memory);
  const int64_t samples = int64_t{state.t_max} * state.num_envs;
  lstm.previous = memory.allocate<float>((slots_of(state) + state.num_envs) * 2 * lstm.width);
  lstm.outputs = memory.allocate<float>(slots_of(state) * 2 * lstm.width);
  lstm.d_outputs = memory.allocate<float>(samples * lstm.width);
  lstm.d_gates = memory.allocate<float>(samples * lstm.input.stride);
  lstm.d_cells = memory.allocate<float>(int64_t{state.num_envs} * lstm.width);
  lay_out_heads(state, config, specs, memory);
}

// h and c before this sample's step.
float* LstmHeads::memory_before(int64_t slot) {
  return state_.lstm.previous + slot * 2 * state_.lstm.width;
}

// Takes them from recurrence_.
void LstmHeads::remember(int t, int64_t env) {
  const int units = state_.lstm.units;
  const float* state = recurrence_.state(t) + env * recurrence_.state_size;
  float* memory = memory_before(int64_t{t} * state_.num_envs + env);
  std::copy_n(state, units, memory);
  std::copy_n(state + units, units, memory + state_.lstm.width);
}

void LstmHeads::act(int t, const int64_t* slots, const uint8_t* starts, float* policy, float* values) {
  recurrence_.begin(t, starts);
  kernels_.lstm_features(state_, slots, state_.num_envs);
  for (int env = 0; env < state_.num_envs; ++env) remember(t, env);
  kernels_.lstm_step(state_, slots, state_.num_envs, policy, values);
  const int units = state_.lstm.units;
  for (int env = 0; env < state_.num_envs; ++env) {
    float* state = recurrence_.state(t + 1) + int64_t{env} * recurrence_.state_size;
    const float* memory = memory_before(int64_t{t + 1} * state_.num_envs + env);
    std::copy_n(memory, units, state);
    std::copy_n(memory + state_.lstm.width, units, state + units);
  }
  lap(*state_.clock, kLstmForward);
}

// What the rollout was acted with stays in recurrence_: there the next one begins.
void LstmHeads::evaluate(const int64_t* samples, int64_t count, float* policy, float* values) {
  kernels_.lstm_features(state_, samples, count);
  const int64_t environments = count / state_.t_max;
  const int num_outputs = state_.num_policy + state_.num_log_std;
  for (int64_t i = 0; i < environments; ++i) remember(0, samples[i]);
  for (int64_t begin = 0; begin < count; begin += environments) {
    for (int64_t i = begin; i < begin + environments; ++i)
      if (recurrence_.starts[samples[i]]) std::fill_n(memory_before(samples[i]), 2 * state_.lstm.width, 0.0f);
    kernels_.lstm_step(state_, samples + begin, environments, policy + begin * num_outputs, values + begin);
  }
  lap(*state_.clock, kLstmForward);
}

void LstmHeads::compute_gradients(const int64_t* samples, int64_t count, const float* d_policy, const float* d_values) {
  kernels_.lstm_backward(state_, samples, count, recurrence_.starts.data(), d_policy, d_values);
}

}  // namespace a3c

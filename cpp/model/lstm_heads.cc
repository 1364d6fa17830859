#include "model/lstm_heads.h"

#include <ATen/ATen.h>

#include <stdexcept>
#include <string>

namespace a3c {
namespace {

at::Tensor view(float* flat, const std::vector<ParameterSpec>& specs, const std::string& name) {
  for (const ParameterSpec& spec : specs)
    if (spec.name == name) return at::from_blob(flat + spec.offset, spec.shape);
  throw std::invalid_argument("the layout has no " + name);
}

at::Tensor read_only(const float* data, at::IntArrayRef shape) {
  return at::from_blob(const_cast<float*>(data), shape);
}

// The LSTM's and the heads' part of a flat vector.
struct Weights {
  Weights(float* flat, const std::vector<ParameterSpec>& specs)
      : input(view(flat, specs, "lstm.weight_ih")),
        hidden(view(flat, specs, "lstm.weight_hh")),
        input_bias(view(flat, specs, "lstm.bias_ih")),
        hidden_bias(view(flat, specs, "lstm.bias_hh")),
        policy(view(flat, specs, "policy_head.weight")),
        policy_bias(view(flat, specs, "policy_head.bias")),
        value(view(flat, specs, "value_head.weight")),
        value_bias(view(flat, specs, "value_head.bias")) {}

  at::Tensor input, hidden, input_bias, hidden_bias;  // [4H, F], [4H, H], [4H], [4H]
  at::Tensor policy, policy_bias, value, value_bias;  // [A, H], [A], [1, H], [1]
};

// Through one step of one environment: d(loss)/d(h') and, in d_c, d(loss)/d(c') -> d(loss)/d(gates) before their
// nonlinearities and, in d_c, d(loss)/d(c). A loop, since in ATen it is 30 operations on [B, H], of which B is 2.
void cell_gradient(int64_t units, const float* __restrict gates, const float* __restrict state,
                   const float* __restrict output, const float* __restrict d_h, float* __restrict d_c,
                   float* __restrict d_gates) {
  for (int64_t u = 0; u < units; ++u) {
    const float i = gates[u], f = gates[units + u], g = gates[2 * units + u], o = gates[3 * units + u];
    const float c = state[units + u], squashed = output[units + u];
    const float d_next_c = d_c[u] + d_h[u] * o * (1 - squashed * squashed);
    d_gates[u] = d_next_c * g * i * (1 - i);
    d_gates[units + u] = d_next_c * c * f * (1 - f);
    d_gates[2 * units + u] = d_next_c * i * (1 - g * g);
    d_gates[3 * units + u] = d_h[u] * squashed * o * (1 - o);
    d_c[u] = d_next_c * f;
  }
}

}  // namespace

struct LstmHeads::Impl {
  Impl(const ModelConfig& config, const std::vector<ParameterSpec>& specs, float* parameters, float* gradients,
       int num_features, int t_max, int num_envs)
      : weights(parameters, specs),
        gradients(gradients, specs),
        features(num_features),
        actions(config.num_actions),
        units(config.lstm_size),
        t_max(t_max),
        recurrence(t_max, num_envs, config.lstm_size),
        states(at::from_blob(recurrence.states.data(), {t_max + 2, num_envs, 2 * units})),
        gates(at::zeros({t_max + 1, num_envs, 4 * units})),
        outputs(at::zeros({t_max + 1, num_envs, 2 * units})) {}

  // What the features say to the gates, of any number of steps: x [N, F] -> W_ih x + b_ih + b_hh [N, 4H].
  void read_features(const at::Tensor& x, at::Tensor sums) const {
    at::addmm_out(sums, weights.input_bias + weights.hidden_bias, x, weights.input.t());
  }

  // One step. gates [B, 4H] come from read_features() and leave after their nonlinearities; state [B, 2H], h and c ->
  // next [B, 2H], h' and c', and output [B, 2H], h' and tanh(c').
  void step(at::Tensor gates, const at::Tensor& state, const at::Tensor& next, const at::Tensor& output) const {
    gates.addmm_(state.narrow(1, 0, units), weights.hidden.t());
    gates.narrow(1, 0, 2 * units).sigmoid_();
    gates.narrow(1, 2 * units, units).tanh_();
    gates.narrow(1, 3 * units, units).sigmoid_();
    const std::vector<at::Tensor> g = gates.chunk(4, 1);
    at::Tensor h = next.narrow(1, 0, units), c = next.narrow(1, units, units),
               squashed = output.narrow(1, units, units);
    at::mul_out(c, g[1], state.narrow(1, units, units)).addcmul_(g[0], g[2]);
    at::tanh_out(squashed, c);
    at::mul_out(h, g[3], squashed);
    output.narrow(1, 0, units).copy_(h);
  }

  void heads(const at::Tensor& h, float* logits, float* values) const {
    at::Tensor logits_out = at::from_blob(logits, {h.size(0), actions});
    at::Tensor values_out = at::from_blob(values, {h.size(0), 1});
    at::addmm_out(logits_out, weights.policy_bias, h, weights.policy.t());
    at::addmm_out(values_out, weights.value_bias, h, weights.value.t());
  }

  // The environments of [t_max][count / t_max] samples.
  at::Tensor environments(const int64_t* samples, int64_t count) const {
    return at::from_blob(const_cast<int64_t*>(samples), {count / t_max}, at::kLong);
  }

  const Weights weights;
  Weights gradients;
  const int64_t features, actions, units;
  const int t_max;
  Recurrence recurrence;
  at::Tensor states;   // [t_max + 2, K, 2H]: recurrence.states
  at::Tensor gates;    // [t_max + 1, K, 4H]: i, f, g, o of each step
  at::Tensor outputs;  // [t_max + 1, K, 2H]: h', tanh(c')
};

LstmHeads::LstmHeads(const ModelConfig& config, const std::vector<ParameterSpec>& specs, float* parameters,
                     float* gradients, int num_features, int t_max, int num_envs)
    : impl_(std::make_unique<Impl>(config, specs, parameters, gradients, num_features, t_max, num_envs)) {}
LstmHeads::~LstmHeads() = default;

Recurrence& LstmHeads::recurrence() {
  return impl_->recurrence;
}

void LstmHeads::act(int t, const float* features, const uint8_t* starts, float* logits, float* values) {
  const c10::InferenceMode inference;
  Impl& self = *impl_;
  self.recurrence.begin(t, starts);
  const at::Tensor x = read_only(features, {self.recurrence.num_envs, self.features});
  self.read_features(x, self.gates[t]);
  self.step(self.gates[t], self.states[t], self.states[t + 1], self.outputs[t]);
  self.heads(self.outputs[t].narrow(1, 0, self.units), logits, values);
}

void LstmHeads::evaluate(const int64_t* samples, int64_t count, const float* features, float* logits, float* values) {
  const c10::InferenceMode inference;
  Impl& self = *impl_;
  const at::Tensor environments = self.environments(samples, count);
  const int64_t size = environments.size(0);
  const at::Tensor states = at::empty({self.t_max + 1, size, 2 * self.units});
  const at::Tensor gates = at::empty({self.t_max, size, 4 * self.units});
  const at::Tensor outputs = at::empty({self.t_max, size, 2 * self.units});
  self.read_features(read_only(features, {count, self.features}), gates.view({count, 4 * self.units}));
  states[0].copy_(self.states[0].index_select(0, environments));
  for (int t = 0; t < self.t_max; ++t) {
    for (int64_t i = 0; i < size; ++i)
      if (self.recurrence.starts[samples[t * size + i]]) states[t][i].zero_();
    self.step(gates[t], states[t], states[t + 1], outputs[t]);
  }
  self.heads(outputs.view({count, 2 * self.units}).narrow(1, 0, self.units), logits, values);
  // What the rollout was acted with stays in states[t_max]: there the next one begins.
  self.states.narrow(0, 0, self.t_max).index_copy_(1, environments, states.narrow(0, 0, self.t_max));
  self.gates.narrow(0, 0, self.t_max).index_copy_(1, environments, gates);
  self.outputs.narrow(0, 0, self.t_max).index_copy_(1, environments, outputs);
}

void LstmHeads::compute_gradients(const int64_t* samples, int64_t count, const float* features, const float* d_logits,
                                  const float* d_values, float* d_features) {
  const c10::InferenceMode inference;
  Impl& self = *impl_;
  const int64_t units = self.units;
  const at::Tensor environments = self.environments(samples, count);
  const int64_t size = environments.size(0);
  const at::Tensor states = self.states.narrow(0, 0, self.t_max).index_select(1, environments);
  const at::Tensor gates = self.gates.narrow(0, 0, self.t_max).index_select(1, environments);
  const at::Tensor outputs = self.outputs.narrow(0, 0, self.t_max).index_select(1, environments);
  const at::Tensor logits_gradient = read_only(d_logits, {count, self.actions});
  const at::Tensor values_gradient = read_only(d_values, {count, 1});
  const at::Tensor h = outputs.reshape({count, 2 * units}).narrow(1, 0, units);

  Weights& g = self.gradients;
  at::mm_out(g.policy, logits_gradient.t(), h);
  at::mm_out(g.value, values_gradient.t(), h);
  at::sum_out(g.policy_bias, logits_gradient, 0);
  at::sum_out(g.value_bias, values_gradient, 0);

  const at::Tensor from_heads =
      at::mm(logits_gradient, self.weights.policy).addmm_(values_gradient, self.weights.value);
  const at::Tensor d_gates = at::empty({self.t_max, size, 4 * units});  // before the nonlinearities
  at::Tensor d_h = at::zeros({size, units}), d_c = at::zeros({size, units});
  const auto row = [](const at::Tensor& tensor, int64_t i) { return tensor.data_ptr<float>() + i * tensor.size(-1); };
  for (int64_t t = self.t_max - 1; t >= 0; --t) {
    d_h += from_heads.narrow(0, t * size, size);
    for (int64_t i = 0; i < size; ++i) {
      const int64_t sample = t * size + i;
      cell_gradient(units, row(gates, sample), row(states, sample), row(outputs, sample), row(d_h, i), row(d_c, i),
                    row(d_gates, sample));
    }
    if (t == 0) break;  // truncated: the state at the beginning of the rollout is a constant
    at::mm_out(d_h, d_gates[t], self.weights.hidden);
    for (int64_t i = 0; i < size; ++i)
      if (self.recurrence.starts[samples[t * size + i]]) {  // the state before was not the one after the step before
        d_h[i].zero_();
        d_c[i].zero_();
      }
  }
  const at::Tensor flat = d_gates.view({count, 4 * units});
  at::mm_out(g.input, flat.t(), read_only(features, {count, self.features}));
  at::mm_out(g.hidden, flat.t(), states.reshape({count, 2 * units}).narrow(1, 0, units));
  at::sum_out(g.input_bias, flat, 0);
  g.hidden_bias.copy_(g.input_bias);
  at::Tensor d_x = at::from_blob(d_features, {count, self.features});
  at::mm_out(d_x, flat, self.weights.input);
}

}  // namespace a3c

#include "model/kernels/dense_net.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "learn/optimizer.h"
#include "model/kernels/dense_layout.h"

namespace a3c {
namespace {

using kernels::DenseLayer;
using kernels::DenseTower;

// The transpose of the weights' gradient takes fewer products where inputs are few and not a multiple of a vector: 17
// inputs of 64 units are 17 rows of 4 vectors of 16, and not 64 of 2. An eighth at least: it must be turned around.
bool better_transposed(const DenseLayer& layer) {
  return 8 * layer.in * padded(layer.columns) <= 7 * layer.columns * padded(layer.in);
}

kernels::DenseActivation activation_of(const ModelConfig& config) {
  switch (config.activation) {
    case Activation::tanh: return kernels::kDenseTanh;
    case Activation::relu: return kernels::kDenseRelu;
    case Activation::elu: return kernels::kDenseElu;
  }
  throw std::logic_error("unknown activation");
}

}  // namespace

bool DenseNet::supports(const ModelConfig& config) {
  return config.kind == ModelKind::mlp && !config.hidden_sizes.empty() && config.precision != Precision::bf16;
}

DenseNet::DenseNet(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int64_t size, int t_max,
                   int num_envs, const kernels::DenseNetKernels& kernels, StageClock& clock)
    : kernels_(kernels),
      no_recurrence_(t_max, num_envs, 0),
      size_(size),
      slots_(static_cast<size_t>(t_max + 1) * num_envs) {
  std::iota(slots_.begin(), slots_.end(), 0);
  state_.clock = &clock;
  state_.activation = activation_of(config);
  state_.num_envs = num_envs;
  state_.t_max = t_max;
  // A line more than the vectors: kernels read whole vectors at the end of a row of weights.
  state_.parameters = parameters_ = memory_.allocate<float>(size + kLine);
  state_.gradients = memory_.allocate<float>(size + kLine);
  lay_out_observation(config);
  lay_out_tower(config, specs, "fc");
  if (config.separate_value) lay_out_tower(config, specs, "value_fc");
  if (config.lstm_size > 0)
    lstm_ = std::make_unique<LstmHeads>(config, specs, state_, kernels_, memory_);
  else
    lay_out_heads(state_, config, specs, memory_);
  lay_out_block(state_, memory_);
}

void DenseNet::lay_out_observation(const ModelConfig& config) {
  const ObservationSpec& observation = config.observation;
  state_.row_bytes = observation.bytes();
  state_.array_size = observation.array_size();
  state_.array_of_bytes = state_.array_size > 0 && observation.array_type == ElementType::uint8;
  state_.numbers_at = observation.features_offset();
  state_.num_numbers = observation.num_features;
  state_.array_offset = static_cast<float>(config.observation_offset);
  state_.array_scale = static_cast<float>(config.observation_scale);
  state_.x_stride = stride_of(observation.size());
}

void DenseNet::lay_out_tower(const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                             const std::string& prefix) {
  DenseTower& tower = state_.towers[state_.num_towers++];
  tower.num_layers = static_cast<int>(config.hidden_sizes.size());
  tower.layers = memory_.allocate<DenseLayer>(tower.num_layers);
  for (int i = 0; i < tower.num_layers; ++i) {
    DenseLayer& layer = tower.layers[i];
    add_segment(layer, specs, prefix + std::to_string(i + 1), 0);
    finish_layer(layer, i > 0, memory_);
    keep_output(layer, slots_of(state_), memory_);
    if (better_transposed(layer)) layer.gradient = memory_.allocate<float>(layer.in * layer.stride);
  }
}

void DenseNet::act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) {
  const int64_t* slots = slots_.data() + int64_t{t} * state_.num_envs;
  kernels_.forward(state_, observations, slots_.data(), slots, state_.num_envs, policy, values);
  if (lstm_)
    lstm_->act(t, slots, starts, policy, values);
  else
    no_recurrence_.begin(t, starts);
}

void DenseNet::evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy, float* values) {
  kernels_.forward(state_, observations, samples, samples, count, policy, values);
  if (lstm_) lstm_->evaluate(samples, count, policy, values);
}

void DenseNet::compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                                 const float* d_values) {
  if (lstm_) lstm_->compute_gradients(samples, count, d_policy, d_values);
  kernels_.backward(state_, observations, samples, count, d_policy, d_values);
}

double DenseNet::squared_gradient_norm() const {
  return squared_norm(state_.gradients, size_);
}

void DenseNet::read_gradients(double from, const GradientReader& read) {
  read_whole_gradient(state_.gradients, size_, from, read);
}

}  // namespace a3c

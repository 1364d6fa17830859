#include "model/actor_critic.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "model/tensors.h"

namespace a3c {
namespace {

struct ConvolutionShape {
  int64_t channels, kernel, stride;
};

std::vector<ConvolutionShape> convolution_shapes(ModelKind kind) {
  switch (kind) {
    case ModelKind::paper: return {{16, 8, 4}, {32, 4, 2}};
    case ModelKind::nature: return {{32, 8, 4}, {64, 4, 2}, {64, 3, 1}};
    case ModelKind::small: return {{16, 3, 1}, {32, 3, 1}};
    case ModelKind::mlp: return {};
  }
  throw std::logic_error("unknown model");
}

std::vector<int64_t> layer_sizes(const ModelConfig& config) {
  switch (config.kind) {
    case ModelKind::paper: return {256};
    case ModelKind::nature: return {512};
    case ModelKind::small: return {128};
    case ModelKind::mlp: return config.hidden_sizes;
  }
  throw std::logic_error("unknown model");
}

// A random matrix with orthonormal rows or columns, Saxe et al. 2014: Q of a Gaussian matrix, signs made unique.
at::Tensor orthogonal(int64_t rows, int64_t columns, double gain, at::Generator generator) {
  const at::Tensor gaussian = at::randn({std::max(rows, columns), std::min(rows, columns)}, generator, kFloats);
  auto [q, r] = at::linalg_qr(gaussian);
  q = q * r.diagonal().sign();
  return (rows < columns ? q.t() : q) * gain;
}

}  // namespace

ActorCritic::ActorCritic(const ModelConfig& config)
    : activation_(config.kind == ModelKind::mlp ? config.activation : Activation::relu),
      observation_offset_(config.observation.array_type == ElementType::uint8 ? config.observation_offset : 0),
      observation_scale_(config.observation.array_type == ElementType::uint8 ? config.observation_scale : 1),
      initial_log_std_(config.initial_log_std) {
  int64_t size = config.observation.size();
  if (config.kind != ModelKind::mlp) {
    const std::vector<int64_t>& image = config.observation.array_shape;
    if (image.size() != 3)
      throw std::invalid_argument("the convolutional models need observations [channels, height, width]");
    int64_t channels = image[0], height = image[1], width = image[2];
    for (const ConvolutionShape& shape : convolution_shapes(config.kind)) {
      height = (height - shape.kernel) / shape.stride + 1;
      width = (width - shape.kernel) / shape.stride + 1;
      if (height < 1 || width < 1) throw std::invalid_argument("the observations are too small for this model");
      const std::string name = "conv" + std::to_string(convolutions_.size() + 1);
      convolutions_.push_back(
          add(name + ".weight", name + ".bias", {shape.channels, channels, shape.kernel, shape.kernel}));
      convolutions_.back().stride = shape.stride;
      channels = shape.channels;
    }
    size = channels * height * width + config.observation.num_features;
  }
  layers_ = add_layers("fc", layer_sizes(config), size);
  if (config.separate_value) {
    if (config.kind != ModelKind::mlp || config.lstm_size > 0)
      throw std::invalid_argument("only an mlp without an LSTM has layers of its own for the value");
    value_layers_ = add_layers("value_fc", layer_sizes(config), size);
  }
  if (!layers_.empty()) size = layer_sizes(config).back();
  if (config.lstm_size > 0) {
    const int64_t units = config.lstm_size;
    // torch.nn.LSTMCell has both weights before both biases.
    parameters_.push_back({"lstm.weight_ih", {4 * units, size}, {}});
    parameters_.push_back({"lstm.weight_hh", {4 * units, units}, {}});
    parameters_.push_back({"lstm.bias_ih", {4 * units}, {}});
    parameters_.push_back({"lstm.bias_hh", {4 * units}, {}});
    const size_t first = parameters_.size() - 4;
    lstm_ = {{first, first + 2}, {first + 1, first + 3}};
    size = units;
  }
  policy_head_ = add("policy_head.weight", "policy_head.bias", {config.num_outputs - config.num_log_std, size});
  value_head_ = add("value_head.weight", "value_head.bias", {1, size});
  if (config.num_log_std > 0) {
    log_std_ = parameters_.size();
    parameters_.push_back({"log_std", {config.num_log_std}, {}});
  }
}

std::vector<ActorCritic::Layer> ActorCritic::add_layers(const std::string& prefix, const std::vector<int64_t>& widths,
                                                        int64_t size) {
  std::vector<Layer> layers;
  for (int64_t width : widths) {
    const std::string name = prefix + std::to_string(layers.size() + 1);
    layers.push_back(add(name + ".weight", name + ".bias", {width, size}));
    size = width;
  }
  return layers;
}

ActorCritic::Layer ActorCritic::add(const std::string& weight, const std::string& bias, std::vector<int64_t> shape) {
  const int64_t rows = shape.front();
  parameters_.push_back({weight, std::move(shape), {}});
  parameters_.push_back({bias, {rows}, {}});
  return {parameters_.size() - 2, parameters_.size() - 1};
}

at::Tensor ActorCritic::linear(const Layer& layer, const at::Tensor& x) const {
  return at::linear(x, weight(layer), bias(layer));
}

at::Tensor ActorCritic::activated(at::Tensor x) const {
  switch (activation_) {
    case Activation::tanh: return x.tanh_();
    case Activation::relu: return x.relu_();
    case Activation::elu: return at::elu_(x);
  }
  throw std::logic_error("unknown activation");
}

at::Tensor ActorCritic::through(const std::vector<Layer>& layers, at::Tensor x) const {
  for (const Layer& layer : layers) x = activated(linear(layer, x));
  return x;
}

ActorCritic::Features ActorCritic::features(Observations observations) const {
  auto& [x, numbers] = observations;
  if (x.defined()) {
    if (observation_offset_ != 0 || observation_scale_ != 1) x = (x - observation_offset_) * observation_scale_;
    for (const Layer& layer : convolutions_) x = at::conv2d(x, weight(layer), bias(layer), layer.stride).relu_();
    if (!convolutions_.empty()) x = x.permute({0, 2, 3, 1});
    x = x.flatten(1);
    if (numbers.defined()) x = at::cat({x, numbers}, 1);
  } else {
    x = numbers;
  }
  const at::Tensor policy = through(layers_, x);
  return {policy, value_layers_.empty() ? policy : through(value_layers_, x)};
}

ActorCritic::Output ActorCritic::forward(const Observations& observations, int64_t steps, at::Tensor state,
                                         const at::Tensor& starts) const {
  auto [x, for_value] = features(observations);
  if (!lstm_.empty()) {
    const int64_t sequences = x.size(0) / steps;
    std::vector<at::Tensor> hidden;
    for (int64_t t = 0; t < steps; ++t) {
      const at::Tensor now = x.narrow(0, t * sequences, sequences);
      if (starts.defined()) state = state.masked_fill(starts.narrow(0, t * sequences, sequences), 0.0);
      const std::vector<at::Tensor> halves = state.chunk(2, 1);
      const auto [h, c] =
          at::lstm_cell(now, halves, weight(lstm_[0]), weight(lstm_[1]), bias(lstm_[0]), bias(lstm_[1]));
      state = at::cat({h, c}, 1);
      hidden.push_back(h);
    }
    x = for_value = at::cat(hidden);
  }
  at::Tensor policy = linear(policy_head_, x);
  if (log_std_) {
    const at::Tensor& log_std = parameters_[*log_std_].tensor;
    policy = at::cat({policy, log_std.expand({policy.size(0), log_std.size(0)})}, 1);
  }
  return {policy, linear(value_head_, for_value).squeeze(-1), state};
}

void ActorCritic::initialize(uint64_t seed) {
  const at::NoGradGuard no_grad;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto fill = [&](const Layer& layer, double gain) {
    at::Tensor& weight = parameters_[layer.weight].tensor;
    const int64_t rows = weight.size(0);
    weight.copy_(orthogonal(rows, weight.numel() / rows, gain, generator).reshape(weight.sizes()));
    parameters_[layer.bias].tensor.zero_();
  };
  for (const Layer& layer : convolutions_) fill(layer, std::sqrt(2.0));
  for (const Layer& layer : layers_) fill(layer, std::sqrt(2.0));
  for (const Layer& layer : value_layers_) fill(layer, std::sqrt(2.0));
  for (const Layer& layer : lstm_) fill(layer, 1.0);
  fill(policy_head_, 0.01);
  fill(value_head_, 1.0);
  if (log_std_) parameters_[*log_std_].tensor.fill_(initial_log_std_);
}

}  // namespace a3c

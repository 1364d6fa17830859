#include "model/actor_critic.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/nn/options/conv.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

namespace a3c {
namespace {

struct ConvolutionShape {
  int64_t channels, kernel, stride;
};

std::vector<ConvolutionShape> convolution_shapes(ModelKind kind) {
  switch (kind) {
    case ModelKind::paper: return {{16, 8, 4}, {32, 4, 2}};
    case ModelKind::nature: return {{32, 8, 4}, {64, 4, 2}, {64, 3, 1}};
    case ModelKind::mlp: return {};
  }
  throw std::logic_error("unknown model");
}

std::vector<int64_t> layer_sizes(const ModelConfig& config) {
  switch (config.kind) {
    case ModelKind::paper: return {256};
    case ModelKind::nature: return {512};
    case ModelKind::mlp: return config.hidden_sizes;
  }
  throw std::logic_error("unknown model");
}

// A random matrix with orthonormal rows or columns, Saxe et al. 2014: Q of a Gaussian matrix, signs made unique.
at::Tensor orthogonal(int64_t rows, int64_t columns, double gain, at::Generator generator) {
  const at::Tensor gaussian = at::randn({std::max(rows, columns), std::min(rows, columns)}, generator);
  auto [q, r] = at::linalg_qr(gaussian);
  q = q * r.diagonal().sign();
  return (rows < columns ? q.t() : q) * gain;
}

}  // namespace

ActorCritic::ActorCritic(const ModelConfig& config)
    : kind_(config.kind),
      observation_offset_(config.observation_type == ObservationType::uint8 ? config.observation_offset : 0),
      observation_scale_(config.observation_type == ObservationType::uint8 ? config.observation_scale : 1) {
  int64_t size = 1;
  for (int64_t extent : config.observation_shape) size *= extent;
  if (config.kind != ModelKind::mlp) {
    if (config.observation_shape.size() != 3)
      throw std::invalid_argument("the convolutional models need observations [channels, height, width]");
    int64_t channels = config.observation_shape[0];
    int64_t height = config.observation_shape[1];
    int64_t width = config.observation_shape[2];
    for (const ConvolutionShape& shape : convolution_shapes(config.kind)) {
      height = (height - shape.kernel) / shape.stride + 1;
      width = (width - shape.kernel) / shape.stride + 1;
      if (height < 1 || width < 1) throw std::invalid_argument("the observations are too small for this model");
      convolutions_.emplace_back(torch::nn::Conv2dOptions(channels, shape.channels, shape.kernel).stride(shape.stride));
      register_module("conv" + std::to_string(convolutions_.size()), convolutions_.back());
      channels = shape.channels;
    }
    size = channels * height * width;
  }
  for (int64_t width : layer_sizes(config)) {
    layers_.emplace_back(size, width);
    register_module("fc" + std::to_string(layers_.size()), layers_.back());
    size = width;
  }
  if (config.lstm_size > 0) {
    lstm_ = register_module("lstm", torch::nn::LSTMCell(size, config.lstm_size));
    size = config.lstm_size;
  }
  policy_head_ = register_module("policy_head", torch::nn::Linear(size, config.num_actions));
  value_head_ = register_module("value_head", torch::nn::Linear(size, 1));
}

at::Tensor ActorCritic::features(at::Tensor x) {
  if (observation_offset_ != 0 || observation_scale_ != 1) x = (x - observation_offset_) * observation_scale_;
  for (torch::nn::Conv2d& convolution : convolutions_) x = convolution->forward(x).relu_();
  if (!convolutions_.empty()) x = x.permute({0, 2, 3, 1});
  x = x.flatten(1);
  for (torch::nn::Linear& layer : layers_)
    x = kind_ == ModelKind::mlp ? layer->forward(x).tanh_() : layer->forward(x).relu_();
  return x;
}

ActorCritic::Output ActorCritic::forward(const at::Tensor& observations, int64_t steps, at::Tensor state,
                                         const at::Tensor& starts) {
  at::Tensor x = features(observations);
  if (!lstm_.is_empty()) {
    const int64_t sequences = x.size(0) / steps;
    std::vector<at::Tensor> hidden;
    for (int64_t t = 0; t < steps; ++t) {
      const at::Tensor now = x.narrow(0, t * sequences, sequences);
      if (starts.defined()) state = state.masked_fill(starts.narrow(0, t * sequences, sequences), 0.0);
      const std::vector<at::Tensor> halves = state.chunk(2, 1);
      const auto [h, c] = lstm_->forward(now, std::make_tuple(halves[0], halves[1]));
      state = at::cat({h, c}, 1);
      hidden.push_back(h);
    }
    x = at::cat(hidden);
  }
  return {policy_head_->forward(x), value_head_->forward(x).squeeze(-1), state};
}

void ActorCritic::initialize(uint64_t seed) {
  const at::NoGradGuard no_grad;
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto fill = [&](at::Tensor& weight, at::Tensor& bias, double gain) {
    const int64_t rows = weight.size(0);
    weight.copy_(orthogonal(rows, weight.numel() / rows, gain, generator).reshape(weight.sizes()));
    bias.zero_();
  };
  for (torch::nn::Conv2d& convolution : convolutions_) fill(convolution->weight, convolution->bias, std::sqrt(2.0));
  for (torch::nn::Linear& layer : layers_) fill(layer->weight, layer->bias, std::sqrt(2.0));
  if (!lstm_.is_empty()) {
    fill(lstm_->weight_ih, lstm_->bias_ih, 1.0);
    fill(lstm_->weight_hh, lstm_->bias_hh, 1.0);
  }
  fill(policy_head_->weight, policy_head_->bias, 0.01);
  fill(value_head_->weight, value_head_->bias, 1.0);
}

}  // namespace a3c

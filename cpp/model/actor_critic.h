// The networks, as LibTorch modules: the definition that every faster path must equal.
//
// Observation -> torso -> LSTM, where there is one -> policy head (logits) and value head. Torso and heads share
// nothing but the features, so that a Gaussian head could stand beside the categorical one.
// Mnih et al. 2016, section 8: one torso, a softmax output for pi and a linear output for V.
#pragma once

#include <ATen/ATen.h>
#include <torch/nn/module.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/rnn.h>

#include <vector>

#include "config.h"

namespace a3c {

// `paper`: 16 8x8/4, 32 4x4/2, 256 (Mnih et al. 2016). `nature`: 32 8x8/4, 64 4x4/2, 64 3x3/1, 512 (Mnih et al. 2015).
// Both with ReLU, on images [channels, height, width]. `mlp`: tanh layers of hidden_sizes on the flattened observation.
// Feature maps are flattened in (height, width, channel) order, the order in which channels-last memory lies.
class ActorCritic : public torch::nn::Module {
 public:
  explicit ActorCritic(const ModelConfig& config);

  // observations: float [N, ...observation_shape], bytes divided by 255 -> features float [N, F].
  at::Tensor features(at::Tensor observations);

  struct Output {
    at::Tensor logits;  // [N, num_actions]
    at::Tensor values;  // [N]
    at::Tensor state;   // [B, 2 * lstm_size] after the last step
  };
  // observations are B sequences of `steps` steps, number step * B + sequence; without an LSTM they are just N. state
  // [B, 2 * lstm_size], h and c, is that before the first step; starts, bool [N, 1] or undefined for none, says where
  // an episode begins, before which the state is zero.
  Output forward(const at::Tensor& observations, int64_t steps, at::Tensor state, const at::Tensor& starts);

  // Orthogonal weights with gain sqrt(2) in the torso, 1 in the LSTM, 0.01 in the policy head and 1 in the value head;
  // zero biases. Deterministic in `seed`; leaves LibTorch's global generator alone.
  void initialize(uint64_t seed);

 private:
  const ModelKind kind_;
  double observation_offset_, observation_scale_;
  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::Linear> layers_;
  torch::nn::LSTMCell lstm_{nullptr};  // Hochreiter and Schmidhuber 1997 as torch.nn.LSTMCell has it
  torch::nn::Linear policy_head_{nullptr};
  torch::nn::Linear value_head_{nullptr};
};

}  // namespace a3c

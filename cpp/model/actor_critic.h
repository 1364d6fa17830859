// The networks, on LibTorch's operations: the definition that every faster path must equal.
//
// Observation -> torso -> LSTM, where there is one -> policy head and value head. What the policy's outputs mean is its
// distribution's to say. Mnih et al. 2016, section 8: one torso, a softmax output for pi and a linear output for V.
#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>
#include <vector>

#include "config.h"

namespace a3c {

// `paper`: 16 8x8/4, 32 4x4/2, 256 (Mnih et al. 2016). `nature`: 32 8x8/4, 64 4x4/2, 64 3x3/1, 512 (Mnih et al. 2015).
// `small`: 16 3x3/1, 32 3x3/1, 128, for images from 5x5 on. All with ReLU, on images [channels, height, width]; numbers
// beside the image join the last feature maps. `mlp`: layers of hidden_sizes on the flattened observation, with tanh,
// ReLU or ELU; with separate_value the same layers once more for the value. Feature maps are flattened in (height,
// width, channel) order, the order in which channels-last memory lies.
//
// The parameters are plain tensors and no torch::nn modules: those are made with the program's default dtype and draw
// from its random numbers.
class ActorCritic {
 public:
  struct Parameter {
    std::string name;  // as torch.nn names it
    std::vector<int64_t> shape;
    at::Tensor tensor;  // float32, on the CPU; undefined until the owner gives it memory
  };

  explicit ActorCritic(const ModelConfig& config);

  // In the order of the layers. Their number, names and shapes stay.
  std::vector<Parameter>& parameters() { return parameters_; }

  // What environments show: array float [N, ...array_shape], bytes divided by 255, undefined where there is none;
  // numbers float [N, num_features], undefined where there are none.
  struct Observations {
    at::Tensor array, numbers;
  };
  // What the LSTM or the heads are given: float [N, F], for the policy and for the value, the same unless
  // separate_value.
  struct Features {
    at::Tensor policy, value;
  };
  Features features(Observations observations) const;

  struct Output {
    at::Tensor policy;  // [N, num_outputs]
    at::Tensor values;  // [N]
    at::Tensor state;   // [B, 2 * lstm_size] after the last step
  };
  // observations are B sequences of `steps` steps, number step * B + sequence; without an LSTM they are just N. state
  // [B, 2 * lstm_size], h and c, is that before the first step; starts, bool [N, 1] or undefined for none, says where
  // an episode begins, before which the state is zero.
  Output forward(const Observations& observations, int64_t steps, at::Tensor state, const at::Tensor& starts) const;

  // Orthogonal weights with gain sqrt(2) in the torso, 1 in the LSTM, 0.01 in the policy head and 1 in the value head;
  // zero biases; log sigma as configured. Deterministic in `seed`; leaves LibTorch's global generator alone.
  void initialize(uint64_t seed);

 private:
  // A weight and its bias, by their numbers in parameters_.
  struct Layer {
    size_t weight, bias;
    int64_t stride = 1;  // of a convolution
  };

  Layer add(const std::string& weight, const std::string& bias, std::vector<int64_t> shape);
  const at::Tensor& weight(const Layer& layer) const { return parameters_[layer.weight].tensor; }
  const at::Tensor& bias(const Layer& layer) const { return parameters_[layer.bias].tensor; }
  at::Tensor linear(const Layer& layer, const at::Tensor& x) const;

  std::vector<Layer> add_layers(const std::string& prefix, const std::vector<int64_t>& widths, int64_t size);
  at::Tensor activated(at::Tensor x) const;
  at::Tensor through(const std::vector<Layer>& layers, at::Tensor x) const;

  const Activation activation_;
  double observation_offset_, observation_scale_;
  std::vector<Parameter> parameters_;
  std::vector<Layer> convolutions_, layers_;
  std::vector<Layer> value_layers_;  // empty: the value has the policy's features
  // Hochreiter and Schmidhuber 1997 as torch.nn.LSTMCell has it: what reads the features and what reads h. Empty where
  // there is no LSTM.
  std::vector<Layer> lstm_;
  Layer policy_head_{}, value_head_{};
  std::optional<size_t> log_std_;  // its number in parameters_
  const double initial_log_std_;
};

}  // namespace a3c

// The LSTM and the two heads behind it, on ATen's matrix products, with the backward pass written out: acting keeps its
// gates, so the forward pass runs once. One thread at a time. The LibTorch module is the definition.
//
//   i, f, g, o = W_ih x + b_ih + W_hh h + b_hh;  i, f, o = sigmoid; g = tanh
//   c' = f c + i g;  h' = o tanh(c')
//   logits = W_p h' + b_p;  V = w_v h' + b_v
//
// Hochreiter and Schmidhuber 1997, Gers et al. 2000, as torch.nn.LSTMCell.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config.h"
#include "model/recurrence.h"
#include "model/replica.h"

namespace a3c {

class LstmHeads {
 public:
  // `specs`: the layout of the flat vectors `parameters` and `gradients`, which must outlive this. `num_features`: of
  // the torso, one sample.
  LstmHeads(const ModelConfig& config, const std::vector<ParameterSpec>& specs, float* parameters, float* gradients,
            int num_features, int t_max, int num_envs);
  ~LstmHeads();

  Recurrence& recurrence();

  // Step t of all environments. features [num_envs][num_features] -> logits [num_envs][num_actions], values [num_envs].
  void act(int t, const float* features, const uint8_t* starts, float* logits, float* values);

  // All steps of some environments again, from the state at the beginning of the rollout: samples [t_max][count /
  // t_max], features [count][num_features] in their order.
  void evaluate(const int64_t* samples, int64_t count, const float* features, float* logits, float* values);

  // The gradients of the LSTM's and the heads' parameters, and d(loss)/d(features) [count][num_features], for the
  // samples of the last act() or evaluate() over them.
  void compute_gradients(const int64_t* samples, int64_t count, const float* features, const float* d_logits,
                         const float* d_values, float* d_features);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace a3c

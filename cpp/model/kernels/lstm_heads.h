// The LSTM and the two heads behind it, in kernels of our own: the end of a DenseNet, and of a ConvNet with an LSTM.
// Acting keeps its gates, so the forward pass runs once; nothing is allocated. One thread at a time. The LibTorch
// module is the definition.
//
//   i, f, g, o = W_ih x + b_ih + W_hh h + b_hh;  i, f, o = sigmoid; g = tanh
//   c' = f c + i g;  h' = o tanh(c')
//   policy = W_p h' + b_p;  V = w_v h' + b_v
//
// Hochreiter and Schmidhuber 1997, Gers et al. 2000, as torch.nn.LSTMCell.
#pragma once

#include <cstdint>
#include <vector>

#include "config.h"
#include "model/kernels/dense_net_state.h"
#include "model/kernels/memory.h"
#include "model/recurrence.h"
#include "model/replica.h"

namespace a3c {

class LstmHeads {
 public:
  // `state` has a tower, whose last layer's outputs are the features x, and gets the LSTM and the heads; it outlives
  // this, as `memory` does. `specs`: the layout of the state's flat vectors.
  LstmHeads(const ModelConfig& config, const std::vector<ParameterSpec>& specs, kernels::DenseNetState& state,
            const kernels::DenseNetKernels& kernels, KernelMemory& memory);

  Recurrence& recurrence() { return recurrence_; }

  // Step t of all environments, whose features are there -> policy [num_envs][num_outputs], values [num_envs].
  void act(int t, const int64_t* slots, const uint8_t* starts, float* policy, float* values);

  // All steps of some environments again, from the state at the beginning of the rollout: samples [t_max][count /
  // t_max], whose features are there.
  void evaluate(const int64_t* samples, int64_t count, float* policy, float* values);

  // To the gradients of the heads and to d(loss)/d(gates), for the samples of the last act() or evaluate() over them.
  void compute_gradients(const int64_t* samples, int64_t count, const float* d_policy, const float* d_values);

 private:
  float* memory_before(int64_t slot);
  void remember(int t, int64_t env);

  kernels::DenseNetState& state_;
  const kernels::DenseNetKernels& kernels_;
  Recurrence recurrence_;
};

}  // namespace a3c

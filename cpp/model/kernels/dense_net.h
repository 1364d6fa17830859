// The networks of fully connected layers, `mlp`, in kernels of our own: layers of any widths with tanh, ReLU or ELU, of
// the value's own or shared, an LSTM or none, and the heads.
//
// Why they are faster than LibTorch's: acting keeps its activations, so the forward pass runs once; nothing is
// allocated, no samples are gathered and no operation is dispatched, which for 64 units cost LibTorch more than the
// arithmetic; bias, activation and derivative are applied to tiles that are still in the first cache. LibTorch's
// module, actor_critic.h, is the definition: tests/cpp/dense_net_test.cc compares outputs and gradients with it.
//
// The same inputs give the same bits, and a sample's outputs are the same whatever else is in its batch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "model/kernels/dense_net_state.h"
#include "model/kernels/lstm_heads.h"
#include "model/kernels/memory.h"
#include "model/network.h"
#include "model/replica.h"

namespace a3c {

class DenseNet final : public Network {
 public:
  // Every `mlp` in float32.
  static bool supports(const ModelConfig& config);

  // `specs`: the layout of the flat vectors of `size` floats, Replica's. `kernels`: of this CPU, see dispatch.h.
  DenseNet(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int64_t size, int t_max, int num_envs,
           const kernels::DenseNetKernels& kernels, StageClock& clock);

  int64_t size() const override { return size_; }
  float* parameters() override { return parameters_; }
  void parameters_changed() override { kernels_.load(state_); }
  Recurrence& recurrence() override { return lstm_ ? lstm_->recurrence() : no_recurrence_; }
  void act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) override;
  void evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy, float* values) override;
  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                         const float* d_values) override;
  double squared_gradient_norm() const override;
  void read_gradients(double from, const GradientReader& read) override;

 private:
  void lay_out_observation(const ModelConfig& config);
  void lay_out_tower(const ModelConfig& config, const std::vector<ParameterSpec>& specs, const std::string& prefix);

  const kernels::DenseNetKernels& kernels_;
  Recurrence no_recurrence_;
  KernelMemory memory_;
  kernels::DenseNetState state_{};
  std::unique_ptr<LstmHeads> lstm_;  // null: the heads read the layers
  int64_t size_;
  float* parameters_ = nullptr;
  std::vector<int64_t> slots_;  // [(t_max + 1) * num_envs]: 0, 1, 2, ...
};

}  // namespace a3c

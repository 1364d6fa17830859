// The two convolutional networks in kernels of our own: what training runs on where the model is `paper` or `nature`.
//
// Why they are faster than LibTorch's: acting keeps its activations, so the forward pass runs once; space-to-depth
// makes 2x2 convolutions of stride 1 (8x8/4 on 84x84x4 is 2x2/1 on 21x21x64, 4x4/2 likewise); nothing is allocated. In
// float32, winograd.inc and dense.inc, minimal filtering computes those with a third to a half of the products and the
// fully connected layer skips zeros; in bfloat16, conv_net_bf16.inc, everything is a product for the CPU's own
// instructions. LibTorch's module is the definition: tests/cpp/conv_net_test.cc compares outputs and gradients with it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config.h"
#include "model/kernels/conv_net_state.h"
#include "model/kernels/lstm_heads.h"
#include "model/kernels/memory.h"
#include "model/network.h"
#include "model/replica.h"

namespace a3c {

class ConvNet final : public Network {
 public:
  // `paper` and `nature` on uint8 observations [4, 84, 84].
  static bool supports(const ModelConfig& config);

  // `specs`: the layout of the flat vectors, Replica's. `kernels`: of this CPU, see dispatch.h.
  ConvNet(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int64_t size, int t_max, int num_envs,
          const kernels::ConvNetKernels& kernels, StageClock& clock);

  int64_t size() const override { return state_.size; }
  float* parameters() override { return parameters_; }
  void parameters_changed() override;
  Recurrence& recurrence() override { return lstm_ ? lstm_->recurrence() : no_recurrence_; }
  void act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) override;
  void evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy, float* values) override;
  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                         const float* d_values) override;
  double squared_gradient_norm() const override;
  void read_gradients(double from, const GradientReader& read) override;

 private:
  void add_lstm(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int t_max);
  void add_layer(const ParameterSpec& weight, const ParameterSpec& bias, int factor);
  void lay_out_fp32(int64_t slots);
  void lay_out_tiles(int index);
  void link_layers();
  int32_t offset_of_output(int index, int y, int x) const;
  void lay_out_bf16(int64_t slots);  // with what follows in bf16_layout.cc
  void place_outputs(int index);
  void place_weights(int index);

  const kernels::ConvNetKernels& kernels_;
  Recurrence no_recurrence_;
  KernelMemory memory_;
  kernels::ConvNetState state_{};
  kernels::DenseNetState dense_{};  // of the LSTM and the heads behind it, with their kernels
  const kernels::DenseNetKernels* dense_kernels_ = nullptr;
  std::unique_ptr<LstmHeads> lstm_;  // null: the heads are the convolutions' kernels
  float* parameters_ = nullptr;
  const int batch_;                                      // samples that go forward together, at most
  std::vector<const uint8_t*> images_;                   // [batch]: the samples at hand ...
  std::vector<int64_t> slots_;                           // ... and where their activations go, in act()
  int factors_[kernels::ConvNetState::kMaxLayers] = {};  // of the space-to-depth before each layer
};

}  // namespace a3c

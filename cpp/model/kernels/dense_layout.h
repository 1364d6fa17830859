// Where the layers of a DenseNetState find their parameters and memory: what DenseNet and LstmHeads have in common.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config.h"
#include "model/kernels/dense_net_state.h"
#include "model/kernels/memory.h"
#include "model/replica.h"

namespace a3c {

constexpr int64_t kLine = 16;  // floats in a cache line

// So many floats in whole lines.
constexpr int64_t padded(int64_t width) {
  return (width + kLine - 1) / kLine * kLine;
}

// The rows of memory for a whole rollout and the observation after it.
int64_t slots_of(const kernels::DenseNetState& state);

// From one sample's row to the next, in floats.
int64_t stride_of(int64_t width);

// Throws std::invalid_argument when the layout has no such parameter.
const ParameterSpec& find(const std::vector<ParameterSpec>& specs, const std::string& name);

// Appends all rows of a weight and its bias, whose outputs go to `column` and on.
void add_segment(kernels::DenseLayer& layer, const std::vector<ParameterSpec>& specs, const std::string& name,
                 int column);

// The weights as the products read them, once the segments are there.
void finish_layer(kernels::DenseLayer& layer, bool has_input_gradient, KernelMemory& memory);

// A layer whose outputs are kept for the whole rollout.
void keep_output(kernels::DenseLayer& layer, int64_t slots, KernelMemory& memory);

// The heads behind the towers, which are there.
void lay_out_heads(kernels::DenseNetState& state, const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                   KernelMemory& memory);

// What all samples of a block need at once, when all else is there.
void lay_out_block(kernels::DenseNetState& state, KernelMemory& memory);

}  // namespace a3c

#include "model/kernels/dense_layout.h"

#include <algorithm>
#include <stdexcept>

namespace a3c {
namespace {

using kernels::DenseLayer;
using kernels::DenseNetState;

constexpr int64_t kMostInBlock = int64_t{4} << 20;  // floats of one layer's rows: 16 MB

}  // namespace

int64_t slots_of(const DenseNetState& state) {
  return int64_t{state.t_max + 1} * state.num_envs;
}

// Long rows take an odd number of lines: kernels read two lines of each of a hundred rows, which an even number would
// bring into few sets of the first cache.
int64_t stride_of(int64_t width) {
  const int64_t lines = (width + kLine - 1) / kLine;
  return (lines < 8 ? lines : lines | 1) * kLine;
}

const ParameterSpec& find(const std::vector<ParameterSpec>& specs, const std::string& name) {
  for (const ParameterSpec& spec : specs)
    if (spec.name == name) return spec;
  throw std::invalid_argument("the layout has no " + name);
}

void add_segment(DenseLayer& layer, const std::vector<ParameterSpec>& specs, const std::string& name, int column) {
  const ParameterSpec& weight = find(specs, name + ".weight");
  layer.in = static_cast<int>(weight.shape[1]);
  const auto rows = static_cast<int>(weight.shape[0]);
  layer.segments[layer.num_segments++] = {rows, column, weight.offset, find(specs, name + ".bias").offset, -1};
  layer.columns = column + rows;
}

void finish_layer(DenseLayer& layer, bool has_input_gradient, KernelMemory& memory) {
  layer.stride = stride_of(layer.columns);
  layer.forward = memory.allocate<float>(layer.in * padded(layer.columns));
  if (has_input_gradient) layer.backward = memory.allocate<float>(layer.columns * padded(layer.in));
  layer.bias = memory.allocate<float>(padded(layer.columns));
}

void keep_output(DenseLayer& layer, int64_t slots, KernelMemory& memory) {
  layer.output = memory.allocate<float>(slots * layer.stride);
}

void lay_out_heads(DenseNetState& state, const ModelConfig& config, const std::vector<ParameterSpec>& specs,
                   KernelMemory& memory) {
  state.num_log_std = config.num_log_std;
  state.num_policy = config.num_outputs - config.num_log_std;
  if (config.num_log_std > 0) state.log_std = find(specs, "log_std").offset;
  DenseLayer& policy = state.towers[0].head;
  DenseLayer& value = state.towers[state.num_towers - 1].head;
  add_segment(policy, specs, "policy_head", 0);
  add_segment(value, specs, "value_head", value.columns);
  for (int t = 0; t < state.num_towers; ++t) finish_layer(state.towers[t].head, true, memory);
  state.out_stride = stride_of(policy.columns);
}

void lay_out_block(DenseNetState& state, KernelMemory& memory) {
  int64_t widest = 0;
  for (int t = 0; t < state.num_towers; ++t)
    for (int i = 0; i < state.towers[t].num_layers; ++i)
      widest = std::max<int64_t>(widest, state.towers[t].layers[i].columns);
  state.d_stride = stride_of(widest);
  const int64_t widest_row = std::max({state.d_stride, state.x_stride, state.out_stride});
  state.block = static_cast<int>(std::clamp<int64_t>(kMostInBlock / widest_row, kLine, kernels::kDenseBlock));
  state.x = memory.allocate<float>(state.block * state.x_stride);
  // A line more: the value's column, which is read as a vector, need not begin one.
  state.out = memory.allocate<float>(state.block * state.out_stride + kLine);
  for (float*& d : state.d) d = memory.allocate<float>(state.block * state.d_stride);
  state.zeros = memory.allocate<float>(std::max<int64_t>(widest_row, padded(state.lstm.units)));
}

}  // namespace a3c

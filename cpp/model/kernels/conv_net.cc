#include "model/kernels/conv_net.h"

#include <algorithm>
#include <string>

#include "learn/optimizer.h"
#include "model/kernels/dense_layout.h"
#include "model/kernels/dispatch.h"

namespace a3c {
namespace {

constexpr int64_t kObservationBytes = 4 * 84 * 84;
constexpr int kBlock = 16;      // samples whose feature gradients are computed together: their rows fit the first cache
constexpr int kGroup = 4;       // samples that pass through the convolutions together: their tiles fit the second cache
constexpr int kFirstGroup = 1;  // and through the first one
constexpr int kBatch = 64;  // and, at least, through the fully connected layer: its weights come from memory each time

}  // namespace

bool ConvNet::supports(const ModelConfig& config) {
  return (config.kind == ModelKind::paper || config.kind == ModelKind::nature) && config.num_log_std == 0 &&
         config.observation == ObservationSpec{.array_shape = {4, 84, 84}};
}

ConvNet::ConvNet(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int64_t size, int t_max,
                 int num_envs, const kernels::ConvNetKernels& kernels, StageClock& clock)
    : kernels_(kernels),
      no_recurrence_(t_max, num_envs, 0),
      batch_(std::max(num_envs, kBatch)),
      images_(batch_),
      slots_(batch_) {
  state_.clock = &clock;
  state_.num_envs = num_envs;
  state_.num_outputs = config.num_outputs;
  state_.size = size;
  // A line more than the vectors: the LSTM's kernels read whole vectors at the end of a row of weights.
  state_.parameters = parameters_ = memory_.allocate<float>(size + kLine);
  state_.gradients = memory_.allocate<float>(size + kLine);

  const bool paper = config.kind == ModelKind::paper;
  const std::vector<int> factors = paper ? std::vector<int>{4, 2} : std::vector<int>{4, 2, 1};
  for (size_t i = 0; i < factors.size(); ++i) {
    const std::string name = "conv" + std::to_string(i + 1);
    add_layer(find(specs, name + ".weight"), find(specs, name + ".bias"), factors[i]);
  }
  state_.layers[0].weight_scale = static_cast<float>(config.observation_scale / 255);
  state_.scaled_offset = static_cast<float>(config.observation_scale * config.observation_offset);
  state_.first_bias = memory_.allocate<float>(state_.layers[0].out_channels);

  const kernels::ConvLayer& last = state_.layers[state_.num_layers - 1];
  state_.features = static_cast<int>(last.activation_size);
  state_.hidden = static_cast<int>(find(specs, "fc1.bias").shape[0]);
  state_.fc_weight = find(specs, "fc1.weight").offset;
  state_.fc_bias = find(specs, "fc1.bias").offset;
  state_.policy_weight = find(specs, "policy_head.weight").offset;
  state_.policy_bias = find(specs, "policy_head.bias").offset;
  state_.value_weight = find(specs, "value_head.weight").offset;
  state_.value_bias = find(specs, "value_head.bias").offset;

  const int64_t slots = int64_t{t_max + 1} * num_envs;
  state_.cells = memory_.allocate<uint8_t>(int64_t{kFirstGroup} * 21 * 21 * 64);
  state_.current_hidden = memory_.allocate<float>(int64_t{batch_ + 16} * state_.hidden);
  state_.hidden_activations = memory_.allocate<float>(slots * state_.hidden);
  state_.hidden_gradient = memory_.allocate<float>(slots * state_.hidden);
  if (config.lstm_size > 0) add_lstm(config, specs, t_max);
  if (kernels.in_bf16)
    lay_out_bf16(slots);
  else
    lay_out_fp32(slots);
}

// Behind the hidden units, which are to it the outputs of a layer whose weights it does not know.
void ConvNet::add_lstm(const ModelConfig& config, const std::vector<ParameterSpec>& specs, int t_max) {
  dense_kernels_ = best_dense_kernels(config.precision);
  dense_.clock = state_.clock;
  dense_.num_envs = state_.num_envs;
  dense_.t_max = t_max;
  dense_.parameters = parameters_;
  dense_.gradients = state_.gradients;
  dense_.x_stride = kLine;
  dense_.num_towers = 1;
  dense_.towers[0].num_layers = 1;
  dense_.towers[0].layers = memory_.allocate<kernels::DenseLayer>(1);
  kernels::DenseLayer& hidden = dense_.towers[0].layers[0];
  hidden.columns = state_.hidden;
  hidden.stride = state_.hidden;
  hidden.output = state_.hidden_activations;
  lstm_ = std::make_unique<LstmHeads>(config, specs, dense_, *dense_kernels_, memory_);
  lay_out_block(dense_, memory_);
}

void ConvNet::parameters_changed() {
  kernels_.load(state_);
  if (lstm_) dense_kernels_->load(dense_);
}

void ConvNet::lay_out_fp32(int64_t slots) {
  for (int i = 0; i < state_.num_layers; ++i) lay_out_tiles(i);
  link_layers();
  int64_t tile_inputs = 0, tile_outputs = 0;
  for (int i = 0; i < state_.num_layers; ++i) {
    const kernels::ConvLayer& layer = state_.layers[i];
    state_.activations[i] = memory_.allocate<float>(slots * layer.activation_size);
    state_.current[i] = memory_.allocate<float>((i + 1 < state_.num_layers ? kGroup : batch_) * layer.activation_size);
    tile_inputs = std::max(tile_inputs, layer.points * layer.input_stride);
    tile_outputs = std::max(tile_outputs, layer.points * layer.output_stride);
  }
  state_.tile_inputs = memory_.allocate<float>(tile_inputs);
  state_.tile_outputs = memory_.allocate<float>(tile_outputs);
  state_.fc_packed = memory_.allocate<float>(int64_t{state_.hidden} * state_.features);
  state_.slice = state_.num_layers == 2 ? 144 : 224;  // of 2592 or 3136
  state_.active_samples = memory_.allocate<int32_t>(int64_t{state_.hidden} * kernels::kSampleBlock);
  state_.active_gradients = memory_.allocate<float>(int64_t{state_.hidden} * kernels::kSampleBlock);
  state_.active_samples_count = memory_.allocate<int32_t>(state_.hidden);
  state_.active_features = memory_.allocate<int32_t>(int64_t{batch_} * state_.features + 1);
  state_.active_feature_values = memory_.allocate<float>(int64_t{batch_} * state_.features + 1);
  state_.active_features_count = memory_.allocate<int32_t>(int64_t{batch_} * state_.features / state_.slice);
  const int unit_blocks = state_.hidden / kernels::kUnitBlock;
  state_.active_units = memory_.allocate<int32_t>(slots * state_.hidden + 1);
  state_.active_values = memory_.allocate<float>(slots * state_.hidden + 1);
  state_.active_units_count = memory_.allocate<int32_t>(slots * unit_blocks);
  state_.panel = memory_.allocate<float>(int64_t{kernels::kSampleBlock} * 128);
  state_.block = kBlock;
  state_.feature_gradient = memory_.allocate<float>(int64_t{kBlock} * state_.features);
}

void ConvNet::act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) {
  for (int env = 0; env < state_.num_envs; ++env) {
    images_[env] = static_cast<const uint8_t*>(observations) + env * kObservationBytes;
    slots_[env] = int64_t{t} * state_.num_envs + env;
  }
  kernels_.torso_forward(state_, state_.num_envs, images_.data(), slots_.data());
  if (lstm_) {
    lstm_->act(t, slots_.data(), starts, policy, values);
  } else {
    kernels_.heads_forward(state_, state_.num_envs, policy, values);
  }
}

void ConvNet::evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy, float* values) {
  for (int64_t first = 0; first < count; first += batch_) {
    const auto size = static_cast<int>(std::min<int64_t>(count - first, batch_));
    for (int i = 0; i < size; ++i)
      images_[i] = static_cast<const uint8_t*>(observations) + samples[first + i] * kObservationBytes;
    kernels_.torso_forward(state_, size, images_.data(), samples + first);
    if (!lstm_) kernels_.heads_forward(state_, size, policy + first * state_.num_outputs, values + first);
  }
  if (lstm_) lstm_->evaluate(samples, count, policy, values);
}

void ConvNet::compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                                const float* d_values) {
  if (lstm_) {
    lstm_->compute_gradients(samples, count, d_policy, d_values);
    dense_kernels_->lstm_to_features(dense_, samples, count, state_.hidden_gradient);
  } else {
    kernels_.heads_backward(state_, samples, count, d_policy, d_values);
  }
  kernels_.torso_backward(state_, static_cast<const uint8_t*>(observations), samples, count);
}

double ConvNet::squared_gradient_norm() const {
  const int64_t end = state_.fc_weight + int64_t{state_.hidden} * state_.features;
  return squared_norm(state_.gradients, state_.fc_weight) + state_.dense_squared_norm +
         squared_norm(state_.gradients + end, state_.size - end);
}

void ConvNet::read_gradients(double from, const GradientReader& read) {
  if (!kernels_.in_bf16) return read_whole_gradient(state_.gradients, state_.size, from, read);
  const int begin = static_cast<int>(from * state_.hidden) / 16 * 16;
  const auto read_rows = [&](int first, int last) {
    for (int rows = 0; first < last; first += rows) {
      rows = std::min(kernels::kBf16Panel, last - first);
      const float* gradient = kernels_.dense_weight_gradient(state_, first, rows);
      read(state_.fc_weight + int64_t{first} * state_.features, int64_t{rows} * state_.features, gradient);
    }
  };
  read_rows(begin, state_.hidden);
  read_rows(0, begin);
  const int64_t end = state_.fc_weight + int64_t{state_.hidden} * state_.features;
  read(0, state_.fc_weight, state_.gradients);
  read(end, state_.size - end, state_.gradients + end);
}

// Appends a convolution whose stride is `factor`: after space-to-depth by `factor` its stride is 1.
void ConvNet::add_layer(const ParameterSpec& weight, const ParameterSpec& bias, int factor) {
  const int index = state_.num_layers++;
  factors_[index] = factor;
  kernels::ConvLayer& layer = state_.layers[index];
  const auto full_kernel = static_cast<int>(weight.shape[2]);
  const auto full_channels = static_cast<int>(weight.shape[1]);
  const int full_extent = index == 0 ? 84 : state_.layers[index - 1].out_height;
  layer.in_height = layer.in_width = full_extent / factor;
  layer.channels = full_channels * factor * factor;
  layer.kernel = full_kernel / factor;
  layer.out_height = layer.out_width = layer.in_height - layer.kernel + 1;
  layer.out_channels = static_cast<int>(weight.shape[0]);
  layer.depth = layer.kernel * layer.kernel * layer.channels;
  layer.activation_size = int64_t{layer.out_height} * layer.out_width * layer.out_channels;
  layer.weight_offset = weight.offset;
  layer.bias_offset = bias.offset;
  layer.weight_scale = 1;

  // A cell of the first layer holds (channel, dy, dx), the order in which bytes lie in the frames; of later ones
  // (dy, dx, channel), the order in which the layer before writes its channels.
  layer.weight_map = memory_.allocate<int32_t>(layer.depth);
  for (int k = 0; k < layer.depth; ++k) {
    const int tap = k / layer.channels;
    const int inside = k % layer.channels;
    const int area = factor * factor;
    const int channel = index == 0 ? inside / area : inside % full_channels;
    const int cell = index == 0 ? inside % area : inside / full_channels;
    const int y = tap / layer.kernel * factor + cell / factor;
    const int x = tap % layer.kernel * factor + cell % factor;
    layer.weight_map[k] = (y * full_kernel + x) * full_channels + channel;
  }
}

// The tiles of minimal filtering, see winograd.inc.
void ConvNet::lay_out_tiles(int index) {
  kernels::ConvLayer& layer = state_.layers[index];
  constexpr int kTiles[] = {5, 3, 4};  // divides 20, divides 9, leaves 1 of 8 beyond 7
  const int tile = kTiles[index];
  const int tiles_across = (layer.out_width + tile - 1) / tile;
  layer.group = index == 0 ? kFirstGroup : kGroup;
  layer.tiles = tiles_across * tiles_across;
  layer.points = (tile + layer.kernel - 1) * (tile + layer.kernel - 1);
  // The tiles beyond the outputs read cells beyond the inputs, which are zero.
  layer.in_height = layer.in_width = tiles_across * tile + layer.kernel - 1;
  // A line more than the rows: else all points of a tile would fall into the same set of the first-level cache.
  layer.input_stride = int64_t{layer.group} * layer.tiles * layer.channels + 16;
  layer.output_stride = int64_t{layer.group} * layer.tiles * layer.out_channels + 16;
  const int64_t weights = int64_t{layer.channels} * layer.out_channels;
  layer.transformed = memory_.allocate<float>(layer.points * weights);
  layer.transformed_gradient = memory_.allocate<float>(layer.points * weights);
  if (index > 0) layer.transformed_back = memory_.allocate<float>(layer.points * weights);
}

// Where output (y, x) of a layer goes: into the next layer's input, or one after another.
int32_t ConvNet::offset_of_output(int index, int y, int x) const {
  const kernels::ConvLayer& layer = state_.layers[index];
  if (index + 1 == state_.num_layers) return (y * layer.out_width + x) * layer.out_channels;
  const kernels::ConvLayer& next = state_.layers[index + 1];
  const int f = factors_[index + 1];
  return (y / f * next.in_width + x / f) * next.channels + (y % f * f + x % f) * layer.out_channels;
}

// Where each layer reads and writes.
void ConvNet::link_layers() {
  state_.group = kGroup;
  for (int i = 0; i < state_.num_layers; ++i) {
    kernels::ConvLayer& layer = state_.layers[i];
    const int positions = layer.out_height * layer.out_width;
    layer.output_offset = memory_.allocate<int32_t>(positions);
    for (int p = 0; p < positions; ++p)
      layer.output_offset[p] = offset_of_output(i, p / layer.out_width, p % layer.out_width);
    if (i + 1 < state_.num_layers) {
      const kernels::ConvLayer& next = state_.layers[i + 1];
      layer.activation_size = int64_t{next.in_height} * next.in_width * next.channels;
      layer.output_gradient = memory_.allocate<float>(kGroup * layer.activation_size);
    }
  }
}

}  // namespace a3c

// The memory and the layouts of a ConvNet that computes in bfloat16; see bf16_state.h.
#include <algorithm>

#include "model/kernels/conv_net.h"

namespace a3c {
namespace {

int64_t round_up(int64_t count, int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

}  // namespace

void ConvNet::lay_out_bf16(int64_t slots) {
  kernels::Bf16State& memory = state_.bf16;
  const int last = state_.num_layers - 1;
  int64_t pairs = 0, transposed = 0, product = 0;
  for (int i = 0; i <= last; ++i) {
    const kernels::ConvLayer& layer = state_.layers[i];
    kernels::Bf16Layer& packed = memory.layers[i];
    const int64_t cells = int64_t{layer.in_height} * layer.in_width;
    const int reach = (layer.kernel - 1) * (layer.in_width + 1);  // cells from the first to the last under the kernel
    packed.input_size = cells * layer.channels;
    packed.row_block = layer.out_channels == 16 ? 64 : 32;
    packed.rows = static_cast<int>(round_up(int64_t{layer.out_height} * layer.in_width, packed.row_block));
    packed.back_rows = i > 0 ? static_cast<int>(round_up(cells, 32)) : 0;
    packed.border = i > 0 ? reach : 0;
    packed.gradient_rows = packed.border + std::max(packed.rows, packed.back_rows);
    packed.below_channels = i > 0 ? state_.layers[i - 1].out_channels : 0;

    // Inputs end later than the image: the rows of the product that nobody asked for read there.
    const int64_t input = (std::max<int64_t>(packed.rows, cells) + reach + 2) * layer.channels;
    (i == 0 ? memory.cells : memory.current[i - 1]) = memory_.allocate<kernels::bf16>(input);
    if (i > 0) memory.activations[i - 1] = memory_.allocate<kernels::bf16>(slots * packed.input_size);
    pairs = std::max(pairs, input);
    transposed = std::max(transposed, int64_t{layer.out_channels} * packed.rows);
    product = std::max(product, int64_t{packed.row_block} * std::max(layer.out_channels, layer.channels));
    packed.output_gradient = memory_.allocate<kernels::bf16>((i == last ? kernels::kBf16Block : 1) *
                                                             int64_t{packed.gradient_rows} * layer.out_channels);
    place_outputs(i);
    place_weights(i);
  }
  memory.current[last] = memory_.allocate<kernels::bf16>(int64_t{batch_ + 16} * state_.features);
  memory.activations[last] = memory_.allocate<kernels::bf16>(slots * state_.features);
  memory.product = memory_.allocate<float>(std::max<int64_t>(product, 2 * 32 * 32));
  for (kernels::bf16*& half : memory.pairs) half = memory_.allocate<kernels::bf16>(pairs);
  memory.planes = memory_.allocate<kernels::bf16>(int64_t{64} * kernels::kPlane);
  memory.transposed = memory_.allocate<kernels::bf16>(transposed);
  const int64_t weights = int64_t{state_.hidden} * state_.features;
  memory.fc_weights = memory_.allocate<kernels::bf16>(weights);
  memory.fc_weights_back = memory_.allocate<kernels::bf16>(weights);
  memory.hidden_gradient = memory_.allocate<kernels::bf16>((slots + 32) * state_.hidden);
  for (kernels::bf16** copy : {&memory.hidden_gradient_transposed, &memory.hidden_gradient_tiles})
    *copy = memory_.allocate<kernels::bf16>((slots + 32) * state_.hidden);
  for (kernels::bf16** copy : {&memory.features, &memory.feature_tiles, &memory.feature_pairs})
    *copy = memory_.allocate<kernels::bf16>((slots + 32) * state_.features);
  memory.panel = memory_.allocate<float>(int64_t{kernels::kBf16Panel} * state_.features);
  memory.zeros = memory_.allocate<kernels::bf16>(state_.features);
  const kernels::ConvLayer& layer = state_.layers[last];
  memory.feature_row = memory_.allocate<int32_t>(layer.out_height * layer.out_width);
  for (int p = 0; p < layer.out_height * layer.out_width; ++p)
    memory.feature_row[p] = p / layer.out_width * layer.in_width + p % layer.out_width;
}

// Where a layer's outputs go in the next one's input, and the gradients of that input in this one's output_gradient.
void ConvNet::place_outputs(int index) {
  const kernels::ConvLayer& layer = state_.layers[index];
  kernels::Bf16Layer& packed = state_.bf16.layers[index];
  packed.output_offset = memory_.allocate<int32_t>(packed.rows);
  std::fill_n(packed.output_offset, packed.rows, -1);
  for (int y = 0; y < layer.out_height; ++y)
    for (int x = 0; x < layer.out_width; ++x)
      packed.output_offset[y * layer.in_width + x] = offset_of_output(index, y, x);
  if (index == 0) return;
  const int f = factors_[index];
  packed.below_row = memory_.allocate<int32_t>(int64_t{layer.in_height} * layer.in_width * f * f);
  int32_t* row = packed.below_row;
  for (int y = 0; y < layer.in_height; ++y)
    for (int x = 0; x < layer.in_width; ++x)
      for (int i = 0; i < f * f; ++i) *row++ = (y * f + i / f) * state_.layers[index - 1].in_width + x * f + i % f;
}

void ConvNet::place_weights(int index) {
  const kernels::ConvLayer& layer = state_.layers[index];
  kernels::Bf16Layer& packed = state_.bf16.layers[index];
  const int64_t count = int64_t{layer.depth} * layer.out_channels;
  packed.weights = memory_.allocate<kernels::bf16>(count);
  packed.weight_gradient = memory_.allocate<float>(count);
  packed.weights_from = memory_.allocate<int32_t>(count);
  packed.gradient_from = memory_.allocate<int32_t>(count);
  // Calls f(place, column, k) for the tiles of a matrix with `depth` rows, see bf16_state.h.
  const auto for_tiles = [](int columns, int depth, auto f) {
    for (int i = 0; i < columns * depth; ++i) {
      const int tile = i / (16 * depth), step = i / 512 % (depth / 32);
      f(i, tile * 16 + i / 2 % 16, step * 32 + i / 32 % 16 * 2 + i % 2);
    }
  };
  const auto flat = [&](int n, int k) {
    return static_cast<int32_t>(layer.weight_offset + int64_t{n} * layer.depth + layer.weight_map[k]);
  };
  for_tiles(layer.out_channels, layer.depth, [&](int i, int n, int k) { packed.weights_from[i] = flat(n, k); });
  for (int n = 0; n < layer.out_channels; ++n)
    for (int k = 0; k < layer.depth; ++k) {
      const int tap = k / layer.channels, channel = k % layer.channels;
      const int row = (channel / 16 * layer.kernel * layer.kernel + tap) * 16 + channel % 16;  // of the first layer
      packed.gradient_from[n * layer.depth + layer.weight_map[k]] =
          index == 0 ? row * layer.out_channels + n : n * layer.depth + k;
    }
  if (index == 0) return;
  // An input's gradient is a convolution of the output gradients with the kernel turned about.
  packed.weights_back = memory_.allocate<kernels::bf16>(count);
  packed.weights_back_from = memory_.allocate<int32_t>(count);
  const int taps = layer.kernel * layer.kernel;
  for_tiles(layer.channels, taps * layer.out_channels, [&](int i, int c, int k) {
    const int tap = taps - 1 - k / layer.out_channels;
    packed.weights_back_from[i] = flat(k % layer.out_channels, tap * layer.channels + c);
  });
}

}  // namespace a3c

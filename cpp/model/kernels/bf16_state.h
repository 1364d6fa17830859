// The memory of a ConvNet that computes in bfloat16, beside what it shares with the one in float32, ConvNetState.
//
// Weights, activations and gradients of activations are bfloat16, sums are float32, and so are the flat vectors and all
// that has to do with the hidden units. All convolutions have stride 1 (after space-to-depth), so that a product over
// whole lines of cells needs no copy of its input: output row p of the product is cell p of the lines, its input the
// `kernel` runs of kernel * channels contiguous elements that begin at cells p, p + in_width ... Rows at the end of a
// line, where the kernel would reach beyond it, are computed and ignored.
#pragma once

#include <cstdint>

namespace a3c::kernels {

typedef uint16_t bf16;  // the upper half of a float32

constexpr int kBf16Panel = 32;  // units whose gradients of weights exist at once: 0.3 MB, in the second cache
constexpr int kPlane = 480;     // cells of an observation, 441, and zeros
constexpr int kBf16Block = 64;  // samples whose feature gradients are computed together

// A matrix of weights lies in tiles of 16 pairs of its inner dimension by 16 columns, a tile after the other down the
// inner dimension: [columns / 16][depth / 32][16][16][2].
struct Bf16Layer {
  int64_t input_size;   // elements
  int rows, row_block;  // of the product: out_height lines of in_width cells, and a little more; computed at a time
  int back_rows;        // of the product back: in_height lines of in_width cells, and a little more
  int border;           // rows of zeros before the output gradients, so that the kernel may reach there
  int gradient_rows;    // with it
  int below_channels;   // of the layer below, several of whose outputs make a cell

  bf16 *weights, *weights_back;               // back: from output gradients to input gradients
  int32_t *weights_from, *weights_back_from;  // where their elements are in the flat vector
  float* weight_gradient;                     // [out_channels][depth]; of the first layer see first_weight_gradient()
  int32_t* gradient_from;                     // where the flat weights' gradients are in it
  int32_t* output_offset;                     // [rows] where an output goes in the next layer's input; -1: nowhere
  int32_t* below_row;     // [in_height * in_width][channels / below_channels] in the layer below's output_gradient
  bf16* output_gradient;  // [gradient_rows][out_channels]; of the last layer [kBf16Block] times
};

struct Bf16State {
  Bf16Layer layers[3];
  bf16* cells;           // the observation at hand
  bf16* current[3];      // input of the layer above, of the sample at hand; of the last layer [batch][features]
  bf16* activations[3];  // the same of the whole rollout, [t_max + 1][num_envs][...]
  float* product;        // [64][at most 128]
  bf16* pairs[2];        // two cells after the other, element by element: from the even ones on, from the odd ones on
  bf16* planes;          // [64][kPlane] the observation at hand by channel of the cells
  bf16* transposed;  // [out_channels][rows] output gradients; or pairs of those of two cells, [rows / 2][out_channels]
  bf16 *fc_weights, *fc_weights_back;
  bf16* hidden_gradient;                        // [samples][hidden]
  bf16* features;                               // [samples][features] of an update, one after the other
  bf16 *hidden_gradient_tiles, *feature_tiles;  // of pairs of units or features by samples
  bf16* hidden_gradient_transposed;             // [hidden][sample_steps * 32]
  bf16* feature_pairs;                          // tiles of pairs of samples by features
  int sample_steps;                             // of 32 samples
  float* panel;                                 // [kBf16Panel][features] of that gradient
  bf16* zeros;                                  // [features]
  int32_t* feature_row;                         // [features / last out_channels] in the last layer's output_gradient
};

// C (+)= A B. A row of A is `segments` runs of 32 * steps contiguous elements. Rows are `a_stride` apart, or, with
// `a_tiles`, 16 of them, and the next 16 begin at the next of these places. B comes in tiles: tile (n, step) is 16
// pairs of rows of B by 16 columns, at b + n * b_tile + step * b_step, a pair of rows `b_row` elements after the other.
struct Bf16Product {
  const bf16* a;
  int64_t a_stride;  // from one row to the next
  int segments;
  int64_t segment_stride;
  int steps;  // of a segment
  const bf16* b;
  int64_t b_row, b_tile, b_step;
  float* c;
  int64_t c_stride;
  bool add;
  const int64_t* a_tiles = nullptr;

  const bf16* row(int m) const { return a + (a_tiles ? a_tiles[m / 16] + m % 16 * a_stride : m * a_stride); }
};

}  // namespace a3c::kernels

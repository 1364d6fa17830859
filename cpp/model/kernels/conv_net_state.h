// The memory of one ConvNet: plain pointers and numbers, shared between the class that owns it and the kernels that
// work on it. The kernels are compiled once for each instruction set, so nothing here may instantiate a template.
#pragma once

#include <cstdint>

#include "model/kernels/bf16_state.h"
#include "stages.h"

namespace a3c::kernels {

constexpr int kUnitBlock = 128;   // hidden units whose weights to a panel of 32 inputs fit the first cache: 16 KB
constexpr int kSampleBlock = 80;  // samples whose features, 64 at a time, fit the first cache: 20 KB

// One convolution, after space-to-depth: stride 1, cells of `channels` contiguous floats.
struct ConvLayer {
  int in_height, in_width, channels;  // of the input, in cells of the space-to-depth layout
  int kernel;                         // height and width of the kernel, in cells
  int out_height, out_width, out_channels;
  int depth;                // kernel * kernel * channels: the inner dimension of the direct product
  int64_t activation_size;  // floats of the output
  int group;                // samples that pass through the layer together, at most

  int64_t weight_offset, bias_offset;  // in the flat vector
  float weight_scale;                  // scale / 255 in the first layer, which reads bytes as they are
  int32_t* weight_map;                 // [depth] from (kernel row, kernel column, channel) to the flat vector's order
  int32_t* output_offset;              // [positions] where an output goes: the next layer's layout
  float* output_gradient;              // [net.group][activation_size] in the layout of the activations; null in the
                                       // last layer, whose gradients come from the fully connected layer

  // See winograd.inc.
  int tiles, points;                      // tiles of an image, products of a tile
  int64_t input_stride, output_stride;    // floats from one point to the next in net.tile_inputs and tile_outputs
  float *transformed, *transformed_back;  // U and its transpose, in panels
  float* transformed_gradient;            // dU, in the layout of U
};

struct ConvNetState {
  static constexpr int kMaxLayers = 3;
  StageClock* clock;
  int num_layers;
  ConvLayer layers[kMaxLayers];
  int num_envs, num_outputs;
  int features;  // of the last convolution
  int slice;   // of the features whose weights to a panel of 32 units fit the first cache, in forward; a multiple of 16
  int hidden;  // of the fully connected layer
  int64_t fc_weight, fc_bias, policy_weight, policy_bias, value_weight, value_bias;  // in the flat vector
  float scaled_offset;                                                               // scale * offset
  float* first_bias;          // [out_channels] of the first layer, which takes it off: see load_first_bias
  const float* parameters;    // flat
  float* gradients;           // flat
  double dense_squared_norm;  // of those of the fully connected layer's weights
  int64_t size;               // of both

  uint8_t* cells;       // [layers[0].group][21][21][64]: observations after space-to-depth
  Bf16State bf16;       // all but null where the kernels compute in float32, as what follows is where they do not
  int group;            // samples that pass through the convolutions together, at most
  float* tile_inputs;   // V of one layer and group, [points][tiles of the group][channels]
  float* tile_outputs;  // M likewise, [points][tiles of the group][out_channels]
  float* current[kMaxLayers];      // [group][activation_size], of the last layer [batch][...]: of the samples at hand
  float* activations[kMaxLayers];  // [t_max + 1][num_envs][activation_size]: of the whole rollout
  float* current_hidden;           // [batch][hidden]
  float* hidden_activations;       // [t_max + 1][num_envs][hidden]
  float* fc_packed;                // [slices][hidden / 32][slice][32]
  float* hidden_gradient;          // [t_max * num_envs][hidden]
  int32_t* active_features;        // [batch][features]
  float* active_feature_values;    // the same
  int32_t* active_features_count;  // [batch][slices]
  int32_t* active_samples;         // [hidden][kSampleBlock]: see dense.inc
  float* active_gradients;         // the same
  int32_t* active_samples_count;   // [hidden]
  int32_t* active_units;           // [t_max * num_envs][hidden / kUnitBlock][kUnitBlock]
  float* active_values;            // the same
  int32_t* active_units_count;     // [t_max * num_envs][hidden / kUnitBlock]
  float* panel;                    // [kSampleBlock][at most 128]
  float* feature_gradient;         // [block][features]
  int block;                       // samples whose feature gradients are computed together, at most
};

// The operations, for one instruction set.
struct ConvNetKernels {
  const char* isa;  // as A3C_FAST_ISA has it
  bool in_bf16;
  void (*load)(ConvNetState&);
  // Images to hidden units, net.current_hidden, and to policy and values. An LSTM takes the place of the heads.
  void (*torso_forward)(ConvNetState&, int count, const uint8_t* const* images, const int64_t* slots);
  void (*heads_forward)(const ConvNetState&, int count, float* policy, float* values);
  // And back: to net.hidden_gradient, and from there to the gradients of all below.
  void (*heads_backward)(ConvNetState&, const int64_t* samples, int64_t count, const float* d_policy,
                         const float* d_values);
  void (*torso_backward)(ConvNetState&, const uint8_t* observations, const int64_t* samples, int64_t count);
  // The gradient of the fully connected layer's weights, of units first .. first + rows - 1: [rows][features], until
  // the next call; both multiples of 16, rows at most kBf16Panel. Null for kernels in float32, which write it with all
  // others.
  const float* (*dense_weight_gradient)(ConvNetState&, int first, int rows);
  // The product of bfloat16 matrices on which the rest of those kernels stands; null for those in float32.
  void (*multiply_bf16)(const Bf16Product&, int rows, int tiles);
};

}  // namespace a3c::kernels

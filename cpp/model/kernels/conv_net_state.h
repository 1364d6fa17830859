// The memory of one ConvNet: plain pointers and numbers, shared between the class that owns it and the kernels that
// work on it. The kernels are compiled once for each instruction set, so nothing here may instantiate a template.
#pragma once

#include <cstdint>

#include "stages.h"

namespace a3c::kernels {

// One convolution, after space-to-depth: stride 1, kernel rows of kw * channels contiguous floats.
struct ConvLayer {
  int in_height, in_width, channels;  // of the input, in cells of the space-to-depth layout
  int kernel;                         // height and width of the kernel, in cells
  int out_height, out_width, out_channels;
  int depth;                // kernel * kernel * channels: the inner dimension of the forward product
  int padded_width;         // of the output gradient, which has kernel - 1 zeros on every side
  int64_t activation_size;  // floats of the output

  int64_t weight_offset, bias_offset;  // in the flat vector
  float weight_scale;                  // 1/255 in the first layer, which reads bytes as they are
  int32_t* weight_map;                 // [depth] from the packed order to the order of the flat vector
  int32_t* input_offset;               // [positions] where a window begins in the input
  int32_t* output_offset;              // [positions] where its output goes: the next layer's layout
  int32_t* gradient_offset;            // [positions] where its window of the padded gradient begins
  int32_t* input_gradient_offset;      // [input positions] where the gradient of an input cell goes, channel 0 ...
  int32_t* channel_gradient_offset;    // [channels] ... and how far from there the gradient of a channel lies
  int32_t* padded_offset;              // [input positions] where the window of an input cell begins in the gradient

  float* packed;           // [out_channels / panel][depth][panel]: forward
  float* packed_back;      // [channels / panel][kernel * kernel * out_channels][panel]: input gradient
  float* weight_gradient;  // [out_channels][depth], packed order, summed over samples
  float* output_gradient;  // [padded height][padded width][out_channels], one sample, its border always zero
};

struct ConvNetState {
  static constexpr int kMaxLayers = 3;
  StageClock* clock;
  int num_layers;
  ConvLayer layers[kMaxLayers];
  int num_envs, t_max, num_actions;
  int features;                                                                      // of the last convolution
  int hidden;                                                                        // of the fully connected layer
  int64_t fc_weight, fc_bias, policy_weight, policy_bias, value_weight, value_bias;  // in the flat vector
  const float* parameters;                                                           // flat
  float* gradients;                                                                  // flat
  int64_t size;                                                                      // of both

  float* image;                    // [21][21][64]: one observation, space-to-depth, as floats 0 .. 255
  float* activations[kMaxLayers];  // [t_max + 1][num_envs][activation_size]
  float* hidden_activations;       // [t_max + 1][num_envs][hidden]
  float* fc_packed;                // [slice][hidden / panel][features / slices][panel]
  float* fc_packed_back;           // [features / panel][hidden][panel]
  float* hidden_gradient;          // [t_max * num_envs][hidden]
  float* feature_gradient;         // [block][features]
  int block;                       // samples whose feature gradients are computed together, at most
};

// The three operations, for one instruction set.
struct ConvNetKernels {
  int panel_small, panel_large;  // columns of a panel for products with 16 columns, and for wider ones
  void (*load)(ConvNetState&);
  void (*act)(ConvNetState&, int t, const uint8_t* observations, float* logits, float* values);
  void (*backward)(ConvNetState&, const uint8_t* observations, int first_env, int count, const float* d_logits,
                   const float* d_values);
};

}  // namespace a3c::kernels

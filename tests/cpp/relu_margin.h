// How near an image comes to the corner of a ReLU. Two correct computations differ by a rounding; where that puts an
// activation on the other side of its corner, its whole gradient differs, and which side it is depends on the CPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/replica.h"

// The smallest pre-activation of the torso on observation [4][84][84], in double, as a share of its layer's root mean
// square. Not instrumented: under a sanitizer it would take most of a test's time.
__attribute__((no_sanitize("thread", "address", "undefined"))) inline double relu_margin(
    const std::vector<a3c::ParameterSpec>& specs, const float* parameters, const a3c::ModelConfig& config,
    const uint8_t* observation) {
  const auto find = [&](const std::string& name) -> const a3c::ParameterSpec& {
    return *std::find_if(specs.begin(), specs.end(), [&](const auto& spec) { return spec.name == name; });
  };
  double margin = 1;
  // input [extent][extent][channels] -> relu(output) [...][out channels], by a square kernel.
  const auto layer = [&](const std::vector<double>& input, int64_t extent, int64_t channels, const std::string& name,
                         int64_t kernel, int64_t stride) {
    const a3c::ParameterSpec& spec = find(name + ".weight");
    const float* weight = parameters + spec.offset;
    const float* bias = parameters + find(name + ".bias").offset;
    const int64_t outputs = spec.shape[0], out_extent = (extent - kernel) / stride + 1, row = kernel * channels;
    std::vector<double> output(out_extent * out_extent * outputs);
    double* to = output.data();
    double smallest = INFINITY, squares = 0;
    for (int64_t y = 0; y < out_extent; ++y)
      for (int64_t x = 0; x < out_extent; ++x)
        for (int64_t o = 0; o < outputs; ++o, ++to) {
          double sum = bias[o];
          for (int64_t i = 0; i < kernel; ++i) {
            const double* from = &input[((y * stride + i) * extent + x * stride) * channels];
            const float* w = weight + (o * kernel + i) * row;
            double sums[4] = {};  // four at a time: an addition waits for the one before
            for (int64_t j = 0; j < row; j += 4)
              for (int64_t k = 0; k < 4; ++k) sums[k] += from[j + k] * w[j + k];
            sum += (sums[0] + sums[1]) + (sums[2] + sums[3]);
          }
          smallest = std::min(smallest, std::abs(sum));
          squares += sum * sum;
          *to = std::max(sum, 0.0);
        }
    margin = std::min(margin, smallest / std::sqrt(squares / static_cast<double>(output.size())));
    return output;
  };
  std::vector<double> x(84 * 84 * 4);
  for (int64_t i = 0; i < 84 * 84; ++i)
    for (int64_t c = 0; c < 4; ++c)
      x[i * 4 + c] = (observation[c * 84 * 84 + i] / 255.0 - config.observation_offset) * config.observation_scale;
  const bool paper = config.kind == a3c::ModelKind::paper;
  x = layer(x, 84, 4, "conv1", 8, 4);
  x = layer(x, 20, paper ? 16 : 32, "conv2", 4, 2);
  if (!paper) x = layer(x, 9, 64, "conv3", 3, 1);
  layer(x, paper ? 9 : 7, paper ? 32 : 64, "fc1", paper ? 9 : 7, 1);
  return margin;
}

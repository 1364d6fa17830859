// The torsos of `paper` and `nature` written as they are defined, in double, with no layout but [y][x][channel]. With a
// rounding it computes what our kernels do in bfloat16, but for the rounding of float32 sums.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/replica.h"

// Under a sanitizer these loops would take most of a test's time.
#define NOT_INSTRUMENTED __attribute__((no_sanitize("thread", "address", "undefined")))

class SlowTorso {
 public:
  // `round` is of weights, activations and gradients of activations.
  SlowTorso(
      const std::vector<a3c::ParameterSpec>& specs, const float* parameters, const a3c::ModelConfig& config,
      double (*round)(double) = [](double x) { return x; })
      : round_(round) {
    const bool paper = config.kind == a3c::ModelKind::paper;
    const auto add = [&](const std::string& name, int64_t extent, int64_t channels, int64_t kernel, int64_t stride) {
      const auto find = [&](const std::string& part) {
        return *std::find_if(specs.begin(), specs.end(), [&](const auto& spec) { return spec.name == name + part; });
      };
      const a3c::ParameterSpec weight = find(".weight"), bias = find(".bias");
      Layer layer{extent,          channels,      kernel,     stride, (extent - kernel) / stride + 1,
                  weight.shape[0], weight.offset, bias.offset};
      const bool first = layers_.empty();
      layer.scale = first ? config.observation_scale / 255 : 1;
      layer.shift = first ? config.observation_offset * 255 : 0;
      const int64_t size = kernel * kernel * channels;
      for (int64_t o = 0; o < layer.outputs; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < size; ++i) {
          layer.weights.push_back(round(parameters[weight.offset + o * size + i] * layer.scale));
          sum += layer.weights.back();
        }
        layer.biases.push_back(parameters[bias.offset + o] - layer.shift * sum);
      }
      layers_.push_back(std::move(layer));
    };
    add("conv1", 84, 4, 8, 4);
    add("conv2", 20, paper ? 16 : 32, 4, 2);
    if (!paper) add("conv3", 9, 64, 3, 1);
    add("fc1", paper ? 9 : 7, paper ? 32 : 64, paper ? 9 : 7, 1);  // of the last image's own size
  }

  // observation [4][84][84] -> hidden units. What backward() needs is kept.
  NOT_INSTRUMENTED std::vector<double> forward(const uint8_t* observation) {
    std::vector<double> x(84 * 84 * 4);
    for (int64_t i = 0; i < 84 * 84; ++i)
      for (int64_t c = 0; c < 4; ++c) x[i * 4 + c] = observation[c * 84 * 84 + i];
    inputs_.clear();
    margin_ = 1;
    for (const Layer& layer : layers_) {
      inputs_.push_back(x);
      x.assign(layer.out_extent * layer.out_extent * layer.outputs, 0);
      double smallest = INFINITY, squares = 0;
      double* to = x.data();
      for (int64_t position = 0; position < layer.out_extent * layer.out_extent; ++position)
        for (int64_t o = 0; o < layer.outputs; ++o, ++to) {
          double sum = layer.biases[o];
          layer.for_rows(position, o, [&](int64_t input, int64_t weight, int64_t length) NOT_INSTRUMENTED {
            const double *a = &inputs_.back()[input], *w = &layer.weights[weight];
            double sums[4] = {};  // four at a time: an addition waits for the one before
            for (int64_t j = 0; j < length; j += 4)
              for (int64_t k = 0; k < 4; ++k) sums[k] += a[j + k] * w[j + k];
            sum += (sums[0] + sums[1]) + (sums[2] + sums[3]);
          });
          smallest = std::min(smallest, std::abs(sum));
          squares += sum * sum;
          *to = &layer == &layers_.back() ? std::max(sum, 0.0) : round_(std::max(sum, 0.0));
        }
      margin_ = std::min(margin_, smallest / std::sqrt(squares / static_cast<double>(x.size())));
    }
    hidden_ = x;
    return x;
  }

  // How near the last observation came to the corner of a ReLU: the smallest input of any, as a share of its layer's
  // root mean square. Two correct computations differ by a rounding; where that puts a unit on the other side of its
  // corner, its whole gradient differs, and which side it is depends on the CPU.
  double margin() const { return margin_; }

  // d(loss)/d(hidden) of the last observation; adds d(loss)/d(parameters) to `gradients`, the flat vector.
  NOT_INSTRUMENTED void backward(std::vector<double> d_output, std::vector<double>& gradients) const {
    const std::vector<double>* output = &hidden_;
    for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
      const std::vector<double>& input = inputs_[layers_.rend() - layer - 1];
      std::vector<double> d_input(input.size());
      for (size_t i = 0; i < d_output.size(); ++i) {
        if ((*output)[i] <= 0) continue;
        const auto o = static_cast<int64_t>(i) % layer->outputs;
        const double d = round_(d_output[i]);
        gradients[layer->bias + o] += layer == layers_.rbegin() ? d_output[i] : d;
        layer->for_rows(static_cast<int64_t>(i) / layer->outputs, o,
                        [&](int64_t from, int64_t weight, int64_t length) NOT_INSTRUMENTED {
                          for (int64_t j = 0; j < length; ++j) {
                            gradients[layer->weight + weight + j] +=
                                layer->scale * d * (input[from + j] - layer->shift);
                            d_input[from + j] += d * layer->weights[weight + j];
                          }
                        });
      }
      d_output = std::move(d_input);
      output = &input;
    }
  }

 private:
  struct Layer {
    int64_t extent, channels, kernel, stride, out_extent, outputs;
    int64_t weight, bias;  // in the flat vector
    double scale = 1, shift = 0;
    std::vector<double> weights{}, biases{};

    // Calls f(input, weight, length) for the rows of the kernel of output `o` at a position.
    template <typename F>
    NOT_INSTRUMENTED void for_rows(int64_t position, int64_t o, F f) const {
      const int64_t y = position / out_extent * stride, x = position % out_extent * stride;
      for (int64_t i = 0; i < kernel; ++i)
        f(((y + i) * extent + x) * channels, (o * kernel + i) * kernel * channels, kernel * channels);
    }
  };

  double (*round_)(double);
  std::vector<Layer> layers_;
  std::vector<std::vector<double>> inputs_;
  std::vector<double> hidden_;
  double margin_ = 0;
};

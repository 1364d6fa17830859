// The memory of one DenseNet: plain pointers and numbers, shared between the class that owns it and the kernels that
// work on it. The kernels are compiled once for each instruction set, so nothing here may instantiate a template.
//
// A row of floats, of one sample, is as wide as its layer and then padded, see DenseNet's stride_of(). What padding
// holds is never read but as operands of which no result is kept.
#pragma once

#include <cstdint>

#include "stages.h"

namespace a3c::kernels {

constexpr int kDenseBlock = 128;  // samples that pass through the layers together, at most

enum DenseActivation : int { kDenseTanh, kDenseRelu, kDenseElu };

// Rows of a layer's weights that lie together in the flat vector, [rows][in], and where their outputs go.
struct DenseSegment {
  int rows, column;      // they make the outputs column .. column + rows - 1
  int64_t weight, bias;  // in the flat vector
  int64_t second_bias;   // which is added to the first; as `bias`, -1 where there is none
};

// y = W x + b. Two heads are one layer of two segments, an LSTM's gates are four.
struct DenseLayer {
  static constexpr int kMaxSegments = 4;
  int in, columns;  // columns of the output, with zeros where no segment makes them
  int num_segments;
  DenseSegment segments[kMaxSegments];
  float* forward;   // W transposed, in panels of its columns: see dense_product.inc
  float* backward;  // W likewise; null in a first layer, since an observation needs no gradient
  float* bias;      // [columns]
  float* output;    // [(t_max + 1) * num_envs][stride]: of the whole rollout; null in the heads
  int64_t stride;
  float* gradient;  // [in][stride]: of W transposed, where that takes fewer products; null where it does not
};

// Layers one after another, and the head that reads the last.
struct DenseTower {
  DenseLayer* layers;
  int num_layers;
  DenseLayer head;
};

// Where units is 0 all else is null. The gates i, f, g, o of a sample lie `width` apart, as all halves of states do.
struct DenseLstm {
  int units, width;
  DenseLayer input, hidden;  // W_ih with both biases, whose output are the gates, and W_hh
  float* previous;           // [(t_max + 2) * num_envs][2][width]: h and c before each step
  float* outputs;            // [(t_max + 1) * num_envs][2][width]: h' and tanh(c')
  float* d_outputs;          // [t_max * num_envs][width]: d(loss)/d(h'), of an update's samples in their order
  float* d_gates;            // [t_max * num_envs][input.stride]: before their nonlinearities
  float* d_cells;            // [num_envs][width]: d(loss)/d(c)
};

struct DenseNetState {
  StageClock* clock;
  DenseActivation activation;
  int num_envs, t_max;
  int num_policy;  // outputs of the policy head; the values of log_std follow them
  int num_log_std;
  int64_t log_std;  // in the flat vector

  // An observation is a row of so many bytes: array_size elements, of a byte or a float each, and numbers.
  int64_t row_bytes, array_size, numbers_at, num_numbers;
  bool array_of_bytes;
  float array_offset, array_scale;  // the first layer is given (bytes / 255 - offset) * scale

  int num_towers;  // 2 where the value has layers of its own: it has the second
  DenseTower towers[2];
  DenseLstm lstm;

  const float* parameters;  // flat
  float* gradients;         // flat

  int block;  // samples that pass through the layers together
  float* x;   // [block][x_stride]: their observations
  int64_t x_stride;
  float* out;  // [block][out_stride]: outputs of a head, or d(loss)/d(outputs)
  int64_t out_stride;
  const float* zeros;  // [the widest]
  float* d[2];         // [block][d_stride]: d(loss)/d(outputs) of a layer before its activation, and of that below
  int64_t d_stride;
};

// The operations, for one instruction set.
struct DenseNetKernels {
  const char* isa;  // as A3C_FAST_ISA has it
  void (*load)(DenseNetState&);
  // Observations rows[i], whose activations are kept in slots[i], to the features that an LSTM reads or, without one,
  // to policy [count][num_policy + num_log_std] and values [count].
  void (*forward)(DenseNetState&, const void* observations, const int64_t* rows, const int64_t* slots, int64_t count,
                  float* policy, float* values);
  // What these features say to the gates.
  void (*lstm_features)(DenseNetState&, const int64_t* slots, int64_t count);
  // One step from `previous` of these slots, which becomes that of the slots of the next step, and the heads.
  void (*lstm_step)(DenseNetState&, const int64_t* slots, int64_t count, float* policy, float* values);
  // To d(loss)/d(gates), [t_max][count / t_max] samples; starts [(t_max + 1) * num_envs].
  void (*lstm_backward)(DenseNetState&, const int64_t* samples, int64_t count, const uint8_t* starts,
                        const float* d_policy, const float* d_values);
  // From there to the gradients of the LSTM and to d(loss)/d(features), [count][their stride], where no layers follow.
  void (*lstm_to_features)(DenseNetState&, const int64_t* samples, int64_t count, float* d_features);
  // From there or, without an LSTM, from d(loss)/d(outputs), to the gradients.
  void (*backward)(DenseNetState&, const void* observations, const int64_t* samples, int64_t count,
                   const float* d_policy, const float* d_values);
};

}  // namespace a3c::kernels

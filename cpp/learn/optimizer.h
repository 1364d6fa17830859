// The update rules on a stretch of the flat parameter vector; pure functions of what they are given.
// `clip_scale` multiplies the gradient first.
#pragma once

#include <cstdint>

namespace a3c {

// The sum of the squares. Not finite when the gradient is not.
double squared_norm(const float* gradient, int64_t size);

// The same of a gradient that comes in pieces. Where each of them has its place at a multiple of 16 floats, and zeros
// lie between them, it is that of the whole to the last bit.
class SquaredNorm {
 public:
  void add(const float* gradient, int64_t size);
  double total() const;

 private:
  // Sixteen partial sums in a fixed order: vectorizes without -ffast-math and is the same on every run. A float partial
  // sum of 42,000 squares is good to 1e-5, and an overflow shows as the infinity that it is.
  float partial_[16] = {};
};

// What brings a gradient of this global norm to `max_norm` at most: min(1, max_norm / norm); 1 when max_norm is 0.
float clip_scale_of(double norm, double max_norm);

// Shared RMSProp, Mnih et al. 2016, equation S3 (eps inside the root):
//   g <- alpha g + (1 - alpha) d^2;  theta <- theta - lr d / sqrt(g + eps)
void rmsprop_update(int64_t size, const float* gradient, float clip_scale, float learning_rate, float alpha, float eps,
                    float* mean_square, float* parameters);

// Adam, Kingma and Ba 2015, Algorithm 1, with `step` counted from 1:
//   m <- b1 m + (1 - b1) d;  v <- b2 v + (1 - b2) d^2
//   theta <- theta - lr (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)
struct AdamRates {
  float beta1, beta2, eps;
  float step_size;           // lr / (1 - beta1^step)
  float inverse_correction;  // 1 / (1 - beta2^step)
};
AdamRates adam_rates(double learning_rate, double beta1, double beta2, double eps, int64_t step);
void adam_update(int64_t size, const float* gradient, float clip_scale, const AdamRates& rates, float* first_moment,
                 float* second_moment, float* parameters);

}  // namespace a3c

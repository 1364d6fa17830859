#include "learn/optimizer.h"

#include <algorithm>
#include <cmath>

namespace a3c {

double squared_norm(const float* gradient, int64_t size) {
  SquaredNorm norm;
  norm.add(gradient, size);
  return norm.total();
}

void SquaredNorm::add(const float* gradient, int64_t size) {
  float partial[16];  // which no store to memory can change: vectorizes
  std::copy_n(partial_, 16, partial);
  int64_t i = 0;
  for (; i + 16 <= size; i += 16)
    for (int lane = 0; lane < 16; ++lane) partial[lane] += gradient[i + lane] * gradient[i + lane];
  for (int lane = 0; i < size; ++i, ++lane) partial[lane] += gradient[i] * gradient[i];
  std::copy_n(partial, 16, partial_);
}

double SquaredNorm::total() const {
  double total = 0;
  for (const float sum : partial_) total += sum;
  return total;
}

float clip_scale_of(double norm, double max_norm) {
  if (max_norm <= 0 || norm <= max_norm) return 1.0f;
  return static_cast<float>(max_norm / norm);
}

void rmsprop_update(int64_t size, const float* __restrict gradient, float clip_scale, float learning_rate, float alpha,
                    float eps, float* __restrict mean_square, float* __restrict parameters) {
  for (int64_t i = 0; i < size; ++i) {
    const float d = gradient[i] * clip_scale;
    const float g = alpha * mean_square[i] + (1.0f - alpha) * d * d;
    mean_square[i] = g;
    parameters[i] -= learning_rate * d / std::sqrt(g + eps);
  }
}

AdamRates adam_rates(double learning_rate, double beta1, double beta2, double eps, int64_t step) {
  const auto t = static_cast<double>(step);
  return {static_cast<float>(beta1), static_cast<float>(beta2), static_cast<float>(eps),
          static_cast<float>(learning_rate / (1.0 - std::pow(beta1, t))),
          static_cast<float>(1.0 / (1.0 - std::pow(beta2, t)))};
}

void adam_update(int64_t size, const float* __restrict gradient, float clip_scale, const AdamRates& rates,
                 float* __restrict first_moment, float* __restrict second_moment, float* __restrict parameters) {
  for (int64_t i = 0; i < size; ++i) {
    const float d = gradient[i] * clip_scale;
    const float m = rates.beta1 * first_moment[i] + (1.0f - rates.beta1) * d;
    const float v = rates.beta2 * second_moment[i] + (1.0f - rates.beta2) * d * d;
    first_moment[i] = m;
    second_moment[i] = v;
    parameters[i] -= rates.step_size * m / (std::sqrt(v * rates.inverse_correction) + rates.eps);
  }
}

}  // namespace a3c

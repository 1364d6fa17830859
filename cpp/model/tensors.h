// How this package makes tensors: float32 on the CPU, whatever torch.set_default_dtype says in the program.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/parameter_spec.h"

namespace a3c {

inline const at::TensorOptions kFloats = at::TensorOptions(at::kFloat).device(at::kCPU);

// A tensor over memory that must outlive it.
inline at::Tensor floats_at(float* data, at::IntArrayRef shape) {
  return at::from_blob(data, shape, kFloats);
}

// A parameter in a flat vector, or its gradient.
inline at::Tensor parameter_at(float* flat, const ParameterSpec& spec) {
  float* data = flat + spec.offset;
  if (!spec.channels_last) return floats_at(data, spec.shape);
  const std::vector<int64_t>& s = spec.shape;
  return floats_at(data, {s[0], s[2], s[3], s[1]}).permute({0, 3, 1, 2});
}

}  // namespace a3c

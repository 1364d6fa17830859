// How this package makes tensors: float32 on the CPU, whatever torch.set_default_dtype says in the program.
#pragma once

#include <ATen/ATen.h>

namespace a3c {

inline const at::TensorOptions kFloats = at::TensorOptions(at::kFloat).device(at::kCPU);

// A tensor over memory that must outlive it.
inline at::Tensor floats_at(float* data, at::IntArrayRef shape) {
  return at::from_blob(data, shape, kFloats);
}

}  // namespace a3c

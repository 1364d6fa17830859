// Which kernels run on this CPU.
#pragma once

#include "config.h"
#include "model/kernels/conv_net_state.h"
#include "model/kernels/dense_net_state.h"

namespace a3c {

// The kernels of ConvNet for this CPU, or null for LibTorch's autograd, which needs none. `automatic` is bfloat16 where
// AMX multiplies it, and float32 elsewhere. The environment variable A3C_FAST_ISA names others: "amx" and "avx512_bf16"
// compute in bfloat16, "avx512", "avx2" and "libtorch" in float32. Throws std::runtime_error when it names what there
// is not or what has another precision, std::invalid_argument when this CPU has none of this precision.
const kernels::ConvNetKernels* best_kernels(Precision precision);

// Those of DenseNet, which all compute in float32: with AMX's and AVX512_BF16's name, AVX-512's.
const kernels::DenseNetKernels* best_dense_kernels(Precision precision);

// Whether there are any for CPUs like this one, which is so on x86-64 alone.
bool has_kernels();

// Throws std::runtime_error when A3C_FAST_ISA names no kernels of any CPU; to be empty is not to be set.
void check_chosen_kernels();

}  // namespace a3c

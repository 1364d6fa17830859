// The kernels of ConvNet in bfloat16 for x86-64-v4 with AVX512_BF16. Nothing but ConvNet's dispatch may call into here.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/kernels/conv_net_state.h"

#define A3C_ISA avx512_bf16
#define A3C_ISA_NAME "avx512_bf16"
#define A3C_VECTOR_BYTES 64
#define A3C_BF16_MULTIPLY "model/kernels/bf16_multiply_avx512.inc"
#include "model/kernels/conv_net_bf16.inc"

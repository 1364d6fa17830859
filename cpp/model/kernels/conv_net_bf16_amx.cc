// The kernels of ConvNet in bfloat16 for x86-64-v4 with AVX512_BF16 and AMX. Nothing but ConvNet's dispatch may call
// into here.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/kernels/conv_net_state.h"

#define A3C_ISA amx
#define A3C_ISA_NAME "amx"
#define A3C_VECTOR_BYTES 64
#define A3C_BF16_MULTIPLY "model/kernels/bf16_multiply_amx.inc"
#include "model/kernels/conv_net_bf16.inc"

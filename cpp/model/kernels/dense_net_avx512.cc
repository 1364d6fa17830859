// The kernels of DenseNet for x86-64-v4: 32 registers of 16 floats. Nothing but DenseNet's dispatch may call into here.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/kernels/dense_net_state.h"

#define A3C_ISA avx512
#define A3C_ISA_NAME "avx512"
#define A3C_VECTOR_BYTES 64
#include "model/kernels/dense_net_kernels.inc"

// The kernels of DenseNet for x86-64-v3: 16 registers of 8 floats.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "model/kernels/dense_net_state.h"

#define A3C_ISA avx2
#define A3C_ISA_NAME "avx2"
#define A3C_VECTOR_BYTES 32
#include "model/kernels/dense_net_kernels.inc"

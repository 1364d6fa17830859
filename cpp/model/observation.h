// From what environments give to what the network wants.
#pragma once

#include <cstdint>

namespace a3c {

// uint8 [channels][height * width] -> float [height * width][channels], divided by 255: the channels-last layout in
// which convolutions run fastest. ATen's own conversion costs as much as the first convolution.
void image_to_float(const uint8_t* image, int64_t channels, int64_t pixels, float* output);

// uint8 -> float, divided by 255, order kept.
void bytes_to_float(const uint8_t* bytes, int64_t size, float* output);

}  // namespace a3c

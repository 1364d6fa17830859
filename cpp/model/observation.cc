#include "model/observation.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace a3c {
namespace {

constexpr float kScale = 1.0f / 255.0f;

#if defined(__AVX2__)
// Eight pixels of four channels: 4 x 8 bytes in, 32 floats out.
inline void interleave_8_pixels(const uint8_t* image, int64_t pixels, float* output) {
  const auto load = [&](int channel) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(image + channel * pixels));
  };
  const __m128i pairs_01 = _mm_unpacklo_epi8(load(0), load(1));
  const __m128i pairs_23 = _mm_unpacklo_epi8(load(2), load(3));
  const __m128i low = _mm_unpacklo_epi16(pairs_01, pairs_23);   // pixels 0..3, four channels each
  const __m128i high = _mm_unpackhi_epi16(pairs_01, pairs_23);  // pixels 4..7
  const __m256 scale = _mm256_set1_ps(kScale);
  const auto store = [&](__m128i bytes, float* to) {
    _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), scale));
  };
  store(low, output);
  store(_mm_srli_si128(low, 8), output + 8);
  store(high, output + 16);
  store(_mm_srli_si128(high, 8), output + 24);
}
#endif

}  // namespace

void image_to_float(const uint8_t* image, int64_t channels, int64_t pixels, float* output) {
  int64_t first = 0;
#if defined(__AVX2__)
  if (channels == 4)
    for (; first + 8 <= pixels; first += 8) interleave_8_pixels(image + first, pixels, output + first * 4);
#endif
  for (int64_t pixel = first; pixel < pixels; ++pixel)
    for (int64_t c = 0; c < channels; ++c)
      output[pixel * channels + c] = static_cast<float>(image[c * pixels + pixel]) * kScale;
}

void bytes_to_float(const uint8_t* bytes, int64_t size, float* output) {
  for (int64_t i = 0; i < size; ++i) output[i] = static_cast<float>(bytes[i]) * kScale;
}

}  // namespace a3c

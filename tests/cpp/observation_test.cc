#include "model/observation.h"

#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c {
namespace {

constexpr float kUntouched = -7;

std::vector<uint8_t> random_bytes(int64_t size) {
  Random random(static_cast<uint64_t>(size));
  std::vector<uint8_t> bytes(static_cast<size_t>(size));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
  bytes.front() = 255;
  bytes.back() = 0;
  return bytes;
}

// Channels first to channels last; four channels have a path of their own, in blocks of eight pixels.
TEST(images_become_channels_last_floats) {
  for (const int64_t channels : {1, 3, 4, 5})
    for (const int64_t pixels : {1, 7, 8, 9, 31, 84 * 84}) {
      const std::vector<uint8_t> image = random_bytes(channels * pixels);
      std::vector<float> output(image.size() + 1, kUntouched);
      image_to_float(image.data(), channels, pixels, output.data());
      for (int64_t pixel = 0; pixel < pixels; ++pixel)
        for (int64_t c = 0; c < channels; ++c)
          CHECK_CLOSE(output[pixel * channels + c], image[c * pixels + pixel] / 255.0, 1e-7);
      CHECK_EQUAL(output.back(), kUntouched);
    }
}

TEST(bytes_keep_their_order) {
  for (const int64_t size : {1, 15, 16, 100}) {
    const std::vector<uint8_t> bytes = random_bytes(size);
    std::vector<float> output(bytes.size() + 1, kUntouched);
    bytes_to_float(bytes.data(), size, output.data());
    for (int64_t i = 0; i < size; ++i) CHECK_CLOSE(output[i], bytes[i] / 255.0, 1e-7);
    CHECK_EQUAL(output.back(), kUntouched);
  }
}

TEST(black_is_0_and_white_is_1) {
  const std::vector<uint8_t> bytes{0, 255};
  std::vector<float> output(2);
  bytes_to_float(bytes.data(), 2, output.data());
  CHECK_EQUAL(output[0], 0.0f);
  CHECK_EQUAL(output[1], 1.0f);
}

}  // namespace
}  // namespace a3c

#include "env/envpool/encoding.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "configs.h"

namespace a3c {
namespace {

using Kind = Encoding::Kind;

constexpr float kUntouched = -77;

// Row `row` of an array as `encoding` writes it into an observation of so many numbers, all of them kUntouched before.
std::vector<float> numbers_of(const Encoding& encoding, const SourceArray& source, int64_t row, int64_t size) {
  std::vector<float> observation(static_cast<size_t>(size), kUntouched);
  encode(encoding, source, row, numbers(size), reinterpret_cast<uint8_t*>(observation.data()));
  return observation;
}

template <typename T>
void check_numbers(const char* dtype, const std::vector<T>& values) {
  const SourceArray source{values.data(), dtype_named(dtype), {static_cast<int64_t>(values.size()) / 2}};
  CHECK_EQUAL(bytes_of(source.dtype), int64_t{sizeof(T)});
  const auto size = static_cast<size_t>(source.size());
  for (int64_t row = 0; row < 2; ++row) {
    const std::vector<float> found = numbers_of({.key = "obs"}, source, row, source.size());
    for (size_t i = 0; i < size; ++i) CHECK_EQUAL(found[i], static_cast<float>(values[row * size + i]));
  }
}

TEST(numbers_of_every_type_become_floats) {
  check_numbers<uint8_t>("bool", {0, 1, 1, 0, 0, 1});
  check_numbers<uint8_t>("uint8", {0, 127, 128, 255, 7, 9});
  check_numbers<int8_t>("int8", {0, 127, -128, -1, 7, 9});
  check_numbers<int16_t>("int16", {0, 32767, -32768, -1, 256, 9});
  check_numbers<int32_t>("int32", {0, 65536, -65536, -1, 1 << 30, 9});
  check_numbers<int64_t>("int64", {0, int64_t{1} << 40, -(int64_t{1} << 40), -1, 256, 9});
  check_numbers<float>("float32", {0, 0.1f, -1e30f, 1e-30f, 3, 9});
  check_numbers<double>("float64", {0, 0.1, -1e30, 1e-30, 3, 9});
}

TEST(a_type_that_is_not_built_is_named) {
  for (const char* name : {"float16", "uint16", "complex64", "", "U8"})
    CHECK_THROWS(dtype_named(name), ("the dtype " + std::string(name) + " is not supported").c_str());
}

TEST(numbers_are_scaled_and_lie_where_they_belong_and_nowhere_else) {
  const std::vector<int32_t> values{100, -200, 300, 400};
  const SourceArray source{values.data(), Dtype::int32, {2}};
  CHECK(numbers_of({.key = "obs", .position = 1, .scale = 0.01f}, source, 0, 4) ==
        (std::vector<float>{kUntouched, 100 * 0.01f, -200 * 0.01f, kUntouched}));
  CHECK(numbers_of({.key = "obs", .position = 2, .scale = 2}, source, 1, 4) ==
        (std::vector<float>{kUntouched, kUntouched, 600, 800}));
}

TEST(a_scalar_is_one_number) {
  const std::vector<double> values{1, 2, 3};
  const SourceArray source{values.data(), Dtype::float64, {}};
  CHECK_EQUAL(source.size(), 1);
  CHECK(numbers_of({.key = "obs"}, source, 2, 1) == std::vector<float>{3});
}

TEST(one_hot_marks_each_value_from_the_first_on) {
  const std::vector<int64_t> values{3, 5, 4, 4};
  const SourceArray source{values.data(), Dtype::int64, {2}};
  const Encoding encoding{.key = "obs", .kind = Kind::one_hot, .position = 1, .first = 3, .values = 3};
  CHECK(numbers_of(encoding, source, 0, 8) == (std::vector<float>{kUntouched, 1, 0, 0, 0, 0, 1, kUntouched}));
  CHECK(numbers_of(encoding, source, 1, 8) == (std::vector<float>{kUntouched, 0, 1, 0, 0, 1, 0, kUntouched}));
}

TEST(one_hot_begins_where_it_is_told_also_below_0) {
  const std::vector<int8_t> values{-2, 1};
  const SourceArray source{values.data(), Dtype::int8, {1}};
  const Encoding encoding{.key = "obs", .kind = Kind::one_hot, .first = -2, .values = 4};
  CHECK(numbers_of(encoding, source, 0, 4) == (std::vector<float>{1, 0, 0, 0}));
  CHECK(numbers_of(encoding, source, 1, 4) == (std::vector<float>{0, 0, 0, 1}));
}

// Where it would write is another's memory.
TEST(a_value_outside_its_bounds_is_refused) {
  const std::vector<int32_t> values{2, 6, -1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()};
  const SourceArray source{values.data(), Dtype::int32, {1}};
  const Encoding encoding{.key = "obs:cards", .kind = Kind::one_hot, .first = 3, .values = 3};
  CHECK_THROWS(numbers_of(encoding, source, 0, 3), "an observation's obs:cards is 2, outside its own bounds");
  CHECK_THROWS(numbers_of(encoding, source, 1, 3), "an observation's obs:cards is 6, outside its own bounds");
  for (int64_t row = 2; row < 5; ++row) CHECK_THROWS(numbers_of(encoding, source, row, 3), "outside its own bounds");
  const std::vector<int64_t> extremes{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  for (const int64_t first : {-3, 3}) {
    const Encoding other{.key = "obs:cards", .kind = Kind::one_hot, .first = first, .values = 3};
    for (int64_t row = 0; row < 2; ++row)
      CHECK_THROWS(numbers_of(other, {extremes.data(), Dtype::int64, {1}}, row, 3), "outside its own bounds");
  }
}

TEST(the_array_is_copied_byte_by_byte) {
  const ObservationSpec bytes = array_of({2, 3});
  std::vector<uint8_t> values(12);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint8_t>(250 + i);
  std::vector<uint8_t> observation(7, 99);
  encode({.key = "obs", .kind = Kind::array}, {values.data(), Dtype::uint8, {2, 3}}, 1, bytes, observation.data());
  CHECK(!std::memcmp(observation.data(), &values[6], 6));
  CHECK_EQUAL(int{observation[6]}, 99);

  const ObservationSpec floats = array_of({2}, ElementType::float32);
  const std::vector<float> source{1, 2, 3, 4};
  std::vector<float> found(3, kUntouched);
  encode({.key = "obs", .kind = Kind::array}, {source.data(), Dtype::float32, {2}}, 1, floats,
         reinterpret_cast<uint8_t*>(found.data()));
  CHECK(found == (std::vector<float>{3, 4, kUntouched}));
}

template <typename T>
void check_turned(Dtype dtype, ElementType type) {
  constexpr int kHeight = 2, kWidth = 4, kChannels = 3, kSize = kHeight * kWidth * kChannels;
  const ObservationSpec spec = array_of({kChannels, kHeight, kWidth}, type);
  std::vector<T> values(2 * kSize), found(kSize + 1, 99);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(i);
  encode({.key = "obs", .kind = Kind::channels_last}, {values.data(), dtype, {kHeight, kWidth, kChannels}}, 1, spec,
         reinterpret_cast<uint8_t*>(found.data()));
  for (int c = 0; c < kChannels; ++c)
    for (int y = 0; y < kHeight; ++y)
      for (int x = 0; x < kWidth; ++x)
        CHECK_EQUAL(found[(c * kHeight + y) * kWidth + x], values[kSize + (y * kWidth + x) * kChannels + c]);
  CHECK_EQUAL(found.back(), T{99});
}

TEST(channels_come_first) {
  check_turned<uint8_t>(Dtype::uint8, ElementType::uint8);
  check_turned<float>(Dtype::float32, ElementType::float32);
}

TEST(numbers_lie_behind_the_array_at_a_multiple_of_four_bytes) {
  const ObservationSpec spec = array_of({5}, ElementType::uint8, 2);
  CHECK_EQUAL(spec.features_offset(), 8);
  CHECK_EQUAL(spec.bytes(), 16);
  std::vector<uint8_t> row(20, 99);
  const std::vector<uint8_t> array{1, 2, 3, 4, 5};
  const std::vector<double> value{0.5};
  encode({.key = "obs:image", .kind = Kind::array}, {array.data(), Dtype::uint8, {5}}, 0, spec, row.data());
  encode({.key = "obs:speed", .position = 1}, {value.data(), Dtype::float64, {}}, 0, spec, row.data());
  CHECK(!std::memcmp(row.data(), array.data(), 5));
  for (int i = 5; i < 12; ++i) CHECK_EQUAL(int{row[i]}, 99);  // nobody's bytes, and the first number
  float number;
  std::memcpy(&number, &row[12], sizeof(number));
  CHECK_EQUAL(number, 0.5f);
  for (int i = 16; i < 20; ++i) CHECK_EQUAL(int{row[i]}, 99);
}

}  // namespace
}  // namespace a3c

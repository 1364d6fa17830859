#include "env/envpool/encoding.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>

namespace a3c {
namespace {

struct Named {
  const char* name;
  Dtype dtype;
  int64_t bytes;
};
constexpr Named kDtypes[] = {{"bool", Dtype::boolean, 1},    {"uint8", Dtype::uint8, 1},    {"int8", Dtype::int8, 1},
                             {"int16", Dtype::int16, 2},     {"int32", Dtype::int32, 4},    {"int64", Dtype::int64, 8},
                             {"float32", Dtype::float32, 4}, {"float64", Dtype::float64, 8}};

// Calls visit(values) with a row as a pointer to its own type.
template <typename Visit>
void with_row(const SourceArray& source, int64_t row, const Visit& visit) {
  const auto* data = static_cast<const char*>(source.data) + row * source.size() * bytes_of(source.dtype);
  switch (source.dtype) {
    case Dtype::boolean:
    case Dtype::uint8: return visit(reinterpret_cast<const uint8_t*>(data));
    case Dtype::int8: return visit(reinterpret_cast<const int8_t*>(data));
    case Dtype::int16: return visit(reinterpret_cast<const int16_t*>(data));
    case Dtype::int32: return visit(reinterpret_cast<const int32_t*>(data));
    case Dtype::int64: return visit(reinterpret_cast<const int64_t*>(data));
    case Dtype::float32: return visit(reinterpret_cast<const float*>(data));
    case Dtype::float64: return visit(reinterpret_cast<const double*>(data));
  }
}

// [height, width, channels] -> [channels, height, width].
template <typename T>
void turn(const T* from, int64_t pixels, int64_t channels, T* to) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < pixels; ++p) to[c * pixels + p] = from[p * channels + c];
}

template <typename T>
void write_one_hot(const Encoding& encoding, const T* values, int64_t size, float* to) {
  std::fill_n(to, size * encoding.values, 0.0f);
  for (int64_t i = 0; i < size; ++i, to += encoding.values) {
    const auto value = static_cast<int64_t>(values[i]);
    if (value < encoding.first || value >= encoding.first + encoding.values)
      throw std::runtime_error("an observation's " + encoding.key + " is " + std::to_string(values[i]) +
                               ", outside its own bounds");
    to[value - encoding.first] = 1;
  }
}

}  // namespace

Dtype dtype_named(const std::string& name) {
  for (const Named& dtype : kDtypes)
    if (name == dtype.name) return dtype.dtype;
  throw std::runtime_error("the dtype " + name + " is not supported");
}

int64_t bytes_of(Dtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)].bytes;
}

int64_t SourceArray::size() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

void encode(const Encoding& encoding, const SourceArray& source, int64_t row, const ObservationSpec& spec,
            uint8_t* observation) {
  const int64_t size = source.size();
  float* const numbers = reinterpret_cast<float*>(observation + spec.features_offset()) + encoding.position;
  with_row(source, row, [&]<typename T>(const T* values) {
    switch (encoding.kind) {
      case Encoding::Kind::array: std::memcpy(observation, values, static_cast<size_t>(size) * sizeof(T)); break;
      case Encoding::Kind::channels_last: {
        const int64_t channels = source.shape.back();
        turn(values, size / channels, channels, reinterpret_cast<T*>(observation));
        break;
      }
      case Encoding::Kind::numbers:
        for (int64_t i = 0; i < size; ++i) numbers[i] = static_cast<float>(values[i]) * encoding.scale;
        break;
      case Encoding::Kind::one_hot: write_one_hot(encoding, values, size, numbers); break;
    }
  });
}

}  // namespace a3c

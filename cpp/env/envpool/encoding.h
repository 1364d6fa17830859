// How a pool's arrays, of whatever type, shape and number, become the rows that networks take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "env/spec.h"

namespace a3c {

// The types that EnvPool's arrays have.
enum class Dtype { boolean, uint8, int8, int16, int32, int64, float32, float64 };

// Throws std::runtime_error for another name than NumPy's of these.
Dtype dtype_named(const std::string& name);
int64_t bytes_of(Dtype dtype);

// What becomes of one array.
struct Encoding {
  enum class Kind {
    array,          // it is the array of the observation
    channels_last,  // so it is, from [height, width, channels]
    numbers,        // each element is a number
    one_hot         // each is as many numbers as it has values, one of them 1
  };
  std::string key;  // of the array in the pool's state
  Kind kind = Kind::numbers;
  int64_t position = 0;  // of the first of its numbers among those of the observation
  float scale = 1;       // what numbers are multiplied by
  int64_t first = 0;     // of one_hot: the smallest value ...
  int64_t values = 0;    // ... and how many there are
};

// An array of a pool's state: one row an environment.
struct SourceArray {
  const void* data = nullptr;
  Dtype dtype = Dtype::float32;
  std::vector<int64_t> shape;  // of a row

  int64_t size() const;
};

// Writes what `encoding` makes of row `row` of `source` into an observation. Throws std::runtime_error for a value that
// is none of one_hot's.
void encode(const Encoding& encoding, const SourceArray& source, int64_t row, const ObservationSpec& spec,
            uint8_t* observation);

}  // namespace a3c

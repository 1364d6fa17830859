// Where a parameter lies in the flat vector that the workers share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace a3c {

// Each begins on a cache line; what lies between is zero and stays zero.
struct ParameterSpec {
  std::string name;
  std::vector<int64_t> shape;  // as in the module; convolutions [out, in, height, width] ...
  bool channels_last;          // ... lie in memory as [out, height, width, in]
  int64_t offset;
};

}  // namespace a3c

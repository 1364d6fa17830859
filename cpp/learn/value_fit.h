// How well V(s) fits the returns: explained variance, from sums that add up over rollouts and workers.
#pragma once

#include <cstdint>

namespace a3c {

// Sums over valid samples, in double: of returns R and of errors R - V(s).
struct ValueFit {
  double samples = 0;
  double returns = 0, squared_returns = 0;
  double errors = 0, squared_errors = 0;

  ValueFit& operator+=(const ValueFit& other);
  // 1 - Var(R - V) / Var(R): 1 where V is R, 0 where it is no better than a constant, without limit below. NaN where
  // there is no sample, and where the returns differ by no more than their rounding.
  double explained_variance() const;
};

// valid, values, returns: [num_samples].
ValueFit value_fit(int64_t num_samples, const uint8_t* valid, const float* values, const float* returns);

}  // namespace a3c

#include "learn/value_fit.h"

#include <limits>

namespace a3c {
namespace {

// Of the mean square: the square of what a float is rounded by is 1.4e-14 of it.
constexpr double kRounding = 1e-13;

}  // namespace

ValueFit& ValueFit::operator+=(const ValueFit& other) {
  samples += other.samples;
  returns += other.returns;
  squared_returns += other.squared_returns;
  errors += other.errors;
  squared_errors += other.squared_errors;
  return *this;
}

double ValueFit::explained_variance() const {
  const double mean_square = squared_returns / samples;
  const double variance = mean_square - (returns / samples) * (returns / samples);
  const double left = squared_errors / samples - (errors / samples) * (errors / samples);
  // Not a number without samples, and then no greater.
  return variance > kRounding * mean_square ? 1.0 - left / variance : std::numeric_limits<double>::quiet_NaN();
}

ValueFit value_fit(int64_t num_samples, const uint8_t* valid, const float* values, const float* returns) {
  ValueFit fit;
  for (int64_t i = 0; i < num_samples; ++i) {
    if (!valid[i]) continue;
    const double target = returns[i];
    const double error = target - values[i];
    fit.samples += 1;
    fit.returns += target;
    fit.squared_returns += target * target;
    fit.errors += error;
    fit.squared_errors += error * error;
  }
  return fit;
}

}  // namespace a3c

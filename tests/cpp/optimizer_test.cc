#include "learn/optimizer.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"
#include "learn/random.h"

namespace a3c {
namespace {

std::vector<float> random_floats(size_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = 2 * random.uniform() - 1;
  return values;
}

TEST(the_norm_counts_every_element) {
  for (const size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{1000}, size_t{100003}}) {
    const std::vector<float> gradient = random_floats(size, size);
    double squares = 0;
    for (const float g : gradient) squares += double{g} * g;
    CHECK_CLOSE(squared_norm(gradient.data(), static_cast<int64_t>(size)), squares, 1e-5 * squares);
  }
}

TEST(the_scale_brings_the_norm_down_to_the_limit_and_never_up) {
  CHECK_CLOSE(clip_scale_of(5, 0.5), 0.1, 1e-7);
  CHECK_EQUAL(clip_scale_of(5, 5.1), 1.0f);
  CHECK_EQUAL(clip_scale_of(5, 0), 1.0f);  // 0: no clipping
  CHECK_EQUAL(clip_scale_of(0, 0.5), 1.0f);
}

TEST(a_gradient_that_is_not_finite_has_a_norm_that_is_not) {
  constexpr float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (const float odd : {nan, inf, -inf})
    for (const size_t at : {size_t{0}, size_t{7}, size_t{16}, size_t{39}}) {  // 39: in the rest that no vector takes
      std::vector<float> gradient(40, 0.1f);
      gradient[at] = odd;
      CHECK(!std::isfinite(squared_norm(gradient.data(), 40)));
    }
}

TEST(rmsprop_equals_the_paper) {
  const size_t size = 37;
  const std::vector<float> gradient = random_floats(size, 1);
  std::vector<float> mean_square(size, 0.25f), parameters = random_floats(size, 2);
  std::vector<double> g(mean_square.begin(), mean_square.end()), theta(parameters.begin(), parameters.end());
  for (int step = 0; step < 3; ++step) {
    rmsprop_update(size, gradient.data(), 0.5f, 7e-3f, 0.99f, 0.1f, mean_square.data(), parameters.data());
    for (size_t i = 0; i < size; ++i) {
      const double d = 0.5 * gradient[i];
      g[i] = 0.99 * g[i] + 0.01 * d * d;
      theta[i] -= 7e-3 * d / std::sqrt(g[i] + 0.1);  // eps inside the root
      CHECK_CLOSE(mean_square[i], g[i], 1e-6);
      CHECK_CLOSE(parameters[i], theta[i], 1e-6);
    }
  }
}

TEST(adam_equals_the_paper) {
  const size_t size = 37;
  std::vector<float> m(size), v(size), parameters = random_floats(size, 2);
  std::vector<double> slow_m(size), slow_v(size), theta(parameters.begin(), parameters.end());
  for (int step = 1; step <= 5; ++step) {
    const std::vector<float> gradient = random_floats(size, static_cast<uint64_t>(10 + step));
    const AdamRates rates = adam_rates(1e-2, 0.9, 0.999, 1e-5, step);
    adam_update(size, gradient.data(), 0.5f, rates, m.data(), v.data(), parameters.data());
    for (size_t i = 0; i < size; ++i) {
      const double d = 0.5 * gradient[i];
      slow_m[i] = 0.9 * slow_m[i] + 0.1 * d;
      slow_v[i] = 0.999 * slow_v[i] + 0.001 * d * d;
      theta[i] -=
          1e-2 * (slow_m[i] / (1 - std::pow(0.9, step))) / (std::sqrt(slow_v[i] / (1 - std::pow(0.999, step))) + 1e-5);
      CHECK_CLOSE(m[i], slow_m[i], 1e-6);
      CHECK_CLOSE(v[i], slow_v[i], 1e-6);
      CHECK_CLOSE(parameters[i], theta[i], 1e-5);
    }
  }
}

TEST(the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient) {
  for (const float gradient : {1e-2f, 1.0f, 1e3f}) {
    float m = 0, v = 0, parameter = 0;
    adam_update(1, &gradient, 1.0f, adam_rates(1e-3, 0.9, 0.999, 1e-8, 1), &m, &v, &parameter);
    CHECK_CLOSE(parameter, -1e-3, 1e-7);
  }
}

TEST(a_gradient_of_0_changes_no_parameter) {
  const std::vector<float> gradient(20);
  std::vector<float> statistic(20, 0.5f), moment(20), parameters(20, 1.0f);
  rmsprop_update(20, gradient.data(), 1.0f, 0.1f, 0.99f, 1e-5f, statistic.data(), parameters.data());
  for (const float parameter : parameters) CHECK_EQUAL(parameter, 1.0f);
  CHECK_CLOSE(statistic[0], 0.495, 1e-6);
  adam_update(20, gradient.data(), 1.0f, adam_rates(0.1, 0.9, 0.999, 1e-5, 1), moment.data(), statistic.data(),
              parameters.data());
  for (const float parameter : parameters) CHECK_EQUAL(parameter, 1.0f);
}

}  // namespace
}  // namespace a3c

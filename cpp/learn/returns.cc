#include "learn/returns.h"

#include <cmath>

namespace a3c {

void n_step_returns(int t_max, int num_envs, const float* rewards, const uint8_t* done, const uint8_t* bootstraps,
                    const float* values, double gamma, float* returns, float* advantages) {
  const auto discount = static_cast<float>(gamma);
  for (int t = t_max - 1; t >= 0; --t) {
    for (int k = 0; k < num_envs; ++k) {
      const int64_t i = int64_t{t} * num_envs + k;
      const int64_t next = i + num_envs;
      const bool at_cut = t == t_max - 1 || done[i];
      const float next_return = at_cut ? (bootstraps[i] ? values[next] : 0.0f) : returns[next];
      returns[i] = rewards[i] + discount * next_return;
      advantages[i] = returns[i] - values[i];
    }
  }
}

void gae(int t_max, int num_envs, const float* rewards, const uint8_t* done, const uint8_t* bootstraps,
         const float* values, double gamma, double lambda, float* returns, float* advantages) {
  const auto discount = static_cast<float>(gamma);
  const auto trace = static_cast<float>(gamma * lambda);
  for (int t = t_max - 1; t >= 0; --t) {
    for (int k = 0; k < num_envs; ++k) {
      const int64_t i = int64_t{t} * num_envs + k;
      const int64_t next = i + num_envs;
      const float delta = rewards[i] + (bootstraps[i] ? discount * values[next] : 0.0f) - values[i];
      const bool at_cut = t == t_max - 1 || done[i];
      advantages[i] = delta + (at_cut ? 0.0f : trace * advantages[next]);
      returns[i] = advantages[i] + values[i];
    }
  }
}

void normalize_advantages(int64_t num_samples, const uint8_t* valid, float* advantages) {
  double sum = 0, squares = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < num_samples; ++i) {
    if (!valid[i]) continue;
    sum += advantages[i];
    ++count;
  }
  if (count == 0) return;
  const double mean = sum / static_cast<double>(count);
  for (int64_t i = 0; i < num_samples; ++i)
    if (valid[i]) squares += (advantages[i] - mean) * (advantages[i] - mean);
  if (squares == 0) return;
  const double deviation = std::sqrt(squares / static_cast<double>(count));
  for (int64_t i = 0; i < num_samples; ++i)
    if (valid[i]) advantages[i] = static_cast<float>((advantages[i] - mean) / (deviation + 1e-8));
}

}  // namespace a3c

// n-step returns and generalized advantage estimation; pure functions.
//
// All arrays are time-major: [t_max][K], values [t_max + 1][K]. `done[t]` cuts the sum after step t; `bootstraps[t]`
// says whether V(s_{t+1}) still counts there: yes at a truncation, no at a termination. Entries of reset steps are
// computed like any other and carry no meaning: the loss masks them, and nothing before them reads past `done`.
#pragma once

#include <cstdint>

namespace a3c {

// R_t = r_t + gamma * R_{t+1}, begun at R_{t_max} = V(s_{t_max}); after a done step R_{t+1} is V(s_{t+1}) or 0.
// Mnih et al. 2016, Algorithm S3. Advantage: A_t = R_t - V(s_t).
void n_step_returns(int t_max, int num_envs, const float* rewards, const uint8_t* done, const uint8_t* bootstraps,
                    const float* values, double gamma, float* returns, float* advantages);

// A_t = delta_t + gamma * lambda * A_{t+1} (0 after a done step), delta_t = r_t + gamma V(s_{t+1}) - V(s_t),
// return R_t = A_t + V(s_t). Schulman et al. 2016 (arXiv 1506.02438), equation 16; lambda = 1 is the n-step return.
void gae(int t_max, int num_envs, const float* rewards, const uint8_t* done, const uint8_t* bootstraps,
         const float* values, double gamma, double lambda, float* returns, float* advantages);

// To mean 0 and standard deviation 1 over the valid samples of a rollout; the others keep what they have. Where there
// is no deviation to divide by, with one valid sample or equal ones, all keep it: 0 would teach the policy nothing.
void normalize_advantages(int64_t num_samples, const uint8_t* valid, float* advantages);

}  // namespace a3c

// The ceilings: a part of training by as many threads as train, and nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "config.h"
#include "env/env_client.h"

namespace a3c {

// The environments, with random actions. One thread a client, each stepping until all together have made `steps`
// environment steps; returns how many they made, at most one batch a client more. Blocks; rethrows the first exception
// of a client after all have ended. `started` says which clients have been received from before (the first recv() of a
// client shows the reset).
int64_t step_randomly(const std::vector<EnvClient*>& clients, std::vector<uint8_t>& started, int64_t steps,
                      uint64_t seed);

// The shared parameters, with gradients of zeros: `threads` threads pull and push `parameters` floats as workers do,
// each from a place of its own on, for `seconds`, one at least; returns how many updates they made. Blocks.
int64_t update_alone(int64_t parameters, const OptimizerConfig& optimizer, int threads, double seconds);

}  // namespace a3c

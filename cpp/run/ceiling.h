// The ceiling: the environments of a run stepped by as many threads with random actions, and nothing else.
#pragma once

#include <cstdint>
#include <vector>

#include "env/env_client.h"

namespace a3c {

// One thread a client, each stepping until all together have made `steps` environment steps; returns how many they
// made, at most one batch a client more. Blocks; rethrows the first exception of a client after all have ended.
// `started` says which clients have been received from before (the first recv() of a client shows the reset).
int64_t step_randomly(const std::vector<EnvClient*>& clients, std::vector<uint8_t>& started, int64_t steps,
                      uint64_t seed);

}  // namespace a3c

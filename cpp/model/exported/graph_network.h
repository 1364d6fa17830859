// A worker's copy of a network of the user's own.
#pragma once

#include <memory>

#include "config.h"
#include "model/network.h"

namespace a3c {

// Runs config.exported with LibTorch's autograd. It has graphs for as many observations as a worker acts for at once
// and as an update learns from; a recurrent network goes through an update step by step.
std::unique_ptr<Network> make_graph_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock);

}  // namespace a3c

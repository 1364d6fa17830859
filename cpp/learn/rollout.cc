#include "learn/rollout.h"

#include <cstddef>

namespace a3c {

Rollout::Rollout(int t_max, const EnvSpec& spec, int num_outputs)
    : t_max(t_max),
      num_envs(spec.num_envs),
      num_outputs(num_outputs),
      action_size(spec.action.size()),
      observation_bytes(spec.observation.bytes()),
      observations(static_cast<size_t>((t_max + 1) * spec.num_envs * spec.observation.bytes())),
      actions(static_cast<size_t>(size() * action_size)),
      policy(static_cast<size_t>((size() + num_envs) * num_outputs)),
      values(static_cast<size_t>(size() + num_envs)),
      rewards(static_cast<size_t>(size())),
      done(static_cast<size_t>(size())),
      bootstraps(static_cast<size_t>(size())),
      valid(static_cast<size_t>(size())),
      starts(static_cast<size_t>(size() + num_envs), 1),
      masks(static_cast<size_t>(spec.action.masked ? (size() + num_envs) * num_outputs : 0), 1),
      returns(static_cast<size_t>(size())),
      advantages(static_cast<size_t>(size())) {}

}  // namespace a3c

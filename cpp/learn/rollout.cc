#include "learn/rollout.h"

namespace a3c {

Rollout::Rollout(int t_max, const EnvSpec& spec)
    : t_max(t_max),
      num_envs(spec.num_envs),
      num_actions(spec.num_actions),
      observation_bytes(spec.observation_bytes()),
      observations(static_cast<size_t>((t_max + 1) * spec.num_envs * spec.observation_bytes())),
      actions(static_cast<size_t>(size())),
      logits(static_cast<size_t>((size() + num_envs) * num_actions)),
      values(static_cast<size_t>(size() + num_envs)),
      rewards(static_cast<size_t>(size())),
      done(static_cast<size_t>(size())),
      bootstraps(static_cast<size_t>(size())),
      valid(static_cast<size_t>(size())),
      starts(static_cast<size_t>(size() + num_envs), 1),
      returns(static_cast<size_t>(size())),
      advantages(static_cast<size_t>(size())) {}

}  // namespace a3c

// What a worker needs of a batch of environments: receive a step, send the actions.
//
// Who calls: one worker thread, alternately recv() and send(), beginning with recv(), which returns the
// observations of the reset. recv() blocks until every environment of the batch has stepped and has no timeout;
// a worker therefore stops only after a recv() and before its next send(). Neither takes the GIL.
// Autoreset is next-step: the send() after `done` starts a new episode, ignores the action and earns reward 0.
#pragma once

#include <cstdint>
#include <string>

#include "config.h"

namespace a3c {

// One step of K environments; the arrays have K elements and live until the next recv().
struct StepBatch {
  const float* reward;           // what the agent learns from (clipped when asked)
  const float* raw_reward;       // what the game paid
  const uint8_t* done;           // the next step is a reset step (a lost life counts when asked)
  const uint8_t* bootstraps;     // 1 unless this step truly ended things: !done || (truncated && !terminated)
  const uint8_t* episode_ended;  // terminated || truncated: never a lost life
};

class EnvClient {
 public:
  virtual ~EnvClient() = default;

  virtual const EnvSpec& spec() const = 0;

  // Waits for the step that the last send() began and writes K observations, C-contiguous, to `observations`.
  virtual const StepBatch& recv(void* observations) = 0;

  // Begins the next step. `actions`: K indices in [0, num_actions).
  virtual void send(const int32_t* actions) = 0;

  // The state between a recv() and the next send(), for environments that can be continued exactly; empty for
  // those that cannot (EnvPool), which begin new episodes when a run is resumed. After load_state() the next recv()
  // shows the saved step again. Both, and that recv(), may be called by any thread while no worker runs.
  virtual std::string save_state() const { return {}; }
  virtual void load_state(const std::string&) {}
};

}  // namespace a3c

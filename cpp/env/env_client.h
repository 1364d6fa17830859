// What a worker needs of a batch of environments: receive a step, send the actions.
//
// Who calls: one worker thread, alternately recv() and send(), beginning with recv(), which returns the
// observations of the reset. recv() blocks until every environment of the batch has stepped and has no timeout;
// a worker therefore stops only after a recv() and before its next send(). Neither takes the GIL.
// Autoreset is next-step: the send() after `episode_ended` only resets and ignores the action (of FakeEnv also the one
// after a lost life). Only the client knows that, so it says of each step whether it was the agent's own and whether an
// episode begins.
#pragma once

#include <cstdint>
#include <string>

#include "env/spec.h"

namespace a3c {

// One step of K environments; the arrays have K elements and live until the next recv().
struct StepBatch {
  const float* reward;           // what the agent learns from (clipped when asked)
  const float* raw_reward;       // what the game paid
  const uint8_t* done;           // the return ends here: an episode has ended or, when asked, a life is lost
  const uint8_t* bootstraps;     // 0 where this step ended things: terminated, or a life was lost when asked
  const uint8_t* episode_ended;  // terminated || truncated, never a lost life
  const uint8_t* valid;          // the action was the agent's: 0 for a reset step, whose rewards are nobody's
  const uint8_t* starts;         // the observation is the first of an episode

  // Where ActionSpec::masked: of each environment a byte for each choice of each component, one after the other; 0 for
  // what is not allowed at this observation.
  const uint8_t* action_masks = nullptr;
  // From environments that begin the next episode within the step that ends one: rows like the observations, of which
  // those of environments in `has_final` [K] are what an episode was truncated at. `bootstraps` is 0 for such a step,
  // and what the agent could still expect there is added to its reward. Null where there is no such row; they
  // live until the next send().
  const void* final_observations = nullptr;
  const uint8_t* has_final = nullptr;
};

class EnvClient {
 public:
  virtual ~EnvClient() = default;

  virtual const EnvSpec& spec() const = 0;

  // Waits for the step that the last send() began and writes K observations, rows of spec().observation.bytes() at a
  // multiple of four bytes, one after another to `observations`.
  virtual const StepBatch& recv(void* observations) = 0;

  // Begins the next step. `actions`: K rows of spec().action.size() components, see ActionSpec. Throws
  // std::out_of_range for what is no action; what an environment would do with it is not known: some hang, some die.
  virtual void send(const float* actions) = 0;

  // The state between a recv() and the next send(), for environments that can be continued exactly; empty for
  // those that cannot (EnvPool), which begin new episodes when a run is resumed. After load_state() the next recv()
  // shows the saved step again. Both, and that recv(), may be called by any thread while no worker runs.
  virtual std::string save_state() const { return {}; }
  virtual void load_state(const std::string&) {}
};

}  // namespace a3c

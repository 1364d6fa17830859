// What a worker needs of its copy of the network, theta': act step by step, then the gradients of the whole rollout.
//
// Parameters do not change within a rollout, so an implementation may keep what acting computed for the backward
// pass. One thread at a time; nothing is shared. Two implementations: LibTorch's autograd, which is the definition
// and serves every model, and our own kernels for the convolutional ones.
#pragma once

#include <cstdint>
#include <memory>

#include "config.h"
#include "model/recurrence.h"
#include "stages.h"

namespace a3c {

class Network {
 public:
  virtual ~Network() = default;

  virtual int64_t size() const = 0;            // of the flat vectors, padding included
  virtual float* parameters() = 0;             // [size]; parameters_changed() must follow a write
  virtual const float* gradients() const = 0;  // [size], of the last compute_gradients()
  virtual void parameters_changed() = 0;

  // The policy and value of step t in [0, t_max] for all environments of the rollout, whose steps go up from 0.
  // observations [num_envs][...]; starts [num_envs], where an episode begins -> logits [num_envs][num_actions], values
  // [num_envs].
  virtual void act(int t, const void* observations, const uint8_t* starts, float* logits, float* values) = 0;

  // act() again for some samples of the rollout, under parameters that have changed since. Sample t * num_envs + k is
  // step t of environment k. A recurrent network must be given all steps of its environments, [t_max][count / t_max];
  // it begins again from the state in which the rollout began. observations [t_max][num_envs][...], samples [count] ->
  // logits [count][num_actions], values [count].
  virtual void evaluate(const void* observations, const int64_t* samples, int64_t count, float* logits,
                        float* values) = 0;

  // d(loss)/d(parameters) into gradients(), from d(loss)/d(outputs), for samples that act() or evaluate() has just gone
  // through; truncated there, where the rollout begins. observations [t_max][num_envs][...]; samples [count], d_logits
  // [count][num_actions], d_values [count].
  virtual void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_logits,
                                 const float* d_values) = 0;

  // The LSTM's memory, with state_size 0 where there is none; the worker carries it from rollout to rollout.
  virtual Recurrence& recurrence() = 0;
};

// The fastest implementation for this model on this CPU; the environment variable A3C_FAST_ISA chooses another. It
// laps `clock`, which must outlive it, at the end of each of its stages.
std::unique_ptr<Network> make_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock);

}  // namespace a3c

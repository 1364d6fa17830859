// What a worker needs of its copy of the network, theta': act step by step, then the gradients of the whole rollout.
//
// Parameters do not change within a rollout, so an implementation may keep what acting computed for the backward
// pass. One thread at a time; nothing is shared. Four implementations: LibTorch's autograd, which is the
// definition and serves every model of ours; our own kernels for the convolutional ones and for those of fully
// connected layers; and what runs a network of the user's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "config.h"
#include "model/parameter_spec.h"
#include "model/recurrence.h"
#include "stages.h"

namespace a3c {

// What takes a piece of a gradient: [count] of it, from `offset` of the flat vector on.
using GradientReader = std::function<void(int64_t offset, int64_t count, const float* gradient)>;

class Network {
 public:
  virtual ~Network() = default;

  virtual int64_t size() const = 0;  // of the flat vectors, padding included
  virtual float* parameters() = 0;   // [size]; parameters_changed() must follow a write
  virtual void parameters_changed() = 0;

  // The policy and value of step t in [0, t_max] for all environments of the rollout, whose steps go up from 0.
  // observations [num_envs][...]; starts [num_envs], where an episode begins -> policy [num_envs][num_outputs], values
  // [num_envs].
  virtual void act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) = 0;

  // act() again for some samples of the rollout, under parameters that have changed since. Sample t * num_envs + k is
  // step t of environment k. A recurrent network must be given all steps of its environments, [t_max][count / t_max];
  // it begins again from the state in which the rollout began. observations [t_max][num_envs][...], samples [count] ->
  // policy [count][num_outputs], values [count].
  virtual void evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy,
                        float* values) = 0;

  // d(loss)/d(parameters) from d(loss)/d(outputs), for samples that act() or evaluate() has just gone
  // through; truncated there, where the rollout begins. observations [t_max][num_envs][...]; samples [count], d_policy
  // [count][num_outputs], d_values [count].
  virtual void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                                 const float* d_values) = 0;

  // Of the last compute_gradients(): the squared global norm, and the gradients themselves, in pieces that cover
  // every parameter once. They need not all exist at once: most of them are one product of two thin matrices. The first
  // piece lies near the share `from` in [0, 1) of the vector.
  virtual double squared_gradient_norm() const = 0;
  virtual void read_gradients(double from, const GradientReader& read) = 0;

  // What it remembers, with state_size 0 where that is nothing; the worker carries it from rollout to rollout.
  virtual Recurrence& recurrence() = 0;
};

// The fastest implementation for this model on this CPU; the environment variable A3C_FAST_ISA chooses another. It
// laps `clock`, which must outlive it, at the end of each of its stages.
std::unique_ptr<Network> make_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock);

// Where the parameters lie in the flat vector, and what they begin with: random numbers of `seed`, or what the user's
// own network had.
struct InitialParameters {
  std::vector<ParameterSpec> specs;
  std::vector<float> values;  // [size]
};
InitialParameters initial_parameters(const ModelConfig& config, uint64_t seed);

// Gives `read` a gradient that lies in memory.
void read_whole_gradient(const float* gradient, int64_t size, double from, const GradientReader& read);

// The name of the kernels that it takes, as A3C_FAST_ISA has it. Throws std::invalid_argument when neither this network
// nor this CPU has any of `config.precision`, std::runtime_error when A3C_FAST_ISA names some that it cannot take.
const char* network_isa(const ModelConfig& config);

// Whether LibTorch takes this network, more slowly than kernels would, because there are none for CPUs like this one.
bool lacks_kernels(const ModelConfig& config);

}  // namespace a3c

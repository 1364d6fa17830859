// A worker's own copy of the network: theta' of the paper, its forward pass and its gradients.
//
// Parameters and gradients are two flat buffers; the LibTorch module's tensors are views into them, so that a pull
// is one copy in and a push one pass out. One thread at a time. This header knows no torch: it may be included
// anywhere.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "config.h"
#include "model/parameter_spec.h"
#include "model/recurrence.h"

namespace a3c {

class Replica {
 public:
  explicit Replica(const ModelConfig& config);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  const std::vector<ParameterSpec>& parameter_specs() const;
  int64_t size() const;            // of the flat vectors, padding included
  float* parameters();             // [size]
  const float* gradients() const;  // [size], of the last call of compute_gradients()

  void initialize(uint64_t seed);

  // observations [num_samples][...] -> policy [num_samples][num_outputs], values [num_samples].
  void forward(const void* observations, int64_t num_samples, const Sequences& sequences, float* policy, float* values);

  // The same for observations samples[0 .. count - 1] of more: samples [count] -> policy [count][num_outputs], values
  // [count]. `sequences` matters to a recurrent network alone.
  void forward(const void* observations, const int64_t* samples, int64_t count, const Sequences& sequences,
               float* policy, float* values);

  // d(loss)/d(parameters) into gradients(), from d(loss)/d(outputs), for observations samples[0 .. count - 1]. samples
  // [count], d_policy [count][num_outputs], d_values [count].
  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const Sequences& sequences,
                         const float* d_policy, const float* d_values);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace a3c

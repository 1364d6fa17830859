// The shared parameter vector theta and its optimizer statistics: the one place where threads race on purpose.
//
// Hogwild (Recht et al. 2011, arXiv 1106.5730): pull() and push() read and write the same floats from any number of
// threads without a lock. An update may be lost in part and a copy may mix two versions; aligned 32-bit floats are
// never torn on the machines we build for. Relaxed atomics would say so to the compiler, but keep it from using
// vectors (1,340 us a push instead of 100 for 680k parameters). ThreadSanitizer is told of these functions alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "config.h"
#include "learn/optimizer.h"

namespace a3c {

class SharedParams {
 public:
  SharedParams(int64_t size, const OptimizerConfig& optimizer);

  int64_t size() const { return static_cast<int64_t>(parameters_.size()); }

  // theta' <- theta. Any thread, any time.
  void pull(float* destination) const;

  // One optimizer step with a gradient of our own, which comes in pieces: begin_push() counts it, and push() applies
  // what belongs to the elements from `offset` on. Any thread, any time. Each worker should begin at a place of its
  // own: two in lockstep over the same cache lines take 3.5 ms, not 0.1.
  struct Push {
    float clip_scale;  // multiplies the gradient
    float learning_rate;
    AdamRates adam;
  };
  Push begin_push(float clip_scale, double learning_rate);
  void push(const Push& push, int64_t offset, int64_t count, const float* gradient);

  // theta <- theta + delta: what others have learned, see run/agreement.h. Any thread, any time.
  void add(const float* delta);

  int64_t updates() const { return updates_.load(std::memory_order_relaxed); }

  // For checkpoints: the optimizer's vectors in the order of statistic_names().
  std::vector<const char*> statistic_names() const;
  void read_statistic(size_t index, float* destination) const;

  // Only while no worker runs.
  void load(const float* parameters, const std::vector<const float*>& statistics, int64_t updates);

 private:
  const OptimizerConfig optimizer_;
  std::vector<float> parameters_;               // racy on purpose, because Hogwild
  std::vector<std::vector<float>> statistics_;  // racy on purpose, because Hogwild: {g} of RMSProp or {m, v} of Adam
  std::atomic<int64_t> updates_{0};             // atomic; the shared step count of Adam
};

}  // namespace a3c

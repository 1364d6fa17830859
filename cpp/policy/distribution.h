// What a policy's outputs mean: the parameters of a distribution of actions. All that acting and learning know of a
// kind of action is here; each kind is a file beside this one.
//
// A call is for a whole batch. Stateless and shared by nobody: any thread may call anything.
// outputs [count][num_outputs], actions [count][action_size], all else [count].
#pragma once

#include <cstdint>
#include <memory>

#include "env/spec.h"
#include "learn/random.h"

namespace a3c {

class Distribution {
 public:
  virtual ~Distribution() = default;

  virtual int num_outputs() const = 0;  // of the policy, for one sample
  virtual int action_size() const = 0;  // components of an action

  // a ~ pi(.|s).
  virtual void sample(int64_t count, const float* outputs, Random& random, float* actions) const = 0;

  // The most probable action.
  virtual void mode(int64_t count, const float* outputs, float* actions) const = 0;

  // log pi(a|s), for continuous actions of the density.
  virtual void log_prob(int64_t count, const float* outputs, const float* actions, float* log_probs) const = 0;

  // log pi(a|s) and the entropy H(pi(.|s)) in nats; in `work` [count][num_outputs] what gradient() goes on from.
  virtual void evaluate(int64_t count, const float* outputs, const float* actions, float* log_probs, float* entropies,
                        float* work) const = 0;

  // d/d(outputs) of -weight log pi(a|s) - entropy_coef H, times `scale`, for each sample by itself, after evaluate() of
  // the same samples; `work` becomes the gradient.
  virtual void gradient(int64_t count, const float* outputs, const float* actions, const float* weights,
                        const float* entropies, float entropy_coef, float scale, float* work) const = 0;
};

// The logits of what is not allowed become so low that its probability and its gradient are 0. masks: a byte for each
// of `size` logits.
void forbid(int64_t size, const uint8_t* masks, float* logits);

// The distribution for actions of this kind: Categorical, MultiCategorical or Gaussian.
std::unique_ptr<const Distribution> make_distribution(const ActionSpec& action);

}  // namespace a3c

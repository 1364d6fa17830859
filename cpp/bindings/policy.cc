// What a policy's outputs mean, for evaluation.
#include <memory>

#include "bindings/python.h"
#include "learn/random.h"
#include "policy/distribution.h"

namespace a3c::bindings {
namespace {

struct BoundDistribution {
  explicit BoundDistribution(const ActionSpec& action) : distribution(make_distribution(action)) {}

  py::ssize_t count_of(const Floats& policy) const {
    require(policy.ndim() == 2 && policy.shape(1) == distribution->num_outputs(), "policy must be [N][num_outputs]");
    return policy.shape(0);
  }
  py::array_t<float> room_for_actions(py::ssize_t count) const {
    return py::array_t<float>({count, py::ssize_t{distribution->action_size()}});
  }

  std::unique_ptr<const Distribution> distribution;
};

py::tuple evaluate(const BoundDistribution& self, const Floats& policy, const Floats& actions) {
  const py::ssize_t count = self.count_of(policy);
  require(actions.size() == count * self.distribution->action_size(), "actions must be [N][action_size]");
  py::array_t<float> log_probs(count), entropies(count), work({count, policy.shape(1)});
  self.distribution->evaluate(count, policy.data(), actions.data(), log_probs.mutable_data(), entropies.mutable_data(),
                              work.mutable_data());
  return py::make_tuple(log_probs, entropies);
}

}  // namespace

void bind_policy(py::module_& m) {
  py::class_<Random>(m, "Random")
      .def(py::init([](uint64_t seed, uint64_t stream) { return worker_random(seed, stream); }), "seed"_a, "stream"_a);
  py::class_<BoundDistribution>(m, "Distribution")
      .def(py::init<const ActionSpec&>(), "action"_a)
      .def_property_readonly("num_outputs", [](const BoundDistribution& d) { return d.distribution->num_outputs(); })
      .def_property_readonly("action_size", [](const BoundDistribution& d) { return d.distribution->action_size(); })
      .def(
          "sample",
          [](const BoundDistribution& self, const Floats& policy, Random& random) {
            const py::ssize_t count = self.count_of(policy);
            py::array_t<float> actions = self.room_for_actions(count);
            self.distribution->sample(count, policy.data(), random, actions.mutable_data());
            return actions;
          },
          "policy"_a, "random"_a)
      .def(
          "mode",
          [](const BoundDistribution& self, const Floats& policy) {
            const py::ssize_t count = self.count_of(policy);
            py::array_t<float> actions = self.room_for_actions(count);
            self.distribution->mode(count, policy.data(), actions.mutable_data());
            return actions;
          },
          "policy"_a)
      .def("evaluate", &evaluate, "policy"_a, "actions"_a);
}

}  // namespace a3c::bindings

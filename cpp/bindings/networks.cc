// The networks by themselves, for the tests to compare: LibTorch's replica, and the network that a worker would have.
#include <algorithm>
#include <memory>
#include <numeric>
#include <optional>
#include <vector>

#include "bindings/parameter_specs.h"
#include "bindings/python.h"
#include "learn/normalizer.h"
#include "model/network.h"
#include "model/replica.h"
#include "model/threads.h"
#include "run/forks.h"

namespace a3c::bindings {
namespace {

// Rows as a client's recv() has them: uint8 [N][observation.bytes()].
py::ssize_t sample_count(const py::array& observations, const ModelConfig& config) {
  require(py::isinstance<py::array_t<uint8_t>>(observations) && (observations.flags() & py::array::c_style) != 0 &&
              observations.ndim() == 2 && observations.shape(1) == config.observation.bytes(),
          "observations must be rows of the model's observation: C-contiguous bytes");
  return observations.shape(0);
}

// The calling thread is the program's, and so are LibTorch's settings.
struct Independent {
  Computing computing;
  NewThreadTorch thread;
  ExactFloat32 process;
};

struct BoundReplica {
  explicit BoundReplica(const ModelConfig& model) : config(model), replica(model) {}
  ModelConfig config;
  Replica replica;
};

py::tuple replica_forward(BoundReplica& self, const py::array& observations) {
  const py::ssize_t n = sample_count(observations, self.config);
  py::array_t<float> policy({n, static_cast<py::ssize_t>(self.config.num_outputs)}), values(n);
  const void* data = observations.data();
  float* policy_data = policy.mutable_data();
  float* values_data = values.mutable_data();
  without_gil([&] {
    const Independent independent;
    self.replica.forward(data, n, {}, policy_data, values_data);
  });
  return py::make_tuple(policy, values);
}

py::array_t<float> replica_gradients(BoundReplica& self, const py::array& observations, const Floats& d_policy,
                                     const Floats& d_values) {
  const py::ssize_t n = sample_count(observations, self.config);
  require(d_policy.size() == n * self.config.num_outputs && d_values.size() == n,
          "d_policy must be [N][num_outputs] and d_values [N]");
  const void* data = observations.data();
  std::vector<int64_t> samples(static_cast<size_t>(n));
  std::iota(samples.begin(), samples.end(), 0);
  // LibTorch's autograd refuses to run under the GIL.
  without_gil([&] {
    const Independent independent;
    renew_autograd();
    self.replica.compute_gradients(data, samples.data(), n, {}, d_policy.data(), d_values.data());
  });
  return copy_of(self.replica.gradients(), self.replica.size());
}

// The network that a worker would have, for one step of `num_envs` environments.
struct BoundNetwork {
  BoundNetwork(const ModelConfig& model, int num_envs)
      : config(model), num_envs(num_envs), network(make_network(model, 1, num_envs, clock)) {}
  ModelConfig config;
  int num_envs;
  StageClock clock{};
  std::unique_ptr<Network> network;
  std::optional<ObservationScale> scale;  // where observations are normalized before they come to the network
};

// Normalizes by these from now on. mean, variance [num_features].
void network_set_normalization(BoundNetwork& self, const Doubles& mean, const Doubles& variance) {
  const int64_t size = self.config.observation.num_features;
  require(mean.size() == size && variance.size() == size, "the moments are of other observations");
  self.scale.emplace(size);
  self.scale->set(mean.data(), variance.data());
}

// The rows with their numbers normalized, in `room`.
const void* normalized_rows(const BoundNetwork& self, const void* rows, std::vector<uint8_t>& room) {
  if (!self.scale) return rows;
  const ObservationSpec& spec = self.config.observation;
  const auto* bytes = static_cast<const uint8_t*>(rows);
  room.assign(bytes, bytes + self.num_envs * spec.bytes());
  for (int env = 0; env < self.num_envs; ++env) {
    auto* numbers = reinterpret_cast<float*>(room.data() + env * spec.bytes() + spec.features_offset());
    self.scale->apply(numbers, numbers);
  }
  return room.data();
}

void network_set_parameters(BoundNetwork& self, const Floats& flat) {
  require(flat.size() == self.network->size(), "the parameters are of another network");
  std::copy_n(flat.data(), flat.size(), self.network->parameters());
  self.network->parameters_changed();
}

py::tuple network_act(BoundNetwork& self, const py::array& observations, const Bytes& starts) {
  require(sample_count(observations, self.config) == self.num_envs && starts.size() == self.num_envs,
          "observations and starts must be [num_envs]");
  py::array_t<float> policy({self.num_envs, self.config.num_outputs}), values(self.num_envs);
  const void* data = observations.data();
  const uint8_t* starts_data = starts.data();
  float* policy_data = policy.mutable_data();
  float* values_data = values.mutable_data();
  without_gil([&] {
    const Independent independent;
    std::vector<uint8_t> room;
    self.network->recurrence().carry(1);  // from the step before
    self.network->act(0, normalized_rows(self, data, room), starts_data, policy_data, values_data);
  });
  return py::make_tuple(policy, values);
}

py::tuple network_gradients(BoundNetwork& self, const py::array& observations, const Floats& d_policy,
                            const Floats& d_values) {
  require(sample_count(observations, self.config) == self.num_envs, "observations must be [num_envs]");
  require(d_policy.size() == py::ssize_t{self.num_envs} * self.config.num_outputs && d_values.size() == self.num_envs,
          "d_policy must be [num_envs][num_outputs] and d_values [num_envs]");
  std::vector<int64_t> samples(static_cast<size_t>(self.num_envs));
  std::iota(samples.begin(), samples.end(), 0);
  py::array_t<float> gradient(self.network->size());
  float* whole = gradient.mutable_data();
  std::fill_n(whole, gradient.size(), 0.0f);  // between the parameters there may be nothing to read
  const void* data = observations.data();
  without_gil([&] {
    const Independent independent;
    renew_autograd();
    self.network->compute_gradients(data, samples.data(), self.num_envs, d_policy.data(), d_values.data());
    self.network->read_gradients(
        0, [&](int64_t offset, int64_t count, const float* piece) { std::copy_n(piece, count, whole + offset); });
  });
  return py::make_tuple(gradient, self.network->squared_gradient_norm());
}

}  // namespace

void bind_networks(py::module_& m) {
  py::class_<BoundReplica>(m, "Replica")
      .def(py::init<const ModelConfig&>(), "model"_a)
      .def_property_readonly("parameter_specs",
                             [](BoundReplica& self) { return specs_of(self.replica.parameter_specs()); })
      .def(
          "initialize", [](BoundReplica& self, uint64_t seed) { self.replica.initialize(seed); }, "seed"_a)
      .def("parameters", [](BoundReplica& self) { return copy_of(self.replica.parameters(), self.replica.size()); })
      .def(
          "set_parameters",
          [](BoundReplica& self, const Floats& flat) {
            require(flat.size() == self.replica.size(), "the parameters are of another network");
            std::copy_n(flat.data(), flat.size(), self.replica.parameters());
          },
          "flat"_a)
      .def("forward", &replica_forward, "observations"_a)
      .def("gradients", &replica_gradients, "observations"_a, "d_policy"_a, "d_values"_a);

  py::class_<BoundNetwork>(m, "Network")
      .def(py::init<const ModelConfig&, int>(), "model"_a, "num_envs"_a)
      .def("set_parameters", &network_set_parameters, "flat"_a)
      .def("set_normalization", &network_set_normalization, "mean"_a, "variance"_a)
      .def("act", &network_act, "observations"_a, "starts"_a)
      .def("gradients", &network_gradients, "observations"_a, "d_policy"_a, "d_values"_a);

  m.def("network_isa", &network_isa, "model"_a);
  m.def("lacks_kernels", &lacks_kernels, "model"_a);
}

}  // namespace a3c::bindings

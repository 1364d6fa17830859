// The networks by themselves, for the tests to compare: LibTorch's replica, and the network that a worker would have.
#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "bindings/parameter_specs.h"
#include "bindings/python.h"
#include "model/network.h"
#include "model/replica.h"
#include "model/threads.h"

namespace a3c::bindings {
namespace {

py::ssize_t sample_count(const py::array& observations, const ModelConfig& config) {
  py::ssize_t size = 1;
  for (int64_t extent : config.observation_shape) size *= extent;
  const bool bytes = config.observation_type == ObservationType::uint8;
  require(bytes ? py::isinstance<py::array_t<uint8_t>>(observations) : py::isinstance<py::array_t<float>>(observations),
          "observations have another dtype than the model's");
  require((observations.flags() & py::array::c_style) != 0 && observations.size() % size == 0,
          "observations must be C-contiguous [N][...observation_shape]");
  return observations.size() / size;
}

struct BoundReplica {
  explicit BoundReplica(const ModelConfig& model) : config(model), replica(model) {}
  ModelConfig config;
  Replica replica;
};

py::tuple replica_forward(BoundReplica& self, const py::array& observations) {
  const py::ssize_t n = sample_count(observations, self.config);
  py::array_t<float> logits({n, static_cast<py::ssize_t>(self.config.num_actions)}), values(n);
  const void* data = observations.data();
  float* logits_data = logits.mutable_data();
  float* values_data = values.mutable_data();
  {
    const py::gil_scoped_release release;
    self.replica.forward(data, n, {}, logits_data, values_data);
  }
  return py::make_tuple(logits, values);
}

py::array_t<float> replica_gradients(BoundReplica& self, const py::array& observations, const Floats& d_logits,
                                     const Floats& d_values) {
  const py::ssize_t n = sample_count(observations, self.config);
  require(d_logits.size() == n * self.config.num_actions && d_values.size() == n,
          "d_logits must be [N][num_actions] and d_values [N]");
  const void* data = observations.data();
  std::vector<int64_t> samples(static_cast<size_t>(n));
  std::iota(samples.begin(), samples.end(), 0);
  {
    const py::gil_scoped_release release;  // LibTorch's autograd refuses to run under the GIL
    self.replica.compute_gradients(data, samples.data(), n, {}, d_logits.data(), d_values.data());
  }
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
};

void network_set_parameters(BoundNetwork& self, const Floats& flat) {
  require(flat.size() == self.network->size(), "the parameters are of another network");
  std::copy_n(flat.data(), flat.size(), self.network->parameters());
  self.network->parameters_changed();
}

py::tuple network_act(BoundNetwork& self, const py::array& observations, const Bytes& starts) {
  require(sample_count(observations, self.config) == self.num_envs && starts.size() == self.num_envs,
          "observations and starts must be [num_envs]");
  py::array_t<float> logits({self.num_envs, self.config.num_actions}), values(self.num_envs);
  const void* data = observations.data();
  const uint8_t* starts_data = starts.data();
  float* logits_data = logits.mutable_data();
  float* values_data = values.mutable_data();
  {
    const py::gil_scoped_release release;
    self.network->recurrence().carry(1);  // from the step before
    self.network->act(0, data, starts_data, logits_data, values_data);
  }
  return py::make_tuple(logits, values);
}

py::tuple network_gradients(BoundNetwork& self, const py::array& observations, const Floats& d_logits,
                            const Floats& d_values) {
  require(sample_count(observations, self.config) == self.num_envs, "observations must be [num_envs]");
  require(d_logits.size() == py::ssize_t{self.num_envs} * self.config.num_actions && d_values.size() == self.num_envs,
          "d_logits must be [num_envs][num_actions] and d_values [num_envs]");
  std::vector<int64_t> samples(static_cast<size_t>(self.num_envs));
  std::iota(samples.begin(), samples.end(), 0);
  py::array_t<float> gradient(self.network->size());
  float* whole = gradient.mutable_data();
  const void* data = observations.data();
  {
    const py::gil_scoped_release release;
    self.network->compute_gradients(data, samples.data(), self.num_envs, d_logits.data(), d_values.data());
    self.network->read_gradients(
        0, [&](int64_t offset, int64_t count, const float* piece) { std::copy_n(piece, count, whole + offset); });
  }
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
      .def("gradients", &replica_gradients, "observations"_a, "d_logits"_a, "d_values"_a);

  py::class_<BoundNetwork>(m, "Network")
      .def(py::init<const ModelConfig&, int>(), "model"_a, "num_envs"_a)
      .def("set_parameters", &network_set_parameters, "flat"_a)
      .def("act", &network_act, "observations"_a, "starts"_a)
      .def("gradients", &network_gradients, "observations"_a, "d_logits"_a, "d_values"_a);

  m.def("torch_threads", &torch_threads);
  m.def("network_isa", &network_isa, "model"_a);
}

}  // namespace a3c::bindings

// A network of the user's own, which a3c_fast/lowering.py writes call by call.
#include "model/exported/exported_network.h"

#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/python.h"

namespace a3c::bindings {
namespace {

using ParameterTuple = std::tuple<std::string, std::vector<int64_t>, bool, int64_t>;
// Slots, whether they are a list, and the constant where there are none.
using ArgumentTuple = std::tuple<std::vector<int>, bool, GraphArgument::Constant>;
// Operator, overload, arguments, results, whether within torch.no_grad().
using CallTuple = std::tuple<std::string, std::string, std::vector<ArgumentTuple>, std::vector<int>, bool>;

std::shared_ptr<ExportedNetwork> make_network(const std::vector<ParameterTuple>& parameters, const Floats& initial,
                                              int state_size, bool channels_last) {
  auto network = std::make_shared<ExportedNetwork>();
  for (const auto& [name, shape, is_channels_last, offset] : parameters)
    network->parameters.push_back({name, shape, is_channels_last, offset});
  network->size = initial.size();
  network->initial.assign(initial.data(), initial.data() + initial.size());
  network->state_size = state_size;
  network->channels_last = channels_last;
  return network;
}

int add_constant(ExportedNetwork& network, std::vector<int64_t> shape, std::vector<int64_t> strides, int scalar_type,
                 const py::bytes& given) {
  const std::string content = given;
  network.constants.push_back(
      {std::move(shape), std::move(strides), scalar_type, std::vector<char>(content.begin(), content.end())});
  return static_cast<int>(network.constants.size()) - 1;
}

void add_graph(ExportedNetwork& network, int64_t num_observations, int num_slots, std::vector<int> inputs,
               std::vector<int> outputs, std::vector<std::pair<int, int>> constants,
               const std::vector<CallTuple>& calls) {
  Graph graph;
  graph.num_slots = num_slots;
  graph.inputs = std::move(inputs);
  graph.outputs = std::move(outputs);
  graph.constants = std::move(constants);
  for (const auto& [name, overload, arguments, results, no_grad] : calls) {
    GraphCall call{name, overload, {}, results, no_grad};
    for (const auto& [slots, is_list, constant] : arguments) call.arguments.push_back({constant, slots, is_list});
    graph.calls.push_back(std::move(call));
  }
  network.graphs[num_observations] = std::move(graph);
}

}  // namespace

void bind_exported_network(py::module_& m) {
  py::class_<ExportedNetwork, std::shared_ptr<ExportedNetwork>>(m, "ExportedNetwork")
      .def(py::init(&make_network), py::kw_only(), "parameters"_a, "initial"_a, "state_size"_a, "channels_last"_a)
      .def("add_constant", &add_constant, py::kw_only(), "shape"_a, "strides"_a, "scalar_type"_a, "content"_a)
      .def("add_graph", &add_graph, py::kw_only(), "num_observations"_a, "num_slots"_a, "inputs"_a, "outputs"_a,
           "constants"_a, "calls"_a);
}

}  // namespace a3c::bindings

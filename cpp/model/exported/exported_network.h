// A network of the user's own, as it crosses the Python boundary once, before any thread starts: plain numbers and
// names, no torch, no Python.
//
// torch.export has turned its forward() into a list of calls of ATen's operators, for a fixed number of observations.
// Tensors are slots. A worker fills the inputs, goes through the calls, and finds the outputs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "model/parameter_spec.h"

namespace a3c {

// What an operator is given: tensors, or what Python had as a plain value.
struct GraphArgument {
  using Constant = std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<bool>,
                                std::vector<int64_t>, std::vector<double>>;
  Constant constant;       // where there are no slots; monostate: the operator's default, or None
  std::vector<int> slots;  // of one tensor, or of a list of them; -1: None
  bool is_list = false;
};

struct GraphCall {
  std::string name, overload;  // as the dispatcher has them: "aten::convolution", ""
  std::vector<GraphArgument> arguments;
  std::vector<int> results;  // their slots
  bool no_grad = false;      // within torch.no_grad()
};

struct Graph {
  int num_slots = 0;
  // The parameters; of the observations the array and the numbers, as far as there are any; the state, where there is
  // one.
  std::vector<int> inputs;
  std::vector<int> outputs;                    // the policy's outputs, the values, the next state where there is one
  std::vector<std::pair<int, int>> constants;  // slot, and position among the network's constants
  std::vector<GraphCall> calls;
};

// A buffer, a frozen parameter, or what forward() makes from numbers. Never written to.
struct GraphConstant {
  std::vector<int64_t> shape, strides;
  int scalar_type = 0;  // c10::ScalarType
  std::vector<char> bytes;
};

struct ExportedNetwork {
  std::vector<ParameterSpec> parameters;
  int64_t size = 0;            // of the flat vector
  std::vector<float> initial;  // [size]
  std::vector<GraphConstant> constants;
  std::map<int64_t, Graph> graphs;  // by the number of observations
  int state_size = 0;               // floats of an environment's state; 0: it has none
  bool channels_last = false;       // images are [N, C, H, W] over memory [N, H, W, C]
};

}  // namespace a3c

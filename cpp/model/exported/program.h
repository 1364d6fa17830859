// A graph of ATen operators, looked up in LibTorch's dispatcher and ready to run.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>
#include <ATen/core/stack.h>

#include <vector>

#include "model/exported/exported_network.h"

namespace a3c {

// One thread at a time. `network` must outlive it.
class Program {
 public:
  // Throws std::invalid_argument for an operator that this LibTorch does not have, or has with other arguments.
  Program(const ExportedNetwork& network, const Graph& graph);

  // Autograd records it where the calling thread has it enabled.
  void run(const std::vector<at::Tensor>& inputs, std::vector<at::Tensor>& outputs);

 private:
  struct Call {
    c10::OperatorHandle op;
    std::vector<c10::IValue> constants;  // of each argument that is no tensor
    std::vector<bool> optional_list;     // of each argument, whether it is a list in which tensors may be missing
    std::vector<int> dead;               // slots that nobody reads afterwards
  };

  void push(const GraphArgument& argument, bool optional_list);
  void step(const GraphCall& graph_call, const Call& call);

  const Graph& graph_;
  std::vector<Call> calls_;
  std::vector<c10::IValue> constants_;  // of graph_.constants
  std::vector<c10::IValue> slots_;
  torch::jit::Stack stack_;
};

}  // namespace a3c

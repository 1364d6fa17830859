#include "model/exported/program.h"

#include <ATen/ScalarOps.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace a3c {
namespace {

using c10::IValue;
using c10::TypeKind;

// An int may stand for a float, for a Scalar, or for a tensor.
template <typename Make>
IValue number_of(const GraphArgument::Constant& constant, const Make& make) {
  if (const auto* truth = std::get_if<bool>(&constant)) return make(*truth);
  if (const auto* whole = std::get_if<int64_t>(&constant)) return make(*whole);
  return make(std::get<double>(constant));
}

IValue list_of(const GraphArgument::Constant& constant, TypeKind element) {
  if (const auto* whole = std::get_if<std::vector<int64_t>>(&constant)) {
    if (element == TypeKind::FloatType) return std::vector<double>(whole->begin(), whole->end());
    return *whole;
  }
  if (const auto* real = std::get_if<std::vector<double>>(&constant)) return *real;
  const auto& found = std::get<std::vector<bool>>(constant);  // or a list of nothing, which is any list
  if (found.empty() && element == TypeKind::IntType) return std::vector<int64_t>();
  if (found.empty() && element == TypeKind::FloatType) return std::vector<double>();
  if (found.empty() && element == TypeKind::TensorType) return c10::List<at::Tensor>();
  c10::List<bool> truths;
  for (const bool truth : found) truths.push_back(truth);
  return truths;
}

// What Python had as a plain value, as the operator's schema wants it.
IValue value_of(const GraphArgument::Constant& constant, const c10::Type& type) {
  if (std::holds_alternative<std::monostate>(constant)) return {};
  switch (type.kind()) {
    case TypeKind::OptionalType: return value_of(constant, *type.expectRef<c10::OptionalType>().getElementType());
    case TypeKind::IntType: return std::get<int64_t>(constant);
    case TypeKind::BoolType: return std::get<bool>(constant);
    case TypeKind::StringType: return std::get<std::string>(constant);
    case TypeKind::DeviceObjType: return at::Device(at::kCPU);
    case TypeKind::FloatType: return number_of(constant, [](auto number) { return IValue(double(number)); });
    case TypeKind::NumberType: return number_of(constant, [](auto number) { return IValue(number); });
    case TypeKind::TensorType:
      return number_of(constant, [](auto number) { return IValue(at::native::wrapped_scalar_tensor(number)); });
    case TypeKind::ListType: return list_of(constant, type.expectRef<c10::ListType>().getElementType()->kind());
    default: throw std::invalid_argument("it gives an operator a value of type " + type.str());
  }
}

bool is_list_of_optional(const c10::Type& type) {
  return type.kind() == TypeKind::ListType &&
         type.expectRef<c10::ListType>().getElementType()->kind() == TypeKind::OptionalType;
}

}  // namespace

Program::Program(const ExportedNetwork& network, const Graph& graph)
    : graph_(graph), slots_(static_cast<size_t>(graph.num_slots)) {
  for (const auto& [slot, position] : graph.constants) {
    const GraphConstant& constant = network.constants.at(static_cast<size_t>(position));
    const auto type = at::TensorOptions(static_cast<at::ScalarType>(constant.scalar_type)).device(at::kCPU);
    constants_.emplace_back(
        at::from_blob(const_cast<char*>(constant.bytes.data()), constant.shape, constant.strides, type));
  }
  std::vector<int> last_reader(static_cast<size_t>(graph.num_slots), -1);
  for (const GraphCall& graph_call : graph.calls) {
    const auto op = c10::Dispatcher::singleton().findSchema({graph_call.name, graph_call.overload});
    if (!op) throw std::invalid_argument("this LibTorch has no operator " + graph_call.name + graph_call.overload);
    const std::vector<c10::Argument>& formal = op->schema().arguments();
    if (formal.size() != graph_call.arguments.size())
      throw std::invalid_argument("this LibTorch's operator " + graph_call.name + " has other arguments");
    Call call{*op, {}, {}, {}};
    for (size_t i = 0; i < formal.size(); ++i) {
      const GraphArgument& argument = graph_call.arguments[i];
      const bool is_default = argument.slots.empty() && std::holds_alternative<std::monostate>(argument.constant);
      if (is_default && formal[i].default_value())
        call.constants.push_back(*formal[i].default_value());
      else
        call.constants.push_back(argument.slots.empty() ? value_of(argument.constant, *formal[i].type()) : IValue());
      call.optional_list.push_back(is_list_of_optional(*formal[i].type()));
      for (const int slot : argument.slots)
        if (slot >= 0) last_reader.at(static_cast<size_t>(slot)) = static_cast<int>(calls_.size());
    }
    calls_.push_back(std::move(call));
  }
  for (const int slot : graph.outputs) last_reader.at(static_cast<size_t>(slot)) = -1;
  for (size_t slot = 0; slot < last_reader.size(); ++slot)
    if (last_reader[slot] >= 0) calls_[static_cast<size_t>(last_reader[slot])].dead.push_back(static_cast<int>(slot));
}

void Program::run(const std::vector<at::Tensor>& inputs, std::vector<at::Tensor>& outputs) {
  for (size_t i = 0; i < graph_.inputs.size(); ++i) slots_[graph_.inputs[i]] = inputs.at(i);
  for (size_t i = 0; i < constants_.size(); ++i) slots_[graph_.constants[i].first] = constants_[i];
  for (size_t i = 0; i < calls_.size(); ++i) {
    if (graph_.calls[i].no_grad) {
      const at::NoGradGuard no_grad;
      step(graph_.calls[i], calls_[i]);
    } else {
      step(graph_.calls[i], calls_[i]);
    }
  }
  outputs.clear();
  for (const int slot : graph_.outputs) outputs.push_back(slots_[slot].toTensor());
  std::fill(slots_.begin(), slots_.end(), IValue());
}

void Program::push(const GraphArgument& argument, bool optional_list) {
  if (!argument.is_list) {
    stack_.push_back(slots_[argument.slots[0]]);
  } else if (optional_list) {
    c10::List<std::optional<at::Tensor>> list;
    for (const int slot : argument.slots)
      list.push_back(slot < 0 ? std::nullopt : std::make_optional(slots_[slot].toTensor()));
    stack_.emplace_back(std::move(list));
  } else {
    c10::List<at::Tensor> list;
    for (const int slot : argument.slots) list.push_back(slots_[slot].toTensor());
    stack_.emplace_back(std::move(list));
  }
}

void Program::step(const GraphCall& graph_call, const Call& call) {
  stack_.clear();
  for (size_t i = 0; i < call.constants.size(); ++i) {
    if (graph_call.arguments[i].slots.empty())
      stack_.push_back(call.constants[i]);
    else
      push(graph_call.arguments[i], call.optional_list[i]);
  }
  for (const int slot : call.dead) slots_[slot] = IValue();  // what nobody reads any more is freed as early
  call.op.callBoxed(&stack_);
  const std::vector<int>& results = graph_call.results;
  if (stack_.size() == 1 && stack_[0].isTensorList()) {
    const c10::List<at::Tensor> list = stack_[0].toTensorList();
    for (size_t i = 0; i < results.size(); ++i) slots_[results[i]] = list.get(i);
  } else {
    for (size_t i = 0; i < results.size(); ++i) slots_[results[i]] = std::move(stack_.at(i));
  }
}

}  // namespace a3c

#include "model/exported/graph_network.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "learn/optimizer.h"
#include "model/exported/exported_network.h"
#include "model/exported/program.h"
#include "model/tensors.h"

namespace a3c {
namespace {

// [channels][pixels] -> [pixels][channels].
template <typename T>
void interleave(const T* from, int64_t channels, int64_t pixels, T* to) {
  if (channels == 4) {  // ATen's permuting copy of bytes costs a fifth of the first convolution
    for (int64_t p = 0; p < pixels; ++p)
      for (int64_t c = 0; c < 4; ++c) to[4 * p + c] = from[c * pixels + p];
    return;
  }
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t p = 0; p < pixels; ++p) to[channels * p + c] = from[c * pixels + p];
}

class GraphNetwork final : public Network {
 public:
  GraphNetwork(const ModelConfig& config, int t_max, int num_envs, StageClock& clock)
      : config_(config),
        network_(*config_.exported),
        spec_(config_.observation),
        recurrence_(t_max, num_envs, network_.state_size),
        t_max_(t_max),
        clock_(clock),
        flat_(at::zeros({network_.size}, kFloats)),
        zeros_(at::zeros({network_.size}, kFloats)) {
    for (const ParameterSpec& spec : network_.parameters)
      leaves_.push_back(parameter_at(parameters(), spec).requires_grad_());
    for (const auto& [count, graph] : network_.graphs) programs_.emplace(count, Program(network_, graph));
  }

  int64_t size() const override { return network_.size; }
  float* parameters() override { return flat_.data_ptr<float>(); }
  void parameters_changed() override {}
  Recurrence& recurrence() override { return recurrence_; }

  void act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) override {
    recurrence_.begin(t, starts);
    const c10::InferenceMode inference;
    const int64_t num_envs = recurrence_.num_envs;
    set_inputs(observations, nullptr, num_envs);
    if (recurrence_.state_size > 0)
      inputs_.push_back(floats_at(recurrence_.state(t), {num_envs, recurrence_.state_size}));
    program(num_envs).run(inputs_, results_);
    copy(results_[0], policy);
    copy(results_[1], values);
    if (recurrence_.state_size > 0) copy(results_[2], recurrence_.state(t + 1));
    forget();
    lap(clock_, kAutogradForward);
  }

  void evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy,
                float* values) override {
    const c10::InferenceMode inference;
    forward(observations, samples, count);
    for (size_t i = 0; i < outputs_.size(); i += 2) {
      policy = copy(outputs_[i], policy);
      values = copy(outputs_[i + 1], values);
    }
    forget();
    lap(clock_, kAutogradForward);
  }

  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                         const float* d_values) override {
    // Autograd then leaves tensors of its own there: what it would add to memory of ours it would have to copy.
    for (at::Tensor& leaf : leaves_) leaf.mutable_grad().reset();
    forward(observations, samples, count);
    std::vector<at::Tensor> outputs, d_outputs;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const float*& from = i % 2 == 0 ? d_policy : d_values;
      if (outputs_[i].requires_grad()) {  // else no parameter has a part in it
        outputs.push_back(outputs_[i]);
        d_outputs.push_back(floats_at(const_cast<float*>(from), outputs_[i].sizes()));
      }
      from += outputs_[i].numel();
    }
    torch::autograd::backward(outputs, d_outputs);
    forget();
    gradients_.clear();
    for (size_t i = 0; i < leaves_.size(); ++i) {
      const ParameterSpec& spec = network_.parameters[i];
      const at::Tensor& gradient = leaves_[i].grad();
      gradients_.push_back(!gradient.defined()
                               ? parameter_at(zeros_.data_ptr<float>(), spec)  // no output depends on it
                           : spec.channels_last ? gradient.contiguous(at::MemoryFormat::ChannelsLast)
                                                : gradient.contiguous());
    }
    lap(clock_, kAutogradBackward);
  }

  double squared_gradient_norm() const override {
    SquaredNorm norm;  // the parameters lie on cache lines: the same as that of the flat vector
    for (const at::Tensor& gradient : gradients_) norm.add(gradient.const_data_ptr<float>(), gradient.numel());
    return norm.total();
  }

  void read_gradients(double from, const GradientReader& read) override {
    const size_t count = gradients_.size();
    const double begin = from * static_cast<double>(size());
    size_t first = 0;
    while (first + 1 < count && static_cast<double>(network_.parameters[first + 1].offset) <= begin) ++first;
    for (size_t i = first; i < first + count; ++i) {
      const at::Tensor& gradient = gradients_[i % count];
      read(network_.parameters[i % count].offset, gradient.numel(), gradient.const_data_ptr<float>());
    }
  }

 private:
  Program& program(int64_t count) {
    const auto found = programs_.find(count);
    if (found == programs_.end())
      throw std::logic_error("the network was not exported for " + std::to_string(count) + " observations");
    return found->second;
  }

  static float* copy(const at::Tensor& from, float* to) {
    return std::copy_n(from.contiguous().const_data_ptr<float>(), from.numel(), to);
  }

  // The tensors of the last forward pass: what autograd keeps for them is large.
  void forget() {
    inputs_.clear();
    results_.clear();
    outputs_.clear();
  }

  // The parameters, and observations samples[0 .. count - 1], or the first `count`: as many inputs as there are of
  // them.
  void set_inputs(const void* observations, const int64_t* samples, int64_t count) {
    inputs_.assign(leaves_.begin(), leaves_.end());
    const auto row_of = [&](int64_t i) {
      return static_cast<const char*>(observations) + (samples ? samples[i] : i) * spec_.bytes();
    };
    if (!spec_.array_shape.empty()) inputs_.push_back(arrays(row_of, count));
    if (spec_.num_features > 0) {
      const at::Tensor numbers = at::empty({count, spec_.num_features}, kFloats);
      auto* to = numbers.data_ptr<float>();
      for (int64_t i = 0; i < count; ++i, to += spec_.num_features)
        std::memcpy(to, row_of(i) + spec_.features_offset(), static_cast<size_t>(spec_.num_features) * sizeof(float));
      inputs_.push_back(numbers);
    }
  }

  template <typename RowOf>
  at::Tensor arrays(const RowOf& row_of, int64_t count) const {
    const bool bytes = spec_.array_type == ElementType::uint8;
    const std::vector<int64_t>& s = spec_.array_shape;
    const bool turned = network_.channels_last && s.size() == 3;
    std::vector<int64_t> shape = turned ? std::vector<int64_t>{s[1], s[2], s[0]} : s;
    shape.insert(shape.begin(), count);
    const at::Tensor result = at::empty(shape, kFloats.dtype(bytes ? at::kByte : at::kFloat));
    auto* to = static_cast<char*>(result.data_ptr());
    const int64_t size = spec_.array_size() * (bytes ? 1 : 4);
    for (int64_t i = 0; i < count; ++i, to += size) {
      const char* from = row_of(i);
      if (!turned)
        std::memcpy(to, from, static_cast<size_t>(size));
      else if (bytes)
        interleave(reinterpret_cast<const uint8_t*>(from), s[0], s[1] * s[2], reinterpret_cast<uint8_t*>(to));
      else
        interleave(reinterpret_cast<const float*>(from), s[0], s[1] * s[2], reinterpret_cast<float*>(to));
    }
    return turned ? result.permute({0, 3, 1, 2}) : result;
  }

  // outputs_: the policy's outputs and the values of one step after the other; without a state there is but one.
  void forward(const void* observations, const int64_t* samples, int64_t count) {
    const int64_t state_size = recurrence_.state_size, steps = state_size > 0 ? t_max_ : 1, num_envs = count / steps;
    Program& step = program(num_envs);
    at::Tensor state = at::empty({num_envs, state_size}, kFloats);
    for (int64_t i = 0; i < num_envs && state_size > 0; ++i)
      std::copy_n(recurrence_.state(0) + samples[i] * state_size, state_size, state.data_ptr<float>() + i * state_size);
    outputs_.clear();
    for (int64_t t = 0; t < steps; ++t, samples += num_envs) {
      set_inputs(observations, samples, num_envs);
      if (state_size > 0) {
        if (t > 0) state = state.masked_fill(starts(samples, num_envs), 0.0);
        inputs_.push_back(state);
      }
      step.run(inputs_, results_);
      outputs_.insert(outputs_.end(), {results_[0], results_[1]});
      if (state_size > 0) state = results_[2];
    }
  }

  // Where an episode begins, [count, 1].
  at::Tensor starts(const int64_t* samples, int64_t count) const {
    const at::Tensor result = at::empty({count, 1}, kFloats.dtype(at::kBool));
    for (int64_t i = 0; i < count; ++i) result.data_ptr<bool>()[i] = recurrence_.starts[samples[i]] != 0;
    return result;
  }

  const ModelConfig config_;  // keeps what follows alive
  const ExportedNetwork& network_;
  const ObservationSpec& spec_;
  Recurrence recurrence_;
  const int t_max_;
  StageClock& clock_;
  at::Tensor flat_, zeros_;         // [size]
  std::vector<at::Tensor> leaves_;  // the parameters, views into flat_
  std::map<int64_t, Program> programs_;
  std::vector<at::Tensor> inputs_, results_, outputs_;
  std::vector<at::Tensor> gradients_;  // of each parameter, in the memory order of the flat vector
};

}  // namespace

std::unique_ptr<Network> make_graph_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock) {
  return std::make_unique<GraphNetwork>(config, t_max, num_envs, clock);
}

}  // namespace a3c

#include "model/network.h"

#include <stdexcept>

#include "learn/optimizer.h"
#include "model/exported/exported_network.h"
#include "model/exported/graph_network.h"
#include "model/kernels/conv_net.h"
#include "model/kernels/dense_net.h"
#include "model/kernels/dispatch.h"
#include "model/replica.h"
#include "model/threads.h"

namespace a3c {
namespace {

// Every model, through LibTorch: the forward pass runs again where gradients are wanted.
class AutogradNetwork final : public Network {
 public:
  AutogradNetwork(const ModelConfig& config, int t_max, int num_envs, StageClock& clock)
      : replica_(config), recurrence_(t_max, num_envs, 2 * config.lstm_size), t_max_(t_max), clock_(clock) {}

  int64_t size() const override { return replica_.size(); }
  float* parameters() override { return replica_.parameters(); }
  void parameters_changed() override {}
  Recurrence& recurrence() override { return recurrence_; }

  void act(int t, const void* observations, const uint8_t* starts, float* policy, float* values) override {
    recurrence_.begin(t, starts);
    replica_.forward(observations, recurrence_.num_envs,
                     {.state = recurrence_.state(t), .next_state = recurrence_.state(t + 1)}, policy, values);
    lap(clock_, kAutogradForward);
  }
  void evaluate(const void* observations, const int64_t* samples, int64_t count, float* policy,
                float* values) override {
    replica_.forward(observations, samples, count, sequences(samples, count), policy, values);
    lap(clock_, kAutogradForward);
  }
  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_policy,
                         const float* d_values) override {
    replica_.compute_gradients(observations, samples, count, sequences(samples, count), d_policy, d_values);
    lap(clock_, kAutogradBackward);
  }

  double squared_gradient_norm() const override { return squared_norm(replica_.gradients(), replica_.size()); }
  void read_gradients(double from, const GradientReader& read) override {
    read_whole_gradient(replica_.gradients(), replica_.size(), from, read);
  }

 private:
  Sequences sequences(const int64_t* samples, int64_t count) {
    if (recurrence_.state_size == 0) return {};
    starts_.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) starts_[i] = recurrence_.starts[samples[i]];
    const int64_t environments = count / t_max_;
    state_.resize(static_cast<size_t>(environments * recurrence_.state_size));
    for (int64_t i = 0; i < environments; ++i)
      std::copy_n(recurrence_.state(0) + samples[i] * recurrence_.state_size, recurrence_.state_size,
                  &state_[i * recurrence_.state_size]);
    return {t_max_, starts_.data(), state_.data(), nullptr};
  }

  Replica replica_;
  Recurrence recurrence_;
  const int t_max_;
  StageClock& clock_;
  std::vector<uint8_t> starts_;  // of an update's samples
  std::vector<float> state_;     // of its environments, before the first step
};

// Both null: LibTorch.
struct Kernels {
  const kernels::ConvNetKernels* conv = nullptr;
  const kernels::DenseNetKernels* dense = nullptr;
};

Kernels kernels_for(const ModelConfig& config) {
  if (!config.exported && ConvNet::supports(config)) return {.conv = best_kernels(config.precision)};
  check_chosen_kernels();
  if (config.precision == Precision::bf16)
    throw std::invalid_argument("only paper and nature on observations [4, 84, 84] compute in bf16");
  if (!config.exported && DenseNet::supports(config)) return {.dense = best_dense_kernels(config.precision)};
  return {};
}

}  // namespace

void read_whole_gradient(const float* gradient, int64_t size, double from, const GradientReader& read) {
  constexpr int64_t kLine = 16;  // floats in a cache line: no worker begins inside another's
  const int64_t begin = static_cast<int64_t>(static_cast<double>(size) * from) / kLine * kLine;
  read(begin, size - begin, gradient + begin);
  if (begin > 0) read(0, begin, gradient);
}

const char* network_isa(const ModelConfig& config) {
  const Kernels kernels = kernels_for(config);
  if (kernels.conv) return kernels.conv->isa;
  return kernels.dense ? kernels.dense->isa : "libtorch";
}

bool lacks_kernels(const ModelConfig& config) {
  return !has_kernels() && !config.exported && (ConvNet::supports(config) || DenseNet::supports(config));
}

InitialParameters initial_parameters(const ModelConfig& config, uint64_t seed) {
  if (config.exported) return {config.exported->parameters, config.exported->initial};
  Replica replica(config);
  replica.initialize(seed);
  return {replica.parameter_specs(), {replica.parameters(), replica.parameters() + replica.size()}};
}

std::unique_ptr<Network> make_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock) {
  const NewThreadTorch independent;
  const Kernels kernels = kernels_for(config);
  if (config.exported) return make_graph_network(config, t_max, num_envs, clock);
  if (!kernels.conv && !kernels.dense) return std::make_unique<AutogradNetwork>(config, t_max, num_envs, clock);
  const Replica layout(config);
  const std::vector<ParameterSpec>& specs = layout.parameter_specs();
  if (kernels.dense)
    return std::make_unique<DenseNet>(config, specs, layout.size(), t_max, num_envs, *kernels.dense, clock);
  return std::make_unique<ConvNet>(config, specs, layout.size(), t_max, num_envs, *kernels.conv, clock);
}

}  // namespace a3c

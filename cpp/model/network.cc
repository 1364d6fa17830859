#include "model/network.h"

#include "model/kernels/conv_net.h"
#include "model/replica.h"

namespace a3c {
namespace {

// Every model, through LibTorch: the forward pass runs again where gradients are wanted.
class AutogradNetwork final : public Network {
 public:
  AutogradNetwork(const ModelConfig& config, int num_envs, StageClock& clock)
      : replica_(config), num_envs_(num_envs), clock_(clock) {}

  int64_t size() const override { return replica_.size(); }
  float* parameters() override { return replica_.parameters(); }
  const float* gradients() const override { return replica_.gradients(); }
  void parameters_changed() override {}
  void act(int, const void* observations, float* logits, float* values) override {
    replica_.forward(observations, num_envs_, logits, values);
    lap(clock_, kAutogradForward);
  }
  void evaluate(const void* observations, const int64_t* samples, int64_t count, float* logits,
                float* values) override {
    replica_.forward(observations, samples, count, logits, values);
    lap(clock_, kAutogradForward);
  }
  void compute_gradients(const void* observations, const int64_t* samples, int64_t count, const float* d_logits,
                         const float* d_values) override {
    replica_.compute_gradients(observations, samples, count, d_logits, d_values);
    lap(clock_, kAutogradBackward);
  }

 private:
  Replica replica_;
  const int num_envs_;
  StageClock& clock_;
};

}  // namespace

std::unique_ptr<Network> make_network(const ModelConfig& config, int t_max, int num_envs, StageClock& clock) {
  const kernels::ConvNetKernels* kernels = best_kernels();
  if (!kernels || !ConvNet::supports(config)) return std::make_unique<AutogradNetwork>(config, num_envs, clock);
  const Replica layout(config);
  return std::make_unique<ConvNet>(config, layout.parameter_specs(), layout.size(), t_max, num_envs, *kernels, clock);
}

}  // namespace a3c

#include "model/replica.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "model/actor_critic.h"
#include "model/observation.h"

namespace a3c {
namespace {

constexpr int64_t kLine = 16;  // floats in a cache line

at::Tensor view_of(float* flat, const ParameterSpec& spec) {
  float* data = flat + spec.offset;
  if (!spec.channels_last) return at::from_blob(data, spec.shape);
  const std::vector<int64_t>& s = spec.shape;
  return at::from_blob(data, {s[0], s[2], s[3], s[1]}).permute({0, 3, 1, 2});
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  return size;
}

}  // namespace

struct Replica::Impl {
  explicit Impl(const ModelConfig& config)
      : config(config), module(config), observation_size(product(config.observation_shape)) {
    int64_t offset = 0;
    for (const auto& item : module.named_parameters()) {
      const at::Tensor& tensor = item.value();
      specs.push_back({item.key(), tensor.sizes().vec(), tensor.dim() == 4, offset});
      offset += (tensor.numel() + kLine - 1) / kLine * kLine;
    }
    parameters = at::zeros({offset});
    gradients = at::zeros({offset});
    std::vector<at::Tensor> tensors = module.parameters();
    for (size_t i = 0; i < specs.size(); ++i) {
      tensors[i].set_data(view_of(parameters.data_ptr<float>(), specs[i]));
      tensors[i].mutable_grad() = view_of(gradients.data_ptr<float>(), specs[i]);
    }
    first_gradient = tensors.front();
  }

  bool is_image() const { return config.kind != ModelKind::mlp; }

  // A float tensor [num_samples, ...observation_shape] over `batch`, which has images of bytes channels-last.
  at::Tensor batch_tensor(int64_t num_samples) {
    const std::vector<int64_t>& s = config.observation_shape;
    if (is_image() && config.observation_type == ObservationType::float32)
      return at::from_blob(batch.data(), {num_samples, s[0], s[1], s[2]});
    if (is_image()) return at::from_blob(batch.data(), {num_samples, s[1], s[2], s[0]}).permute({0, 3, 1, 2});
    return at::from_blob(batch.data(), {num_samples, observation_size});
  }

  // `count` observations, one after another, into `batch` from sample `position` on.
  void convert(const void* observations, int64_t position, int64_t count) {
    float* output = batch.data() + position * observation_size;
    if (config.observation_type == ObservationType::float32) {
      std::memcpy(output, observations, static_cast<size_t>(count * observation_size) * sizeof(float));
    } else if (is_image()) {
      const auto* images = static_cast<const uint8_t*>(observations);
      const int64_t channels = config.observation_shape[0];
      for (int64_t i = 0; i < count; ++i)
        image_to_float(images + i * observation_size, channels, observation_size / channels,
                       output + i * observation_size);
    } else {
      bytes_to_float(static_cast<const uint8_t*>(observations), count * observation_size, output);
    }
  }

  void reserve(int64_t num_samples) {
    const auto needed = static_cast<size_t>(num_samples * observation_size);
    if (batch.size() < needed) batch.resize(needed);
  }

  // observations[samples[0 .. count - 1]] into `batch`.
  void gather(const void* observations, const int64_t* samples, int64_t count) {
    const int64_t bytes = observation_size * (config.observation_type == ObservationType::uint8 ? 1 : 4);
    reserve(count);
    for (int64_t i = 0; i < count; ++i) convert(static_cast<const char*>(observations) + samples[i] * bytes, i, 1);
  }

  // The first samples of `batch`.
  ActorCritic::Output forward(int64_t num_samples, const Sequences& sequences) {
    const int64_t count = num_samples / sequences.steps;
    at::Tensor state = at::zeros({count, 2 * config.lstm_size}), starts;
    if (sequences.state) std::copy_n(sequences.state, state.numel(), state.data_ptr<float>());
    if (sequences.starts)
      starts = at::from_blob(const_cast<uint8_t*>(sequences.starts), {num_samples, 1}, at::kByte).to(at::kBool);
    return module.forward(batch_tensor(num_samples), sequences.steps, state, starts);
  }

  void forward(int64_t num_samples, const Sequences& sequences, float* logits, float* values) {
    const at::NoGradGuard no_grad;
    const ActorCritic::Output output = forward(num_samples, sequences);
    std::copy_n(output.logits.contiguous().const_data_ptr<float>(), output.logits.numel(), logits);
    std::copy_n(output.values.contiguous().const_data_ptr<float>(), num_samples, values);
    if (sequences.next_state)
      std::copy_n(output.state.contiguous().const_data_ptr<float>(), output.state.numel(), sequences.next_state);
  }

  const ModelConfig config;
  ActorCritic module;
  const int64_t observation_size;
  std::vector<ParameterSpec> specs;
  at::Tensor parameters, gradients;  // flat
  at::Tensor first_gradient;         // the first parameter, whose gradient begins the flat vector
  std::vector<float> batch;
};

Replica::Replica(const ModelConfig& config) : impl_(std::make_unique<Impl>(config)) {}
Replica::~Replica() = default;

const std::vector<ParameterSpec>& Replica::parameter_specs() const {
  return impl_->specs;
}
int64_t Replica::size() const {
  return impl_->parameters.numel();
}
float* Replica::parameters() {
  return impl_->parameters.data_ptr<float>();
}
const float* Replica::gradients() const {
  return impl_->gradients.const_data_ptr<float>();
}
void Replica::initialize(uint64_t seed) {
  impl_->module.initialize(seed);
}

void Replica::forward(const void* observations, int64_t num_samples, const Sequences& sequences, float* logits,
                      float* values) {
  impl_->reserve(num_samples);
  impl_->convert(observations, 0, num_samples);
  impl_->forward(num_samples, sequences, logits, values);
}

void Replica::forward(const void* observations, const int64_t* samples, int64_t count, const Sequences& sequences,
                      float* logits, float* values) {
  impl_->gather(observations, samples, count);
  impl_->forward(count, sequences, logits, values);
}

void Replica::compute_gradients(const void* observations, const int64_t* samples, int64_t count,
                                const Sequences& sequences, const float* d_logits, const float* d_values) {
  impl_->gather(observations, samples, count);
  impl_->gradients.zero_();
  const ActorCritic::Output output = impl_->forward(count, sequences);
  const at::Tensor logits_gradient = at::from_blob(const_cast<float*>(d_logits), {count, impl_->config.num_actions});
  const at::Tensor values_gradient = at::from_blob(const_cast<float*>(d_values), {count});
  torch::autograd::backward({output.logits, output.values}, {logits_gradient, values_gradient});
  if (impl_->first_gradient.grad().const_data_ptr<float>() != impl_->gradients.const_data_ptr<float>())
    throw std::logic_error("autograd replaced a gradient instead of adding to it");
}

}  // namespace a3c

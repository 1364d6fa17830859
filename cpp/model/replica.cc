#include "model/replica.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "model/actor_critic.h"
#include "model/observation.h"
#include "model/tensors.h"
#include "model/threads.h"

namespace a3c {
namespace {

constexpr int64_t kLine = 16;  // floats in a cache line

int64_t product(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  return size;
}

}  // namespace

struct Replica::Impl {
  explicit Impl(const ModelConfig& config) : config(config), module(config), spec(this->config.observation) {
    int64_t offset = 0;
    for (const ActorCritic::Parameter& parameter : module.parameters()) {
      specs.push_back({parameter.name, parameter.shape, parameter.shape.size() == 4, offset});
      offset += (product(parameter.shape) + kLine - 1) / kLine * kLine;
    }
    parameters = at::zeros({offset}, kFloats);
    gradients = at::zeros({offset}, kFloats);
    for (size_t i = 0; i < specs.size(); ++i) {
      at::Tensor tensor = parameter_at(parameters.data_ptr<float>(), specs[i]);
      tensor.set_requires_grad(true);
      tensor.mutable_grad() = parameter_at(gradients.data_ptr<float>(), specs[i]);
      module.parameters()[i].tensor = tensor;
    }
    first_gradient = module.parameters().front().tensor;
  }

  bool is_image() const { return config.kind != ModelKind::mlp; }

  // Tensors over the first samples of `arrays` and `numbers`; images of bytes are there channels-last.
  ActorCritic::Observations tensors(int64_t num_samples) {
    ActorCritic::Observations result;
    const std::vector<int64_t>& s = spec.array_shape;
    if (spec.num_features > 0) result.numbers = floats_at(numbers.data(), {num_samples, spec.num_features});
    if (spec.array_size() == 0) return result;
    if (!is_image())
      result.array = floats_at(arrays.data(), {num_samples, spec.array_size()});
    else if (spec.array_type == ElementType::float32)
      result.array = floats_at(arrays.data(), {num_samples, s[0], s[1], s[2]});
    else
      result.array = floats_at(arrays.data(), {num_samples, s[1], s[2], s[0]}).permute({0, 3, 1, 2});
    return result;
  }

  // An observation's row into sample `position` of `arrays` and `numbers`.
  void convert(const void* observation, int64_t position) {
    const auto* row = static_cast<const char*>(observation);
    const int64_t size = spec.array_size();
    float* array = arrays.data() + position * size;
    if (size == 0) {
    } else if (spec.array_type == ElementType::float32) {
      std::memcpy(array, row, static_cast<size_t>(size) * sizeof(float));
    } else if (is_image()) {
      const int64_t channels = spec.array_shape[0];
      image_to_float(reinterpret_cast<const uint8_t*>(row), channels, size / channels, array);
    } else {
      bytes_to_float(reinterpret_cast<const uint8_t*>(row), size, array);
    }
    if (spec.num_features > 0)
      std::memcpy(numbers.data() + position * spec.num_features, row + spec.features_offset(),
                  static_cast<size_t>(spec.num_features) * sizeof(float));
  }

  void reserve(int64_t num_samples) {
    const auto grow = [&](std::vector<float>& values, int64_t size) {
      if (values.size() < static_cast<size_t>(num_samples * size))
        values.resize(static_cast<size_t>(num_samples * size));
    };
    grow(arrays, spec.array_size());
    grow(numbers, spec.num_features);
  }

  // observations[samples[0 .. count - 1]], all of them in their order without `samples`.
  void gather(const void* observations, const int64_t* samples, int64_t count) {
    reserve(count);
    for (int64_t i = 0; i < count; ++i)
      convert(static_cast<const char*>(observations) + (samples ? samples[i] : i) * spec.bytes(), i);
  }

  // The first samples that were gathered.
  ActorCritic::Output forward(int64_t num_samples, const Sequences& sequences) {
    const int64_t count = num_samples / sequences.steps;
    at::Tensor state = at::zeros({count, 2 * config.lstm_size}, kFloats), starts;
    if (sequences.state) std::copy_n(sequences.state, state.numel(), state.data_ptr<float>());
    if (sequences.starts)
      starts = at::from_blob(const_cast<uint8_t*>(sequences.starts), {num_samples, 1}, at::kByte).to(at::kBool);
    return module.forward(tensors(num_samples), sequences.steps, state, starts);
  }

  void forward(int64_t num_samples, const Sequences& sequences, float* policy, float* values) {
    const at::NoGradGuard no_grad;
    const ActorCritic::Output output = forward(num_samples, sequences);
    std::copy_n(output.policy.contiguous().const_data_ptr<float>(), output.policy.numel(), policy);
    std::copy_n(output.values.contiguous().const_data_ptr<float>(), num_samples, values);
    if (sequences.next_state)
      std::copy_n(output.state.contiguous().const_data_ptr<float>(), output.state.numel(), sequences.next_state);
  }

  const ModelConfig config;
  ActorCritic module;
  const ObservationSpec& spec;  // config's
  std::vector<ParameterSpec> specs;
  at::Tensor parameters, gradients;    // flat
  at::Tensor first_gradient;           // the first parameter, whose gradient begins the flat vector
  std::vector<float> arrays, numbers;  // of a batch of observations
};

Replica::Replica(const ModelConfig& config) {
  const NewThreadTorch independent;
  impl_ = std::make_unique<Impl>(config);
}
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
  const NewThreadTorch independent;
  impl_->module.initialize(seed);
}

void Replica::forward(const void* observations, int64_t num_samples, const Sequences& sequences, float* policy,
                      float* values) {
  impl_->gather(observations, nullptr, num_samples);
  impl_->forward(num_samples, sequences, policy, values);
}

void Replica::forward(const void* observations, const int64_t* samples, int64_t count, const Sequences& sequences,
                      float* policy, float* values) {
  impl_->gather(observations, samples, count);
  impl_->forward(count, sequences, policy, values);
}

void Replica::compute_gradients(const void* observations, const int64_t* samples, int64_t count,
                                const Sequences& sequences, const float* d_policy, const float* d_values) {
  impl_->gather(observations, samples, count);
  impl_->gradients.zero_();
  const ActorCritic::Output output = impl_->forward(count, sequences);
  const at::Tensor policy_gradient = floats_at(const_cast<float*>(d_policy), {count, impl_->config.num_outputs});
  const at::Tensor values_gradient = floats_at(const_cast<float*>(d_values), {count});
  torch::autograd::backward({output.policy, output.values}, {policy_gradient, values_gradient});
  if (impl_->first_gradient.grad().const_data_ptr<float>() != impl_->gradients.const_data_ptr<float>())
    throw std::logic_error("autograd replaced a gradient instead of adding to it");
}

}  // namespace a3c

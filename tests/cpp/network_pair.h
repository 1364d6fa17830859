// Our kernels and LibTorch's autograd, which is the definition, side by side.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "model/kernels/conv_net.h"
#include "model/kernels/dispatch.h"
#include "model/threads.h"
#include "slow_torso.h"

// How far ours may be from LibTorch's.
struct Tolerance {
  double output;    // of the larger of 1/5 and the output itself
  double gradient;  // of a parameter's largest, and ...
  double norm;      // ... the norm of the difference, of its norm
};

constexpr Tolerance kFloat32{1e-4, 1e-4, 3e-5};

// Calls body() with each of these instruction sets that this CPU has; says which it has not.
template <typename Body>
void for_each_isa_of(a3c::Precision precision, std::initializer_list<const char*> isas, Body body) {
  const struct Unset {  // for the tests after one that fails
    ~Unset() { unsetenv("A3C_FAST_ISA"); }
  } unset;
  for (const char* isa : isas) {
    setenv("A3C_FAST_ISA", isa, 1);
    try {
      a3c::best_kernels(precision);
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()).find("this CPU does not have") == std::string::npos) throw;
      std::printf("  skipped: %s\n", error.what());
      continue;
    }
    body();
  }
}

// The gradient that a network hands out in pieces, which must cover it once whatever they begin with.
inline std::vector<float> gradient_of(a3c::Network& network, double from = 0.4) {
  std::vector<float> gradient(static_cast<size_t>(network.size()));
  std::vector<int> times(gradient.size());
  network.read_gradients(from, [&](int64_t offset, int64_t count, const float* piece) {
    for (int64_t i = 0; i < count; ++i) {
      gradient[offset + i] = piece[i];
      ++times[offset + i];
    }
  });
  double squares = 0;
  for (size_t i = 0; i < times.size(); ++i) {
    CHECK_EQUAL(times[i], 1);
    squares += double{gradient[i]} * gradient[i];
  }
  CHECK_CLOSE(network.squared_gradient_norm() / squares, 1, 1e-4);  // sums of 42,000 floats
  return gradient;
}

inline a3c::ModelConfig image_config(a3c::ModelKind kind, int num_actions,
                                     a3c::Precision precision = a3c::Precision::fp32, double offset = 0,
                                     double scale = 1, int lstm_size = 0) {
  a3c::ModelConfig config;
  config.kind = kind;
  config.observation.array_shape = {4, 84, 84};
  config.num_outputs = num_actions;
  config.lstm_size = lstm_size;
  config.observation_offset = offset;
  config.observation_scale = scale;
  config.precision = precision;
  return config;
}

struct Pair {
  Pair(a3c::ModelKind kind, int num_actions, int t_max_, int num_envs_, unsigned seed, int lstm_size = 0,
       double scale = 1, a3c::Precision precision = a3c::Precision::fp32, Tolerance tolerance_ = kFloat32)
      : tolerance(tolerance_),
        t_max(t_max_),
        num_envs(num_envs_),
        config(image_config(kind, num_actions, precision, 0.4, scale, lstm_size)),
        torch(config),
        random(seed) {
    a3c::use_one_torch_thread();
    torch.initialize(seed);
    // Biases and small policy weights of an initialization would hide mistakes: move everything a little.
    std::normal_distribution<float> normal(0, 0.02f);
    for (const a3c::ParameterSpec& spec : torch.parameter_specs()) {
      int64_t size = 1;
      for (const int64_t extent : spec.shape) size *= extent;
      for (int64_t i = 0; i < size; ++i) torch.parameters()[spec.offset + i] += normal(random);
    }
    fast = std::make_unique<a3c::ConvNet>(config, torch.parameter_specs(), torch.size(), t_max, num_envs,
                                          *a3c::best_kernels(precision), clock);
    observations.resize(static_cast<size_t>(t_max + 1) * num_envs * kBytes);
    starts.resize(static_cast<size_t>(t_max + 1) * num_envs);
    for (size_t i = 0; i < starts.size(); ++i) starts[i] = i % 5 == 2;
    for (uint8_t& byte : observations) byte = static_cast<uint8_t>(random());
    load();
  }

  // The parameters are LibTorch's. Images that these bring to the corner of a ReLU are drawn again.
  void load() {
    std::copy(torch.parameters(), torch.parameters() + torch.size(), fast->parameters());
    fast->parameters_changed();
    SlowTorso slow(torch.parameter_specs(), torch.parameters(), config);
    for (size_t first = 0; first < observations.size(); first += kBytes)
      while (slow.forward(&observations[first]), slow.margin() < kMargin)
        for (int i = 0; i < kBytes; ++i) observations[first + i] = static_cast<uint8_t>(random());
  }

  // The whole rollout, step by step here and at once there, from a state that is not zero.
  void compare_forward() {
    const int n = num_envs * config.num_outputs;
    a3c::Recurrence& recurrence = fast->recurrence();
    std::uniform_real_distribution<float> between(-1, 1);
    for (int i = 0; i < num_envs * recurrence.state_size; ++i) recurrence.state(0)[i] = between(random);
    first_state.assign(recurrence.state(0), recurrence.state(1));
    const std::vector<int64_t> all = samples_of(0, num_envs, t_max + 1);
    std::vector<float> torch_logits(all.size() * config.num_outputs), torch_values(all.size());
    std::vector<float> last_state(first_state.size());
    a3c::Sequences sequences{t_max + 1, starts.data(), first_state.data(), last_state.data()};
    torch.forward(observations.data(), all.data(), static_cast<int64_t>(all.size()), sequences, torch_logits.data(),
                  torch_values.data());
    std::vector<float> logits(all.size() * config.num_outputs), values(all.size());
    for (int t = 0; t <= t_max; ++t)
      fast->act(t, &observations[static_cast<size_t>(t) * num_envs * kBytes],
                &starts[static_cast<size_t>(t) * num_envs], &logits[static_cast<size_t>(t) * n],
                &values[static_cast<size_t>(t) * num_envs]);
    check_close(logits, torch_logits);
    check_close(values, torch_values);
    const float* state = recurrence.state(t_max + 1);
    check_close({state, state + last_state.size()}, last_state);
  }

  void check_close(const std::vector<float>& found, const std::vector<float>& expected) const {
    CHECK_EQUAL(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i)
      CHECK_CLOSE(found[i], expected[i], tolerance.output * (0.2 + std::abs(expected[i])));
  }

  // evaluate() of some samples under other parameters, and the gradients of what it has kept.
  void compare_evaluation(const std::vector<int64_t>& samples) {
    for (int64_t i = 0; i < torch.size(); ++i) torch.parameters()[i] *= 0.9f;
    load();
    const auto count = static_cast<int64_t>(samples.size());
    std::vector<float> logits(samples.size() * config.num_outputs), values(samples.size());
    std::vector<float> torch_logits(logits.size()), torch_values(values.size());
    fast->evaluate(observations.data(), samples.data(), count, logits.data(), values.data());
    set_sequences(samples);
    torch.forward(observations.data(), samples.data(), count, sequences, torch_logits.data(), torch_values.data());
    check_close(logits, torch_logits);
    check_close(values, torch_values);
    compare_gradients(samples);
  }

  // All steps of some environments.
  std::vector<int64_t> samples_of(int first_env, int count) const { return samples_of(first_env, count, t_max); }
  std::vector<int64_t> samples_of(int first_env, int count, int steps) const {
    std::vector<int64_t> samples;
    for (int t = 0; t < steps; ++t)
      for (int env = first_env; env < first_env + count; ++env) samples.push_back(int64_t{t} * num_envs + env);
    return samples;
  }

  // What LibTorch must know of samples that are whole sequences.
  void set_sequences(const std::vector<int64_t>& samples) {
    sequences = {};
    if (config.lstm_size == 0) return;
    const size_t size = first_state.size() / num_envs;
    sequence_starts.clear();
    sequence_state.clear();
    for (const int64_t sample : samples) sequence_starts.push_back(starts[sample]);
    for (size_t i = 0; i < samples.size() / t_max; ++i)
      sequence_state.insert(sequence_state.end(), &first_state[samples[i] * size],
                            &first_state[samples[i] * size] + size);
    sequences = {t_max, sequence_starts.data(), sequence_state.data(), nullptr};
  }

  void compare_gradients(const std::vector<int64_t>& samples) {
    const auto count = static_cast<int64_t>(samples.size());
    std::normal_distribution<float> normal;
    std::vector<float> d_logits(samples.size() * config.num_outputs), d_values(samples.size());
    for (float& x : d_logits) x = normal(random);
    for (float& x : d_values) x = normal(random);
    fast->compute_gradients(observations.data(), samples.data(), count, d_logits.data(), d_values.data());
    set_sequences(samples);
    torch.compute_gradients(observations.data(), samples.data(), count, sequences, d_logits.data(), d_values.data());
    const std::vector<float> gradient = gradient_of(*fast);
    for (const a3c::ParameterSpec& spec : torch.parameter_specs()) {
      int64_t size = 1;
      for (const int64_t extent : spec.shape) size *= extent;
      double difference = 0, largest = 0, squares = 0, torch_squares = 0;
      for (int64_t i = 0; i < size; ++i) {
        const double a = gradient[spec.offset + i], b = torch.gradients()[spec.offset + i];
        difference = std::max(difference, std::abs(a - b));
        largest = std::max(largest, std::abs(b));
        squares += (a - b) * (a - b);
        torch_squares += b * b;
      }
      CHECK(largest > 0);
      CHECK_CLOSE(difference / largest, 0, tolerance.gradient);
      CHECK_CLOSE(std::sqrt(squares / torch_squares), 0, tolerance.norm);
    }
    for (int64_t i = 0; i < torch.size(); ++i)  // what lies between the parameters
      if (torch.gradients()[i] == 0 && torch.parameters()[i] == 0) CHECK(gradient[i] == 0);
  }

  static constexpr int kBytes = 4 * 84 * 84;
  static constexpr double kMargin = 1e-5;  // far beyond a rounding, and one image in ten is nearer
  const Tolerance tolerance;
  int t_max, num_envs;
  a3c::ModelConfig config;
  a3c::Replica torch;
  std::mt19937 random;
  a3c::StageClock clock{};
  std::unique_ptr<a3c::ConvNet> fast;
  std::vector<uint8_t> observations, starts;  // [t_max + 1][num_envs]
  std::vector<float> first_state;             // [num_envs][state_size], of the last compare_forward()
  a3c::Sequences sequences;
  std::vector<uint8_t> sequence_starts;
  std::vector<float> sequence_state;
};

// DenseNet against LibTorch's autograd, which is the definition.
#include "model/kernels/dense_net.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "model/kernels/dispatch.h"
#include "model/network.h"
#include "model/threads.h"

namespace {
thread_local int64_t allocations = 0;
}

[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace {

constexpr double kOutputs = 2e-5;    // of 1/5 and the output itself together; more where sums are long, see check_close
constexpr double kGradients = 1e-4;  // of a parameter's largest
constexpr double kNorms = 3e-5;      // the norm of the difference, of its norm

// Calls body() with each instruction set that this CPU has; says which it has not.
template <typename Body>
void for_each_isa(Body body) {
  const struct Unset {  // for the tests after one that fails
    ~Unset() { unsetenv("A3C_FAST_ISA"); }
  } unset;
  for (const char* isa : {"avx2", "avx512"}) {
    setenv("A3C_FAST_ISA", isa, 1);
    try {
      a3c::best_dense_kernels(a3c::Precision::fp32);
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()).find("this CPU does not have") == std::string::npos) throw;
      std::printf("  skipped: %s\n", error.what());
      continue;
    }
    body();
  }
}

a3c::ObservationSpec numbers(int64_t size) {
  return {.array_shape = {}, .num_features = size};
}
a3c::ObservationSpec bytes_and_numbers(int64_t array, int64_t size) {
  return {.array_shape = {array}, .array_type = a3c::ElementType::uint8, .num_features = size};
}

a3c::ModelConfig config_of(std::vector<int64_t> hidden_sizes, a3c::Activation activation = a3c::Activation::tanh,
                           a3c::ObservationSpec observation = numbers(17), int num_outputs = 6) {
  a3c::ModelConfig config;
  config.kind = a3c::ModelKind::mlp;
  config.observation = observation;
  config.num_outputs = num_outputs;
  config.hidden_sizes = std::move(hidden_sizes);
  config.activation = activation;
  config.precision = a3c::Precision::fp32;
  return config;
}

int64_t size_of(const a3c::ParameterSpec& spec) {
  return std::accumulate(spec.shape.begin(), spec.shape.end(), int64_t{1}, std::multiplies<>());
}

// The gradient that a network hands out in pieces, which must cover it once.
std::vector<float> gradient_of(a3c::Network& network) {
  std::vector<float> gradient(static_cast<size_t>(network.size()));
  std::vector<int> times(gradient.size());
  network.read_gradients(0.4, [&](int64_t offset, int64_t count, const float* piece) {
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
  CHECK_CLOSE(network.squared_gradient_norm() / squares, 1, 1e-4);
  return gradient;
}

struct Outputs {
  std::vector<float> policy, values;
};

// Our kernels and LibTorch's autograd with the same parameters and observations.
struct DensePair {
  DensePair(const a3c::ModelConfig& config_, int t_max_, int num_envs_, unsigned seed)
      : config(config_), t_max(t_max_), num_envs(num_envs_), torch(config), random(seed) {
    a3c::use_one_torch_thread();
    torch.initialize(seed);
    // Biases and small policy weights of an initialization would hide mistakes: move everything a little.
    std::normal_distribution<float> normal(0, 0.05f);
    for (const a3c::ParameterSpec& spec : torch.parameter_specs())
      for (int64_t i = 0; i < size_of(spec); ++i) torch.parameters()[spec.offset + i] += normal(random);
    fast = std::make_unique<a3c::DenseNet>(config, torch.parameter_specs(), torch.size(), t_max, num_envs,
                                           *a3c::best_dense_kernels(config.precision), clock);
    observations.resize(static_cast<size_t>(t_max + 1) * num_envs * row());
    starts.resize(static_cast<size_t>(t_max + 1) * num_envs);
    for (size_t i = 0; i < starts.size(); ++i) starts[i] = i % 5 == 2;
    for (int64_t i = 0; i < samples(); ++i) draw(i);
    load();
  }

  int64_t row() const { return config.observation.bytes(); }
  int64_t samples() const { return int64_t{t_max + 1} * num_envs; }
  const uint8_t* observation(int64_t sample) const { return observations.data() + sample * row(); }

  // Another observation. What lies between the bytes and the numbers is nobody's.
  void draw(int64_t sample) {
    std::normal_distribution<float> normal;
    uint8_t* at = observations.data() + sample * row();
    for (int64_t i = 0; i < row(); ++i) at[i] = static_cast<uint8_t>(random());
    const auto draw_floats = [&](uint8_t* to, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        const float x = normal(random);
        std::memcpy(to + 4 * i, &x, 4);
      }
    };
    if (config.observation.array_type == a3c::ElementType::float32) draw_floats(at, config.observation.array_size());
    draw_floats(at + config.observation.features_offset(), config.observation.num_features);
  }

  // The parameters are LibTorch's. Observations that these bring to the corner of a ReLU are drawn again.
  void load() {
    std::copy(torch.parameters(), torch.parameters() + torch.size(), fast->parameters());
    fast->parameters_changed();
    if (config.activation != a3c::Activation::relu) return;
    for (int64_t i = 0; i < samples(); ++i)
      while (margin(i) < 1e-5) draw(i);
  }

  // How near to the corner the nearest unit comes.
  double margin(int64_t sample) const {
    const a3c::ObservationSpec& spec = config.observation;
    std::vector<double> input;
    for (int64_t i = 0; i < spec.array_size(); ++i) {
      float x;
      if (spec.array_type == a3c::ElementType::uint8)
        x = static_cast<float>((observation(sample)[i] / 255.0 - config.observation_offset) * config.observation_scale);
      else
        std::memcpy(&x, observation(sample) + 4 * i, 4);
      input.push_back(x);
    }
    for (int64_t i = 0; i < spec.num_features; ++i) {
      float x;
      std::memcpy(&x, observation(sample) + spec.features_offset() + 4 * i, 4);
      input.push_back(x);
    }
    double nearest = std::numeric_limits<double>::infinity();
    std::vector<double> x;
    const std::vector<a3c::ParameterSpec>& specs = torch.parameter_specs();
    for (size_t p = 0; p < specs.size(); ++p) {
      const std::string& name = specs[p].name;
      if (name.find("fc") == std::string::npos || name.find("weight") == std::string::npos) continue;
      if (name.find("fc1.") != std::string::npos) x = input;
      std::vector<double> y;
      for (int64_t unit = 0; unit < specs[p].shape[0]; ++unit) {
        double sum = parameters()[specs[p + 1].offset + unit];
        for (size_t j = 0; j < x.size(); ++j)
          sum += x[j] * parameters()[specs[p].offset + unit * static_cast<int64_t>(x.size()) + static_cast<int64_t>(j)];
        nearest = std::min(nearest, std::abs(sum));
        y.push_back(std::max(sum, 0.0));
      }
      x = y;
    }
    return nearest;
  }
  const float* parameters() const { return fast->parameters(); }

  // The whole rollout, step by step here and at once there, from a state that is not zero.
  Outputs compare_forward() {
    a3c::Recurrence& recurrence = fast->recurrence();
    std::uniform_real_distribution<float> between(-1, 1);
    for (int i = 0; i < num_envs * recurrence.state_size; ++i) recurrence.state(0)[i] = between(random);
    first_state.assign(recurrence.state(0), recurrence.state(1));
    for (int env = 0; env < num_envs; ++env)  // as act() will leave it
      if (starts[env]) std::fill_n(first_state.begin() + env * recurrence.state_size, recurrence.state_size, 0.0f);
    Outputs expected = outputs_for(samples()), found = outputs_for(samples());
    std::vector<float> last_state(first_state.size());
    const a3c::Sequences sequences{t_max + 1, starts.data(), first_state.data(), last_state.data()};
    torch.forward(observations.data(), samples(), config.lstm_size > 0 ? sequences : a3c::Sequences{},
                  expected.policy.data(), expected.values.data());
    for (int t = 0; t <= t_max; ++t) act(t, found);
    check_close(found.policy, expected.policy);
    check_close(found.values, expected.values);
    const float* state = recurrence.state(t_max + 1);
    check_close({state, state + last_state.size()}, last_state);
    return found;
  }

  void act(int t, Outputs& outputs) {
    const int64_t first = int64_t{t} * num_envs;
    fast->act(t, observation(first), &starts[first], &outputs.policy[first * config.num_outputs],
              &outputs.values[first]);
  }

  Outputs outputs_for(int64_t count) const {
    return {std::vector<float>(count * config.num_outputs), std::vector<float>(count)};
  }

  // Roundings of a sum, which LibTorch takes in another order on each CPU, grow with the root of its length.
  void check_close(const std::vector<float>& found, const std::vector<float>& expected) const {
    const auto widest = static_cast<double>(*std::max_element(config.hidden_sizes.begin(), config.hidden_sizes.end()));
    const double most = kOutputs * std::max(1.0, std::sqrt(widest / 2048));
    CHECK_EQUAL(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK_CLOSE(found[i], expected[i], most * (0.2 + std::abs(expected[i])));
  }

  Outputs evaluate(const std::vector<int64_t>& chosen) {
    Outputs found = outputs_for(static_cast<int64_t>(chosen.size()));
    fast->evaluate(observations.data(), chosen.data(), static_cast<int64_t>(chosen.size()), found.policy.data(),
                   found.values.data());
    return found;
  }

  // evaluate() of some samples under other parameters, and the gradients of what it has kept.
  void compare_evaluation(const std::vector<int64_t>& chosen) {
    for (int64_t i = 0; i < torch.size(); ++i) torch.parameters()[i] *= 0.9f;
    load();
    Outputs expected = outputs_for(static_cast<int64_t>(chosen.size()));
    const Outputs found = evaluate(chosen);
    set_sequences(chosen);
    torch.forward(observations.data(), chosen.data(), static_cast<int64_t>(chosen.size()), sequences,
                  expected.policy.data(), expected.values.data());
    check_close(found.policy, expected.policy);
    check_close(found.values, expected.values);
    compare_gradients(chosen);
  }

  // All steps of some environments.
  std::vector<int64_t> samples_of(int first_env, int count) const {
    std::vector<int64_t> chosen;
    for (int t = 0; t < t_max; ++t)
      for (int env = first_env; env < first_env + count; ++env) chosen.push_back(int64_t{t} * num_envs + env);
    return chosen;
  }

  // What LibTorch must know of samples that are whole sequences.
  void set_sequences(const std::vector<int64_t>& chosen) {
    sequences = {};
    if (config.lstm_size == 0) return;
    const size_t size = first_state.size() / num_envs;
    sequence_starts.clear();
    sequence_state.clear();
    for (const int64_t sample : chosen) sequence_starts.push_back(starts[sample]);
    for (size_t i = 0; i < chosen.size() / t_max; ++i)
      sequence_state.insert(sequence_state.end(), first_state.begin() + chosen[i] * size,
                            first_state.begin() + (chosen[i] + 1) * size);
    sequences = {t_max, sequence_starts.data(), sequence_state.data(), nullptr};
  }

  void compare_gradients(const std::vector<int64_t>& chosen) {
    const auto count = static_cast<int64_t>(chosen.size());
    std::normal_distribution<float> normal;
    Outputs d = outputs_for(count);
    for (float& x : d.policy) x = normal(random);
    for (float& x : d.values) x = normal(random);
    fast->compute_gradients(observations.data(), chosen.data(), count, d.policy.data(), d.values.data());
    set_sequences(chosen);
    torch.compute_gradients(observations.data(), chosen.data(), count, sequences, d.policy.data(), d.values.data());
    const std::vector<float> gradient = gradient_of(*fast);
    int64_t end = 0;
    for (const a3c::ParameterSpec& spec : torch.parameter_specs()) {
      for (; end < spec.offset; ++end) CHECK_EQUAL(gradient[end], 0.0f);  // between the parameters
      end = spec.offset + size_of(spec);
      double difference = 0, largest = 0, squares = 0, torch_squares = 0;
      for (int64_t i = spec.offset; i < end; ++i) {
        const double a = gradient[i], b = torch.gradients()[i];
        difference = std::max(difference, std::abs(a - b));
        largest = std::max(largest, std::abs(b));
        squares += (a - b) * (a - b);
        torch_squares += b * b;
      }
      if (largest == 0) {  // a ReLU layer of one unit that is off, and what lies below it
        CHECK_EQUAL(difference, 0.0);
        continue;
      }
      CHECK_CLOSE(difference / largest, 0, kGradients);
      CHECK_CLOSE(std::sqrt(squares / torch_squares), 0, kNorms);
    }
    for (; end < torch.size(); ++end) CHECK_EQUAL(gradient[end], 0.0f);
    for (int64_t i = 0; i < torch.size(); ++i) CHECK_EQUAL(fast->parameters()[i], torch.parameters()[i]);
  }

  const a3c::ModelConfig config;
  const int t_max, num_envs;
  a3c::Replica torch;
  std::mt19937 random;
  a3c::StageClock clock{};
  std::unique_ptr<a3c::DenseNet> fast;
  std::vector<uint8_t> observations, starts;  // [t_max + 1][num_envs]
  std::vector<float> first_state;             // [num_envs][state_size], of the last compare_forward()
  a3c::Sequences sequences;
  std::vector<uint8_t> sequence_starts;
  std::vector<float> sequence_state;
};

// A rollout, the gradients of all of it and of some, and both again after the parameters have changed.
void compare(const a3c::ModelConfig& config, int t_max, int num_envs, unsigned seed) {
  for_each_isa([&] {
    DensePair pair(config, t_max, num_envs, seed);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, num_envs));
    if (num_envs > 1) pair.compare_gradients(pair.samples_of(num_envs / 2, num_envs - num_envs / 2));
    pair.compare_evaluation(pair.samples_of(0, num_envs));
    pair.compare_evaluation(pair.samples_of(num_envs - 1, 1));
  });
}

constexpr a3c::Activation kActivations[] = {a3c::Activation::tanh, a3c::Activation::relu, a3c::Activation::elu};

TEST(two_layers_of_64) {
  for (const a3c::Activation activation : kActivations) compare(config_of({64, 64}, activation), 5, 8, 1);
}

TEST(one_two_three_and_sixteen_layers) {
  for (const a3c::Activation activation : kActivations) {
    compare(config_of({32}, activation), 3, 4, 2);
    compare(config_of({48, 20, 33}, activation), 3, 4, 3);
    compare(config_of(std::vector<int64_t>(16, 24), activation), 3, 4, 4);
  }
}

TEST(odd_widths) {
  const int64_t widths[] = {1, 3, 7, 64, 100, 257};
  unsigned seed = 10;
  for (const int64_t first : widths)
    for (const int64_t second : widths)
      compare(config_of({first, second}, kActivations[seed % 3], numbers(widths[seed % 6])), 3, 5, seed), ++seed;
}

TEST(every_small_width_and_number_of_outputs) {
  for (int width = 1; width <= 40; ++width)
    compare(config_of({width, 41 - width}, a3c::Activation::tanh, numbers(1 + width * 7 % 40), width), 2, 3,
            static_cast<unsigned>(50 + width));
}

TEST(batches) {
  for (const int num_envs : {1, 2, 7, 64, 500}) {
    compare(config_of({64, 64}), 1, num_envs, 100);
    compare(config_of({100, 7}, a3c::Activation::relu), 1, num_envs, 101);
  }
  compare(config_of({64, 64}), 9, 129, 102);
}

TEST(layers_deeper_than_a_panel_is_read_at_once) {
  compare(config_of({33, 1500, 20}, a3c::Activation::elu, numbers(2100)), 2, 9, 110);
}

TEST(rows_so_wide_that_a_block_is_smaller) {
  for_each_isa([] {
    DensePair pair(config_of({65536, 2}, a3c::Activation::tanh, numbers(3)), 1, 70, 120);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 70));
  });
}

TEST(layers_of_the_values_own) {
  for (const a3c::Activation activation : kActivations) {
    a3c::ModelConfig config = config_of({64, 33}, activation);
    config.separate_value = true;
    compare(config, 4, 6, 130);
    config.num_log_std = 3;
    compare(config, 4, 40, 131);
    config.observation = numbers(376);
    config.num_outputs = 34;
    config.num_log_std = 17;
    compare(config, 4, 40, 132);
  }
}

TEST(log_std) {
  a3c::ModelConfig config = config_of({64, 64}, a3c::Activation::tanh, numbers(17), 12);
  config.num_log_std = 6;
  config.initial_log_std = -0.5;
  compare(config, 4, 6, 140);
  compare(config, 3, 60, 141);
  config.num_log_std = 1;
  compare(config, 3, 4, 142);
}

TEST(bytes_floats_and_numbers) {
  for (const bool separate : {false, true}) {
    a3c::ModelConfig config = config_of({64, 20}, a3c::Activation::tanh, bytes_and_numbers(37, 5));
    config.separate_value = separate;
    compare(config, 3, 5, 150);
    config.observation_offset = 0.4;
    config.observation_scale = 2.5;
    compare(config, 3, 5, 151);
    config.observation = bytes_and_numbers(200, 0);
    compare(config, 3, 5, 152);
    config.observation = {.array_shape = {3, 4, 5}, .array_type = a3c::ElementType::float32, .num_features = 6};
    compare(config, 3, 5, 153);
    config.observation.num_features = 0;
    compare(config, 3, 5, 154);
  }
}

TEST(with_an_lstm) {
  unsigned seed = 160;
  for (const int units : {1, 7, 16, 32, 100})
    for (const a3c::Activation activation : kActivations) {
      a3c::ModelConfig config = config_of({24, 33}, activation);
      config.lstm_size = units;
      for_each_isa([&] {
        DensePair pair(config, 6, 4, seed);
        pair.compare_forward();
        pair.compare_gradients(pair.samples_of(0, 4));
        pair.compare_gradients(pair.samples_of(2, 2));
        pair.compare_evaluation(pair.samples_of(0, 4));
        pair.compare_evaluation({3, 0, 7, 4, 11, 8, 15, 12, 19, 16, 23, 20});  // environments 3 and 0
      });
      ++seed;
    }
}

TEST(more_samples_than_a_block_with_an_lstm_and_log_std) {
  a3c::ModelConfig config = config_of({64}, a3c::Activation::tanh, bytes_and_numbers(20, 3), 8);
  config.lstm_size = 20;
  config.num_log_std = 4;
  compare(config, 3, 150, 180);
  compare(config, 1, 1, 181);
}

// What a rollout ends with is what the next one begins with, whatever was evaluated in between.
TEST(the_memory_of_acting_is_carried) {
  for_each_isa([] {
    a3c::ModelConfig config = config_of({32});
    config.lstm_size = 16;
    DensePair pair(config, 4, 3, 190);
    pair.compare_forward();
    a3c::Recurrence& recurrence = pair.fast->recurrence();
    const std::vector<float> last(recurrence.state(4), recurrence.state(5));
    pair.compare_evaluation(pair.samples_of(0, 3));
    CHECK(last == std::vector<float>(recurrence.state(4), recurrence.state(5)));
    recurrence.carry(4);
    CHECK(last == std::vector<float>(recurrence.state(0), recurrence.state(1)));
  });
}

// And a rollout is evaluated from the memory that its first step has now.
TEST(evaluation_begins_with_the_first_state) {
  for_each_isa([] {
    a3c::ModelConfig config = config_of({32});
    config.lstm_size = 16;
    DensePair pair(config, 4, 3, 195);
    pair.starts[1] = 0;
    pair.compare_forward();
    for (size_t i = 0; i < pair.first_state.size(); ++i)
      pair.fast->recurrence().state(0)[i] = pair.first_state[i] *= 0.5f;
    pair.compare_evaluation(pair.samples_of(0, 3));
    pair.compare_evaluation(pair.samples_of(1, 1));
  });
}

TEST(nothing_is_left_of_the_rollout_before) {
  for_each_isa([] {
    DensePair pair(config_of({64, 17}, a3c::Activation::elu), 4, 6, 200);
    for (int i = 0; i < 3; ++i) {
      for (int64_t sample = 0; sample < pair.samples(); ++sample) pair.draw(sample);
      for (int64_t j = 0; j < pair.torch.size(); ++j) pair.torch.parameters()[j] *= 0.9f;
      pair.load();
      pair.compare_forward();
      pair.compare_gradients(pair.samples_of(0, 6 - i));
    }
  });
}

// To the bit: a sample's outputs are its own, wherever it stands among others and however they were computed.
TEST(outputs_do_not_depend_on_the_batch) {
  for (const int lstm_size : {0, 20})
    for (const a3c::Activation activation : kActivations)
      for_each_isa([&] {
        a3c::ModelConfig config = config_of({64, 33, 100}, activation, bytes_and_numbers(30, 17));
        config.lstm_size = lstm_size;
        const int num_envs = 29;
        DensePair pair(config, 2, num_envs, 210);
        const Outputs acted = pair.compare_forward();
        std::vector<int> environments(num_envs);
        std::iota(environments.begin(), environments.end(), 0);
        for (size_t count : {1, 2, 5, 13, 29}) {
          std::shuffle(environments.begin(), environments.end(), pair.random);
          std::vector<int64_t> chosen;
          for (int t = 0; t < 2; ++t)
            for (size_t i = 0; i < count; ++i) chosen.push_back(int64_t{t} * num_envs + environments[i]);
          const Outputs evaluated = pair.evaluate(chosen);
          for (size_t i = 0; i < chosen.size(); ++i) {
            CHECK(std::equal(&evaluated.policy[i * 6], &evaluated.policy[i * 6] + 6, &acted.policy[chosen[i] * 6]));
            CHECK_EQUAL(evaluated.values[i], acted.values[chosen[i]]);
          }
        }
      });
}

TEST(the_same_inputs_give_the_same_bits) {
  for (const int lstm_size : {0, 20})
    for_each_isa([&] {
      a3c::ModelConfig config = config_of({64, 64});
      config.lstm_size = lstm_size;
      std::vector<std::vector<float>> gradients;
      for (int i = 0; i < 2; ++i) {
        DensePair pair(config, 5, 30, 220);
        pair.compare_forward();
        for (int j = 0; j <= i; ++j) pair.evaluate(pair.samples_of(0, 30));
        pair.compare_gradients(pair.samples_of(0, 30));
        gradients.push_back(gradient_of(*pair.fast));
      }
      CHECK(gradients[0] == gradients[1]);
    });
}

// In the sample that has it, and in no other.
TEST(nan_stays_nan) {
  for (const int lstm_size : {0, 20})
    for (const a3c::Activation activation : kActivations)
      for_each_isa([&] {
        a3c::ModelConfig config = config_of({64, 20}, activation);
        config.lstm_size = lstm_size;
        DensePair pair(config, 1, 13, 230);
        const float nan = std::numeric_limits<float>::quiet_NaN();
        std::memcpy(&pair.observations[5 * pair.row() + 8], &nan, 4);
        Outputs outputs = pair.outputs_for(26);
        pair.act(0, outputs);
        for (int i = 0; i < 13; ++i) {
          for (int j = 0; j < 6; ++j) CHECK_EQUAL(std::isnan(outputs.policy[i * 6 + j]), i == 5);
          CHECK_EQUAL(std::isnan(outputs.values[i]), i == 5);
        }
        const std::vector<int64_t> chosen = pair.samples_of(0, 13);
        pair.fast->compute_gradients(pair.observations.data(), chosen.data(), 13, outputs.policy.data(),
                                     outputs.values.data());
        CHECK(std::isnan(pair.fast->squared_gradient_norm()));
      });
}

TEST(large_values_saturate) {
  for (const a3c::Activation activation : kActivations) {
    for_each_isa([&] {
      a3c::ModelConfig config = config_of({64, 20}, activation);
      config.lstm_size = 20;
      DensePair pair(config, 2, 3, 240);
      for (int64_t sample = 0; sample < pair.samples(); ++sample)
        for (int64_t i = 0; i < 17; ++i) {
          float x;
          std::memcpy(&x, &pair.observations[sample * pair.row() + 4 * i], 4);
          x *= 300;
          std::memcpy(&pair.observations[sample * pair.row() + 4 * i], &x, 4);
        }
      pair.compare_forward();
    });
  }
}

TEST(nothing_is_allocated) {
  for (const int lstm_size : {0, 20})
    for_each_isa([&] {
      a3c::ModelConfig config = config_of({64, 300}, a3c::Activation::tanh, bytes_and_numbers(30, 17));
      config.lstm_size = lstm_size;
      DensePair pair(config, 2, 200, 250);
      Outputs outputs = pair.outputs_for(pair.samples());
      const std::vector<int64_t> chosen = pair.samples_of(0, 200);
      const int64_t before = allocations;
      pair.fast->parameters_changed();
      for (int t = 0; t <= 2; ++t) pair.act(t, outputs);
      pair.fast->evaluate(pair.observations.data(), chosen.data(), 400, outputs.policy.data(), outputs.values.data());
      pair.fast->compute_gradients(pair.observations.data(), chosen.data(), 400, outputs.policy.data(),
                                   outputs.values.data());
      CHECK_EQUAL(allocations, before);
    });
}

// The convolutions' own kernels, and the LSTM behind them.
TEST(nothing_is_allocated_behind_convolutions) {
  for (const int lstm_size : {0, 20})
    for_each_isa([&] {
      a3c::ModelConfig config;
      config.kind = a3c::ModelKind::paper;
      config.observation = {.array_shape = {4, 84, 84}};
      config.num_outputs = 4;
      config.lstm_size = lstm_size;
      config.precision = a3c::Precision::fp32;
      a3c::StageClock clock{};
      const std::unique_ptr<a3c::Network> network = a3c::make_network(config, 2, 3, clock);
      const std::vector<uint8_t> images(size_t{9} * 4 * 84 * 84, 7), starts(9);
      const std::vector<int64_t> samples = {0, 1, 2, 3, 4, 5};
      std::vector<float> policy(9 * 4), values(9);
      const int64_t before = allocations;
      network->parameters_changed();
      for (int t = 0; t <= 2; ++t) network->act(t, images.data(), starts.data(), policy.data(), values.data());
      network->evaluate(images.data(), samples.data(), 6, policy.data(), values.data());
      network->compute_gradients(images.data(), samples.data(), 6, policy.data(), values.data());
      CHECK_EQUAL(allocations, before);
    });
}

TEST(each_of_its_stages_has_its_time) {
  a3c::ModelConfig config = config_of({64, 64});
  for (const int lstm_size : {0, 8}) {
    config.lstm_size = lstm_size;
    DensePair pair(config, 2, 4, 260);
    Outputs outputs = pair.outputs_for(pair.samples());
    pair.act(0, outputs);
    pair.fast->compute_gradients(pair.observations.data(), pair.samples_of(0, 4).data(), 8, outputs.policy.data(),
                                 outputs.values.data());
    for (int stage = 0; stage < a3c::kNumStages; ++stage) {
      const bool dense = stage == a3c::kPackWeights || stage == a3c::kDenseForward || stage == a3c::kDenseBackward;
      const bool lstm = stage == a3c::kLstmForward || stage == a3c::kLstmBackward;
      CHECK_EQUAL(pair.clock.nanoseconds[stage] > 0, dense || (lstm && lstm_size > 0));
    }
  }
}

TEST(only_what_it_was_written_for_is_supported) {
  a3c::ModelConfig config = config_of({64});
  CHECK(a3c::DenseNet::supports(config));
  config.precision = a3c::Precision::automatic;
  CHECK(a3c::DenseNet::supports(config));
  config.precision = a3c::Precision::bf16;
  CHECK(!a3c::DenseNet::supports(config));
  CHECK_THROWS(a3c::network_isa(config), "only paper and nature on observations [4, 84, 84] compute in bf16");
  CHECK(!a3c::DenseNet::supports(config_of({})));  // a linear model
  config = config_of({64});
  config.kind = a3c::ModelKind::small;
  CHECK(!a3c::DenseNet::supports(config));
}

TEST(the_environment_variable_chooses) {
  const struct Unset {
    ~Unset() { unsetenv("A3C_FAST_ISA"); }
  } unset;
  a3c::ModelConfig config = config_of({64});
  const std::string best = a3c::network_isa(config);
  config.precision = a3c::Precision::automatic;
  CHECK_EQUAL(std::string(a3c::network_isa(config)), best);
  setenv("A3C_FAST_ISA", "libtorch", 1);
  CHECK_EQUAL(std::string(a3c::network_isa(config)), "libtorch");
  setenv("A3C_FAST_ISA", "sse", 1);
  CHECK_THROWS(a3c::network_isa(config), "the kernels that A3C_FAST_ISA may name are amx");
  for (const char* isa : {"avx2", "avx512", "avx512_bf16", "amx"}) {
    setenv("A3C_FAST_ISA", isa, 1);
    config.precision = a3c::Precision::automatic;
    try {
      const std::string expected = std::strcmp(isa, "avx2") == 0 ? "avx2" : "avx512";
      CHECK_EQUAL(std::string(a3c::network_isa(config)), expected);
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()).find("this CPU does not have") == 0);
      continue;
    }
    config.precision = a3c::Precision::fp32;
    if (!std::strcmp(isa, "amx") || !std::strcmp(isa, "avx512_bf16"))
      CHECK_THROWS(a3c::network_isa(config), "computes in bf16 and not in fp32");
  }
}

}  // namespace

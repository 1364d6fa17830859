// Our kernels against LibTorch's autograd, which is the definition.
#include "model/kernels/conv_net.h"

#include <algorithm>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "model/threads.h"
#include "relu_margin.h"

namespace {

struct Pair {
  Pair(a3c::ModelKind kind, int num_actions, int t_max_, int num_envs_, unsigned seed, int lstm_size = 0,
       double scale = 1)
      : t_max(t_max_),
        num_envs(num_envs_),
        config{kind, {4, 84, 84}, a3c::ObservationType::uint8, num_actions, {}, lstm_size, 0.4, scale},
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
                                          *a3c::best_kernels(), clock);
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
    for (size_t first = 0; first < observations.size(); first += kBytes)
      while (relu_margin(torch.parameter_specs(), torch.parameters(), config, &observations[first]) < kMargin)
        for (int i = 0; i < kBytes; ++i) observations[first + i] = static_cast<uint8_t>(random());
  }

  // The whole rollout, step by step here and at once there, from a state that is not zero.
  void compare_forward() {
    const int n = num_envs * config.num_actions;
    a3c::Recurrence& recurrence = fast->recurrence();
    std::uniform_real_distribution<float> between(-1, 1);
    for (int i = 0; i < num_envs * recurrence.state_size; ++i) recurrence.state(0)[i] = between(random);
    first_state.assign(recurrence.state(0), recurrence.state(1));
    const std::vector<int64_t> all = samples_of(0, num_envs, t_max + 1);
    std::vector<float> torch_logits(all.size() * config.num_actions), torch_values(all.size());
    std::vector<float> last_state(first_state.size());
    a3c::Sequences sequences{t_max + 1, starts.data(), first_state.data(), last_state.data()};
    torch.forward(observations.data(), all.data(), static_cast<int64_t>(all.size()), sequences, torch_logits.data(),
                  torch_values.data());
    std::vector<float> logits(all.size() * config.num_actions), values(all.size());
    for (int t = 0; t <= t_max; ++t)
      fast->act(t, &observations[static_cast<size_t>(t) * num_envs * kBytes],
                &starts[static_cast<size_t>(t) * num_envs], &logits[static_cast<size_t>(t) * n],
                &values[static_cast<size_t>(t) * num_envs]);
    check_close(logits, torch_logits);
    check_close(values, torch_values);
    const float* state = recurrence.state(t_max + 1);
    check_close({state, state + last_state.size()}, last_state);
  }

  static void check_close(const std::vector<float>& found, const std::vector<float>& expected) {
    CHECK_EQUAL(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) CHECK_CLOSE(found[i], expected[i], 2e-5 + 1e-4 * std::abs(expected[i]));
  }

  // evaluate() of some samples under other parameters, and the gradients of what it has kept.
  void compare_evaluation(const std::vector<int64_t>& samples) {
    for (int64_t i = 0; i < torch.size(); ++i) torch.parameters()[i] *= 0.9f;
    load();
    const auto count = static_cast<int64_t>(samples.size());
    std::vector<float> logits(samples.size() * config.num_actions), values(samples.size());
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
    std::vector<float> d_logits(samples.size() * config.num_actions), d_values(samples.size());
    for (float& x : d_logits) x = normal(random);
    for (float& x : d_values) x = normal(random);
    fast->compute_gradients(observations.data(), samples.data(), count, d_logits.data(), d_values.data());
    set_sequences(samples);
    torch.compute_gradients(observations.data(), samples.data(), count, sequences, d_logits.data(), d_values.data());
    for (const a3c::ParameterSpec& spec : torch.parameter_specs()) {
      int64_t size = 1;
      for (const int64_t extent : spec.shape) size *= extent;
      double difference = 0, largest = 0, squares = 0, torch_squares = 0;
      for (int64_t i = 0; i < size; ++i) {
        const double a = fast->gradients()[spec.offset + i], b = torch.gradients()[spec.offset + i];
        difference = std::max(difference, std::abs(a - b));
        largest = std::max(largest, std::abs(b));
        squares += (a - b) * (a - b);
        torch_squares += b * b;
      }
      CHECK(largest > 0);
      CHECK_CLOSE(difference / largest, 0, 1e-4);
      CHECK_CLOSE(std::sqrt(squares / torch_squares), 0, 3e-5);
    }
    for (int64_t i = 0; i < torch.size(); ++i)  // what lies between the parameters
      if (torch.gradients()[i] == 0 && torch.parameters()[i] == 0) CHECK(fast->gradients()[i] == 0);
  }

  static constexpr int kBytes = 4 * 84 * 84;
  static constexpr double kMargin = 1e-5;  // far beyond a rounding, and one image in ten is nearer
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

// With every instruction set that this CPU has.
template <typename Body>
void for_each_isa(Body body) {
  for (const char* isa : {"avx2", "avx512"}) {
    setenv("A3C_FAST_ISA", isa, 1);
    try {
      a3c::best_kernels();
    } catch (const std::runtime_error&) {
      continue;
    }
    body();
  }
  unsetenv("A3C_FAST_ISA");
}

TEST(paper_equals_libtorch) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::paper, 6, 3, 6, 1);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_gradients(pair.samples_of(0, 3));  // the same activations again, for some of the environments
    pair.compare_gradients(pair.samples_of(3, 3));
    pair.compare_gradients(pair.samples_of(5, 1));
  });
}

TEST(nature_equals_libtorch) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::nature, 18, 2, 4, 2);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 4));
    pair.compare_gradients(pair.samples_of(2, 2));
  });
}

TEST(more_samples_than_a_block) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::paper, 4, 18, 5, 7);  // 90, and dense.inc works on 80 at a time
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 5));
  });
}

TEST(a_rollout_is_evaluated_again) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 3, 6, 6);
    pair.compare_forward();
    pair.compare_evaluation(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(3, 3));  // nine samples, six at a time
    pair.compare_evaluation(pair.samples_of(5, 1));
    pair.compare_evaluation({17, 4, 9, 0, 8, 11, 2, 16});  // of any environment and step
  }
}

TEST(with_an_lstm) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 4, 6, 10, 32);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_gradients(pair.samples_of(2, 3));
    pair.compare_evaluation(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(3, 2));
    pair.compare_evaluation({5, 0, 11, 6, 17, 12, 23, 18});  // environments 5 and 0
  }
}

// What a rollout ends with is what the next one begins with, whatever was evaluated in between.
TEST(the_memory_of_acting_is_carried) {
  Pair pair(a3c::ModelKind::paper, 6, 4, 3, 9, 16);
  pair.compare_forward();
  a3c::Recurrence& recurrence = pair.fast->recurrence();
  const std::vector<float> last(recurrence.state(4), recurrence.state(5));
  pair.compare_evaluation(pair.samples_of(0, 3));
  recurrence.carry(4);
  CHECK(last == std::vector<float>(recurrence.state(0), recurrence.state(1)));
}

TEST(one_environment_and_one_step) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 3, 1, 1, 3);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 1));
  }
}

TEST(nothing_is_left_of_the_rollout_before) {
  Pair pair(a3c::ModelKind::paper, 4, 2, 17, 4);
  for (int i = 0; i < 2; ++i) {
    for (uint8_t& byte : pair.observations) byte = static_cast<uint8_t>(pair.random());
    for (int64_t j = 0; j < pair.torch.size(); ++j) pair.torch.parameters()[j] *= 0.9f;
    pair.load();
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 17));
  }
}

TEST(scaled_observations) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 2, 6, 12, 0, 2.5);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(2, 3));
  }
}

TEST(black_and_white_images) {
  Pair pair(a3c::ModelKind::paper, 6, 1, 2, 5);
  std::fill(pair.observations.begin(), pair.observations.end(), 255);
  std::fill_n(pair.observations.begin(), Pair::kBytes, 0);
  pair.compare_forward();
}

TEST(only_what_it_was_written_for_is_supported) {
  a3c::ModelConfig config{a3c::ModelKind::paper, {4, 84, 84}, a3c::ObservationType::uint8, 6, {}};
  CHECK(a3c::ConvNet::supports(config));
  config.observation_shape = {3, 84, 84};
  CHECK(!a3c::ConvNet::supports(config));
  config = {a3c::ModelKind::mlp, {4, 84, 84}, a3c::ObservationType::uint8, 6, {64}};
  CHECK(!a3c::ConvNet::supports(config));
}

TEST(the_environment_variable_chooses) {
  setenv("A3C_FAST_ISA", "libtorch", 1);
  CHECK(a3c::best_kernels() == nullptr);
  setenv("A3C_FAST_ISA", "sse", 1);
  CHECK_THROWS(a3c::best_kernels(), "avx512, avx2 or libtorch");
  setenv("A3C_FAST_ISA", "avx2", 1);
  CHECK(a3c::best_kernels() != nullptr);
  unsetenv("A3C_FAST_ISA");
}

}  // namespace

// Our kernels in bfloat16: their products, and the whole of them beside a slow torso that rounds where they do.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "model/kernels/dispatch.h"
#include "network_pair.h"

namespace {

using a3c::kernels::bf16;

template <typename Body>
void for_each_isa(Body body) {
  for_each_isa_of(a3c::Precision::bf16, {"avx512_bf16", "amx"}, body);
}

float to_float(bf16 x) {
  const uint32_t bits = uint32_t{x} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

double round_to_bf16(double x) {
  const auto value = static_cast<float>(x);
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return to_float(static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));  // to nearest, ties to even
}

// A ConvNet in bfloat16 beside SlowTorso, which rounds where it does, and the two heads in double. A number half-way
// between two bfloat16 goes where the last bit of its sum sends it, and moves all that comes after; so all weights,
// observations and output gradients are small multiples of powers of 2, whose sums are exact in float32. The biases are
// odd multiples of half of those: no unit is at the corner of its ReLU.
struct Bf16Pair {
  Bf16Pair(a3c::ModelKind kind, int num_actions, int t_max_, int num_envs_, unsigned seed)
      : t_max(t_max_),
        num_envs(num_envs_),
        config(image_config(kind, num_actions, a3c::Precision::bf16, 64.0 / 255, 255)),
        layout(config),
        random(seed),
        net(config, layout.parameter_specs(), layout.size(), t_max, num_envs, *a3c::best_kernels(a3c::Precision::bf16),
            clock),
        observations(static_cast<size_t>(t_max + 1) * num_envs * kBytes) {
    a3c::use_one_torch_thread();
    for (uint8_t& byte : observations) byte = static_cast<uint8_t>(32 * between(0, 7));
    load();
  }

  int between(int low, int high) { return std::uniform_int_distribution(low, high)(random); }

  // New parameters.
  void load() {
    float unit = 1.0f / 32;  // of the sums of a layer
    for (const a3c::ParameterSpec& spec : layout.parameter_specs()) {
      int64_t size = 1;
      for (const int64_t extent : spec.shape) size *= extent;
      const bool weights = spec.name.find("weight") != std::string::npos;
      const int most = spec.name == "conv1.weight" || spec.name.find("head") != std::string::npos ? 3 : 1;
      for (int64_t i = 0; i < size; ++i)
        layout.parameters()[spec.offset + i] =
            weights ? between(-most, most) / 32.0f : between(-3, 3) / 8.0f + unit / 2;
      if (!weights) unit /= 64;
    }
    std::copy(layout.parameters(), layout.parameters() + layout.size(), net.parameters());
    net.parameters_changed();
    slow = std::make_unique<SlowTorso>(layout.parameter_specs(), layout.parameters(), config, round_to_bf16);
  }

  const float* parameter(const std::string& name) {
    for (const a3c::ParameterSpec& spec : layout.parameter_specs())
      if (spec.name == name) return layout.parameters() + spec.offset;
    throw std::invalid_argument("the layout has no " + name);
  }

  // The whole rollout, step by step.
  void act_and_compare() {
    std::vector<float> logits(observations.size() / kBytes * config.num_outputs), values(observations.size() / kBytes);
    const std::vector<uint8_t> starts(num_envs);
    for (int t = 0; t <= t_max; ++t)
      net.act(t, &observations[static_cast<size_t>(t) * num_envs * kBytes], starts.data(),
              &logits[static_cast<size_t>(t) * num_envs * config.num_outputs],
              &values[static_cast<size_t>(t) * num_envs]);
    std::vector<int64_t> all(values.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
    compare_outputs(all, logits, values);
  }

  void evaluate_and_compare(const std::vector<int64_t>& samples) {
    load();
    std::vector<float> logits(samples.size() * config.num_outputs), values(samples.size());
    net.evaluate(observations.data(), samples.data(), static_cast<int64_t>(samples.size()), logits.data(),
                 values.data());
    compare_outputs(samples, logits, values);
    compare_gradients(samples);
  }

  void compare_outputs(const std::vector<int64_t>& samples, const std::vector<float>& logits,
                       const std::vector<float>& values) {
    const auto close = [](double found, double expected) {
      CHECK_CLOSE(found, expected, 1e-5 * (0.2 + std::abs(expected)));
    };
    for (size_t i = 0; i < samples.size(); ++i) {
      const std::vector<double> hidden = slow->forward(&observations[samples[i] * kBytes]);
      for (int a = 0; a < config.num_outputs; ++a)
        close(logits[i * config.num_outputs + a], head(hidden, "policy_head", a));
      close(values[i], head(hidden, "value_head", 0));
    }
  }

  double head(const std::vector<double>& hidden, const std::string& name, int row) {
    const float* weight = parameter(name + ".weight") + static_cast<size_t>(row) * hidden.size();
    double sum = parameter(name + ".bias")[row];
    for (size_t j = 0; j < hidden.size(); ++j) sum += weight[j] * hidden[j];
    return sum;
  }

  void compare_gradients(const std::vector<int64_t>& samples) {
    std::vector<float> d_logits(samples.size() * config.num_outputs), d_values(samples.size());
    for (float& x : d_logits) x = between(-4, 4) / 4.0f;
    for (float& x : d_values) x = between(-4, 4) / 4.0f;
    net.compute_gradients(observations.data(), samples.data(), static_cast<int64_t>(samples.size()), d_logits.data(),
                          d_values.data());
    const std::vector<float> gradient = gradient_of(net);
    std::vector<double> expected(layout.size());
    const int64_t policy = parameter("policy_head.weight") - layout.parameters();
    const int64_t policy_bias = parameter("policy_head.bias") - layout.parameters();
    const int64_t value = parameter("value_head.weight") - layout.parameters();
    const int64_t value_bias = parameter("value_head.bias") - layout.parameters();
    for (size_t i = 0; i < samples.size(); ++i) {
      const std::vector<double> hidden = slow->forward(&observations[samples[i] * kBytes]);
      std::vector<double> d_hidden(hidden.size());
      expected[value_bias] += d_values[i];
      for (int a = 0; a < config.num_outputs; ++a) expected[policy_bias + a] += d_logits[i * config.num_outputs + a];
      for (size_t j = 0; j < hidden.size(); ++j) {
        d_hidden[j] = d_values[i] * layout.parameters()[value + j];
        expected[value + j] += d_values[i] * hidden[j];
        for (int a = 0; a < config.num_outputs; ++a) {
          const double d = d_logits[i * config.num_outputs + a];
          const auto row = policy + static_cast<int64_t>(a * hidden.size() + j);
          d_hidden[j] += d * layout.parameters()[row];
          expected[row] += d * hidden[j];
        }
      }
      slow->backward(d_hidden, expected);
    }
    for (const a3c::ParameterSpec& spec : layout.parameter_specs()) {
      int64_t size = 1;
      for (const int64_t extent : spec.shape) size *= extent;
      double difference = 0, largest = 0, squares = 0, expected_squares = 0;
      for (int64_t i = spec.offset; i < spec.offset + size; ++i) {
        const double d = gradient[i] - expected[i];
        difference = std::max(difference, std::abs(d));
        largest = std::max(largest, std::abs(expected[i]));
        squares += d * d;
        expected_squares += expected[i] * expected[i];
      }
      CHECK(largest > 0);
      CHECK_CLOSE(difference / largest, 0, 1e-5);
      CHECK_CLOSE(std::sqrt(squares / expected_squares), 0, 1e-5);
    }
  }

  std::vector<int64_t> samples_of(int first_env, int count) const {
    std::vector<int64_t> samples;
    for (int t = 0; t < t_max; ++t)
      for (int env = first_env; env < first_env + count; ++env) samples.push_back(int64_t{t} * num_envs + env);
    return samples;
  }

  static constexpr int kBytes = 4 * 84 * 84;
  int t_max, num_envs;
  a3c::ModelConfig config;
  a3c::Replica layout;
  std::mt19937 random;
  a3c::StageClock clock{};
  a3c::ConvNet net;
  std::vector<uint8_t> observations;  // [t_max + 1][num_envs]
  std::unique_ptr<SlowTorso> slow;
};

TEST(products_are_exact_but_for_the_rounding_of_sums) {
  for_each_isa([] {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    const auto fill = [&](std::vector<bf16>& values) {
      for (bf16& x : values) {
        const float value = normal(random);
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        x = static_cast<bf16>(bits >> 16);
      }
    };
    for (const int rows : {1, 16, 17, 48, 64, 80})
      for (const int tiles : {1, 2, 3, 4, 7})
        for (const bool add : {false, true}) {
          constexpr int kSegments = 3, kSteps = 2, kStride = 32, kSegmentStride = 96, kBRow = 40;
          const int padded = (rows + 15) / 16 * 16, columns = tiles * 16, depth = kSegments * kSteps * 32;
          std::vector<bf16> a(padded * kStride + kSegments * kSegmentStride), b(depth / 2 * kBRow * tiles);
          std::vector<float> c(padded * (columns + 8));
          fill(a);
          fill(b);
          for (float& x : c) x = normal(random);
          std::vector<float> before = c;
          const int64_t b_tile = int64_t{depth} / 2 * kBRow;
          a3c::best_kernels(a3c::Precision::bf16)
              ->multiply_bf16({a.data(), kStride, kSegments, kSegmentStride, kSteps, b.data(), kBRow, b_tile,
                               int64_t{16} * kBRow, c.data(), columns + 8, add},
                              rows, tiles);
          for (int m = 0; m < rows; ++m)
            for (int n = 0; n < columns + 8; ++n) {
              const int at = m * (columns + 8) + n;
              double expected = add || n >= columns ? before[at] : 0;
              for (int k = 0; k < depth && n < columns; ++k) {
                const int segment = k / (kSteps * 32), inside = k % (kSteps * 32);
                expected += double{to_float(a[m * kStride + segment * kSegmentStride + inside])} *
                            to_float(b[n / 16 * b_tile + k / 2 * kBRow + n % 16 * 2 + k % 2]);
              }
              CHECK_CLOSE(c[at], expected, 1e-4);
            }
        }
  });
}

TEST(paper_equals_what_rounds_likewise) {
  for_each_isa([] {
    Bf16Pair pair(a3c::ModelKind::paper, 6, 3, 6, 1);
    pair.act_and_compare();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_gradients(pair.samples_of(0, 3));
    pair.compare_gradients(pair.samples_of(5, 1));
    pair.evaluate_and_compare({17, 4, 9, 0, 8, 11, 2, 16});
  });
}

TEST(nature_equals_what_rounds_likewise) {
  for_each_isa([] {
    Bf16Pair pair(a3c::ModelKind::nature, 18, 2, 4, 2);
    pair.act_and_compare();
    pair.compare_gradients(pair.samples_of(0, 4));
    pair.evaluate_and_compare(pair.samples_of(2, 2));
  });
}

TEST(more_samples_than_a_block) {
  for_each_isa([] {
    Bf16Pair pair(a3c::ModelKind::paper, 4, 13, 10, 7);  // 130, and 64 go back together
    pair.act_and_compare();
    pair.compare_gradients(pair.samples_of(0, 10));
  });
}

// Beyond 2 x 256 samples the norm is made in another way; gradient_of() compares it.
TEST(the_norm_of_many_samples) {
  for_each_isa([] {
    for (const int num_envs : {19, 21}) {
      Bf16Pair pair(a3c::ModelKind::paper, 3, 26, num_envs, 4);
      std::vector<float> logits(num_envs * 3), values(num_envs);
      const std::vector<uint8_t> starts(num_envs);
      for (int t = 0; t <= 26; ++t)
        pair.net.act(t, &pair.observations[static_cast<size_t>(t) * num_envs * Bf16Pair::kBytes], starts.data(),
                     logits.data(), values.data());
      const std::vector<int64_t> samples = pair.samples_of(0, num_envs);
      std::vector<float> d_logits(samples.size() * 3), d_values(samples.size());
      for (float& x : d_logits) x = pair.between(-4, 4) / 4.0f;
      for (float& x : d_values) x = pair.between(-4, 4) / 4.0f;
      pair.net.compute_gradients(pair.observations.data(), samples.data(), static_cast<int64_t>(samples.size()),
                                 d_logits.data(), d_values.data());
      CHECK(gradient_of(pair.net, 0.1) == gradient_of(pair.net, 0.9));
    }
  });
}

TEST(one_environment_and_one_step) {
  for_each_isa([] {
    for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
      Bf16Pair pair(kind, 3, 1, 1, 3);
      pair.act_and_compare();
      pair.compare_gradients(pair.samples_of(0, 1));
    }
  });
}

// The LSTM and its heads are float32's. A rounding is 2^-9 of a number, and gradients differ as much as ReLUs that are
// on the other side of their corners: one in some hundred.
TEST(with_an_lstm_it_is_near_float32) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::paper, 6, 4, 6, 10, 32, 1, a3c::Precision::bf16, {0.02, 0.2, 0.1});
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(3, 2));
  });
}

}  // namespace

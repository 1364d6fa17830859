// The worker's copy of the network: its flat layout, its forward pass and its gradients.
#include "model/replica.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/random.h"
#include "model/threads.h"

namespace a3c {
namespace {

using Floats = std::vector<float>;

ModelConfig mlp(const ObservationSpec& observation = numbers(6), std::vector<int64_t> hidden_sizes = {8, 7}) {
  ModelConfig config;
  config.observation = observation;
  config.num_outputs = 3;
  config.hidden_sizes = std::move(hidden_sizes);
  return config;
}
ModelConfig image(ModelKind kind, const ObservationSpec& observation = array_of({4, 84, 84})) {
  ModelConfig config;
  config.kind = kind;
  config.observation = observation;
  config.num_outputs = 6;
  return config;
}

Floats random_floats(size_t size, uint64_t seed) {
  Random random(seed);
  Floats values(size);
  for (float& value : values) value = 2 * random.uniform() - 1;
  return values;
}

std::vector<uint8_t> random_bytes(size_t size, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.next());
  return bytes;
}

int64_t product(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t extent : shape) size *= extent;
  return size;
}

constexpr int64_t kFirstFour[] = {0, 1, 2, 3};

struct Output {
  Floats policy, values;
};
Output forward(Replica& replica, const void* observations, int64_t samples, int num_outputs) {
  Output output{Floats(static_cast<size_t>(samples * num_outputs)), Floats(static_cast<size_t>(samples))};
  replica.forward(observations, samples, {}, output.policy.data(), output.values.data());
  return output;
}

TEST(the_models_have_the_sizes_of_the_papers) {
  const std::map<std::string, std::vector<int64_t>> paper{{"conv1.weight", {16, 4, 8, 8}},  {"conv1.bias", {16}},
                                                          {"conv2.weight", {32, 16, 4, 4}}, {"conv2.bias", {32}},
                                                          {"fc1.weight", {256, 2592}},      {"fc1.bias", {256}},
                                                          {"policy_head.weight", {6, 256}}, {"policy_head.bias", {6}},
                                                          {"value_head.weight", {1, 256}},  {"value_head.bias", {1}}};
  const std::map<std::string, std::vector<int64_t>> nature{{"conv1.weight", {32, 4, 8, 8}},  {"conv1.bias", {32}},
                                                           {"conv2.weight", {64, 32, 4, 4}}, {"conv2.bias", {64}},
                                                           {"conv3.weight", {64, 64, 3, 3}}, {"conv3.bias", {64}},
                                                           {"fc1.weight", {512, 3136}},      {"fc1.bias", {512}},
                                                           {"policy_head.weight", {6, 512}}, {"policy_head.bias", {6}},
                                                           {"value_head.weight", {1, 512}},  {"value_head.bias", {1}}};
  const std::map<std::string, std::vector<int64_t>> small{{"conv1.weight", {16, 3, 3, 3}},  {"conv1.bias", {16}},
                                                          {"conv2.weight", {32, 16, 3, 3}}, {"conv2.bias", {32}},
                                                          {"fc1.weight", {128, 768}},       {"fc1.bias", {128}},
                                                          {"policy_head.weight", {6, 128}}, {"policy_head.bias", {6}},
                                                          {"value_head.weight", {1, 128}},  {"value_head.bias", {1}}};
  for (const auto& [kind, shapes] :
       {std::pair{ModelKind::paper, paper}, std::pair{ModelKind::nature, nature}, std::pair{ModelKind::small, small}}) {
    const Replica replica(kind == ModelKind::small ? image(kind, array_of({3, 10, 8})) : image(kind));
    CHECK_EQUAL(replica.parameter_specs().size(), shapes.size());
    for (const ParameterSpec& spec : replica.parameter_specs()) {
      CHECK(shapes.contains(spec.name));
      CHECK(spec.shape == shapes.at(spec.name));
      CHECK_EQUAL(spec.channels_last, spec.shape.size() == 4);
    }
  }
}

// Every activation, with and without what a continuous action and layers of the value's own add.
std::vector<ModelConfig> kinds_of_mlp() {
  std::vector<ModelConfig> configs;
  for (const Activation activation : {Activation::tanh, Activation::relu, Activation::elu})
    for (const bool separate : {false, true})
      for (const int num_log_std : {0, 2}) {
        configs.push_back(mlp());
        configs.back().activation = activation;
        configs.back().separate_value = separate;
        configs.back().num_log_std = num_log_std;
      }
  return configs;
}

TEST(parameters_begin_on_cache_lines_and_do_not_overlap) {
  std::vector<ModelConfig> configs = kinds_of_mlp();
  for (const ModelKind kind : {ModelKind::paper, ModelKind::nature, ModelKind::small}) configs.push_back(image(kind));
  for (const ModelConfig& config : configs) {
    const Replica replica(config);
    int64_t end = 0;
    for (const ParameterSpec& spec : replica.parameter_specs()) {
      CHECK_EQUAL(spec.offset % 16, 0);
      CHECK(spec.offset >= end && spec.offset < end + 16);
      end = spec.offset + product(spec.shape);
    }
    CHECK(replica.size() >= end && replica.size() < end + 16);
  }
}

// What lies between the parameters must stay 0 in the gradient, or optimizer and norm would see it.
void check_padding(const Replica& replica, const float* flat) {
  std::vector<bool> used(static_cast<size_t>(replica.size()));
  for (const ParameterSpec& spec : replica.parameter_specs())
    std::fill_n(used.begin() + spec.offset, product(spec.shape), true);
  for (int64_t i = 0; i < replica.size(); ++i)
    if (!used[static_cast<size_t>(i)]) CHECK_EQUAL(flat[i], 0.0f);
}

TEST(the_padding_stays_0) {
  for (const ModelConfig& config : kinds_of_mlp()) {
    Replica replica(config);
    replica.initialize(3);
    check_padding(replica, replica.parameters());
    const Floats observations = random_floats(4 * 6, 1), d_policy = random_floats(4 * 3, 2), d_values(4, 1.0f);
    replica.compute_gradients(observations.data(), kFirstFour, 4, {}, d_policy.data(), d_values.data());
    check_padding(replica, replica.gradients());
  }
}

TEST(the_seed_decides_the_initialization) {
  Replica one(mlp()), same(mlp()), other(mlp());
  one.initialize(5);
  same.initialize(5);
  other.initialize(6);
  const size_t bytes = static_cast<size_t>(one.size()) * sizeof(float);
  CHECK(!std::memcmp(one.parameters(), same.parameters(), bytes));
  CHECK(std::memcmp(one.parameters(), other.parameters(), bytes));
}

TEST(the_initialization_is_orthogonal_with_its_gains) {
  Replica replica(image(ModelKind::paper));
  replica.initialize(1);
  const std::map<std::string, double> gains{{"conv1.weight", std::sqrt(2.0)},
                                            {"conv2.weight", std::sqrt(2.0)},
                                            {"fc1.weight", std::sqrt(2.0)},
                                            {"policy_head.weight", 0.01},
                                            {"value_head.weight", 1.0}};
  for (const ParameterSpec& spec : replica.parameter_specs()) {
    const float* data = replica.parameters() + spec.offset;
    if (spec.shape.size() == 1) {
      for (int64_t i = 0; i < spec.shape[0]; ++i) CHECK_EQUAL(data[i], 0.0f);
      continue;
    }
    const double gain = gains.at(spec.name);
    const int64_t columns = product(spec.shape) / spec.shape[0];
    const auto dot = [&](int64_t a, int64_t b) {
      double total = 0;
      for (int64_t i = 0; i < columns; ++i) total += double{data[a * columns + i]} * data[b * columns + i];
      return total;
    };
    for (int64_t row = 0; row < spec.shape[0]; ++row) {
      CHECK_CLOSE(dot(row, row), gain * gain, 1e-4 * gain * gain);
      if (row > 0) CHECK_CLOSE(dot(row, row - 1), 0, 1e-4 * gain * gain);
    }
  }
}

TEST(the_first_policy_is_nearly_uniform) {
  Replica replica(image(ModelKind::paper));
  replica.initialize(2);
  const std::vector<uint8_t> observations = random_bytes(2 * 28224, 4);
  const Output output = forward(replica, observations.data(), 2, 6);
  for (const float logit : output.policy) CHECK(std::abs(logit) < 0.1f);
  CHECK(output.policy[0] != output.policy[1]);
}

struct SlowOutput {
  std::vector<double> policy, values;
};

// The layers and the linear heads of an mlp on six numbers, in double.
SlowOutput slow_mlp(const ModelConfig& config, const Replica& replica, const std::vector<double>& flat,
                    const Floats& observations, int64_t samples) {
  std::map<std::string, const ParameterSpec*> specs;
  for (const ParameterSpec& spec : replica.parameter_specs()) specs[spec.name] = &spec;
  const auto layer = [&](const std::string& name, const std::vector<double>& x) {
    const ParameterSpec& weight = *specs.at(name + ".weight");
    const ParameterSpec& bias = *specs.at(name + ".bias");
    std::vector<double> y;
    for (int64_t row = 0; row < weight.shape[0]; ++row) {
      double sum = flat[bias.offset + row];
      for (size_t i = 0; i < x.size(); ++i)
        sum += flat[weight.offset + row * weight.shape[1] + static_cast<int64_t>(i)] * x[i];
      y.push_back(sum);
    }
    return y;
  };
  const auto activated = [&](double x) {
    switch (config.activation) {
      case Activation::tanh: return std::tanh(x);
      case Activation::relu: return std::max(x, 0.0);
      case Activation::elu: return x > 0 ? x : std::expm1(x);
    }
    return x;
  };
  const auto features = [&](const std::string& prefix, std::vector<double> x) {
    for (size_t i = 1; i <= config.hidden_sizes.size(); ++i) {
      x = layer(prefix + std::to_string(i), x);
      for (double& value : x) value = activated(value);
    }
    return x;
  };
  SlowOutput output;
  for (int64_t n = 0; n < samples; ++n) {
    const std::vector<double> x(observations.begin() + n * 6, observations.begin() + (n + 1) * 6);
    for (const double logit : layer("policy_head", features("fc", x))) output.policy.push_back(logit);
    for (int j = 0; j < config.num_log_std; ++j) output.policy.push_back(flat[specs.at("log_std")->offset + j]);
    output.values.push_back(layer("value_head", features(config.separate_value ? "value_fc" : "fc", x))[0]);
  }
  return output;
}

void fill(Replica& replica, const Floats& values) {
  for (const ParameterSpec& spec : replica.parameter_specs())
    std::copy_n(values.begin() + spec.offset, product(spec.shape), replica.parameters() + spec.offset);
}

TEST(the_forward_pass_reads_the_flat_parameters) {
  for (const ModelConfig& config : kinds_of_mlp()) {
    Replica replica(config);
    fill(replica, random_floats(static_cast<size_t>(replica.size()), 7));
    const std::vector<double> flat(replica.parameters(), replica.parameters() + replica.size());
    for (const int64_t samples : {1, 5, 2}) {
      const Floats observations = random_floats(static_cast<size_t>(samples * 6), 8);
      const Output output = forward(replica, observations.data(), samples, 3);
      const SlowOutput expected = slow_mlp(config, replica, flat, observations, samples);
      for (size_t i = 0; i < output.policy.size(); ++i) CHECK_CLOSE(output.policy[i], expected.policy[i], 1e-5);
      for (size_t i = 0; i < output.values.size(); ++i) CHECK_CLOSE(output.values[i], expected.values[i], 1e-5);
    }
  }
}

TEST(the_gradient_equals_finite_differences) {
  for (const ModelConfig& config : kinds_of_mlp()) {
    Replica replica(config);
    fill(replica, random_floats(static_cast<size_t>(replica.size()), 9));
    const Floats observations = random_floats(4 * 6, 10), d_policy = random_floats(4 * 3, 11);
    const Floats d_values = random_floats(4, 12);
    replica.compute_gradients(observations.data(), kFirstFour, 4, {}, d_policy.data(), d_values.data());
    const auto objective = [&](const std::vector<double>& flat) {
      const SlowOutput output = slow_mlp(config, replica, flat, observations, 4);
      double total = 0;
      for (size_t i = 0; i < d_policy.size(); ++i) total += d_policy[i] * output.policy[i];
      for (size_t i = 0; i < d_values.size(); ++i) total += d_values[i] * output.values[i];
      return total;
    };
    const std::vector<double> flat(replica.parameters(), replica.parameters() + replica.size());
    double largest = 0;
    for (size_t i = 0; i < flat.size(); ++i) {
      constexpr double kStep = 1e-6;  // to the corner of no ReLU
      std::vector<double> up = flat, down = flat;
      up[i] += kStep;
      down[i] -= kStep;
      const double slope = (objective(up) - objective(down)) / (2 * kStep);
      CHECK_CLOSE(replica.gradients()[i], slope, 1e-4);
      largest = std::max(largest, std::abs(slope));
    }
    CHECK(largest > 0.1);
  }
}

TEST(log_sigma_is_a_parameter_that_every_sample_has) {
  ModelConfig config = mlp();
  config.num_log_std = 2;
  config.initial_log_std = -0.5;
  Replica replica(config);
  replica.initialize(1);
  const ParameterSpec& log_std = replica.parameter_specs().back();
  CHECK_EQUAL(log_std.name, "log_std");
  CHECK(log_std.shape == std::vector<int64_t>{2});
  const Floats observations = random_floats(4 * 6, 1), d_values(4);
  for (const float log_sigma : {-0.5f, 0.25f}) {
    replica.parameters()[log_std.offset + 1] = log_sigma;
    const Output output = forward(replica, observations.data(), 4, 3);
    for (int n = 0; n < 4; ++n) {
      CHECK_EQUAL(output.policy[n * 3 + 1], -0.5f);
      CHECK_EQUAL(output.policy[n * 3 + 2], log_sigma);
    }
  }
  const Floats d_policy{9, 1, 10, 9, 2, 20, 9, 3, 30, 9, 4, 40};
  replica.compute_gradients(observations.data(), kFirstFour, 4, {}, d_policy.data(), d_values.data());
  CHECK_CLOSE(replica.gradients()[log_std.offset], 10, 1e-5);
  CHECK_CLOSE(replica.gradients()[log_std.offset + 1], 100, 1e-5);
}

TEST(policy_and_value_share_no_layer_where_the_value_has_its_own) {
  ModelConfig config = mlp();
  config.separate_value = true;
  Replica replica(config);
  replica.initialize(1);
  const Floats observations = random_floats(4 * 6, 1), none(4 * 3), ones(4 * 3, 1.0f);
  for (const bool of_value : {false, true}) {
    replica.compute_gradients(observations.data(), kFirstFour, 4, {}, (of_value ? none : ones).data(),
                              (of_value ? ones : none).data());
    for (const ParameterSpec& spec : replica.parameter_specs()) {
      double sum = 0;
      for (int64_t i = 0; i < product(spec.shape); ++i) sum += std::abs(replica.gradients()[spec.offset + i]);
      CHECK_EQUAL(sum > 0, of_value == spec.name.starts_with("value_"));
    }
  }
  config.lstm_size = 4;
  CHECK_THROWS(Replica(config), "only an mlp without an LSTM has layers of its own for the value");
  config = image(ModelKind::paper);
  config.separate_value = true;
  CHECK_THROWS(Replica(config), "only an mlp without an LSTM has layers of its own for the value");
}

// The gradients of the parts of a rollout add up to that of the whole: environments are told apart rightly.
void check_parts(const ModelConfig& config, const void* observations, int t_max, int num_envs) {
  Replica replica(config);
  replica.initialize(1);
  const auto samples = static_cast<size_t>(t_max) * num_envs;
  const Floats d_policy = random_floats(samples * config.num_outputs, 1), d_values = random_floats(samples, 2);
  std::vector<int64_t> all(samples);
  std::iota(all.begin(), all.end(), 0);
  replica.compute_gradients(observations, all.data(), static_cast<int64_t>(samples), {}, d_policy.data(),
                            d_values.data());
  const Floats whole(replica.gradients(), replica.gradients() + replica.size());
  Floats sum(whole.size());
  for (int env = 0; env < num_envs; ++env) {
    Floats part_policy, part_values;
    std::vector<int64_t> part;
    for (int t = 0; t < t_max; ++t) {
      const auto i = static_cast<size_t>(t * num_envs + env);
      part_policy.insert(part_policy.end(), &d_policy[i * config.num_outputs],
                         &d_policy[i * config.num_outputs] + config.num_outputs);
      part_values.push_back(d_values[i]);
      part.push_back(static_cast<int64_t>(i));
    }
    replica.compute_gradients(observations, part.data(), t_max, {}, part_policy.data(), part_values.data());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += replica.gradients()[i];
  }
  double largest = 0;
  for (const float g : whole) largest = std::max(largest, std::abs(double{g}));
  CHECK(largest > 0);
  for (size_t i = 0; i < sum.size(); ++i) CHECK_CLOSE(sum[i], whole[i], 1e-4 * largest);
}

TEST(the_gradients_of_the_environments_add_up) {
  check_parts(mlp(), random_floats(3 * 4 * 6, 3).data(), 3, 4);
  check_parts(image(ModelKind::paper), random_bytes(2 * 3 * 28224, 3).data(), 2, 3);
}

// Observations of random bytes and, behind them, random numbers.
std::vector<uint8_t> bytes_and_numbers(const ObservationSpec& spec, size_t count, uint64_t seed) {
  std::vector<uint8_t> rows = random_bytes(count * spec.bytes(), seed);
  for (size_t n = 0; n < count; ++n) {
    const Floats values = random_floats(static_cast<size_t>(spec.num_features), seed + n);
    std::memcpy(&rows[n * spec.bytes() + spec.features_offset()], values.data(), values.size() * sizeof(float));
  }
  return rows;
}

const std::vector<std::pair<ModelKind, ObservationSpec>>& images_with_numbers() {
  static const std::vector<std::pair<ModelKind, ObservationSpec>> images{
      {ModelKind::small, array_of({3, 7, 5}, ElementType::uint8, 2)},  // numbers behind 105 bytes and 3 of nobody's
      {ModelKind::small, array_of({1, 5, 5}, ElementType::float32, 3)},
      {ModelKind::paper, array_of({4, 84, 84}, ElementType::uint8, 5)}};
  return images;
}

TEST(the_gradients_of_images_with_numbers_beside_them_add_up) {
  for (const auto& [kind, spec] : images_with_numbers()) {
    std::vector<uint8_t> rows = bytes_and_numbers(spec, 6, 3);
    if (spec.array_type == ElementType::float32) {
      const Floats values = random_floats(rows.size() / 4, 4);
      std::memcpy(rows.data(), values.data(), rows.size());
    }
    check_parts(image(kind, spec), rows.data(), 2, 3);
  }
}

// Behind the last feature maps: each number reaches the value through one weight, all others are 0.
TEST(numbers_beside_an_image_join_its_feature_maps) {
  for (const auto& [kind, spec] : images_with_numbers()) {
    Replica replica(image(kind, spec));
    std::map<std::string, ParameterSpec> specs;
    for (const ParameterSpec& parameter : replica.parameter_specs()) specs[parameter.name] = parameter;
    const int64_t maps =
        kind == ModelKind::paper ? 9 * 9 * 32 : (spec.array_shape[1] - 4) * (spec.array_shape[2] - 4) * 32;
    const int64_t columns = maps + spec.num_features;
    CHECK(specs.at("fc1.weight").shape == (std::vector<int64_t>{kind == ModelKind::paper ? 256 : 128, columns}));
    const std::vector<uint8_t> rows = bytes_and_numbers(spec, 4, 5);
    for (int64_t j = 0; j < spec.num_features; ++j) {
      float* flat = replica.parameters();
      std::fill_n(flat, replica.size(), 0.0f);
      flat[specs.at("fc1.weight").offset + 7 * columns + maps + j] = 3;
      flat[specs.at("fc1.bias").offset + 7] = 10;  // so that the ReLU lets all of it through
      flat[specs.at("value_head.weight").offset + 7] = 2;
      const Output output = forward(replica, rows.data(), 4, 6);
      for (int n = 0; n < 4; ++n) {
        float number;
        std::memcpy(&number, &rows[n * spec.bytes() + spec.features_offset() + 4 * j], sizeof(number));
        CHECK_CLOSE(output.values[n], 2 * (10 + 3 * number), 1e-4);
      }
    }
  }
}

TEST(the_gradient_is_that_of_the_last_call_alone) {
  Replica replica(mlp());
  replica.initialize(1);
  const Floats observations = random_floats(6, 3), d_policy{1, 2, 3}, d_values{1};
  replica.compute_gradients(observations.data(), kFirstFour, 1, {}, d_policy.data(), d_values.data());
  const Floats once(replica.gradients(), replica.gradients() + replica.size());
  replica.compute_gradients(observations.data(), kFirstFour, 1, {}, d_policy.data(), d_values.data());
  CHECK(!std::memcmp(once.data(), replica.gradients(), once.size() * sizeof(float)));
  const Floats zero(3);
  replica.compute_gradients(observations.data(), kFirstFour, 1, {}, zero.data(), zero.data());
  for (int64_t i = 0; i < replica.size(); ++i) CHECK_EQUAL(replica.gradients()[i], 0.0f);
}

// The convolutions of one window written out: bytes are divided by 255, weights lie channels-last.
TEST(the_first_convolution_reads_bytes_channels_last) {
  Replica replica(image(ModelKind::paper));
  std::map<std::string, ParameterSpec> specs;
  for (const ParameterSpec& spec : replica.parameter_specs()) specs[spec.name] = spec;
  // One pixel of one channel reaches the value through one weight of each layer, all others are 0.
  float* flat = replica.parameters();
  std::fill_n(flat, replica.size(), 0.0f);
  const auto& conv1 = specs.at("conv1.weight");
  const auto& conv2 = specs.at("conv2.weight");
  const auto& fc1 = specs.at("fc1.weight");
  const int out1 = 3, channel = 2, y = 5, x = 6;  // of the first kernel
  const int out2 = 9, y2 = 1, x2 = 2;             // of the second
  const int row = 4, column = 7, hidden = 11;     // of the second's output, 9 x 9
  flat[conv1.offset + ((out1 * 8 + y) * 8 + x) * 4 + channel] = 2.0f;
  flat[conv2.offset + ((out2 * 4 + y2) * 4 + x2) * 16 + out1] = 3.0f;
  flat[fc1.offset + hidden * 2592 + (row * 9 + column) * 32 + out2] = 5.0f;
  flat[specs.at("value_head.weight").offset + hidden] = 7.0f;
  flat[specs.at("policy_head.weight").offset + 4 * 256 + hidden] = -1.0f;

  std::vector<uint8_t> observations(28224);
  const int pixel_y = (row * 2 + y2) * 4 + y, pixel_x = (column * 2 + x2) * 4 + x;
  observations[channel * 7056 + pixel_y * 84 + pixel_x] = 51;
  const Output output = forward(replica, observations.data(), 1, 6);
  CHECK_CLOSE(output.values[0], 0.2 * 2 * 3 * 5 * 7, 1e-4);
  for (int action = 0; action < 6; ++action) CHECK_CLOSE(output.policy[action], action == 4 ? -0.2 * 30 : 0, 1e-4);

  observations.assign(28224, 51);
  observations[channel * 7056 + pixel_y * 84 + pixel_x] = 0;
  CHECK_CLOSE(forward(replica, observations.data(), 1, 6).values[0], 0, 1e-6);
}

TEST(float_observations_are_taken_as_they_are) {
  Replica bytes(mlp(array_of({2, 3}), {8}));
  Replica floats(mlp(array_of({2, 3}, ElementType::float32), {8}));
  bytes.initialize(1);
  floats.initialize(1);
  const std::vector<uint8_t> observations = random_bytes(2 * 6, 5);
  Floats scaled;
  for (const uint8_t byte : observations) scaled.push_back(static_cast<float>(byte) / 255.0f);
  const Output a = forward(bytes, observations.data(), 2, 3), b = forward(floats, scaled.data(), 2, 3);
  for (size_t i = 0; i < a.policy.size(); ++i) CHECK_CLOSE(a.policy[i], b.policy[i], 1e-6);
}

TEST(a_linear_model_is_an_mlp_without_layers) {
  Replica replica(mlp(numbers(6), {}));
  CHECK_EQUAL(replica.parameter_specs().size(), size_t{4});
  fill(replica, random_floats(static_cast<size_t>(replica.size()), 7));
  const Floats observations = random_floats(6, 1), zero(6);
  const Output output = forward(replica, observations.data(), 1, 3);
  const float* weight = replica.parameters() + replica.parameter_specs()[0].offset;
  double expected = forward(replica, zero.data(), 1, 3).policy[0];
  for (int i = 0; i < 6; ++i) expected += double{weight[i]} * observations[i];
  CHECK_CLOSE(output.policy[0], expected, 1e-5);
}

TEST(observations_that_no_convolution_takes_are_refused) {
  CHECK_THROWS(Replica(image(ModelKind::paper, numbers(4))), "[channels, height, width]");
  CHECK_THROWS(Replica(image(ModelKind::paper, array_of({84, 84}))), "[channels, height, width]");
  CHECK_THROWS(Replica(image(ModelKind::nature, array_of({4, 20, 20}))), "too small");
  CHECK_THROWS(Replica(image(ModelKind::small, array_of({4, 4, 5}))), "too small");
}

}  // namespace
}  // namespace a3c

// The worker's copy of the network: its flat layout, its forward pass and its gradients.
#include "model/replica.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "check.h"
#include "learn/random.h"
#include "model/threads.h"

namespace a3c {
namespace {

using Floats = std::vector<float>;

ModelConfig mlp() {
  return {ModelKind::mlp, {6}, ObservationType::float32, 3, {8, 7}};
}
ModelConfig image(ModelKind kind, ObservationType type = ObservationType::uint8) {
  return {kind, {4, 84, 84}, type, 6, {}};
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
  Floats logits, values;
};
Output forward(Replica& replica, const void* observations, int64_t samples, int num_actions) {
  Output output{Floats(static_cast<size_t>(samples * num_actions)), Floats(static_cast<size_t>(samples))};
  replica.forward(observations, samples, {}, output.logits.data(), output.values.data());
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
  for (const auto& [kind, shapes] : {std::pair{ModelKind::paper, paper}, std::pair{ModelKind::nature, nature}}) {
    const Replica replica(image(kind));
    CHECK_EQUAL(replica.parameter_specs().size(), shapes.size());
    for (const ParameterSpec& spec : replica.parameter_specs()) {
      CHECK(shapes.contains(spec.name));
      CHECK(spec.shape == shapes.at(spec.name));
      CHECK_EQUAL(spec.channels_last, spec.shape.size() == 4);
    }
  }
}

TEST(parameters_begin_on_cache_lines_and_do_not_overlap) {
  for (const ModelConfig& config : {mlp(), image(ModelKind::paper), image(ModelKind::nature)}) {
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
  Replica replica(mlp());
  replica.initialize(3);
  check_padding(replica, replica.parameters());
  const Floats observations = random_floats(4 * 6, 1), d_logits = random_floats(4 * 3, 2), d_values(4, 1.0f);
  replica.compute_gradients(observations.data(), kFirstFour, 4, {}, d_logits.data(), d_values.data());
  check_padding(replica, replica.gradients());
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
  for (const float logit : output.logits) CHECK(std::abs(logit) < 0.1f);
  CHECK(output.logits[0] != output.logits[1]);
}

// tanh layers and linear heads, in double.
Output slow_mlp(const Replica& replica, const float* flat, const Floats& observations, int64_t samples) {
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
  Output output;
  for (int64_t n = 0; n < samples; ++n) {
    std::vector<double> x(observations.begin() + n * 6, observations.begin() + (n + 1) * 6);
    for (const char* name : {"fc1", "fc2"}) {
      x = layer(name, x);
      for (double& value : x) value = std::tanh(value);
    }
    for (const double logit : layer("policy_head", x)) output.logits.push_back(static_cast<float>(logit));
    output.values.push_back(static_cast<float>(layer("value_head", x)[0]));
  }
  return output;
}

void fill(Replica& replica, const Floats& values) {
  for (const ParameterSpec& spec : replica.parameter_specs())
    std::copy_n(values.begin() + spec.offset, product(spec.shape), replica.parameters() + spec.offset);
}

TEST(the_forward_pass_reads_the_flat_parameters) {
  Replica replica(mlp());
  fill(replica, random_floats(static_cast<size_t>(replica.size()), 7));
  for (const int64_t samples : {1, 5, 2}) {
    const Floats observations = random_floats(static_cast<size_t>(samples * 6), 8);
    const Output output = forward(replica, observations.data(), samples, 3);
    const Output expected = slow_mlp(replica, replica.parameters(), observations, samples);
    for (size_t i = 0; i < output.logits.size(); ++i) CHECK_CLOSE(output.logits[i], expected.logits[i], 1e-5);
    for (size_t i = 0; i < output.values.size(); ++i) CHECK_CLOSE(output.values[i], expected.values[i], 1e-5);
  }
}

TEST(the_gradient_equals_finite_differences) {
  Replica replica(mlp());
  fill(replica, random_floats(static_cast<size_t>(replica.size()), 9));
  const Floats observations = random_floats(4 * 6, 10), d_logits = random_floats(4 * 3, 11);
  const Floats d_values = random_floats(4, 12);
  replica.compute_gradients(observations.data(), kFirstFour, 4, {}, d_logits.data(), d_values.data());
  const auto objective = [&](const Floats& flat) {
    const Output output = slow_mlp(replica, flat.data(), observations, 4);
    double total = 0;
    for (size_t i = 0; i < d_logits.size(); ++i) total += double{d_logits[i]} * output.logits[i];
    for (size_t i = 0; i < d_values.size(); ++i) total += double{d_values[i]} * output.values[i];
    return total;
  };
  const Floats flat(replica.parameters(), replica.parameters() + replica.size());
  for (size_t i = 0; i < flat.size(); i += 3) {
    Floats up = flat, down = flat;
    up[i] += 1e-2f;
    down[i] -= 1e-2f;
    const double slope = (objective(up) - objective(down)) / (double{up[i]} - down[i]);
    CHECK_CLOSE(replica.gradients()[i], slope, 2e-3);
  }
}

// The gradients of the parts of a rollout add up to that of the whole: environments are told apart rightly.
void check_parts(const ModelConfig& config, const void* observations, int t_max, int num_envs) {
  Replica replica(config);
  replica.initialize(1);
  const auto samples = static_cast<size_t>(t_max) * num_envs;
  const Floats d_logits = random_floats(samples * config.num_actions, 1), d_values = random_floats(samples, 2);
  std::vector<int64_t> all(samples);
  std::iota(all.begin(), all.end(), 0);
  replica.compute_gradients(observations, all.data(), static_cast<int64_t>(samples), {}, d_logits.data(),
                            d_values.data());
  const Floats whole(replica.gradients(), replica.gradients() + replica.size());
  Floats sum(whole.size());
  for (int env = 0; env < num_envs; ++env) {
    Floats part_logits, part_values;
    std::vector<int64_t> part;
    for (int t = 0; t < t_max; ++t) {
      const auto i = static_cast<size_t>(t * num_envs + env);
      part_logits.insert(part_logits.end(), &d_logits[i * config.num_actions],
                         &d_logits[i * config.num_actions] + config.num_actions);
      part_values.push_back(d_values[i]);
      part.push_back(static_cast<int64_t>(i));
    }
    replica.compute_gradients(observations, part.data(), t_max, {}, part_logits.data(), part_values.data());
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

TEST(the_gradient_is_that_of_the_last_call_alone) {
  Replica replica(mlp());
  replica.initialize(1);
  const Floats observations = random_floats(6, 3), d_logits{1, 2, 3}, d_values{1};
  replica.compute_gradients(observations.data(), kFirstFour, 1, {}, d_logits.data(), d_values.data());
  const Floats once(replica.gradients(), replica.gradients() + replica.size());
  replica.compute_gradients(observations.data(), kFirstFour, 1, {}, d_logits.data(), d_values.data());
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
  for (int action = 0; action < 6; ++action) CHECK_CLOSE(output.logits[action], action == 4 ? -0.2 * 30 : 0, 1e-4);

  observations.assign(28224, 51);
  observations[channel * 7056 + pixel_y * 84 + pixel_x] = 0;
  CHECK_CLOSE(forward(replica, observations.data(), 1, 6).values[0], 0, 1e-6);
}

TEST(float_observations_are_taken_as_they_are) {
  Replica bytes({ModelKind::mlp, {2, 3}, ObservationType::uint8, 3, {8}});
  Replica floats({ModelKind::mlp, {2, 3}, ObservationType::float32, 3, {8}});
  bytes.initialize(1);
  floats.initialize(1);
  const std::vector<uint8_t> observations = random_bytes(2 * 6, 5);
  Floats scaled;
  for (const uint8_t byte : observations) scaled.push_back(static_cast<float>(byte) / 255.0f);
  const Output a = forward(bytes, observations.data(), 2, 3), b = forward(floats, scaled.data(), 2, 3);
  for (size_t i = 0; i < a.logits.size(); ++i) CHECK_CLOSE(a.logits[i], b.logits[i], 1e-6);
}

TEST(a_linear_model_is_an_mlp_without_layers) {
  Replica replica({ModelKind::mlp, {6}, ObservationType::float32, 3, {}});
  CHECK_EQUAL(replica.parameter_specs().size(), size_t{4});
  fill(replica, random_floats(static_cast<size_t>(replica.size()), 7));
  const Floats observations = random_floats(6, 1), zero(6);
  const Output output = forward(replica, observations.data(), 1, 3);
  const float* weight = replica.parameters() + replica.parameter_specs()[0].offset;
  double expected = forward(replica, zero.data(), 1, 3).logits[0];
  for (int i = 0; i < 6; ++i) expected += double{weight[i]} * observations[i];
  CHECK_CLOSE(output.logits[0], expected, 1e-5);
}

TEST(observations_that_no_convolution_takes_are_refused) {
  CHECK_THROWS(Replica({ModelKind::paper, {4}, ObservationType::float32, 3, {}}), "[channels, height, width]");
  CHECK_THROWS(Replica({ModelKind::nature, {4, 20, 20}, ObservationType::uint8, 3, {}}), "too small");
}

}  // namespace
}  // namespace a3c

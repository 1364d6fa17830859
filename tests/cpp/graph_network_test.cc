// Networks of the user's own: graphs of operators held to the replica, whose layers they repeat.
#include "model/exported/graph_network.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "configs.h"
#include "env/scripted/fake_env.h"
#include "learn/random.h"
#include "model/exported/exported_network.h"
#include "model/network.h"
#include "model/replica.h"
#include "model/threads.h"
#include "run/engine.h"

namespace a3c {
namespace {

constexpr int kTMax = 3;
constexpr int kNumEnvs = 4;

// Builds a graph call by call.
struct Builder {
  int slot() { return graph.num_slots++; }
  int call(const std::string& name, const std::string& overload, std::vector<GraphArgument> arguments) {
    const int result = slot();
    graph.calls.push_back({name, overload, std::move(arguments), {result}, no_grad});
    return result;
  }
  Graph graph;
  bool no_grad = false;
};

GraphArgument tensor(int slot) {
  return {.constant = {}, .slots = {slot}};
}
GraphArgument tensors(std::vector<int> slots) {
  return {.constant = {}, .slots = std::move(slots), .is_list = true};
}
GraphArgument constant(GraphArgument::Constant value) {
  return {.constant = std::move(value), .slots = {}};
}

ModelConfig mlp_config(int lstm_size = 0) {
  ModelConfig config;
  config.observation = numbers(5);
  config.num_outputs = 3;
  config.hidden_sizes = {8};
  config.lstm_size = lstm_size;
  return config;
}

// The mlp of mlp_config() as torch.export would write it, with the parameters of the seed.
std::shared_ptr<ExportedNetwork> exported_mlp(const ModelConfig& config, std::vector<int64_t> batches,
                                              bool keeps_a_mean = false) {
  const InitialParameters initial = initial_parameters(config, 7);
  auto network = std::make_shared<ExportedNetwork>();
  network->parameters = initial.specs;
  network->initial = initial.values;
  network->size = static_cast<int64_t>(initial.values.size());
  network->state_size = keeps_a_mean ? static_cast<int>(config.observation.num_features) : 0;
  network->constants.push_back({{}, {}, 6, std::vector<char>(sizeof(float))});  // 0.0, of no dimension
  for (const int64_t batch : batches) {
    Builder b;
    std::vector<int> parameters;
    for (size_t i = 0; i < initial.specs.size(); ++i) parameters.push_back(b.slot());
    b.graph.inputs = parameters;
    int x = b.slot();
    b.graph.inputs.push_back(x);
    const int zero = b.slot();
    b.graph.constants.emplace_back(zero, 0);
    int state = -1;
    if (keeps_a_mean) {  // state <- (state + x) / 2, which the layers see
      state = b.slot();
      b.graph.inputs.push_back(state);
      const int sum = b.call("aten::add", "Tensor", {tensor(state), tensor(x), constant(int64_t{1})});
      x = state = b.call("aten::mul", "Tensor", {tensor(sum), constant(0.5)});
    }
    const auto linear = [&](int input, size_t layer) {
      return b.call("aten::linear", "",
                    {tensor(input), tensor(parameters[2 * layer]), tensor(parameters[2 * layer + 1])});
    };
    const int hidden =
        b.call("aten::add", "Tensor",
               {tensor(b.call("aten::tanh", "", {tensor(linear(x, 0))})), tensor(zero), constant(std::monostate())});
    const int values = b.call("aten::squeeze", "dim", {tensor(linear(hidden, 2)), constant(int64_t{1})});
    b.graph.outputs = {linear(hidden, 1), values};
    if (keeps_a_mean) b.graph.outputs.push_back(state);
    network->graphs[batch] = b.graph;
  }
  return network;
}

std::vector<float> random_floats(size_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& value : values) value = 2 * random.uniform() - 1;
  return values;
}

struct Pass {
  std::vector<float> policy, values, gradient;
  double norm = 0;
};

// Acts through a rollout and takes the gradients of an update, of the environments `first` .. `first + envs - 1`.
Pass pass_of(Network& network, const std::vector<float>& parameters, int first = 0, int envs = kNumEnvs) {
  const NewThreadTorch independent;
  std::copy(parameters.begin(), parameters.end(), network.parameters());
  network.parameters_changed();
  const std::vector<float> observations = random_floats((kTMax + 1) * kNumEnvs * 5, 11);
  Pass pass;
  pass.policy.resize(kTMax * kNumEnvs * 3);
  pass.values.resize(kTMax * kNumEnvs);
  for (int t = 0; t < kTMax; ++t) {
    const std::vector<uint8_t> starts{t == 0, t == 0, t == 1, t == 0};
    network.act(t, &observations[static_cast<size_t>(t) * kNumEnvs * 5], starts.data(), &pass.policy[t * kNumEnvs * 3],
                &pass.values[t * kNumEnvs]);
  }
  std::vector<int64_t> samples;
  for (int t = 0; t < kTMax; ++t)
    for (int env = first; env < first + envs; ++env) samples.push_back(t * kNumEnvs + env);
  const auto count = static_cast<int64_t>(samples.size());
  std::vector<float> policy(samples.size() * 3), values(samples.size());
  network.evaluate(observations.data(), samples.data(), count, policy.data(), values.data());
  for (int64_t i = 0; i < count; ++i) {
    CHECK_CLOSE(values[i], pass.values[samples[i]], 1e-6);
    for (int j = 0; j < 3; ++j) CHECK_CLOSE(policy[3 * i + j], pass.policy[3 * samples[i] + j], 1e-6);
  }
  const std::vector<float> d_policy = random_floats(policy.size(), 12), d_values = random_floats(values.size(), 13);
  network.compute_gradients(observations.data(), samples.data(), count, d_policy.data(), d_values.data());
  pass.norm = network.squared_gradient_norm();
  pass.gradient.resize(static_cast<size_t>(network.size()));
  for (const double from : {0.0, 0.6}) {
    std::vector<float> found(pass.gradient.size());
    network.read_gradients(from, [&](int64_t offset, int64_t size, const float* gradient) {
      for (int64_t i = 0; i < size; ++i) CHECK_EQUAL(found[static_cast<size_t>(offset + i)], 0.0f);  // once
      std::copy_n(gradient, size, &found[static_cast<size_t>(offset)]);
    });
    if (from == 0)
      pass.gradient = found;
    else
      CHECK(found == pass.gradient);
  }
  return pass;
}

TEST(a_graph_that_repeats_the_replica_is_it_to_the_last_bit) {
  StageClock clock{};
  start(clock);
  ModelConfig config = mlp_config();
  config.exported = exported_mlp(config, {kNumEnvs, kTMax * 2});
  CHECK_EQUAL(std::string(network_isa(config)), "libtorch");
  const auto ours = make_network(config, kTMax, kNumEnvs, clock);
  const InitialParameters initial = initial_parameters(config, 99);  // its own, whatever the seed is
  CHECK(initial.values == config.exported->initial);
  const Pass found = pass_of(*ours, initial.values, 1, 2);

  Replica replica(mlp_config());
  std::copy(initial.values.begin(), initial.values.end(), replica.parameters());
  const NewThreadTorch independent;
  const std::vector<float> observations = random_floats((kTMax + 1) * kNumEnvs * 5, 11);
  std::vector<float> policy(found.policy.size()), values(found.values.size());
  for (int t = 0; t < kTMax; ++t)  // as many at a time: another number may be another order of sums
    replica.forward(&observations[static_cast<size_t>(t) * kNumEnvs * 5], kNumEnvs, {}, &policy[t * kNumEnvs * 3],
                    &values[t * kNumEnvs]);
  CHECK(policy == found.policy);
  CHECK(values == found.values);
  const std::vector<int64_t> samples{1, 2, 5, 6, 9, 10};
  const std::vector<float> d_policy = random_floats(18, 12), d_values = random_floats(6, 13);
  replica.compute_gradients(observations.data(), samples.data(), 6, {}, d_policy.data(), d_values.data());
  CHECK(std::equal(found.gradient.begin(), found.gradient.end(), replica.gradients()));
  double squares = 0;
  for (const float g : found.gradient) squares += double{g} * g;
  CHECK_CLOSE(found.norm, squares, 1e-5 * squares);
}

// Finite differences through the steps, of the loss whose gradients pass_of() takes.
TEST(gradients_go_back_through_the_steps_of_a_state) {
  StageClock clock{};
  start(clock);
  ModelConfig config = mlp_config();
  config.exported = exported_mlp(config, {kNumEnvs}, true);
  const auto network = make_network(config, kTMax, kNumEnvs, clock);
  const std::vector<float> theta = config.exported->initial;
  const std::vector<float> d_policy = random_floats(kTMax * kNumEnvs * 3, 12),
                           d_values = random_floats(kTMax * kNumEnvs, 13);
  const auto loss_of = [&](const std::vector<float>& parameters) {
    const Pass pass = pass_of(*network, parameters);
    double loss = 0;
    for (size_t i = 0; i < pass.policy.size(); ++i) loss += double{pass.policy[i]} * d_policy[i];
    for (size_t i = 0; i < pass.values.size(); ++i) loss += double{pass.values[i]} * d_values[i];
    return loss;
  };
  const Pass pass = pass_of(*network, theta);
  for (const ParameterSpec& spec : config.exported->parameters) {
    const auto at = static_cast<size_t>(spec.offset);
    std::vector<float> up = theta, down = theta;
    up[at] += 1e-2f;
    down[at] -= 1e-2f;
    CHECK_CLOSE(pass.gradient[at], (loss_of(up) - loss_of(down)) / 2e-2, 2e-3);
  }
}

TEST(what_no_output_depends_on_has_a_gradient_of_zero) {
  StageClock clock{};
  start(clock);
  ModelConfig config = mlp_config();
  auto exported = exported_mlp(config, {kNumEnvs, kTMax * kNumEnvs});
  for (auto& [count, graph] : exported->graphs)
    for (GraphCall& call : graph.calls)
      if (call.name == "aten::tanh") call.no_grad = true;  // the heads alone learn
  config.exported = exported;
  const auto network = make_network(config, kTMax, kNumEnvs, clock);
  const Pass pass = pass_of(*network, exported->initial);
  const auto is_zero = [&](size_t parameter) {
    const ParameterSpec& spec = exported->parameters[parameter];
    return pass.gradient[static_cast<size_t>(spec.offset)] == 0;
  };
  CHECK(is_zero(0));
  CHECK(is_zero(1));
  CHECK(!is_zero(2));
}

TEST(lists_of_tensors_and_none_among_them) {
  StageClock clock{};
  start(clock);
  ModelConfig config = mlp_config();
  auto exported = exported_mlp(config, {kNumEnvs, kTMax * kNumEnvs});
  config.exported = std::make_shared<ExportedNetwork>(*exported);
  const Pass plain = pass_of(*make_network(config, kTMax, kNumEnvs, clock), exported->initial);
  for (auto& [count, graph] : exported->graphs) {
    Builder b;
    b.graph = graph;
    // outputs[:, 0:2] beside outputs[:, 2:], through a list, and an index that takes every row.
    const auto slice = [&](int64_t from, int64_t to) {
      return b.call(
          "aten::slice", "Tensor",
          {tensor(graph.outputs[0]), constant(int64_t{1}), constant(from), constant(to), constant(int64_t{1})});
    };
    const int joined = b.call("aten::cat", "", {tensors({slice(0, 2), slice(2, 3)}), constant(int64_t{1})});
    const int which =
        b.call("aten::arange", "", {constant(int64_t{3}), constant({}), constant({}), constant({}), constant({})});
    b.graph.outputs[0] = b.call("aten::index", "Tensor", {tensor(joined), tensors({-1, which})});
    graph = b.graph;
  }
  config.exported = exported;
  const Pass found = pass_of(*make_network(config, kTMax, kNumEnvs, clock), exported->initial);
  CHECK(found.policy == plain.policy);
  CHECK(found.gradient == plain.gradient);
}

TEST(what_libtorch_does_not_have_is_refused) {
  StageClock clock{};
  ModelConfig config = mlp_config();
  auto exported = exported_mlp(config, {kNumEnvs});
  exported->graphs[kNumEnvs].calls[0].name = "aten::no_such_operator";
  config.exported = exported;
  CHECK_THROWS(make_network(config, kTMax, kNumEnvs, clock), "has no operator aten::no_such_operator");
  exported->graphs[kNumEnvs].calls[0].name = "aten::tanh";
  CHECK_THROWS(make_network(config, kTMax, kNumEnvs, clock), "aten::tanh has other arguments");
}

TEST(another_number_of_observations_is_told) {
  StageClock clock{};
  start(clock);
  ModelConfig config = mlp_config();
  config.exported = exported_mlp(config, {kNumEnvs});
  const auto network = make_network(config, kTMax, kNumEnvs, clock);
  CHECK_THROWS(pass_of(*network, config.exported->initial), "not exported for 12 observations");
}

TEST(two_workers_train_it) {
  const TrainConfig train = small_config();
  for (const bool keeps_a_mean : {false, true}) {
    ModelConfig config = model_of(small_spec());
    const auto exported = exported_mlp(config, {2, int64_t{2} * train.t_max}, keeps_a_mean);
    config.exported = exported;
    std::vector<std::unique_ptr<EnvClient>> clients;
    for (uint32_t i = 0; i < 2; ++i) clients.push_back(std::make_unique<FakeEnv>(fake_config(2, i)));
    Engine engine(train, config, std::move(clients));
    std::vector<float> before(static_cast<size_t>(engine.num_parameters())), after = before;
    engine.read_parameters(before.data());
    CHECK(before == exported->initial);
    engine.start(3000);
    CHECK(engine.wait(check::kPatience));
    CHECK(!engine.failure());
    engine.read_parameters(after.data());
    CHECK(after != before);
  }
}

}  // namespace
}  // namespace a3c

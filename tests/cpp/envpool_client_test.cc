// EnvPoolClient against a pool written here, which speaks EnvPool's side of the ABI.
#include "env/envpool_client.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "handlers.h"

namespace a3c {
namespace {

constexpr int kEnvs = 3;
constexpr int kActions = 4;

// What the pool answers by key, and what it was sent. Its address is the handle.
struct Pool {
  EnvPoolSpecs specs;
  std::map<std::string, std::vector<char>> answers;
  std::vector<std::vector<int32_t>> sent;  // the arguments of the last send() but the handle
  int sends = 0;
  int minor = 3;
  const char* recv_error = nullptr;
  const char* send_error = nullptr;

  template <typename T>
  void answer(const std::string& key, const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const char*>(values.data());
    answers[key].assign(bytes, bytes + values.size() * sizeof(T));
  }
  std::unique_ptr<EnvPoolClient> client(std::shared_ptr<void> owner = nullptr) {
    return std::make_unique<EnvPoolClient>(specs, std::move(owner));
  }
  BufferSpec& state(const std::string& key) {
    return *std::find_if(specs.state.begin(), specs.state.end(), [&](const BufferSpec& b) { return b.key == key; });
  }
  void remove(const std::string& key) {
    std::erase_if(specs.state, [&](const BufferSpec& b) { return b.key == key; });
  }
};

int g_minor = 3;  // what the handlers answer to the probe, which carries no handle

xla::Error* recv_handler(xla::CallFrame* frame) {
  if (xla::answer_probe(frame, 0, g_minor)) return nullptr;
  const Pool& pool = *xla::handle_of<Pool>(frame);
  if (pool.recv_error) return xla::report_error(frame, pool.recv_error);
  for (size_t i = 0; i < pool.specs.state.size(); ++i) {
    const std::vector<char>& bytes = pool.answers.at(pool.specs.state[i].key);
    std::memcpy(xla::result(frame, static_cast<int64_t>(i) + 1).data, bytes.data(), bytes.size());
  }
  return nullptr;
}

xla::Error* send_handler(xla::CallFrame* frame) {
  if (xla::answer_probe(frame, 0, g_minor)) return nullptr;
  Pool& pool = *xla::handle_of<Pool>(frame);
  if (pool.send_error) return xla::report_error(frame, pool.send_error);
  ++pool.sends;
  pool.sent.clear();
  for (int64_t i = 1; i < frame->args.size; ++i) {
    const auto* data = static_cast<const int32_t*>(xla::argument(frame, i).data);
    pool.sent.emplace_back(data, data + kEnvs);
  }
  return nullptr;
}

xla::Error* handler_of_another_version(xla::CallFrame* frame) {
  return xla::answer_probe(frame, 1, 0) ? nullptr : xla::report_error(frame, "called all the same");
}

// Like an Atari pool, with observations of 2 x 3 bytes.
std::unique_ptr<Pool> make_pool() {
  auto pool = std::make_unique<Pool>();
  pool->specs.recv = recv_handler;
  pool->specs.send = send_handler;
  pool->specs.handle = reinterpret_cast<int64_t>(pool.get());
  pool->specs.num_envs = kEnvs;
  pool->specs.num_actions = kActions;
  pool->specs.state = {{"info:env_id", "int32", {kEnvs}},   {"info:players.env_id", "int32", {kEnvs}},
                       {"elapsed_step", "int32", {kEnvs}},  {"done", "bool", {kEnvs}},
                       {"reward", "float32", {kEnvs}},      {"discount", "float32", {kEnvs}},
                       {"step_type", "int32", {kEnvs}},     {"trunc", "bool", {kEnvs}},
                       {"obs", "uint8", {kEnvs, 2, 3}},     {"info:lives", "int32", {kEnvs}},
                       {"info:reward", "float32", {kEnvs}}, {"info:terminated", "int32", {kEnvs}},
                       {"info:ram", "uint8", {kEnvs, 128}}};
  pool->specs.action = {
      {"env_id", "int32", {kEnvs}}, {"players.env_id", "int32", {kEnvs}}, {"action", "int32", {kEnvs}}};
  const std::vector<int32_t> ids{0, 1, 2};
  const std::vector<int32_t> ints(kEnvs);
  const std::vector<float> floats(kEnvs);
  const std::vector<uint8_t> bools(kEnvs);
  pool->answer("info:env_id", ids);
  pool->answer("info:players.env_id", ids);
  for (const char* key : {"elapsed_step", "step_type", "info:lives", "info:terminated"}) pool->answer(key, ints);
  for (const char* key : {"reward", "discount", "info:reward"}) pool->answer(key, floats);
  for (const char* key : {"done", "trunc"}) pool->answer(key, bools);
  std::vector<uint8_t> observations(kEnvs * 6);
  for (size_t i = 0; i < observations.size(); ++i) observations[i] = static_cast<uint8_t>(10 + i);
  pool->answer("obs", observations);
  pool->answer("info:ram", std::vector<uint8_t>(kEnvs * 128));
  return pool;
}

const StepBatch& receive(EnvPoolClient& client) {
  static std::vector<uint8_t> observations;
  observations.assign(static_cast<size_t>(client.spec().num_envs * client.spec().observation_bytes()), 0);
  return client.recv(observations.data());
}

TEST(the_spec_is_read_from_the_pool) {
  const auto pool = make_pool();
  const EnvSpec spec = pool->client()->spec();
  CHECK_EQUAL(spec.num_envs, kEnvs);
  CHECK_EQUAL(spec.num_actions, kActions);
  CHECK(spec.observation_shape == (std::vector<int64_t>{2, 3}));
  CHECK(spec.observation_type == ObservationType::uint8);
  CHECK_EQUAL(spec.observation_bytes(), 6);

  pool->state("obs") = {"obs", "float32", {kEnvs, 5}};
  const EnvSpec other = pool->client()->spec();
  CHECK(other.observation_type == ObservationType::float32);
  CHECK_EQUAL(other.observation_bytes(), 20);
}

TEST(recv_writes_the_observations_where_it_is_told_and_nothing_beyond) {
  const auto pool = make_pool();
  const auto client = pool->client();
  for (int round = 0; round < 2; ++round) {
    std::vector<uint8_t> observations(kEnvs * 6 + 1, 255);
    client->recv(observations.data());
    for (int i = 0; i < kEnvs * 6; ++i) CHECK_EQUAL(int{observations[i]}, 10 + i);
    CHECK_EQUAL(int{observations.back()}, 255);
  }
}

TEST(recv_finds_its_buffers_by_key_in_any_order) {
  const auto pool = make_pool();
  std::reverse(pool->specs.state.begin(), pool->specs.state.end());
  pool->answer<float>("reward", {1, 2, 3});
  pool->answer<float>("info:reward", {4, 5, 6});
  pool->answer<uint8_t>("done", {0, 1, 0});
  const auto client = pool->client();
  std::vector<uint8_t> observations(kEnvs * 6);
  const StepBatch& batch = client->recv(observations.data());
  for (int i = 0; i < kEnvs; ++i) {
    CHECK_EQUAL(batch.reward[i], static_cast<float>(i + 1));
    CHECK_EQUAL(batch.raw_reward[i], static_cast<float>(i + 4));
    CHECK_EQUAL(int{batch.done[i]}, i == 1);
    CHECK_EQUAL(int{observations[i * 6]}, 10 + i * 6);
  }
}

TEST(a_pool_without_a_raw_reward_pays_what_it_says) {
  const auto pool = make_pool();
  pool->remove("info:reward");
  pool->answer<float>("reward", {1, -2, 3});
  const auto client = pool->client();
  const StepBatch& batch = receive(*client);
  CHECK_EQUAL(batch.raw_reward[1], -2.0f);
}

struct Ending {
  const char* name;
  uint8_t done, trunc;
  int32_t terminated;
  int bootstraps, episode_ended;
};

void check_endings(Pool& pool, const std::vector<Ending>& endings) {
  const auto client = pool.client();
  for (const Ending& ending : endings) {
    pool.answer<uint8_t>("done", {0, ending.done, 0});
    pool.answer<uint8_t>("trunc", {0, ending.trunc, 0});
    pool.answer<int32_t>("info:terminated", {0, ending.terminated, 0});
    const StepBatch& batch = receive(*client);
    if (batch.bootstraps[1] != ending.bootstraps || batch.episode_ended[1] != ending.episode_ended)
      check::fail(__FILE__, __LINE__,
                  std::string(ending.name) + ": bootstraps " + std::to_string(batch.bootstraps[1]) +
                      ", episode_ended " + std::to_string(batch.episode_ended[1]));
    for (int other : {0, 2}) {  // nothing of it reaches the neighbours
      CHECK_EQUAL(int{batch.bootstraps[other]}, 1);
      CHECK_EQUAL(int{batch.episode_ended[other]}, 0);
    }
  }
}

TEST(what_ends_and_what_bootstraps_with_info_terminated) {
  check_endings(*make_pool(), {{"an ordinary step", 0, 0, 0, 1, 0},
                               {"a game that ended", 1, 0, 1, 0, 1},
                               {"a truncation", 1, 1, 0, 1, 1},
                               {"a truncation at the very end of a game", 1, 1, 1, 0, 1},
                               {"a lost life", 1, 0, 0, 0, 0}});
}

TEST(what_ends_and_what_bootstraps_without_info_terminated) {
  const auto pool = make_pool();
  pool->remove("info:terminated");
  check_endings(*pool, {{"an ordinary step", 0, 0, 0, 1, 0},
                        {"an ordinary step, though a field that is not there says otherwise", 0, 0, 1, 1, 0},
                        {"an episode that terminated", 1, 0, 0, 0, 1},
                        {"a truncation", 1, 1, 0, 1, 1}});
}

TEST(environments_out_of_order_are_refused) {
  const std::vector<std::vector<int32_t>> orders{{1, 0, 2}, {0, 1, 3}, {0, 0, 2}, {0, 1, -1}, {3, 4, 5}};
  for (const std::vector<int32_t>& order : orders) {
    const auto pool = make_pool();
    pool->answer("info:env_id", order);
    const auto client = pool->client();
    CHECK_THROWS(receive(*client), "out of order");
    CHECK_THROWS(client->probe(), "out of order");
  }
}

TEST(the_probe_passes_on_a_pool_in_order) {
  const auto pool = make_pool();
  pool->client()->probe();
}

TEST(send_hands_over_a_copy_of_the_actions_and_every_id) {
  const auto pool = make_pool();
  const auto client = pool->client();
  std::vector<int32_t> actions{3, 0, 2};
  client->send(actions.data());
  CHECK_EQUAL(pool->sent.size(), size_t{3});
  CHECK(pool->sent[0] == (std::vector<int32_t>{0, 1, 2}));
  CHECK(pool->sent[1] == (std::vector<int32_t>{0, 1, 2}));
  CHECK(pool->sent[2] == actions);
  actions = {1, 1, 1};
  client->send(actions.data());
  CHECK(pool->sent[2] == actions);
}

TEST(actions_out_of_range_never_reach_the_pool) {
  const auto pool = make_pool();
  const auto client = pool->client();
  for (const int32_t action : {-1, kActions, 1000000, INT_MAX, INT_MIN}) {
    for (int env = 0; env < kEnvs; ++env) {
      std::vector<int32_t> actions(kEnvs, 0);
      actions[env] = action;
      const std::string message =
          "action " + std::to_string(action) + " of environment " + std::to_string(env) + " is outside 0 to 3";
      CHECK_THROWS(client->send(actions.data()), message.c_str());
    }
  }
  CHECK_EQUAL(pool->sends, 0);
  const std::vector<int32_t> largest(kEnvs, kActions - 1);
  client->send(largest.data());
  CHECK_EQUAL(pool->sends, 1);
}

TEST(errors_of_the_pool_are_thrown) {
  const auto pool = make_pool();
  const auto client = pool->client();
  const std::vector<int32_t> actions(kEnvs);
  pool->recv_error = "no frame";
  CHECK_THROWS(receive(*client), "EnvPool's recv handler failed: no frame");
  pool->send_error = "no joystick";
  CHECK_THROWS(client->send(actions.data()), "EnvPool's send handler failed: no joystick");
  pool->recv_error = pool->send_error = nullptr;
  receive(*client);
  client->send(actions.data());
}

TEST(another_abi_version_is_refused_for_either_handler) {
  const auto pool = make_pool();
  pool->specs.recv = handler_of_another_version;
  CHECK_THROWS(pool->client(), "EnvPool's recv handler speaks XLA FFI 1.0");
  pool->specs.recv = recv_handler;
  pool->specs.send = handler_of_another_version;
  CHECK_THROWS(pool->client(), "EnvPool's send handler speaks XLA FFI 1.0");
  pool->specs.send = send_handler;
  g_minor = 9;
  CHECK_THROWS(pool->client(), "EnvPool's recv handler speaks XLA FFI 0.9");
  g_minor = 3;
  pool->client();
}

TEST(specs_that_are_not_built_are_refused) {
  struct Case {
    const char* message;
    std::function<void(Pool&)> spoil;
  };
  const std::vector<Case> cases{
      {"state has no info:env_id", [](Pool& p) { p.remove("info:env_id"); }},
      {"state has no reward", [](Pool& p) { p.remove("reward"); }},
      {"state has no done", [](Pool& p) { p.remove("done"); }},
      {"state has no trunc", [](Pool& p) { p.remove("trunc"); }},
      {"state has no obs", [](Pool& p) { p.remove("obs"); }},
      {"state has no obs", [](Pool& p) { p.state("obs").key = "obs:camera"; }},
      {"reward is float64", [](Pool& p) { p.state("reward").dtype = "float64"; }},
      {"done is uint8", [](Pool& p) { p.state("done").dtype = "uint8"; }},
      {"trunc is int32", [](Pool& p) { p.state("trunc").dtype = "int32"; }},
      {"info:env_id is int64", [](Pool& p) { p.state("info:env_id").dtype = "int64"; }},
      {"info:reward is float64", [](Pool& p) { p.state("info:reward").dtype = "float64"; }},
      {"info:terminated is bool", [](Pool& p) { p.state("info:terminated").dtype = "bool"; }},
      {"reward is float32 and not one float32", [](Pool& p) { p.state("reward").shape = {kEnvs, 2}; }},
      {"obs is float64: only uint8 and float32", [](Pool& p) { p.state("obs").dtype = "float64"; }},
      {"obs is int32: only uint8 and float32", [](Pool& p) { p.state("obs").dtype = "int32"; }},
      {"info:ram has the dtype float16", [](Pool& p) { p.state("info:ram").dtype = "float16"; }},
      {"reward is not one row an environment", [](Pool& p) { p.state("reward").shape = {kEnvs + 1}; }},
      {"obs is not one row an environment", [](Pool& p) { p.state("obs").shape = {-1, 2, 3}; }},
      {"info:lives is not one row an environment", [](Pool& p) { p.state("info:lives").shape = {}; }},
      {"action is float32", [](Pool& p) { p.specs.action[2].dtype = "float32"; }},
      {"action is float64", [](Pool& p) { p.specs.action[2].dtype = "float64"; }},
      {"action is int32 and not one int32", [](Pool& p) { p.specs.action[2].shape = {kEnvs, 6}; }},
      {"action is not env_id, players.env_id and action", [](Pool& p) { p.specs.action.pop_back(); }},
      {"action is not env_id, players.env_id and action", [](Pool& p) { p.specs.action[2].key = "torque"; }},
      {"action is not env_id, players.env_id and action",
       [](Pool& p) { p.specs.action.insert(p.specs.action.begin(), {"extra", "int32", {kEnvs}}); }},
      {"action is not env_id, players.env_id and action",
       [](Pool& p) { std::swap(p.specs.action[1], p.specs.action[2]); }},
  };
  for (const Case& wrong : cases) {
    const auto pool = make_pool();
    wrong.spoil(*pool);
    CHECK_THROWS(pool->client(), wrong.message);
  }
}

TEST(the_owner_lives_as_long_as_the_client) {
  const auto pool = make_pool();
  auto owner = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owner;
  auto client = pool->client(std::move(owner));
  CHECK(!watched.expired());
  client.reset();
  CHECK(watched.expired());
}

}  // namespace
}  // namespace a3c

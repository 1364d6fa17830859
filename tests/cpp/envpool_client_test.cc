// EnvPoolClient against a pool written here, which speaks EnvPool's side of the ABI.
#include "env/envpool/envpool_client.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "configs.h"
#include "handlers.h"

namespace a3c {
namespace {

constexpr int kEnvs = 3;
constexpr int kActions = 4;

// What the pool answers by key, and what it was sent. Its address is the handle.
struct Pool {
  EnvPoolSpecs specs;
  std::map<std::string, std::vector<char>> answers;
  std::vector<std::vector<char>> sent;        // the arguments of the last send() but the handle
  std::map<std::string, const void*> places;  // where the last recv() wrote
  int sends = 0;
  int minor = 3;
  const char* recv_error = nullptr;
  const char* send_error = nullptr;

  template <typename T>
  void answer(const std::string& key, const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const char*>(values.data());
    answers[key].assign(bytes, bytes + values.size() * sizeof(T));
  }
  template <typename T>
  std::vector<T> sent_as(size_t index) const {
    std::vector<T> values(sent.at(index).size() / sizeof(T));
    std::memcpy(values.data(), sent[index].data(), sent[index].size());
    return values;
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
  Pool& pool = *xla::handle_of<Pool>(frame);
  if (pool.recv_error) return xla::report_error(frame, pool.recv_error);
  for (size_t i = 0; i < pool.specs.state.size(); ++i) {
    const std::string& key = pool.specs.state[i].key;
    const std::vector<char>& bytes = pool.answers.at(key);
    const xla::Buffer& to = xla::result(frame, static_cast<int64_t>(i) + 1);
    std::memcpy(to.data, bytes.data(), bytes.size());
    pool.places[key] = to.data;
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
    const xla::Buffer& from = xla::argument(frame, i);
    int64_t size = bytes_of(dtype_named(pool.specs.action[i - 1].dtype));
    for (int64_t dim = 0; dim < from.rank; ++dim) size *= from.dims[dim];
    const auto* data = static_cast<const char*>(from.data);
    pool.sent.emplace_back(data, data + size);
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
  pool->specs.env = {kEnvs, array_of({2, 3}), discrete({kActions})};
  pool->specs.encodings = {{.key = "obs", .kind = Encoding::Kind::array}};
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
  observations.assign(static_cast<size_t>(client.spec().num_envs * client.spec().observation.bytes()), 0);
  return client.recv(observations.data());
}

TEST(the_spec_is_what_was_made_of_the_pool) {
  const auto pool = make_pool();
  const EnvSpec spec = pool->client()->spec();
  CHECK_EQUAL(spec.num_envs, kEnvs);
  CHECK(spec.action == discrete({kActions}));
  CHECK(spec.observation.array_shape == (std::vector<int64_t>{2, 3}));
  CHECK(spec.observation.array_type == ElementType::uint8);
  CHECK_EQUAL(spec.observation.bytes(), 6);

  pool->state("obs") = {"obs", "float32", {kEnvs, 5}};
  pool->specs.env.observation = numbers(5);
  pool->specs.encodings = {{.key = "obs"}};
  CHECK_EQUAL(pool->client()->spec().observation.bytes(), 20);
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

TEST(what_nobody_must_have_is_ignored_where_it_has_another_type_or_shape) {
  const auto pool = make_pool();
  pool->state("info:reward").dtype = "float64";
  pool->answer<double>("info:reward", {7, 7, 7});
  pool->state("info:lives").shape = {kEnvs, 2};
  pool->answer<int32_t>("info:lives", {1, 2, 3, 4, 5, 6});
  pool->state("info:terminated").dtype = "uint8";
  pool->answer<uint8_t>("info:terminated", {0, 0, 0});
  pool->answer<float>("reward", {1, -2, 3});
  pool->answer<uint8_t>("done", {1, 0, 0});
  const auto client = pool->client();
  const StepBatch& batch = receive(*client);
  CHECK_EQUAL(batch.raw_reward[1], -2.0f);
  CHECK_EQUAL(int{batch.episode_ended[0]}, 1);
  CHECK_EQUAL(int{batch.bootstraps[0]}, 0);
}

struct Ending {
  const char* name;
  uint8_t done, trunc;
  int32_t terminated;
  int bootstraps, episode_ended;
};

template <typename Terminated = int32_t>
void check_endings(Pool& pool, const std::vector<Ending>& endings) {
  const auto client = pool.client();
  for (const Ending& ending : endings) {
    pool.answer<uint8_t>("done", {0, ending.done, 0});
    pool.answer<uint8_t>("trunc", {0, ending.trunc, 0});
    pool.answer<Terminated>("info:terminated", {0, static_cast<Terminated>(ending.terminated), 0});
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

const std::vector<Ending> kEndings{{"an ordinary step", 0, 0, 0, 1, 0},
                                   {"a game that ended", 1, 0, 1, 0, 1},
                                   {"a truncation", 1, 1, 0, 1, 1},
                                   {"a truncation at the very end of a game", 1, 1, 1, 0, 1}};

TEST(what_ends_and_what_bootstraps_with_info_terminated) {
  check_endings(*make_pool(), kEndings);
}

TEST(what_ends_and_what_bootstraps_with_info_terminated_of_bytes) {
  const auto pool = make_pool();
  pool->state("info:terminated").dtype = "bool";
  check_endings<uint8_t>(*pool, kEndings);
}

TEST(what_ends_and_what_bootstraps_without_info_terminated) {
  const auto pool = make_pool();
  pool->remove("info:terminated");
  check_endings(*pool, {{"an ordinary step", 0, 0, 0, 1, 0},
                        {"an ordinary step, though a field that is not there says otherwise", 0, 0, 1, 1, 0},
                        {"an episode that terminated", 1, 0, 0, 0, 1},
                        {"a truncation", 1, 1, 0, 1, 1}});
}

// What environment 1 shows in one step, and what the client says of it.
struct Shown {
  int32_t lives;
  uint8_t done = 0, trunc = 0;
  int32_t terminated = 0;
  int valid = 1, starts = 0, ends = 0, bootstraps = 1, episode_ended = 0;
};

void check_steps(Pool& pool, const std::vector<Shown>& steps) {
  const auto client = pool.client();
  const std::vector<float> actions(kEnvs);
  for (size_t t = 0; t < steps.size(); ++t) {
    const Shown& shown = steps[t];
    pool.answer<int32_t>("info:lives", {5, shown.lives, 0});
    pool.answer<uint8_t>("done", {0, shown.done, 0});
    pool.answer<uint8_t>("trunc", {0, shown.trunc, 0});
    pool.answer<int32_t>("info:terminated", {0, shown.terminated, 0});
    if (t > 0) client->send(actions.data());
    const StepBatch& batch = receive(*client);
    const std::vector<int> said{batch.valid[1], batch.starts[1], batch.done[1], batch.bootstraps[1],
                                batch.episode_ended[1]};
    if (said != std::vector<int>{shown.valid, shown.starts, shown.ends, shown.bootstraps, shown.episode_ended})
      check::fail(__FILE__, __LINE__,
                  "step " + std::to_string(t) + ": valid " + std::to_string(said[0]) + ", starts " +
                      std::to_string(said[1]) + ", done " + std::to_string(said[2]) + ", bootstraps " +
                      std::to_string(said[3]) + ", episode_ended " + std::to_string(said[4]));
    for (int other : {0, 2}) {
      CHECK_EQUAL(int{batch.valid[other]}, t > 0);
      CHECK_EQUAL(int{batch.starts[other]}, t == 0);
      CHECK_EQUAL(int{batch.done[other]}, 0);
      CHECK_EQUAL(int{batch.episode_ended[other]}, 0);
    }
  }
}

constexpr Shown first_of_game(int32_t lives) {
  return {.lives = lives, .valid = 0, .starts = 1};
}
constexpr Shown lost_life(int32_t lives) {
  return {.lives = lives, .ends = 1, .bootstraps = 0};
}
constexpr Shown game_over(int32_t lives) {
  return {.lives = lives, .done = 1, .terminated = 1, .ends = 1, .bootstraps = 0, .episode_ended = 1};
}
constexpr Shown time_is_up(int32_t lives) {
  return {.lives = lives, .done = 1, .trunc = 1, .ends = 1, .episode_ended = 1};
}

std::unique_ptr<Pool> pool_of_lives() {
  auto pool = make_pool();
  pool->specs.episodic_life = true;
  return pool;
}

TEST(a_lost_life_ends_the_return_and_no_episode_and_nothing_is_reset) {
  check_steps(*pool_of_lives(), {first_of_game(3),
                                 {.lives = 3},
                                 lost_life(2),
                                 {.lives = 2},
                                 lost_life(1),
                                 {.lives = 1},
                                 game_over(0),
                                 first_of_game(3),
                                 {.lives = 3}});
}

TEST(a_life_that_is_lost_as_time_is_up_is_feared) {
  Shown both = time_is_up(2);
  both.bootstraps = 0;
  check_steps(*pool_of_lives(), {first_of_game(3), {.lives = 3}, both, first_of_game(3), {.lives = 3}});
}

TEST(the_next_game_begins_with_fewer_lives_than_the_last_one_ended_with) {
  check_steps(*pool_of_lives(), {first_of_game(3), {.lives = 5}, time_is_up(5), first_of_game(3), {.lives = 3}});
}

// Until it has shown its end, as Qbert does.
TEST(where_no_life_is_left_the_game_goes_on_until_it_is_over) {
  check_steps(*pool_of_lives(), {first_of_game(1), {.lives = 1}, {.lives = 0}, {.lives = 0}, game_over(0)});
}

TEST(a_life_that_was_won_ends_nothing_and_is_a_life_to_lose) {
  check_steps(*pool_of_lives(), {first_of_game(3), {.lives = 4}, lost_life(3), {.lives = 3}});
}

TEST(lives_mean_nothing_unless_asked) {
  check_steps(*make_pool(), {first_of_game(3), {.lives = 2}, {.lives = 1}, game_over(0), first_of_game(3)});
}

// The step after it does nothing but say so: the episode is counted once.
TEST(a_game_that_ends_with_the_last_frame_of_a_reset_step_ends_with_the_next_step) {
  check_steps(*pool_of_lives(), {first_of_game(3),
                                 game_over(2),
                                 {.lives = 0, .terminated = 1, .valid = 0, .starts = 1},
                                 game_over(0),
                                 first_of_game(3)});
}

TEST(a_pool_that_was_reset_anew_shows_first_observations) {
  const auto pool = make_pool();
  const auto client = pool->client();
  client->probe();
  const std::vector<float> actions(kEnvs);
  const auto check_all = [&](const StepBatch& batch, int valid) {
    for (int i = 0; i < kEnvs; ++i) {
      CHECK_EQUAL(int{batch.valid[i]}, valid);
      CHECK_EQUAL(int{batch.starts[i]}, !valid);
    }
  };
  pool->answer<int32_t>("info:lives", {3, 3, 3});
  check_all(receive(*client), 0);
  client->send(actions.data());
  check_all(receive(*client), 1);
  check_all(receive(*client), 0);
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
  std::vector<float> actions{3, 0, 2};
  client->send(actions.data());
  CHECK_EQUAL(pool->sent.size(), size_t{3});
  CHECK(pool->sent_as<int32_t>(0) == (std::vector<int32_t>{0, 1, 2}));
  CHECK(pool->sent_as<int32_t>(1) == (std::vector<int32_t>{0, 1, 2}));
  CHECK(pool->sent_as<int32_t>(2) == (std::vector<int32_t>{3, 0, 2}));
  actions = {1, 1, 1};
  client->send(actions.data());
  CHECK(pool->sent_as<int32_t>(2) == (std::vector<int32_t>{1, 1, 1}));
}

// What the pool is sent of these actions in a buffer of `dtype`.
template <typename T>
std::vector<T> sent_of(const char* dtype, const ActionSpec& spec, const std::vector<float>& actions,
                       int first_choice = 0) {
  const auto pool = make_pool();
  pool->specs.env.action = spec;
  pool->specs.first_choice = first_choice;
  pool->specs.action[2].dtype = dtype;
  if (spec.size() > 1) pool->specs.action[2].shape = {kEnvs, spec.size()};
  pool->client()->send(actions.data());
  return pool->sent_as<T>(2);
}

TEST(choices_are_written_as_the_type_that_the_pool_takes) {
  CHECK(sent_of<int16_t>("int16", discrete({4}), {3, 0, 2}) == (std::vector<int16_t>{3, 0, 2}));
  CHECK(sent_of<int64_t>("int64", discrete({4}), {3, 0, 2}) == (std::vector<int64_t>{3, 0, 2}));
  CHECK(sent_of<float>("float32", discrete({4}), {3, 0, 2}) == (std::vector<float>{3, 0, 2}));
}

TEST(choices_begin_where_the_pool_begins) {
  CHECK(sent_of<int16_t>("int16", discrete({4}), {3, 0, 2}, 1) == (std::vector<int16_t>{4, 1, 3}));
  CHECK(sent_of<int32_t>("int32", discrete({4}), {3, 0, 2}, -1) == (std::vector<int32_t>{2, -1, 1}));
}

TEST(several_choices_are_a_row_each) {
  CHECK(sent_of<int32_t>("int32", discrete({4, 2}), {3, 0, 0, 1, 2, 1}) == (std::vector<int32_t>{3, 0, 0, 1, 2, 1}));
}

TEST(continuous_actions_are_given_in_the_environments_units_within_its_bounds) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const ActionSpec spec = continuous({-2, 0, -inf}, {2, 10, inf});
  const std::vector<float> actions{0.5f, -1, 7, -3, 0.25f, -7, 1, 2, 0};
  const std::vector<double> expected{1, 0, 7, -2, 6.25, -7, 2, 10, 0};
  CHECK(sent_of<double>("float64", spec, actions) == expected);
  CHECK(sent_of<float>("float32", spec, actions) == std::vector<float>(expected.begin(), expected.end()));
  CHECK(sent_of<double>("float64", continuous({-1}, {1}), {0.1f, 0, 0}, 1)[0] == double{0.1f});  // no choice is first
}

TEST(actions_that_are_no_numbers_never_reach_the_pool) {
  const auto pool = make_pool();
  pool->specs.env.action = continuous({-1, -1}, {1, 1});
  pool->specs.action[2] = {"action", "float64", {kEnvs, 2}};
  const auto client = pool->client();
  constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const float odd : {nan, inf, -inf})
    for (int i = 0; i < 2 * kEnvs; ++i) {
      std::vector<float> actions(2 * kEnvs, 0.5f);
      actions[i] = odd;
      const std::string who = "environment " + std::to_string(i / 2) + ": action ";
      CHECK_THROWS(client->send(actions.data()), who.c_str());
      const std::string what = " of component " + std::to_string(i % 2) + " is not finite";
      CHECK_THROWS(client->send(actions.data()), what.c_str());
    }
  CHECK_EQUAL(pool->sends, 0);
  const std::vector<float> sound(2 * kEnvs, 5);  // far out, and a number
  client->send(sound.data());
  CHECK_EQUAL(pool->sends, 1);
}

TEST(actions_out_of_range_never_reach_the_pool) {
  const auto pool = make_pool();
  const auto client = pool->client();
  for (const int32_t action : {-1, kActions, 1000000, INT_MAX, INT_MIN}) {
    for (int env = 0; env < kEnvs; ++env) {
      std::vector<float> actions(kEnvs, 0);
      actions[env] = static_cast<float>(action);
      const std::string message = "environment " + std::to_string(env) + ": action " + std::to_string(actions[env]) +
                                  " is no whole number from 0 to 3";
      CHECK_THROWS(client->send(actions.data()), message.c_str());
    }
  }
  std::vector<float> actions(kEnvs, 0.5f);
  CHECK_THROWS(client->send(actions.data()), "environment 0: action 0.500000 is no whole number from 0 to 3");
  actions[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS(client->send(actions.data()), " is no whole number from 0 to 3");
  CHECK_EQUAL(pool->sends, 0);
  const std::vector<float> largest(kEnvs, kActions - 1);
  client->send(largest.data());
  CHECK_EQUAL(pool->sends, 1);
}

TEST(errors_of_the_pool_are_thrown) {
  const auto pool = make_pool();
  const auto client = pool->client();
  const std::vector<float> actions(kEnvs);
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

// The six bytes of an observation as numbers from `position` on, of which there are so many.
void as_numbers(Pool& pool, int64_t count, int64_t position, Encoding::Kind kind = Encoding::Kind::numbers) {
  pool.specs.env.observation = numbers(count);
  pool.specs.encodings = {{.key = "obs", .kind = kind, .position = position, .values = 2}};
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
      {"state has no info:lives",
       [](Pool& p) {
         p.specs.episodic_life = true;
         p.remove("info:lives");
       }},
      {"state has no obs", [](Pool& p) { p.remove("obs"); }},
      {"state has no obs", [](Pool& p) { p.state("obs").key = "obs:camera"; }},
      {"reward is float64", [](Pool& p) { p.state("reward").dtype = "float64"; }},
      {"done is uint8", [](Pool& p) { p.state("done").dtype = "uint8"; }},
      {"trunc is int32", [](Pool& p) { p.state("trunc").dtype = "int32"; }},
      {"info:env_id is int64", [](Pool& p) { p.state("info:env_id").dtype = "int64"; }},
      {"reward is float32 and not one float32", [](Pool& p) { p.state("reward").shape = {kEnvs, 2}; }},
      {"obs is not what its spec says", [](Pool& p) { p.state("obs").dtype = "float32"; }},
      {"obs is not what its spec says", [](Pool& p) { p.state("obs").dtype = "int32"; }},
      {"obs is not what its spec says", [](Pool& p) { p.state("obs").shape = {kEnvs, 2, 2}; }},
      {"obs is not what its spec says", [](Pool& p) { p.specs.encodings[0].kind = Encoding::Kind::numbers; }},
      {"obs is not what its spec says", [](Pool& p) { as_numbers(p, 5, 0); }},
      {"obs is not what its spec says", [](Pool& p) { as_numbers(p, 6, 1); }},
      {"obs is not what its spec says", [](Pool& p) { as_numbers(p, 6, -1); }},
      {"obs is not what its spec says", [](Pool& p) { as_numbers(p, 11, 0, Encoding::Kind::one_hot); }},
      {"EnvPool's info:ram: the dtype float16 is not supported",
       [](Pool& p) { p.state("info:ram").dtype = "float16"; }},
      {"reward is not one row an environment", [](Pool& p) { p.state("reward").shape = {kEnvs + 1}; }},
      {"obs is not one row an environment", [](Pool& p) { p.state("obs").shape = {-1, 2, 3}; }},
      {"info:lives is not one row an environment", [](Pool& p) { p.state("info:lives").shape = {}; }},
      {"action is bool, which is not supported", [](Pool& p) { p.specs.action[2].dtype = "bool"; }},
      {"action is uint8, which is not supported", [](Pool& p) { p.specs.action[2].dtype = "uint8"; }},
      {"action is int8, which is not supported", [](Pool& p) { p.specs.action[2].dtype = "int8"; }},
      {"EnvPool's action: the dtype float16 is not supported", [](Pool& p) { p.specs.action[2].dtype = "float16"; }},
      {"action is not one an environment", [](Pool& p) { p.specs.action[2].shape = {kEnvs, 6}; }},
      {"action is not one an environment", [](Pool& p) { p.specs.env.action = discrete({4, 2}); }},
      {"players.env_id is not one an environment", [](Pool& p) { p.specs.action[1].shape = {2 * kEnvs}; }},
      {"env_id is int64 and not int32", [](Pool& p) { p.specs.action[0].dtype = "int64"; }},
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

TEST(several_arrays_make_one_observation) {
  const auto pool = make_pool();
  pool->remove("obs");
  pool->specs.state.insert(pool->specs.state.begin() + 2, {"obs:speed", "float64", {kEnvs, 2}});
  pool->specs.state.push_back({"obs:camera", "uint8", {kEnvs, 1, 2, 3}});
  pool->specs.state.push_back({"obs:gear", "int32", {kEnvs}});
  pool->specs.env.observation = array_of({3, 1, 2}, ElementType::uint8, 5);
  pool->specs.encodings = {{.key = "obs:gear", .kind = Encoding::Kind::one_hot, .position = 2, .first = 1, .values = 3},
                           {.key = "obs:speed", .position = 0, .scale = 0.5f},
                           {.key = "obs:camera", .kind = Encoding::Kind::channels_last}};
  pool->answer<double>("obs:speed", {1, 2, 3, 4, 5, 6});
  pool->answer<int32_t>("obs:gear", {1, 3, 2});
  std::vector<uint8_t> pixels(kEnvs * 6);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i);
  pool->answer("obs:camera", pixels);
  const auto client = pool->client();
  CHECK_EQUAL(client->spec().observation.bytes(), 8 + 20);
  for (int round = 0; round < 2; ++round) {
    std::vector<float> rows(kEnvs * 7 + 1, -77);
    client->recv(rows.data());
    for (int i = 0; i < kEnvs; ++i) {
      const auto* row = reinterpret_cast<const uint8_t*>(&rows[i * 7]);
      for (int j = 0; j < 6; ++j) CHECK_EQUAL(int{row[j]}, i * 6 + j % 2 * 3 + j / 2);
      const float* numbers = &rows[i * 7 + 2];
      CHECK_EQUAL(numbers[0], 0.5f + static_cast<float>(i));
      CHECK_EQUAL(numbers[1], 1.0f + static_cast<float>(i));
      const int gear = std::vector<int>{0, 2, 1}[i];
      for (int j = 0; j < 3; ++j) CHECK_EQUAL(numbers[2 + j], j == gear ? 1.0f : 0.0f);
    }
    CHECK_EQUAL(rows.back(), -77.0f);
  }
  pool->answer<int32_t>("obs:gear", {1, 4, 2});
  CHECK_THROWS(receive(*client), "an observation's obs:gear is 4, outside its own bounds");
}

// The pool writes it where the worker wants it; only what must be made into something else is copied.
TEST(an_observation_that_is_one_array_is_not_copied) {
  const auto direct = [](Pool& pool) {
    std::vector<float> rows(kEnvs * 8, -77);
    pool.client()->recv(rows.data());
    return pool.places.at("obs") == rows.data();
  };
  const auto pool = make_pool();
  CHECK(direct(*pool));
  pool->specs.env.observation.num_features = 1;  // behind each of the arrays
  CHECK(!direct(*pool));

  pool->state("obs") = {"obs", "float32", {kEnvs, 5}};
  pool->answer("obs", std::vector<float>(kEnvs * 5, 3));
  pool->specs.env.observation = numbers(5);
  pool->specs.encodings = {{.key = "obs"}};
  CHECK(direct(*pool));
  pool->specs.encodings[0].scale = 2;
  CHECK(!direct(*pool));
  pool->specs.encodings[0].scale = 1;
  pool->specs.env.observation.num_features = 6;
  CHECK(!direct(*pool));
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

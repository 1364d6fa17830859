#include "env/scripted/fake_env.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "configs.h"

namespace a3c {
namespace {

// What a batch showed at one step.
struct Seen {
  std::vector<float> observations, reward, raw_reward;
  std::vector<uint8_t> done, bootstraps, episode_ended, valid, starts;

  bool operator==(const Seen&) const = default;
};

Seen receive(FakeEnv& env) {
  const int k = env.spec().num_envs;
  Seen seen;
  seen.observations.resize(static_cast<size_t>(k * env.spec().observation.size()));
  const StepBatch& batch = env.recv(seen.observations.data());
  seen.reward.assign(batch.reward, batch.reward + k);
  seen.raw_reward.assign(batch.raw_reward, batch.raw_reward + k);
  seen.done.assign(batch.done, batch.done + k);
  seen.bootstraps.assign(batch.bootstraps, batch.bootstraps + k);
  seen.episode_ended.assign(batch.episode_ended, batch.episode_ended + k);
  seen.valid.assign(batch.valid, batch.valid + k);
  seen.starts.assign(batch.starts, batch.starts + k);
  return seen;
}

Seen step_with(FakeEnv& env, const std::vector<float>& actions) {
  env.send(actions.data());
  return receive(env);
}

Seen step(FakeEnv& env, const std::vector<int>& choices) {
  return step_with(env, {choices.begin(), choices.end()});
}

// The choice that element i of an observation says is paid in component i.
int paid_choice(const Seen& seen, const EnvSpec& spec, int env, int i = 0) {
  const double fraction = (seen.observations[static_cast<size_t>(env * spec.observation.size() + i)] + 1.0) / 2;
  return static_cast<int>(fraction * spec.action.choices[i]);
}

TEST(the_first_step_shows_the_reset) {
  FakeEnv env(fake_config());
  const Seen seen = receive(env);
  for (int k = 0; k < 2; ++k) {
    CHECK_EQUAL(seen.reward[k], 0.0f);
    CHECK_EQUAL(int{seen.done[k]}, 0);
    CHECK_EQUAL(int{seen.bootstraps[k]}, 1);
    CHECK_EQUAL(int{seen.episode_ended[k]}, 0);
    CHECK_EQUAL(int{seen.valid[k]}, 0);
    CHECK_EQUAL(int{seen.starts[k]}, 1);
  }
  for (const float value : seen.observations) CHECK(value >= -1.0f && value < 1.0f);
  CHECK(seen.observations[0] != seen.observations[4]);  // each environment is another
}

TEST(the_seed_decides_everything) {
  FakeEnv one(fake_config(2, 5)), same(fake_config(2, 5)), other(fake_config(2, 6));
  CHECK(receive(one) == receive(same));
  CHECK(receive(other).observations != receive(one).observations);
  receive(same);
  for (int t = 0; t < 200; ++t) CHECK(step(one, {t % 3, 1}) == step(same, {t % 3, 1}));
}

TEST(the_observation_tells_which_action_is_paid) {
  FakeEnv env(fake_config());
  Seen seen = receive(env);
  int paid = 0;
  for (int t = 0; t < 500; ++t) {
    const Seen before = seen;
    const int right = paid_choice(before, env.spec(), 0);
    const int wrong = (paid_choice(before, env.spec(), 1) + 1) % 3;
    seen = step(env, {right, wrong});
    CHECK_EQUAL(seen.reward[0], before.done[0] ? 0.0f : 1.0f);
    CHECK_EQUAL(seen.reward[1], 0.0f);
    CHECK_EQUAL(seen.raw_reward[1], 0.0f);
    if (before.done[0]) {
      CHECK_EQUAL(seen.raw_reward[0], 0.0f);
    } else {
      CHECK(seen.raw_reward[0] >= 1 && seen.raw_reward[0] <= 4);
      ++paid;
    }
  }
  CHECK(paid > 400);
}

TEST(of_several_choices_the_share_that_is_right_is_paid) {
  FakeEnvConfig config = fake_config(2);
  config.spec.action = discrete({3, 5});
  FakeEnv env(config);
  Seen seen = receive(env);
  for (int t = 0; t < 200; ++t) {
    const Seen before = seen;
    std::vector<int> choices;
    for (int k = 0; k < 2; ++k)
      for (int i = 0; i < 2; ++i) {
        const int right = paid_choice(before, env.spec(), k, i);
        choices.push_back(k == 0 || i == 1 ? right : (right + 1) % 3);
      }
    seen = step(env, choices);
    CHECK_EQUAL(seen.reward[0], before.done[0] ? 0.0f : 1.0f);
    CHECK_EQUAL(seen.reward[1], before.done[1] ? 0.0f : 0.5f);
  }
}

TEST(each_of_several_choices_decides_what_comes) {
  FakeEnvConfig config = fake_config(1);
  config.spec.action = discrete({3, 5});
  const auto after = [&](const std::vector<int>& choices) {
    FakeEnv env(config);
    receive(env);
    return step(env, choices).observations;
  };
  CHECK(after({1, 2}) == after({1, 2}));
  CHECK(after({1, 2}) != after({0, 2}));
  CHECK(after({1, 2}) != after({1, 3}));
}

// In the environment's own units: half of 4 from the middle, 0, on.
TEST(a_continuous_action_is_paid_by_its_distance) {
  FakeEnvConfig config = fake_config(1);
  config.spec.action = continuous({-2, -2}, {2, 2});
  FakeEnv env(config);
  Seen seen = receive(env);
  for (int t = 0; t < 200; ++t) {
    const Seen before = seen;
    const float off = 0.01f * static_cast<float>(t);
    seen = step_with(env, {before.observations[0] / 2 + off / 2, before.observations[1] / 2});
    if (before.done[0]) continue;
    const double aside = std::min(2.0, before.observations[0] + double{off}) - before.observations[0];
    CHECK_CLOSE(seen.reward[0], 1 - aside * aside / 2, 1e-5);
  }
}

TEST(what_comes_does_not_depend_on_continuous_actions) {
  FakeEnvConfig config = fake_config(2);
  config.spec.action = continuous({-1}, {1});
  FakeEnv one(config), other(config);
  CHECK(receive(one) == receive(other));
  for (int t = 0; t < 200; ++t) {
    const Seen a = step_with(one, {0.1f, -5}), b = step_with(other, {-0.7f, 0.3f});
    CHECK(a.observations == b.observations);
    CHECK(a.done == b.done);
  }
}

TEST(games_end_in_three_ways_and_none_takes_longer_than_it_may) {
  FakeEnvConfig config = fake_config(4, 3);
  config.max_episode_steps = 30;
  FakeEnv env(config);
  Seen before = receive(env);
  int terminated = 0, lives = 0, truncated = 0;
  std::vector<int> length(4);
  for (int t = 0; t < 2000; ++t) {
    const Seen seen = step(env, {0, 1, 2, t % 3});
    for (int k = 0; k < 4; ++k) {
      CHECK_EQUAL(int{seen.valid[k]}, !before.done[k]);
      CHECK_EQUAL(int{seen.starts[k]}, int{before.episode_ended[k]});
      length[k] += seen.valid[k];
      CHECK(length[k] <= 30);
      if (!seen.done[k]) {
        CHECK_EQUAL(int{seen.bootstraps[k]}, 1);
        CHECK_EQUAL(int{seen.episode_ended[k]}, 0);
        continue;
      }
      CHECK_EQUAL(int{before.done[k]}, 0);  // the step after an end only resets
      terminated += seen.episode_ended[k] && !seen.bootstraps[k];
      lives += !seen.episode_ended[k] && !seen.bootstraps[k];
      truncated += seen.episode_ended[k] && seen.bootstraps[k];
      CHECK(seen.episode_ended[k] || !seen.bootstraps[k]);
      if (seen.episode_ended[k] && seen.bootstraps[k]) CHECK_EQUAL(length[k], 30);
      if (seen.episode_ended[k]) length[k] = 0;
    }
    before = seen;
  }
  CHECK(terminated > 20);
  CHECK(lives > 20);
  CHECK(truncated > 20);
}

TEST(the_step_after_an_end_ignores_the_action) {
  FakeEnv one(fake_config(1)), other(fake_config(1));
  Seen seen = receive(one);
  receive(other);
  int resets = 0;
  for (int t = 0; t < 500; ++t) {
    const bool reset = seen.done[0];
    seen = step(one, {0});
    CHECK(seen == step(other, {reset ? 2 : 0}));
    resets += reset;
  }
  CHECK(resets > 5);
}

TEST(bytes_have_the_same_games) {
  FakeEnvConfig config = fake_config();
  config.spec.observation = array_of({2, 3});
  FakeEnv env(config);
  std::vector<uint8_t> observations(2 * 6 + 1, 0);
  env.recv(observations.data());
  CHECK_EQUAL(int{observations.back()}, 0);  // nothing is written beyond
  int distinct = 0;
  for (int i = 1; i < 12; ++i) distinct += observations[i] != observations[i - 1];
  CHECK(distinct > 6);
}

TEST(numbers_stand_beside_an_array) {
  FakeEnvConfig config = fake_config();
  config.spec.observation = array_of({5}, ElementType::uint8, 2);
  FakeEnv env(config);
  std::vector<float> rows(2 * 4 + 1, -77);
  env.recv(rows.data());
  const auto* bytes = reinterpret_cast<const uint8_t*>(rows.data());
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 2; ++i) CHECK(rows[k * 4 + 2 + i] >= -1 && rows[k * 4 + 2 + i] < 1);
  CHECK(std::memcmp(bytes, bytes + 16, 5));
  CHECK(rows[2] != rows[6]);
  CHECK_EQUAL(rows.back(), -77.0f);

  // Where there is a float array, the numbers are what would have followed in it.
  config.spec.observation = numbers(6);
  std::vector<float> alone(12), beside(12);
  FakeEnv(config).recv(alone.data());
  config.spec.observation = array_of({2, 2}, ElementType::float32, 2);
  FakeEnv(config).recv(beside.data());
  CHECK(alone == beside);
}

TEST(it_fails_at_the_step_it_is_told) {
  for (const int64_t fail_at : {0, 1, 3}) {
    FakeEnvConfig config = fake_config();
    config.fail_at = fail_at;
    FakeEnv env(config);
    for (int64_t t = 0; t < fail_at; ++t) {
      receive(env);
      const float actions[] = {0, 0};
      env.send(actions);
    }
    const std::string message = "scripted failure at step " + std::to_string(fail_at);
    CHECK_THROWS(receive(env), message.c_str());
  }
}

TEST(it_hangs_at_the_step_it_is_told) {
  FakeEnvConfig config = fake_config();
  config.hang_at = 1;
  config.hang_seconds = 0.05;
  FakeEnv env(config);
  receive(env);
  const auto begin = std::chrono::steady_clock::now();
  step(env, {0, 0});
  CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(50));
}

TEST(actions_out_of_range_are_refused) {
  FakeEnv env(fake_config());
  receive(env);
  CHECK_THROWS(step(env, {0, 3}), "action 3.000000 is no whole number from 0 to 2");
  CHECK_THROWS(step(env, {-1, 0}), "action -1.000000 is no whole number from 0 to 2");
  FakeEnvConfig config = fake_config(1);
  config.spec.action = continuous({-1}, {1});
  FakeEnv other(config);
  receive(other);
  CHECK_THROWS(step_with(other, {std::nanf("")}), " is not finite");
}

TEST(a_saved_state_continues_exactly) {
  FakeEnv original(fake_config(2, 9));
  receive(original);
  for (int t = 0; t < 77; ++t) step(original, {t % 3, 2});
  const Seen current = step(original, {1, 1});
  const std::string state = original.save_state();

  FakeEnv restored(fake_config(2, 9));
  restored.load_state(state);
  CHECK(receive(restored).observations == current.observations);
  for (int t = 0; t < 200; ++t) CHECK(step(original, {t % 3, 0}) == step(restored, {t % 3, 0}));
}

TEST(a_saved_state_counts_its_steps) {
  FakeEnvConfig config = fake_config();
  FakeEnv original(config);
  receive(original);
  step(original, {0, 0});
  step(original, {0, 0});
  config.fail_at = 4;
  FakeEnv restored(config);
  restored.load_state(original.save_state());
  receive(restored);       // step 2 again
  step(restored, {0, 0});  // 3
  CHECK_THROWS(step(restored, {0, 0}), "scripted failure at step 4");
}

TEST(a_state_of_another_number_of_environments_is_refused) {
  FakeEnv two(fake_config(2)), three(fake_config(3));
  receive(two);
  CHECK_THROWS(three.load_state(two.save_state()), "another number of environments");
  CHECK_THROWS(three.load_state(""), "another number of environments");
}

}  // namespace
}  // namespace a3c

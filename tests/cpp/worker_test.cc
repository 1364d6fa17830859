// One worker against an environment that pays, ends and breaks as the test says.
#include "run/worker.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/loss.h"
#include "learn/optimizer.h"
#include "learn/returns.h"
#include "model/replica.h"

namespace a3c {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// What one environment does at one step.
struct Step {
  float reward = 0;
  bool done = false, terminated = false, truncated = false;
  float raw_reward = 0;
};

// Calls `script(t, env)` for what comes of the t-th send(). The observation of step t is a function of t and env.
class ScriptedEnv final : public EnvClient {
 public:
  using Script = std::function<Step(int64_t t, int env)>;

  ScriptedEnv(int num_envs, Script script) : spec_(small_spec(num_envs)), script_(std::move(script)) {
    for (std::vector<uint8_t>* flags : {&done_, &bootstraps_, &episode_ended_}) flags->resize(num_envs);
    for (std::vector<float>* rewards : {&reward_, &raw_reward_}) rewards->resize(num_envs);
  }

  const EnvSpec& spec() const override { return spec_; }
  const StepBatch& recv(void* observations) override {
    if (recvs_ != sends_) throw std::logic_error("recv() without a send() before it");
    for (int env = 0; env < spec_.num_envs; ++env) {
      const Step step = recvs_ == 0 ? Step{} : script_(recvs_ - 1, env);
      reward_[env] = step.reward;
      raw_reward_[env] = step.raw_reward;
      done_[env] = step.done;
      bootstraps_[env] = !step.done || (step.truncated && !step.terminated);
      episode_ended_[env] = step.terminated || step.truncated;
      write_observation(recvs_, env, static_cast<float*>(observations) + env * 4);
    }
    ++recvs_;
    batch_ = {reward_.data(), raw_reward_.data(), done_.data(), bootstraps_.data(), episode_ended_.data()};
    if (after_recv) after_recv(recvs_ - 1);
    return batch_;
  }
  void send(const int32_t* actions) override {
    if (recvs_ != ++sends_) throw std::logic_error("send() without a recv() before it");
    sent.emplace_back(actions, actions + spec_.num_envs);
  }

  static void write_observation(int64_t t, int env, float* observation) {
    for (int j = 0; j < 4; ++j) observation[j] = std::sin(static_cast<float>(t * 7 + env * 3 + j));
  }

  std::function<void(int64_t step)> after_recv;  // called with 0 after the reset, then with 1, 2, ...
  std::vector<std::vector<int32_t>> sent;

 private:
  const EnvSpec spec_;
  const Script script_;
  int64_t recvs_ = 0, sends_ = 0;
  std::vector<float> reward_, raw_reward_;
  std::vector<uint8_t> done_, bootstraps_, episode_ended_;
  StepBatch batch_{};
};

// One worker and what it shares, with the parameters of the model's initialization.
struct Run {
  Run(const TrainConfig& config, int num_envs, ScriptedEnv::Script script)
      : client(new ScriptedEnv(num_envs, std::move(script))),
        worker(0, std::unique_ptr<EnvClient>(client), config, model_of(small_spec(num_envs))),
        shared(config, 1, worker.network->size()) {
    Replica replica(model_of(small_spec(num_envs)));
    replica.initialize(config.seed);
    initial.assign(replica.parameters(), replica.parameters() + replica.size());
    shared.params.load(initial.data(), {}, 0);
  }

  void until(int64_t steps) {
    shared.until = steps;
    run_worker(worker, shared);
  }
  void rollouts(int count) {
    for (int i = 0; i < count; ++i) until(shared.claimed + 1);
  }
  std::vector<float> parameters() const {
    std::vector<float> theta(initial.size());
    shared.params.pull(theta.data());
    return theta;
  }

  ScriptedEnv* client;  // the worker's
  Worker worker;
  Shared shared;
  std::vector<float> initial;
};

Step pays_by_parity(int64_t t, int env) {
  return {.reward = (t + env) % 2 ? 1.0f : -0.5f, .raw_reward = 3};
}

std::vector<int> ints(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

TEST(a_rollout_counts_its_steps_and_updates) {
  for (const int envs_per_update : {1, 2, 4}) {
    Run run(small_config(envs_per_update), 4, pays_by_parity);
    run.rollouts(3);
    CHECK_EQUAL(run.shared.steps.load(), 3 * 5 * 4);
    CHECK_EQUAL(run.shared.claimed.load(), 3 * 5 * 4);
    CHECK_EQUAL(run.shared.params.updates(), 3 * 4 / envs_per_update);
    CHECK_EQUAL(run.client->sent.size(), size_t{15});
    CHECK(run.parameters() != run.initial);
    UpdateLog::Entry sum{};
    CHECK_EQUAL(run.worker.updates.sum_into(sum), size_t(3 * 4 / envs_per_update));
    CHECK(sum.entropy > 0 && sum.grad_norm > 0);
  }
}

TEST(no_rollout_begins_at_the_end) {
  Run run(small_config(), 2, pays_by_parity);
  run.until(0);
  CHECK_EQUAL(run.client->sent.size(), size_t{0});
  run.until(11);  // the second rollout begins at step 10, the third would at 20
  CHECK_EQUAL(run.shared.steps.load(), 20);
  run.until(20);
  CHECK_EQUAL(run.shared.steps.load(), 20);
}

// The same update put together here from its parts, whose own tests say that they are right.
TEST(an_update_is_its_parts_in_order) {
  TrainConfig config = small_config(2);
  for (const double lambda : {1.0, 0.9}) {
    config.gae_lambda = lambda;
    Run run(config, 2, [](int64_t t, int env) {
      if (t == 2 && env == 1) return Step{.reward = 1, .done = true, .terminated = true};
      return pays_by_parity(t, env);
    });
    run.rollouts(1);

    constexpr int kSteps = 5, kEnvs = 2, kActions = 3, kSize = kSteps * kEnvs;
    Replica replica(model_of(small_spec(kEnvs)));
    std::copy(run.initial.begin(), run.initial.end(), replica.parameters());
    std::vector<float> observations((kSize + kEnvs) * 4), logits((kSize + kEnvs) * kActions), values(kSize + kEnvs);
    std::vector<float> rewards(kSize), returns(kSize), advantages(kSize), d_logits(kSize * kActions), d_values(kSize);
    std::vector<uint8_t> done(kSize), bootstraps(kSize, 1), valid(kSize, 1);
    std::vector<int32_t> actions;
    for (int t = 0; t <= kSteps; ++t) {
      for (int env = 0; env < kEnvs; ++env)
        ScriptedEnv::write_observation(t, env, &observations[(t * kEnvs + env) * 4]);
      replica.forward(&observations[t * kEnvs * 4], kEnvs, {}, &logits[t * kEnvs * kActions], &values[t * kEnvs]);
      if (t == kSteps) break;
      for (int env = 0; env < kEnvs; ++env) rewards[t * kEnvs + env] = pays_by_parity(t, env).reward;
      actions.insert(actions.end(), run.client->sent[t].begin(), run.client->sent[t].end());
    }
    rewards[2 * kEnvs + 1] = 1;
    done[2 * kEnvs + 1] = 1;
    bootstraps[2 * kEnvs + 1] = 0;
    valid[3 * kEnvs + 1] = 0;
    if (lambda == 1.0)
      n_step_returns(kSteps, kEnvs, rewards.data(), done.data(), bootstraps.data(), values.data(), config.gamma,
                     returns.data(), advantages.data());
    else
      gae(kSteps, kEnvs, rewards.data(), done.data(), bootstraps.data(), values.data(), config.gamma, lambda,
          returns.data(), advantages.data());
    const LossTerms terms =
        actor_critic_loss(kSize, kActions, logits.data(), nullptr, values.data(), actions.data(), advantages.data(),
                          returns.data(), valid.data(), {0.5f, 0.01f, 0.2f}, d_logits.data(), d_values.data());
    std::vector<int64_t> samples(kSize);
    std::iota(samples.begin(), samples.end(), 0);
    replica.compute_gradients(observations.data(), samples.data(), kSize, {}, d_logits.data(), d_values.data());
    const double norm = std::sqrt(squared_norm(replica.gradients(), replica.size()));
    const float scale = clip_scale_of(norm, config.max_grad_norm);
    std::vector<float> theta = run.initial, mean_square(theta.size());
    rmsprop_update(replica.size(), replica.gradients(), scale, 1e-2f, 0.99f, 0.1f, mean_square.data(), theta.data());

    const std::vector<float> result = run.parameters();
    for (size_t i = 0; i < theta.size(); ++i) CHECK_CLOSE(result[i], theta[i], 1e-6);
    UpdateLog::Entry logged{};
    run.worker.updates.sum_into(logged);
    CHECK_EQUAL(terms.valid, 9);
    CHECK_CLOSE(logged.policy_loss, terms.policy_loss, 1e-6);
    CHECK_CLOSE(logged.value_loss, terms.value_loss, 1e-6);
    CHECK_CLOSE(logged.entropy, terms.entropy, 1e-6);
    CHECK_CLOSE(logged.grad_norm, norm, 1e-6);
  }
}

TEST(the_step_after_an_end_is_masked_also_across_rollouts) {
  Run run(small_config(1), 2, [](int64_t t, int env) {
    if (env == 0 && t == 1) return Step{.done = true, .terminated = true};
    if (env == 1 && t == 4) return Step{.done = true, .truncated = true};  // the last step of the first rollout
    if (env == 1 && t == 7) return Step{.done = true};                     // a lost life
    return Step{};
  });
  run.rollouts(1);
  CHECK(ints(run.worker.rollout.valid) == (std::vector<int>{1, 1, 1, 1, 0, 1, 1, 1, 1, 1}));
  CHECK(ints(run.worker.rollout.done) == (std::vector<int>{0, 0, 1, 0, 0, 0, 0, 0, 0, 1}));
  CHECK(ints(run.worker.rollout.bootstraps) == (std::vector<int>{1, 1, 0, 1, 1, 1, 1, 1, 1, 1}));
  CHECK_EQUAL(run.shared.steps.load(), 9);
  run.rollouts(1);
  CHECK(ints(run.worker.rollout.valid) == (std::vector<int>{1, 0, 1, 1, 1, 1, 1, 0, 1, 1}));
  CHECK(ints(run.worker.rollout.bootstraps) == (std::vector<int>{1, 1, 1, 1, 1, 0, 1, 1, 1, 1}));
  CHECK_EQUAL(run.shared.steps.load(), 9 + 8);
  CHECK_EQUAL(run.shared.claimed.load(), 9 + 8);
}

TEST(what_a_masked_step_pays_teaches_nothing) {
  const auto script = [](float reward_of_reset) {
    return [=](int64_t t, int env) {
      if (t == 2) return Step{.reward = 1, .done = true, .terminated = true};
      if (t == 3) return Step{.reward = reward_of_reset};
      return pays_by_parity(t, env);
    };
  };
  Run quiet(small_config(), 2, script(0)), loud(small_config(), 2, script(1e6f)),
      broken(small_config(), 2, script(kNan));
  for (Run* run : {&quiet, &loud, &broken}) run->rollouts(1);
  CHECK(quiet.parameters() == loud.parameters());
  CHECK(quiet.parameters() == broken.parameters());
  CHECK_EQUAL(broken.shared.skipped_updates.load(), 0);
}

TEST(a_rollout_of_masked_steps_alone_updates_nothing) {
  TrainConfig config = small_config(1);
  config.t_max = 1;
  Run run(config, 1, [](int64_t t, int) { return Step{.done = t == 0, .terminated = t == 0}; });
  run.rollouts(1);
  CHECK_EQUAL(run.shared.params.updates(), 1);
  run.until(2);  // the reset step, which counts for nothing, and one more
  CHECK_EQUAL(run.client->sent.size(), size_t{3});
  CHECK_EQUAL(run.shared.steps.load(), 2);
  CHECK_EQUAL(run.shared.params.updates(), 2);
  CHECK_EQUAL(run.shared.skipped_updates.load(), 0);
}

TEST(episodes_sum_the_raw_reward_and_end_with_the_game) {
  Run run(small_config(1), 1, [](int64_t t, int) {
    Step step{.reward = 1, .raw_reward = 10};
    if (t == 1) step.done = true;               // a lost life: the game goes on
    if (t == 2 || t == 7) step.raw_reward = 0;  // the reset steps
    if (t == 6) step.done = step.terminated = true;
    if (t == 11) step.done = step.truncated = true;
    return step;
  });
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 0);
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 1);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, 60, 1e-9);  // steps 0 to 6 but the reset
  CHECK_CLOSE(run.shared.episodes.summary().mean_length_100, 6, 1e-9);
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 2);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, (60 + 40) / 2.0, 1e-9);
  CHECK_CLOSE(run.shared.episodes.summary().mean_length_100, (6 + 4) / 2.0, 1e-9);
}

TEST(ten_gradients_in_a_row_that_are_not_finite_end_the_worker) {
  for (const float reward : {kNan, kInf, -kInf}) {
    Run run(small_config(1), 2, [=](int64_t t, int) { return Step{.reward = t < 10 ? 1.0f : reward}; });
    run.rollouts(2);
    CHECK_EQUAL(run.shared.params.updates(), 4);
    const std::vector<float> theta = run.parameters();
    CHECK_THROWS(run.until(1000), "the gradient was not finite 10 times in a row");
    CHECK_EQUAL(run.shared.skipped_updates.load(), 10);
    CHECK_EQUAL(run.shared.params.updates(), 4);
    CHECK(run.parameters() == theta);  // nothing of it reached the shared parameters
    for (const float parameter : run.parameters()) CHECK(std::isfinite(parameter));
  }
}

TEST(nine_in_a_row_are_forgiven_again_and_again) {
  // One update a rollout of five steps: nine that fail, one that does not.
  Run run(small_config(1), 1, [](int64_t t, int) { return Step{.reward = t / 5 % 10 == 9 ? 1.0f : kNan}; });
  run.rollouts(30);
  CHECK_EQUAL(run.shared.skipped_updates.load(), 27);
  CHECK_EQUAL(run.shared.params.updates(), 3);
  CHECK_EQUAL(run.shared.steps.load(), 150);
}

TEST(parameters_that_are_not_finite_end_the_worker_and_choose_no_action_out_of_range) {
  Run run(small_config(1), 1, pays_by_parity);
  std::vector<float> broken = run.initial;
  for (float& parameter : broken) parameter = kNan;
  run.shared.params.load(broken.data(), {}, 0);
  CHECK_THROWS(run.until(1000), "not finite 10 times in a row");
  for (const std::vector<int32_t>& actions : run.client->sent) CHECK(actions[0] >= 0 && actions[0] < 3);
}

TEST(a_stop_within_a_rollout_keeps_the_observation_and_drops_the_steps) {
  Run run(small_config(), 2, pays_by_parity);
  run.rollouts(1);
  run.client->after_recv = [&](int64_t step) { run.shared.stop = step == 8; };  // three steps into the second rollout
  run.until(1000);
  CHECK_EQUAL(run.client->sent.size(), size_t{8});
  CHECK_EQUAL(run.shared.steps.load(), 10);
  CHECK_EQUAL(run.shared.claimed.load(), 10);
  CHECK_EQUAL(run.shared.params.updates(), 1);
  CHECK(run.worker.has_observation);
  float observation[4];
  for (int env = 0; env < 2; ++env) {
    ScriptedEnv::write_observation(8, env, observation);
    CHECK(!std::memcmp(observation, run.worker.rollout.observation_row(0) + env * 16, 16));
  }
  // It goes on with a send(): the environment throws when it is received from twice.
  run.shared.stop = false;
  run.client->after_recv = nullptr;
  run.rollouts(1);
  CHECK_EQUAL(run.shared.steps.load(), 20);
  CHECK_EQUAL(run.client->sent.size(), size_t{13});
}

TEST(a_stop_before_the_first_step_keeps_the_reset) {
  Run run(small_config(), 2, pays_by_parity);
  run.client->after_recv = [&](int64_t) { run.shared.stop = true; };
  run.until(1000);
  CHECK_EQUAL(run.client->sent.size(), size_t{0});
  CHECK_EQUAL(run.shared.claimed.load(), 0);
  run.shared.stop = false;
  run.client->after_recv = nullptr;
  run.rollouts(1);
  CHECK_EQUAL(run.shared.steps.load(), 10);
}

TEST(a_stop_remembers_what_had_just_ended) {
  Run run(small_config(1), 1, [](int64_t t, int) { return Step{.done = t == 2, .terminated = t == 2}; });
  run.client->after_recv = [&](int64_t step) { run.shared.stop = step == 3; };  // right after the end
  run.until(1000);
  run.shared.stop = false;
  run.rollouts(1);
  CHECK(ints(run.worker.rollout.valid) == (std::vector<int>{0, 1, 1, 1, 1}));
}

TEST(what_the_environment_throws_comes_through) {
  Run run(small_config(), 2, [](int64_t t, int env) {
    if (t == 7) throw std::runtime_error("the emulator is on fire");
    return pays_by_parity(t, env);
  });
  CHECK_THROWS(run.until(1000), "the emulator is on fire");
  CHECK_EQUAL(run.shared.steps.load(), 10);
}

TEST(the_learning_rate_goes_to_0_and_not_below) {
  TrainConfig config = small_config();
  config.total_steps = 1000;
  config.learning_rate_decay_power = 1;
  Run run(config, 2, pays_by_parity);
  CHECK_CLOSE(run.shared.learning_rate(), 1e-2, 1e-12);
  run.shared.steps = 250;
  CHECK_CLOSE(run.shared.learning_rate(), 0.75e-2, 1e-12);
  run.shared.steps = 1000;
  CHECK_EQUAL(run.shared.learning_rate(), 0.0);
  run.shared.steps = 1500;
  CHECK_EQUAL(run.shared.learning_rate(), 0.0);
  config.learning_rate_decay_power = 2;
  Run quadratic(config, 2, pays_by_parity);
  quadratic.shared.steps = 500;
  CHECK_CLOSE(quadratic.shared.learning_rate(), 0.25e-2, 1e-12);
  quadratic.shared.steps = 1500;
  CHECK_EQUAL(quadratic.shared.learning_rate(), 0.0);
  config.learning_rate_decay_power = 0;
  Run constant(config, 2, pays_by_parity);
  constant.shared.steps = 1500;
  CHECK_CLOSE(constant.shared.learning_rate(), 1e-2, 1e-12);
}

TEST(the_learning_rate_rises_from_0_first) {
  TrainConfig config = small_config();
  config.total_steps = 1000;
  config.learning_rate_warmup = 200;
  const auto learn_from = [&](Run& run, int64_t steps) {
    const int64_t updates = steps * config.update_epochs / (config.t_max * config.envs_per_update);
    while (run.shared.params.updates() < updates) run.shared.params.begin_push(1, 0);
  };
  for (const int epochs : {1, 4}) {
    config.update_epochs = epochs;
    config.learning_rate_decay_power = 0;
    Run run(config, 2, pays_by_parity);
    CHECK_EQUAL(run.shared.learning_rate(), 0.0);
    run.shared.steps = 500;  // not the steps that are made: the first rollouts of all workers may be many
    CHECK_EQUAL(run.shared.learning_rate(), 0.0);
    learn_from(run, 50);
    CHECK_CLOSE(run.shared.learning_rate(), 0.25e-2, 1e-12);
    learn_from(run, 900);
    CHECK_CLOSE(run.shared.learning_rate(), 1e-2, 1e-12);
    config.learning_rate_decay_power = 1;
    Run both(config, 2, pays_by_parity);
    learn_from(both, 50);
    both.shared.steps = 50;
    CHECK_CLOSE(both.shared.learning_rate(), 0.25 * 0.95e-2, 1e-12);
    learn_from(both, 900);
    both.shared.steps = 900;
    CHECK_CLOSE(both.shared.learning_rate(), 0.1e-2, 1e-12);
  }
}

TEST(the_entropy_coefficient_falls_to_a_fraction_of_itself) {
  TrainConfig config = small_config();
  config.entropy_coef = 0.02;
  config.entropy_final_fraction = 0.25;
  Run constant(config, 2, pays_by_parity);
  constant.shared.steps = 900;
  CHECK_CLOSE(constant.shared.entropy_coef(), 0.02, 1e-12);
  config.entropy_decay_steps = 1000;
  Run run(config, 2, pays_by_parity);
  CHECK_CLOSE(run.shared.entropy_coef(), 0.02, 1e-12);
  run.shared.steps = 400;
  CHECK_CLOSE(run.shared.entropy_coef(), 0.014, 1e-12);
  for (const int64_t steps : {1000, 5000}) {
    run.shared.steps = steps;
    CHECK_CLOSE(run.shared.entropy_coef(), 0.005, 1e-12);
  }
}

TEST(the_same_seed_gives_the_same_parameters_to_the_last_bit) {
  TrainConfig config = small_config(1);
  Run one(config, 2, pays_by_parity), same(config, 2, pays_by_parity);
  config.seed += 1;
  Run other(config, 2, pays_by_parity);
  for (Run* run : {&one, &same, &other}) run->rollouts(20);
  CHECK(one.client->sent == same.client->sent);
  CHECK(one.parameters() == same.parameters());
  CHECK(other.client->sent != one.client->sent);
}

TEST(it_learns_which_action_is_paid) {
  TrainConfig config = small_config(4);
  config.gamma = 0;  // every step is paid for itself
  config.optimizer = adam_config();
  Worker worker(0, std::make_unique<FakeEnv>(fake_config(4)), config, model_of(small_spec(4)));
  Shared shared(config, 1, worker.network->size());
  Replica replica(model_of(small_spec(4)));
  replica.initialize(config.seed);
  shared.params.load(replica.parameters(), {}, 0);
  const auto paid = [&](int64_t until) {  // the share of the steps of one rollout, summed until then
    double sum = 0, count = 0;
    while (shared.steps < until) {
      shared.until = shared.claimed + 1;
      run_worker(worker, shared);
      for (size_t i = 0; i < worker.rollout.rewards.size(); ++i)
        if (worker.rollout.valid[i]) sum += worker.rollout.rewards[i], count += 1;
    }
    return sum / count;
  };
  CHECK_CLOSE(paid(300), 1.0 / 3, 0.2);
  paid(6000);
  CHECK_CLOSE(paid(7000), 1, 0.3);
}

}  // namespace
}  // namespace a3c

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

  ScriptedEnv(int num_envs, Script script, const ActionSpec& action)
      : spec_(small_spec(num_envs, action)), script_(std::move(script)) {
    for (std::vector<uint8_t>* flags : {&done_, &bootstraps_, &episode_ended_, &valid_}) flags->resize(num_envs);
    for (std::vector<float>* rewards : {&reward_, &raw_reward_}) rewards->resize(num_envs);
    starts_.assign(num_envs, 1);
  }

  const EnvSpec& spec() const override { return spec_; }
  const StepBatch& recv(void* observations) override {
    if (recvs_ != sends_) throw std::logic_error("recv() without a send() before it");
    for (int env = 0; env < spec_.num_envs; ++env) {
      const Step step = recvs_ == 0 ? Step{} : script_(recvs_ - 1, env);
      if (recvs_ > 0) {
        starts_[env] = episode_ended_[env];
        valid_[env] = !episode_ended_[env];
      }
      reward_[env] = step.reward;
      raw_reward_[env] = step.raw_reward;
      done_[env] = step.done;
      bootstraps_[env] = !step.done || (step.truncated && !step.terminated);
      episode_ended_[env] = step.terminated || step.truncated;
      write_observation(recvs_, env, static_cast<float*>(observations) + env * 4);
    }
    ++recvs_;
    batch_ = {reward_.data(),        raw_reward_.data(), done_.data(),  bootstraps_.data(),
              episode_ended_.data(), valid_.data(),      starts_.data()};
    if (after_recv) after_recv(recvs_ - 1);
    return batch_;
  }
  void send(const float* actions) override {
    if (recvs_ != ++sends_) throw std::logic_error("send() without a recv() before it");
    sent.emplace_back(actions, actions + spec_.num_envs * spec_.action.size());
  }

  static void write_observation(int64_t t, int env, float* observation) {
    for (int j = 0; j < 4; ++j) observation[j] = std::sin(static_cast<float>(t * 7 + env * 3 + j));
  }

  std::function<void(int64_t step)> after_recv;  // called with 0 after the reset, then with 1, 2, ...
  std::vector<std::vector<float>> sent;

 private:
  const EnvSpec spec_;
  const Script script_;
  int64_t recvs_ = 0, sends_ = 0;
  std::vector<float> reward_, raw_reward_;
  std::vector<uint8_t> done_, bootstraps_, episode_ended_, valid_, starts_;
  StepBatch batch_{};
};

// One worker and what it shares, with the parameters of the model's initialization.
struct Learner {
  Learner(const TrainConfig& config, std::unique_ptr<EnvClient> env)
      : model(model_of(env->spec())),
        worker(0, std::move(env), config, model),
        shared(config, 1, worker.network->size(), model.observation.num_features) {
    Replica replica(model);
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

  const ModelConfig model;
  Worker worker;
  Shared shared;
  std::vector<float> initial;
};

// One that lives in a ScriptedEnv.
struct Run : Learner {
  Run(const TrainConfig& config, int num_envs, ScriptedEnv::Script script, const ActionSpec& action = discrete({3}))
      : Learner(config, std::make_unique<ScriptedEnv>(num_envs, std::move(script), action)),
        client(static_cast<ScriptedEnv*>(worker.env.get())) {}

  ScriptedEnv* client;  // the worker's
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

const std::vector<ActionSpec>& kinds_of_actions() {
  static const std::vector<ActionSpec> kinds{discrete({3}), discrete({3, 1, 4}), continuous({-1, 0}, {1, 10})};
  return kinds;
}

// The same update put together here from its parts, whose own tests say that they are right.
void check_update(const TrainConfig& config, const ActionSpec& action) {
  Run run(
      config, 2,
      [](int64_t t, int env) {
        if (t == 2 && env == 1) return Step{.reward = 1, .done = true, .terminated = true};
        return pays_by_parity(t, env);
      },
      action);
  run.rollouts(1);

  constexpr int kSteps = 5, kEnvs = 2, kSize = kSteps * kEnvs;
  const auto distribution = make_distribution(action);
  const int outputs = distribution->num_outputs();
  Replica replica(run.model);
  std::copy(run.initial.begin(), run.initial.end(), replica.parameters());
  std::vector<float> observations((kSize + kEnvs) * 4), policy((kSize + kEnvs) * outputs), values(kSize + kEnvs);
  std::vector<float> rewards(kSize), returns(kSize), advantages(kSize), d_policy(kSize * outputs), d_values(kSize);
  std::vector<uint8_t> done(kSize), bootstraps(kSize, 1), valid(kSize, 1);
  std::vector<float> actions;
  Random random = worker_random(config.seed, 0);
  for (int t = 0; t <= kSteps; ++t) {
    for (int env = 0; env < kEnvs; ++env) ScriptedEnv::write_observation(t, env, &observations[(t * kEnvs + env) * 4]);
    replica.forward(&observations[t * kEnvs * 4], kEnvs, {}, &policy[t * kEnvs * outputs], &values[t * kEnvs]);
    if (t == kSteps) break;
    for (int env = 0; env < kEnvs; ++env) rewards[t * kEnvs + env] = pays_by_parity(t, env).reward;
    std::vector<float> sampled(run.client->sent[t].size());
    distribution->sample(kEnvs, &policy[t * kEnvs * outputs], random, sampled.data());
    for (size_t i = 0; i < sampled.size(); ++i) CHECK_CLOSE(run.client->sent[t][i], sampled[i], 1e-5);
    actions.insert(actions.end(), run.client->sent[t].begin(), run.client->sent[t].end());
  }
  rewards[2 * kEnvs + 1] = 1;
  done[2 * kEnvs + 1] = 1;
  bootstraps[2 * kEnvs + 1] = 0;
  valid[3 * kEnvs + 1] = 0;
  if (config.gae_lambda == 1.0)
    n_step_returns(kSteps, kEnvs, rewards.data(), done.data(), bootstraps.data(), values.data(), config.gamma,
                   returns.data(), advantages.data());
  else
    gae(kSteps, kEnvs, rewards.data(), done.data(), bootstraps.data(), values.data(), config.gamma, config.gae_lambda,
        returns.data(), advantages.data());
  const LossTerms terms =
      actor_critic_loss(*distribution, kSize, policy.data(), nullptr, values.data(), actions.data(), advantages.data(),
                        returns.data(), valid.data(), {0.5f, 0.01f, 0.2f}, d_policy.data(), d_values.data());
  std::vector<int64_t> samples(kSize);
  std::iota(samples.begin(), samples.end(), 0);
  replica.compute_gradients(observations.data(), samples.data(), kSize, {}, d_policy.data(), d_values.data());
  const double norm = std::sqrt(squared_norm(replica.gradients(), replica.size()));
  const float scale = clip_scale_of(norm, config.max_grad_norm);
  std::vector<float> theta = run.initial, mean_square(theta.size());
  rmsprop_update(replica.size(), replica.gradients(), scale, 1e-2f, 0.99f, 0.1f, mean_square.data(), theta.data());

  const std::vector<float> result = run.parameters();
  for (size_t i = 0; i < theta.size(); ++i) CHECK_CLOSE(result[i], theta[i], 1e-6);
  UpdateLog::Entry logged{};
  run.worker.updates.sum_into(logged);
  CHECK_EQUAL(terms.valid, 9);
  CHECK_CLOSE(logged.policy_loss, terms.policy_loss, 1e-6 * (1 + std::abs(terms.policy_loss)));
  CHECK_CLOSE(logged.value_loss, terms.value_loss, 1e-6);
  CHECK_CLOSE(logged.entropy, terms.entropy, 1e-6);
  CHECK_CLOSE(logged.grad_norm, norm, 1e-6 * (1 + norm));
}

TEST(an_update_is_its_parts_in_order) {
  TrainConfig config = small_config(2);
  for (const ActionSpec& action : kinds_of_actions())
    for (const double lambda : {1.0, 0.9}) {
      config.gae_lambda = lambda;
      check_update(config, action);
    }
}

TEST(every_component_of_every_action_is_kept_and_learned_from) {
  TrainConfig config = small_config(2);
  config.update_epochs = 3;
  for (const ActionSpec& action : kinds_of_actions()) {
    Run run(config, 4, pays_by_parity, action);
    run.rollouts(3);
    std::vector<float> last;
    for (size_t t = 10; t < 15; ++t) last.insert(last.end(), run.client->sent[t].begin(), run.client->sent[t].end());
    CHECK(run.worker.rollout.actions == last);
    CHECK_EQUAL(run.shared.params.updates(), 3 * 3 * 2);
    CHECK_EQUAL(run.shared.skipped_updates.load(), 0);
    // The last update's samples are rows of the rollout, each with its own action and policy.
    const Worker::UpdateBatch& batch = run.worker.update;
    const Rollout& rollout = run.worker.rollout;
    for (int64_t i = 0; i < batch.size; ++i) {
      const int64_t sample = run.worker.sample_order[batch.size + i];
      CHECK(std::equal(&batch.actions[i * action.size()], &batch.actions[i * action.size()] + action.size(),
                       &rollout.actions[sample * action.size()]));
      CHECK(std::equal(&batch.acting_policy[i * rollout.num_outputs],
                       &batch.acting_policy[i * rollout.num_outputs] + rollout.num_outputs,
                       &rollout.policy[sample * rollout.num_outputs]));
    }
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
  CHECK(ints(run.worker.rollout.valid) == (std::vector<int>{1, 0, 1, 1, 1, 1, 1, 1, 1, 1}));
  CHECK(ints(run.worker.rollout.done) == (std::vector<int>{0, 0, 0, 0, 0, 1, 0, 0, 0, 0}));
  CHECK(ints(run.worker.rollout.bootstraps) == (std::vector<int>{1, 1, 1, 1, 1, 0, 1, 1, 1, 1}));
  CHECK_EQUAL(run.shared.steps.load(), 9 + 9);
  CHECK_EQUAL(run.shared.claimed.load(), 9 + 9);
}

TEST(what_a_masked_step_pays_teaches_nothing) {
  TrainConfig config = small_config();
  const auto script = [](float reward_of_reset) {
    return [=](int64_t t, int env) {
      if (t == 2) return Step{.reward = 1, .done = true, .terminated = true};
      if (t == 3) return Step{.reward = reward_of_reset};
      return pays_by_parity(t, env);
    };
  };
  for (const bool normalize : {false, true}) {
    config.normalize_rewards = normalize;
    Run quiet(config, 2, script(0)), loud(config, 2, script(1e6f)), broken(config, 2, script(kNan));
    for (Run* run : {&quiet, &loud, &broken}) run->rollouts(3);
    CHECK(quiet.parameters() == loud.parameters());
    CHECK(quiet.parameters() == broken.parameters());
    CHECK_EQUAL(broken.shared.skipped_updates.load(), 0);
  }
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
    if (t == 1) step.done = true;     // a lost life: the game goes on
    if (t == 7) step.raw_reward = 0;  // the reset step
    if (t == 6) step.done = step.terminated = true;
    if (t == 11) step.done = step.truncated = true;
    return step;
  });
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 0);
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 1);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, 70, 1e-9);  // steps 0 to 6
  CHECK_CLOSE(run.shared.episodes.summary().mean_length_100, 7, 1e-9);
  run.rollouts(1);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 2);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, (70 + 40) / 2.0, 1e-9);
  CHECK_CLOSE(run.shared.episodes.summary().mean_length_100, (7 + 4) / 2.0, 1e-9);
}

TEST(what_a_reset_step_pays_is_in_no_return) {
  Run run(small_config(1), 1, [](int64_t t, int) {
    Step step{.reward = 1, .raw_reward = 10};
    step.done = step.terminated = t == 3 || t == 8;
    if (t == 4) step.raw_reward = 1.5;  // the reset step
    return step;
  });
  run.rollouts(2);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 2);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, 40, 1e-9);
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
  TrainConfig config = small_config(1);
  for (const bool normalize : {false, true}) {
    config.normalize_rewards = normalize;
    // One update a rollout of five steps: nine that fail, one that does not.
    Run run(config, 1, [](int64_t t, int) { return Step{.reward = t / 5 % 10 == 9 ? 1.0f : kNan}; });
    run.rollouts(30);
    CHECK_EQUAL(run.shared.skipped_updates.load(), 27);
    CHECK_EQUAL(run.shared.params.updates(), 3);
    CHECK_EQUAL(run.shared.steps.load(), 150);
  }
}

TEST(parameters_that_are_not_finite_end_the_worker_and_choose_no_action_out_of_range) {
  Run run(small_config(1), 1, pays_by_parity);
  std::vector<float> broken = run.initial;
  for (float& parameter : broken) parameter = kNan;
  run.shared.params.load(broken.data(), {}, 0);
  CHECK_THROWS(run.until(1000), "not finite 10 times in a row");
  for (const std::vector<float>& actions : run.client->sent) CHECK(actions[0] >= 0 && actions[0] < 3);
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

// By the definition: of the observations first .. last of all environments.
Moments moments_of_observations(int num_envs, int64_t first, int64_t last) {
  Moments result(4);
  std::vector<float> observation(4);
  for (const bool mean_is_known : {false, true})
    for (int64_t t = first; t <= last; ++t)
      for (int env = 0; env < num_envs; ++env) {
        ScriptedEnv::write_observation(t, env, observation.data());
        if (!mean_is_known) result.count += 1;
        for (int i = 0; i < 4; ++i) {
          const double n = static_cast<double>((last - first + 1) * num_envs);
          if (mean_is_known)
            result.squares[i] += std::pow(observation[i] - result.mean[i], 2);
          else
            result.mean[i] += observation[i] / n;
        }
      }
  return result;
}

void check_close(const Moments& found, const Moments& expected) {
  CHECK_EQUAL(found.count, expected.count);
  for (size_t i = 0; i < expected.mean.size(); ++i) {
    CHECK_CLOSE(found.mean[i], expected.mean[i], 1e-9 * (1 + std::abs(expected.mean[i])));
    CHECK_CLOSE(found.squares[i], expected.squares[i], 1e-7 * (1 + expected.squares[i]));
  }
}

// Row 0 of the rollout is step t's, normalized by these.
void check_first_row(const Run& run, int64_t t, const Moments& moments) {
  float expected[4], found[4];
  for (int env = 0; env < run.worker.rollout.num_envs; ++env) {
    ScriptedEnv::write_observation(t, env, expected);
    std::memcpy(found, &run.worker.rollout.observations[env * 16], 16);
    for (int i = 0; i < 4; ++i)
      CHECK_CLOSE(found[i], (expected[i] - moments.mean[i]) / std::sqrt(moments.variance(i) + 1e-8), 1e-4);
  }
}

TEST(a_worker_sees_normalized_observations_and_counts_each_once_also_across_stops) {
  TrainConfig config = small_config();
  config.normalize_observations = true;
  Run run(config, 2, pays_by_parity);
  const auto moments = [&] { return run.shared.normalizer.read().observations; };
  run.rollouts(1);
  check_close(moments(), moments_of_observations(2, 0, 5));
  run.client->after_recv = [&](int64_t step) { run.shared.stop = step == 8; };  // three steps into the second rollout
  run.until(1000);
  CHECK_EQUAL(run.client->sent.size(), size_t{8});
  check_close(moments(), moments_of_observations(2, 0, 8));  // the steps are dropped, what they showed is not
  check_first_row(run, 8, moments_of_observations(2, 0, 5));
  run.shared.stop = false;
  int looked = 0;
  run.client->after_recv = [&](int64_t step) {
    if (step == 9) check_first_row(run, 8, moments_of_observations(2, 0, 8)), ++looked;
  };
  run.rollouts(1);
  CHECK_EQUAL(looked, 1);
  check_close(moments(), moments_of_observations(2, 0, 13));
  check_first_row(run, 13, moments_of_observations(2, 0, 8));
  run.client->after_recv = [&](int64_t) { run.shared.stop = true; };  // at the end of a rollout's first step
  for (int i = 0; i < 3; ++i) {
    run.shared.stop = false;
    run.until(1000);
  }
  check_close(moments(), moments_of_observations(2, 0, 16));
}

// Whatever the others, or a run that is continued, have made of the moments before.
TEST(the_first_observation_is_counted_as_all_others_are) {
  TrainConfig config = small_config();
  config.normalize_observations = true;
  Run run(config, 2, pays_by_parity);
  Normalization known(4);
  known.observations.count = 7;
  known.observations.mean = {3, -4, 1, 0};
  known.observations.squares = {7, 70, 700, 7000};
  run.shared.normalizer.load(known);
  run.client->after_recv = [&](int64_t step) {
    if (step == 1) check_first_row(run, 0, known.observations);
  };
  run.rollouts(1);
  Moments expected = known.observations;
  expected.add(moments_of_observations(2, 0, 5));
  check_close(run.shared.normalizer.read().observations, expected);
}

TEST(rewards_are_learned_from_in_units_of_the_deviation_of_their_sum) {
  TrainConfig config = small_config(1);
  config.gamma = 0.5;
  config.normalize_rewards = true;
  Run run(config, 1, [](int64_t t, int) {
    if (t == 3) return Step{.reward = 8, .done = true, .terminated = true, .raw_reward = 80};
    if (t == 4) return Step{.reward = 1000};  // the reset step, which pays nobody
    return Step{.reward = static_cast<float>(t % 3), .raw_reward = 1};
  });
  run.rollouts(1);
  CHECK(run.worker.rollout.rewards == (std::vector<float>{0, 1, 2, 8, 1000}));  // no deviation is known
  const std::vector<double> sums{0, 1, 2.5, 9.25};
  Moments returns(1);
  returns.count = 4;
  returns.mean[0] = (0 + 1 + 2.5 + 9.25) / 4;
  for (const double sum : sums) returns.squares[0] += std::pow(sum - returns.mean[0], 2);
  check_close(run.shared.normalizer.read().returns, returns);
  CHECK_EQUAL(run.worker.normalizer.discounted_return[0], 0.0);  // the game ended
  run.rollouts(1);
  const double deviation = std::sqrt(returns.squares[0] / 4);
  for (int t = 0; t < 5; ++t) CHECK_CLOSE(run.worker.rollout.rewards[t], (t + 5) % 3 / deviation, 1e-5);
  CHECK_EQUAL(run.shared.episodes.summary().episodes, 1);
  CHECK_CLOSE(run.shared.episodes.summary().mean_return_100, 83, 1e-9);  // what the game pays stays what it is
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

TEST(the_learning_rate_rises_first_and_no_update_learns_at_0) {
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
    const double first = 1e-2 * config.t_max * config.envs_per_update / (200.0 * epochs);
    CHECK_CLOSE(run.shared.learning_rate(), first, 1e-12);
    run.shared.steps = 500;  // not the steps that are made: the first rollouts of all workers may be many
    CHECK_CLOSE(run.shared.learning_rate(), first, 1e-12);
    learn_from(run, 50);
    CHECK_CLOSE(run.shared.learning_rate(), 0.25e-2 + first, 1e-12);
    learn_from(run, 190);
    CHECK_CLOSE(run.shared.learning_rate(), 0.95e-2 + first, 1e-12);
    learn_from(run, 200);
    CHECK_CLOSE(run.shared.learning_rate(), 1e-2, 1e-12);
    learn_from(run, 900);
    CHECK_CLOSE(run.shared.learning_rate(), 1e-2, 1e-12);
    config.learning_rate_decay_power = 1;
    Run both(config, 2, pays_by_parity);
    learn_from(both, 50);
    both.shared.steps = 50;
    CHECK_CLOSE(both.shared.learning_rate(), 0.95 * (0.25e-2 + first), 1e-12);
    learn_from(both, 900);
    both.shared.steps = 900;
    CHECK_CLOSE(both.shared.learning_rate(), 0.1e-2, 1e-12);
  }
}

TEST(the_first_update_of_a_warm_up_moves_the_parameters) {
  TrainConfig config = small_config(2);
  config.learning_rate_warmup = 1'000'000;
  Run run(config, 2, pays_by_parity);
  run.rollouts(1);
  CHECK_EQUAL(run.shared.params.updates(), 1);
  CHECK(run.parameters() != run.initial);
}

// A lone advantage, or equal ones, have no deviation: brought to 0 they would never teach the policy anything.
TEST(the_policy_learns_from_rollouts_of_one_valid_step_with_normalized_advantages) {
  TrainConfig config = small_config(1);
  config.t_max = 1;
  config.entropy_coef = 0;
  config.normalize_advantages = true;
  Run run(config, 1, pays_by_parity);
  Replica replica(model_of(small_spec(1)));
  run.rollouts(1);
  const std::vector<float> theta = run.parameters();
  int heads = 0;
  for (const ParameterSpec& spec : replica.parameter_specs())
    if (spec.name.starts_with("policy_head")) {
      ++heads;
      CHECK(theta[spec.offset] != run.initial[spec.offset]);
    }
  CHECK_EQUAL(heads, 2);
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

// The share of what could be paid that one was, over `steps` steps of learning.
double paid(Learner& learner, int64_t steps) {
  double sum = 0, count = 0;
  const int64_t until = learner.shared.steps + steps;
  while (learner.shared.steps < until) {
    learner.rollouts(1);
    const Rollout& rollout = learner.worker.rollout;
    for (size_t i = 0; i < rollout.rewards.size(); ++i)
      if (rollout.valid[i]) sum += rollout.rewards[i], count += 1;
  }
  return sum / count;
}

TrainConfig learning_config() {
  TrainConfig config = small_config(4);
  config.gamma = 0;  // every step is paid for itself
  config.optimizer = adam_config();
  return config;
}

std::unique_ptr<EnvClient> fake_env(const ActionSpec& action) {
  FakeEnvConfig config = fake_config(4);
  config.spec.action = action;
  return std::make_unique<FakeEnv>(config);
}

TEST(it_learns_which_action_is_paid) {
  Learner learner(learning_config(), fake_env(discrete({3})));
  CHECK_CLOSE(paid(learner, 300), 1.0 / 3, 0.2);
  paid(learner, 5700);
  CHECK_CLOSE(paid(learner, 1000), 1, 0.3);
}

TEST(it_learns_which_of_several_choices_are_paid) {
  Learner learner(learning_config(), fake_env(discrete({2, 3})));
  CHECK_CLOSE(paid(learner, 300), (1.0 / 2 + 1.0 / 3) / 2, 0.2);
  paid(learner, 9700);
  CHECK_CLOSE(paid(learner, 1000), 1, 0.2);
}

// At first sigma is 1, and most actions are cut at a bound: they are off by 2 / 3 squared or more, on the average.
TEST(it_learns_continuous_actions_with_and_without_normalization) {
  for (const bool normalize : {false, true}) {
    TrainConfig config = learning_config();
    config.entropy_coef = 0;
    config.normalize_observations = normalize;
    Learner learner(config, fake_env(continuous({-1, -2}, {1, 2})));
    CHECK(paid(learner, 300) < 0.2);
    paid(learner, 12000);
    CHECK(paid(learner, 1000) > 0.8);
    CHECK_EQUAL(learner.shared.normalizer.read().observations.count > 12000, normalize);
  }
}

}  // namespace
}  // namespace a3c

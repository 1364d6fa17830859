#include "run/worker.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>

#include "learn/loss.h"
#include "learn/optimizer.h"
#include "learn/returns.h"
#include "learn/value_fit.h"
#include "run/forks.h"

namespace a3c {
namespace {

constexpr int kMaxSkippedInARow = 10;

// Reserves a rollout before it begins, so that a run ends less than one rollout beyond its last step.
bool claim_rollout(Shared& shared, int64_t size) {
  int64_t claimed = shared.claimed.load();
  do {
    if (claimed >= shared.until.load()) return false;
  } while (!shared.claimed.compare_exchange_weak(claimed, claimed + size));
  return true;
}

void stand_while_paused(Worker& worker, Shared& shared) {
  if (shared.pause.pass(worker.stands)) start(worker.clock);  // that time belongs to no stage
}

// theta' <- theta.
void pull(Worker& worker, const Shared& shared) {
  shared.params.pull(worker.network->parameters());
  lap(worker.clock, kPull);
  worker.network->parameters_changed();
}

void choose_actions(Worker& worker, int t) {
  Rollout& rollout = worker.rollout;
  float* policy = &rollout.policy[rollout.at(t) * rollout.num_outputs];
  worker.network->act(t, rollout.observation_row(t), &rollout.starts[rollout.at(t)], policy,
                      &rollout.values[rollout.at(t)]);
  if (!rollout.masks.empty()) forbid(int64_t{rollout.num_envs} * rollout.num_outputs, rollout.mask_row(t), policy);
  worker.distribution->sample(rollout.num_envs, policy, worker.random, rollout.action_row(t));
  lap(worker.clock, kSampleActions);
}

// Writes what came of the actions at t. A reset step ignores its action: nothing is learned from it, and what it pays
// is nobody's.
void record_step(Worker& worker, Shared& shared, int t, const StepBatch& batch) {
  Rollout& rollout = worker.rollout;
  for (int k = 0; k < rollout.num_envs; ++k) {
    const int64_t i = rollout.at(t, k);
    rollout.valid[i] = batch.valid[k];
    rollout.rewards[i] = batch.valid[k] ? worker.normalizer.reward(k, batch.reward[k], batch.done[k]) : batch.reward[k];
    rollout.done[i] = batch.done[k];
    rollout.bootstraps[i] = batch.bootstraps[k];
    rollout.starts[rollout.at(t + 1, k)] = batch.starts[k];

    if (batch.valid[k]) {
      worker.episode_return[k] += batch.raw_reward[k];
      ++worker.episode_length[k];
    }
    if (batch.episode_ended[k]) {
      shared.episodes.add(worker.episode_return[k], worker.episode_length[k], worker.index,
                          shared.steps.load(std::memory_order_relaxed));
      worker.episode_return[k] = 0;
      worker.episode_length[k] = 0;
    }
  }
}

// Adds to the reward of the actions at t what could still be expected where an episode was truncated, when the next
// one has begun within the same step: gamma V(s) of the row it was truncated at. The network acts on it in the place of
// step t + 1, before it acts on what the environments show there: an LSTM is in the state that the episode left.
void add_what_was_cut_off(Worker& worker, const TrainConfig& config, int t, const StepBatch& batch) {
  Rollout& rollout = worker.rollout;
  const auto num_envs = static_cast<size_t>(rollout.num_envs);
  if (worker.final_values.empty()) {
    worker.final_observations.resize(num_envs * static_cast<size_t>(rollout.observation_bytes));
    worker.no_starts.resize(num_envs);
    worker.final_policy.resize(num_envs * static_cast<size_t>(rollout.num_outputs));
    worker.final_values.resize(num_envs);
  }
  std::memcpy(worker.final_observations.data(), batch.final_observations, worker.final_observations.size());
  worker.normalizer.apply(worker.final_observations.data());
  worker.network->act(t + 1, worker.final_observations.data(), worker.no_starts.data(), worker.final_policy.data(),
                      worker.final_values.data());
  for (int k = 0; k < rollout.num_envs; ++k)
    if (batch.has_final[k])
      rollout.rewards[rollout.at(t, k)] += static_cast<float>(config.gamma) * worker.final_values[k];
}

// The next rollout begins at step `from` of this one.
void carry(Worker& worker, int from) {
  Rollout& rollout = worker.rollout;
  if (from == 0) return;
  std::memcpy(rollout.observation_row(0), rollout.observation_row(from),
              static_cast<size_t>(rollout.num_envs * rollout.observation_bytes));
  std::copy_n(&rollout.starts[rollout.at(from)], rollout.num_envs, &rollout.starts[0]);
  if (!rollout.masks.empty())
    std::copy_n(rollout.mask_row(from), rollout.num_envs * rollout.num_outputs, rollout.mask_row(0));
  worker.network->recurrence().carry(from);
}

// The step that the environments are making, its observations in row t.
const StepBatch& receive(Worker& worker, int t) {
  Rollout& rollout = worker.rollout;
  const auto wait = [&]() -> const StepBatch& {
    const Waiting now;  // and a fork of the process may happen
    return worker.env->recv(rollout.observation_row(t));
  };
  const StepBatch& batch = wait();
  if (batch.action_masks && !rollout.masks.empty())
    std::copy_n(batch.action_masks, rollout.num_envs * rollout.num_outputs, rollout.mask_row(t));
  return batch;
}

// Fills the rollout under theta'. False when the run was stopped on the way: the steps taken are dropped, and the
// worker stands after a recv() with its current observation in row 0.
bool roll_out(Worker& worker, Shared& shared) {
  Rollout& rollout = worker.rollout;
  worker.normalizer.begin_rollout(shared.normalizer, rollout.observation_row(0));
  if (!worker.has_observation) {
    worker.activity = "waiting for the first observation";
    const StepBatch batch = receive(worker, 0);
    lap(worker.clock, kWaitForEnvironment);
    std::copy_n(batch.starts, rollout.num_envs, &rollout.starts[0]);
    worker.normalizer.observe(rollout.observation_row(0), batch.done);
    worker.has_observation = true;
  }
  for (int t = 0; t < rollout.t_max; ++t) {
    stand_while_paused(worker, shared);
    if (shared.stop.load(std::memory_order_relaxed)) {
      worker.normalizer.end_rollout(shared.normalizer);
      carry(worker, t);
      return false;
    }
    worker.activity = "choosing actions";
    choose_actions(worker, t);
    worker.activity = "waiting for the environment";
    worker.env->send(rollout.action_row(t));
    lap(worker.clock, kSend);
    const StepBatch batch = receive(worker, t + 1);
    lap(worker.clock, kWaitForEnvironment);
    record_step(worker, shared, t, batch);
    if (batch.has_final) add_what_was_cut_off(worker, shared.config, t, batch);
    worker.normalizer.observe(rollout.observation_row(t + 1), batch.done);
    lap(worker.clock, kRecordStep);
    worker.heartbeat.fetch_add(1, std::memory_order_relaxed);
  }
  worker.normalizer.end_rollout(shared.normalizer);
  return true;
}

void compute_returns(Worker& worker, const TrainConfig& config) {
  Rollout& rollout = worker.rollout;
  const int t_max = rollout.t_max;
  worker.network->act(t_max, rollout.observation_row(t_max), &rollout.starts[rollout.at(t_max)],
                      &rollout.policy[rollout.at(t_max) * rollout.num_outputs], &rollout.values[rollout.at(t_max)]);
  if (config.gae_lambda == 1.0)
    n_step_returns(t_max, rollout.num_envs, rollout.rewards.data(), rollout.done.data(), rollout.bootstraps.data(),
                   rollout.values.data(), config.gamma, rollout.returns.data(), rollout.advantages.data());
  else
    gae(t_max, rollout.num_envs, rollout.rewards.data(), rollout.done.data(), rollout.bootstraps.data(),
        rollout.values.data(), config.gamma, config.gae_lambda, rollout.returns.data(), rollout.advantages.data());
  // Of the values that acted: learning from the rollout again fits them to it.
  worker.fits.add(value_fit(rollout.size(), rollout.valid.data(), rollout.values.data(), rollout.returns.data()));
  if (config.normalize_advantages)
    normalize_advantages(rollout.size(), rollout.valid.data(), rollout.advantages.data());
  lap(worker.clock, kReturns);
}

template <typename T>
void shuffle(std::vector<T>& items, Random& random) {
  for (size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[random.below(left)]);
}

// The samples of the rollout in the order in which an epoch's updates take them. In the first epoch an update has all
// steps of its environments. From the second on it has any samples: those of one environment resemble each other. A
// recurrent network needs whole sequences: for it the environments come in another order and together with others.
void order_samples(Worker& worker, int epoch, int envs_per_update) {
  const Rollout& rollout = worker.rollout;
  if (epoch > 0 && worker.network->recurrence().state_size == 0) {
    shuffle(worker.sample_order, worker.random);
    return;
  }
  std::vector<int>& envs = worker.env_order;
  std::iota(envs.begin(), envs.end(), 0);
  if (epoch > 0) shuffle(envs, worker.random);
  auto next = worker.sample_order.begin();
  for (int first = 0; first < rollout.num_envs; first += envs_per_update)
    for (int t = 0; t < rollout.t_max; ++t)
      for (int i = first; i < first + envs_per_update; ++i) *next++ = rollout.at(t, envs[i]);
}

// Rows samples[0 .. count - 1] of an array.
template <typename T>
void gather(const std::vector<T>& from, const int64_t* samples, int64_t count, int width, std::vector<T>& to) {
  for (int64_t i = 0; i < count; ++i) std::copy_n(&from[samples[i] * width], width, &to[i * width]);
}

// One Hogwild update from some samples of the rollout. The first time the gradient is taken at theta', the parameters
// that acted, and applied to theta as it is by now. When the rollout is learned from again, theta' becomes theta again
// before each update, and the importance ratio makes up for the actions that another policy chose.
void update(Worker& worker, Shared& shared, bool again, const int64_t* samples) {
  Rollout& rollout = worker.rollout;
  Worker::UpdateBatch& batch = worker.update;
  const int64_t count = batch.size;
  gather(rollout.actions, samples, count, rollout.action_size, batch.actions);
  gather(rollout.policy, samples, count, rollout.num_outputs, batch.policy);
  gather(rollout.values, samples, count, 1, batch.values);
  gather(rollout.advantages, samples, count, 1, batch.advantages);
  gather(rollout.returns, samples, count, 1, batch.returns);
  gather(rollout.valid, samples, count, 1, batch.valid);

  if (again) {
    batch.acting_policy.swap(batch.policy);
    pull(worker, shared);
    worker.network->evaluate(rollout.observations.data(), samples, count, batch.policy.data(), batch.values.data());
    if (!rollout.masks.empty()) {
      gather(rollout.masks, samples, count, rollout.num_outputs, batch.masks);
      forbid(count * rollout.num_outputs, batch.masks.data(), batch.policy.data());
    }
    worker.heartbeat.fetch_add(1, std::memory_order_relaxed);
  }

  const int64_t step = shared.steps.load(std::memory_order_relaxed);
  const LossConfig loss{static_cast<float>(shared.live.value_coef.at(step)), static_cast<float>(shared.entropy_coef()),
                        static_cast<float>(shared.live.clip_coef.at(step))};
  const LossTerms terms =
      actor_critic_loss(*worker.distribution, count, batch.policy.data(), again ? batch.acting_policy.data() : nullptr,
                        batch.values.data(), batch.actions.data(), batch.advantages.data(), batch.returns.data(),
                        batch.valid.data(), loss, batch.d_policy.data(), batch.d_values.data());
  lap(worker.clock, kLoss);
  worker.heartbeat.fetch_add(1, std::memory_order_relaxed);
  if (terms.valid == 0) return;
  worker.network->compute_gradients(rollout.observations.data(), samples, count, batch.d_policy.data(),
                                    batch.d_values.data());
  const double norm = std::sqrt(worker.network->squared_gradient_norm());
  lap(worker.clock, kClip);
  if (!std::isfinite(norm)) {
    shared.skipped_updates.fetch_add(1, std::memory_order_relaxed);
    if (++worker.skipped_in_a_row >= kMaxSkippedInARow)
      throw std::runtime_error("the gradient was not finite " + std::to_string(kMaxSkippedInARow) +
                               " times in a row: the parameters, the rewards or the learning rate have blown up");
    return;
  }
  worker.skipped_in_a_row = 0;
  // theta <- one optimizer step, piece by piece.
  const SharedParams::Push push =
      shared.params.begin_push(clip_scale_of(norm, shared.live.max_grad_norm.at(step)), shared.learning_rate());
  const auto push_piece = [&](int64_t offset, int64_t size, const float* gradient) {
    shared.params.push(push, offset, size, gradient);
    lap(worker.clock, kPush);
  };
  worker.network->read_gradients(static_cast<double>(worker.index) / shared.num_workers,
                                 std::cref(push_piece));  // a std::function of more than two words would allocate
  worker.updates.add({terms, norm});
}

}  // namespace

double Shared::learning_rate() const {
  const int64_t step = steps.load(std::memory_order_relaxed);
  if (const Schedule* schedule = live.learning_rate.schedule()) return schedule->at(step);
  const auto done = static_cast<double>(step);
  double factor = 1.0;
  if (config.learning_rate_warmup > 0) {
    // With the next update's own samples, so that the first one does not learn at 0.
    const int64_t update = params.updates() + updates_elsewhere.load(std::memory_order_relaxed) + 1;
    const auto learned = static_cast<double>(update * config.t_max * config.envs_per_update);
    factor = std::min(
        1.0, learned / (static_cast<double>(config.update_epochs) * static_cast<double>(config.learning_rate_warmup)));
  }
  const double left = std::max(0.0, 1.0 - done / static_cast<double>(config.total_steps));
  factor *= std::pow(left, config.learning_rate_decay_power);
  return live.learning_rate.number() * factor;
}

double Shared::entropy_coef() const {
  const int64_t step = steps.load(std::memory_order_relaxed);
  if (const Schedule* schedule = live.entropy_coef.schedule()) return schedule->at(step);
  if (config.entropy_decay_steps == 0) return live.entropy_coef.number();
  const auto done = static_cast<double>(step);
  const double passed = std::min(1.0, done / static_cast<double>(config.entropy_decay_steps));
  return live.entropy_coef.number() * (1.0 - passed * (1.0 - config.entropy_final_fraction));
}

Worker::Worker(int index, std::unique_ptr<EnvClient> client, const TrainConfig& train, const ModelConfig& model)
    : index(index),
      env(std::move(client)),
      distribution(make_distribution(env->spec().action)),
      network(make_network(model, train.t_max, env->spec().num_envs, clock)),
      rollout(train.t_max, env->spec(), distribution->num_outputs()),
      normalizer(env->spec().observation, env->spec().num_envs, train.normalize_observations, train.normalize_rewards,
                 train.gamma),
      random(worker_random(train.seed, train.first_worker + static_cast<uint64_t>(index))),
      episode_return(env->spec().num_envs),
      episode_length(env->spec().num_envs),
      sample_order(static_cast<size_t>(rollout.size())),
      env_order(env->spec().num_envs) {
  update.size = int64_t{train.t_max} * train.envs_per_update;
  const auto resize = [&](std::vector<float>& array, int width) {
    array.resize(static_cast<size_t>(update.size * width));
  };
  resize(update.actions, rollout.action_size);
  for (std::vector<float>* array : {&update.policy, &update.acting_policy, &update.d_policy})
    resize(*array, rollout.num_outputs);
  for (std::vector<float>* array : {&update.values, &update.advantages, &update.returns, &update.d_values})
    resize(*array, 1);
  update.valid.resize(static_cast<size_t>(update.size));
  if (!rollout.masks.empty()) update.masks.resize(static_cast<size_t>(update.size * rollout.num_outputs));
}

void run_worker(Worker& worker, Shared& shared) {
  Rollout& rollout = worker.rollout;
  start(worker.clock);
  while (!shared.stop.load(std::memory_order_relaxed) && claim_rollout(shared, rollout.size())) {
    pull(worker, shared);
    if (!roll_out(worker, shared)) {
      shared.claimed -= rollout.size();
      return;
    }
    worker.activity = "learning";
    compute_returns(worker, shared.config);
    const int64_t update_size = int64_t{rollout.t_max} * shared.config.envs_per_update;
    for (int epoch = 0; epoch < shared.config.update_epochs; ++epoch) {
      order_samples(worker, epoch, shared.config.envs_per_update);
      for (int64_t first = 0; first < rollout.size(); first += update_size) {
        let_fork();
        stand_while_paused(worker, shared);
        update(worker, shared, epoch > 0, &worker.sample_order[first]);
      }
    }
    carry(worker, rollout.t_max);

    // Reset steps are nobody's steps: give their share of the claim back.
    const int64_t valid = std::count(rollout.valid.begin(), rollout.valid.end(), 1);
    shared.steps += valid;
    shared.claimed -= rollout.size() - valid;
    worker.stages.set(worker.clock);
  }
}

}  // namespace a3c

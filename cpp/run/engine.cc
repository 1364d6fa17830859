#include "run/engine.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace a3c {
namespace {

std::vector<std::unique_ptr<Worker>> make_workers(const TrainConfig& train, const ModelConfig& model,
                                                  std::vector<std::unique_ptr<EnvClient>> clients) {
  if (clients.empty()) throw std::invalid_argument("an engine needs at least one worker");
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::unique_ptr<EnvClient>& client : clients) {
    const EnvSpec& spec = client->spec();
    if (spec.num_envs < 1) throw std::invalid_argument("a worker needs at least one environment");
    if (spec.observation != model.observation || make_distribution(spec.action)->num_outputs() != model.num_outputs ||
        (spec.action.continuous() ? spec.action.size() : 0) != model.num_log_std ||
        (!workers.empty() && spec.action != workers.front()->env->spec().action))
      throw std::invalid_argument("the environments and the model differ in observations or actions");
    if (spec.num_envs % train.envs_per_update != 0)
      throw std::invalid_argument("envs_per_update does not divide a worker's environments");
    workers.push_back(std::make_unique<Worker>(static_cast<int>(workers.size()), std::move(client), train, model));
  }
  return workers;
}

}  // namespace

Engine::State::State(const TrainConfig& train, const ModelConfig& model,
                     std::vector<std::unique_ptr<EnvClient>> clients)
    : workers(make_workers(train, model, std::move(clients))),
      shared(train, static_cast<int>(workers.size()), workers.front()->network->size(), model.observation.num_features),
      alive(workers.size()),
      stuck(workers.size()),
      detached(workers.size()) {}

int Engine::State::running() const {
  int count = 0;
  for (size_t i = 0; i < alive.size(); ++i) count += alive[i] && !stuck[i];
  return count;
}

double Engine::State::wall_seconds() const {
  if (!runs()) return seconds_before;
  return seconds_before + std::chrono::duration<double>(Clock::now() - began).count();
}

void Engine::State::become(Phase next) {
  phase = next;
  changed.notify_all();
}

void Engine::State::stop() {
  if (phase == Phase::paused) {
    began = Clock::now();
    become(Phase::running);
  }
  shared.stop = true;
  shared.pause.open();
}

void Engine::State::fail(int worker, std::string message) {
  const std::lock_guard lock(mutex);
  if (!failure) failure = WorkerFailure{worker, std::move(message)};
  stop();
}

Engine::Engine(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients) {
  // In a thread of its own: the same networks and initial parameters whatever the caller's thread has been set to.
  const Computing computing;
  call_in_a_thread([&] {
    state_ = std::make_shared<State>(train, model, std::move(clients));
    InitialParameters initial = initial_parameters(model, train.seed);
    parameter_specs_ = std::move(initial.specs);
    state_->shared.params.load(initial.values.data(), {}, 0);
  });
  statistic_names_ = state_->shared.params.statistic_names();
  num_workers_ = static_cast<int>(state_->workers.size());
  num_parameters_ = state_->shared.params.size();
}

Engine::~Engine() {
  if (forks_ != forks()) {
    // The threads are the parent's: their handles must neither be joined nor detached, and what they use is never
    // freed, since a mutex in it may be held by a thread that is not here.
    new std::thread(std::move(supervisor_));
    new std::shared_ptr<State>(std::move(state_));
    return;
  }
  close();
  if (supervisor_.joinable()) supervisor_.join();
}

void Engine::require_own_process() const {
  if (forks_ != forks()) throw StateError("this engine belongs to the process that made it, of which this is a fork");
}

std::unique_lock<std::mutex> Engine::lock() const {
  require_own_process();
  return std::unique_lock(state_->mutex);
}

std::unique_lock<std::mutex> Engine::lock_at_rest(const char* what) const {
  std::unique_lock held = lock();
  const std::string cannot = "cannot " + std::string(what);
  if (state_->phase == Phase::closed) throw StateError(cannot + ": this engine is closed");
  if (state_->under_way()) throw StateError(cannot + " while the workers run: stop them first");
  if (std::count(state_->alive.begin(), state_->alive.end(), 1) > 0)
    throw StateError(cannot + ": a worker that hangs has not come back");
  return held;
}

int64_t Engine::start(int64_t until) {
  State& state = *state_;
  std::unique_lock held = lock();
  if (state.starts_refused) throw StateError("cannot start: this engine is closed");
  if (state.failure && !state.under_way())
    throw StateError("cannot start again after a worker failed: " + state.failure->message);
  if (state.phase == Phase::paused) throw StateError("cannot start: the run is paused, and resume() goes on with it");
  if (state.under_way()) throw StateError("cannot start while the workers run: stop them first");
  const Phase before = state.phase;
  if (supervisor_.joinable()) supervisor_.join();  // of the run before: to end it was the last that it did
  state.shared.stop = false;
  state.shared.pause.expect(num_workers_);
  state.shared.until = until;
  std::fill(state.alive.begin(), state.alive.end(), 0);
  std::fill(state.stuck.begin(), state.stuck.end(), 0);
  std::fill(state.detached.begin(), state.detached.end(), 0);
  state.exact = std::make_unique<ExactFloat32>();
  renew_autograd();
  state.began = Clock::now();
  ++state.run;
  state.become(Phase::running);
  try {
    for (int i = 0; i < num_workers_; ++i) {
      begin_computing();  // until the thread is joined: what it does when it ends counts, too
      try {
        state.threads.emplace_back(work, state_, i);
      } catch (...) {
        end_computing();
        throw;
      }
      state.alive[i] = 1;
    }
    supervisor_ = std::thread(supervise, state_);
  } catch (...) {  // the system gives no more threads: end those that there are
    state.stop();
    state.become(Phase::stopping);
    held.unlock();
    for (std::thread& thread : state.threads) {
      thread.join();
      end_computing();
    }
    held.lock();
    state.threads.clear();
    state.exact.reset();
    state.become(state.failure ? Phase::failed : before);
    throw;
  }
  return state.run;
}

void Engine::work(const std::shared_ptr<State>& state, int index) {
  Worker& worker = *state->workers[index];
  try {
    use_one_torch_thread();
    flush_denormals();
    run_worker(worker, state->shared);
  } catch (const std::exception& error) {
    state->fail(index, error.what());
  } catch (...) {
    state->fail(index, "an exception that is no std::exception");
  }
  state->shared.pause.leave();
  const std::lock_guard lock(state->mutex);
  state->alive[index] = 0;
  if (state->detached[index]) end_computing();
  state->changed.notify_all();
}

void Engine::give_up_silent_workers(State& state, std::vector<std::pair<int64_t, double>>& seen, double passed) {
  const double limit = state.shared.config.watchdog_seconds;
  for (size_t i = 0; i < seen.size(); ++i) {
    if (!state.alive[i] || state.stuck[i]) continue;
    auto& [last_heartbeat, silent_seconds] = seen[i];
    const int64_t heartbeat = state.workers[i]->heartbeat.load(std::memory_order_relaxed);
    if (heartbeat != last_heartbeat || state.workers[i]->stands) {
      last_heartbeat = heartbeat;
      silent_seconds = 0;
    } else if ((silent_seconds += passed) > limit) {
      std::ostringstream message;
      message << "no progress for " << limit << " seconds while " << state.workers[i]->activity.load();
      if (!state.failure) state.failure = WorkerFailure{static_cast<int>(i), message.str()};
      state.stuck[i] = 1;
      state.stop();
    }
  }
}

void Engine::supervise(const std::shared_ptr<State>& state) {
  using Seconds = std::chrono::duration<double>;
  std::vector<std::pair<int64_t, double>> seen;  // of each worker: its heartbeat, and for how long it has stood still
  for (const auto& worker : state->workers) seen.emplace_back(worker->heartbeat.load(), 0.0);
  const auto interval = std::clamp<Seconds>(Seconds(state->shared.config.watchdog_seconds) / 4,
                                            std::chrono::milliseconds(10), std::chrono::seconds(1));
  Clock::time_point last_look = Clock::now();
  std::unique_lock lock(state->mutex);
  while (!state->changed.wait_for(lock, interval, [&] { return state->running() == 0; })) {
    // A process that was suspended was silent as a whole, and its workers come back no sooner than this thread.
    const Clock::time_point now = Clock::now();
    give_up_silent_workers(*state, seen, std::min<Seconds>(now - last_look, 2 * interval).count());
    last_look = now;
  }
  const std::vector<uint8_t> left_behind = state->detached = state->alive;
  lock.unlock();
  for (size_t i = 0; i < left_behind.size(); ++i) {
    if (left_behind[i]) {
      state->threads[i].detach();
    } else {
      state->threads[i].join();
      end_computing();
    }
  }
  state->threads.clear();
  lock.lock();
  state->seconds_before = state->wall_seconds();
  state->exact.reset();
  state->become(state->failure ? Phase::failed : Phase::ended);
}

bool Engine::pause() {
  const std::unique_lock held = lock();
  const Phase phase = state_->phase;
  if (phase == Phase::ready || phase == Phase::closed) throw StateError("cannot pause: no run has begun");
  if (phase == Phase::running) {
    state_->shared.pause.close();
    state_->seconds_before = state_->wall_seconds();
    state_->become(Phase::paused);
  }
  return state_->phase == Phase::paused;
}

bool Engine::resume() {
  const std::unique_lock held = lock();
  const Phase phase = state_->phase;
  if (phase == Phase::ready || phase == Phase::closed) throw StateError("cannot resume: no run has begun");
  if (phase == Phase::paused) {
    state_->began = Clock::now();
    state_->become(Phase::running);
    state_->shared.pause.open();
  }
  return state_->phase == Phase::running;
}

bool Engine::wait_until_paused(double seconds) {
  require_own_process();
  return state_->shared.pause.wait_until_all_stand(seconds);
}

int64_t Engine::request_stop() {
  const std::unique_lock held = lock();
  if (state_->phase == Phase::running || state_->phase == Phase::paused) {
    state_->stop();
    state_->become(Phase::stopping);
  }
  return state_->run;
}

bool Engine::wait(double seconds) {
  return wait_for(std::numeric_limits<int64_t>::max(), seconds);
}

bool Engine::wait_for(int64_t run, double seconds) {
  std::unique_lock held = lock();
  const auto ended = [&] { return !state_->under_way() || state_->run > run; };
  // No deadline can be further away than the clock can tell.
  if (seconds > 1e8) {
    state_->changed.wait(held, ended);
    return true;
  }
  return state_->changed.wait_for(held, std::chrono::duration<double>(std::max(seconds, 0.0)), ended);
}

void Engine::refuse_starts() {
  const std::unique_lock held = lock();
  state_->starts_refused = true;
}

void Engine::close() {
  refuse_starts();
  request_stop();
  std::unique_lock held = lock();
  state_->changed.wait(held, [&] { return !state_->under_way(); });
  state_->become(Phase::closed);
}

Phase Engine::phase() const {
  const std::unique_lock held = lock();
  return state_->phase;
}

bool Engine::running() const {
  const std::unique_lock held = lock();
  return state_->runs();
}

bool Engine::under_way() const {
  const std::unique_lock held = lock();
  return state_->under_way();
}

std::optional<WorkerFailure> Engine::failure() const {
  const std::unique_lock held = lock();
  return state_->failure;
}

void Engine::set(const std::string& name, double value) {
  require_own_process();
  state_->shared.live[name].set(value);
}

void Engine::set(const std::string& name, Schedule schedule) {
  require_own_process();
  state_->shared.live[name].set(std::move(schedule));
}

Stats Engine::stats() const {
  Stats stats;
  {
    const std::unique_lock held = lock();
    stats.wall_seconds = state_->wall_seconds();
  }
  const Shared& shared = state_->shared;
  stats.steps = shared.steps.load();
  stats.updates = shared.params.updates() + shared.updates_elsewhere.load();
  stats.skipped_updates = shared.skipped_updates.load();
  stats.learning_rate = shared.learning_rate();
  stats.entropy_coef = shared.entropy_coef();
  const EpisodeLog::Summary episodes = shared.episodes.summary();
  stats.episodes = episodes.episodes + shared.episodes_elsewhere.load();
  stats.known_episodes = episodes.known;
  stats.mean_return_100 = episodes.mean_return_100;
  stats.mean_length_100 = episodes.mean_length_100;
  stats.mean_return_20 = episodes.mean_return_20;
  UpdateLog::Entry sum{};
  size_t count = 0;
  for (const auto& worker : state_->workers) count += worker->updates.sum_into(sum);
  const double divisor = count > 0 ? static_cast<double>(count) : std::numeric_limits<double>::quiet_NaN();
  stats.policy_loss = sum.policy_loss / divisor;
  stats.value_loss = sum.value_loss / divisor;
  stats.entropy = sum.entropy / divisor;
  stats.grad_norm = sum.grad_norm / divisor;
  stats.approx_kl = sum.approx_kl / divisor;
  stats.clip_fraction = sum.clip_fraction / divisor;
  ValueFit fit;
  for (const auto& worker : state_->workers) worker->fits.sum_into(fit);
  stats.explained_variance = fit.explained_variance();
  return stats;
}

std::array<int64_t, kNumStages> Engine::stage_nanoseconds() const {
  require_own_process();
  std::array<int64_t, kNumStages> sum{};
  for (const auto& worker : state_->workers) worker->stages.sum_into(sum);
  return sum;
}

void Engine::read_parameters(float* destination) const {
  require_own_process();
  state_->shared.params.pull(destination);
}

void Engine::read_statistic(size_t index, float* destination) const {
  require_own_process();
  state_->shared.params.read_statistic(index, destination);
}

Snapshot Engine::snapshot() const {
  const State& state = *state_;
  std::unique_lock held = lock();
  const bool at_rest = state.phase == Phase::ready || state.phase == Phase::ended;
  Snapshot snapshot;
  snapshot.progress.wall_seconds = state.wall_seconds();
  if (!at_rest) held.unlock();  // workers would go on beside it anyway
  const Shared& shared = state.shared;
  snapshot.progress.steps = shared.steps.load();
  snapshot.progress.updates = shared.params.updates() + shared.updates_elsewhere.load();
  snapshot.progress.skipped_updates = shared.skipped_updates.load();
  snapshot.progress.episodes = shared.episodes.summary().episodes + shared.episodes_elsewhere.load();
  snapshot.progress.recent_episodes = shared.episodes.recent();
  snapshot.parameters.resize(static_cast<size_t>(num_parameters_));
  shared.params.pull(snapshot.parameters.data());
  for (size_t i = 0; i < statistic_names_.size(); ++i) {
    snapshot.statistics.emplace_back(static_cast<size_t>(num_parameters_));
    shared.params.read_statistic(i, snapshot.statistics.back().data());
  }
  snapshot.normalization = shared.normalizer.read();
  if (at_rest)
    for (const auto& worker : state.workers) snapshot.workers.push_back(state_of(*worker));
  return snapshot;
}

void Engine::load_parameters(const float* parameters) {
  const std::unique_lock held = lock_at_rest("load");
  // Adam's correction for moments that begin at 0 goes by the count of updates.
  state_->shared.params.load(parameters, {}, 0);
  state_->shared.updates_elsewhere = 0;
}

void Engine::load(const float* parameters, const std::vector<const float*>& statistics, const Progress& progress) {
  const std::unique_lock held = lock_at_rest("load");
  Shared& shared = state_->shared;
  shared.params.load(parameters, statistics, progress.updates);
  shared.steps = progress.steps;
  shared.claimed = progress.steps;
  shared.updates_elsewhere = 0;
  shared.episodes_elsewhere = 0;
  shared.skipped_updates = progress.skipped_updates;
  shared.episodes.load(progress.episodes, progress.recent_episodes);
  state_->seconds_before = progress.wall_seconds;
}

Normalization Engine::normalization() const {
  require_own_process();
  return state_->shared.normalizer.read();
}

void Engine::load_normalization(const Normalization& normalization) {
  const std::unique_lock held = lock_at_rest("load");
  if (normalization.observations.mean.size() != state_->shared.normalizer.read().observations.mean.size())
    throw std::invalid_argument("the moments are of other observations");
  state_->shared.normalizer.load(normalization);
}

void Engine::agree() {
  const std::unique_lock held = lock_at_rest("agree with other hosts");
  if (state_->agreement)
    state_->agreement->begin();
  else
    state_->agreement = std::make_unique<Agreement>(state_->shared);
}

Agreement& Engine::agreement() const {
  const std::unique_lock held = lock();
  if (!state_->agreement) throw StateError("this engine has agreed with no other host");
  return *state_->agreement;
}

WorkerState Engine::worker_state(int index) const {
  const std::unique_lock held = lock_at_rest("read a worker's state");
  return state_of(*state_->workers.at(index));
}

WorkerState Engine::state_of(const Worker& worker) const {
  // Before the first observation there is nothing to continue but the random numbers.
  const std::string env = worker.has_observation ? worker.env->save_state() : std::string();
  const Rollout& rollout = worker.rollout;
  Recurrence& recurrence = worker.network->recurrence();
  std::vector<float> recurrent_state;
  if (!env.empty()) recurrent_state.assign(recurrence.state(0), recurrence.state(1));
  return {worker.random.state(),
          env,
          {rollout.starts.begin(), rollout.starts.begin() + rollout.num_envs},
          recurrent_state,
          worker.episode_return,
          worker.episode_length,
          worker.normalizer.discounted_return};
}

void Engine::load_worker_state(int index, const WorkerState& saved) {
  const std::unique_lock held = lock_at_rest("load a worker's state");
  Worker& worker = *state_->workers.at(index);
  worker.random = Random(saved.random);
  if (saved.env.empty()) return;  // new episodes: nothing of the old ones may leak into them
  Rollout& rollout = worker.rollout;
  Recurrence& recurrence = worker.network->recurrence();
  if (saved.starts.size() != size_t(rollout.num_envs) || saved.episode_return.size() != worker.episode_return.size() ||
      saved.episode_length.size() != worker.episode_length.size())
    throw std::invalid_argument("the saved state is of another number of environments");
  if (saved.recurrent_state.size() != static_cast<size_t>(recurrence.state(1) - recurrence.state(0)))
    throw std::invalid_argument("the saved state is of another LSTM");
  worker.env->load_state(saved.env);
  std::copy(saved.starts.begin(), saved.starts.end(), rollout.starts.begin());
  std::copy(saved.recurrent_state.begin(), saved.recurrent_state.end(), recurrence.state(0));
  worker.episode_return = saved.episode_return;
  worker.episode_length = saved.episode_length;
  if (saved.discounted_return.size() == worker.normalizer.discounted_return.size())
    worker.normalizer.discounted_return = saved.discounted_return;
  worker.env->recv(rollout.observation_row(0));  // shows again what was there when it was saved
  worker.normalizer.restore(rollout.observation_row(0));
  worker.has_observation = true;
}

}  // namespace a3c

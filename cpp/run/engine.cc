#include "run/engine.h"

#include <algorithm>
#include <limits>
#include <sstream>
#include <stdexcept>

namespace a3c {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::unique_ptr<Worker>> make_workers(const TrainConfig& train, const ModelConfig& model,
                                                  std::vector<std::unique_ptr<EnvClient>> clients) {
  if (clients.empty()) throw std::invalid_argument("an engine needs at least one worker");
  std::vector<std::unique_ptr<Worker>> workers;
  for (std::unique_ptr<EnvClient>& client : clients) {
    const EnvSpec& spec = client->spec();
    if (spec.num_envs < 1) throw std::invalid_argument("a worker needs at least one environment");
    if (spec.observation_shape != model.observation_shape || spec.observation_type != model.observation_type ||
        spec.num_actions != model.num_actions)
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
      shared(train, static_cast<int>(workers.size()), workers.front()->network->size()),
      alive(workers.size()),
      stuck(workers.size()) {}

int Engine::State::running() const {
  int count = 0;
  for (size_t i = 0; i < alive.size(); ++i) count += alive[i] && !stuck[i];
  return count;
}

void Engine::State::fail(int worker, std::string message) {
  {
    const std::lock_guard lock(mutex);
    if (!failure) failure = WorkerFailure{worker, std::move(message)};
  }
  shared.stop = true;
}

Engine::Engine(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients) {
  const SingleThreadedTorch single_threaded;  // the same initial parameters whatever the number of cores
  state_ = std::make_shared<State>(train, model, std::move(clients));
  Replica replica(model);
  replica.initialize(train.seed);
  parameter_specs_ = replica.parameter_specs();
  state_->shared.params.load(replica.parameters(), {}, 0);
}

Engine::~Engine() {
  if (!state_) return;
  request_stop();
  wait(state_->shared.config.watchdog_seconds);
  join();
}

void Engine::start(int64_t until) {
  require_stopped("start");
  join();
  State& state = *state_;
  if (state.failure) throw std::logic_error("cannot start again after a worker failed: " + state.failure->message);
  state.shared.stop = false;
  state.shared.until = until;
  {
    const std::lock_guard lock(state.mutex);
    single_threaded_ = std::make_unique<SingleThreadedTorch>();
    std::fill(state.alive.begin(), state.alive.end(), 1);
    state.watching = true;
  }
  int started = 0;
  try {
    for (; started < num_workers(); ++started) threads_.emplace_back(work, state_, started);
    watchdog_ = std::thread(watch, state_);
  } catch (...) {  // the system gives no more threads: end those that there are
    state.shared.stop = true;
    {
      const std::lock_guard lock(state.mutex);
      std::fill(state.alive.begin() + started, state.alive.end(), 0);
    }
    wait(state.shared.config.watchdog_seconds);
    join();
    throw;
  }
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
  const std::lock_guard lock(state->mutex);
  state->alive[index] = 0;
  state->changed.notify_all();
}

void Engine::watch(const std::shared_ptr<State>& state) {
  using Seconds = std::chrono::duration<double>;
  struct Seen {
    int64_t heartbeat;
    Seconds silent;
  };
  std::vector<Seen> seen;
  for (const auto& worker : state->workers) seen.push_back({worker->heartbeat.load(), Seconds(0)});
  const Seconds limit(state->shared.config.watchdog_seconds);
  const auto interval = std::clamp<Seconds>(limit / 4, std::chrono::milliseconds(10), std::chrono::seconds(1));
  Clock::time_point last_look = Clock::now();
  std::unique_lock lock(state->mutex);
  while (!state->changed.wait_for(lock, interval, [&] { return !state->watching; })) {
    // A process that was suspended was silent as a whole, and its workers come back no sooner than this thread.
    const Clock::time_point now = Clock::now();
    const Seconds passed = std::min<Seconds>(now - last_look, 2 * interval);
    last_look = now;
    for (size_t i = 0; i < seen.size(); ++i) {
      if (!state->alive[i] || state->stuck[i]) continue;
      const int64_t heartbeat = state->workers[i]->heartbeat.load(std::memory_order_relaxed);
      if (heartbeat != seen[i].heartbeat) {
        seen[i] = {heartbeat, Seconds(0)};
      } else if ((seen[i].silent += passed) > limit) {
        std::ostringstream message;
        message << "no progress for " << limit.count() << " seconds while " << state->workers[i]->activity.load();
        if (!state->failure) state->failure = WorkerFailure{static_cast<int>(i), message.str()};
        state->stuck[i] = 1;
        state->shared.stop = true;
        state->changed.notify_all();
      }
    }
  }
}

void Engine::request_stop() {
  state_->shared.stop = true;
}

bool Engine::wait(double seconds) {
  std::unique_lock lock(state_->mutex);
  const auto none_runs = [&] { return state_->running() == 0; };
  // No deadline can be further away than the clock can tell.
  if (seconds > 1e8)
    state_->changed.wait(lock, none_runs);
  else if (!state_->changed.wait_for(lock, std::chrono::duration<double>(std::max(seconds, 0.0)), none_runs))
    return false;
  single_threaded_.reset();
  restore_torch_threads();  // of this thread, where another's wait() ended the run that it began
  return true;
}

bool Engine::running() const {
  const std::lock_guard lock(state_->mutex);
  return state_->running() > 0;
}

// Once no worker runs: ends the watchdog, joins the threads that ended and leaves those behind that hang.
void Engine::join() {
  std::vector<uint8_t> alive;
  {
    const std::lock_guard lock(state_->mutex);
    state_->watching = false;
    alive = state_->alive;
    state_->changed.notify_all();
  }
  if (watchdog_.joinable()) watchdog_.join();
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (alive[i])
      threads_[i].detach();
    else
      threads_[i].join();
  }
  threads_.clear();
}

void Engine::abandon() {
  for (std::thread& thread : threads_) thread.detach();
  if (watchdog_.joinable()) watchdog_.detach();
  threads_.clear();
  new std::shared_ptr<State>(std::move(state_));  // never freed: its mutexes may be held by threads that are gone
}

std::optional<WorkerFailure> Engine::failure() const {
  const std::lock_guard lock(state_->mutex);
  return state_->failure;
}

Stats Engine::stats() const {
  const Shared& shared = state_->shared;
  Stats stats;
  stats.steps = shared.steps.load();
  stats.updates = shared.params.updates();
  stats.skipped_updates = shared.skipped_updates.load();
  stats.learning_rate = shared.learning_rate();
  stats.entropy_coef = shared.entropy_coef();
  const EpisodeLog::Summary episodes = shared.episodes.summary();
  stats.episodes = episodes.episodes;
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
  return stats;
}

std::array<int64_t, kNumStages> Engine::stage_nanoseconds() const {
  std::array<int64_t, kNumStages> sum{};
  for (const auto& worker : state_->workers) worker->stages.sum_into(sum);
  return sum;
}

int64_t Engine::num_parameters() const {
  return state_->shared.params.size();
}

void Engine::read_statistic(size_t index, float* destination) const {
  state_->shared.params.read_statistic(index, destination);
}

void Engine::require_stopped(const char* what) const {
  const std::lock_guard lock(state_->mutex);
  if (std::count(state_->alive.begin(), state_->alive.end(), 1) > 0)
    throw std::logic_error("cannot " + std::string(what) + " while the workers run: stop them first");
}

void Engine::load(const float* parameters, const std::vector<const float*>& statistics, int64_t steps, int64_t updates,
                  int64_t episodes) {
  require_stopped("load");
  Shared& shared = state_->shared;
  shared.params.load(parameters, statistics, updates);
  shared.steps = steps;
  shared.claimed = steps;
  shared.episodes.set_count(episodes);
}

WorkerState Engine::worker_state(int index) const {
  require_stopped("read a worker's state");
  const Worker& worker = *state_->workers.at(index);
  // Before the first observation there is nothing to continue but the random numbers.
  const std::string env = worker.has_observation ? worker.env->save_state() : std::string();
  const Rollout& rollout = worker.rollout;
  Recurrence& recurrence = worker.network->recurrence();
  std::vector<float> recurrent_state;
  if (!env.empty()) recurrent_state.assign(recurrence.state(0), recurrence.state(1));
  return {worker.random.state(),
          env,
          worker.previous_done,
          worker.previous_ended,
          {rollout.starts.begin(), rollout.starts.begin() + rollout.num_envs},
          recurrent_state,
          worker.episode_return,
          worker.episode_length};
}

void Engine::load_worker_state(int index, const WorkerState& saved) {
  require_stopped("load a worker's state");
  Worker& worker = *state_->workers.at(index);
  worker.random = Random(saved.random);
  if (saved.env.empty()) return;  // new episodes: nothing of the old ones may leak into them
  Rollout& rollout = worker.rollout;
  Recurrence& recurrence = worker.network->recurrence();
  if (saved.previous_done.size() != worker.previous_done.size() ||
      saved.previous_ended.size() != worker.previous_ended.size() || saved.starts.size() != size_t(rollout.num_envs) ||
      saved.episode_return.size() != worker.episode_return.size() ||
      saved.episode_length.size() != worker.episode_length.size())
    throw std::invalid_argument("the saved state is of another number of environments");
  if (saved.recurrent_state.size() != static_cast<size_t>(recurrence.state(1) - recurrence.state(0)))
    throw std::invalid_argument("the saved state is of another LSTM");
  worker.env->load_state(saved.env);
  worker.previous_done = saved.previous_done;
  worker.previous_ended = saved.previous_ended;
  std::copy(saved.starts.begin(), saved.starts.end(), rollout.starts.begin());
  std::copy(saved.recurrent_state.begin(), saved.recurrent_state.end(), recurrence.state(0));
  worker.episode_return = saved.episode_return;
  worker.episode_length = saved.episode_length;
  worker.env->recv(rollout.observation_row(0));  // shows again what was there when it was saved
  worker.has_observation = true;
}

}  // namespace a3c

// Threads: start, stop, join, the first failure, the watchdog, and statistics while it runs.
//
// The life of a run is one state, Phase, under one mutex. Every method may be called by any thread at any time; what a
// phase does not allow throws StateError and changes nothing. No call takes the GIL.
//
//                   start()      pause()     resume()     request_stop()   wait()               load_...()   close()
//   ready           -> running   refused     refused      -                true                 yes          -> closed
//   running         refused      -> paused   -            -> stopping      until it has ended   refused      -> closed
//   paused          refused      -           -> running   -> stopping      until it has ended   refused      -> closed
//   stopping        refused      false       false        -                until it has ended   refused      -> closed
//   ended           -> running   false       false        -                true                 yes          -> closed
//   failed          refused      false       false        -                true                 yes          -> closed
//   closed          refused      refused     refused      -                true                 refused      -
//
// stopping becomes ended, or failed where a worker failed, when the last worker has ended; so does running, by itself,
// and paused, where a worker fails before it stands still.
// A worker that hangs is given up and fails the run; while it has not come back what needs its rest is refused.
// After a fork the child has none of the threads: there every method but the destructor throws StateError.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/parameter_spec.h"
#include "model/threads.h"
#include "run/agreement.h"
#include "run/forks.h"
#include "run/worker.h"

namespace a3c {

enum class Phase { ready, running, paused, stopping, ended, failed, closed };

// A call that the state of the run does not allow.
class StateError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct WorkerFailure {
  int worker;
  std::string message;
};

// What continues a worker exactly; env is empty where the environments cannot be continued.
struct WorkerState {
  uint64_t random = 0;
  std::string env;
  std::vector<uint8_t> starts;
  std::vector<float> recurrent_state;
  std::vector<double> episode_return;
  std::vector<int64_t> episode_length;
  std::vector<double> discounted_return;  // of WorkerNormalizer
};

// How far a run has come.
struct Progress {
  int64_t steps = 0, updates = 0, episodes = 0, skipped_updates = 0;
  double wall_seconds = 0;
  std::vector<EpisodeLog::Episode> recent_episodes;  // oldest first
};

// What a checkpoint holds. The workers' states are there when the run stood still and nothing had failed.
struct Snapshot {
  Progress progress;
  std::vector<float> parameters;
  std::vector<std::vector<float>> statistics;  // in the order of Engine::statistic_names()
  Normalization normalization;
  std::vector<WorkerState> workers;
};

class Engine {
 public:
  // One worker a client. theta begins as the model's initialization from the seed.
  Engine(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients);
  // close(). A worker that does not come back within the watchdog's time is left behind with all it uses.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Starts the workers; they end when `until` steps are claimed, at request_stop(), or at the first failure. Returns
  // the number of the run, for wait_for().
  int64_t start(int64_t until);
  // The workers stand still at their next environment step or update, with all that they have; resume() lets them go
  // on as if nothing had been. Neither waits; false where the run has ended or will. Time that is paused is no training
  // time.
  bool pause();
  bool resume();
  // Waits until no worker computes, at most `seconds`; false where the time was over or the run is not paused any more.
  bool wait_until_paused(double seconds);
  // Ends a run that is under way; does not wait, and does nothing to a later one. Returns the number of the last run
  // that has begun, for wait_for().
  int64_t request_stop();
  // Waits until no worker runs, at most `seconds`; true when none does. A failure or a hang completes the wait.
  bool wait(double seconds);
  // The same until that run has ended, whatever has begun since.
  bool wait_for(int64_t run, double seconds);
  // From here on no run begins: what is saved after the last one has ended is all that there will be.
  void refuse_starts();
  // Ends the run, waits for that, and refuses everything from then on.
  void close();
  Phase phase() const;
  bool running() const;    // running or stopping
  bool under_way() const;  // the same, or paused
  std::optional<WorkerFailure> failure() const;

  // From the next update on, by the name of TrainConfig: see LiveSettings. Throws std::invalid_argument for a setting
  // that cannot change.
  void set(const std::string& name, double value);
  void set(const std::string& name, Schedule schedule);

  Stats stats() const;
  const EpisodeLog& episodes() const { return state_->shared.episodes; }
  // Those of other hosts, oldest first, which the means are over, too.
  void hear(const std::vector<EpisodeLog::Episode>& elsewhere) { state_->shared.episodes.hear(elsewhere); }
  // Nanoseconds of all workers together by Stage, of finished rollouts since the engine was made.
  std::array<int64_t, kNumStages> stage_nanoseconds() const;
  int num_workers() const { return num_workers_; }
  const std::vector<ParameterSpec>& parameter_specs() const { return parameter_specs_; }
  int64_t num_parameters() const { return num_parameters_; }
  const std::vector<const char*>& statistic_names() const { return statistic_names_; }

  // While workers run these are Hogwild reads: each number is whole, a vector is a mixture of nearby versions. At rest
  // no run begins before a snapshot is complete.
  void read_parameters(float* destination) const;
  void read_statistic(size_t index, float* destination) const;
  Snapshot snapshot() const;

  // Replaces the parameters and clears the optimizer's statistics and count of updates.
  void load_parameters(const float* parameters);
  // All that the shared vectors and the counters hold. No statistics: they are cleared.
  void load(const float* parameters, const std::vector<const float*>& statistics, const Progress& progress);
  // What observations and rewards are normalized by; before the first run.
  Normalization normalization() const;
  void load_normalization(const Normalization& normalization);
  // For runs on several hosts: what they agree on is from now on what is there now. At rest.
  void agree();
  // Since the last agree(); throws StateError where there was none.
  Agreement& agreement() const;
  WorkerState worker_state(int worker) const;
  void load_worker_state(int worker, const WorkerState& state);

 private:
  using Clock = std::chrono::steady_clock;

  // Shared with the threads, so that a worker that hangs can be left behind without pulling the floor from under it.
  struct State {
    State(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients);

    std::vector<std::unique_ptr<Worker>> workers;  // constant; each with its own rules
    Shared shared;                                 // each member with its own guard
    mutable std::mutex mutex;                      // the lock over the state of the run
    std::condition_variable changed;               // notified when `phase` changes and when a worker's thread ends
    Phase phase = Phase::ready;                    // guarded by mutex
    bool starts_refused = false;                   // guarded by mutex
    std::optional<WorkerFailure> failure;          // guarded by mutex: the first one
    std::vector<uint8_t> alive;                    // guarded by mutex: the thread of the worker has not ended
    std::vector<uint8_t> stuck;                    // guarded by mutex: the watchdog gave this worker up
    std::vector<uint8_t> detached;                 // guarded by mutex: nobody will join the thread of this worker
    int64_t run = 0;                               // guarded by mutex: the number of the last one that has begun
    Clock::time_point began{};                     // guarded by mutex: when it did, or went on after a pause
    double seconds_before = 0;                     // guarded by mutex: of training before that
    std::vector<std::thread> threads;              // of start(), with mutex held, and then of the supervisor alone
    std::unique_ptr<ExactFloat32> exact;           // guarded by mutex: there while a run is under way
    std::unique_ptr<Agreement> agreement;          // guarded by mutex, its own inside; made once

    // With mutex held:
    bool runs() const { return phase == Phase::running || phase == Phase::stopping; }
    bool under_way() const { return runs() || phase == Phase::paused; }
    int running() const;  // workers alive and not given up
    double wall_seconds() const;
    void become(Phase next);
    void stop();

    void fail(int worker, std::string message);
  };

  static void work(const std::shared_ptr<State>& state, int worker);
  // The thread that watches the heartbeats, joins the workers that have ended, and ends the run.
  static void supervise(const std::shared_ptr<State>& state);
  static void give_up_silent_workers(State& state, std::vector<std::pair<int64_t, double>>& seen, double passed);
  WorkerState state_of(const Worker& worker) const;
  void require_own_process() const;
  // The lock over the state, in the process that has the threads.
  std::unique_lock<std::mutex> lock() const;
  // The same, for what only a run that stands still allows.
  std::unique_lock<std::mutex> lock_at_rest(const char* what) const;

  const int forks_ = forks();
  std::shared_ptr<State> state_;
  std::vector<ParameterSpec> parameter_specs_;  // constant
  std::vector<const char*> statistic_names_;    // constant
  int num_workers_ = 0;                         // constant
  int64_t num_parameters_ = 0;                  // constant
  std::thread supervisor_;                      // guarded by state_->mutex
};

}  // namespace a3c

// Threads: start, stop, join, the first failure, the watchdog, and statistics while it runs.
//
// Any one thread at a time may call start(), load() and the destructor; wait(), request_stop(), stats() and
// read_parameters() may be called from anywhere, at any time. No call takes the GIL.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "model/replica.h"
#include "model/threads.h"
#include "run/worker.h"

namespace a3c {

struct WorkerFailure {
  int worker;
  std::string message;
};

// What continues a worker exactly; env is empty where the environments cannot be continued.
struct WorkerState {
  uint64_t random = 0;
  std::string env;
  std::vector<uint8_t> previous_done;
  std::vector<uint8_t> previous_ended;
  std::vector<uint8_t> starts;
  std::vector<float> recurrent_state;
  std::vector<double> episode_return;
  std::vector<int64_t> episode_length;
};

class Engine {
 public:
  // One worker a client. theta begins as the model's initialization from the seed.
  Engine(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients);
  // Stops and joins. A worker that does not come back within the watchdog's time is left behind with all it uses.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Starts the workers; they end when `until` steps are claimed, at request_stop(), or at the first failure.
  // Throws std::logic_error when they run already or have failed.
  void start(int64_t until);
  void request_stop();
  // Waits until no worker runs, at most `seconds`; true when none does. A failure or a hang completes the wait.
  bool wait(double seconds);
  bool running() const;
  std::optional<WorkerFailure> failure() const;

  Stats stats() const;
  // Nanoseconds of all workers together by Stage, of finished rollouts since the engine was made.
  std::array<int64_t, kNumStages> stage_nanoseconds() const;
  int num_workers() const { return static_cast<int>(state_->workers.size()); }
  const std::vector<ParameterSpec>& parameter_specs() const { return parameter_specs_; }
  int64_t num_parameters() const;

  // While workers run these are Hogwild reads: each number is whole, the vector is a mixture of nearby versions.
  void read_parameters(float* destination) const { state_->shared.params.pull(destination); }
  std::vector<const char*> statistic_names() const { return state_->shared.params.statistic_names(); }
  void read_statistic(size_t index, float* destination) const;

  // All three throw std::logic_error while workers run.
  void load(const float* parameters, const std::vector<const float*>& statistics, int64_t steps, int64_t updates,
            int64_t episodes);
  WorkerState worker_state(int worker) const;
  void load_worker_state(int worker, const WorkerState& state);

  // After a fork the threads do not exist in the child: forget them, and all that they used, without joining.
  void abandon();

 private:
  // Shared with the threads, so that a worker that hangs can be left behind without pulling the floor from under it.
  struct State {
    State(const TrainConfig& train, const ModelConfig& model, std::vector<std::unique_ptr<EnvClient>> clients);

    std::vector<std::unique_ptr<Worker>> workers;  // constant; each with its own rules
    Shared shared;                                 // each member with its own guard
    mutable std::mutex mutex;
    std::condition_variable changed;       // notified when running() falls and when the watchdog shall end
    std::optional<WorkerFailure> failure;  // guarded by mutex: the first one
    std::vector<uint8_t> alive;            // guarded by mutex: the thread of the worker has not ended
    std::vector<uint8_t> stuck;            // guarded by mutex: the watchdog gave this worker up
    bool watching = false;                 // guarded by mutex: false ends the watchdog

    int running() const;  // with mutex held: workers alive and not given up
    void fail(int worker, std::string message);
  };

  static void work(const std::shared_ptr<State>& state, int worker);
  static void watch(const std::shared_ptr<State>& state);
  void join();
  void require_stopped(const char* what) const;

  std::shared_ptr<State> state_;
  std::vector<ParameterSpec> parameter_specs_;            // constant
  std::vector<std::thread> threads_;                      // the thread that calls start() and the destructor alone
  std::thread watchdog_;                                  // the same
  std::unique_ptr<SingleThreadedTorch> single_threaded_;  // guarded by state_->mutex: from start() until a wait() ends
};

}  // namespace a3c

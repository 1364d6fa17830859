// Threads: that runs end when they should, however they are stopped and whatever breaks.
#include "run/engine.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "child.h"
#include "configs.h"
#include "model/threads.h"

namespace {

std::atomic<int> g_threads_left{1 << 30};  // how many threads the system still gives

}  // namespace

// Before the system's own: std::thread asks here.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*body)(void*), void* argument) {
  static const auto next = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  if (g_threads_left-- <= 0) return EAGAIN;
  return next(thread, attributes, body, argument);
}

namespace a3c {
namespace {

constexpr int64_t kForever = int64_t{1} << 60;
using check::kPatience;

using Clients = std::vector<std::unique_ptr<EnvClient>>;

// Scripted games, with something done before each recv() and a count of those that live.
class HookedEnv final : public EnvClient {
 public:
  using Hook = std::function<void(int64_t step)>;

  HookedEnv(const FakeEnvConfig& config, Hook hook) : fake_(config), hook_(std::move(hook)) { ++alive; }
  ~HookedEnv() override { --alive; }
  const EnvSpec& spec() const override { return fake_.spec(); }
  const StepBatch& recv(void* observations) override {
    hook_(step_++);
    return fake_.recv(observations);
  }
  void send(const float* actions) override { fake_.send(actions); }
  std::string save_state() const override { return fake_.save_state(); }
  void load_state(const std::string& state) override { fake_.load_state(state); }

  static inline std::atomic<int> alive{0};

 private:
  FakeEnv fake_;
  const Hook hook_;
  int64_t step_ = 0;
};

// What a hook waits at until the test opens it; shared, since a worker that was left behind may outlive the test.
class Gate {
 public:
  static std::shared_ptr<Gate> make() { return std::make_shared<Gate>(); }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;  // guarded by mutex_
};

Clients fake_clients(int count, int num_envs = 2) {
  Clients clients;
  for (int i = 0; i < count; ++i)
    clients.push_back(std::make_unique<FakeEnv>(fake_config(num_envs, static_cast<uint32_t>(i))));
  return clients;
}

Clients hooked_clients(const std::vector<HookedEnv::Hook>& hooks) {
  Clients clients;
  for (const HookedEnv::Hook& hook : hooks)
    clients.push_back(std::make_unique<HookedEnv>(fake_config(2, static_cast<uint32_t>(clients.size())), hook));
  return clients;
}

std::unique_ptr<Engine> make_engine(Clients clients, const TrainConfig& config = small_config()) {
  const ModelConfig model = model_of(clients.front()->spec());
  return std::make_unique<Engine>(config, model, std::move(clients));
}

void run_until(Engine& engine, int64_t steps) {
  engine.start(steps);
  CHECK(engine.wait(kPatience));
  CHECK(!engine.running());
  if (const auto failure = engine.failure()) check::fail(__FILE__, __LINE__, "a worker failed: " + failure->message);
}

std::vector<float> parameters(const Engine& engine) {
  std::vector<float> values(static_cast<size_t>(engine.num_parameters()));
  engine.read_parameters(values.data());
  return values;
}

bool same(const Moments& a, const Moments& b) {
  return a.count == b.count && a.mean == b.mean && a.squares == b.squares;
}
bool same(const Normalization& a, const Normalization& b) {
  return same(a.observations, b.observations) && same(a.returns, b.returns);
}

TrainConfig normalizing(TrainConfig config = small_config()) {
  config.normalize_observations = config.normalize_rewards = true;
  return config;
}

void nothing(int64_t) {}

// Runs and stops --------------------------------------------------------------------------------------------------

TEST(a_run_ends_less_than_a_rollout_beyond_its_last_step) {
  for (const int workers : {1, 2, 4}) {
    const auto engine = make_engine(fake_clients(workers));
    int64_t until = 0;
    for (const int64_t more : {1, 9, 10, 11, 500, 1003}) {
      until = engine->stats().steps + more;
      run_until(*engine, until);
      const int64_t steps = engine->stats().steps;
      CHECK(steps >= until && steps < until + 5 * 2);
    }
    run_until(*engine, until);  // all done: nothing begins
    CHECK(engine->stats().steps < until + 10);
    CHECK(engine->stats().updates > 0);
    CHECK(engine->stats().episodes > 0);
  }
}

TEST(a_thousand_starts_and_stops) {
  const auto engine = make_engine(fake_clients(2));
  int64_t steps = 0;
  for (int i = 0; i < 1000; ++i) {
    engine->start(kForever);
    if (i % 100 == 0) CHECK(check::eventually([&] { return engine->stats().steps >= steps + 10; }));
    engine->request_stop();
    CHECK(engine->wait(kPatience));
    CHECK(!engine->running());
    CHECK(!engine->failure());
    CHECK(engine->stats().steps >= steps);
    steps = engine->stats().steps;
  }
  CHECK(steps >= 100);
  run_until(*engine, steps + 100);
}

TEST(a_hundred_engines_come_and_go) {
  for (int i = 0; i < 100; ++i) {
    const auto engine = make_engine(fake_clients(2));
    if (i % 3 > 0) engine->start(kForever);
    if (i % 3 > 1) CHECK(check::eventually([&] { return engine->stats().steps > 0; }));
  }  // the destructor stops what runs
}

TEST(a_stop_while_it_starts) {
  const auto engine = make_engine(fake_clients(2));
  for (int i = 0; i < 50; ++i) {
    std::atomic<bool> done{false};
    std::thread stopper([&] {
      while (!done) engine->request_stop();
    });
    engine->start(kForever);
    const bool ended = engine->wait(kPatience);
    done = true;
    stopper.join();
    CHECK(ended);
    CHECK(!engine->failure());
  }
}

TEST(a_wait_ends_when_its_time_is_over) {
  const auto engine = make_engine(fake_clients(1));
  CHECK(engine->wait(0));  // nothing has started
  engine->start(kForever);
  CHECK(!engine->wait(0));
  CHECK(!engine->wait(-1));
  CHECK(!engine->wait(0.02));
  CHECK(engine->running());
  engine->request_stop();
  CHECK(engine->wait(1e300));  // longer than any clock
}

TEST(several_threads_wait_for_one_run) {
  const auto engine = make_engine(fake_clients(2));
  engine->start(kForever);
  std::atomic<int> ended{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 4; ++i) waiters.emplace_back([&] { ended += engine->wait(kPatience); });
  engine->request_stop();
  for (std::thread& waiter : waiters) waiter.join();
  CHECK_EQUAL(ended.load(), 4);
}

TEST(a_run_can_be_watched_from_other_threads) {
  TrainConfig config = small_config();
  config.optimizer = adam_config();
  const auto engine = make_engine(fake_clients(2), config);
  std::atomic<bool> done{false}, sound{true};
  std::vector<std::thread> observers;
  for (int i = 0; i < 2; ++i)
    observers.emplace_back([&] {
      int64_t steps = 0;
      std::vector<float> moment(static_cast<size_t>(engine->num_parameters()));
      while (!done) {
        const Stats stats = engine->stats();
        if (stats.steps < steps || stats.skipped_updates != 0 || engine->failure()) sound = false;
        steps = stats.steps;
        for (const float parameter : parameters(*engine))
          if (!std::isfinite(parameter)) sound = false;
        engine->read_statistic(1, moment.data());
        engine->running();
        engine->wait(0);
      }
    });
  for (int i = 0; i < 20; ++i) {
    const int64_t updates = engine->stats().updates;
    engine->start(kForever);
    CHECK(check::eventually([&] { return engine->stats().updates > updates; }));
    engine->request_stop();
    CHECK(engine->wait(kPatience));
  }
  done = true;
  for (std::thread& observer : observers) observer.join();
  CHECK(sound);
  CHECK(engine->stats().updates > 0);
}

TEST(two_engines_at_once_are_strangers) {
  for (const TrainConfig& config : {small_config(), normalizing()}) {
    const auto alone = make_engine(fake_clients(1), config);
    run_until(*alone, 2000);
    const auto one = make_engine(fake_clients(1), config), two = make_engine(fake_clients(2), config);
    two->start(kForever);
    run_until(*one, 2000);
    CHECK(parameters(*one) == parameters(*alone));
    CHECK(same(one->normalization(), alone->normalization()));
    CHECK(two->running());
    two->request_stop();
    CHECK(two->wait(kPatience));
  }
}

TEST(a_destructor_stops_a_run) {
  {
    const auto engine = make_engine(hooked_clients({nothing, nothing, nothing}));
    engine->start(kForever);
    CHECK(check::eventually([&] { return engine->stats().steps > 0; }));
    CHECK_EQUAL(HookedEnv::alive.load(), 3);
  }
  CHECK_EQUAL(HookedEnv::alive.load(), 0);
}

// Misuse ----------------------------------------------------------------------------------------------------------

TEST(what_needs_a_stopped_engine_refuses_while_it_runs) {
  const auto engine = make_engine(fake_clients(2));
  const std::vector<float> zero(static_cast<size_t>(engine->num_parameters()));
  engine->start(kForever);
  CHECK_THROWS(engine->start(kForever), "cannot start while the workers run");
  CHECK_THROWS(engine->load(zero.data(), {}, {}), "cannot load while the workers run");
  CHECK_THROWS(engine->worker_state(0), "while the workers run");
  CHECK_THROWS(engine->load_worker_state(0, {}), "while the workers run");
  CHECK_THROWS(engine->load_parameters(zero.data()), "cannot load while the workers run");
  CHECK_THROWS(engine->load_normalization(engine->normalization()), "cannot load while the workers run");
  CHECK(engine->running());
  engine->request_stop();
  CHECK(engine->wait(kPatience));
  engine->load(
      zero.data(), {},
      {.steps = 70, .updates = 8, .episodes = 9, .skipped_updates = 4, .wall_seconds = 1.5, .recent_episodes = {}});
  CHECK(parameters(*engine) == zero);
  CHECK_EQUAL(engine->stats().steps, 70);
  CHECK_EQUAL(engine->stats().updates, 8);
  CHECK_EQUAL(engine->stats().episodes, 9);
  CHECK_EQUAL(engine->stats().skipped_updates, 4);
  CHECK_EQUAL(engine->stats().wall_seconds, 1.5);
  engine->load_parameters(parameters(*make_engine(fake_clients(2))).data());
  CHECK_EQUAL(engine->stats().steps, 70);
  CHECK_EQUAL(engine->stats().updates, 0);
  CHECK(parameters(*engine) != zero);
}

TEST(clients_that_do_not_fit_are_refused) {
  const ModelConfig model = model_of(small_spec());
  CHECK_THROWS(Engine(small_config(), model, {}), "at least one worker");
  CHECK_THROWS(Engine(small_config(2), model, fake_clients(1, 3)), "envs_per_update does not divide");
  CHECK_THROWS(Engine(small_config(1), model, fake_clients(1, 0)), "at least one environment");
  ModelConfig other = model;
  other.num_outputs = 4;
  CHECK_THROWS(Engine(small_config(), other, fake_clients(1)), "differ in observations or actions");
  other = model;
  other.observation = array_of({2, 2}, ElementType::float32);
  CHECK_THROWS(Engine(small_config(), other, fake_clients(1)), "differ in observations or actions");
  other = model;
  other.observation = array_of({16});  // as many bytes
  CHECK_THROWS(Engine(small_config(), other, fake_clients(1)), "differ in observations or actions");
  other.observation = array_of({4}, ElementType::float32);  // the same bytes
  CHECK_THROWS(Engine(small_config(), other, fake_clients(1)), "differ in observations or actions");
  Clients clients;
  for (const ActionSpec& action : {discrete({4}), discrete({2, 2})}) {  // as many outputs
    FakeEnvConfig config = fake_config();
    config.spec.action = action;
    clients.push_back(std::make_unique<FakeEnv>(config));
  }
  const ModelConfig of_the_first = model_of(clients[0]->spec());
  CHECK_THROWS(Engine(small_config(), of_the_first, std::move(clients)), "differ in observations or actions");
}

TEST(a_worker_that_is_not_there_has_no_state) {
  const auto engine = make_engine(fake_clients(2));
  CHECK_THROWS(engine->worker_state(2), "");
  CHECK_THROWS(engine->worker_state(-1), "");
  CHECK_THROWS(engine->load_worker_state(2, {}), "");
}

// Failures --------------------------------------------------------------------------------------------------------

TEST(the_exception_of_a_worker_is_kept_and_ends_the_others) {
  Clients clients = fake_clients(3);
  FakeEnvConfig failing = fake_config(2, 9);
  failing.fail_at = 23;
  clients[1] = std::make_unique<FakeEnv>(failing);
  const auto engine = make_engine(std::move(clients));
  engine->start(kForever);
  CHECK(engine->wait(kPatience));
  CHECK(!engine->running());
  const auto failure = engine->failure();
  CHECK(failure.has_value());
  CHECK_EQUAL(failure->worker, 1);
  CHECK_EQUAL(failure->message, "scripted failure at step 23");
  CHECK_THROWS(engine->start(kForever), "cannot start again after a worker failed: scripted failure at step 23");
  CHECK(engine->wait(0));
  CHECK_EQUAL(engine->failure()->message, failure->message);
  CHECK(engine->stats().steps > 0);  // what was learned until then can still be read
}

TEST(the_first_of_several_failures_wins) {
  const auto arrived = Gate::make(), released = Gate::make();
  const auto engine = make_engine(hooked_clients({[=](int64_t step) {
                                                    if (step < 3) return;
                                                    arrived->open();
                                                    released->pass();
                                                    throw std::runtime_error("the second");
                                                  },
                                                  [=](int64_t step) {
                                                    if (step < 3) return;
                                                    arrived->pass();
                                                    throw std::runtime_error("the first");
                                                  }}));
  engine->start(kForever);
  CHECK(check::eventually([&] { return engine->failure().has_value(); }));
  CHECK(engine->running());  // the other one waits for its environment
  released->open();
  CHECK(engine->wait(kPatience));
  CHECK_EQUAL(engine->failure()->worker, 1);
  CHECK_EQUAL(engine->failure()->message, "the first");
}

TEST(every_worker_may_fail_at_once) {
  for (int i = 0; i < 50; ++i) {
    const HookedEnv::Hook fail = [](int64_t step) {
      if (step == 2) throw std::runtime_error("all together");
    };
    const auto engine = make_engine(hooked_clients({fail, fail, fail, fail}));
    engine->start(kForever);
    CHECK(engine->wait(kPatience));
    CHECK_EQUAL(engine->failure()->message, "all together");
  }
}

TEST(a_failure_at_the_first_recv) {
  const auto engine = make_engine(hooked_clients({[](int64_t) { throw std::runtime_error("no reset"); }}));
  engine->start(kForever);
  CHECK(engine->wait(kPatience));
  CHECK_EQUAL(engine->failure()->message, "no reset");
}

TEST(what_is_no_exception_is_a_failure_too) {
  const auto engine = make_engine(hooked_clients({[](int64_t step) {
    if (step == 2) throw 42;
  }}));
  engine->start(kForever);
  CHECK(engine->wait(kPatience));
  CHECK_EQUAL(engine->failure()->message, "an exception that is no std::exception");
}

TEST(a_system_without_threads_is_an_error_from_which_one_can_start_again) {
  const auto engine = make_engine(fake_clients(2));
  for (const int threads : {0, 1, 2}) {  // no worker, one worker, no watchdog
    g_threads_left = threads;
    CHECK_THROWS(engine->start(kForever), "Resource temporarily unavailable");
    g_threads_left = 1 << 30;
    CHECK(!engine->running());
    CHECK(!engine->failure());
    run_until(*engine, engine->stats().steps + 50);
  }
}

// The watchdog ----------------------------------------------------------------------------------------------------

TrainConfig impatient(double seconds) {
  TrainConfig config = small_config();
  config.watchdog_seconds = seconds;
  return config;
}

// Long enough that a healthy worker on a busy machine is not given up. One beside a worker that hangs waits for it and
// ends soon after.
constexpr double kWatchdog = 5.0;
constexpr int64_t kFew = 200;

// Two workers' hooks, of which the one with the index hangs from its step 7 until the gate is opened.
std::vector<HookedEnv::Hook> one_of_two_hangs(size_t index, const std::shared_ptr<Gate>& gate) {
  const auto arrived = Gate::make();
  std::vector<HookedEnv::Hook> hooks(2, [=](int64_t) { arrived->pass(); });
  hooks[index] = [=](int64_t step) {
    if (step != 7) return;
    arrived->open();
    gate->pass();
  };
  return hooks;
}

// Whether every thread has ended: only then can a worker's state be read.
bool home(const Engine& engine) {
  try {
    engine.worker_state(0);
    return true;
  } catch (const std::logic_error&) {
    return false;
  }
}

TEST(a_hang_that_ends_is_a_failure_and_the_worker_comes_home) {
  const auto gate = Gate::make();
  const auto engine = make_engine(hooked_clients(one_of_two_hangs(0, gate)), impatient(kWatchdog));
  engine->start(kFew);
  CHECK(engine->wait(kPatience));
  CHECK(engine->failure().has_value());
  CHECK_EQUAL(engine->failure()->worker, 0);
  CHECK_EQUAL(engine->failure()->message, "no progress for 5 seconds while waiting for the environment");
  CHECK_THROWS(engine->start(kForever), "cannot start again after a worker failed: no progress");
  CHECK(engine->stats().steps > 0);
  CHECK(!home(*engine));
  gate->open();
  CHECK(check::eventually([&] { return home(*engine); }));
  CHECK_THROWS(engine->start(kForever), "cannot start again after a worker failed: no progress");
}

TEST(a_worker_that_never_returns_is_left_behind_with_all_it_uses) {
  const auto gate = Gate::make();
  {
    const auto engine = make_engine(hooked_clients(one_of_two_hangs(1, gate)), impatient(kWatchdog));
    engine->start(kFew);
    CHECK(engine->wait(kPatience));
    CHECK_EQUAL(engine->failure()->worker, 1);
    CHECK_EQUAL(engine->failure()->message, "no progress for 5 seconds while waiting for the environment");
  }
  CHECK_EQUAL(HookedEnv::alive.load(), 2);  // the worker still stands on them
  gate->open();
  CHECK(check::eventually([] { return HookedEnv::alive == 0; }));
}

TEST(a_destructor_does_not_wait_for_ever_for_a_worker_that_hangs) {
  const auto arrived = Gate::make(), gate = Gate::make();
  {
    const auto engine = make_engine(hooked_clients({[=](int64_t step) {
                                      if (step != 3) return;
                                      arrived->open();
                                      gate->pass();
                                    }}),
                                    impatient(kWatchdog));
    engine->start(kForever);
    arrived->pass();
  }
  CHECK_EQUAL(HookedEnv::alive.load(), 1);  // it hangs still
  gate->open();
  CHECK(check::eventually([] { return HookedEnv::alive == 0; }));
}

TEST(a_reset_that_never_comes_says_so) {
  const auto gate = Gate::make();
  {
    const auto engine = make_engine(hooked_clients({[=](int64_t) { gate->pass(); }}), impatient(kWatchdog));
    engine->start(kForever);
    CHECK(engine->wait(kPatience));
    CHECK_EQUAL(engine->failure()->message, "no progress for 5 seconds while waiting for the first observation");
  }
  gate->open();
  CHECK(check::eventually([] { return HookedEnv::alive == 0; }));
}

TEST(a_slow_worker_is_not_given_up) {
  // Ten pauses that together are longer than the watchdog waits, each far shorter.
  const auto engine = make_engine(hooked_clients({[](int64_t step) {
                                    if (step < 10) std::this_thread::sleep_for(std::chrono::milliseconds(600));
                                  }}),
                                  impatient(kWatchdog));
  run_until(*engine, 100);
}

// What a run leaves as it was -------------------------------------------------------------------------------------

TEST(the_intra_op_threads_of_torch_are_left_alone) {
  torch_threads();  // LibTorch reads its setting once a thread, and must have done so before it is changed
  void* set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  CHECK(set != nullptr);
  reinterpret_cast<void (*)(int)>(set)(3);
  CHECK_EQUAL(torch_threads(), 3);
  auto engine = make_engine(fake_clients(2));
  CHECK_EQUAL(torch_threads(), 3);
  engine->start(kForever);
  CHECK_EQUAL(torch_threads(), 3);
  engine.reset();
  CHECK_EQUAL(torch_threads(), 3);
}

// Those of elements without a gradient would stay denormal for ever, and slow every push down.
TEST(workers_flush_denormal_statistics) {
  TrainConfig config = small_config();
  config.optimizer = adam_config();
  const auto engine = make_engine(fake_clients(2), config);
  const std::vector<float> tiny(static_cast<size_t>(engine->num_parameters()), 1e-40f);
  engine->load(parameters(*engine).data(), {tiny.data(), tiny.data()}, {});
  run_until(*engine, 200);
  std::vector<float> moment(tiny.size());
  for (const size_t index : {0, 1}) {
    engine->read_statistic(index, moment.data());
    CHECK(std::count(moment.begin(), moment.end(), 0.0f) > 0);
    for (const float value : moment) CHECK(value == 0 || std::isnormal(value));
  }
}

TEST(runs_in_pieces_equal_one_run_of_one_worker) {
  TrainConfig config = small_config();
  config.learning_rate_decay_power = 1;
  config.total_steps = 1000;
  const auto whole = make_engine(fake_clients(1), config), pieces = make_engine(fake_clients(1), config);
  run_until(*whole, 1000);
  for (const int64_t until : {1, 100, 101, 555, 1000}) run_until(*pieces, until);
  CHECK_EQUAL(pieces->stats().steps, whole->stats().steps);
  CHECK(parameters(*pieces) == parameters(*whole));
  CHECK_EQUAL(whole->stats().learning_rate, 0.0);
}

// Runs 503 steps, saves, and goes on as another engine that was given what was saved.
void check_continuation(TrainConfig config, const EnvSpec& spec) {
  const auto client = [&] {
    FakeEnvConfig env = fake_config();
    env.spec = spec;
    Clients clients;
    clients.push_back(std::make_unique<FakeEnv>(env));
    return clients;
  };
  config.optimizer = adam_config();
  const auto original = make_engine(client(), config);
  run_until(*original, 503);
  const Snapshot saved = original->snapshot();
  std::vector<const float*> pointers;
  for (const std::vector<float>& statistic : saved.statistics) pointers.push_back(statistic.data());

  config.seed = 99;  // all that the seed decides is in what was saved
  const auto resumed = make_engine(client(), config);
  resumed->load(saved.parameters.data(), pointers, saved.progress);
  resumed->load_normalization(saved.normalization);
  resumed->load_worker_state(0, saved.workers.at(0));
  CHECK(parameters(*resumed) == parameters(*original));
  for (Engine* engine : {original.get(), resumed.get()}) run_until(*engine, 1200);
  CHECK(parameters(*resumed) == parameters(*original));
  CHECK(same(resumed->normalization(), original->normalization()));
  CHECK_EQUAL(resumed->stats().steps, original->stats().steps);
  CHECK_EQUAL(resumed->stats().updates, original->stats().updates);
  CHECK_EQUAL(resumed->stats().episodes, original->stats().episodes);
  CHECK_EQUAL(resumed->stats().mean_return_100, original->stats().mean_return_100);
}

TEST(a_saved_run_of_one_worker_continues_exactly) {
  for (const TrainConfig& config : {small_config(), normalizing()}) {
    check_continuation(config, small_spec());
    check_continuation(config, small_spec(2, discrete({3, 2})));
    check_continuation(config, small_spec(2, continuous({-1, 0}, {1, 10})));
    check_continuation(config, {2, array_of({7}), discrete({3})});
    check_continuation(config, {2, array_of({7}, ElementType::uint8, 3), discrete({3})});
  }
}

// In the middle of a rollout, and of episodes whose rewards are not yet summed up.
TEST(a_normalizing_run_that_was_stopped_anywhere_continues_exactly) {
  for (const int64_t stop_at : {0, 1, 7, 33}) {
    const auto original = make_engine(fake_clients(1), normalizing());
    Engine* stopped = nullptr;
    Clients clients;
    clients.push_back(std::make_unique<HookedEnv>(fake_config(2, 0), [&](int64_t step) {
      if (step == stop_at) stopped->request_stop();
    }));
    const auto hooked = make_engine(std::move(clients), normalizing());
    stopped = hooked.get();
    hooked->start(kForever);
    CHECK(hooked->wait(kPatience));
    const Snapshot saved = hooked->snapshot();
    original->load(saved.parameters.data(), {saved.statistics.at(0).data()}, saved.progress);
    original->load_normalization(saved.normalization);
    original->load_worker_state(0, saved.workers.at(0));
    for (Engine* engine : {hooked.get(), original.get()}) run_until(*engine, 300);
    CHECK(parameters(*original) == parameters(*hooked));
    CHECK(same(original->normalization(), hooked->normalization()));
  }
}

TEST(a_snapshot_holds_what_observations_and_rewards_are_normalized_by) {
  const auto engine = make_engine(fake_clients(2), normalizing());
  CHECK(same(engine->snapshot().normalization, Normalization(4)));
  run_until(*engine, 1000);
  const Snapshot snapshot = engine->snapshot();
  CHECK(same(snapshot.normalization, engine->normalization()));
  // Every step's observation but those before a reset, and the first ones; every step's reward.
  CHECK_CLOSE(snapshot.normalization.observations.count, snapshot.normalization.returns.count, 150);
  CHECK_EQUAL(snapshot.normalization.returns.count, static_cast<double>(snapshot.progress.steps));
  CHECK(snapshot.normalization.returns.squares[0] > 0);
  for (int i = 0; i < 4; ++i) {  // uniform from -1 to 1
    CHECK_CLOSE(snapshot.normalization.observations.mean[i], 0, 0.1);
    CHECK_CLOSE(snapshot.normalization.observations.variance(i), 1.0 / 3, 0.05);
  }
  const auto other = make_engine(fake_clients(1), normalizing());
  other->load_normalization(snapshot.normalization);
  CHECK(same(other->snapshot().normalization, snapshot.normalization));
  CHECK_THROWS(other->load_normalization(Normalization(3)), "the moments are of other observations");
  CHECK(same(other->normalization(), snapshot.normalization));

  const auto plain = make_engine(fake_clients(1));
  run_until(*plain, 100);
  CHECK(same(plain->snapshot().normalization, Normalization(4)));
}

TEST(a_worker_state_of_another_shape_is_refused) {
  const auto two = make_engine(fake_clients(1, 2)), four = make_engine(fake_clients(1, 4));
  run_until(*two, 10);
  CHECK_THROWS(four->load_worker_state(0, two->worker_state(0)), "another number of environments");
}

// In the child of a fork the workers do not exist, whether they run, have ended or have never been: forgetting them
// must neither hang nor crash, and an engine of the child's own works.
TEST(a_child_of_a_fork_lets_the_engine_be) {
#ifdef __SANITIZE_ADDRESS__
  // Its allocator, unlike the C library's, is not made ready for a fork (before GCC 14): a lock that a thread of the
  // parent holds at that moment, be it one that ends, stays locked in the child.
  const std::vector<Phase> phases{Phase::ready};
#else
  const std::vector<Phase> phases{Phase::ready, Phase::running, Phase::stopping,
                                  Phase::ended, Phase::failed,  Phase::closed};
#endif
  for (const Phase phase : phases) {
    const auto arrived = Gate::make(), gate = Gate::make();
    const HookedEnv::Hook hook = [=](int64_t step) {
      if (step < 3) return;
      arrived->open();
      if (phase == Phase::failed) throw std::runtime_error("failed");
      if (phase == Phase::stopping) gate->pass();
    };
    // None before the first: 200 steps are few, and the others might make all of them.
    const HookedEnv::Hook follow = [=](int64_t) { arrived->pass(); };
    auto engine = make_engine(hooked_clients({hook, follow, follow, follow, follow}));
    if (phase != Phase::ready) engine->start(phase == Phase::ended ? 200 : kForever);
    if (phase != Phase::ready) arrived->pass();
    if (phase == Phase::stopping) engine->request_stop();
    if (phase == Phase::closed) engine->close();
    CHECK(check::eventually([&] { return engine->phase() == phase; }));
    const pid_t child = fork();
    if (child == 0) {
      alarm(static_cast<unsigned>(kPatience));
      int refused = 0;
      const std::vector<std::function<void()>> calls{[&] { engine->start(1); },    [&] { engine->request_stop(); },
                                                     [&] { engine->wait(1); },     [&] { engine->close(); },
                                                     [&] { engine->stats(); },     [&] { engine->snapshot(); },
                                                     [&] { parameters(*engine); }, [&] { engine->normalization(); }};
      for (const auto& call : calls) {
        try {
          call();
        } catch (const StateError&) {
          ++refused;
        }
      }
      engine.reset();
#ifndef __SANITIZE_THREAD__  // which knows no threads after the fork of a process that has some
      run_until(*make_engine(fake_clients(2)), 100);
#endif
      leave_child(refused == static_cast<int>(calls.size()) ? 17 : 18);
    }
    CHECK(child > 0);
    int status = 0;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 17);
    CHECK(engine->phase() == phase);  // the parent's goes on
    gate->open();
  }
}

// The state of a run -----------------------------------------------------------------------------------------------

TEST(a_run_goes_through_its_phases) {
  const auto arrived = Gate::make(), gate = Gate::make();
  const auto engine = make_engine(hooked_clients({[=](int64_t step) {
    if (step != 3) return;
    arrived->open();
    gate->pass();
  }}));
  CHECK(engine->phase() == Phase::ready);
  engine->request_stop();  // of nothing
  CHECK(engine->phase() == Phase::ready);
  engine->start(kForever);
  CHECK(engine->phase() == Phase::running);
  arrived->pass();
  engine->request_stop();
  CHECK(engine->phase() == Phase::stopping);
  CHECK_THROWS(engine->start(kForever), "cannot start while the workers run");
  CHECK(!engine->wait(0.01));
  gate->open();
  CHECK(engine->wait(kPatience));
  CHECK(engine->phase() == Phase::ended);
  run_until(*engine, engine->stats().steps + 20);
  CHECK(engine->phase() == Phase::ended);
  engine->refuse_starts();
  CHECK_THROWS(engine->start(kForever), "closed");
  CHECK(engine->phase() == Phase::ended);
  engine->close();
  engine->close();
  CHECK(engine->phase() == Phase::closed);
  CHECK_THROWS(engine->start(kForever), "closed");
  CHECK_THROWS(engine->load_parameters(parameters(*engine).data()), "closed");
  CHECK(engine->wait(0));
  CHECK(engine->stats().steps > 0);
}

TEST(a_run_that_is_paused_again_and_again_learns_the_same) {
  TrainConfig config = normalizing();
  config.update_epochs = 2;
  std::vector<std::vector<float>> learned;
  for (const bool pauses : {false, true}) {
    const auto engine = make_engine(fake_clients(1), config);
    engine->start(2000);
    int times = 0;
    while (pauses && engine->pause()) {
      if (!engine->wait_until_paused(kPatience)) break;  // it had just ended
      ++times;
      CHECK(engine->resume() || engine->phase() == Phase::ended);
    }
    CHECK(engine->wait(kPatience));
    CHECK(engine->phase() == Phase::ended);
    CHECK(times > 0 || !pauses);
    learned.push_back(parameters(*engine));
  }
  CHECK(learned[0] == learned[1]);
}

TEST(nothing_moves_while_a_run_is_paused) {
  const auto engine = make_engine(fake_clients(3));
  CHECK_THROWS(engine->pause(), "no run has begun");
  CHECK_THROWS(engine->resume(), "no run has begun");
  engine->start(kForever);
  for (int i = 0; i < 1000; ++i) {
    CHECK(engine->pause());
    CHECK(engine->pause());
    CHECK(engine->wait_until_paused(kPatience));
    CHECK(engine->phase() == Phase::paused);
    CHECK(!engine->running());
    CHECK(engine->under_way());
    const std::vector<float> before = parameters(*engine);
    const Stats stats = engine->stats();
    CHECK(parameters(*engine) == before);
    CHECK_EQUAL(engine->stats().steps, stats.steps);
    CHECK_EQUAL(engine->stats().wall_seconds, stats.wall_seconds);
    CHECK_THROWS(engine->start(kForever), "the run is paused");
    CHECK_THROWS(engine->load_parameters(before.data()), "while the workers run");
    CHECK(engine->snapshot().workers.empty());
    CHECK(engine->resume());
    CHECK(engine->resume());
    CHECK(engine->running());
  }
  engine->request_stop();
  CHECK(engine->wait(kPatience));
  CHECK(!engine->pause());
  CHECK(!engine->resume());
  CHECK(!engine->wait_until_paused(0));
  CHECK(!engine->failure());
}

TEST(who_stands_still_is_not_given_up) {
  TrainConfig config = small_config();
  for (config.watchdog_seconds = 0.1;; config.watchdog_seconds *= 2) {
    const auto engine = make_engine(fake_clients(2), config);
    engine->start(kForever);
    if (!engine->pause() || !engine->wait_until_paused(kPatience)) continue;  // on a busy machine, before they stood
    std::this_thread::sleep_for(std::chrono::duration<double>(4 * config.watchdog_seconds));
    CHECK(engine->phase() == Phase::paused);
    CHECK(!engine->failure());
    return;
  }
}

TEST(a_paused_run_can_be_stopped_and_closed_and_begun_again) {
  const auto engine = make_engine(fake_clients(2));
  for (int i = 0; i < 50; ++i) {
    engine->start(kForever);
    CHECK(engine->pause());
    if (i % 2 == 0) CHECK(engine->wait_until_paused(kPatience));
    CHECK(!engine->wait(0.001));
    engine->request_stop();
    CHECK(engine->wait(kPatience));
    CHECK(engine->phase() == Phase::ended);
  }
  engine->start(kForever);
  CHECK(engine->pause());
  engine->close();
  CHECK(engine->phase() == Phase::closed);
  CHECK_THROWS(engine->pause(), "no run has begun");
}

TEST(a_worker_that_fails_before_it_stands_still_ends_the_pause) {
  const auto arrived = Gate::make(), gate = Gate::make();
  const auto engine = make_engine(hooked_clients({[](int64_t) {},
                                                  [=](int64_t step) {
                                                    if (step != 5) return;
                                                    arrived->open();
                                                    gate->pass();
                                                    throw std::runtime_error("the wheel fell off");
                                                  }}));
  engine->start(kForever);
  arrived->pass();
  CHECK(engine->pause());
  CHECK(!engine->wait_until_paused(0.01));  // one is still inside
  gate->open();
  CHECK(!engine->wait_until_paused(kPatience));
  CHECK(engine->wait(kPatience));
  CHECK(engine->phase() == Phase::failed);
  CHECK(!engine->resume());
}

TEST(a_schedule_goes_straight_from_point_to_point) {
  const Schedule schedule({{10, 1.0}, {20, 2.0}, {40, -2.0}});
  for (const auto& [step, value] : std::vector<std::pair<int64_t, double>>{
           {0, 1.0}, {10, 1.0}, {11, 1.1}, {20, 2.0}, {30, 0.0}, {40, -2.0}, {kForever, -2.0}})
    CHECK(std::abs(schedule.at(step) - value) < 1e-12);
  CHECK_THROWS(Schedule(std::vector<Schedule::Point>()), "needs a point");
  CHECK_THROWS((Schedule({{1, 0.0}, {1, 1.0}})), "must rise");
}

TEST(a_setting_follows_its_schedule_until_it_is_a_number) {
  const auto engine = make_engine(fake_clients(1));
  engine->set("learning_rate", Schedule({{0, 1.0}, {100, 0.0}}));
  CHECK_EQUAL(engine->stats().learning_rate, 1.0);
  run_until(*engine, 50);
  const auto steps = static_cast<double>(engine->stats().steps);
  CHECK(std::abs(engine->stats().learning_rate - (1 - steps / 100)) < 1e-12);
  engine->set("learning_rate", 0.25);
  CHECK(engine->stats().learning_rate <= 0.25);
  CHECK_THROWS(engine->set("gamma", 0.9), "gamma cannot change while the workers run");
}

TEST(closing_ends_a_run_and_wakes_those_that_wait) {
  const auto engine = make_engine(fake_clients(2));
  engine->start(kForever);
  std::atomic<int> woken{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) waiters.emplace_back([&] { woken += engine->wait(kPatience); });
  engine->close();
  for (std::thread& waiter : waiters) waiter.join();
  CHECK_EQUAL(woken.load(), 3);
  CHECK(engine->phase() == Phase::closed);
}

// A stop that came before a start is not one of the run that begins then, and one that comes after is never lost.
TEST(a_stop_that_comes_after_a_start_ends_the_run) {
  const auto engine = make_engine(fake_clients(2));
  for (int i = 0; i < 300; ++i) {
    std::atomic<bool> started{false};
    std::thread stopper([&] {
      for (int j = 0; j < 5; ++j) engine->request_stop();
      while (!started) std::this_thread::yield();
      engine->request_stop();
    });
    engine->start(kForever);
    started = true;
    CHECK(engine->wait(kPatience));
    stopper.join();
    CHECK(engine->phase() == Phase::ended);
  }
}

TEST(seconds_are_counted_while_workers_run) {
  const auto engine = make_engine(fake_clients(1));
  CHECK_EQUAL(engine->stats().wall_seconds, 0.0);
  engine->start(kForever);
  CHECK(check::eventually([&] { return engine->stats().wall_seconds > 0.01; }));
  engine->request_stop();
  CHECK(engine->wait(kPatience));
  const double first = engine->stats().wall_seconds;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK_EQUAL(engine->stats().wall_seconds, first);
  run_until(*engine, engine->stats().steps + 1000);
  CHECK(engine->stats().wall_seconds > first);
  CHECK_EQUAL(engine->snapshot().progress.wall_seconds, engine->stats().wall_seconds);
}

TEST(a_snapshot_at_rest_continues_the_run_and_one_on_the_way_does_not_claim_to) {
  const auto engine = make_engine(fake_clients(2));
  CHECK_EQUAL(engine->snapshot().workers.size(), size_t{2});
  engine->start(kForever);
  CHECK(check::eventually([&] { return engine->stats().episodes > 100; }));
  const Snapshot running = engine->snapshot();
  CHECK_EQUAL(running.workers.size(), size_t{0});
  CHECK(running.progress.steps > 0);
  engine->request_stop();
  CHECK(engine->wait(kPatience));
  const Snapshot rest = engine->snapshot();
  CHECK_EQUAL(rest.workers.size(), size_t{2});
  CHECK_EQUAL(rest.progress.steps, engine->stats().steps);
  CHECK_EQUAL(rest.progress.recent_episodes.size(), size_t{100});
  CHECK(rest.parameters == parameters(*engine));
}

// Whatever several threads ask for at once: every run that began ends, what is refused is refused with StateError,
// steps never fall, a snapshot says that the run stood still only where it did. A3C_TEST_SECONDS makes it longer.
TEST(six_threads_may_ask_for_anything_at_any_time) {
  const char* asked = std::getenv("A3C_TEST_SECONDS");
  const double seconds = asked != nullptr ? std::atof(asked) : 2;
  TrainConfig config = normalizing();
  config.optimizer = adam_config();
  auto engine = make_engine(fake_clients(3), config);
  std::atomic<bool> done{false};
  std::atomic<int64_t> starts{0}, refused{0}, rests{0}, paused{0};
  std::mutex mutex;
  std::string broken;  // guarded by mutex
  const auto report = [&](const std::string& what) {
    const std::lock_guard lock(mutex);
    if (broken.empty()) broken = what;
  };
  const auto one = [&](uint32_t seed) {
    int64_t steps = 0;
    while (!done) {
      seed = seed * 1664525u + 1013904223u;
      try {
        switch ((seed >> 16) % 15) {
          case 0: engine->start(engine->stats().steps + 50), ++starts; break;
          case 1: engine->start(kForever), ++starts; break;
          case 2: engine->request_stop(); break;
          case 3:
            if (!engine->wait_for(engine->request_stop(), kPatience)) report("a wait that never ended");
            break;
          case 4: engine->wait(0.001); break;
          case 5: {
            const int64_t now = engine->stats().steps;
            if (now < steps) report("steps fell");
            steps = now;
            break;
          }
          case 6: {
            const Snapshot snapshot = engine->snapshot();
            rests += !snapshot.workers.empty();
            for (const float value : snapshot.parameters)
              if (!std::isfinite(value)) report("a parameter that is not finite");
            break;
          }
          case 7: engine->load_parameters(parameters(*engine).data()); break;
          case 8: engine->load_worker_state(1, engine->worker_state(1)); break;
          case 9: engine->load_normalization(engine->normalization()); break;
          case 10: paused += engine->pause(); break;
          case 11: engine->resume(); break;
          case 12: {
            if (!engine->pause()) break;
            std::thread resumer([&] { engine->resume(); });  // another may have resumed it, or stopped it
            engine->wait_until_paused(kPatience);
            resumer.join();
            break;
          }
          case 13: engine->set("learning_rate", 1e-4); break;
          case 14: engine->set("clip_coef", Schedule({{0, 0.2}, {engine->stats().steps + 100, 0.1}})); break;
        }
      } catch (const StateError&) {
        ++refused;
      } catch (const std::exception& error) {
        report(error.what());
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 6; ++i) threads.emplace_back(one, i);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const auto unbroken = [&] {
    const std::lock_guard lock(mutex);
    return broken.empty();
  };
  while ((std::chrono::steady_clock::now() < end || starts == 0 || refused == 0 || paused == 0) && unbroken())
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  engine->close();  // while they go on
  CHECK(engine->phase() == Phase::closed);
  done = true;
  for (std::thread& thread : threads) thread.join();
  CHECK_EQUAL(broken, "");
  CHECK(!engine->failure());
  CHECK(starts > 0);
  CHECK(refused > 0);
}

}  // namespace
}  // namespace a3c

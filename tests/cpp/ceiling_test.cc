#include "run/ceiling.h"

#include <memory>
#include <set>
#include <vector>

#include "check.h"
#include "configs.h"

namespace a3c {
namespace {

struct Batch {
  explicit Batch(int clients, int64_t fail_at = -1) : started(clients) {
    for (int i = 0; i < clients; ++i) {
      FakeEnvConfig config = fake_config(3, static_cast<uint32_t>(i));
      if (i == 1) config.fail_at = fail_at;
      owned.push_back(std::make_unique<FakeEnv>(config));
      pointers.push_back(owned.back().get());
    }
  }
  std::vector<std::unique_ptr<FakeEnv>> owned;
  std::vector<EnvClient*> pointers;
  std::vector<uint8_t> started;
};

TEST(it_makes_the_steps_it_is_told_and_at_most_a_batch_a_client_more) {
  for (const int clients : {1, 2, 4})
    for (const int64_t steps : {int64_t{1}, int64_t{1000}}) {
      Batch batch(clients);
      const int64_t made = step_randomly(batch.pointers, batch.started, steps, 1);
      CHECK(made >= steps && made < steps + 3 * clients);
    }
}

TEST(it_goes_on_with_clients_that_have_begun) {
  Batch batch(2, 1000000);
  CHECK(step_randomly(batch.pointers, batch.started, 100, 1) >= 100);
  CHECK(batch.started[0] && batch.started[1]);
  CHECK(step_randomly(batch.pointers, batch.started, 100, 2) >= 100);
}

// Keeps the actions that it is given; FakeEnv throws where they are none.
class Recorder final : public EnvClient {
 public:
  explicit Recorder(const FakeEnvConfig& config) : fake_(config) {}
  const EnvSpec& spec() const override { return fake_.spec(); }
  const StepBatch& recv(void* observations) override { return fake_.recv(observations); }
  void send(const float* actions) override {
    sent.insert(sent.end(), actions, actions + spec().num_envs * spec().action.size());
    fake_.send(actions);
  }
  std::vector<float> sent;

 private:
  FakeEnv fake_;
};

std::vector<float> actions_of(const ActionSpec& action) {
  FakeEnvConfig config = fake_config(3);
  config.spec.action = action;
  Recorder recorder(config);
  std::vector<uint8_t> started(1);
  step_randomly({&recorder}, started, 3000, 1);
  return recorder.sent;
}

TEST(every_choice_of_every_component_is_made) {
  std::set<float> first, second;
  const std::vector<float> actions = actions_of(discrete({2, 5}));
  CHECK_EQUAL(actions.size(), size_t{6000});
  for (size_t i = 0; i < actions.size(); ++i) (i % 2 ? second : first).insert(actions[i]);
  CHECK(first == (std::set<float>{0, 1}));
  CHECK(second == (std::set<float>{0, 1, 2, 3, 4}));
}

TEST(continuous_components_are_anywhere_between_the_bounds) {
  const std::vector<float> actions = actions_of(continuous({-3, 0}, {3, 10}));
  for (const float u : actions) CHECK(u >= -1 && u <= 1);  // in the policy's units
  for (const size_t i : {0, 1}) {
    double sum = 0, squares = 0;
    for (size_t n = i; n < actions.size(); n += 2) sum += actions[n], squares += actions[n] * actions[n];
    CHECK_CLOSE(sum / 3000, 0, 0.06);
    CHECK_CLOSE(squares / 3000, 1.0 / 3, 0.03);
  }
}

TEST(a_failure_of_one_client_ends_the_others_and_is_thrown) {
  Batch batch(3, 5);
  CHECK_THROWS(step_randomly(batch.pointers, batch.started, int64_t{1} << 40, 1), "scripted failure at step 5");
}

TEST(updates_alone_are_counted) {
  for (const OptimizerKind kind : {OptimizerKind::adam, OptimizerKind::rmsprop})
    for (const int threads : {1, 3, 7}) {
      const OptimizerConfig optimizer{kind, 0.99, 0.9, 0.999, 1e-5};
      CHECK_EQUAL(update_alone(5, optimizer, threads, 0.0), int64_t{threads});  // fewer floats than threads, too
      CHECK(update_alone(5, optimizer, threads, 0.1) >= threads);
    }
}

}  // namespace
}  // namespace a3c

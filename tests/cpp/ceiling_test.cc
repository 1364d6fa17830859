#include "run/ceiling.h"

#include <memory>
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

TEST(a_failure_of_one_client_ends_the_others_and_is_thrown) {
  Batch batch(3, 5);
  CHECK_THROWS(step_randomly(batch.pointers, batch.started, int64_t{1} << 40, 1), "scripted failure at step 5");
}

}  // namespace
}  // namespace a3c

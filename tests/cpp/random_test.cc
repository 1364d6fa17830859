#include "learn/random.h"

#include <set>

#include "check.h"

namespace a3c {
namespace {

TEST(the_published_sequence_of_splitmix64) {
  // Seed 1234567: the reference values that implementations of SplitMix64 are commonly checked with.
  Random random(1234567);
  CHECK_EQUAL(random.next(), uint64_t{6457827717110365317u});
  CHECK_EQUAL(random.next(), uint64_t{3203168211198807973u});
  CHECK_EQUAL(random.next(), uint64_t{9817491932198370423u});
}

TEST(the_state_is_all_there_is) {
  Random random(5);
  for (int i = 0; i < 10; ++i) random.next();
  Random restored(random.state());
  for (int i = 0; i < 10; ++i) CHECK_EQUAL(restored.next(), random.next());
}

TEST(uniform_lies_in_0_to_1_and_never_is_1) {
  Random random(9);
  double sum = 0;
  float least = 1, most = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    const float u = random.uniform();
    CHECK(u >= 0.0f && u < 1.0f);
    sum += u;
    least = u < least ? u : least;
    most = u > most ? u : most;
  }
  CHECK_CLOSE(sum / kCount, 0.5, 0.005);  // five standard deviations
  CHECK(least < 0.001f && most > 0.999f);
}

TEST(workers_have_streams_of_their_own) {
  std::set<uint64_t> seen;
  constexpr int kWorkers = 64, kDraws = 1000;
  for (uint64_t worker = 0; worker < kWorkers; ++worker) {
    Random random = worker_random(42, worker);
    for (int i = 0; i < kDraws; ++i) seen.insert(random.next());
  }
  CHECK_EQUAL(seen.size(), size_t{kWorkers * kDraws});
  CHECK(worker_random(1, 0).next() != worker_random(2, 0).next());
  CHECK_EQUAL(worker_random(1, 3).next(), worker_random(1, 3).next());
}

}  // namespace
}  // namespace a3c

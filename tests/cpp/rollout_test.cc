#include "learn/rollout.h"

#include <set>

#include "check.h"
#include "configs.h"

namespace a3c {
namespace {

TEST(every_array_has_its_room) {
  const Rollout rollout(5, small_spec(3), 3);
  CHECK_EQUAL(rollout.size(), 15);
  CHECK_EQUAL(rollout.observation_bytes, 16);
  CHECK_EQUAL(rollout.observations.size(), size_t{6 * 3 * 16});
  CHECK_EQUAL(rollout.policy.size(), size_t{6 * 3 * 3});
  CHECK_EQUAL(rollout.values.size(), size_t{6 * 3});
  for (const size_t size :
       {rollout.actions.size(), rollout.rewards.size(), rollout.done.size(), rollout.bootstraps.size(),
        rollout.valid.size(), rollout.returns.size(), rollout.advantages.size()})
    CHECK_EQUAL(size, size_t{15});
}

TEST(bytes_take_one_byte) {
  const Rollout rollout(2, {4, array_of({4, 84, 84}), discrete({6})}, 6);
  CHECK_EQUAL(rollout.observation_bytes, 28224);
  CHECK_EQUAL(rollout.observations.size(), size_t{3 * 4 * 28224});
}

TEST(the_index_is_time_major) {
  Rollout rollout(4, small_spec(3), 3);
  std::set<int64_t> seen;
  int64_t expected = 0;
  for (int t = 0; t < 4; ++t)
    for (int k = 0; k < 3; ++k) {
      CHECK_EQUAL(rollout.at(t, k), expected++);
      seen.insert(rollout.at(t, k));
    }
  CHECK_EQUAL(static_cast<int64_t>(seen.size()), rollout.size());
  CHECK_EQUAL(rollout.at(2), 6);
  for (int t = 0; t <= 4; ++t) CHECK_EQUAL(rollout.observation_row(t) - rollout.observations.data(), t * 3 * 16);
}

TEST(no_size_overflows_32_bits) {
  const Rollout rollout(1 << 16, {1, {}, discrete({1})}, 1);
  CHECK_EQUAL(rollout.at(1 << 16, 0), int64_t{1} << 16);
  // Only the indices: 2^16 steps of 2^16 environments would not fit into memory.
  Rollout wide(1, {1, {}, discrete({1})}, 1);
  wide.num_envs = 1 << 16;
  wide.t_max = 1 << 16;
  CHECK_EQUAL(wide.size(), int64_t{1} << 32);
  CHECK_EQUAL(wide.at(1 << 16), int64_t{1} << 32);
}

}  // namespace
}  // namespace a3c

#include "learn/shared_params.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "check.h"
#include "configs.h"
#include "learn/optimizer.h"
#include "model/network.h"

namespace a3c {
namespace {

std::vector<float> pulled(const SharedParams& params) {
  std::vector<float> values(static_cast<size_t>(params.size()), -99);
  params.pull(values.data());
  return values;
}

std::vector<float> statistic(const SharedParams& params, size_t index) {
  std::vector<float> values(static_cast<size_t>(params.size()), -99);
  params.read_statistic(index, values.data());
  return values;
}

std::vector<float> ramp(size_t size, float scale) {
  std::vector<float> values(size);
  for (size_t i = 0; i < size; ++i) values[i] = scale * (1 + static_cast<float>(i % 13));
  return values;
}

// A push in pieces, from a worker's own place on.
void push_whole(SharedParams& params, const std::vector<float>& gradient, float clip_scale, double learning_rate,
                int worker = 0, int num_workers = 1) {
  const SharedParams::Push push = params.begin_push(clip_scale, learning_rate);
  read_whole_gradient(
      gradient.data(), params.size(), static_cast<double>(worker) / num_workers,
      [&](int64_t offset, int64_t count, const float* piece) { params.push(push, offset, count, piece); });
}

TEST(it_begins_at_0_and_pulls_what_was_loaded) {
  SharedParams params(37, rmsprop_config());
  CHECK_EQUAL(params.size(), 37);
  CHECK_EQUAL(params.updates(), 0);
  CHECK(pulled(params) == std::vector<float>(37, 0.0f));
  const std::vector<float> theta = ramp(37, 0.1f), mean_square = ramp(37, 0.01f);
  params.load(theta.data(), {mean_square.data()}, 12);
  CHECK(pulled(params) == theta);
  CHECK(statistic(params, 0) == mean_square);
  CHECK_EQUAL(params.updates(), 12);
  params.load(theta.data(), {}, 0);
  CHECK(statistic(params, 0) == std::vector<float>(37, 0.0f));
}

TEST(a_push_from_any_place_updates_every_parameter_once) {
  for (const size_t size : {size_t{1}, size_t{16}, size_t{100}, size_t{1000}})
    for (const int num_workers : {1, 2, 7}) {
      for (int worker = 0; worker < num_workers; ++worker) {
        SharedParams params(static_cast<int64_t>(size), rmsprop_config());
        const std::vector<float> gradient = ramp(size, 0.3f);
        std::vector<float> theta = ramp(size, 1.0f), mean_square = ramp(size, 0.2f);
        params.load(theta.data(), {mean_square.data()}, 0);
        push_whole(params, gradient, 0.5f, 1e-2, worker, num_workers);
        rmsprop_update(static_cast<int64_t>(size), gradient.data(), 0.5f, 1e-2f, 0.99f, 0.1f, mean_square.data(),
                       theta.data());
        const std::vector<float> result = pulled(params), result_square = statistic(params, 0);
        for (size_t i = 0; i < size; ++i) {
          CHECK_CLOSE(result[i], theta[i], 1e-6);  // vectors of the middle and the scalar rest round differently
          CHECK_CLOSE(result_square[i], mean_square[i], 1e-6);
        }
        CHECK_EQUAL(params.updates(), 1);
      }
    }
}

TEST(adam_counts_the_updates_of_all_workers) {
  SharedParams params(50, adam_config());
  std::vector<float> theta(50), m(50), v(50);
  for (int step = 1; step <= 6; ++step) {
    const std::vector<float> gradient = ramp(50, 0.1f * static_cast<float>(step));
    push_whole(params, gradient, 1.0f, 1e-2, step % 3, 3);
    adam_update(50, gradient.data(), 1.0f, adam_rates(1e-2, 0.9, 0.999, 1e-5, step), m.data(), v.data(), theta.data());
  }
  CHECK_EQUAL(params.updates(), 6);
  const std::vector<float> result = pulled(params);
  for (size_t i = 0; i < 50; ++i) CHECK_CLOSE(result[i], theta[i], 1e-6);
  CHECK_CLOSE(statistic(params, 0)[7], m[7], 1e-6);
  CHECK_CLOSE(statistic(params, 1)[7], v[7], 1e-6);
}

TEST(adam_goes_on_from_the_count_that_was_loaded) {
  const std::vector<float> gradient = ramp(20, 0.5f), zero(20);
  SharedParams params(20, adam_config());
  params.load(zero.data(), {zero.data(), zero.data()}, 99);
  push_whole(params, gradient, 1.0f, 1e-2);
  std::vector<float> theta(20), m(20), v(20);
  adam_update(20, gradient.data(), 1.0f, adam_rates(1e-2, 0.9, 0.999, 1e-5, 100), m.data(), v.data(), theta.data());
  for (size_t i = 0; i < 20; ++i) CHECK_CLOSE(pulled(params)[i], theta[i], 1e-6);
}

TEST(statistics_have_names_and_those_of_another_optimizer_are_refused) {
  SharedParams rmsprop(4, rmsprop_config()), adam(4, adam_config());
  CHECK_EQUAL(rmsprop.statistic_names().size(), size_t{1});
  CHECK_EQUAL(std::string(rmsprop.statistic_names()[0]), "mean_square");
  CHECK_EQUAL(adam.statistic_names().size(), size_t{2});
  CHECK_EQUAL(std::string(adam.statistic_names()[0]), "first_moment");
  CHECK_EQUAL(std::string(adam.statistic_names()[1]), "second_moment");
  const std::vector<float> values(4);
  CHECK_THROWS(rmsprop.load(values.data(), {values.data(), values.data()}, 0), "another optimizer");
  CHECK_THROWS(adam.load(values.data(), {values.data()}, 0), "another optimizer");
  std::vector<float> room(4);
  CHECK_THROWS(rmsprop.read_statistic(1, room.data()), "");
}

// Each push moves every parameter by exactly -1: the gradient is 1, the mean square stays 1 and eps is 0.
OptimizerConfig unit_steps() {
  return {.kind = OptimizerKind::rmsprop, .rmsprop_alpha = 1.0, .eps = 0.0};
}

TEST(many_threads_push_and_pull_at_once) {
  constexpr int64_t kSize = 517;
  constexpr int kPushers = 4, kPullers = 2, kPushes = 200;
  SharedParams params(kSize, unit_steps());
  const std::vector<float> zero(kSize), one(kSize, 1.0f);
  params.load(zero.data(), {one.data()}, 0);
  std::atomic<bool> done{false};
  std::atomic<int> torn{0}, pulls{0};
  std::vector<std::thread> pushers, pullers;
  for (int worker = 0; worker < kPushers; ++worker)
    pushers.emplace_back([&, worker] {
      for (int i = 0; i < kPushes; ++i) push_whole(params, one, 1.0f, 1.0, worker, kPushers);
    });
  for (int i = 0; i < kPullers; ++i)
    pullers.emplace_back([&] {
      std::vector<float> theta(kSize), mean_square(kSize);
      do {
        params.pull(theta.data());
        params.read_statistic(0, mean_square.data());
        // A float that was torn would be no whole number, or out of range: an update may be lost, never invented.
        for (const float value : theta)
          torn += !(value == std::floor(value) && value <= 0 && value >= -kPushers * kPushes);
        for (const float value : mean_square) torn += value != 1.0f;
        ++pulls;
      } while (!done);
    });
  for (std::thread& thread : pushers) thread.join();
  done = true;
  for (std::thread& thread : pullers) thread.join();
  CHECK_EQUAL(torn.load(), 0);
  CHECK(pulls >= kPullers);
  CHECK_EQUAL(params.updates(), int64_t{kPushers} * kPushes);  // the count is atomic: none is lost
  for (const float value : pulled(params)) CHECK(value <= -kPushes && value >= -kPushers * kPushes);
}

}  // namespace
}  // namespace a3c

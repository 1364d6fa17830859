#include "run/stats.h"

#include <cmath>
#include <thread>
#include <vector>

#include "check.h"

namespace a3c {
namespace {

TEST(readers_are_told_of_episodes_in_their_order_and_late_ones_of_fewer) {
  EpisodeLog log;
  int64_t from = 0;
  CHECK(log.since(from, 10).empty());
  const int64_t count = EpisodeLog::kKept + 100;
  for (int64_t i = 0; i < count; ++i) log.add(0.5 * static_cast<double>(i), i, static_cast<int>(i % 3), 2 * i);
  CHECK_EQUAL(log.added(), count);
  from = 0;
  std::vector<EpisodeLog::Told> told = log.since(from, 7);
  CHECK_EQUAL(from, int64_t{100});  // those before are not kept
  CHECK_EQUAL(told.size(), size_t{7});
  for (int64_t i = 0; i < 7; ++i) {
    CHECK_EQUAL(told[i].length, from + i);
    CHECK_EQUAL(told[i].episode_return, 0.5 * static_cast<double>(from + i));
    CHECK_EQUAL(int64_t{told[i].worker}, (from + i) % 3);
    CHECK_EQUAL(told[i].step, 2 * (from + i));
  }
  from = count - 2;
  CHECK_EQUAL(log.since(from, 100).size(), size_t{2});
  from = count + 5;  // nobody has been told that yet
  CHECK(log.since(from, 100).empty());
  CHECK_EQUAL(from, count);
}

TEST(no_episode_has_no_mean) {
  const EpisodeLog log;
  CHECK_EQUAL(log.summary().episodes, 0);
  CHECK(std::isnan(log.summary().mean_return_100));
  CHECK(std::isnan(log.summary().mean_length_100));
  CHECK(std::isnan(log.summary().mean_return_20));
}

TEST(the_means_are_over_the_last_100_episodes) {
  EpisodeLog log;
  log.add(3, 10);
  log.add(-1, 20);
  CHECK_CLOSE(log.summary().mean_return_100, 1, 1e-12);
  CHECK_CLOSE(log.summary().mean_length_100, 15, 1e-12);
  for (int i = 0; i < 98; ++i) log.add(1, 15);
  CHECK_CLOSE(log.summary().mean_return_100, 1, 1e-12);
  for (int i = 0; i < 100; ++i) log.add(5, 50);
  CHECK_CLOSE(log.summary().mean_return_100, 5, 1e-12);
  CHECK_CLOSE(log.summary().mean_length_100, 50, 1e-12);
  log.add(105, 150);  // one of the fives goes
  CHECK_CLOSE(log.summary().mean_return_100, 6, 1e-12);
  CHECK_CLOSE(log.summary().mean_length_100, 51, 1e-12);
  CHECK_EQUAL(log.summary().episodes, 201);
}

TEST(the_short_mean_is_over_the_last_20_episodes) {
  EpisodeLog log;
  log.add(3, 10);
  log.add(-1, 20);
  CHECK_CLOSE(log.summary().mean_return_20, 1, 1e-12);
  for (int i = 0; i < 18; ++i) log.add(1, 15);
  CHECK_CLOSE(log.summary().mean_return_20, 1, 1e-12);
  log.add(43, 15);  // the 3 goes
  CHECK_CLOSE(log.summary().mean_return_20, (-1 + 18 + 43) / 20.0, 1e-12);
  CHECK_CLOSE(log.summary().mean_return_100, (3 - 1 + 18 + 43) / 21.0, 1e-12);
  for (int i = 0; i < 200; ++i) log.add(i < 180 ? 7 : 5, 15);
  CHECK_CLOSE(log.summary().mean_return_20, 5, 1e-12);
  CHECK_CLOSE(log.summary().mean_return_100, 0.8 * 7 + 0.2 * 5, 1e-12);
}

TEST(episodes_of_other_hosts_are_among_the_last_and_not_counted) {
  EpisodeLog log;
  log.add(1, 10);
  log.hear({{4, 20}, {7, 30}});
  CHECK_EQUAL(log.summary().episodes, int64_t{1});
  CHECK_EQUAL(log.added(), int64_t{1});
  CHECK_CLOSE(log.summary().mean_return_20, 4, 1e-12);
  CHECK_CLOSE(log.summary().mean_length_100, 20, 1e-12);
  CHECK_EQUAL(log.recent().back().length, int64_t{30});
  log.hear(std::vector<EpisodeLog::Episode>(150, {2.0, 5}));
  CHECK_EQUAL(log.recent().size(), size_t{100});
  log.add(22, 5);
  CHECK_CLOSE(log.summary().mean_return_20, 3, 1e-12);
  CHECK_CLOSE(log.summary().mean_return_100, 2.2, 1e-12);
}

TEST(a_resumed_run_goes_on_with_the_last_episodes) {
  EpisodeLog log;
  for (int i = 0; i < 130; ++i) log.add(i, 10 + i);
  EpisodeLog resumed;
  resumed.load(130, log.recent());
  CHECK_EQUAL(resumed.recent().size(), size_t{100});
  CHECK_EQUAL(resumed.recent().front().episode_return, 30.0);
  CHECK_EQUAL(resumed.recent().back().length, int64_t{139});
  for (EpisodeLog* each : {&log, &resumed}) each->add(7, 3);
  CHECK_EQUAL(resumed.summary().episodes, log.summary().episodes);
  CHECK_EQUAL(resumed.summary().mean_return_100, log.summary().mean_return_100);
  CHECK_EQUAL(resumed.summary().mean_length_100, log.summary().mean_length_100);
  CHECK_EQUAL(resumed.summary().mean_return_20, log.summary().mean_return_20);
  EpisodeLog cut;
  cut.load(130, std::vector<EpisodeLog::Episode>(250, {1.0, 2}));
  CHECK_EQUAL(cut.recent().size(), size_t{100});
}

// The first that end after a resume are the short ones: their mean would be no mean of the last 100.
TEST(a_resumed_run_that_knows_no_episodes_shows_no_mean_until_it_knows_enough) {
  EpisodeLog log;
  log.load(500, {});
  CHECK_EQUAL(log.summary().episodes, 500);
  for (int i = 0; i < 100; ++i) {
    CHECK_EQUAL(log.summary().known, i);
    CHECK(std::isnan(log.summary().mean_return_100));
    CHECK(std::isnan(log.summary().mean_length_100));
    CHECK_EQUAL(std::isnan(log.summary().mean_return_20), i < 20);
    log.add(2, 3);
  }
  CHECK_CLOSE(log.summary().mean_return_100, 2, 1e-12);
  EpisodeLog few;  // of a run that had no more than these
  few.load(2, {{1.0, 10}, {3.0, 20}});
  CHECK_CLOSE(few.summary().mean_return_100, 2, 1e-12);
  few.add(5, 30);
  CHECK_CLOSE(few.summary().mean_return_100, 3, 1e-12);
}

TEST(an_update_log_keeps_the_last_100) {
  UpdateLog log;
  UpdateLog::Entry sum{};
  CHECK_EQUAL(log.sum_into(sum), size_t{0});
  for (int i = 1; i <= 250; ++i)
    log.add({{.policy_loss = 1.0 * i,
              .value_loss = 2.0 * i,
              .entropy = 3.0 * i,
              .approx_kl = 5.0 * i,
              .clip_fraction = 6.0 * i,
              .valid = 1},
             4.0 * i});
  CHECK_EQUAL(log.sum_into(sum), size_t{100});
  const double expected = (151 + 250) * 50;
  CHECK_CLOSE(sum.policy_loss, expected, 1e-9);
  CHECK_CLOSE(sum.value_loss, 2 * expected, 1e-9);
  CHECK_CLOSE(sum.entropy, 3 * expected, 1e-9);
  CHECK_CLOSE(sum.grad_norm, 4 * expected, 1e-9);
  CHECK_CLOSE(sum.approx_kl, 5 * expected, 1e-9);
  CHECK_CLOSE(sum.clip_fraction, 6 * expected, 1e-9);
}

TEST(sums_of_several_logs_add_up) {
  UpdateLog one, two;
  one.add({{.policy_loss = 1, .valid = 1}, 10});
  two.add({{.policy_loss = 2, .valid = 1}, 20});
  two.add({{.policy_loss = 3, .valid = 1}, 30});
  UpdateLog::Entry sum{};
  CHECK_EQUAL(one.sum_into(sum) + two.sum_into(sum), size_t{3});
  CHECK_CLOSE(sum.policy_loss, 6, 1e-12);
  CHECK_CLOSE(sum.grad_norm, 60, 1e-12);
}

TEST(workers_write_while_others_read) {
  EpisodeLog episodes;
  UpdateLog updates;
  constexpr int kThreads = 4, kEach = 2000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < kEach; ++j) {
        episodes.add(2, 7);
        updates.add({{.policy_loss = 3, .valid = 1}, 4});
      }
    });
  bool whole = true;
  for (int j = 0; j < kEach; ++j) {
    const EpisodeLog::Summary summary = episodes.summary();
    UpdateLog::Entry sum{};
    const size_t count = updates.sum_into(sum);
    whole &= summary.episodes == 0 ||
             (summary.mean_return_100 == 2 && summary.mean_length_100 == 7 && summary.mean_return_20 == 2);
    whole &= sum.policy_loss == 3.0 * static_cast<double>(count) && sum.grad_norm == 4.0 * static_cast<double>(count);
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(whole);
  CHECK_EQUAL(episodes.summary().episodes, int64_t{kThreads} * kEach);
}

}  // namespace
}  // namespace a3c

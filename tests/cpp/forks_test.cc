// Forks wait for threads that compute, and the child knows that it is one.
#include "run/forks.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "check.h"
#include "child.h"

namespace a3c {
namespace {

// The exit status of a child that leaves with the number of forks that it knows of.
int forks_of_a_child() {
  const pid_t child = fork();
  if (child == 0) leave_child(forks());
  int status = 0;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}

TEST(a_child_counts_its_fork_and_the_parent_does_not) {
  CHECK_EQUAL(forks(), 0);
  CHECK_EQUAL(forks_of_a_child(), 1);
  CHECK_EQUAL(forks(), 0);
}

TEST(a_fork_waits_until_nobody_computes) {
  std::atomic<bool> begun{false}, ended{false};
  std::thread computes([&] {
    const Computing computing;
    begun = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ended = true;
  });
  while (!begun) std::this_thread::yield();
  CHECK_EQUAL(forks_of_a_child(), 1);
  CHECK(ended.load());
  computes.join();
}

TEST(a_thread_that_waits_or_lets_forks_happen_holds_none_up) {
  std::atomic<bool> begun{false}, done{false};
  std::thread waits([&] {
    const Computing computing;
    const Waiting waiting;
    begun = true;
    while (!done) std::this_thread::yield();
  });
  std::thread works([&] {
    const Computing computing;
    while (!done) let_fork();
  });
  while (!begun) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) CHECK_EQUAL(forks_of_a_child(), 1);
  done = true;
  waits.join();
  works.join();
}

TEST(nobody_begins_to_compute_in_the_middle_of_a_fork) {
  std::atomic<bool> done{false};
  std::thread works([&] {
    while (!done) const Computing computing;
  });
  for (int i = 0; i < 50; ++i) CHECK_EQUAL(forks_of_a_child(), 1);
  done = true;
  works.join();
}

}  // namespace
}  // namespace a3c

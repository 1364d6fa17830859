#include "run/forks.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

namespace a3c {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr auto kMoment = std::chrono::microseconds(50);

std::atomic<int> g_forks{0};         // atomic; written in the child of a fork alone, by its only thread
std::atomic<int> g_computing{0};     // atomic; threads between begin_computing() and end_computing()
std::atomic<bool> g_forking{false};  // atomic; nobody begins to compute
std::mutex g_one_fork;               // held by the thread that forks

void before_fork() {
  g_one_fork.lock();
  g_forking = true;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (g_computing > 0 && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(kMoment);
}

void after_fork_in_parent() {
  g_forking = false;
  g_one_fork.unlock();
}

void after_fork_in_child() {
  ++g_forks;
  g_computing = 0;  // those threads are not here
  after_fork_in_parent();
}

const int g_registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

}  // namespace

int forks() {
  return g_forks.load(std::memory_order_relaxed);
}

void begin_computing() {
  for (;;) {
    ++g_computing;  // first, so that of a fork and a thread that begin at once one sees the other
    if (!g_forking) return;
    --g_computing;
    while (g_forking) std::this_thread::sleep_for(kMoment);
  }
}

void end_computing() {
  --g_computing;
}

void let_fork() {
  if (!g_forking.load(std::memory_order_relaxed)) return;
  const Waiting now;
}

}  // namespace a3c

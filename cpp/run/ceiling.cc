#include "run/ceiling.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <stdexcept>
#include <thread>

#include "learn/random.h"
#include "learn/shared_params.h"

namespace a3c {
namespace {

// One of the choices that are allowed.
int allowed_choice(int choices, const uint8_t* mask, Random& random) {
  int left = static_cast<int>(random.next() % static_cast<uint64_t>(std::count(mask, mask + choices, 1)));
  int choice = 0;
  while (!mask[choice] || left-- > 0) ++choice;
  return choice;
}

// Any choice that is allowed, and continuous components from -1 to 1 of the policy's units: between the bounds, where
// there are some.
void choose_randomly(const EnvSpec& spec, const uint8_t* mask, Random& random, std::vector<float>& actions) {
  const auto size = static_cast<size_t>(spec.action.size());
  if (mask) {
    for (size_t i = 0; i < actions.size(); mask += spec.action.choices[i++ % size])
      actions[i] = static_cast<float>(allowed_choice(spec.action.choices[i % size], mask, random));
    return;
  }
  for (size_t i = 0; i < actions.size(); ++i)
    actions[i] = spec.action.continuous()
                     ? 2 * random.uniform() - 1
                     : static_cast<float>(random.next() % static_cast<uint64_t>(spec.action.choices[i % size]));
}

// `work` of 0 to `count` - 1, each in a thread of its own. Where the system gives no more threads, `give_up` ends those
// that there are.
void run_all(size_t count, const std::function<void(size_t)>& work, std::atomic<bool>& give_up) {
  std::vector<std::thread> threads;
  std::exception_ptr no_thread;
  try {
    for (size_t i = 0; i < count; ++i) threads.emplace_back(work, i);
  } catch (...) {
    no_thread = std::current_exception();
    give_up = true;
  }
  for (std::thread& thread : threads) thread.join();
  if (no_thread) std::rethrow_exception(no_thread);
}

}  // namespace

int64_t step_randomly(const std::vector<EnvClient*>& clients, std::vector<uint8_t>& started, int64_t steps,
                      uint64_t seed) {
  std::atomic<bool> failed{false};                         // atomic; one client's failure ends the others
  std::atomic<int64_t> made{0};                            // atomic
  std::vector<std::exception_ptr> errors(clients.size());  // element i: thread i alone, read after the join
  const auto step = [&](size_t index) {
    EnvClient& client = *clients[index];
    const EnvSpec& spec = client.spec();
    std::vector<uint64_t> observations(static_cast<size_t>((spec.num_envs * spec.observation.bytes() + 7) / 8));
    std::vector<float> actions(static_cast<size_t>(spec.num_envs) * spec.action.size());
    Random random = worker_random(seed, index);
    try {
      if (spec.action.masked && started[index])
        throw std::invalid_argument("the environments have shown what is allowed to somebody else");
      const uint8_t* mask = nullptr;
      if (!started[index]) mask = client.recv(observations.data()).action_masks;
      started[index] = 1;
      while (made.load(std::memory_order_relaxed) < steps && !failed.load(std::memory_order_relaxed)) {
        choose_randomly(spec, mask, random, actions);
        client.send(actions.data());
        mask = client.recv(observations.data()).action_masks;
        made.fetch_add(spec.num_envs, std::memory_order_relaxed);
      }
    } catch (...) {
      errors[index] = std::current_exception();
      failed = true;
    }
  };
  run_all(clients.size(), step, failed);
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return made.load();
}

int64_t update_alone(int64_t parameters, const OptimizerConfig& optimizer, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  SharedParams params(parameters, optimizer);
  std::atomic<bool> stop{false};  // atomic
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  const auto update = [&](size_t index) {
    std::vector<float> local(static_cast<size_t>(parameters)), gradient(local.size());
    const int64_t first = parameters * static_cast<int64_t>(index) / threads;
    do {
      params.pull(local.data());
      const SharedParams::Push push = params.begin_push(1.0f, 1e-4);
      params.push(push, first, parameters - first, gradient.data() + first);
      params.push(push, 0, first, gradient.data());
    } while (!stop.load(std::memory_order_relaxed) && Clock::now() < end);
  };
  run_all(static_cast<size_t>(threads), update, stop);
  return params.updates();
}

}  // namespace a3c

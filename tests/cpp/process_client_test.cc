// The client of a user's environments against a child that is written here: the steps that it hands over, what it says
// went wrong, how it ends. tests/test_processes.py has the real child.
#include "env/process/process_client.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"

namespace a3c {
namespace {

constexpr int kNumEnvs = 2;
constexpr int kMessageBytes = 64;

EnvSpec spec_of(bool masked = false) {
  EnvSpec spec;
  spec.num_envs = kNumEnvs;
  spec.observation.num_features = 3;
  spec.action.choices = {2, 3};
  spec.action.masked = masked;
  return spec;
}

ProcessLayout layout_of(bool has_finals) {
  ProcessLayout layout;
  layout.observations = 0;
  layout.rewards = 64;
  layout.flags = 128;
  layout.masks = 192;
  layout.finals = has_finals ? 256 : 0;
  layout.actions = 320;
  layout.message = 384;
  layout.message_bytes = kMessageBytes;
  layout.size = 512;
  return layout;
}

// A child that runs `body` for each step, 0 for the reset, and exits where that returns false.
class Child {
 public:
  using Body = std::function<bool(std::byte* memory, int step)>;

  explicit Child(const Body& body, const EnvSpec& env = spec_of(), bool has_finals = false,
                 double limit = check::kPatience) {
    specs.env = env;
    specs.layout = layout_of(has_finals);
    specs.limit_seconds = limit;
    specs.memory = memfd_create("process_client_test", MFD_CLOEXEC);
    CHECK(ftruncate(specs.memory, specs.layout.size) == 0);
    specs.go = eventfd(0, EFD_CLOEXEC);
    specs.done = eventfd(0, EFD_CLOEXEC);
    pid = fork();
    if (pid == 0) run(body);
    specs.pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    CHECK(specs.pidfd >= 0);
  }
  ~Child() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    for (int descriptor : {specs.memory, specs.go, specs.done, specs.pidfd}) close(descriptor);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  ProcessSpecs specs;
  pid_t pid = -1;

 private:
  [[noreturn]] void run(const Body& body) const {
    auto* memory = static_cast<std::byte*>(
        mmap(nullptr, static_cast<size_t>(specs.layout.size), PROT_READ | PROT_WRITE, MAP_SHARED, specs.memory, 0));
    uint64_t count = 1;
    for (int step = 0; body(memory, step); ++step)
      if (write(specs.done, &count, 8) != 8 || read(specs.go, &count, 8) != 8) break;
    _exit(3);
  }
};

template <typename T>
T* in(std::byte* memory, int64_t offset) {
  return reinterpret_cast<T*>(memory + offset);
}

void send(ProcessClient& client, const std::vector<float>& actions) {
  client.send(actions.data());
}

void nothing_else(std::byte* memory) {
  std::memset(memory, 0, 512);
}

TEST(steps_are_handed_over) {
  const ProcessLayout layout = layout_of(false);
  const Child child([&](std::byte* memory, int step) {
    const int64_t* actions = in<int64_t>(memory, layout.actions);
    float* observations = in<float>(memory, layout.observations);
    double* rewards = in<double>(memory, layout.rewards);
    uint8_t* flags = in<uint8_t>(memory, layout.flags);
    for (int i = 0; i < kNumEnvs; ++i) {
      observations[3 * i] = static_cast<float>(step);
      observations[3 * i + 1] = static_cast<float>(actions[2 * i]);
      observations[3 * i + 2] = static_cast<float>(actions[2 * i + 1]);
      rewards[i] = 10 * i + step;
      flags[i] = step == 0 ? kResetStep | kStarts : 0;
    }
    if (step == 2) flags[0] = kTerminated, flags[1] = kTruncated;
    if (step == 3) flags[0] = flags[1] = kResetStep | kStarts;
    if (step == 4) flags[0] = kTerminated | kTruncated;
    return true;
  });
  ProcessClient client(child.specs, nullptr);
  std::vector<float> seen(6);
  for (int step = 0; step < 6; ++step) {
    if (step > 0) send(client, {1, static_cast<float>(step % 3), 0, 2});
    const StepBatch& batch = client.recv(seen.data());
    const bool is_reset = step == 0 || step == 3;
    for (int i = 0; i < kNumEnvs; ++i) {
      const bool ended = step == 2 || (step == 4 && i == 0);
      CHECK_EQUAL(batch.reward[i], static_cast<float>(10 * i + step));
      CHECK_EQUAL(batch.raw_reward[i], batch.reward[i]);
      CHECK_EQUAL(int{batch.valid[i]}, int{!is_reset});
      CHECK_EQUAL(int{batch.starts[i]}, int{is_reset});
      CHECK_EQUAL(int{batch.done[i]}, int{ended});
      CHECK_EQUAL(int{batch.episode_ended[i]}, int{ended});
      CHECK_EQUAL(int{batch.bootstraps[i]}, int{!ended || (step == 2 && i == 1)});
    }
    CHECK(!batch.action_masks && !batch.has_final && !batch.final_observations);
    const float chosen = step == 0 ? 0 : 1;
    CHECK((seen == std::vector<float>{static_cast<float>(step), chosen, step == 0 ? 0 : static_cast<float>(step % 3),
                                      static_cast<float>(step), 0, step == 0 ? 0.0f : 2.0f}));
  }
  CHECK_THROWS(send(client, {0, 0, 0, 3}), "environment 1: action 3");
}

TEST(masks_and_last_observations) {
  const ProcessLayout layout = layout_of(true);
  const Child child(
      [&](std::byte* memory, int step) {
        nothing_else(memory);
        uint8_t* masks = in<uint8_t>(memory, layout.masks);
        for (int i = 0; i < 10; ++i) masks[i] = (i + step) % 2 == 0;
        if (step == 1) {
          in<uint8_t>(memory, layout.flags)[1] = kTruncated | kStarts | kCut;
          in<float>(memory, layout.finals)[4] = 7;
        }
        return true;
      },
      spec_of(true), true);
  ProcessClient client(child.specs, nullptr);
  std::vector<float> seen(6);
  const StepBatch& first = client.recv(seen.data());
  for (int i = 0; i < 10; ++i) CHECK_EQUAL(int{first.action_masks[i]}, int{i % 2 == 0});
  CHECK(!first.has_final);
  // Allowed are 0 and 0, 2 of the first environment, and 1 and 1 of the second.
  CHECK_THROWS(send(client, {1, 0, 1, 1}), "environment 0: action 1 is not allowed here");
  CHECK_THROWS(send(client, {0, 2, 1, 2}), "environment 1: action 2 is not allowed here");
  send(client, {0, 2, 1, 1});
  const StepBatch& second = client.recv(seen.data());
  CHECK_EQUAL(int{second.has_final[0]}, 0);
  CHECK_EQUAL(int{second.has_final[1]}, 1);
  CHECK_EQUAL(static_cast<const float*>(second.final_observations)[4], 7.0f);
  CHECK_EQUAL(int{second.bootstraps[0]}, 1);
  CHECK_EQUAL(int{second.bootstraps[1]}, 0);
  CHECK_EQUAL(int{second.starts[1]}, 1);
  CHECK_EQUAL(int{second.valid[1]}, 1);
}

TEST(what_went_wrong_is_told) {
  const ProcessLayout layout = layout_of(false);
  const std::string text(100, 'x');  // longer than the room for it
  const Child raises([&](std::byte* memory, int) {
    const auto size = static_cast<uint32_t>(text.size());
    std::memcpy(memory + layout.message, &size, 4);
    std::memcpy(memory + layout.message + 4, text.data(), kMessageBytes - 4);
    return true;
  });
  std::vector<float> seen(6);
  CHECK_THROWS(ProcessClient(raises.specs, nullptr).recv(seen.data()), std::string(kMessageBytes - 4, 'x').c_str());

  const Child exits([](std::byte*, int) { return false; });
  CHECK_THROWS(ProcessClient(exits.specs, nullptr).recv(seen.data()),
               "the process of the environments exited with status 3");

  const Child dies([](std::byte*, int) {
    raise(SIGKILL);
    return true;
  });
  CHECK_THROWS(ProcessClient(dies.specs, nullptr).recv(seen.data()),
               "the process of the environments was killed by signal 9, Killed");

  const Child hangs(
      [](std::byte*, int) {
        pause();
        return true;
      },
      spec_of(), false, 0.05);
  CHECK_THROWS(ProcessClient(hangs.specs, nullptr).recv(seen.data()),
               "the environments have not stepped within 0.05 seconds");
}

TEST(what_cannot_be_mapped_is_refused) {
  ProcessSpecs specs;
  specs.env = spec_of();
  specs.layout = layout_of(false);
  CHECK_THROWS(ProcessClient(specs, nullptr), "the memory shared with the environments cannot be mapped");
}

}  // namespace
}  // namespace a3c

// A user's environments in a child process, a3c_fast/envs/child: stepped through shared memory, without the GIL. Where
// the user says so they are in a thread of this process instead, which then is what this file calls the child.
//
// The child holds the K environments of a worker and steps all of them for each send(). Both sides map the same memory,
// which holds one step; two eventfds hand it over: `go` to the child, `done` back. While one side has it the other does
// not look. recv() waits for `done`, for the death of the child, which its pidfd tells, and at most for a limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "env/env_client.h"

namespace a3c {

// Where the arrays of a step lie in the shared memory, in bytes from its beginning. The child knows them too.
struct ProcessLayout {
  int64_t observations = 0;  // K rows of ObservationSpec::bytes()
  int64_t rewards = 0;       // K float64
  int64_t flags = 0;         // K bytes of ProcessFlag
  int64_t masks = 0;         // K rows of a byte for each choice, where ActionSpec::masked
  int64_t finals = 0;        // K rows of ObservationSpec::bytes() that episodes were truncated at; 0: there are none
  int64_t actions = 0;       // K rows: int64 choices from 0 on, or float64 components in the environment's own units
  int64_t message = 0;       // uint32 size and then text: what went wrong, where size is not 0
  int64_t message_bytes = 0;
  int64_t size = 0;
};

// What the child says of each environment's step; kCut: it was truncated, and the next episode has begun.
enum ProcessFlag : uint8_t { kTerminated = 1, kTruncated = 2, kResetStep = 4, kStarts = 8, kCut = 16 };

struct ProcessSpecs {
  EnvSpec env;
  ProcessLayout layout;
  int memory = -1;  // file descriptors; the client maps the memory and leaves the rest to its owner
  int go = -1;
  int done = -1;
  int pidfd = -1;            // -1: a thread, which cannot end without a message
  double limit_seconds = 0;  // that recv() waits
};

class ProcessClient final : public EnvClient {
 public:
  // `owner` keeps the child and the descriptors. Throws std::runtime_error where the memory cannot be mapped.
  ProcessClient(const ProcessSpecs& specs, std::shared_ptr<void> owner);
  ~ProcessClient() override;
  ProcessClient(const ProcessClient&) = delete;
  ProcessClient& operator=(const ProcessClient&) = delete;

  const EnvSpec& spec() const override { return specs_.env; }
  // Throws std::runtime_error when an environment raised, with its traceback, when the child ended, with how, and when
  // it has not stepped within the limit.
  const StepBatch& recv(void* observations) override;
  void send(const float* actions) override;

 private:
  void wait();
  void throw_if_it_failed() const;
  [[noreturn]] void throw_how_it_ended() const;
  template <typename T>
  T* at(int64_t offset) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(memory_) + offset);
  }

  const std::shared_ptr<void> owner_;
  const ProcessSpecs specs_;
  void* memory_ = nullptr;
  const bool has_finals_;
  int64_t mask_bytes_ = 0;  // of all environments
  std::vector<float> reward_;
  std::vector<uint8_t> done_, bootstraps_, episode_ended_, valid_, starts_, masks_, has_final_;
  StepBatch batch_{};
};

}  // namespace a3c

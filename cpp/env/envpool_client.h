// An EnvPool pool stepped from C++ through its XLA FFI capsules: no Python, no GIL, no copy but EnvPool's own.
//
// The pool is synchronous (batch_size == num_envs), so that row i of every batch is environment i; recv() checks it.
// The handle is a raw pointer into the Python object, which `owner` keeps alive for as long as the client lives.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "env/env_client.h"
#include "env/xla_ffi.h"

namespace a3c {

// One buffer of a pool's specs: EnvPool's key, NumPy's dtype name, the shape with the batch dimension.
struct BufferSpec {
  std::string key;
  std::string dtype;
  std::vector<int64_t> shape;
};

// What `env._xla()` and the keys of its state and action say of a pool, in their order.
struct EnvPoolSpecs {
  xla::Handler* recv = nullptr;
  xla::Handler* send = nullptr;
  int64_t handle = 0;
  std::vector<BufferSpec> state;
  std::vector<BufferSpec> action;
  int num_envs = 0;
  int num_actions = 0;
};

class EnvPoolClient final : public EnvClient {
 public:
  // Throws std::runtime_error in one sentence when the specs are not those of a discrete single-player pool.
  EnvPoolClient(const EnvPoolSpecs& specs, std::shared_ptr<void> owner);

  const EnvSpec& spec() const override { return spec_; }
  const StepBatch& recv(void* observations) override;
  void send(const int32_t* actions) override;

  // One recv() after a reset, into a scratch buffer: fails unless env_id comes back as 0 .. num_envs-1.
  void probe();

 private:
  const std::shared_ptr<void> owner_;
  EnvSpec spec_;
  int64_t handle_in_ = 0, handle_out_ = 0;
  std::vector<std::vector<uint64_t>> storage_;  // a result each, 8-byte aligned
  size_t observation_index_ = 0;
  const int32_t* env_id_ = nullptr;
  const float* reward_ = nullptr;
  const float* raw_reward_ = nullptr;
  const uint8_t* done_ = nullptr;
  const uint8_t* truncated_ = nullptr;
  const int32_t* terminated_ = nullptr;  // null where the family has none: then done && !truncated
  std::vector<uint8_t> bootstraps_, episode_ended_;
  std::vector<int32_t> env_ids_, actions_;
  StepBatch batch_{};
  std::unique_ptr<xla::Call> recv_, send_;
};

}  // namespace a3c

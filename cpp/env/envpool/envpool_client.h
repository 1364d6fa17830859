// An EnvPool pool stepped from C++ through its XLA FFI capsules: no Python, no GIL, and no copy but EnvPool's own where
// its observations are one array of bytes or float32.
//
// The pool is synchronous (batch_size == num_envs), so that row i of every batch is environment i; recv() checks it.
// The handle is a raw pointer into the Python object, which `owner` keeps alive for as long as the client lives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "env/env_client.h"
#include "env/envpool/encoding.h"
#include "env/envpool/xla_ffi.h"

namespace a3c {

// One buffer of a pool's specs: EnvPool's key, NumPy's dtype name, the shape with the batch dimension.
struct BufferSpec {
  std::string key;
  std::string dtype;
  std::vector<int64_t> shape;
};

// What `env._xla()` and the keys of its state and action say of a pool, in their order, and what a3c_fast makes of it.
struct EnvPoolSpecs {
  xla::Handler* recv = nullptr;
  xla::Handler* send = nullptr;
  int64_t handle = 0;
  std::vector<BufferSpec> state;
  std::vector<BufferSpec> action;
  EnvSpec env;
  std::vector<Encoding> encodings;  // of what an observation consists of
  int first_choice = 0;             // what the pool calls the discrete choice 0
  bool episodic_life = false;       // a lost life ends the return; the pool itself plays on
};

class EnvPoolClient final : public EnvClient {
 public:
  // Throws std::runtime_error in one sentence when the buffers are not those of a single-player pool, or not those that
  // the specs and the encodings speak of.
  EnvPoolClient(const EnvPoolSpecs& specs, std::shared_ptr<void> owner);

  const EnvSpec& spec() const override { return spec_; }
  const StepBatch& recv(void* observations) override;
  void send(const float* actions) override;

  // One recv() after a reset, into a scratch buffer: fails unless env_id comes back as 0 .. num_envs-1.
  void probe();

 private:
  // Where result `key` goes, which has this dtype and one value an environment; null where there is none and none is
  // required.
  const void* bind(const EnvPoolSpecs& specs, const std::string& key, const char* dtype, bool required) const;
  void bind_observations(const EnvPoolSpecs& specs);
  std::vector<xla::Call::Operand> bind_actions(const EnvPoolSpecs& specs);
  void encode_into(void* observations) const;
  bool says_terminated(int env) const;
  template <typename T>
  void write_actions(const float* actions);

  const std::shared_ptr<void> owner_;
  const EnvSpec spec_;
  const int first_choice_;
  const bool episodic_life_;
  int64_t handle_in_ = 0, handle_out_ = 0;
  std::vector<std::vector<uint64_t>> storage_;  // a result each, 8-byte aligned
  // The one result that is the observation as it is, written where the caller wants it; or what must be made of
  // several.
  std::optional<size_t> observation_index_;
  std::vector<Encoding> encodings_;
  std::vector<SourceArray> sources_;
  const int32_t* env_id_ = nullptr;
  const float* reward_ = nullptr;
  const float* raw_reward_ = nullptr;
  const uint8_t* done_ = nullptr;
  const uint8_t* truncated_ = nullptr;
  const void* terminated_ = nullptr;   // null where the family has none: then done && !truncated
  bool terminated_is_byte_ = false;    // and not int32
  const int32_t* lives_ = nullptr;     // null where the family has none
  std::vector<int32_t> lives_before_;  // as of the last step
  bool was_reset_ = true;              // nothing was sent since: the pool was reset
  std::vector<uint8_t> ends_, bootstraps_, episode_ended_, valid_, starts_;
  std::vector<int32_t> env_ids_;
  Dtype action_dtype_ = Dtype::int32;
  std::vector<uint64_t> actions_;  // [num_envs][spec_.action.size()] of action_dtype_
  StepBatch batch_{};
  std::unique_ptr<xla::Call> recv_, send_;
};

}  // namespace a3c

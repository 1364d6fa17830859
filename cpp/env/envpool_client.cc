#include "env/envpool_client.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <utility>

namespace a3c {
namespace {

struct Dtype {
  const char* name;
  xla::DataType type;
  int64_t bytes;
};
constexpr Dtype kDtypes[] = {{"bool", xla::kPred, 1}, {"uint8", xla::kU8, 1},    {"int32", xla::kS32, 4},
                             {"int64", xla::kS64, 8}, {"float32", xla::kF32, 4}, {"float64", xla::kF64, 8}};

const Dtype& dtype_of(const BufferSpec& buffer) {
  for (const Dtype& dtype : kDtypes)
    if (buffer.dtype == dtype.name) return dtype;
  throw std::runtime_error("EnvPool's " + buffer.key + " has the dtype " + buffer.dtype +
                           ", which a3c_fast does not know");
}

int64_t element_count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace

EnvPoolClient::EnvPoolClient(const EnvPoolSpecs& specs, std::shared_ptr<void> owner)
    : owner_(std::move(owner)), handle_in_(specs.handle), handle_out_(specs.handle) {
  const auto num_envs = static_cast<size_t>(specs.num_envs);
  spec_.num_envs = specs.num_envs;
  spec_.num_actions = specs.num_actions;

  // Results: a buffer for each key, in the pool's order, and the handle before them.
  std::vector<xla::Call::Operand> results{{xla::kU8, {8}, &handle_out_}};
  for (const BufferSpec& buffer : specs.state) {
    const Dtype& dtype = dtype_of(buffer);
    if (buffer.shape.empty() || buffer.shape[0] != specs.num_envs)
      throw std::runtime_error("EnvPool's " + buffer.key + " is not one row an environment: only one player is built");
    storage_.emplace_back(static_cast<size_t>((element_count(buffer.shape) * dtype.bytes + 7) / 8));
    results.push_back({dtype.type, buffer.shape, storage_.back().data()});
  }
  const auto bind = [&](const std::string& key, const char* dtype, bool required) -> const void* {
    for (size_t i = 0; i < specs.state.size(); ++i) {
      if (specs.state[i].key != key) continue;
      if (specs.state[i].dtype != dtype || element_count(specs.state[i].shape) != specs.num_envs)
        throw std::runtime_error("EnvPool's " + key + " is " + specs.state[i].dtype + " and not one " + dtype +
                                 " an environment");
      return storage_[i].data();
    }
    if (required) throw std::runtime_error("EnvPool's state has no " + key);
    return nullptr;
  };
  env_id_ = static_cast<const int32_t*>(bind("info:env_id", "int32", true));
  reward_ = static_cast<const float*>(bind("reward", "float32", true));
  done_ = static_cast<const uint8_t*>(bind("done", "bool", true));
  truncated_ = static_cast<const uint8_t*>(bind("trunc", "bool", true));
  raw_reward_ = static_cast<const float*>(bind("info:reward", "float32", false));
  terminated_ = static_cast<const int32_t*>(bind("info:terminated", "int32", false));
  if (!raw_reward_) raw_reward_ = reward_;

  const auto observation = std::find_if(specs.state.begin(), specs.state.end(),
                                        [](const BufferSpec& buffer) { return buffer.key == "obs"; });
  if (observation == specs.state.end())
    throw std::runtime_error("EnvPool's state has no obs: only one observation array an environment is built");
  if (observation->dtype != "uint8" && observation->dtype != "float32")
    throw std::runtime_error("EnvPool's obs is " + observation->dtype + ": only uint8 and float32 are built");
  observation_index_ = 1 + static_cast<size_t>(observation - specs.state.begin());
  spec_.observation_shape.assign(observation->shape.begin() + 1, observation->shape.end());
  spec_.observation_type = observation->dtype == "uint8" ? ObservationType::uint8 : ObservationType::float32;

  // Arguments: the handle, the ids of the environments and players, and the action.
  env_ids_.resize(num_envs);
  std::iota(env_ids_.begin(), env_ids_.end(), 0);
  actions_.resize(num_envs);
  std::vector<xla::Call::Operand> arguments{{xla::kU8, {8}, &handle_in_}};
  for (const BufferSpec& buffer : specs.action) {
    if (buffer.dtype != "int32" || element_count(buffer.shape) != specs.num_envs)
      throw std::runtime_error("EnvPool's " + buffer.key + " is " + buffer.dtype +
                               " and not one int32 an environment: only one discrete action is built");
    const bool is_action = buffer.key == "action";
    arguments.push_back({xla::kS32, buffer.shape, is_action ? actions_.data() : env_ids_.data()});
  }
  if (specs.action.size() != 3 || specs.action.back().key != "action")
    throw std::runtime_error("EnvPool's action is not env_id, players.env_id and action: only one player is built");

  bootstraps_.resize(num_envs);
  episode_ended_.resize(num_envs);
  batch_ = {reward_, raw_reward_, done_, bootstraps_.data(), episode_ended_.data()};

  std::vector<xla::Call::Operand> recv_argument{{xla::kU8, {8}, &handle_in_}};
  std::vector<xla::Call::Operand> send_result{{xla::kU8, {8}, &handle_out_}};
  recv_ = std::make_unique<xla::Call>("recv", specs.recv, specs.handle, recv_argument, results);
  send_ = std::make_unique<xla::Call>("send", specs.send, specs.handle, arguments, send_result);
}

const StepBatch& EnvPoolClient::recv(void* observations) {
  recv_->set_result(observation_index_, observations);
  (*recv_)();
  for (int i = 0; i < spec_.num_envs; ++i) {
    if (env_id_[i] != i) throw std::runtime_error("EnvPool returned its environments out of order");
    const bool terminated = terminated_ ? terminated_[i] != 0 : done_[i] && !truncated_[i];
    bootstraps_[i] = !done_[i] || (truncated_[i] && !terminated);
    episode_ended_[i] = terminated || truncated_[i];
  }
  return batch_;
}

void EnvPoolClient::send(const int32_t* actions) {
  // EnvPool would index with whatever it is given: an action out of range kills the process.
  for (int i = 0; i < spec_.num_envs; ++i)
    if (actions[i] < 0 || actions[i] >= spec_.num_actions)
      throw std::out_of_range("action " + std::to_string(actions[i]) + " of environment " + std::to_string(i) +
                              " is outside 0 to " + std::to_string(spec_.num_actions - 1));
  std::memcpy(actions_.data(), actions, actions_.size() * sizeof(int32_t));
  (*send_)();
}

void EnvPoolClient::probe() {
  std::vector<uint64_t> scratch(static_cast<size_t>((spec_.num_envs * spec_.observation_bytes() + 7) / 8));
  recv(scratch.data());
}

}  // namespace a3c

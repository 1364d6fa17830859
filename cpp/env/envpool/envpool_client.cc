#include "env/envpool/envpool_client.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "env/actions.h"

namespace a3c {
namespace {

xla::DataType xla_type(Dtype dtype) {
  switch (dtype) {
    case Dtype::boolean: return xla::kPred;
    case Dtype::uint8: return xla::kU8;
    case Dtype::int8: return xla::kS8;
    case Dtype::int16: return xla::kS16;
    case Dtype::int32: return xla::kS32;
    case Dtype::int64: return xla::kS64;
    case Dtype::float32: return xla::kF32;
    case Dtype::float64: return xla::kF64;
  }
  throw std::logic_error("unknown dtype");
}

Dtype dtype_of(const BufferSpec& buffer) {
  try {
    return dtype_named(buffer.dtype);
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("EnvPool's " + buffer.key + ": " + error.what());
  }
}

int64_t element_count(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// Memory for an array, 8-byte aligned.
std::vector<uint64_t> room_for(int64_t bytes) {
  return std::vector<uint64_t>(static_cast<size_t>((bytes + 7) / 8));
}

// Whether the row that it makes is the array's own.
bool is_verbatim(const Encoding& encoding, const SourceArray& source, const ObservationSpec& spec) {
  if (encoding.kind == Encoding::Kind::array) return spec.num_features == 0;
  return encoding.kind == Encoding::Kind::numbers && encoding.scale == 1 && source.dtype == Dtype::float32 &&
         spec.array_size() == 0 && spec.num_features == source.size();
}

}  // namespace

EnvPoolClient::EnvPoolClient(const EnvPoolSpecs& specs, std::shared_ptr<void> owner)
    : owner_(std::move(owner)),
      spec_(specs.env),
      first_choice_(specs.first_choice),
      episodic_life_(specs.episodic_life),
      handle_in_(specs.handle),
      handle_out_(specs.handle) {
  const auto num_envs = static_cast<size_t>(spec_.num_envs);

  // Results: a buffer for each key, in the pool's order, and the handle before them.
  std::vector<xla::Call::Operand> results{{xla::kU8, {8}, &handle_out_}};
  for (const BufferSpec& buffer : specs.state) {
    const Dtype dtype = dtype_of(buffer);
    if (buffer.shape.empty() || buffer.shape[0] != spec_.num_envs)
      throw std::runtime_error("EnvPool's " + buffer.key +
                               " is not one row an environment: several players are not supported");
    storage_.push_back(room_for(element_count(buffer.shape) * bytes_of(dtype)));
    results.push_back({xla_type(dtype), buffer.shape, storage_.back().data()});
  }
  env_id_ = static_cast<const int32_t*>(bind(specs, "info:env_id", "int32", true));
  reward_ = static_cast<const float*>(bind(specs, "reward", "float32", true));
  done_ = static_cast<const uint8_t*>(bind(specs, "done", "bool", true));
  truncated_ = static_cast<const uint8_t*>(bind(specs, "trunc", "bool", true));
  raw_reward_ = static_cast<const float*>(bind(specs, "info:reward", "float32", false));
  lives_ = static_cast<const int32_t*>(bind(specs, "info:lives", "int32", false));
  terminated_ = bind(specs, "info:terminated", "int32", false);
  if (!terminated_) {
    terminated_ = bind(specs, "info:terminated", "bool", false);
    terminated_is_byte_ = terminated_ != nullptr;
  }
  if (!raw_reward_) raw_reward_ = reward_;
  bind_observations(specs);

  // Arguments: the handle, the ids of the environments and players, and the action.
  env_ids_.resize(num_envs);
  std::iota(env_ids_.begin(), env_ids_.end(), 0);
  const std::vector<xla::Call::Operand> arguments = bind_actions(specs);

  if (episodic_life_ && !lives_) throw std::runtime_error("EnvPool's state has no info:lives");
  lives_before_.resize(num_envs);
  for (std::vector<uint8_t>* flags : {&ends_, &bootstraps_, &episode_ended_, &valid_, &starts_})
    flags->resize(num_envs);
  batch_ = {reward_,       raw_reward_,   ends_.data(), bootstraps_.data(), episode_ended_.data(),
            valid_.data(), starts_.data()};

  std::vector<xla::Call::Operand> recv_argument{{xla::kU8, {8}, &handle_in_}};
  std::vector<xla::Call::Operand> send_result{{xla::kU8, {8}, &handle_out_}};
  recv_ = std::make_unique<xla::Call>("recv", specs.recv, specs.handle, recv_argument, results);
  send_ = std::make_unique<xla::Call>("send", specs.send, specs.handle, arguments, send_result);
}

const void* EnvPoolClient::bind(const EnvPoolSpecs& specs, const std::string& key, const char* dtype,
                                bool required) const {
  for (size_t i = 0; i < specs.state.size(); ++i) {
    if (specs.state[i].key != key) continue;
    if (specs.state[i].dtype == dtype && element_count(specs.state[i].shape) == spec_.num_envs)
      return storage_[i].data();
    if (required)
      throw std::runtime_error("EnvPool's " + key + " is " + specs.state[i].dtype + " and not one " + dtype +
                               " an environment");
  }
  if (required) throw std::runtime_error("EnvPool's state has no " + key);
  return nullptr;
}

void EnvPoolClient::bind_observations(const EnvPoolSpecs& specs) {
  const ObservationSpec& spec = spec_.observation;
  for (const Encoding& encoding : specs.encodings) {
    const auto buffer = std::find_if(specs.state.begin(), specs.state.end(),
                                     [&](const BufferSpec& b) { return b.key == encoding.key; });
    if (buffer == specs.state.end()) throw std::runtime_error("EnvPool's state has no " + encoding.key);
    const auto index = static_cast<size_t>(buffer - specs.state.begin());
    const SourceArray source{
        storage_[index].data(), dtype_of(*buffer), {buffer->shape.begin() + 1, buffer->shape.end()}};
    const bool is_array = encoding.kind == Encoding::Kind::array || encoding.kind == Encoding::Kind::channels_last;
    const Dtype array_dtype = spec.array_type == ElementType::uint8 ? Dtype::uint8 : Dtype::float32;
    const int64_t width = encoding.kind == Encoding::Kind::one_hot ? encoding.values : 1;
    if (is_array ? source.dtype != array_dtype || source.size() != spec.array_size()
                 : encoding.position < 0 || encoding.position + source.size() * width > spec.num_features)
      throw std::runtime_error("EnvPool's " + encoding.key + " is not what its spec says");
    if (specs.encodings.size() == 1 && is_verbatim(encoding, source, spec)) observation_index_ = 1 + index;
    encodings_.push_back(encoding);
    sources_.push_back(source);
  }
}

std::vector<xla::Call::Operand> EnvPoolClient::bind_actions(const EnvPoolSpecs& specs) {
  std::vector<xla::Call::Operand> arguments{{xla::kU8, {8}, &handle_in_}};
  const int64_t components = int64_t{spec_.num_envs} * spec_.action.size();
  for (const BufferSpec& buffer : specs.action) {
    const bool is_action = buffer.key == "action";
    const Dtype dtype = dtype_of(buffer);
    if (element_count(buffer.shape) != (is_action ? components : spec_.num_envs))
      throw std::runtime_error("EnvPool's " + buffer.key +
                               " is not one an environment: several players are not supported");
    if (is_action) {
      if (dtype == Dtype::boolean || dtype == Dtype::uint8 || dtype == Dtype::int8)
        throw std::runtime_error("EnvPool's action is " + buffer.dtype + ", which is not supported");
      action_dtype_ = dtype;
      actions_ = room_for(components * bytes_of(dtype));
    } else if (dtype != Dtype::int32) {
      throw std::runtime_error("EnvPool's " + buffer.key + " is " + buffer.dtype + " and not int32");
    }
    arguments.push_back({xla_type(dtype), buffer.shape,
                         is_action ? static_cast<void*>(actions_.data()) : static_cast<void*>(env_ids_.data())});
  }
  if (specs.action.size() != 3 || specs.action.back().key != "action")
    throw std::runtime_error(
        "EnvPool's action is not env_id, players.env_id and action: several parts are not supported");
  return arguments;
}

const StepBatch& EnvPoolClient::recv(void* observations) {
  if (observation_index_) recv_->set_result(*observation_index_, observations);
  (*recv_)();
  if (!observation_index_) encode_into(observations);
  for (int i = 0; i < spec_.num_envs; ++i) {
    if (env_id_[i] != i) throw std::runtime_error("EnvPool returned its environments out of order");
    const bool terminated = terminated_ ? says_terminated(i) : done_[i] && !truncated_[i];
    starts_[i] = was_reset_ || episode_ended_[i];  // by the step before
    valid_[i] = !starts_[i];
    // The button that EnvPool presses at the end of a reset step may end a game: `done` comes one step later.
    episode_ended_[i] = done_[i];
    // Where none is left the game is over, or has some frames to go.
    const bool lost_life = episodic_life_ && valid_[i] && lives_[i] > 0 && lives_[i] < lives_before_[i];
    ends_[i] = done_[i] || lost_life;
    bootstraps_[i] = !ends_[i] || (truncated_[i] && !terminated && !lost_life);
    if (episodic_life_) lives_before_[i] = lives_[i];
  }
  was_reset_ = true;  // when the next recv() comes without a send()
  return batch_;
}

void EnvPoolClient::encode_into(void* observations) const {
  for (size_t part = 0; part < encodings_.size(); ++part)
    for (int i = 0; i < spec_.num_envs; ++i)
      encode(encodings_[part], sources_[part], i, spec_.observation,
             static_cast<uint8_t*>(observations) + i * spec_.observation.bytes());
}

bool EnvPoolClient::says_terminated(int env) const {
  return terminated_is_byte_ ? static_cast<const uint8_t*>(terminated_)[env] != 0
                             : static_cast<const int32_t*>(terminated_)[env] != 0;
}

template <typename T>
void EnvPoolClient::write_actions(const float* actions) {
  auto* to = reinterpret_cast<T*>(actions_.data());
  const ActionSpec& spec = spec_.action;
  for (int i = 0; i < spec_.num_envs; ++i)
    for (int j = 0; j < spec.size(); ++j)
      *to++ = static_cast<T>(to_environment(spec, j, *actions++) + (spec.continuous() ? 0 : first_choice_));
}

void EnvPoolClient::send(const float* actions) {
  // EnvPool takes whatever it is given: an action out of range kills the process, one that is no number hangs it.
  for (int i = 0; i < spec_.num_envs; ++i) {
    try {
      check_action(spec_.action, actions + i * spec_.action.size());
    } catch (const std::out_of_range& error) {
      throw std::out_of_range("environment " + std::to_string(i) + ": " + error.what());
    }
  }
  switch (action_dtype_) {
    case Dtype::int16: write_actions<int16_t>(actions); break;
    case Dtype::int32: write_actions<int32_t>(actions); break;
    case Dtype::int64: write_actions<int64_t>(actions); break;
    case Dtype::float32: write_actions<float>(actions); break;
    case Dtype::float64: write_actions<double>(actions); break;
    default: throw std::logic_error("actions of another type");
  }
  (*send_)();
  was_reset_ = false;
}

void EnvPoolClient::probe() {
  std::vector<uint64_t> scratch(static_cast<size_t>((spec_.num_envs * spec_.observation.bytes() + 7) / 8));
  recv(scratch.data());
}

}  // namespace a3c

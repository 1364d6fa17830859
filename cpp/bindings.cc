// The only file that includes pybind11. The GIL is dropped around every call that waits or computes, never around
// construction or raising. No torch header comes in here: torch bundles a pybind11 of its own.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <exception>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

#include "env/envpool_client.h"
#include "env/fake_env.h"
#include "env/recall_env.h"
#include "learn/categorical.h"
#include "learn/loss.h"
#include "learn/optimizer.h"
#include "learn/random.h"
#include "learn/returns.h"
#include "model/network.h"
#include "model/observation.h"
#include "model/replica.h"
#include "model/threads.h"
#include "run/ceiling.h"
#include "run/engine.h"

namespace py = pybind11;
using namespace py::literals;

namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<uint8_t, py::array::c_style | py::array::forcecast>;
using Actions = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Release = py::call_guard<py::gil_scoped_release>;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Keeps a Python object alive from C++; let go from whichever thread is last.
std::shared_ptr<void> keep_alive(py::object object) {
  return {new py::object(std::move(object)), [](void* pointer) {
            if (!Py_IsInitialized()) return;  // the interpreter is gone, and the object with it
            const py::gil_scoped_acquire gil;
            delete static_cast<py::object*>(pointer);
          }};
}

a3c::ObservationType observation_type(const std::string& name) {
  if (name == "uint8") return a3c::ObservationType::uint8;
  if (name == "float32") return a3c::ObservationType::float32;
  throw std::invalid_argument("observation_type " + name + " is not built: uint8 or float32");
}

a3c::ModelKind model_kind(const std::string& name) {
  if (name == "paper") return a3c::ModelKind::paper;
  if (name == "nature") return a3c::ModelKind::nature;
  if (name == "mlp") return a3c::ModelKind::mlp;
  throw std::invalid_argument("model " + name + " is not built: paper, nature or mlp");
}

a3c::OptimizerKind optimizer_kind(const std::string& name) {
  if (name == "rmsprop") return a3c::OptimizerKind::rmsprop;
  if (name == "adam") return a3c::OptimizerKind::adam;
  throw std::invalid_argument("optimizer " + name + " is not built: rmsprop or adam");
}

a3c::Precision precision_of(const std::string& name) {
  if (name == "auto") return a3c::Precision::automatic;
  if (name == "fp32") return a3c::Precision::fp32;
  if (name == "bf16") return a3c::Precision::bf16;
  throw std::invalid_argument("precision " + name + " is not built: auto, fp32 or bf16");
}

// A client on its way into an engine, which takes it over.
struct ClientBox {
  std::unique_ptr<a3c::EnvClient> client;
  bool waits_for_actions = false;  // it was received from and not sent to since: another recv() would hang

  a3c::EnvClient& get() const {
    if (!client) throw std::logic_error("these environments already belong to an engine");
    return *client;
  }
};

a3c::BufferSpec buffer_spec(const py::handle& item) {
  const auto [key, dtype, shape] = item.cast<std::tuple<std::string, std::string, std::vector<int64_t>>>();
  return {key, dtype, shape};
}

a3c::xla::Handler* handler_of(const py::capsule& capsule) {
  return reinterpret_cast<a3c::xla::Handler*>(capsule.get_pointer<void>());
}

ClientBox make_envpool_client(py::object owner, const py::capsule& recv, const py::capsule& send, int64_t handle,
                              const py::list& state, const py::list& action, int num_envs, int num_actions) {
  require(recv.name() == nullptr && send.name() == nullptr, "EnvPool's capsules have a name: their kind has changed");
  a3c::EnvPoolSpecs specs;
  specs.recv = handler_of(recv);
  specs.send = handler_of(send);
  specs.handle = handle;
  for (const py::handle& item : state) specs.state.push_back(buffer_spec(item));
  for (const py::handle& item : action) specs.action.push_back(buffer_spec(item));
  specs.num_envs = num_envs;
  specs.num_actions = num_actions;
  return {.client = std::make_unique<a3c::EnvPoolClient>(specs, keep_alive(std::move(owner)))};
}

ClientBox make_fake_env(int num_envs, std::vector<int64_t> observation_shape, const std::string& type, int num_actions,
                        uint32_t seed, int max_episode_steps, int64_t fail_at, int64_t hang_at, double hang_seconds) {
  a3c::FakeEnvConfig config;
  config.spec = {num_envs, std::move(observation_shape), observation_type(type), num_actions};
  config.seed = seed;
  config.max_episode_steps = max_episode_steps;
  config.fail_at = fail_at;
  config.hang_at = hang_at;
  config.hang_seconds = hang_seconds;
  return {.client = std::make_unique<a3c::FakeEnv>(config)};
}

template <typename T>
py::array_t<T> copy_of(const T* data, py::ssize_t size) {
  return py::array_t<T>(size, data);
}

py::dict client_recv(ClientBox& box) {
  a3c::EnvClient& client = box.get();
  const a3c::EnvSpec& spec = client.spec();
  std::vector<py::ssize_t> shape{spec.num_envs};
  shape.insert(shape.end(), spec.observation_shape.begin(), spec.observation_shape.end());
  const bool bytes = spec.observation_type == a3c::ObservationType::uint8;
  py::array observations = bytes ? py::array(py::array_t<uint8_t>(shape)) : py::array(py::array_t<float>(shape));
  const a3c::StepBatch* batch = nullptr;
  {
    void* data = observations.mutable_data();
    const py::gil_scoped_release release;
    batch = &client.recv(data);
  }
  box.waits_for_actions = true;
  return py::dict("observations"_a = observations, "reward"_a = copy_of(batch->reward, spec.num_envs),
                  "raw_reward"_a = copy_of(batch->raw_reward, spec.num_envs),
                  "done"_a = copy_of(batch->done, spec.num_envs),
                  "bootstraps"_a = copy_of(batch->bootstraps, spec.num_envs),
                  "episode_ended"_a = copy_of(batch->episode_ended, spec.num_envs));
}

void client_send(ClientBox& box, const Actions& actions) {
  a3c::EnvClient& client = box.get();
  require(actions.size() == client.spec().num_envs, "actions must have one element an environment");
  const int32_t* data = actions.data();
  {
    const py::gil_scoped_release release;
    client.send(data);
  }
  box.waits_for_actions = false;
}

void client_probe(ClientBox& box) {
  auto& client = dynamic_cast<a3c::EnvPoolClient&>(box.get());
  const py::gil_scoped_release release;
  client.probe();
}

int64_t random_steps(const py::list& boxes, int64_t steps, uint64_t seed) {
  std::vector<a3c::EnvClient*> clients;
  std::vector<uint8_t> started;
  for (const py::handle& item : boxes) {
    clients.push_back(&item.cast<ClientBox&>().get());
    started.push_back(item.cast<ClientBox&>().waits_for_actions);
  }
  int64_t made = 0;
  std::exception_ptr failure;
  {
    const py::gil_scoped_release release;
    try {
      made = a3c::step_randomly(clients, started, steps, seed);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  for (size_t i = 0; i < boxes.size(); ++i) boxes[i].cast<ClientBox&>().waits_for_actions = started[i] != 0;
  if (failure) std::rethrow_exception(failure);
  return made;
}

py::tuple specs_of(const std::vector<a3c::ParameterSpec>& specs) {
  py::list list;
  for (const a3c::ParameterSpec& spec : specs)
    list.append(py::make_tuple(spec.name, py::tuple(py::cast(spec.shape)), spec.channels_last, spec.offset));
  return py::tuple(list);
}

// Engine ---------------------------------------------------------------------------------------------------------

// Workers may still be running when the last reference goes: joining them must not hold the GIL.
struct DeleteWithoutGil {
  void operator()(a3c::Engine* engine) const {
    const py::gil_scoped_release release;
    delete engine;
  }
};
using EngineHolder = std::unique_ptr<a3c::Engine, DeleteWithoutGil>;

EngineHolder make_engine(const a3c::TrainConfig& train, const a3c::ModelConfig& model, const py::list& boxes) {
  std::vector<std::unique_ptr<a3c::EnvClient>> clients;
  std::set<const a3c::EnvClient*> seen;  // all there, and each once, before one is taken
  for (const py::handle& item : boxes) {
    const auto& box = item.cast<ClientBox&>();
    require(seen.insert(&box.get()).second, "the same environments are given to two workers");
    require(!box.waits_for_actions,
            "the environments wait for actions: an engine needs some that nobody received from");
  }
  for (const py::handle& item : boxes) clients.push_back(std::move(item.cast<ClientBox&>().client));
  return EngineHolder(new a3c::Engine(train, model, std::move(clients)));
}

py::object engine_failure(const a3c::Engine& engine) {
  const std::optional<a3c::WorkerFailure> failure = engine.failure();
  if (!failure) return py::none();
  return py::make_tuple(failure->worker, failure->message);
}

py::dict stage_seconds(const a3c::Engine& engine) {
  py::dict seconds;
  const auto nanoseconds = engine.stage_nanoseconds();
  for (int stage = 0; stage < a3c::kNumStages; ++stage)
    if (nanoseconds[stage] > 0) seconds[a3c::stage_name(stage)] = 1e-9 * static_cast<double>(nanoseconds[stage]);
  return seconds;
}

py::dict engine_stats(const a3c::Engine& engine) {
  const a3c::Stats s = engine.stats();
  return py::dict("steps"_a = s.steps, "updates"_a = s.updates, "skipped_updates"_a = s.skipped_updates,
                  "episodes"_a = s.episodes, "mean_return_100"_a = s.mean_return_100,
                  "mean_length_100"_a = s.mean_length_100, "mean_return_20"_a = s.mean_return_20,
                  "policy_loss"_a = s.policy_loss, "value_loss"_a = s.value_loss, "entropy"_a = s.entropy,
                  "grad_norm"_a = s.grad_norm, "learning_rate"_a = s.learning_rate, "entropy_coef"_a = s.entropy_coef);
}

py::array_t<float> engine_parameters(const a3c::Engine& engine) {
  py::array_t<float> flat(engine.num_parameters());
  float* data = flat.mutable_data();
  const py::gil_scoped_release release;
  engine.read_parameters(data);
  return flat;
}

py::dict engine_statistics(const a3c::Engine& engine) {
  py::dict result;
  const std::vector<const char*> names = engine.statistic_names();
  for (size_t i = 0; i < names.size(); ++i) {
    py::array_t<float> flat(engine.num_parameters());
    engine.read_statistic(i, flat.mutable_data());
    result[names[i]] = flat;
  }
  return result;
}

void engine_load(a3c::Engine& engine, const Floats& parameters, const py::dict& statistics, int64_t steps,
                 int64_t updates, int64_t episodes) {
  require(parameters.size() == engine.num_parameters(), "the parameters are of another network");
  std::vector<Floats> arrays;
  std::vector<const float*> pointers;
  if (!statistics.empty()) {
    for (const char* name : engine.statistic_names()) {
      require(statistics.contains(name), "the optimizer statistics are of another optimizer");
      arrays.push_back(statistics[name].cast<Floats>());
      require(arrays.back().size() == engine.num_parameters(), "the optimizer statistics are of another network");
      pointers.push_back(arrays.back().data());
    }
  }
  engine.load(parameters.data(), pointers, steps, updates, episodes);
}

py::dict engine_worker_state(const a3c::Engine& engine, int worker) {
  const a3c::WorkerState s = engine.worker_state(worker);
  return py::dict("random"_a = s.random, "env"_a = py::bytes(s.env), "previous_done"_a = s.previous_done,
                  "previous_ended"_a = s.previous_ended, "starts"_a = s.starts, "recurrent_state"_a = s.recurrent_state,
                  "episode_return"_a = s.episode_return, "episode_length"_a = s.episode_length);
}

void engine_load_worker_state(a3c::Engine& engine, int worker, const py::dict& state) {
  engine.load_worker_state(
      worker,
      {state["random"].cast<uint64_t>(), state["env"].cast<std::string>(),
       state["previous_done"].cast<std::vector<uint8_t>>(), state["previous_ended"].cast<std::vector<uint8_t>>(),
       state["starts"].cast<std::vector<uint8_t>>(), state["recurrent_state"].cast<std::vector<float>>(),
       state["episode_return"].cast<std::vector<double>>(), state["episode_length"].cast<std::vector<int64_t>>()});
}

// The pure functions, for the tests' oracles ---------------------------------------------------------------------

struct TimeMajor {
  int t_max, num_envs;
};
TimeMajor time_major(const Floats& rewards, const Bytes& done, const Bytes& bootstraps, const Floats& values) {
  require(rewards.ndim() == 2, "rewards must be [t_max][K]");
  const auto t_max = static_cast<int>(rewards.shape(0));
  const auto num_envs = static_cast<int>(rewards.shape(1));
  require(done.size() == rewards.size() && bootstraps.size() == rewards.size(),
          "done and bootstraps must be [t_max][K]");
  require(values.size() == rewards.size() + num_envs, "values must be [t_max + 1][K]");
  return {t_max, num_envs};
}

py::tuple returns_of(const Floats& rewards, const Bytes& done, const Bytes& bootstraps, const Floats& values,
                     double gamma, std::optional<double> gae_lambda) {
  const auto [t_max, num_envs] = time_major(rewards, done, bootstraps, values);
  py::array_t<float> returns({t_max, num_envs}), advantages({t_max, num_envs});
  if (gae_lambda)
    a3c::gae(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma, *gae_lambda,
             returns.mutable_data(), advantages.mutable_data());
  else
    a3c::n_step_returns(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma,
                        returns.mutable_data(), advantages.mutable_data());
  return py::make_tuple(returns, advantages);
}

py::dict loss_of(const Floats& logits, const Floats& values, const Actions& actions, const Floats& advantages,
                 const Floats& returns, const Bytes& valid, double value_coef, double entropy_coef,
                 const std::optional<Floats>& acting_logits, double clip_coef) {
  require(logits.ndim() == 2 && logits.shape(1) <= a3c::kMaxActions, "logits must be [N][num_actions]");
  const py::ssize_t n = logits.shape(0);
  const auto num_actions = static_cast<int>(logits.shape(1));
  require(
      values.size() == n && actions.size() == n && advantages.size() == n && returns.size() == n && valid.size() == n,
      "values, actions, advantages, returns and valid must be [N]");
  require(!acting_logits || acting_logits->size() == logits.size(), "acting_logits must be like logits");
  for (py::ssize_t i = 0; i < n; ++i)
    require(actions.data()[i] >= 0 && actions.data()[i] < num_actions, "an action is out of range");
  py::array_t<float> d_logits({n, logits.shape(1)}), d_values(n);
  const a3c::LossTerms terms = a3c::actor_critic_loss(
      n, num_actions, logits.data(), acting_logits ? acting_logits->data() : nullptr, values.data(), actions.data(),
      advantages.data(), returns.data(), valid.data(),
      {static_cast<float>(value_coef), static_cast<float>(entropy_coef), static_cast<float>(clip_coef)},
      d_logits.mutable_data(), d_values.mutable_data());
  return py::dict("policy_loss"_a = terms.policy_loss, "value_loss"_a = terms.value_loss, "entropy"_a = terms.entropy,
                  "valid"_a = terms.valid, "d_logits"_a = d_logits, "d_values"_a = d_values);
}

py::array_t<float> normalized(const Floats& advantages, const Bytes& valid) {
  require(advantages.size() == valid.size(), "advantages and valid must have the same size");
  py::array_t<float> result(advantages.size());
  std::copy_n(advantages.data(), advantages.size(), result.mutable_data());
  a3c::normalize_advantages(advantages.size(), valid.data(), result.mutable_data());
  return result;
}

py::tuple clip_of(const Floats& gradient, double max_norm) {
  const double norm = std::sqrt(a3c::squared_norm(gradient.data(), gradient.size()));
  return py::make_tuple(a3c::clip_scale_of(norm, max_norm), norm);
}

// theta after one push per gradient, from zero statistics, through the shared vector itself.
py::array_t<float> push_all(const Floats& parameters, const std::vector<Floats>& gradients,
                            const a3c::OptimizerConfig& optimizer, double learning_rate, double clip_scale,
                            int num_workers) {
  a3c::SharedParams params(parameters.size(), optimizer);
  params.load(parameters.data(), {}, 0);
  for (size_t i = 0; i < gradients.size(); ++i) {
    require(gradients[i].size() == parameters.size(), "gradients must have the size of the parameters");
    const a3c::SharedParams::Push push = params.begin_push(static_cast<float>(clip_scale), learning_rate);
    a3c::read_whole_gradient(
        gradients[i].data(), gradients[i].size(), static_cast<double>(static_cast<int>(i) % num_workers) / num_workers,
        [&](int64_t offset, int64_t count, const float* piece) { params.push(push, offset, count, piece); });
  }
  py::array_t<float> result(parameters.size());
  params.pull(result.mutable_data());
  return result;
}

// Replica --------------------------------------------------------------------------------------------------------

py::ssize_t sample_count(const py::array& observations, const a3c::ModelConfig& config) {
  py::ssize_t size = 1;
  for (int64_t extent : config.observation_shape) size *= extent;
  const bool bytes = config.observation_type == a3c::ObservationType::uint8;
  require(bytes ? py::isinstance<py::array_t<uint8_t>>(observations) : py::isinstance<py::array_t<float>>(observations),
          "observations have another dtype than the model's");
  require((observations.flags() & py::array::c_style) != 0 && observations.size() % size == 0,
          "observations must be C-contiguous [N][...observation_shape]");
  return observations.size() / size;
}

struct BoundReplica {
  explicit BoundReplica(const a3c::ModelConfig& model) : config(model), replica(model) {}
  a3c::ModelConfig config;
  a3c::Replica replica;
};

py::tuple replica_forward(BoundReplica& self, const py::array& observations) {
  const py::ssize_t n = sample_count(observations, self.config);
  py::array_t<float> logits({n, static_cast<py::ssize_t>(self.config.num_actions)}), values(n);
  const void* data = observations.data();
  float* logits_data = logits.mutable_data();
  float* values_data = values.mutable_data();
  {
    const py::gil_scoped_release release;
    self.replica.forward(data, n, {}, logits_data, values_data);
  }
  return py::make_tuple(logits, values);
}

py::array_t<float> replica_gradients(BoundReplica& self, const py::array& observations, const Floats& d_logits,
                                     const Floats& d_values) {
  const py::ssize_t n = sample_count(observations, self.config);
  require(d_logits.size() == n * self.config.num_actions && d_values.size() == n,
          "d_logits must be [N][num_actions] and d_values [N]");
  const void* data = observations.data();
  std::vector<int64_t> samples(static_cast<size_t>(n));
  std::iota(samples.begin(), samples.end(), 0);
  {
    const py::gil_scoped_release release;  // LibTorch's autograd refuses to run under the GIL
    self.replica.compute_gradients(data, samples.data(), n, {}, d_logits.data(), d_values.data());
  }
  return copy_of(self.replica.gradients(), self.replica.size());
}

// Network ---------------------------------------------------------------------------------------------------------

// The network that a worker would have, for one step of `num_envs` environments.
struct BoundNetwork {
  BoundNetwork(const a3c::ModelConfig& model, int num_envs)
      : config(model), num_envs(num_envs), network(a3c::make_network(model, 1, num_envs, clock)) {}
  a3c::ModelConfig config;
  int num_envs;
  a3c::StageClock clock{};
  std::unique_ptr<a3c::Network> network;
};

void network_set_parameters(BoundNetwork& self, const Floats& flat) {
  require(flat.size() == self.network->size(), "the parameters are of another network");
  std::copy_n(flat.data(), flat.size(), self.network->parameters());
  self.network->parameters_changed();
}

py::tuple network_act(BoundNetwork& self, const py::array& observations, const Bytes& starts) {
  require(sample_count(observations, self.config) == self.num_envs && starts.size() == self.num_envs,
          "observations and starts must be [num_envs]");
  py::array_t<float> logits({self.num_envs, self.config.num_actions}), values(self.num_envs);
  const void* data = observations.data();
  const uint8_t* starts_data = starts.data();
  float* logits_data = logits.mutable_data();
  float* values_data = values.mutable_data();
  {
    const py::gil_scoped_release release;
    self.network->recurrence().carry(1);  // from the step before
    self.network->act(0, data, starts_data, logits_data, values_data);
  }
  return py::make_tuple(logits, values);
}

py::tuple network_gradients(BoundNetwork& self, const py::array& observations, const Floats& d_logits,
                            const Floats& d_values) {
  require(sample_count(observations, self.config) == self.num_envs, "observations must be [num_envs]");
  require(d_logits.size() == py::ssize_t{self.num_envs} * self.config.num_actions && d_values.size() == self.num_envs,
          "d_logits must be [num_envs][num_actions] and d_values [num_envs]");
  std::vector<int64_t> samples(static_cast<size_t>(self.num_envs));
  std::iota(samples.begin(), samples.end(), 0);
  py::array_t<float> gradient(self.network->size());
  float* whole = gradient.mutable_data();
  const void* data = observations.data();
  {
    const py::gil_scoped_release release;
    self.network->compute_gradients(data, samples.data(), self.num_envs, d_logits.data(), d_values.data());
    self.network->read_gradients(
        0, [&](int64_t offset, int64_t count, const float* piece) { std::copy_n(piece, count, whole + offset); });
  }
  return py::make_tuple(gradient, self.network->squared_gradient_norm());
}

}  // namespace

PYBIND11_MODULE(a3c_fast_core, m) {
  m.doc() = "The training loop of a3c_fast: workers, environments, network, learning. Use the package a3c_fast.";
  m.attr("__version__") = A3C_VERSION;

  py::class_<a3c::OptimizerConfig>(m, "OptimizerConfig")
      .def(
          py::init([](const std::string& kind, double rmsprop_alpha, double adam_beta1, double adam_beta2, double eps) {
            return a3c::OptimizerConfig{optimizer_kind(kind), rmsprop_alpha, adam_beta1, adam_beta2, eps};
          }),
          py::kw_only(), "kind"_a, "rmsprop_alpha"_a, "adam_beta1"_a, "adam_beta2"_a, "eps"_a);

  py::class_<a3c::ModelConfig>(m, "ModelConfig")
      .def(py::init([](const std::string& kind, std::vector<int64_t> shape, const std::string& type, int num_actions,
                       std::vector<int64_t> hidden_sizes, int lstm_size, double observation_offset,
                       double observation_scale, const std::string& precision) {
             require(num_actions > 0 && num_actions <= a3c::kMaxActions, "num_actions is out of range");
             return a3c::ModelConfig{model_kind(kind),   std::move(shape),        observation_type(type),
                                     num_actions,        std::move(hidden_sizes), lstm_size,
                                     observation_offset, observation_scale,       precision_of(precision)};
           }),
           py::kw_only(), "kind"_a, "observation_shape"_a, "observation_type"_a, "num_actions"_a, "hidden_sizes"_a,
           "lstm_size"_a = 0, "observation_offset"_a = 0.0, "observation_scale"_a = 1.0, "precision"_a = "auto");

  py::class_<a3c::TrainConfig>(m, "TrainConfig")
      .def(py::init([](int64_t total_steps, int t_max, int envs_per_update, int update_epochs, double clip_coef,
                       bool normalize_advantages, double gamma, double gae_lambda, double entropy_coef,
                       double entropy_final_fraction, int64_t entropy_decay_steps, double value_coef,
                       double max_grad_norm, double learning_rate, double learning_rate_decay_power,
                       int64_t learning_rate_warmup, const a3c::OptimizerConfig& optimizer, uint64_t seed,
                       double watchdog_seconds) {
             return a3c::TrainConfig{total_steps,
                                     t_max,
                                     envs_per_update,
                                     update_epochs,
                                     clip_coef,
                                     normalize_advantages,
                                     gamma,
                                     gae_lambda,
                                     entropy_coef,
                                     entropy_final_fraction,
                                     entropy_decay_steps,
                                     value_coef,
                                     max_grad_norm,
                                     learning_rate,
                                     learning_rate_decay_power,
                                     learning_rate_warmup,
                                     optimizer,
                                     seed,
                                     watchdog_seconds};
           }),
           py::kw_only(), "total_steps"_a, "t_max"_a, "envs_per_update"_a, "update_epochs"_a, "clip_coef"_a,
           "normalize_advantages"_a, "gamma"_a, "gae_lambda"_a, "entropy_coef"_a, "entropy_final_fraction"_a,
           "entropy_decay_steps"_a, "value_coef"_a, "max_grad_norm"_a, "learning_rate"_a, "learning_rate_decay_power"_a,
           "learning_rate_warmup"_a, "optimizer"_a, "seed"_a, "watchdog_seconds"_a);

  py::class_<ClientBox>(m, "EnvClient")
      .def_static("envpool", &make_envpool_client, py::kw_only(), "owner"_a, "recv"_a, "send"_a, "handle"_a, "state"_a,
                  "action"_a, "num_envs"_a, "num_actions"_a)
      .def_static(
          "recall",
          [](int num_envs, uint64_t seed) {
            return ClientBox{.client = std::make_unique<a3c::RecallEnv>(num_envs, seed)};
          },
          py::kw_only(), "num_envs"_a, "seed"_a)
      .def_static("fake", &make_fake_env, py::kw_only(), "num_envs"_a, "observation_shape"_a, "observation_type"_a,
                  "num_actions"_a, "seed"_a = 0, "max_episode_steps"_a = 40, "fail_at"_a = -1, "hang_at"_a = -1,
                  "hang_seconds"_a = 0.0)
      .def("probe", &client_probe)
      .def("recv", &client_recv)
      .def("send", &client_send, "actions"_a);

  py::class_<a3c::Engine, EngineHolder>(m, "Engine")
      .def(py::init(&make_engine), "train"_a, "model"_a, "clients"_a)
      .def("start", &a3c::Engine::start, "until"_a, Release())
      .def("request_stop", &a3c::Engine::request_stop, Release())
      .def("wait", &a3c::Engine::wait, "seconds"_a, Release())
      .def_property_readonly("running", &a3c::Engine::running)
      .def_property_readonly("failure", &engine_failure)
      .def_property_readonly("num_workers", &a3c::Engine::num_workers)
      .def_property_readonly("parameter_specs", [](const a3c::Engine& e) { return specs_of(e.parameter_specs()); })
      .def("stats", &engine_stats)
      .def("stage_seconds", &stage_seconds)
      .def("parameters", &engine_parameters)
      .def("statistics", &engine_statistics)
      .def("load", &engine_load, py::kw_only(), "parameters"_a, "statistics"_a, "steps"_a, "updates"_a, "episodes"_a)
      .def("worker_state", &engine_worker_state, "worker"_a)
      .def("load_worker_state", &engine_load_worker_state, "worker"_a, "state"_a)
      .def("abandon", &a3c::Engine::abandon);

  py::class_<BoundReplica>(m, "Replica")
      .def(py::init<const a3c::ModelConfig&>(), "model"_a)
      .def_property_readonly("parameter_specs",
                             [](BoundReplica& self) { return specs_of(self.replica.parameter_specs()); })
      .def(
          "initialize", [](BoundReplica& self, uint64_t seed) { self.replica.initialize(seed); }, "seed"_a)
      .def("parameters", [](BoundReplica& self) { return copy_of(self.replica.parameters(), self.replica.size()); })
      .def(
          "set_parameters",
          [](BoundReplica& self, const Floats& flat) {
            require(flat.size() == self.replica.size(), "the parameters are of another network");
            std::copy_n(flat.data(), flat.size(), self.replica.parameters());
          },
          "flat"_a)
      .def("forward", &replica_forward, "observations"_a)
      .def("gradients", &replica_gradients, "observations"_a, "d_logits"_a, "d_values"_a);

  py::class_<BoundNetwork>(m, "Network")
      .def(py::init<const a3c::ModelConfig&, int>(), "model"_a, "num_envs"_a)
      .def("set_parameters", &network_set_parameters, "flat"_a)
      .def("act", &network_act, "observations"_a, "starts"_a)
      .def("gradients", &network_gradients, "observations"_a, "d_logits"_a, "d_values"_a);

  m.def("compute_returns", &returns_of, "rewards"_a, "done"_a, "bootstraps"_a, "values"_a, "gamma"_a,
        "gae_lambda"_a = py::none());
  m.def("actor_critic_loss", &loss_of, py::kw_only(), "logits"_a, "values"_a, "actions"_a, "advantages"_a, "returns"_a,
        "valid"_a, "value_coef"_a, "entropy_coef"_a, "acting_logits"_a = py::none(), "clip_coef"_a = 0.0);
  m.def("normalize_advantages", &normalized, "advantages"_a, "valid"_a);
  m.def("clip_by_global_norm", &clip_of, "gradient"_a, "max_norm"_a);
  m.def("push_all", &push_all, py::kw_only(), "parameters"_a, "gradients"_a, "optimizer"_a, "learning_rate"_a,
        "clip_scale"_a = 1.0, "num_workers"_a = 1);
  m.def(
      "sample_categorical",
      [](const Floats& logits, float uniform) {
        require(logits.ndim() == 1 && logits.size() > 0, "logits must be [num_actions]");
        return a3c::categorical::sample(logits.data(), static_cast<int>(logits.size()), uniform);
      },
      "logits"_a, "uniform"_a);
  m.def(
      "worker_uniforms",
      [](uint64_t seed, uint64_t worker, int count) {
        a3c::Random random = a3c::worker_random(seed, worker);
        std::vector<float> values;
        for (int i = 0; i < count; ++i) values.push_back(random.uniform());
        return values;
      },
      "seed"_a, "worker"_a, "count"_a);
  m.def("step_randomly", &random_steps, "clients"_a, "steps"_a, "seed"_a);
  m.def("torch_threads", &a3c::torch_threads);
  m.def("network_isa", &a3c::network_isa, "model"_a);
}

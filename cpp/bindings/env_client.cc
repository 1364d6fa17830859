// Environments: EnvPool's and the scripted ones, each stepped from Python or handed to an engine.
#include "bindings/env_client.h"

#include <algorithm>
#include <exception>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/configs.h"
#include "bindings/python.h"
#include "env/envpool_client.h"
#include "env/fake_env.h"
#include "env/recall_env.h"
#include "run/ceiling.h"

namespace a3c::bindings {
namespace {

// Keeps a Python object alive from C++; let go from whichever thread is last.
std::shared_ptr<void> keep_alive(py::object object) {
  return {new py::object(std::move(object)), [](void* pointer) {
            if (!Py_IsInitialized()) return;  // the interpreter is gone, and the object with it
            const py::gil_scoped_acquire gil;
            delete static_cast<py::object*>(pointer);
          }};
}

BufferSpec buffer_spec(const py::handle& item) {
  const auto [key, dtype, shape] = item.cast<std::tuple<std::string, std::string, std::vector<int64_t>>>();
  return {key, dtype, shape};
}

xla::Handler* handler_of(const py::capsule& capsule) {
  return reinterpret_cast<xla::Handler*>(capsule.get_pointer<void>());
}

ClientBox make_envpool_client(py::object owner, const py::capsule& recv, const py::capsule& send, int64_t handle,
                              const py::list& state, const py::list& action, int num_envs, int num_actions) {
  require(recv.name() == nullptr && send.name() == nullptr, "EnvPool's capsules have a name: their kind has changed");
  EnvPoolSpecs specs;
  specs.recv = handler_of(recv);
  specs.send = handler_of(send);
  specs.handle = handle;
  for (const py::handle& item : state) specs.state.push_back(buffer_spec(item));
  for (const py::handle& item : action) specs.action.push_back(buffer_spec(item));
  specs.num_envs = num_envs;
  specs.num_actions = num_actions;
  return {.client = std::make_unique<EnvPoolClient>(specs, keep_alive(std::move(owner)))};
}

ClientBox make_fake_env(int num_envs, std::vector<int64_t> observation_shape, const std::string& type, int num_actions,
                        uint32_t seed, int max_episode_steps, int64_t fail_at, int64_t hang_at, double hang_seconds) {
  FakeEnvConfig config;
  config.spec = {num_envs, std::move(observation_shape), observation_type(type), num_actions};
  config.seed = seed;
  config.max_episode_steps = max_episode_steps;
  config.fail_at = fail_at;
  config.hang_at = hang_at;
  config.hang_seconds = hang_seconds;
  return {.client = std::make_unique<FakeEnv>(config)};
}

py::dict client_recv(ClientBox& box) {
  EnvClient& client = box.get();
  require(!box.waits_for_actions, "the environments wait for actions: recv() comes after send()");
  const EnvSpec& spec = client.spec();
  std::vector<py::ssize_t> shape{spec.num_envs};
  shape.insert(shape.end(), spec.observation_shape.begin(), spec.observation_shape.end());
  const bool bytes = spec.observation_type == ObservationType::uint8;
  py::array observations = bytes ? py::array(py::array_t<uint8_t>(shape)) : py::array(py::array_t<float>(shape));
  const StepBatch* batch = nullptr;
  {
    void* data = observations.mutable_data();
    const py::gil_scoped_release release;
    batch = &client.recv(data);
  }
  box.begun = box.waits_for_actions = true;
  return py::dict("observations"_a = observations, "reward"_a = copy_of(batch->reward, spec.num_envs),
                  "raw_reward"_a = copy_of(batch->raw_reward, spec.num_envs),
                  "done"_a = copy_of(batch->done, spec.num_envs),
                  "bootstraps"_a = copy_of(batch->bootstraps, spec.num_envs),
                  "episode_ended"_a = copy_of(batch->episode_ended, spec.num_envs));
}

void client_send(ClientBox& box, const Actions& actions) {
  EnvClient& client = box.get();
  require(box.waits_for_actions, "the environments have something to show: send() comes after recv()");
  require(actions.size() == client.spec().num_envs, "actions must have one element an environment");
  const int32_t* data = actions.data();
  {
    const py::gil_scoped_release release;
    client.send(data);
  }
  box.waits_for_actions = false;
}

void client_probe(ClientBox& box) {
  auto& client = dynamic_cast<EnvPoolClient&>(box.get());
  const py::gil_scoped_release release;
  client.probe();
}

int64_t random_steps(const py::list& boxes, int64_t steps, uint64_t seed) {
  std::vector<EnvClient*> clients;
  std::vector<uint8_t> started;
  for (const py::handle& item : boxes) {
    auto& box = item.cast<ClientBox&>();
    require(std::count(clients.begin(), clients.end(), &box.get()) == 0, "the same environments are given twice");
    clients.push_back(&box.get());
    started.push_back(box.waits_for_actions);
  }
  int64_t made = 0;
  std::exception_ptr failure;
  {
    const py::gil_scoped_release release;
    try {
      made = step_randomly(clients, started, steps, seed);
    } catch (...) {
      failure = std::current_exception();
    }
  }
  for (size_t i = 0; i < boxes.size(); ++i) {
    auto& box = boxes[i].cast<ClientBox&>();
    box.waits_for_actions = started[i] != 0;
    box.begun |= box.waits_for_actions;
  }
  if (failure) std::rethrow_exception(failure);
  return made;
}

}  // namespace

void bind_env_client(py::module_& m) {
  py::class_<ClientBox>(m, "EnvClient")
      .def_static("envpool", &make_envpool_client, py::kw_only(), "owner"_a, "recv"_a, "send"_a, "handle"_a, "state"_a,
                  "action"_a, "num_envs"_a, "num_actions"_a)
      .def_static(
          "recall",
          [](int num_envs, uint64_t seed) { return ClientBox{.client = std::make_unique<RecallEnv>(num_envs, seed)}; },
          py::kw_only(), "num_envs"_a, "seed"_a)
      .def_static("fake", &make_fake_env, py::kw_only(), "num_envs"_a, "observation_shape"_a, "observation_type"_a,
                  "num_actions"_a, "seed"_a = 0, "max_episode_steps"_a = 40, "fail_at"_a = -1, "hang_at"_a = -1,
                  "hang_seconds"_a = 0.0)
      .def("probe", &client_probe)
      .def("recv", &client_recv)
      .def("send", &client_send, "actions"_a);
  m.def("step_randomly", &random_steps, "clients"_a, "steps"_a, "seed"_a);
}

}  // namespace a3c::bindings

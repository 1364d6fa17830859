// Environments: EnvPool's, those in child processes and the scripted ones, each stepped from Python or handed to an
// engine.
#include "bindings/env_client.h"

#include <algorithm>
#include <exception>
#include <numeric>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/fields.h"
#include "bindings/python.h"
#include "env/envpool/envpool_client.h"
#include "env/process/process_client.h"
#include "env/scripted/fake_env.h"
#include "env/scripted/recall_env.h"
#include "run/ceiling.h"
#include "run/forks.h"

namespace a3c::bindings {
namespace {

// Keeps a Python object alive from C++; let go from whichever thread is last. A pool that was made before a fork is
// never let go by the child, where the threads that it would wait for do not exist.
std::shared_ptr<void> keep_alive(py::object object) {
  return {new py::object(std::move(object)), [made_after = forks()](void* pointer) {
            if (made_after != forks()) return;
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

// How a part of an observation is made: an a3c_fast.envs.Part.
Encoding encoding_of(const py::handle& item) {
  static const Names<Encoding::Kind> kKinds{{"array", Encoding::Kind::array},
                                            {"channels_last", Encoding::Kind::channels_last},
                                            {"numbers", Encoding::Kind::numbers},
                                            {"one_hot", Encoding::Kind::one_hot}};
  return {.key = item.attr("key").cast<std::string>(),
          .kind = enumerator("kind", kKinds, item.attr("kind").cast<std::string>()),
          .position = item.attr("position").cast<int64_t>(),
          .scale = item.attr("scale").cast<float>(),
          .first = item.attr("first").cast<int64_t>(),
          .values = item.attr("values").cast<int64_t>()};
}

ClientBox make_envpool_client(py::object owner, const py::capsule& recv, const py::capsule& send, int64_t handle,
                              const py::list& state, const py::list& action, const EnvSpec& spec, const py::list& parts,
                              int first_choice, bool episodic_life) {
  require(recv.name() == nullptr && send.name() == nullptr, "EnvPool's capsules have a name: their kind has changed");
  EnvPoolSpecs specs;
  specs.recv = handler_of(recv);
  specs.send = handler_of(send);
  specs.handle = handle;
  for (const py::handle& item : state) specs.state.push_back(buffer_spec(item));
  for (const py::handle& item : action) specs.action.push_back(buffer_spec(item));
  specs.env = spec;
  for (const py::handle& item : parts) specs.encodings.push_back(encoding_of(item));
  specs.first_choice = first_choice;
  specs.episodic_life = episodic_life;
  return {.client = std::make_unique<EnvPoolClient>(specs, keep_alive(std::move(owner)))};
}

// `layout`: where the arrays of a step lie, by the names of ProcessLayout.
ClientBox make_process_client(py::object owner, const EnvSpec& spec, const py::dict& layout, int memory, int go,
                              int done, int pidfd, double limit_seconds) {
  const auto of = [&](const char* name) { return layout[name].cast<int64_t>(); };
  const ProcessSpecs specs{.env = spec,
                           .layout = {.observations = of("observations"),
                                      .rewards = of("rewards"),
                                      .flags = of("flags"),
                                      .masks = of("masks"),
                                      .finals = of("finals"),
                                      .actions = of("actions"),
                                      .message = of("message"),
                                      .message_bytes = of("message_bytes"),
                                      .size = of("size")},
                           .memory = memory,
                           .go = go,
                           .done = done,
                           .pidfd = pidfd,
                           .limit_seconds = limit_seconds};
  return {.client = std::make_unique<ProcessClient>(specs, keep_alive(std::move(owner)))};
}

ClientBox make_fake_env(const EnvSpec& spec, uint32_t seed, int max_episode_steps, int64_t fail_at, int64_t hang_at,
                        double hang_seconds) {
  return {.client = std::make_unique<FakeEnv>(FakeEnvConfig{.spec = spec,
                                                            .seed = seed,
                                                            .max_episode_steps = max_episode_steps,
                                                            .fail_at = fail_at,
                                                            .hang_at = hang_at,
                                                            .hang_seconds = hang_seconds})};
}

// Choices that are allowed, [K][num_outputs] bytes, or None.
py::object masks_of(const StepBatch& batch, const EnvSpec& spec) {
  if (!batch.action_masks) return py::none();
  const std::vector<int>& choices = spec.action.choices;
  const py::ssize_t width = std::accumulate(choices.begin(), choices.end(), 0);
  return py::array_t<uint8_t>({py::ssize_t{spec.num_envs}, width}, batch.action_masks);
}

// Observations are rows of bytes, which Python gives their types and shapes.
py::dict client_recv(ClientBox& box) {
  EnvClient& client = box.get();
  require(!box.waits_for_actions, "the environments wait for actions: recv() comes after send()");
  const EnvSpec& spec = client.spec();
  py::array_t<uint8_t> observations({py::ssize_t{spec.num_envs}, static_cast<py::ssize_t>(spec.observation.bytes())});
  const StepBatch* batch = nullptr;
  void* data = observations.mutable_data();
  without_gil([&] { batch = &client.recv(data); });
  box.begun = box.waits_for_actions = true;
  return py::dict("observations"_a = observations, "reward"_a = copy_of(batch->reward, spec.num_envs),
                  "raw_reward"_a = copy_of(batch->raw_reward, spec.num_envs),
                  "done"_a = copy_of(batch->done, spec.num_envs),
                  "bootstraps"_a = copy_of(batch->bootstraps, spec.num_envs),
                  "episode_ended"_a = copy_of(batch->episode_ended, spec.num_envs),
                  "valid"_a = copy_of(batch->valid, spec.num_envs), "starts"_a = copy_of(batch->starts, spec.num_envs),
                  "action_masks"_a = masks_of(*batch, spec));
}

void client_send(ClientBox& box, const Floats& actions) {
  EnvClient& client = box.get();
  require(box.waits_for_actions, "the environments have something to show: send() comes after recv()");
  require(actions.size() == py::ssize_t{client.spec().num_envs} * client.spec().action.size(),
          "actions must have one row an environment");
  const float* data = actions.data();
  without_gil([&] { client.send(data); });
  box.waits_for_actions = false;
}

void client_probe(ClientBox& box) {
  auto& client = dynamic_cast<EnvPoolClient&>(box.get());
  without_gil([&] { client.probe(); });
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
  try {
    without_gil([&] { made = step_randomly(clients, started, steps, seed); });
  } catch (...) {
    failure = std::current_exception();
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
                  "action"_a, "spec"_a, "parts"_a, "first_choice"_a, "episodic_life"_a)
      .def_static("process", &make_process_client, py::kw_only(), "owner"_a, "spec"_a, "layout"_a, "memory"_a, "go"_a,
                  "done"_a, "pidfd"_a, "limit_seconds"_a)
      .def_static(
          "recall",
          [](int num_envs, uint64_t seed) { return ClientBox{.client = std::make_unique<RecallEnv>(num_envs, seed)}; },
          py::kw_only(), "num_envs"_a, "seed"_a)
      .def_static("fake", &make_fake_env, py::kw_only(), "spec"_a, "seed"_a = 0, "max_episode_steps"_a = 40,
                  "fail_at"_a = -1, "hang_at"_a = -1, "hang_seconds"_a = 0.0)
      .def("probe", &client_probe)
      .def("recv", &client_recv)
      .def("send", &client_send, "actions"_a);
  m.def("step_randomly", &random_steps, "clients"_a, "steps"_a, "seed"_a);
  m.def(
      "update_alone",
      [](int64_t parameters, const OptimizerConfig& optimizer, int threads, double seconds) {
        require(parameters > 0 && threads > 0, "parameters and threads must be greater than 0");
        int64_t made = 0;
        without_gil([&] { made = update_alone(parameters, optimizer, threads, seconds); });
        return made;
      },
      py::kw_only(), "parameters"_a, "optimizer"_a, "threads"_a, "seconds"_a);
}

}  // namespace a3c::bindings

// The engine: workers, their statistics, and what a checkpoint holds of them.
#include "run/engine.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "bindings/env_client.h"
#include "bindings/parameter_specs.h"
#include "bindings/python.h"
#include "stages.h"

namespace a3c::bindings {
namespace {

// Workers may still be running when the last reference goes: joining them must not hold the GIL.
struct DeleteWithoutGil {
  void operator()(Engine* engine) const {
    const py::gil_scoped_release release;
    delete engine;
  }
};
using EngineHolder = std::unique_ptr<Engine, DeleteWithoutGil>;

EngineHolder make_engine(const TrainConfig& train, const ModelConfig& model, const py::list& boxes) {
  std::vector<std::unique_ptr<EnvClient>> clients;
  std::set<const EnvClient*> seen;  // all there, and each once, before one is taken
  for (const py::handle& item : boxes) {
    const auto& box = item.cast<ClientBox&>();
    require(seen.insert(&box.get()).second, "the same environments are given to two workers");
    require(!box.begun, "the environments have begun: an engine needs some that nobody received from");
  }
  for (const py::handle& item : boxes) clients.push_back(std::move(item.cast<ClientBox&>().client));
  return EngineHolder(new Engine(train, model, std::move(clients)));
}

py::object engine_failure(const Engine& engine) {
  const std::optional<WorkerFailure> failure = engine.failure();
  if (!failure) return py::none();
  return py::make_tuple(failure->worker, failure->message);
}

py::dict stage_seconds(const Engine& engine) {
  py::dict seconds;
  const auto nanoseconds = engine.stage_nanoseconds();
  for (int stage = 0; stage < kNumStages; ++stage)
    if (nanoseconds[stage] > 0) seconds[stage_name(stage)] = 1e-9 * static_cast<double>(nanoseconds[stage]);
  return seconds;
}

py::dict engine_stats(const Engine& engine) {
  const Stats s = engine.stats();
  return py::dict("steps"_a = s.steps, "updates"_a = s.updates, "skipped_updates"_a = s.skipped_updates,
                  "episodes"_a = s.episodes, "mean_return_100"_a = s.mean_return_100,
                  "mean_length_100"_a = s.mean_length_100, "mean_return_20"_a = s.mean_return_20,
                  "policy_loss"_a = s.policy_loss, "value_loss"_a = s.value_loss, "entropy"_a = s.entropy,
                  "grad_norm"_a = s.grad_norm, "learning_rate"_a = s.learning_rate, "entropy_coef"_a = s.entropy_coef);
}

py::array_t<float> engine_parameters(const Engine& engine) {
  py::array_t<float> flat(engine.num_parameters());
  float* data = flat.mutable_data();
  const py::gil_scoped_release release;
  engine.read_parameters(data);
  return flat;
}

py::dict engine_statistics(const Engine& engine) {
  py::dict result;
  const std::vector<const char*> names = engine.statistic_names();
  for (size_t i = 0; i < names.size(); ++i) {
    py::array_t<float> flat(engine.num_parameters());
    engine.read_statistic(i, flat.mutable_data());
    result[names[i]] = flat;
  }
  return result;
}

void engine_load(Engine& engine, const Floats& parameters, const py::dict& statistics, int64_t steps, int64_t updates,
                 int64_t episodes) {
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

py::dict engine_worker_state(const Engine& engine, int worker) {
  const WorkerState s = engine.worker_state(worker);
  return py::dict("random"_a = s.random, "env"_a = py::bytes(s.env), "previous_done"_a = s.previous_done,
                  "previous_ended"_a = s.previous_ended, "starts"_a = s.starts, "recurrent_state"_a = s.recurrent_state,
                  "episode_return"_a = s.episode_return, "episode_length"_a = s.episode_length);
}

void engine_load_worker_state(Engine& engine, int worker, const py::dict& state) {
  engine.load_worker_state(
      worker,
      {state["random"].cast<uint64_t>(), state["env"].cast<std::string>(),
       state["previous_done"].cast<std::vector<uint8_t>>(), state["previous_ended"].cast<std::vector<uint8_t>>(),
       state["starts"].cast<std::vector<uint8_t>>(), state["recurrent_state"].cast<std::vector<float>>(),
       state["episode_return"].cast<std::vector<double>>(), state["episode_length"].cast<std::vector<int64_t>>()});
}

}  // namespace

void bind_engine(py::module_& m) {
  py::class_<Engine, EngineHolder>(m, "Engine")
      .def(py::init(&make_engine), "train"_a, "model"_a, "clients"_a)
      .def("start", &Engine::start, "until"_a, Release())
      .def("request_stop", &Engine::request_stop, Release())
      .def("wait", &Engine::wait, "seconds"_a, Release())
      .def_property_readonly("running", &Engine::running)
      .def_property_readonly("failure", &engine_failure)
      .def_property_readonly("num_workers", &Engine::num_workers)
      .def_property_readonly("parameter_specs", [](const Engine& e) { return specs_of(e.parameter_specs()); })
      .def("stats", &engine_stats)
      .def("stage_seconds", &stage_seconds)
      .def("parameters", &engine_parameters)
      .def("statistics", &engine_statistics)
      .def("load", &engine_load, py::kw_only(), "parameters"_a, "statistics"_a, "steps"_a, "updates"_a, "episodes"_a)
      .def("worker_state", &engine_worker_state, "worker"_a)
      .def("load_worker_state", &engine_load_worker_state, "worker"_a, "state"_a)
      .def("abandon", &Engine::abandon);
}

}  // namespace a3c::bindings

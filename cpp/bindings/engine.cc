// The engine: workers, their statistics, and what a checkpoint holds of them.
#include "run/engine.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
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
    without_gil([&] { delete engine; });
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
  Engine* engine = nullptr;
  without_gil([&] { engine = new Engine(train, model, std::move(clients)); });
  return EngineHolder(engine);
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
  return py::dict(
      "steps"_a = s.steps, "updates"_a = s.updates, "skipped_updates"_a = s.skipped_updates, "episodes"_a = s.episodes,
      "mean_return_100"_a = s.mean_return_100, "mean_length_100"_a = s.mean_length_100,
      "mean_return_20"_a = s.mean_return_20, "policy_loss"_a = s.policy_loss, "value_loss"_a = s.value_loss,
      "entropy"_a = s.entropy, "grad_norm"_a = s.grad_norm, "explained_variance"_a = s.explained_variance,
      "approx_kl"_a = s.approx_kl, "clip_fraction"_a = s.clip_fraction, "learning_rate"_a = s.learning_rate,
      "entropy_coef"_a = s.entropy_coef, "known_episodes"_a = s.known_episodes, "wall_seconds"_a = s.wall_seconds);
}

using Episodes = std::vector<std::pair<double, int64_t>>;  // return and length

std::vector<EpisodeLog::Episode> episodes_of(const Episodes& pairs) {
  std::vector<EpisodeLog::Episode> episodes;
  for (const auto& [episode_return, length] : pairs) episodes.push_back({episode_return, length});
  return episodes;
}

Episodes pairs_of(const std::vector<EpisodeLog::Episode>& episodes) {
  Episodes pairs;
  for (const EpisodeLog::Episode& episode : episodes) pairs.emplace_back(episode.episode_return, episode.length);
  return pairs;
}

// (number of the first, [(return, length, worker, step)]) of those that are kept, from a number on.
py::tuple episodes_since(const Engine& engine, int64_t from, int64_t most) {
  std::vector<EpisodeLog::Told> found;
  without_gil([&] { found = engine.episodes().since(from, most); });
  py::list episodes(found.size());
  for (size_t i = 0; i < found.size(); ++i)
    episodes[i] = py::make_tuple(found[i].episode_return, found[i].length, found[i].worker, found[i].step);
  return py::make_tuple(from, episodes);
}

py::array_t<float> engine_parameters(const Engine& engine) {
  py::array_t<float> flat(engine.num_parameters());
  float* data = flat.mutable_data();
  without_gil([&] { engine.read_parameters(data); });
  return flat;
}

std::vector<const float*> statistics_of(const Engine& engine, const py::dict& statistics, std::vector<Floats>& arrays) {
  std::vector<const float*> pointers;
  if (statistics.empty()) return pointers;
  for (const char* name : engine.statistic_names()) {
    require(statistics.contains(name), "the optimizer statistics are of another optimizer");
    arrays.push_back(statistics[name].cast<Floats>());
    require(arrays.back().size() == engine.num_parameters(), "the optimizer statistics are of another network");
    pointers.push_back(arrays.back().data());
  }
  return pointers;
}

void engine_load_parameters(Engine& engine, const Floats& parameters) {
  require(parameters.size() == engine.num_parameters(), "the parameters are of another network");
  engine.load_parameters(parameters.data());
}

void engine_set_schedule(Engine& engine, const std::string& name,
                         const std::vector<std::pair<int64_t, double>>& points) {
  std::vector<Schedule::Point> through;
  for (const auto& [step, value] : points) through.push_back({step, value});
  engine.set(name, Schedule(std::move(through)));
}

void engine_load(Engine& engine, const Floats& parameters, const py::dict& statistics, int64_t steps, int64_t updates,
                 int64_t episodes, int64_t skipped_updates, double wall_seconds, const Episodes& recent_episodes) {
  require(parameters.size() == engine.num_parameters(), "the parameters are of another network");
  std::vector<Floats> arrays;
  const std::vector<const float*> pointers = statistics_of(engine, statistics, arrays);
  const Progress progress{.steps = steps,
                          .updates = updates,
                          .episodes = episodes,
                          .skipped_updates = skipped_updates,
                          .wall_seconds = wall_seconds,
                          .recent_episodes = episodes_of(recent_episodes)};
  engine.load(parameters.data(), pointers, progress);
}

// The arrays of an agreement, written and read in place: parameters [num_parameters] and counts [num_counts].
using OwnFloats = py::array_t<float, py::array::c_style>;
using OwnDoubles = py::array_t<double, py::array::c_style>;

Agreement& agreement_of(const Engine& engine, const OwnFloats& parameters, const OwnDoubles& counts) {
  Agreement& agreement = engine.agreement();
  require(parameters.size() == engine.num_parameters(), "the parameters are of another network");
  require(counts.size() == agreement.num_counts(), "the counts are of another agreement");
  return agreement;
}

// What `method` writes.
template <void (Agreement::*method)(float*, double*)>
void write_agreement(const Engine& engine, OwnFloats parameters, OwnDoubles counts) {
  Agreement& agreement = agreement_of(engine, parameters, counts);
  float* const p = parameters.mutable_data();
  double* const c = counts.mutable_data();
  without_gil([&] { (agreement.*method)(p, c); });
}

// What `method` reads.
template <void (Agreement::*method)(const float*, const double*)>
void change_agreement(const Engine& engine, const OwnFloats& parameters, const OwnDoubles& counts) {
  Agreement& agreement = agreement_of(engine, parameters, counts);
  without_gil([&] { (agreement.*method)(parameters.data(), counts.data()); });
}

py::dict worker_dict(const WorkerState& s) {
  return py::dict("random"_a = s.random, "env"_a = py::bytes(s.env), "starts"_a = s.starts,
                  "recurrent_state"_a = s.recurrent_state, "episode_return"_a = s.episode_return,
                  "episode_length"_a = s.episode_length, "discounted_return"_a = s.discounted_return);
}

// Arrays by name; a mean and the sum of squared deviations of each number.
py::dict normalization_dict(const Normalization& n) {
  const auto array = [](const std::vector<double>& values) {
    return copy_of(values.data(), static_cast<py::ssize_t>(values.size()));
  };
  return py::dict("observation_count"_a = n.observations.count, "observation_mean"_a = array(n.observations.mean),
                  "observation_squares"_a = array(n.observations.squares), "return_count"_a = n.returns.count,
                  "return_mean"_a = array(n.returns.mean), "return_squares"_a = array(n.returns.squares));
}

Moments moments_of(const py::dict& values, const std::string& kind) {
  Moments moments;
  moments.count = values[(kind + "_count").c_str()].cast<double>();
  moments.mean = values[(kind + "_mean").c_str()].cast<std::vector<double>>();
  moments.squares = values[(kind + "_squares").c_str()].cast<std::vector<double>>();
  require(moments.mean.size() == moments.squares.size(), "the moments are of different sizes");
  return moments;
}

void engine_load_normalization(Engine& engine, const py::dict& values) {
  Normalization normalization;
  normalization.observations = moments_of(values, "observation");
  normalization.returns = moments_of(values, "return");
  require(normalization.returns.mean.size() == 1, "the moments of the return are one");
  engine.load_normalization(normalization);
}

py::dict engine_snapshot(const Engine& engine) {
  Snapshot snapshot;
  without_gil([&] { snapshot = engine.snapshot(); });
  const auto array = [](const std::vector<float>& values) {
    return copy_of(values.data(), static_cast<py::ssize_t>(values.size()));
  };
  py::dict statistics;
  for (size_t i = 0; i < snapshot.statistics.size(); ++i)
    statistics[engine.statistic_names()[i]] = array(snapshot.statistics[i]);
  py::list workers;
  for (const WorkerState& worker : snapshot.workers) workers.append(worker_dict(worker));
  const Progress& p = snapshot.progress;
  return py::dict("steps"_a = p.steps, "updates"_a = p.updates, "episodes"_a = p.episodes,
                  "skipped_updates"_a = p.skipped_updates, "wall_seconds"_a = p.wall_seconds,
                  "recent_episodes"_a = pairs_of(p.recent_episodes), "parameters"_a = array(snapshot.parameters),
                  "statistics"_a = statistics, "normalization"_a = normalization_dict(snapshot.normalization),
                  "workers"_a = workers);
}

void engine_load_worker_state(Engine& engine, int worker, const py::dict& state) {
  engine.load_worker_state(
      worker,
      {state["random"].cast<uint64_t>(), state["env"].cast<std::string>(), state["starts"].cast<std::vector<uint8_t>>(),
       state["recurrent_state"].cast<std::vector<float>>(), state["episode_return"].cast<std::vector<double>>(),
       state["episode_length"].cast<std::vector<int64_t>>(), state["discounted_return"].cast<std::vector<double>>()});
}

const char* phase_name(const Engine& engine) {
  switch (engine.phase()) {
    case Phase::ready: return "ready";
    case Phase::running: return "running";
    case Phase::paused: return "paused";
    case Phase::stopping: return "stopping";
    case Phase::ended: return "ended";
    case Phase::failed: return "failed";
    case Phase::closed: return "closed";
  }
  throw std::logic_error("unknown phase");
}

}  // namespace

void bind_engine(py::module_& m) {
  py::register_exception<StateError>(m, "StateError", PyExc_RuntimeError);
  py::class_<Engine, EngineHolder>(m, "Engine")
      .def(py::init(&make_engine), "train"_a, "model"_a, "clients"_a)
      .def(
          "start", [](Engine& e, int64_t until) { return value_without_gil([&] { return e.start(until); }); },
          "until"_a)
      .def("pause", [](Engine& e) { return value_without_gil([&] { return e.pause(); }); })
      .def("resume", [](Engine& e) { return value_without_gil([&] { return e.resume(); }); })
      .def(
          "wait_until_paused",
          [](Engine& e, double seconds) { return value_without_gil([&] { return e.wait_until_paused(seconds); }); },
          "seconds"_a)
      .def("request_stop", [](Engine& e) { return value_without_gil([&] { return e.request_stop(); }); })
      .def(
          "wait", [](Engine& e, double seconds) { return value_without_gil([&] { return e.wait(seconds); }); },
          "seconds"_a)
      .def(
          "wait_for",
          [](Engine& e, int64_t run, double seconds) {
            return value_without_gil([&] { return e.wait_for(run, seconds); });
          },
          "run"_a, "seconds"_a)
      .def("refuse_starts", [](Engine& e) { without_gil([&] { e.refuse_starts(); }); })
      .def("close", [](Engine& e) { without_gil([&] { e.close(); }); })
      .def_property_readonly("phase", &phase_name)
      .def_property_readonly("running", &Engine::running)
      .def_property_readonly("under_way", &Engine::under_way)
      .def_property_readonly("failure", &engine_failure)
      .def_property_readonly("num_workers", &Engine::num_workers)
      .def_property_readonly("parameter_specs", [](const Engine& e) { return specs_of(e.parameter_specs()); })
      .def("set", py::overload_cast<const std::string&, double>(&Engine::set), "name"_a, "value"_a)
      .def("set_schedule", &engine_set_schedule, "name"_a, "points"_a)
      .def("stats", &engine_stats)
      .def("episodes_added", [](const Engine& e) { return e.episodes().added(); })
      .def("episodes_since", &episodes_since, "first"_a, "most"_a)
      .def("recent_episodes", [](const Engine& e) { return pairs_of(e.episodes().recent()); })
      .def(
          "hear_episodes", [](Engine& e, const Episodes& episodes) { e.hear(episodes_of(episodes)); }, "episodes"_a)
      .def("stage_seconds", &stage_seconds)
      .def("parameters", &engine_parameters)
      .def("snapshot", &engine_snapshot)
      .def("load_parameters", &engine_load_parameters, "parameters"_a)
      .def("load", &engine_load, py::kw_only(), "parameters"_a, "statistics"_a, "steps"_a, "updates"_a, "episodes"_a,
           "skipped_updates"_a = 0, "wall_seconds"_a = 0.0, "recent_episodes"_a = Episodes())
      .def("normalization", [](const Engine& e) { return normalization_dict(e.normalization()); })
      .def("load_normalization", &engine_load_normalization, "normalization"_a)
      .def("agree", [](Engine& e) { without_gil([&] { e.agree(); }); })
      .def_property_readonly("num_counts", [](const Engine& e) { return e.agreement().num_counts(); })
      .def("take_difference", &write_agreement<&Agreement::take>, "difference"_a.noconvert(), "counts"_a.noconvert())
      .def("read_agreement", &write_agreement<&Agreement::read>, "agreed"_a.noconvert(), "counts"_a.noconvert())
      .def("add_total", &change_agreement<&Agreement::add>, "total"_a.noconvert(), "counts"_a.noconvert())
      .def("adopt", &change_agreement<&Agreement::adopt>, "agreed"_a.noconvert(), "counts"_a.noconvert())
      .def("give_back", [](const Engine& e) { e.agreement().give_back(); })
      .def(
          "worker_state", [](const Engine& e, int worker) { return worker_dict(e.worker_state(worker)); }, "worker"_a)
      .def("load_worker_state", &engine_load_worker_state, "worker"_a, "state"_a);
}

}  // namespace a3c::bindings

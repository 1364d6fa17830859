// The pure functions of learning, for the tests to compare with their twins.
#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "bindings/python.h"
#include "learn/categorical.h"
#include "learn/loss.h"
#include "learn/optimizer.h"
#include "learn/random.h"
#include "learn/returns.h"
#include "learn/shared_params.h"
#include "model/network.h"

namespace a3c::bindings {
namespace {

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
    gae(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma, *gae_lambda,
        returns.mutable_data(), advantages.mutable_data());
  else
    n_step_returns(t_max, num_envs, rewards.data(), done.data(), bootstraps.data(), values.data(), gamma,
                   returns.mutable_data(), advantages.mutable_data());
  return py::make_tuple(returns, advantages);
}

py::dict loss_of(const Floats& logits, const Floats& values, const Actions& actions, const Floats& advantages,
                 const Floats& returns, const Bytes& valid, double value_coef, double entropy_coef,
                 const std::optional<Floats>& acting_logits, double clip_coef) {
  require(logits.ndim() == 2 && logits.shape(1) <= kMaxActions, "logits must be [N][num_actions]");
  const py::ssize_t n = logits.shape(0);
  const auto num_actions = static_cast<int>(logits.shape(1));
  require(
      values.size() == n && actions.size() == n && advantages.size() == n && returns.size() == n && valid.size() == n,
      "values, actions, advantages, returns and valid must be [N]");
  require(!acting_logits || acting_logits->size() == logits.size(), "acting_logits must be like logits");
  for (py::ssize_t i = 0; i < n; ++i)
    require(actions.data()[i] >= 0 && actions.data()[i] < num_actions, "an action is out of range");
  py::array_t<float> d_logits({n, logits.shape(1)}), d_values(n);
  const LossTerms terms = actor_critic_loss(
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
  normalize_advantages(advantages.size(), valid.data(), result.mutable_data());
  return result;
}

py::tuple clip_of(const Floats& gradient, double max_norm) {
  const double norm = std::sqrt(squared_norm(gradient.data(), gradient.size()));
  return py::make_tuple(clip_scale_of(norm, max_norm), norm);
}

// theta after one push per gradient, from zero statistics, through the shared vector itself.
py::array_t<float> push_all(const Floats& parameters, const std::vector<Floats>& gradients,
                            const OptimizerConfig& optimizer, double learning_rate, double clip_scale,
                            int num_workers) {
  SharedParams params(parameters.size(), optimizer);
  params.load(parameters.data(), {}, 0);
  for (size_t i = 0; i < gradients.size(); ++i) {
    require(gradients[i].size() == parameters.size(), "gradients must have the size of the parameters");
    const SharedParams::Push push = params.begin_push(static_cast<float>(clip_scale), learning_rate);
    read_whole_gradient(
        gradients[i].data(), gradients[i].size(), static_cast<double>(static_cast<int>(i) % num_workers) / num_workers,
        [&](int64_t offset, int64_t count, const float* piece) { params.push(push, offset, count, piece); });
  }
  py::array_t<float> result(parameters.size());
  params.pull(result.mutable_data());
  return result;
}

}  // namespace

void bind_learning(py::module_& m) {
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
        return categorical::sample(logits.data(), static_cast<int>(logits.size()), uniform);
      },
      "logits"_a, "uniform"_a);
  m.def(
      "worker_uniforms",
      [](uint64_t seed, uint64_t worker, int count) {
        Random random = worker_random(seed, worker);
        std::vector<float> values;
        for (int i = 0; i < count; ++i) values.push_back(random.uniform());
        return values;
      },
      "seed"_a, "worker"_a, "count"_a);
}

}  // namespace a3c::bindings

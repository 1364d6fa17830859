// The pure functions of learning, for the tests to compare with their twins.
#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

#include "bindings/python.h"
#include "env/actions.h"
#include "learn/loss.h"
#include "learn/optimizer.h"
#include "learn/random.h"
#include "learn/returns.h"
#include "learn/shared_params.h"
#include "learn/value_fit.h"
#include "model/network.h"
#include "policy/distribution.h"

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

void check_actions(const ActionSpec& spec, const Floats& actions, py::ssize_t count) {
  require(actions.size() == count * spec.size(), "actions must be [N][action_size]");
  for (py::ssize_t i = 0; i < count; ++i) check_action(spec, actions.data() + i * spec.size());
}

py::dict loss_of(const ActionSpec& action, const Floats& policy, const Floats& values, const Floats& actions,
                 const Floats& advantages, const Floats& returns, const Bytes& valid, double value_coef,
                 double entropy_coef, const std::optional<Floats>& acting_policy, double clip_coef) {
  const auto distribution = make_distribution(action);
  require(policy.ndim() == 2 && policy.shape(1) == distribution->num_outputs(), "policy must be [N][num_outputs]");
  const py::ssize_t n = policy.shape(0);
  check_actions(action, actions, n);
  require(values.size() == n && advantages.size() == n && returns.size() == n && valid.size() == n,
          "values, advantages, returns and valid must be [N]");
  require(!acting_policy || acting_policy->size() == policy.size(), "acting_policy must be like policy");
  py::array_t<float> d_policy({n, policy.shape(1)}), d_values(n);
  const LossTerms terms = actor_critic_loss(
      *distribution, n, policy.data(), acting_policy ? acting_policy->data() : nullptr, values.data(), actions.data(),
      advantages.data(), returns.data(), valid.data(),
      {static_cast<float>(value_coef), static_cast<float>(entropy_coef), static_cast<float>(clip_coef)},
      d_policy.mutable_data(), d_values.mutable_data());
  return py::dict("policy_loss"_a = terms.policy_loss, "value_loss"_a = terms.value_loss, "entropy"_a = terms.entropy,
                  "approx_kl"_a = terms.approx_kl, "clip_fraction"_a = terms.clip_fraction, "valid"_a = terms.valid,
                  "d_policy"_a = d_policy, "d_values"_a = d_values);
}

py::array_t<float> normalized(const Floats& advantages, const Bytes& valid) {
  require(advantages.size() == valid.size(), "advantages and valid must have the same size");
  py::array_t<float> result(advantages.size());
  std::copy_n(advantages.data(), advantages.size(), result.mutable_data());
  normalize_advantages(advantages.size(), valid.data(), result.mutable_data());
  return result;
}

double explained_variance_of(const std::vector<std::tuple<Floats, Floats, Bytes>>& rollouts) {
  ValueFit fit;
  for (const auto& [values, returns, valid] : rollouts) {
    require(values.size() == returns.size() && values.size() == valid.size(),
            "values, returns and valid must have the same size");
    fit += value_fit(values.size(), valid.data(), values.data(), returns.data());
  }
  return fit.explained_variance();
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

void bind_learning(py::module_& package) {
  py::module_ m = package.def_submodule("learning", "The pure functions of learning, for tests.");
  m.def("compute_returns", &returns_of, "rewards"_a, "done"_a, "bootstraps"_a, "values"_a, "gamma"_a,
        "gae_lambda"_a = py::none());
  m.def("actor_critic_loss", &loss_of, py::kw_only(), "action"_a, "policy"_a, "values"_a, "actions"_a, "advantages"_a,
        "returns"_a, "valid"_a, "value_coef"_a, "entropy_coef"_a, "acting_policy"_a = py::none(), "clip_coef"_a = 0.0);
  m.def("normalize_advantages", &normalized, "advantages"_a, "valid"_a);
  m.def("explained_variance", &explained_variance_of, "rollouts"_a);
  m.def("clip_by_global_norm", &clip_of, "gradient"_a, "max_norm"_a);
  m.def("push_all", &push_all, py::kw_only(), "parameters"_a, "gradients"_a, "optimizer"_a, "learning_rate"_a,
        "clip_scale"_a = 1.0, "num_workers"_a = 1);
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

#include "learn/shared_params.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace a3c {

SharedParams::SharedParams(int64_t size, const OptimizerConfig& optimizer)
    : optimizer_(optimizer),
      parameters_(static_cast<size_t>(size)),
      statistics_(optimizer.kind == OptimizerKind::rmsprop ? 1 : 2, std::vector<float>(static_cast<size_t>(size))) {}

void SharedParams::pull(float* destination) const {
  std::memcpy(destination, parameters_.data(), parameters_.size() * sizeof(float));
}

SharedParams::Push SharedParams::begin_push(float clip_scale, double learning_rate) {
  const int64_t step = updates_.fetch_add(1, std::memory_order_relaxed) + 1;
  return {clip_scale, static_cast<float>(learning_rate),
          adam_rates(learning_rate, optimizer_.adam_beta1, optimizer_.adam_beta2, optimizer_.eps, step)};
}

void SharedParams::push(const Push& push, int64_t offset, int64_t count, const float* gradient) {
  float* parameters = parameters_.data() + offset;
  if (optimizer_.kind == OptimizerKind::rmsprop)
    rmsprop_update(count, gradient, push.clip_scale, push.learning_rate, static_cast<float>(optimizer_.rmsprop_alpha),
                   static_cast<float>(optimizer_.eps), statistics_[0].data() + offset, parameters);
  else
    adam_update(count, gradient, push.clip_scale, push.adam, statistics_[0].data() + offset,
                statistics_[1].data() + offset, parameters);
}

void SharedParams::add(const float* delta) {
  float* parameters = parameters_.data();
  for (int64_t i = 0; i < size(); ++i) parameters[i] += delta[i];
}

std::vector<const char*> SharedParams::statistic_names() const {
  if (optimizer_.kind == OptimizerKind::rmsprop) return {"mean_square"};
  return {"first_moment", "second_moment"};
}

void SharedParams::read_statistic(size_t index, float* destination) const {
  const std::vector<float>& statistic = statistics_.at(index);
  std::memcpy(destination, statistic.data(), statistic.size() * sizeof(float));
}

void SharedParams::load(const float* parameters, const std::vector<const float*>& statistics, int64_t updates) {
  std::copy_n(parameters, size(), parameters_.data());
  if (statistics.empty()) {
    for (std::vector<float>& statistic : statistics_) std::fill(statistic.begin(), statistic.end(), 0.0f);
  } else if (statistics.size() != statistics_.size()) {
    throw std::invalid_argument("the optimizer statistics are of another optimizer");
  } else {
    for (size_t i = 0; i < statistics.size(); ++i) std::copy_n(statistics[i], size(), statistics_[i].data());
  }
  updates_.store(updates, std::memory_order_relaxed);
}

}  // namespace a3c

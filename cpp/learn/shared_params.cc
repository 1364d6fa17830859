#include "learn/shared_params.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "learn/optimizer.h"

namespace a3c {

SharedParams::SharedParams(int64_t size, const OptimizerConfig& optimizer)
    : optimizer_(optimizer),
      parameters_(static_cast<size_t>(size)),
      statistics_(optimizer.kind == OptimizerKind::rmsprop ? 1 : 2, std::vector<float>(static_cast<size_t>(size))) {}

void SharedParams::pull(float* destination) const {
  std::memcpy(destination, parameters_.data(), parameters_.size() * sizeof(float));
}

void SharedParams::push(const float* gradient, float clip_scale, double learning_rate, int worker, int num_workers) {
  const int64_t step = updates_.fetch_add(1, std::memory_order_relaxed) + 1;
  constexpr int64_t kLine = 16;  // floats in a cache line: no worker begins inside another's
  const int64_t start = size() * worker / num_workers / kLine * kLine;
  update_range(start, size(), gradient, clip_scale, learning_rate, step);
  update_range(0, start, gradient, clip_scale, learning_rate, step);
}

void SharedParams::update_range(int64_t begin, int64_t end, const float* gradient, float clip_scale,
                                double learning_rate, int64_t step) {
  if (optimizer_.kind == OptimizerKind::rmsprop) {
    rmsprop_update(end - begin, gradient + begin, clip_scale, static_cast<float>(learning_rate),
                   static_cast<float>(optimizer_.rmsprop_alpha), static_cast<float>(optimizer_.eps),
                   statistics_[0].data() + begin, parameters_.data() + begin);
  } else {
    const AdamRates rates =
        adam_rates(learning_rate, optimizer_.adam_beta1, optimizer_.adam_beta2, optimizer_.eps, step);
    adam_update(end - begin, gradient + begin, clip_scale, rates, statistics_[0].data() + begin,
                statistics_[1].data() + begin, parameters_.data() + begin);
  }
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

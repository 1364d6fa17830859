// The settings that may change while the workers run. Each is read where it is used, so that the next update has it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "config.h"
#include "run/schedule.h"

namespace a3c {

// A number, or a schedule that takes its place. Any thread sets it; every worker reads it, and waits for nobody.
class LiveSetting {
 public:
  explicit LiveSetting(double number) : number_(number) {}

  void set(double number) {
    const std::lock_guard lock(mutex_);
    number_ = number;
    schedule_ = nullptr;
  }

  void set(Schedule schedule) {
    const std::lock_guard lock(mutex_);
    kept_.push_back(std::make_unique<const Schedule>(std::move(schedule)));
    schedule_ = kept_.back().get();
  }

  // Null where it is a number.
  const Schedule* schedule() const { return schedule_; }

  // Without a schedule.
  double number() const { return number_; }

  double at(int64_t step) const {
    const Schedule* const schedule = schedule_;
    return schedule ? schedule->at(step) : number_.load();
  }

 private:
  std::mutex mutex_;  // of those that set it
  // Guarded by mutex_. All that there were: a worker may still read one that another has replaced.
  std::vector<std::unique_ptr<const Schedule>> kept_;
  std::atomic<double> number_;
  std::atomic<const Schedule*> schedule_ = nullptr;
};

struct LiveSettings {
  explicit LiveSettings(const TrainConfig& config)
      : learning_rate(config.learning_rate),
        entropy_coef(config.entropy_coef),
        value_coef(config.value_coef),
        clip_coef(config.clip_coef),
        max_grad_norm(config.max_grad_norm) {}

  // By the name of TrainConfig. Throws std::invalid_argument for another.
  LiveSetting& operator[](const std::string& name) {
    if (name == "learning_rate") return learning_rate;
    if (name == "entropy_coef") return entropy_coef;
    if (name == "value_coef") return value_coef;
    if (name == "clip_coef") return clip_coef;
    if (name == "max_grad_norm") return max_grad_norm;
    throw std::invalid_argument(name + " cannot change while the workers run");
  }

  LiveSetting learning_rate;
  LiveSetting entropy_coef;
  LiveSetting value_coef;
  LiveSetting clip_coef;
  LiveSetting max_grad_norm;
};

}  // namespace a3c

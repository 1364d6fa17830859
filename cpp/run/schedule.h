// A setting as a function of the run's agent steps.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace a3c {

// Through points, straight from one to the next, and constant before the first and after the last.
class Schedule {
 public:
  struct Point {
    int64_t step;
    double value;
  };

  // Throws std::invalid_argument where there is no point, and where the steps do not rise.
  explicit Schedule(std::vector<Point> points) : points_(std::move(points)) {
    if (points_.empty()) throw std::invalid_argument("a schedule needs a point");
    for (size_t i = 1; i < points_.size(); ++i)
      if (points_[i].step <= points_[i - 1].step)
        throw std::invalid_argument("the steps of a schedule's points must rise");
  }

  double at(int64_t step) const {
    const auto after = std::upper_bound(points_.begin(), points_.end(), step,
                                        [](int64_t wanted, const Point& point) { return wanted < point.step; });
    if (after == points_.begin()) return points_.front().value;
    if (after == points_.end()) return points_.back().value;
    const Point& before = *(after - 1);
    const double share = static_cast<double>(step - before.step) / static_cast<double>(after->step - before.step);
    return before.value + share * (after->value - before.value);
  }

 private:
  std::vector<Point> points_;
};

}  // namespace a3c

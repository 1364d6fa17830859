// What environments show and what they take.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace a3c {

enum class ElementType { uint8, float32 };

// One observation is a row of bytes: an array, as a rule an image, and then numbers that belong to it. Either may be
// missing. What an environment has in other types, shapes and parts its client brings into this form.
struct ObservationSpec {
  std::vector<int64_t> array_shape;  // [channels, height, width] of an image; empty: there is none
  ElementType array_type = ElementType::uint8;
  int64_t num_features = 0;  // float32 numbers

  int64_t array_size() const {
    if (array_shape.empty()) return 0;
    int64_t size = 1;
    for (int64_t extent : array_shape) size *= extent;
    return size;
  }
  // Where the numbers begin in the row: at a multiple of four bytes.
  int64_t features_offset() const {
    const int64_t bytes = array_size() * (array_type == ElementType::uint8 ? 1 : 4);
    return num_features > 0 ? (bytes + 3) / 4 * 4 : bytes;
  }
  int64_t bytes() const { return features_offset() + 4 * num_features; }
  int64_t size() const { return array_size() + num_features; }

  bool operator==(const ObservationSpec&) const = default;
};

// An action is a row of float32 components. Discrete ones are whole numbers from 0 on. Continuous ones are the
// policy's own: the environment is given mid + half * u, clipped to the bounds, where a component has two bounds, and u
// where it does not.
struct ActionSpec {
  std::vector<int> choices;      // of each discrete component; empty: continuous
  std::vector<float> low, high;  // of each continuous component; infinite: not bounded
  bool masked = false;           // which choices are allowed depends on what is observed, see StepBatch

  bool continuous() const { return choices.empty(); }
  int size() const { return static_cast<int>(continuous() ? low.size() : choices.size()); }

  bool operator==(const ActionSpec&) const = default;
};

// What one batch of environments looks like from outside.
struct EnvSpec {
  int num_envs = 0;
  ObservationSpec observation;
  ActionSpec action;
};

}  // namespace a3c

#include "stages.h"

#include <chrono>

namespace a3c {
namespace {

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

const char* stage_name(int stage) {
  static constexpr const char* kNames[kNumStages] = {
      "pull",
      "pack_weights",
      "convert_observation",
      "conv1_forward",
      "conv2_forward",
      "conv3_forward",
      "keep_activations",
      "fc_forward",
      "dense_forward",
      "lstm_forward",
      "heads_forward",
      "autograd_forward",
      "sample_actions",
      "send",
      "wait_for_environment",
      "record_step",
      "returns",
      "loss",
      "lstm_backward",
      "heads_backward",
      "fc_weight_gradient",
      "fc_input_gradient",
      "dense_backward",
      "conv1_weight_gradient",
      "conv2_weight_gradient",
      "conv3_weight_gradient",
      "conv1_input_gradient",
      "conv2_input_gradient",
      "conv3_input_gradient",
      "unpack_gradients",
      "autograd_backward",
      "clip",
      "push",
  };
  return kNames[stage];
}

void start(StageClock& clock) {
  clock.last = now();
}

void lap(StageClock& clock, Stage stage) {
  const int64_t end = now();
  clock.nanoseconds[stage] += end - clock.last;
  clock.last = end;
}

}  // namespace a3c

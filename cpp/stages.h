// Where a worker's time goes. Always on: a lap reads the clock once, some ten times a step of 300 us and more.
//
// Nothing here may instantiate a template: the kernels that are compiled for other instruction sets include it.
#pragma once

#include <cstdint>

namespace a3c {

// In the order in which a worker passes through them.
enum Stage : int {
  kPull,
  kPackWeights,  // into the order in which the kernels read them
  kConvertObservation,
  kConv1Forward,
  kConv2Forward,
  kConv3Forward,
  kKeepActivations,  // for the backward pass
  kFcForward,
  kDenseForward,  // of an mlp: its layers, and its heads unless an LSTM has them
  kLstmForward,   // with its heads
  kHeadsForward,
  kAutogradForward,  // of networks without kernels of our own: all of the above at once
  kSampleActions,
  kSend,
  kWaitForEnvironment,
  kRecordStep,
  kReturns,
  kLoss,
  kLstmBackward,  // with its heads
  kHeadsBackward,
  kFcWeightGradient,
  kFcInputGradient,
  kDenseBackward,  // of an mlp: its layers, and its heads unless an LSTM has them
  kConv1WeightGradient,
  kConv2WeightGradient,
  kConv3WeightGradient,
  kConv1InputGradient,  // none: an observation needs no gradient
  kConv2InputGradient,
  kConv3InputGradient,
  kUnpackGradients,  // into the order of the flat vector
  kAutogradBackward,
  kClip,
  kPush,
  kNumStages
};

const char* stage_name(int stage);

// One worker's, one thread at a time.
struct StageClock {
  int64_t nanoseconds[kNumStages];
  int64_t last;  // when the last lap ended
};

void start(StageClock& clock);
// The time since the last lap, or since start(), was this stage's.
void lap(StageClock& clock, Stage stage);

}  // namespace a3c

// Our kernels against LibTorch's autograd, which is the definition, on images that bring no unit to the corner of its
// ReLU. test_model.py has what differs there.
#include "model/kernels/conv_net.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "model/kernels/dispatch.h"
#include "network_pair.h"

namespace {

template <typename Body>
void for_each_isa(Body body) {
  for_each_isa_of(a3c::Precision::fp32, {"avx2", "avx512"}, body);
}

TEST(paper_equals_libtorch) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::paper, 6, 3, 6, 1);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_gradients(pair.samples_of(0, 3));  // the same activations again, for some of the environments
    pair.compare_gradients(pair.samples_of(3, 3));
    pair.compare_gradients(pair.samples_of(5, 1));
  });
}

TEST(nature_equals_libtorch) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::nature, 18, 2, 4, 2);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 4));
    pair.compare_gradients(pair.samples_of(2, 2));
  });
}

TEST(more_samples_than_a_block) {
  for_each_isa([] {
    Pair pair(a3c::ModelKind::paper, 4, 18, 5, 7);  // 90, and dense.inc works on 80 at a time, evaluate() on 64
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 5));
    pair.compare_evaluation(pair.samples_of(0, 5));
  });
}

TEST(a_rollout_is_evaluated_again) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 3, 6, 6);
    pair.compare_forward();
    pair.compare_evaluation(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(3, 3));
    pair.compare_evaluation(pair.samples_of(5, 1));
    pair.compare_evaluation({17, 4, 9, 0, 8, 11, 2, 16});  // of any environment and step
  }
}

TEST(with_an_lstm) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 4, 6, 10, 32);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_gradients(pair.samples_of(2, 3));
    pair.compare_evaluation(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(3, 2));
    pair.compare_evaluation({5, 0, 11, 6, 17, 12, 23, 18});  // environments 5 and 0
  }
}

TEST(more_samples_than_a_block_with_an_lstm) {
  Pair pair(a3c::ModelKind::paper, 4, 18, 5, 7, 16);
  pair.compare_forward();
  pair.compare_evaluation(pair.samples_of(0, 5));
}

// What a rollout ends with is what the next one begins with, whatever was evaluated in between.
TEST(the_memory_of_acting_is_carried) {
  Pair pair(a3c::ModelKind::paper, 6, 4, 3, 9, 16);
  pair.compare_forward();
  a3c::Recurrence& recurrence = pair.fast->recurrence();
  const std::vector<float> last(recurrence.state(4), recurrence.state(5));
  pair.compare_evaluation(pair.samples_of(0, 3));
  recurrence.carry(4);
  CHECK(last == std::vector<float>(recurrence.state(0), recurrence.state(1)));
}

TEST(one_environment_and_one_step) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 3, 1, 1, 3);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 1));
  }
}

TEST(nothing_is_left_of_the_rollout_before) {
  Pair pair(a3c::ModelKind::paper, 4, 2, 17, 4);
  for (int i = 0; i < 2; ++i) {
    for (uint8_t& byte : pair.observations) byte = static_cast<uint8_t>(pair.random());
    for (int64_t j = 0; j < pair.torch.size(); ++j) pair.torch.parameters()[j] *= 0.9f;
    pair.load();
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 17));
  }
}

TEST(scaled_observations) {
  for (const auto kind : {a3c::ModelKind::paper, a3c::ModelKind::nature}) {
    Pair pair(kind, 6, 2, 6, 12, 0, 2.5);
    pair.compare_forward();
    pair.compare_gradients(pair.samples_of(0, 6));
    pair.compare_evaluation(pair.samples_of(2, 3));
  }
}

TEST(black_and_white_images) {
  Pair pair(a3c::ModelKind::paper, 6, 1, 2, 5);
  std::fill(pair.observations.begin(), pair.observations.end(), 255);
  std::fill_n(pair.observations.begin(), Pair::kBytes, 0);
  pair.compare_forward();
}

TEST(only_what_it_was_written_for_is_supported) {
  const a3c::ModelConfig config = image_config(a3c::ModelKind::paper, 6);
  CHECK(a3c::ConvNet::supports(config));
  const auto unlike = [&](const std::function<void(a3c::ModelConfig&)>& change) {
    a3c::ModelConfig other = config;
    change(other);
    CHECK(!a3c::ConvNet::supports(other));
  };
  unlike([](a3c::ModelConfig& c) { c.observation.array_shape = {3, 84, 84}; });
  unlike([](a3c::ModelConfig& c) { c.observation.array_type = a3c::ElementType::float32; });
  unlike([](a3c::ModelConfig& c) { c.observation.num_features = 1; });
  unlike([](a3c::ModelConfig& c) { c.num_log_std = 3; });
  unlike([](a3c::ModelConfig& c) { c.kind = a3c::ModelKind::small; });
  unlike([](a3c::ModelConfig& c) {
    c.kind = a3c::ModelKind::mlp;
    c.hidden_sizes = {64};
  });
}

TEST(the_environment_variable_chooses) {
  const struct Unset {
    ~Unset() { unsetenv("A3C_FAST_ISA"); }
  } unset;
  setenv("A3C_FAST_ISA", "libtorch", 1);
  CHECK(a3c::best_kernels(a3c::Precision::fp32) == nullptr);
  setenv("A3C_FAST_ISA", "sse", 1);
  CHECK_THROWS(a3c::best_kernels(a3c::Precision::fp32),
               "the kernels that A3C_FAST_ISA may name are amx, avx512_bf16, avx512, avx2, libtorch");
  CHECK_THROWS(a3c::check_chosen_kernels(), "the kernels that A3C_FAST_ISA may name are amx");
  setenv("A3C_FAST_ISA", "", 1);
  a3c::check_chosen_kernels();
  a3c::best_kernels(a3c::Precision::fp32);
  if (!a3c::has_kernels()) return;  // portable_test.cc has what is said then
  setenv("A3C_FAST_ISA", "avx2", 1);
  CHECK(a3c::best_kernels(a3c::Precision::fp32) != nullptr);
  CHECK_THROWS(a3c::best_kernels(a3c::Precision::bf16), "avx2 computes in fp32 and not in bf16");
  CHECK(a3c::best_kernels(a3c::Precision::automatic) != nullptr);
}

}  // namespace

// Balances CartPole with an exported policy: no Python, only LibTorch.
//
//     a3c-fast train --env-id CartPole-v1 --run-dir runs/cartpole --total-steps 400000
//     a3c-fast export runs/cartpole --format aoti --output cartpole.pt2
//     build/cpp_player/cpp_player cartpole.pt2
//
// The policy is not recurrent: its inputs are the observations float32 [N, 4], its outputs logits [N, 2] and value [N].
// All episodes are played together, N = 10 at first and fewer as they end.

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <exception>
#include <numbers>
#include <random>
#include <vector>

namespace {

constexpr int kEpisodes = 10;
constexpr int kMostSteps = 500;  // CartPole-v1 ends there

// The cart and the pole of Barto, Sutton and Anderson 1983, with the constants and the Euler steps of gymnasium.
struct CartPole {
  float x, x_dot, theta, theta_dot;

  explicit CartPole(std::mt19937& random) {
    std::uniform_real_distribution<float> start(-0.05F, 0.05F);
    x = start(random), x_dot = start(random), theta = start(random), theta_dot = start(random);
  }

  std::array<float, 4> observation() const { return {x, x_dot, theta, theta_dot}; }

  // Pushes to the left (0) or right (1); whether the pole still stands and the cart is on the track.
  bool step(int64_t action) {
    constexpr float kGravity = 9.8F, kPoleMass = 0.1F, kMass = 1.0F + kPoleMass, kHalfLength = 0.5F, kForce = 10.0F,
                    kSeconds = 0.02F;
    const float sine = std::sin(theta), cosine = std::cos(theta);
    const float force = action == 1 ? kForce : -kForce;
    const float push = (force + kPoleMass * kHalfLength * theta_dot * theta_dot * sine) / kMass;
    const float theta_acceleration =
        (kGravity * sine - cosine * push) / (kHalfLength * (4.0F / 3.0F - kPoleMass * cosine * cosine / kMass));
    const float x_acceleration = push - kPoleMass * kHalfLength * theta_acceleration * cosine / kMass;
    x += kSeconds * x_dot;
    x_dot += kSeconds * x_acceleration;
    theta += kSeconds * theta_dot;
    theta_dot += kSeconds * theta_acceleration;
    return std::abs(x) <= 2.4F && std::abs(theta) <= 12 * 2 * std::numbers::pi_v<float> / 360;
  }
};

void play(const char* path) {
  const c10::InferenceMode inference;
  torch::inductor::AOTIModelPackageLoader policy(path);
  const auto facts = policy.get_metadata();
  if (const auto ours = facts.find("a3c_fast"); ours != facts.end()) std::printf("%s\n", ours->second.c_str());

  std::mt19937 random(1);
  torch::manual_seed(1);
  std::vector<CartPole> carts;
  for (int i = 0; i < kEpisodes; ++i) carts.emplace_back(random);

  double total = 0;
  for (int step = 1; !carts.empty(); ++step) {
    const auto count = static_cast<int64_t>(carts.size());
    auto observations = torch::empty({count, 4});
    for (int64_t i = 0; i < count; ++i) {
      const auto numbers = carts[i].observation();
      std::copy(numbers.begin(), numbers.end(), observations.data_ptr<float>() + 4 * i);
    }
    const auto logits = policy.run({observations}).at(0);
    const auto actions = logits.softmax(1).multinomial(1).squeeze(1);
    std::vector<CartPole> standing;
    for (int64_t i = 0; i < count; ++i) {
      if (carts[i].step(actions[i].item<int64_t>()) && step < kMostSteps) {
        standing.push_back(carts[i]);
      } else {
        std::printf("return %d\n", step);
        total += step;
      }
    }
    carts = std::move(standing);
  }
  std::printf("mean return of %d episodes: %.1f\n", kEpisodes, total / kEpisodes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: cpp_player POLICY.pt2\n");
    return 2;
  }
  try {
    play(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}

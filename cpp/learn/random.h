// The random numbers of one worker: SplitMix64 (Steele, Lea and Flood 2014), 64 bits of state that a checkpoint keeps.
#pragma once

#include <cstdint>

namespace a3c {

class Random {
 public:
  explicit Random(uint64_t state = 0) : state_(state) {}

  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  float uniform() { return static_cast<float>(next() >> 40) * 0x1p-24f; }  // in [0, 1), 24 bits

  // In [0, bound), bound > 0. The remainder favours small numbers by less than bound / 2^64.
  uint64_t below(uint64_t bound) { return next() % bound; }

  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

// The streams of a run's workers: each begins at a hashed place of SplitMix64's one sequence of 2^64 numbers.
inline Random worker_random(uint64_t seed, uint64_t worker) {
  return Random(Random(seed).next() + Random(~worker).next());
}

}  // namespace a3c

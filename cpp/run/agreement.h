// What the hosts of a run agree on, and what this one has done since: how several engines train one network.
//
// theta_ref is the same on every host, to the last bit. While the workers go on, a host takes d = theta - theta_ref;
// the hosts add up what they have taken, which is none of this file's business; and then each has
//
//     theta_ref <- theta_ref + total,    theta <- theta + (total - d),
//
// element by element and racy like any push. What the workers have learned since d was taken is in theta, and in the
// next d. Counts, and the moments of the normalizer, go the same way. No worker waits for any of it.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "learn/normalizer.h"
#include "run/worker.h"

namespace a3c {

class Agreement {
 public:
  // Agreed is what is there now.
  explicit Agreement(Shared& shared);

  // Of an array of counts: steps, updates, episodes and skipped updates, and then of observations [F] and of returns
  // [1] each the count, F means and F squares. Where it is a difference it has of the moments the sums of (x - mean)
  // and of (x - mean)^2 around the means that are agreed on.
  int64_t num_counts() const;

  // Agreed is again what is there now; no worker runs.
  void begin();
  // Any thread may call these. What this host has done since the agreement: difference [num_parameters].
  void take(float* difference, double* counts);
  // What the hosts have done together, with what this one has taken among it, becomes part of the agreement.
  void add(const float* total, const double* counts);
  // What was taken has reached nobody: it will be taken again.
  void give_back();
  // Another agreement, one that this host has missed, takes the place of this one. What was taken last is part of it,
  // or is dropped; what has been done after that is kept.
  void adopt(const float* agreed, const double* counts);
  void read(float* agreed, double* counts);

 private:
  struct Counts {
    explicit Counts(int64_t num_features) : moments(num_features) {}
    double steps = 0, updates = 0, episodes = 0, skipped_updates = 0;
    Normalization moments;

    void write(double* counts) const;
    void read(const double* counts);
  };
  Counts now() const;
  void become(std::vector<float> agreed, const Counts& counts);  // with mutex_ held

  Shared& shared_;
  std::mutex mutex_;
  std::vector<float> agreed_;  // guarded by mutex_: theta_ref
  Counts agreed_counts_;       // guarded by mutex_
  std::vector<float> taken_;   // guarded by mutex_: d, or 0
  Counts taken_counts_;        // guarded by mutex_: as a difference
};

}  // namespace a3c

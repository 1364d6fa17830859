// What a thread is set to before it computes. LibTorch's intra-op threads: one inside workers, which are the
// parallelism themselves.
#pragma once

namespace a3c {

// While any of these lives, new threads run LibTorch on one thread each; the last one restores what was before.
class SingleThreadedTorch {
 public:
  SingleThreadedTorch();
  ~SingleThreadedTorch();
  SingleThreadedTorch(const SingleThreadedTorch&) = delete;
  SingleThreadedTorch& operator=(const SingleThreadedTorch&) = delete;
};

// For the calling thread; every worker calls it first, since the setting is partly thread-local.
void use_one_torch_thread();
int torch_threads();

// For the calling thread: what is too small for a normal float is 0. Adam's first moment of a dead weight halves with
// every seventh update and stays at the smallest denormal for ever, and Intel's cores need microcode for each.
void flush_denormals();

}  // namespace a3c

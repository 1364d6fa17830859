// What a thread is set to before it computes. LibTorch's intra-op threads: one inside workers, which are the
// parallelism themselves.
#pragma once

namespace a3c {

// While any of these lives, the threads that made them and new ones run LibTorch on one thread each; the last one
// restores what was before. The setting is partly thread-local: when the last one ends in another thread, a thread that
// made one must call restore_torch_threads().
class SingleThreadedTorch {
 public:
  SingleThreadedTorch();
  ~SingleThreadedTorch();
  SingleThreadedTorch(const SingleThreadedTorch&) = delete;
  SingleThreadedTorch& operator=(const SingleThreadedTorch&) = delete;
};

// For the calling thread, what it had before its first SingleThreadedTorch. Does nothing while any lives.
void restore_torch_threads();

// For the calling thread; every worker calls it first.
void use_one_torch_thread();
int torch_threads();

// For the calling thread: what is too small for a normal float is 0. Adam's first moment of a dead weight halves with
// every seventh update and stays at the smallest denormal for ever, and Intel's cores need microcode for each.
void flush_denormals();

}  // namespace a3c

// What LibTorch is set to before it computes for us. What belongs to a thread is set for that thread alone; what
// belongs to the process is put back, so that the program around us keeps what it had. This header knows no torch: it
// may be included anywhere.
#pragma once

#include <functional>
#include <memory>

namespace a3c {

// For the calling thread, and no other: LibTorch, OpenMP and MKL compute on one thread. Every worker calls it first:
// workers are the parallelism themselves. (at::set_num_threads would do it for all new threads of the program, too.)
void use_one_torch_thread();
int torch_threads();

// Calls `body` in a thread of its own that computes on one thread, waits for it, and throws what it throws: what `body`
// makes is the same whatever the calling thread has been set to.
void call_in_a_thread(const std::function<void()>& body);

// While it lives, LibTorch computes in this thread as in a new one, whatever the program has set for the thread: no
// inference mode, no_grad, autocast, default device, functorch transform or Python mode. They end in the reverse order
// of their beginning. Workers need none: their threads are new.
class NewThreadTorch {
 public:
  NewThreadTorch();
  ~NewThreadTorch();
  NewThreadTorch(const NewThreadTorch&) = delete;
  NewThreadTorch& operator=(const NewThreadTorch&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// While any of these lives, oneDNN computes float32 as float32, and is used. Both are settings of the whole process,
// which torch.set_float32_matmul_precision and torch.backends.mkldnn change: the last one puts them back, where nobody
// has changed them since; so does the child of a fork. From any thread.
class ExactFloat32 {
 public:
  ExactFloat32();
  ~ExactFloat32();
  ExactFloat32(const ExactFloat32&) = delete;
  ExactFloat32& operator=(const ExactFloat32&) = delete;
};

// Before threads compute gradients. In the child of a fork LibTorch makes its autograd engine anew at the first use,
// and two threads that come to it at once free it twice. From any thread.
void renew_autograd();

// For the calling thread: what is too small for a normal float is 0. Adam's first moment of a dead weight halves with
// every seventh update and stays at the smallest denormal for ever, and Intel's cores need microcode for each.
void flush_denormals();

}  // namespace a3c

#include "model/threads.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <mutex>

namespace a3c {
namespace {

std::mutex g_mutex;
int g_users = 0;                  // guarded by g_mutex
int g_previous = 1;               // guarded by g_mutex: of the thread that made the first one
thread_local int t_previous = 0;  // of this thread, while it is set to one; else 0

// With g_mutex held and no user.
void restore(int previous) {
  at::set_num_threads(previous);
  t_previous = 0;
}

}  // namespace

SingleThreadedTorch::SingleThreadedTorch() {
  const std::lock_guard lock(g_mutex);
  if (t_previous == 0) t_previous = at::get_num_threads();
  if (g_users++ == 0) g_previous = t_previous;
  at::set_num_threads(1);
}

SingleThreadedTorch::~SingleThreadedTorch() {
  const std::lock_guard lock(g_mutex);
  if (--g_users == 0) restore(t_previous > 0 ? t_previous : g_previous);
}

void restore_torch_threads() {
  const std::lock_guard lock(g_mutex);
  if (g_users == 0 && t_previous > 0) restore(t_previous);
}

void use_one_torch_thread() {
  at::set_num_threads(1);
}
int torch_threads() {
  return at::get_num_threads();
}

void flush_denormals() {
  at::globalContext().setFlushDenormal(true);
}

}  // namespace a3c

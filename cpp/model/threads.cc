#include "model/threads.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <mutex>

namespace a3c {
namespace {

std::mutex g_mutex;
int g_users = 0;     // guarded by g_mutex
int g_previous = 1;  // guarded by g_mutex

}  // namespace

SingleThreadedTorch::SingleThreadedTorch() {
  const std::lock_guard lock(g_mutex);
  if (g_users++ > 0) return;
  g_previous = at::get_num_threads();
  at::set_num_threads(1);
}

SingleThreadedTorch::~SingleThreadedTorch() {
  const std::lock_guard lock(g_mutex);
  if (--g_users == 0) at::set_num_threads(g_previous);
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

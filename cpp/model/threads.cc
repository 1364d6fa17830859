#include "model/threads.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <dlfcn.h>
#include <pthread.h>
#include <torch/csrc/autograd/engine.h>

#include <array>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>

namespace a3c {
namespace {

using at::Float32Backend, at::Float32Op, at::Float32Precision;
constexpr std::array kOperations{Float32Op::MATMUL, Float32Op::CONV};
std::mutex g_mutex;
int g_exact_users = 0;                                                   // guarded by g_mutex, like all that follows
bool g_without_onednn = false;                                           // before the first of them
std::array<Float32Precision, kOperations.size()> g_previous_precisions;  // to put back; IEEE: nothing

Float32Precision precision_of(Float32Op operation) {
  return at::globalContext().float32Precision(Float32Backend::MKLDNN, operation);
}

bool is_exact(Float32Precision precision) {
  return precision == Float32Precision::IEEE || precision == Float32Precision::NONE ||
         precision == Float32Precision::DEFAULT;
}

// What a thread starts with.
const at::ThreadLocalState& state_of_a_new_thread() {
  static const at::ThreadLocalState* const state = [] {
    std::unique_ptr<at::ThreadLocalState> found;
    std::thread([&] { found = std::make_unique<at::ThreadLocalState>(); }).join();
    return found.release();  // never freed: what ends with the process needs no order
  }();
  return *state;
}

// With g_mutex held and no user.
void put_back() {
  at::Context& context = at::globalContext();
  if (g_without_onednn) context.setUserEnabledMkldnn(false);
  for (size_t i = 0; i < kOperations.size(); ++i)
    if (g_previous_precisions[i] != Float32Precision::IEEE && precision_of(kOperations[i]) == Float32Precision::IEEE)
      context.setFloat32Precision(Float32Backend::MKLDNN, kOperations[i], g_previous_precisions[i]);
}

// The users are threads that the child of a fork does not have, and one of them could have held the mutex.
const int g_registered = pthread_atfork(nullptr, nullptr, [] {
  new (&g_mutex) std::mutex;
  if (std::exchange(g_exact_users, 0) > 0) put_back();
});

// Sets a number of threads for the calling thread; null where LibTorch was built without that library, which then has
// no threads to be set. Its headers are no part of LibTorch's.
template <typename Function>
Function* in_libtorch(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

}  // namespace

void use_one_torch_thread() {
  static auto* const set_openmp = in_libtorch<void(int)>("omp_set_num_threads");
  static auto* const set_mkl = in_libtorch<int(int)>("MKL_Set_Num_Threads_Local");
  at::get_num_threads();  // LibTorch sets up a thread at its first use, and would do it over ours
  if (set_openmp != nullptr) set_openmp(1);
  if (set_mkl != nullptr) set_mkl(1);
}

int torch_threads() {
  return at::get_num_threads();
}

void call_in_a_thread(const std::function<void()>& body) {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      use_one_torch_thread();
      body();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

struct NewThreadTorch::Impl {
  at::ThreadLocalStateGuard guard{state_of_a_new_thread()};
};

NewThreadTorch::NewThreadTorch() : impl_(std::make_unique<Impl>()) {}
NewThreadTorch::~NewThreadTorch() = default;

ExactFloat32::ExactFloat32() {
  const std::lock_guard lock(g_mutex);
  if (g_exact_users++ > 0) return;
  at::Context& context = at::globalContext();
  g_without_onednn = !context.userEnabledMkldnn();
  if (g_without_onednn) context.setUserEnabledMkldnn(true);
  // What is inherited from the setting for all operations goes on being so.
  const Float32Precision inherited = precision_of(Float32Op::ALL);
  for (size_t i = 0; i < kOperations.size(); ++i) {
    const Float32Precision found = precision_of(kOperations[i]);
    g_previous_precisions[i] = is_exact(found)      ? Float32Precision::IEEE
                               : found == inherited ? Float32Precision::NONE
                                                    : found;
    if (!is_exact(found)) context.setFloat32Precision(Float32Backend::MKLDNN, kOperations[i], Float32Precision::IEEE);
  }
}

ExactFloat32::~ExactFloat32() {
  const std::lock_guard lock(g_mutex);
  if (g_exact_users == 0) return;  // in the child of a fork, which has put them back
  if (--g_exact_users == 0) put_back();
}

void renew_autograd() {
  const std::lock_guard lock(g_mutex);
  torch::autograd::Engine::get_default_engine();
}

void flush_denormals() {
  at::globalContext().setFlushDenormal(true);
}

}  // namespace a3c

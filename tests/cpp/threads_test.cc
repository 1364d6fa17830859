// LibTorch's intra-op threads: one in the threads that ask, what the program has in all others.
#include "model/threads.h"

#include <dlfcn.h>

#include <stdexcept>
#include <thread>

#include "check.h"

namespace a3c {
namespace {

// Gives the calling thread `count` intra-op threads by way of LibTorch's OpenMP, whatever the number of cores.
void set_openmp_threads(int count) {
  torch_threads();  // LibTorch reads its setting once a thread, and must have done so before it is changed
  void* set = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  CHECK(set != nullptr);
  reinterpret_cast<void (*)(int)>(set)(count);
  CHECK_EQUAL(torch_threads(), count);
}

TEST(a_thread_that_asks_for_one_thread_has_one_and_no_other_notices) {
  set_openmp_threads(3);
  int asked = 0, new_thread = 0, before = 0;
  std::thread([&] { before = torch_threads(); }).join();
  std::thread([&] {
    use_one_torch_thread();
    asked = torch_threads();
    std::thread([&] { new_thread = torch_threads(); }).join();
  }).join();
  CHECK_EQUAL(asked, 1);
  CHECK_EQUAL(new_thread, before);
  CHECK_EQUAL(torch_threads(), 3);
}

TEST(a_call_in_a_thread_of_its_own_has_one_and_the_caller_keeps_its_own) {
  set_openmp_threads(3);
  int inside = 0;
  call_in_a_thread([&] { inside = torch_threads(); });
  CHECK_EQUAL(inside, 1);
  CHECK_EQUAL(torch_threads(), 3);
  CHECK_THROWS(call_in_a_thread([] { throw std::runtime_error("thrown there"); }), "thrown there");
}

TEST(denormals_are_flushed_in_the_thread_that_asks) {
  const volatile float smallest_normal = 1.17549435e-38f, denormal = 1e-40f;
  float result = 1, sum = 1;
  std::thread thread([&] {
    flush_denormals();
    result = smallest_normal * 0.5f;
    sum = denormal + denormal;
  });
  thread.join();
  CHECK_EQUAL(result, 0.0f);
  CHECK_EQUAL(sum, 0.0f);
  CHECK(smallest_normal * 0.5f > 0);
}

}  // namespace
}  // namespace a3c

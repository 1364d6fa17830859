// LibTorch's intra-op threads: one while a run is on, restored afterwards.
#include "model/threads.h"

#include <dlfcn.h>

#include <memory>
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

TEST(one_thread_while_it_lives_and_what_was_before_afterwards) {
  set_openmp_threads(3);
  {
    const SingleThreadedTorch single_threaded;
    CHECK_EQUAL(torch_threads(), 1);
  }
  CHECK_EQUAL(torch_threads(), 3);
}

TEST(the_last_of_several_restores) {
  set_openmp_threads(3);
  auto one = std::make_unique<SingleThreadedTorch>();
  auto two = std::make_unique<SingleThreadedTorch>();
  one.reset();
  CHECK_EQUAL(torch_threads(), 1);
  two.reset();
  CHECK_EQUAL(torch_threads(), 3);
}

TEST(a_thread_that_began_gets_back_what_it_had_though_another_ends) {
  set_openmp_threads(3);
  auto single_threaded = std::make_unique<SingleThreadedTorch>();
  int elsewhere = 0;
  std::thread thread([&] {
    set_openmp_threads(5);
    auto another = std::make_unique<SingleThreadedTorch>();
    CHECK_EQUAL(torch_threads(), 1);
    single_threaded.reset();
    CHECK_EQUAL(torch_threads(), 1);
    another.reset();
    elsewhere = torch_threads();
  });
  thread.join();
  CHECK_EQUAL(elsewhere, 5);
  CHECK_EQUAL(torch_threads(), 1);
  restore_torch_threads();
  CHECK_EQUAL(torch_threads(), 3);
  set_openmp_threads(2);
  restore_torch_threads();  // nothing is left to restore
  CHECK_EQUAL(torch_threads(), 2);
}

TEST(a_new_thread_has_one_and_may_ask_for_one) {
  set_openmp_threads(3);
  const SingleThreadedTorch single_threaded;
  int inherited = 0, asked = 0;
  std::thread thread([&] {
    inherited = torch_threads();
    use_one_torch_thread();
    asked = torch_threads();
  });
  thread.join();
  CHECK_EQUAL(inherited, 1);
  CHECK_EQUAL(asked, 1);
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

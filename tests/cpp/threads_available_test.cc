// Whether the system gives the threads that a run needs.
#include "run/threads_available.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>

#include "check.h"

namespace {
std::atomic<int> g_threads_left{1 << 30};  // how many the system still gives
}  // namespace

// Before the system's own: std::thread asks here.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*body)(void*), void* argument) {
  static const auto next = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  if (g_threads_left-- <= 0) return EAGAIN;
  return next(thread, attributes, body, argument);
}

namespace a3c {
namespace {

TEST(a_system_without_limits_gives_all) {
  for (const int count : {0, 1, 50}) CHECK_EQUAL(threads_available(count), count);
}

TEST(a_limit_is_told_and_nothing_stays_behind) {
  for (const int left : {0, 1, 7}) {
    g_threads_left = left;
    CHECK_EQUAL(threads_available(50), left);
  }
  g_threads_left = 1 << 30;
  CHECK_EQUAL(threads_available(50), 50);
}

}  // namespace
}  // namespace a3c

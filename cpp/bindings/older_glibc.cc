// Lets what is built on a newer C library load with glibc 2.28 and the libstdc++ of GCC 8, which is what manylinux_2_28
// and torch's own wheels ask for. Six functions that this extension calls have had a newer version since. Each is
// defined here, seen by the extension alone, and hands over to the version that all have; what comes with a newer one
// is named beside it. A build on glibc 2.28 itself (the manylinux_2_28 image) needs none of it.
#include <features.h>

#if defined(__x86_64__) && defined(__GLIBC_PREREQ) && __GLIBC_PREREQ(2, 29)
#include <pthread.h>
#include <time.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>

#define A3C_HIDDEN __attribute__((visibility("hidden")))
#define A3C_OLDER(name, older, version) __asm__(".symver " #name "," older "@" version)

extern "C" {

void* a3c_older_dlsym(void* handle, const char* name);
int a3c_older_pthread_once(pthread_once_t* once, void (*function)());
double a3c_older_pow(double base, double exponent);
void a3c_older_wait(std::condition_variable* changed, std::unique_lock<std::mutex>* lock);
// glibc 2.34 moved these two from libdl and libpthread into libc. Python and torch load both.
A3C_OLDER(a3c_older_dlsym, "dlsym", "GLIBC_2.2.5");
A3C_OLDER(a3c_older_pthread_once, "pthread_once", "GLIBC_2.2.5");
// 2.29 leaves errno to the caller: the same numbers.
A3C_OLDER(a3c_older_pow, "pow", "GLIBC_2.2.5");
// GCC 12 only promises that it throws nothing.
A3C_OLDER(a3c_older_wait, "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE", "GLIBCXX_3.4.11");

A3C_HIDDEN void* dlsym(void* handle, const char* name) noexcept {
  return a3c_older_dlsym(handle, name);
}

A3C_HIDDEN int pthread_once(pthread_once_t* once, void (*function)()) {
  return a3c_older_pthread_once(once, function);
}

A3C_HIDDEN double pow(double base, double exponent) noexcept {
  return a3c_older_pow(base, exponent);
}

A3C_HIDDEN void a3c_wait(std::condition_variable* changed, std::unique_lock<std::mutex>* lock) __asm__(
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE");
void a3c_wait(std::condition_variable* changed, std::unique_lock<std::mutex>* lock) {
  a3c_older_wait(changed, lock);
}

// 2.32: whether a shared_ptr may count without atomics. Beside workers it may not.
A3C_HIDDEN extern char __libc_single_threaded;
char __libc_single_threaded = 0;

// 2.30: a wait that setting the system's clock does not lengthen. Where there is none, as libstdc++ waits there.
A3C_HIDDEN int pthread_cond_clockwait(pthread_cond_t* changed, pthread_mutex_t* mutex, clockid_t clock,
                                      const timespec* end) {
  using Wait = int (*)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const timespec*);
  static const auto wait = reinterpret_cast<Wait>(a3c_older_dlsym(nullptr, "pthread_cond_clockwait"));
  if (wait) return wait(changed, mutex, clock, end);
  timespec now, real;
  clock_gettime(clock, &now);
  clock_gettime(CLOCK_REALTIME, &real);
  constexpr long kSecond = 1'000'000'000;  // in nanoseconds
  real.tv_sec += end->tv_sec - now.tv_sec;
  real.tv_nsec += end->tv_nsec - now.tv_nsec;
  if (real.tv_nsec < 0) real = {real.tv_sec - 1, real.tv_nsec + kSecond};
  if (real.tv_nsec >= kSecond) real = {real.tv_sec + 1, real.tv_nsec - kSecond};
  return pthread_cond_timedwait(changed, mutex, &real);
}

}  // extern "C"
#endif

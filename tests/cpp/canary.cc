// Faults that a sanitizer must report and end the program for; CMakeLists.txt says which report is expected.
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace {

int g_shared = 0;

void race() {
  const auto increment = [] {
    for (int i = 0; i < 1000; ++i) ++g_shared;
  };
  std::thread one(increment), two(increment);
  one.join();
  two.join();
}

void lock_order() {
  std::mutex first, second;
  const auto lock = [](std::mutex& a, std::mutex& b) {
    const std::lock_guard outer(a);
    const std::lock_guard inner(b);
  };
  lock(first, second);
  lock(second, first);
}

void overflow(volatile int* size) {
  const int* numbers = new int[static_cast<size_t>(*size)]{};
  g_shared = numbers[*size];
  delete[] numbers;
}

void leak(volatile int* size) {
  int* volatile lost = new int[static_cast<size_t>(*size)];
  lost = nullptr;
  static_cast<void>(lost);
}

void signed_overflow(volatile int* size) {
  g_shared = INT_MAX - 4 + *size;
}

void assertion(volatile int* size) {
  std::vector<int> numbers(static_cast<size_t>(*size));
  numbers.reserve(100);
  g_shared = numbers[50];  // within what was allocated
}

}  // namespace

int main(int, char** argv) {
  std::signal(SIGABRT, [](int) { std::_Exit(1); });  // ctest fails what aborts, whatever it has reported
  volatile int size = 10;
  const auto is = [&](const char* fault) { return !std::strcmp(argv[1], fault); };
  if (is("race")) race();
  if (is("lock_order")) lock_order();
  if (is("overflow")) overflow(&size);
  if (is("signed")) signed_overflow(&size);
  if (is("assertion")) assertion(&size);
  if (is("leak")) {
    leak(&size);
    return 0;  // which is reported at the end
  }
  std::puts("nothing stopped it");
  return 0;
}

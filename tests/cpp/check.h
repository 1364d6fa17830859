// The little that the C++ tests need of a framework: registered tests, checks that print what they saw, and main().
//
// A check that fails throws, which ends its test and not the program; the exit status is then 1. Checks belong on the
// thread of the test: in a worker the engine would keep the exception as that worker's failure.
#pragma once

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace a3c::check {

struct Failed {  // no std::exception, so that CHECK_THROWS does not take it for what it waits for
  std::string message;
};

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> registered;
  return registered;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

// Out of line and cold: hundreds of checks expand to a comparison and a call.
[[noreturn, gnu::noinline, gnu::cold]] inline void fail(const char* file, int line, const std::string& message) {
  throw Failed{std::string(file) + ":" + std::to_string(line) + ": " + message};
}

template <typename T>
[[gnu::noinline, gnu::cold]] std::string text_of(const T& value) {
  std::ostringstream text;
  text.precision(9);
  text << value;
  return text.str();
}

[[noreturn, gnu::noinline, gnu::cold]] inline void fail_equal(const char* file, int line, const char* expression,
                                                              const std::string& actual, const std::string& expected) {
  fail(file, line, std::string(expression) + " is " + actual + ", expected " + expected);
}

template <typename Actual, typename Expected>
void equal(const char* file, int line, const char* expression, const Actual& actual, const Expected& expected) {
  if (!(actual == expected)) fail_equal(file, line, expression, text_of(actual), text_of(expected));
}

// |actual - expected| <= tolerance; a NaN is close to nothing.
[[gnu::noinline]] inline void close(const char* file, int line, const char* expression, double actual, double expected,
                                    double tolerance) {
  if (!(std::abs(actual - expected) <= tolerance))
    fail_equal(file, line, expression, text_of(actual), text_of(expected) + " within " + text_of(tolerance));
}

[[gnu::noinline]] inline void throws(const char* file, int line, const char* expression, const char* part,
                                     const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    if (std::string(error.what()).find(part) == std::string::npos)
      fail(file, line, std::string(expression) + " threw \"" + error.what() + "\", expected \"" + part + "\" in it");
    return;
  }
  fail(file, line, std::string(expression) + " threw nothing, expected \"" + part + "\"");
}

// Seconds for whatever takes moments on an idle machine: a hang is found, and nothing depends on speed.
// A3C_TEST_PATIENCE says another number, for a machine that is busy with other things.
inline const double kPatience = std::getenv("A3C_TEST_PATIENCE") ? std::atof(std::getenv("A3C_TEST_PATIENCE")) : 600;

// Waits until `condition`, at most `seconds`; whether it came.
inline bool eventually(const std::function<bool()>& condition, double seconds = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Runs the tests whose name contains `part`; the number of those that failed, or -1 when there was none to run.
inline int run(const std::string& part) {
  int ran = 0, failed = 0;
  for (const Test& test : tests()) {
    if (std::string(test.name).find(part) == std::string::npos) continue;
    std::printf("%s\n", test.name);
    std::fflush(stdout);  // the last line tells where a test hangs or dies
    ++ran;
    std::string message;
    try {
      test.body();
      continue;
    } catch (const Failed& failure) {
      message = failure.message;
    } catch (const std::exception& error) {
      message = std::string("an exception that nothing expected: ") + error.what();
    }
    ++failed;
    std::printf("  FAILED %s\n", message.c_str());
  }
  std::printf("%d of %d tests failed\n", failed, ran);
  return ran > 0 ? failed : -1;
}

}  // namespace a3c::check

#define TEST(name)                                                    \
  static void name();                                                 \
  static const a3c::check::Registration register_##name(#name, name); \
  static void name()
#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) a3c::check::fail(__FILE__, __LINE__, #condition " is false"); \
  } while (false)
#define CHECK_EQUAL(actual, expected) a3c::check::equal(__FILE__, __LINE__, #actual, actual, expected)
#define CHECK_CLOSE(actual, expected, tolerance) \
  a3c::check::close(__FILE__, __LINE__, #actual, actual, expected, tolerance)
#define CHECK_THROWS(expression, part) \
  a3c::check::throws(__FILE__, __LINE__, #expression, part, [&] { static_cast<void>(expression); })

int main(int argc, char** argv) {
  return a3c::check::run(argc > 1 ? argv[1] : "") == 0 ? 0 : 1;
}

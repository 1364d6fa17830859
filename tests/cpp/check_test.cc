#include "check.h"

#include <limits>
#include <stdexcept>

namespace a3c {
namespace {

// The message with which `body` fails, empty when it passes.
std::string failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const check::Failed& failure) {
    return failure.message;
  }
  return {};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void refuse() {
  throw std::runtime_error("no entry today");
}

// Judged without the checks themselves: a broken one must not vouch for itself.
void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

TEST(checks_that_hold_pass) {
  require(failure_of([] {
            CHECK(1 < 2);
            CHECK_EQUAL(2 + 2, 4);
            CHECK_CLOSE(1.0, 1.1, 0.2);
            CHECK_THROWS(refuse(), "entry");
          }).empty(),
          "a true check failed");
}

TEST(checks_that_do_not_hold_fail_and_say_where) {
  const std::string plain = failure_of([] { CHECK(1 > 2); });
  require(contains(plain, "check_test.cc:") && contains(plain, "1 > 2 is false"), "CHECK");
  const std::string equal = failure_of([] { CHECK_EQUAL(2 + 2, 5); });
  require(contains(equal, "2 + 2 is 4, expected 5"), "CHECK_EQUAL");
  const std::string close = failure_of([] { CHECK_CLOSE(1.0, 1.5, 0.25); });
  require(contains(close, "1.0 is 1, expected 1.5 within 0.25"), "CHECK_CLOSE");
}

TEST(a_nan_is_close_to_nothing) {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  require(!failure_of([] { CHECK_CLOSE(nan, 1.0, 10.0); }).empty(), "NaN against a number");
  require(!failure_of([] { CHECK_CLOSE(1.0, nan, 10.0); }).empty(), "a number against NaN");
  require(!failure_of([] { CHECK_CLOSE(nan, nan, 10.0); }).empty(), "NaN against NaN");
}

TEST(check_throws_wants_an_exception_with_that_message) {
  require(contains(failure_of([] { CHECK_THROWS(refuse(), "exit"); }), "no entry today"), "another message");
  require(contains(failure_of([] { CHECK_THROWS(1 + 1, "exit"); }), "threw nothing"), "no exception");
  require(contains(failure_of([] { CHECK_THROWS(check::fail("file", 1, "inner"), "inner"); }), "inner"),
          "a failed check inside is not the exception that was waited for");
}

TEST(eventually_gives_up) {
  require(!check::eventually([] { return false; }, 0.01), "gives up");
  int calls = 0;
  require(check::eventually([&] { return ++calls == 3; }), "waits");
}

}  // namespace
}  // namespace a3c

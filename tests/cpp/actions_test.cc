#include "env/actions.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "check.h"
#include "configs.h"

namespace a3c {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

void check(const ActionSpec& spec, const std::vector<float>& action) {
  check_action(spec, action.data());
}

TEST(every_choice_is_an_action) {
  for (int choice = 0; choice < 4; ++choice) check(discrete({4}), {static_cast<float>(choice)});
  check(discrete({4, 1, 2}), {3, 0, 1});
}

TEST(what_is_no_choice_is_refused) {
  const char* message = " is no whole number from 0 to 3";
  for (const float action : {4.0f, -1.0f, 1e9f, -1e9f, 3.5f, 0.5f, -0.5f, 3.0001f, kNan, -kNan, kInf, -kInf})
    CHECK_THROWS(check(discrete({4}), {action}), message);
  CHECK_THROWS(check(discrete({4}), {4}), "action 4.000000 is no whole number from 0 to 3");
  check(discrete({4}), {-0.0f});  // which is the number 0
}

TEST(of_several_components_the_wrong_one_is_named) {
  const ActionSpec spec = discrete({4, 2, 3});
  CHECK_THROWS(check(spec, {4, 0, 0}), "action 4.000000 of component 0 is no whole number from 0 to 3");
  CHECK_THROWS(check(spec, {3, 2, 0}), "action 2.000000 of component 1 is no whole number from 0 to 1");
  CHECK_THROWS(check(spec, {3, 1, kNan}), " of component 2 is no whole number from 0 to 2");
  CHECK_THROWS(check(continuous({-1, -1}, {1, 1}), {0, kNan}), " of component 1 is not finite");
}

TEST(every_finite_number_is_a_continuous_action) {
  for (const float action : {0.0f, 0.3f, -17.5f, 1e30f, -1e30f, std::numeric_limits<float>::denorm_min()})
    check(continuous({-1}, {1}), {action});
  for (const float action : {kNan, kInf, -kInf}) {
    CHECK_THROWS(check(continuous({-1}, {1}), {action}), " is not finite");
    CHECK_THROWS(check(continuous({-kInf}, {kInf}), {action}), " is not finite");
  }
}

TEST(choices_reach_the_environment_as_they_are) {
  const ActionSpec spec = discrete({4, 300});
  for (int choice = 0; choice < 4; ++choice) CHECK_EQUAL(to_environment(spec, 0, static_cast<float>(choice)), choice);
  CHECK_EQUAL(to_environment(spec, 1, 299), 299);
}

TEST(between_two_bounds_the_policys_units_are_half_widths_from_the_middle) {
  const ActionSpec spec = continuous({-1, -2, 0, 5}, {1, 2, 10, 6});
  for (const float u : {-1.0f, -0.5f, 0.0f, 0.25f, 1.0f}) {
    CHECK_CLOSE(to_environment(spec, 0, u), u, 1e-12);
    CHECK_CLOSE(to_environment(spec, 1, u), 2 * u, 1e-12);
    CHECK_CLOSE(to_environment(spec, 2, u), 5 + 5 * u, 1e-12);  // bounds that are not around 0
    CHECK_CLOSE(to_environment(spec, 3, u), 5.5 + 0.5 * u, 1e-12);
  }
}

TEST(beyond_the_bounds_an_action_is_cut) {
  const ActionSpec spec = continuous({-1, 0}, {1, 10});
  for (const float u : {1.001f, 2.0f, 1e30f}) {
    CHECK_EQUAL(to_environment(spec, 0, u), 1.0);
    CHECK_EQUAL(to_environment(spec, 0, -u), -1.0);
    CHECK_EQUAL(to_environment(spec, 1, u), 10.0);
    CHECK_EQUAL(to_environment(spec, 1, -u), 0.0);
  }
}

TEST(with_one_bound_or_none_the_units_are_the_environments_own) {
  const ActionSpec spec = continuous({-kInf, 3, -kInf}, {kInf, kInf, -2});
  for (const float u : {-1e30f, -7.5f, 0.0f, 0.5f, 7.5f, 1e30f}) {
    CHECK_EQUAL(to_environment(spec, 0, u), double{u});
    CHECK_EQUAL(to_environment(spec, 1, u), std::max(double{u}, 3.0));
    CHECK_EQUAL(to_environment(spec, 2, u), std::min(double{u}, -2.0));
  }
}

// Some environments have all numbers for bounds: their width is no float.
TEST(the_widest_bounds_do_not_overflow) {
  constexpr float kMax = std::numeric_limits<float>::max();
  const ActionSpec spec = continuous({-kMax}, {kMax});
  CHECK_EQUAL(to_environment(spec, 0, 1), double{kMax});
  CHECK_EQUAL(to_environment(spec, 0, -3), -double{kMax});
  CHECK_EQUAL(to_environment(spec, 0, 0), 0.0);
}

}  // namespace
}  // namespace a3c

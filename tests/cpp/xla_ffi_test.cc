// The frames that handlers get, and what becomes of what they answer.
#include "env/envpool/xla_ffi.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "handlers.h"

namespace a3c::xla {
namespace {

// What the handlers below saw and shall do; they are plain functions, so it is global.
struct {
  int major, minor;
  const char* probe_error;
  const char* call_error;
  int probes, calls;
  CallFrame probe, call;
} g;

Error* handler(CallFrame* frame) {
  if (answer_probe(frame, g.major, g.minor)) {
    ++g.probes;
    g.probe = *frame;
    return g.probe_error ? report_error(frame, g.probe_error) : nullptr;
  }
  ++g.calls;
  g.call = *frame;
  return g.call_error ? report_error(frame, g.call_error) : nullptr;
}

Error* handler_deaf_to_probes(CallFrame*) {
  return nullptr;
}

Error* handler_with_a_null_message(CallFrame* frame) {
  return answer_probe(frame, 0, 3) ? nullptr : report_error(frame, nullptr);
}

// Reads its own error back and takes it away again, as a handler may that recovers.
Error* handler_that_recovers(CallFrame* frame) {
  if (answer_probe(frame, 0, 3)) return nullptr;
  Error* error = report_error(frame, "not so bad");
  ErrorGetMessageArgs get{sizeof(ErrorGetMessageArgs), nullptr, error, nullptr};
  frame->api->error_get_message(&get);
  const bool same = get.message && !std::strcmp(get.message, "not so bad");
  ErrorDestroyArgs destroy{sizeof(ErrorDestroyArgs), nullptr, error};
  frame->api->error_destroy(&destroy);
  return same ? nullptr : report_error(frame, "the message was lost");
}

void reset(int major = 0, int minor = 3) {
  g = {};
  g.major = major;
  g.minor = minor;
}

Call make_call(Handler* function) {
  return Call("recv", function, 1, {}, {});
}

TEST(the_probe_is_an_empty_frame_with_a_metadata_extension) {
  reset();
  make_call(handler);
  CHECK_EQUAL(g.probes, 1);
  CHECK_EQUAL(g.calls, 0);
  CHECK_EQUAL(g.probe.struct_size, size_t{168});
  CHECK(g.probe.stage == kStageExecute);
  CHECK_EQUAL(g.probe.args.size, 0);
  CHECK_EQUAL(g.probe.rets.size, 0);
  CHECK_EQUAL(g.probe.attrs.size, 0);
  CHECK_EQUAL(g.probe.args.struct_size, sizeof(Args));
  CHECK_EQUAL(g.probe.rets.struct_size, sizeof(Rets));
  CHECK_EQUAL(g.probe.attrs.struct_size, sizeof(Attrs));
}

TEST(versions_0_1_to_0_3_are_spoken_and_the_call_carries_the_handlers_own) {
  for (int minor = 1; minor <= 3; ++minor) {
    reset(0, minor);
    Call call("recv", handler, 1, {}, {});
    call();
    CHECK_EQUAL(g.calls, 1);
    CHECK_EQUAL(g.call.api->api_version.major_version, 0);
    CHECK_EQUAL(g.call.api->api_version.minor_version, minor);
    CHECK_EQUAL(g.call.api->struct_size, sizeof(Api));
  }
}

TEST(other_versions_are_refused_by_name) {
  const std::array<std::array<int, 2>, 5> versions{{{0, 0}, {0, 4}, {1, 0}, {1, 3}, {-1, 1}}};
  for (const auto& [major, minor] : versions) {
    reset(major, minor);
    const std::string named = "recv handler speaks XLA FFI " + std::to_string(major) + "." + std::to_string(minor);
    CHECK_THROWS(make_call(handler), named.c_str());
    CHECK_EQUAL(g.calls, 0);
  }
}

TEST(a_handler_that_does_not_answer_the_probe_is_refused) {
  CHECK_THROWS(make_call(handler_deaf_to_probes), "speaks XLA FFI -1.");
}

TEST(an_error_at_the_probe_is_thrown_with_its_message) {
  reset();
  g.probe_error = "Invalid XLA_FFI_CallFrame size";
  CHECK_THROWS(make_call(handler), "EnvPool's recv handler failed: Invalid XLA_FFI_CallFrame size");
}

TEST(the_frame_holds_the_operands_in_order_and_the_handle) {
  reset();
  int64_t handle_in = 0, handle_out = 0;
  std::vector<int32_t> actions(6);
  std::vector<float> rewards(3);
  const int64_t handle = 0x123456789abcdef;
  Call call("send", handler, handle, {{kU8, {8}, &handle_in}, {kS32, {3, 2}, actions.data()}},
            {{kU8, {8}, &handle_out}, {kF32, {3}, rewards.data()}});
  call();
  CHECK_EQUAL(g.call.struct_size, size_t{168});
  CHECK(g.call.extension_start == nullptr);
  CHECK(g.call.stage == kStageExecute);

  CHECK_EQUAL(g.call.args.size, 2);
  CHECK_EQUAL(g.call.rets.size, 2);
  for (int i = 0; i < 2; ++i) {
    CHECK(g.call.args.types[i] == kArgBuffer);
    CHECK(g.call.rets.types[i] == kRetBuffer);
    CHECK_EQUAL(argument(&g.call, i).struct_size, sizeof(Buffer));
    CHECK_EQUAL(result(&g.call, i).struct_size, sizeof(Buffer));
  }
  CHECK(argument(&g.call, 0).data == &handle_in);
  CHECK(argument(&g.call, 0).dtype == kU8);
  const Buffer& action = argument(&g.call, 1);
  CHECK(action.data == actions.data());
  CHECK(action.dtype == kS32);
  CHECK_EQUAL(action.rank, 2);
  CHECK_EQUAL(action.dims[0], 3);
  CHECK_EQUAL(action.dims[1], 2);
  CHECK(result(&g.call, 0).data == &handle_out);
  CHECK(result(&g.call, 1).data == rewards.data());
  CHECK(result(&g.call, 1).dtype == kF32);
  CHECK_EQUAL(result(&g.call, 1).rank, 1);
  CHECK_EQUAL(result(&g.call, 1).dims[0], 3);

  CHECK_EQUAL(g.call.attrs.size, 1);
  CHECK(g.call.attrs.types[0] == kAttrScalar);
  CHECK_EQUAL(std::string(g.call.attrs.names[0]->ptr, g.call.attrs.names[0]->len), "handle");
  const auto* scalar = static_cast<const Scalar*>(g.call.attrs.attrs[0]);
  CHECK(scalar->dtype == kS64);
  CHECK_EQUAL(*static_cast<const int64_t*>(scalar->value), handle);
}

TEST(set_result_moves_one_buffer) {
  reset();
  float first = 0, second = 0, elsewhere = 0;
  Call call("recv", handler, 1, {}, {{kF32, {1}, &first}, {kF32, {1}, &second}});
  call.set_result(1, &elsewhere);
  call();
  CHECK(result(&g.call, 0).data == &first);
  CHECK(result(&g.call, 1).data == &elsewhere);
  CHECK_EQUAL(result(&g.call, 1).dims[0], 1);
}

TEST(an_error_of_a_call_is_thrown_and_the_call_can_be_made_again) {
  reset();
  Call call("send", handler, 1, {}, {});
  for (int round = 0; round < 3; ++round) {
    g.call_error = "the emulator is on fire";
    CHECK_THROWS(call(), "EnvPool's send handler failed: the emulator is on fire");
    g.call_error = nullptr;
    call();
  }
  CHECK_EQUAL(g.calls, 6);
  CHECK_EQUAL(g.probes, 1);
}

TEST(a_null_message_is_still_an_error) {
  Call call("recv", handler_with_a_null_message, 1, {}, {});
  CHECK_THROWS(call(), "EnvPool's recv handler failed: no message");
}

TEST(handlers_may_read_and_destroy_their_errors) {
  Call call("recv", handler_that_recovers, 1, {}, {});
  call();
}

}  // namespace
}  // namespace a3c::xla

// What every XLA FFI handler does: answer the metadata probe, report errors through the caller's API.
#pragma once

#include "env/envpool/xla_ffi.h"

namespace a3c::xla {

// True when the frame is a probe, which is then answered with this version.
inline bool answer_probe(CallFrame* frame, int major, int minor) {
  if (!frame->extension_start || frame->extension_start->type != kExtensionMetadata) return false;
  Metadata* metadata = reinterpret_cast<MetadataExtension*>(frame->extension_start)->metadata;
  metadata->api_version.major_version = major;
  metadata->api_version.minor_version = minor;
  return true;
}

inline Error* report_error(CallFrame* frame, const char* message) {
  ErrorCreateArgs args{sizeof(ErrorCreateArgs), nullptr, message, kInternal};
  return frame->api->error_create(&args);
}

inline const Buffer& argument(const CallFrame* frame, int64_t index) {
  return *static_cast<const Buffer*>(frame->args.args[index]);
}
inline const Buffer& result(const CallFrame* frame, int64_t index) {
  return *static_cast<const Buffer*>(frame->rets.rets[index]);
}

// The pointer that EnvPool hides in its one attribute.
template <typename T>
T* handle_of(const CallFrame* frame) {
  const auto* scalar = static_cast<const Scalar*>(frame->attrs.attrs[0]);
  return reinterpret_cast<T*>(*static_cast<const int64_t*>(scalar->value));
}

}  // namespace a3c::xla

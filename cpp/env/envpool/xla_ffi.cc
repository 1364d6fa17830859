#include "env/envpool/xla_ffi.h"

#include <memory>
#include <utility>

namespace a3c::xla {

struct Error {
  std::string message;
};

namespace {

Error* create_error(ErrorCreateArgs* args) {
  return new Error{args->message ? args->message : "no message"};
}
void get_message(ErrorGetMessageArgs* args) {
  args->message = args->error->message.c_str();
}
void destroy_error(ErrorDestroyArgs* args) {
  delete args->error;
}

Api make_api(int major, int minor) {
  Api api{};
  api.struct_size = sizeof(Api);
  api.api_version = {sizeof(ApiVersion), nullptr, major, minor};
  api.error_create = create_error;
  api.error_get_message = get_message;
  api.error_destroy = destroy_error;
  return api;
}

void throw_if(Error* error, const char* name) {
  if (!error) return;
  const std::unique_ptr<Error> owned(error);
  throw std::runtime_error("EnvPool's " + std::string(name) + " handler failed: " + owned->message);
}

// The versions whose declarations are the ones of this file. 0.0 had a frame of the same size but other enum values.
constexpr int kMajor = 0;
constexpr int kFirstMinor = 1;
constexpr int kLastMinor = 3;

ApiVersion query_version(const char* name, Handler* handler) {
  Metadata metadata{};
  metadata.struct_size = kMetadataSize;
  metadata.api_version.struct_size = sizeof(ApiVersion);
  metadata.api_version.major_version = -1;
  MetadataExtension extension{{sizeof(MetadataExtension), kExtensionMetadata, nullptr}, &metadata};
  const Api api = make_api(kMajor, kLastMinor);
  CallFrame frame{};
  frame.struct_size = kCallFrameSize;
  frame.extension_start = &extension.base;
  frame.api = &api;
  frame.stage = kStageExecute;
  frame.args.struct_size = sizeof(Args);
  frame.rets.struct_size = sizeof(Rets);
  frame.attrs.struct_size = sizeof(Attrs);
  throw_if(handler(&frame), name);
  return metadata.api_version;
}

Buffer make_buffer(Call::Operand& operand) {
  return {sizeof(Buffer),     nullptr, operand.dtype, operand.data, static_cast<int64_t>(operand.dims.size()),
          operand.dims.data()};
}

}  // namespace

Call::Call(const char* name, Handler* handler, int64_t handle, std::vector<Operand> arguments,
           std::vector<Operand> results)
    : name_(name), handler_(handler), handle_(handle), attribute_name_{"handle", 6} {
  const ApiVersion version = query_version(name, handler);
  if (version.major_version != kMajor || version.minor_version < kFirstMinor || version.minor_version > kLastMinor)
    throw std::runtime_error("EnvPool's " + std::string(name) + " handler speaks XLA FFI " +
                             std::to_string(version.major_version) + "." + std::to_string(version.minor_version) +
                             ", and a3c_fast speaks 0.1 to 0.3: install an EnvPool from 1.0 on and below 1.3");
  api_ = make_api(version.major_version, version.minor_version);

  const size_t num_arguments = arguments.size();
  operands_ = std::move(arguments);
  operands_.insert(operands_.end(), std::make_move_iterator(results.begin()), std::make_move_iterator(results.end()));
  for (size_t i = 0; i < operands_.size(); ++i)
    (i < num_arguments ? argument_buffers_ : result_buffers_).push_back(make_buffer(operands_[i]));
  for (Buffer& buffer : argument_buffers_) argument_pointers_.push_back(&buffer);
  for (Buffer& buffer : result_buffers_) result_pointers_.push_back(&buffer);
  argument_types_.assign(argument_buffers_.size(), kArgBuffer);
  result_types_.assign(result_buffers_.size(), kRetBuffer);

  attribute_names_ = &attribute_name_;
  attribute_scalar_ = {kS64, &handle_};
  attribute_values_ = &attribute_scalar_;

  frame_ = {};
  frame_.struct_size = kCallFrameSize;
  frame_.api = &api_;
  frame_.stage = kStageExecute;
  frame_.args = {sizeof(Args), nullptr, static_cast<int64_t>(argument_pointers_.size()), argument_types_.data(),
                 argument_pointers_.data()};
  frame_.rets = {sizeof(Rets), nullptr, static_cast<int64_t>(result_pointers_.size()), result_types_.data(),
                 result_pointers_.data()};
  frame_.attrs = {sizeof(Attrs), nullptr, 1, &attribute_type_, &attribute_names_, &attribute_values_};
}

void Call::operator()() {
  throw_if(handler_(&frame_), name_);
}

}  // namespace a3c::xla

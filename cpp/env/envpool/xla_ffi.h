// The part of XLA's foreign function interface that EnvPool's handlers speak, declared by ourselves.
//
// EnvPool's wheel ships no headers, but `env._xla()` hands out capsules holding `Error* handler(CallFrame*)`.
// These are the declarations of API version 0.x as XLA documents it in xla/ffi/api/c_api.h; sizes, offsets and enum
// values are asserted here and compared with jaxlib's header by tests/test_xla_ffi.py when jaxlib is installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace a3c::xla {

enum DataType : int { kPred = 1, kS8 = 2, kS16 = 3, kS32 = 4, kS64 = 5, kU8 = 6, kF32 = 11, kF64 = 12 };
enum ArgType : int { kArgBuffer = 1 };
enum RetType : int { kRetBuffer = 1 };
enum AttrType : int { kAttrScalar = 3 };
enum ExtensionType : int { kExtensionMetadata = 1 };
enum ExecutionStage : int { kStageExecute = 3 };
enum ErrorCode : int { kInternal = 13 };

struct Extension {
  size_t struct_size;
  ExtensionType type;
  Extension* next;
};
struct ApiVersion {
  size_t struct_size;
  Extension* extension_start;
  int major_version;
  int minor_version;
};
struct Error;  // ours: what create_error() returned
struct ErrorCreateArgs {
  size_t struct_size;
  Extension* extension_start;
  const char* message;
  ErrorCode code;
};
struct ErrorGetMessageArgs {
  size_t struct_size;
  Extension* extension_start;
  Error* error;
  const char* message;
};
struct ErrorDestroyArgs {
  size_t struct_size;
  Extension* extension_start;
  Error* error;
};
struct Api {
  size_t struct_size;
  Extension* extension_start;
  ApiVersion api_version;
  void* internal_api;
  Error* (*error_create)(ErrorCreateArgs*);
  void (*error_get_message)(ErrorGetMessageArgs*);
  void (*error_destroy)(ErrorDestroyArgs*);
  // The entries that follow serve stateful, asynchronous and device handlers. EnvPool's CPU handlers call none of
  // them; they stay null, so that a handler that does is a plain crash at the probe and never in a run.
  void* others[15];
};
struct Buffer {
  size_t struct_size;
  Extension* extension_start;
  DataType dtype;
  void* data;
  int64_t rank;
  int64_t* dims;
};
struct Args {
  size_t struct_size;
  Extension* extension_start;
  int64_t size;
  ArgType* types;
  void** args;
};
struct Rets {
  size_t struct_size;
  Extension* extension_start;
  int64_t size;
  RetType* types;
  void** rets;
};
struct ByteSpan {
  const char* ptr;
  size_t len;
};
struct Scalar {
  DataType dtype;
  void* value;
};
struct Attrs {
  size_t struct_size;
  Extension* extension_start;
  int64_t size;
  AttrType* types;
  ByteSpan** names;
  void** attrs;
};
struct CallFrame {
  size_t struct_size;
  Extension* extension_start;
  const Api* api;
  void* context;
  ExecutionStage stage;
  Args args;
  Rets rets;
  Attrs attrs;
  void* future;
};
struct Metadata {
  size_t struct_size;
  ApiVersion api_version;
  uint32_t traits;
  int64_t state_type_id;
};
struct MetadataExtension {
  Extension base;
  Metadata* metadata;
};

// XLA's rule for struct_size: up to and with the last field that the version knows, without tail padding.
inline constexpr size_t kCallFrameSize = offsetof(CallFrame, attrs) + sizeof(Attrs);
inline constexpr size_t kMetadataSize = offsetof(Metadata, traits) + sizeof(uint32_t);

static_assert(sizeof(Extension) == 24 && sizeof(ApiVersion) == 24);
static_assert(sizeof(Api) == 192 && offsetof(Api, api_version) == 16 && offsetof(Api, error_create) == 48);
static_assert(sizeof(Buffer) == 48 && offsetof(Buffer, dtype) == 16 && offsetof(Buffer, data) == 24);
static_assert(offsetof(Buffer, rank) == 32 && offsetof(Buffer, dims) == 40);
static_assert(sizeof(Args) == 40 && sizeof(Rets) == 40 && sizeof(Attrs) == 48);
static_assert(offsetof(Args, types) == 24 && offsetof(Attrs, names) == 32 && offsetof(Attrs, attrs) == 40);
static_assert(kCallFrameSize == 168 && offsetof(CallFrame, stage) == 32 && offsetof(CallFrame, args) == 40);
static_assert(kMetadataSize == 36 && sizeof(MetadataExtension) == 32 && sizeof(Scalar) == 16);

using Handler = Error*(CallFrame*);

// A call to one handler, assembled once and made many times. Not thread-safe: one thread calls it.
// Throws std::runtime_error with the handler's own message when it reports an error.
class Call {
 public:
  struct Operand {
    DataType dtype;
    std::vector<int64_t> dims;
    void* data;
  };

  // Asks the handler for its API version first and refuses another than 0.x with a sentence that names it.
  Call(const char* name, Handler* handler, int64_t handle, std::vector<Operand> arguments,
       std::vector<Operand> results);
  Call(const Call&) = delete;  // the frame points into this object
  Call& operator=(const Call&) = delete;

  void operator()();
  void set_result(size_t index, void* data) { result_buffers_[index].data = data; }

 private:
  const char* name_;
  Handler* handler_;
  int64_t handle_;
  std::vector<Operand> operands_;
  std::vector<Buffer> argument_buffers_, result_buffers_;
  std::vector<void*> argument_pointers_, result_pointers_;
  std::vector<ArgType> argument_types_;
  std::vector<RetType> result_types_;
  AttrType attribute_type_ = kAttrScalar;
  ByteSpan attribute_name_;
  ByteSpan* attribute_names_;
  Scalar attribute_scalar_;
  void* attribute_values_;
  Api api_;
  CallFrame frame_;
};

}  // namespace a3c::xla

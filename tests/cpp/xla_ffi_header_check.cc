// Compiled, never run: every declaration of cpp/env/envpool/xla_ffi.h that a handler sees, against XLA's own header.
#include <xla/ffi/api/c_api.h>

#include "env/envpool/xla_ffi.h"

namespace xla_ours = a3c::xla;

#ifdef A3C_BREAK_THE_CHECK
#define SHIFT 8
#else
#define SHIFT 0
#endif

#define SAME_FIELD(ours, our_field, theirs, their_field)                                       \
  static_assert(offsetof(xla_ours::ours, our_field) + SHIFT == offsetof(theirs, their_field)); \
  static_assert(sizeof(xla_ours::ours::our_field) == sizeof(theirs::their_field))

SAME_FIELD(Extension, type, XLA_FFI_Extension_Base, type);
SAME_FIELD(Extension, next, XLA_FFI_Extension_Base, next);
SAME_FIELD(ApiVersion, major_version, XLA_FFI_Api_Version, major_version);
SAME_FIELD(ApiVersion, minor_version, XLA_FFI_Api_Version, minor_version);
SAME_FIELD(ErrorCreateArgs, message, XLA_FFI_Error_Create_Args, message);
SAME_FIELD(ErrorCreateArgs, code, XLA_FFI_Error_Create_Args, errc);
SAME_FIELD(ErrorGetMessageArgs, error, XLA_FFI_Error_GetMessage_Args, error);
SAME_FIELD(ErrorGetMessageArgs, message, XLA_FFI_Error_GetMessage_Args, message);
SAME_FIELD(ErrorDestroyArgs, error, XLA_FFI_Error_Destroy_Args, error);
SAME_FIELD(Api, api_version, XLA_FFI_Api, api_version);
SAME_FIELD(Api, internal_api, XLA_FFI_Api, internal_api);
SAME_FIELD(Api, error_create, XLA_FFI_Api, XLA_FFI_Error_Create);
SAME_FIELD(Api, error_get_message, XLA_FFI_Api, XLA_FFI_Error_GetMessage);
SAME_FIELD(Api, error_destroy, XLA_FFI_Api, XLA_FFI_Error_Destroy);
SAME_FIELD(Buffer, dtype, XLA_FFI_Buffer, dtype);
SAME_FIELD(Buffer, data, XLA_FFI_Buffer, data);
SAME_FIELD(Buffer, rank, XLA_FFI_Buffer, rank);
SAME_FIELD(Buffer, dims, XLA_FFI_Buffer, dims);
SAME_FIELD(Args, size, XLA_FFI_Args, size);
SAME_FIELD(Args, types, XLA_FFI_Args, types);
SAME_FIELD(Args, args, XLA_FFI_Args, args);
SAME_FIELD(Rets, size, XLA_FFI_Rets, size);
SAME_FIELD(Rets, types, XLA_FFI_Rets, types);
SAME_FIELD(Rets, rets, XLA_FFI_Rets, rets);
SAME_FIELD(ByteSpan, ptr, XLA_FFI_ByteSpan, ptr);
SAME_FIELD(ByteSpan, len, XLA_FFI_ByteSpan, len);
SAME_FIELD(Scalar, dtype, XLA_FFI_Scalar, dtype);
SAME_FIELD(Scalar, value, XLA_FFI_Scalar, value);
SAME_FIELD(Attrs, size, XLA_FFI_Attrs, size);
SAME_FIELD(Attrs, types, XLA_FFI_Attrs, types);
SAME_FIELD(Attrs, names, XLA_FFI_Attrs, names);
SAME_FIELD(Attrs, attrs, XLA_FFI_Attrs, attrs);
SAME_FIELD(CallFrame, api, XLA_FFI_CallFrame, api);
SAME_FIELD(CallFrame, context, XLA_FFI_CallFrame, ctx);
SAME_FIELD(CallFrame, stage, XLA_FFI_CallFrame, stage);
SAME_FIELD(CallFrame, args, XLA_FFI_CallFrame, args);
SAME_FIELD(CallFrame, rets, XLA_FFI_CallFrame, rets);
SAME_FIELD(CallFrame, attrs, XLA_FFI_CallFrame, attrs);
SAME_FIELD(CallFrame, future, XLA_FFI_CallFrame, future);
SAME_FIELD(Metadata, api_version, XLA_FFI_Metadata, api_version);
SAME_FIELD(Metadata, traits, XLA_FFI_Metadata, traits);
SAME_FIELD(MetadataExtension, base, XLA_FFI_Metadata_Extension, extension_base);
SAME_FIELD(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);

static_assert(sizeof(xla_ours::Extension) == XLA_FFI_Extension_Base_STRUCT_SIZE);
static_assert(sizeof(xla_ours::ApiVersion) == XLA_FFI_Api_Version_STRUCT_SIZE);
static_assert(sizeof(xla_ours::Buffer) == XLA_FFI_Buffer_STRUCT_SIZE);
static_assert(sizeof(xla_ours::Args) == XLA_FFI_Args_STRUCT_SIZE);
static_assert(sizeof(xla_ours::Rets) == XLA_FFI_Rets_STRUCT_SIZE);
static_assert(sizeof(xla_ours::Attrs) == XLA_FFI_Attrs_STRUCT_SIZE);
static_assert(sizeof(xla_ours::MetadataExtension) == XLA_FFI_Metadata_Extension_STRUCT_SIZE);
static_assert(xla_ours::kCallFrameSize == XLA_FFI_CallFrame_STRUCT_SIZE);
static_assert(xla_ours::kMetadataSize == XLA_FFI_Metadata_STRUCT_SIZE);
// XLA adds entries at the end of the table: ours may be the shorter one, never the longer.
static_assert(sizeof(xla_ours::Api) <= XLA_FFI_Api_STRUCT_SIZE);

#define SAME_VALUE(ours, theirs) static_assert(static_cast<int>(xla_ours::ours) == static_cast<int>(theirs))
SAME_VALUE(kPred, XLA_FFI_DataType_PRED);
SAME_VALUE(kS8, XLA_FFI_DataType_S8);
SAME_VALUE(kS16, XLA_FFI_DataType_S16);
SAME_VALUE(kS32, XLA_FFI_DataType_S32);
SAME_VALUE(kS64, XLA_FFI_DataType_S64);
SAME_VALUE(kU8, XLA_FFI_DataType_U8);
SAME_VALUE(kF32, XLA_FFI_DataType_F32);
SAME_VALUE(kF64, XLA_FFI_DataType_F64);
SAME_VALUE(kArgBuffer, XLA_FFI_ArgType_BUFFER);
SAME_VALUE(kRetBuffer, XLA_FFI_RetType_BUFFER);
SAME_VALUE(kAttrScalar, XLA_FFI_AttrType_SCALAR);
SAME_VALUE(kExtensionMetadata, XLA_FFI_Extension_Metadata);
SAME_VALUE(kStageExecute, XLA_FFI_ExecutionStage_EXECUTE);
SAME_VALUE(kInternal, XLA_FFI_Error_Code_INTERNAL);

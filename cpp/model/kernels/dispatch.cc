#include "model/kernels/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace a3c {
namespace kernels {
namespace amx {
extern const ConvNetKernels kernels;
}
namespace avx512_bf16 {
extern const ConvNetKernels kernels;
}
namespace avx512 {
extern const ConvNetKernels kernels;
}
namespace avx2 {
extern const ConvNetKernels kernels;
}
}  // namespace kernels

namespace {

struct Isa {
  const char* name;
  const kernels::ConvNetKernels* kernels;
  bool (*there)();  // on this CPU
};

#if defined(__x86_64__)
// AMX's registers, 8 KB for each thread that uses them, are the process's once it has asked for them; only then.
bool may_use_amx() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

bool has_avx2() {
  return __builtin_cpu_supports("x86-64-v3") != 0;
}
bool has_avx512() {
  return __builtin_cpu_supports("x86-64-v4") != 0;
}
bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16") != 0;
}
bool has_amx() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return has_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kBf16) && (d & kTile) && may_use_amx();
}
#endif

// The fastest first, but for avx512_bf16.
std::vector<Isa> isas() {
  std::vector<Isa> list;
#if defined(__x86_64__)
  list.push_back({"amx", &kernels::amx::kernels, has_amx});
  list.push_back({"avx512_bf16", &kernels::avx512_bf16::kernels, has_avx512_bf16});
  list.push_back({"avx512", &kernels::avx512::kernels, has_avx512});
  list.push_back({"avx2", &kernels::avx2::kernels, has_avx2});
#endif
  list.push_back({"libtorch", nullptr, [] { return true; }});
  return list;
}

bool in_bf16(const Isa& isa) {
  return isa.kernels && isa.kernels->in_bf16;
}

}  // namespace

const kernels::ConvNetKernels* best_kernels(Precision precision) {
  const char* chosen = std::getenv("A3C_FAST_ISA");
  std::string names;
  for (const Isa& isa : isas()) {
    names += (names.empty() ? "" : ", ") + std::string(isa.name);
    const bool fits = precision == Precision::automatic || in_bf16(isa) == (precision == Precision::bf16);
    if (!chosen) {
      // bench/results, Intel: 0.59 of the ceiling, 0.757 in float32, which needs fewer products: see winograd.inc.
      // On AMD's Zen 4 they are alike, 0.75 and 0.74, and float32 is the finer one.
      const bool wanted = precision == Precision::bf16 || std::strcmp(isa.name, "avx512_bf16") != 0;
      if (fits && wanted && isa.there()) return isa.kernels;
    } else if (!std::strcmp(chosen, isa.name)) {
      if (!isa.there())
        throw std::runtime_error("A3C_FAST_ISA is " + std::string(chosen) + ", which this CPU does not have");
      if (!fits)
        throw std::runtime_error("A3C_FAST_ISA is " + std::string(chosen) + ", whose precision is " +
                                 (in_bf16(isa) ? "bf16 and not fp32" : "fp32 and not bf16"));
      return isa.kernels;
    }
  }
  if (chosen) throw std::runtime_error("A3C_FAST_ISA is '" + std::string(chosen) + "', but it must be one of " + names);
  throw std::invalid_argument("this CPU has neither AMX nor AVX512_BF16");
}

}  // namespace a3c

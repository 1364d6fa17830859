#include "model/kernels/dispatch.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(A3C_KERNELS)
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
extern const DenseNetKernels dense_kernels;
}  // namespace avx512
namespace avx2 {
extern const ConvNetKernels kernels;
extern const DenseNetKernels dense_kernels;
}  // namespace avx2
}  // namespace kernels

namespace {

struct Isa {
  const char* name;
  const kernels::ConvNetKernels* kernels;
  const kernels::DenseNetKernels* dense_kernels;
  bool (*there)();  // on this CPU
};

#if defined(A3C_KERNELS)
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
#if defined(A3C_KERNELS)
  list.push_back({"amx", &kernels::amx::kernels, &kernels::avx512::dense_kernels, has_amx});
  list.push_back({"avx512_bf16", &kernels::avx512_bf16::kernels, &kernels::avx512::dense_kernels, has_avx512_bf16});
  list.push_back({"avx512", &kernels::avx512::kernels, &kernels::avx512::dense_kernels, has_avx512});
  list.push_back({"avx2", &kernels::avx2::kernels, &kernels::avx2::dense_kernels, has_avx2});
#else  // none of them is here, and their names are known
  for (const char* name : {"amx", "avx512_bf16", "avx512", "avx2"})
    list.push_back({name, nullptr, nullptr, [] { return false; }});
#endif
  list.push_back({"libtorch", nullptr, nullptr, [] { return true; }});
  return list;
}

bool in_bf16(const Isa& isa) {
  return isa.kernels && isa.kernels->in_bf16;
}

// A3C_FAST_ISA, null where it is not set or empty.
const char* chosen_isa() {
  const char* chosen = std::getenv("A3C_FAST_ISA");
  return chosen && *chosen ? chosen : nullptr;
}

Isa best_isa(Precision precision) {
  check_chosen_kernels();
  const char* chosen = chosen_isa();
  for (const Isa& isa : isas()) {
    const bool fits = precision == Precision::automatic || in_bf16(isa) == (precision == Precision::bf16);
    if (!chosen) {
      // bench/results, Intel: 0.59 of the ceiling, 0.757 in float32, which needs fewer products: see winograd.inc.
      // On AMD's Zen 4 they are alike, 0.75 and 0.74, and float32 is the finer one.
      const bool wanted = precision == Precision::bf16 || std::strcmp(isa.name, "avx512_bf16") != 0;
      if (fits && wanted && isa.there()) return isa;
    } else if (!std::strcmp(chosen, isa.name)) {
      if (!isa.there()) throw std::runtime_error("this CPU does not have " + std::string(isa.name));
      if (!fits)
        throw std::runtime_error(std::string(isa.name) + " computes in " +
                                 (in_bf16(isa) ? "bf16 and not in fp32" : "fp32 and not in bf16"));
      return isa;
    }
  }
  throw std::invalid_argument("this CPU has neither AMX nor AVX512_BF16");
}

}  // namespace

bool has_kernels() {
  const std::vector<Isa> all = isas();
  return std::any_of(all.begin(), all.end(), [](const Isa& isa) { return isa.dense_kernels != nullptr; });
}

void check_chosen_kernels() {
  const char* chosen = chosen_isa();
  std::string names;
  for (const Isa& isa : isas()) {
    if (!chosen || !std::strcmp(chosen, isa.name)) return;
    names += (names.empty() ? "" : ", ") + std::string(isa.name);
  }
  throw std::runtime_error("the kernels that A3C_FAST_ISA may name are " + names);
}

const kernels::ConvNetKernels* best_kernels(Precision precision) {
  return best_isa(precision).kernels;
}

const kernels::DenseNetKernels* best_dense_kernels(Precision precision) {
  // Nothing is asked of AMX where it is not named: all of them are float32.
  return best_isa(chosen_isa() ? precision : Precision::fp32).dense_kernels;
}

}  // namespace a3c

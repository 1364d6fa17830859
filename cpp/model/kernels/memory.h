// The memory of a network's kernels: allocated once, zero, aligned to cache lines, freed with its owner.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace a3c {

class KernelMemory {
 public:
  template <typename T>
  T* allocate(int64_t count) {
    return static_cast<T*>(allocate_bytes(static_cast<size_t>(count) * sizeof(T)));
  }

 private:
  // In huge pages where it fills some and the system has them.
  void* allocate_bytes(size_t bytes) {
    constexpr size_t kLine = 64, kHugePage = size_t{2} << 20;
    const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, bytes);
    if (!memory) throw std::bad_alloc();
    pieces_.emplace_back(memory);
#if defined(MADV_HUGEPAGE)
    if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, bytes);
    return memory;
  }

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::vector<std::unique_ptr<void, Free>> pieces_;
};

}  // namespace a3c

// Large blocks of memory, in huge pages where the system has them.
//
// A page fault costs as much as fifty messages, and there are 512 times fewer of huge pages; a book
// that is larger than the caches also misses its translations less often.
#pragma once

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "types.hpp"

namespace touchstone {

constexpr u64 kHugePage = u64(1) << 21;

/// Ask for huge pages in what lies between two addresses; the system may not have them.
inline void prefer_huge_pages(void* block, u64 bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const u64 first = (reinterpret_cast<u64>(block) + kHugePage - 1) / kHugePage * kHugePage;
    const u64 end = (reinterpret_cast<u64>(block) + bytes) / kHugePage * kHugePage;
    if (end > first) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
    (void)block;
    (void)bytes;
#endif
}

/// Return a block that begins where a huge page does, or where a cache line does if it is small.
inline void* make_block(u64 bytes) {
    const u64 alignment = bytes >= kHugePage ? kHugePage : 64;
    void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (block == nullptr) throw std::bad_alloc();
    if (bytes >= kHugePage) prefer_huge_pages(block, bytes);
    return block;
}

}  // namespace touchstone

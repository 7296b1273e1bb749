// Large blocks of memory, in huge pages where the system has them.
//
// A page fault costs as much as fifty messages, and there are 512 times fewer of huge pages; a book
// that is larger than the caches also misses its translations less often.
#pragma once

#include <cstdlib>
#include <mutex>
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

/// A large block, and how much of it was ever written to: those pages are there already.
struct Block {
    void* memory = nullptr;
    u64 bytes = 0;
    u64 touched = 0;
};

/// Large blocks that were given back, for the next who needs one.
///
/// The kernel fills every page with zeros before it hands it out; for an array of trades that takes
/// a tenth as long as the replay that the trades come from. At most `kTouched` bytes stay.
class SpareBlocks {
public:
    /// Return a block of at least `bytes`, a spare one if there is any; bad_alloc if there is none.
    Block take(u64 bytes) {
        {
            const std::lock_guard<std::mutex> alone(mutex_);
            for (Block& spare : spares_) {
                if (spare.bytes < bytes) continue;
                const Block taken = spare;
                spare = {};
                touched_ -= taken.touched;
                return taken;
            }
        }
        return {make_block(bytes), bytes, 0};
    }

    /// Take a block back.
    void put(const Block& block) {
        if (!keep(block)) std::free(block.memory);
    }

private:
    static constexpr u64 kTouched = u64(64) << 20;

    bool keep(const Block& block) {
        const std::lock_guard<std::mutex> alone(mutex_);
        if (block.touched > kTouched - touched_) return false;
        for (Block& spare : spares_) {
            if (spare.memory != nullptr) continue;
            spare = block;
            touched_ += block.touched;
            return true;
        }
        return false;
    }

    std::mutex mutex_;  // arrays end in one thread while books run in others
    Block spares_[4];
    u64 touched_ = 0;
};

/// Return the spare blocks of the process; they are never taken down, as arrays outlive everything.
inline SpareBlocks& spare_blocks() {
    static SpareBlocks* const blocks = new SpareBlocks;
    return *blocks;
}

}  // namespace touchstone

// Large blocks of memory, in huge pages where the system has them.
//
// A page fault costs as much as fifty messages, and there are 512 times fewer of huge pages; a book
// that is larger than the caches also misses its translations less often.
#pragma once

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "types.hpp"

namespace touchstone {

constexpr u64 kHugePage = u64(1) << 21;

// The address sanitizer only watches over what malloc gave.
#if defined(__linux__) && defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__)
#define TOUCHSTONE_MAPS_LARGE_BLOCKS 1
#endif

/// Return a number of bytes that is whole in pieces of `unit`, a power of two.
constexpr u64 rounded_up(u64 bytes, u64 unit) { return (bytes + unit - 1) & ~(unit - 1); }

#if defined(TOUCHSTONE_MAPS_LARGE_BLOCKS)

/// Return addresses that begin where a huge page does; bad_alloc if there are none.
///
/// They come from the kernel and not from malloc: what malloc had given before has small pages
/// already, and those stay small.
inline void* map_block(u64 bytes) {
    const u64 wanted = rounded_up(bytes, kHugePage);
    void* const mapped = mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    char* const from = static_cast<char*>(mapped);
    char* const block = from + (rounded_up(reinterpret_cast<u64>(from), kHugePage) -
                                reinterpret_cast<u64>(from));
    if (block > from) munmap(from, u64(block - from));
    if (block < from + kHugePage) munmap(block + wanted, u64(from + kHugePage - block));
    madvise(block, wanted, MADV_HUGEPAGE);  // the system may not have them
    return block;
}

#endif

/// Return a block that begins where a cache line does, a large one where a huge page does; bad_alloc
/// if there is none. It goes back with `free_block`.
inline void* make_block(u64 bytes) {
#if defined(TOUCHSTONE_MAPS_LARGE_BLOCKS)
    if (bytes >= kHugePage) return map_block(bytes);
#endif
    void* const block = std::aligned_alloc(64, rounded_up(bytes, 64));
    if (block == nullptr) throw std::bad_alloc();
    return block;
}

/// Give back a block of so many bytes, or nullptr and 0.
inline void free_block(void* block, u64 bytes) {
#if defined(TOUCHSTONE_MAPS_LARGE_BLOCKS)
    if (bytes >= kHugePage) {
        munmap(block, rounded_up(bytes, kHugePage));
        return;
    }
#else
    (void)bytes;
#endif
    std::free(block);
}

/// Return a larger block that begins as the old one did, which is gone; bad_alloc if there is none,
/// and then the old one is as it was. Large ones are moved by their page tables, not copied.
inline void* grow_block(void* old, u64 old_bytes, u64 bytes) {
    void* const grown = make_block(bytes);
#if defined(TOUCHSTONE_MAPS_LARGE_BLOCKS)
    if (old_bytes >= kHugePage) {
        // Where this fails, the kernel may have taken the new addresses back: nothing to copy to.
        if (mremap(old, rounded_up(old_bytes, kHugePage), rounded_up(bytes, kHugePage),
                   MREMAP_MAYMOVE | MREMAP_FIXED, grown) == MAP_FAILED) {
            throw std::bad_alloc();
        }
        return grown;
    }
#endif
    if (old_bytes) std::memcpy(grown, old, old_bytes);
    free_block(old, old_bytes);
    return grown;
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
        if (!keep(block)) free_block(block.memory, block.bytes);
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

// Where orders and levels live: 32-byte nodes in one array, named by 32-bit indices.
//
// Orders of one price form a circular list through their level's node, which begins and ends it:
// taking an order out or putting one at the tail therefore needs no branch. Index 0 is nobody.
#pragma once

#include <cstring>
#include <type_traits>

#include "memory.hpp"

namespace touchstone {

using Index = u32;
constexpr Index kNobody = 0;

/// One resting order, or one stop that waits.
struct OrderNode {
    Index earlier, later;  // neighbours in the queue; the level itself at both ends
    u32 level_word;        // the level's index (0: a stop that waits), and kHasTerms
    u32 arrival_word;      // when it came; where it has terms, their index (they keep the arrival)
    i64 order_id;
    i64 lots;  // what it shows; of a hidden order or a stop, what is left of it

    static constexpr u32 kHasTerms = 1u << 31;
    bool has_terms() const { return level_word & kHasTerms; }
    /// Say whether it rests and has no terms; nobody does not.
    bool is_plain() const { return std::int32_t(level_word) > 0; }
    Index level() const { return level_word & ~kHasTerms; }
};

/// One price of one side; it stands in the list of its displayed orders.
struct LevelNode {
    Index last, first;  // in the places of OrderNode::earlier and ::later
    u32 order_count;    // displayed orders
    u32 extra_word;     // index of its LevelExtra (0: none), and kIsAsk
    i64 price_ticks;
    i64 displayed_lots;

    static constexpr u32 kIsAsk = 1u << 31;
    Side side() const { return extra_word & kIsAsk ? Side::Sell : Side::Buy; }
    Index extra() const { return extra_word & ~kIsAsk; }
};

/// The two shapes of a node begin with the same two links, so lists need not tell them apart.
union Node {
    OrderNode order;
    LevelNode level;
    struct Links {
        Index earlier, later;
    } links;

    Index& next_free() { return links.earlier; }
};
static_assert(sizeof(Node) == 32 && std::is_trivially_copyable_v<Node>);

/// A growing array of plain things with a free list threaded through `next_free`.
///
/// Large arrays grow by the kernel's page tables, without a copy.
/// References into it are good until the next `make_room`.
template <class T>
class Pool {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) >= sizeof(Index));

public:
    explicit Pool(u32 limit, const char* what) : limit_(limit), what_(what) {}
    ~Pool() {
        if (capacity_) free_block(items_, bytes());
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    TOUCHSTONE_INLINE T& operator[](Index at) {
        TOUCHSTONE_ASSERT(at == kNobody || at < used_);
        return items_[at];
    }
    TOUCHSTONE_INLINE const T& operator[](Index at) const {
        TOUCHSTONE_ASSERT(at == kNobody || at < used_);
        return items_[at];
    }

    /// Ask the memory for one that may be wanted soon, and may not be there: nothing is read.
    TOUCHSTONE_INLINE void expect(Index at) const {
        TOUCHSTONE_PREFETCH(
            reinterpret_cast<const void*>(reinterpret_cast<u64>(items_) + u64(at) * sizeof(T)));
    }

    /// How many more can be taken without growing.
    TOUCHSTONE_INLINE u32 spare() const { return spare_; }

    /// Say whether `count` more are within the limit.
    bool can_have(u32 count) const {
        return spare_ >= count || u64(capacity_) + (count - spare_) < limit_;
    }

    /// Grow so that `count` more can be taken; Overloaded beyond the limit, else bad_alloc.
    TOUCHSTONE_COLD void make_room(u32 count) {
        if (spare_ >= count) return;
        const u64 wanted = u64(capacity_) + (count - spare_) + (capacity_ == 0);  // 0 is nobody
        if (wanted > limit_) {
            fail(FaultKind::Overloaded, std::string("the book is full: it has room for ") +
                                            std::to_string(limit_) + " " + what_);
        }
        u64 capacity = u64(capacity_) + capacity_ / (capacity_ < 65'536 ? 1 : 4) + 64;
        if (capacity < wanted) capacity = wanted;
        if (capacity > limit_) capacity = limit_;
        void* old = capacity_ ? static_cast<void*>(items_) : nullptr;
        void* grown = grow_block(old, bytes(), capacity * sizeof(T));
        items_ = static_cast<T*>(grown);
        if (capacity_ == 0) std::memset(grown, 0, sizeof(T));  // nobody may be looked at
        if (used_ == 0) used_ = 1;
        spare_ += u32(capacity) - (capacity_ ? capacity_ : 1);
        capacity_ = u32(capacity);
    }

    /// Take one; there must be room.
    TOUCHSTONE_INLINE Index take() {
        TOUCHSTONE_ASSERT(spare_ > 0);
        --spare_;
        if (free_head_ == kNobody) return used_++;
        const Index at = free_head_;
        free_head_ = items_[at].next_free();
        return at;
    }

    TOUCHSTONE_INLINE void give_back(Index at) {
        TOUCHSTONE_ASSERT(at != kNobody && at < used_);
        items_[at].next_free() = free_head_;
        free_head_ = at;
        ++spare_;
    }

    /// Forget everything, so that indices are given out from 1 again; the memory is kept.
    void clear() {
        used_ = capacity_ ? 1 : 0;
        spare_ = capacity_ ? capacity_ - 1 : 0;
        free_head_ = kNobody;
    }

    /// How many are taken.
    u32 live() const { return capacity_ ? capacity_ - 1 - spare_ : 0; }
    /// One more than the largest index given out so far.
    u32 end() const { return used_; }
    u64 bytes() const { return u64(capacity_) * sizeof(T); }

private:
    static inline T nobody_{};  // all that an empty pool has; never written to

    T* items_ = &nobody_;
    Index free_head_ = kNobody;
    u32 used_ = 0, capacity_ = 0, spare_ = 0;
    u32 limit_;
    const char* what_;
};

/// From how many nodes on an order's neighbours are in no cache that is near.
constexpr u32 kManyNodes = 65'536;

// How many rows of an array or steps of a tape before its turn what it needs is asked of memory.
constexpr u64 kToNode = 24;        // a guess made sooner is wrong more often
constexpr u64 kToNeighbours = 12;  // in its queue, where nodes are many

/// The arena of one book: nodes, and the lists through them.
class Arena : public Pool<Node> {
public:
    using Pool::Pool;

    TOUCHSTONE_INLINE OrderNode& order(Index at) { return (*this)[at].order; }
    TOUCHSTONE_INLINE const OrderNode& order(Index at) const { return (*this)[at].order; }
    TOUCHSTONE_INLINE LevelNode& level(Index at) { return (*this)[at].level; }
    TOUCHSTONE_INLINE const LevelNode& level(Index at) const { return (*this)[at].level; }

    /// Make a list of nobody around the node that begins and ends it.
    TOUCHSTONE_INLINE void make_list(Index head) {
        (*this)[head].links.earlier = head;
        (*this)[head].links.later = head;
    }

    TOUCHSTONE_INLINE void append(Index head, Index order) {
        const Index last = (*this)[head].links.earlier;
        (*this)[order].links.earlier = last;
        (*this)[order].links.later = head;
        (*this)[last].links.later = order;
        (*this)[head].links.earlier = order;
    }

    TOUCHSTONE_INLINE void unlink(Index order) {
        const Index earlier = (*this)[order].links.earlier;
        const Index later = (*this)[order].links.later;
        (*this)[earlier].links.later = later;
        (*this)[later].links.earlier = earlier;
    }

    /// Ask the memory for the neighbours of an order, or of nobody.
    TOUCHSTONE_INLINE void expect_neighbours(Index order) const {
        expect((*this)[order].links.earlier);
        expect((*this)[order].links.later);
    }

    TOUCHSTONE_INLINE Index after(Index at) const { return (*this)[at].links.later; }
};

}  // namespace touchstone

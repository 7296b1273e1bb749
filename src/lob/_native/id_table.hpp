// Where an order id is: one cache line holds twelve places, found by comparing their tags at once.
//
// A bucket keeps of each order its node's index and seven bits of its id's hash; the id itself is
// in the node, which whoever asks is about to touch anyway. Taking an id out clears one tag. What
// does not fit its bucket spills into the next ones, and the home bucket counts how many did.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <new>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "arena.hpp"

namespace touchstone {

/// An order's id with its hash, which is worked out once: in bulk, some rows ahead.
struct OrderId {
    i64 number;
    u64 hash;

    TOUCHSTONE_INLINE OrderId(i64 number) : number(number), hash(hash_of(number)) {}
    TOUCHSTONE_INLINE OrderId(i64 number, u64 hash) : number(number), hash(hash) {}

    /// One multiplication to twice the width, folded: every bit of the id reaches every bit.
    TOUCHSTONE_INLINE static u64 hash_of(i64 number) {
        const u128 wide = u128(u64(number) ^ 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
        return u64(wide) ^ u64(wide >> 64);
    }
};

class IdTable {
public:
    IdTable() = default;
    ~IdTable() { release(); }
    IdTable(const IdTable&) = delete;
    IdTable& operator=(const IdTable&) = delete;

    u32 size() const { return size_; }
    u64 bytes() const { return grow_at_ ? (u64(mask_) + 1) * sizeof(Bucket) : 0; }

    /// How many more fit without growing.
    u32 spare() const { return grow_at_ - size_; }

    /// Make room for `count` ids in all; bad_alloc without memory, and then nothing has changed.
    TOUCHSTONE_COLD void make_room(const Arena& arena, u64 count) {
        if (count <= grow_at_) return;
        u64 buckets = std::max<u64>(8, u64(mask_) + 1);
        while (full_at(buckets) < count) buckets *= 2;
        Bucket* grown = static_cast<Bucket*>(make_block(buckets * sizeof(Bucket)));
        std::memset(static_cast<void*>(grown), 0, buckets * sizeof(Bucket));
        Bucket* old = buckets_;
        const bool was_empty = grow_at_ == 0;
        const u64 old_buckets = u64(mask_) + 1;
        buckets_ = grown;
        mask_ = u32(buckets - 1);
        grow_at_ = u32(full_at(buckets));
        size_ = 0;
        for (u64 at = 0; at < old_buckets; ++at) {
            for (int way = 0; way < kWays; ++way) {
                if (old[at].tag[way] == 0) continue;
                insert(arena.order(old[at].node[way]).order_id, old[at].node[way]);
            }
        }
        if (!was_empty) std::free(old);
    }

    /// Where an id was found: its node (or nobody), and its tag, for `erase_at`.
    struct Place {
        Index node = kNobody;
        u8* tag = nullptr;  // null where it spilled: `erase` finds it
    };

    /// Return the node of an id, or nobody.
    TOUCHSTONE_INLINE Index find(const Arena& arena, OrderId id) const {
        return find_place(arena, id).node;
    }

    /// Return where an id with this hash probably is: without a branch, and without looking at the
    /// node. Where there is no such id, that is any place of its bucket.
    TOUCHSTONE_INLINE Place guess(u64 hash) const {
        Bucket& home = home_of(hash);
        const int way = __builtin_ctz(places_of(home, tag_of(hash)) | 1u << (kWays - 1));
        return {home.node[way], home.tag + way};
    }

    TOUCHSTONE_INLINE Place find_place(const Arena& arena, OrderId id) const {
        Bucket& home = home_of(id.hash);
        for (unsigned places = places_of(home, tag_of(id.hash)); places; places &= places - 1) {
            const int way = __builtin_ctz(places);
            const Index node = home.node[way];
            if (TOUCHSTONE_LIKELY(arena.order(node).order_id == id.number)) {
                return {node, home.tag + way};
            }
        }
        if (TOUCHSTONE_LIKELY(home.spilled == 0)) return {};
        return {find_spilled(arena, id), nullptr};
    }

    /// The same with a guess from before: the table must not have grown since.
    TOUCHSTONE_INLINE Place find_place(const Arena& arena, OrderId id, Place guessed) const {
        const bool is_right = guessed.node != kNobody &&
                              node_at(guessed.tag) == guessed.node &&
                              arena.order(guessed.node).order_id == id.number;
        return TOUCHSTONE_LIKELY(is_right) ? guessed : find_place(arena, id);
    }

    /// Put in an id that is not there; there must be room.
    TOUCHSTONE_INLINE void insert(OrderId id, Index node) {
        TOUCHSTONE_ASSERT(size_ < grow_at_);
        Bucket* bucket = &home_of(id.hash);
        ++size_;
        unsigned places = empty_places(*bucket);
        if (TOUCHSTONE_UNLIKELY(places == 0)) {
            bucket = spill(bucket);
            places = empty_places(*bucket);
            bucket->foreign |= u16(places & -places);
        }
        const int way = __builtin_ctz(places);
        bucket->tag[way] = tag_of(id.hash);
        bucket->node[way] = node;
    }

    /// Take out an id that is there.
    TOUCHSTONE_INLINE void erase(OrderId id, Index node) {
        Bucket& home = home_of(id.hash);
        --size_;
        const int way = way_of(home, node, tag_of(id.hash));
        if (TOUCHSTONE_LIKELY(way >= 0)) {
            home.node[way] = kNobody;
            home.tag[way] = 0;
        } else {
            erase_spilled(node, id.hash);
        }
    }

    /// Take out an id just found.
    TOUCHSTONE_INLINE void erase_at(const Place& place, OrderId id) {
        --size_;
        if (TOUCHSTONE_UNLIKELY(place.tag == nullptr)) return erase_spilled(place.node, id.hash);
        node_at(place.tag) = kNobody;
        *place.tag = 0;
    }

    /// Say that an id with this hash is about to be looked for.
    TOUCHSTONE_INLINE void expect(u64 hash) const { TOUCHSTONE_PREFETCH(&home_of(hash)); }

    /// Forget every id; the memory is kept.
    void clear() {
        std::memset(static_cast<void*>(buckets_), 0, (u64(mask_) + 1) * sizeof(Bucket));
        size_ = 0;
    }

    /// Return an error text, or "" where every count agrees; for `check`.
    std::string check(const Arena& arena) const {
        u64 found = 0, spilled = 0, away = 0;
        bool saturated = false;
        for (u64 at = 0; at <= mask_; ++at) {
            spilled += buckets_[at].spilled;
            saturated = saturated || buckets_[at].spilled == kManySpilled;
            for (int way = 0; way < kWays; ++way) {
                if (buckets_[at].tag[way] == 0) continue;
                ++found;
                const i64 order_id = arena.order(buckets_[at].node[way]).order_id;
                const u64 hash = OrderId::hash_of(order_id);
                const bool is_away = (hash & mask_) != at;
                away += is_away;
                if (is_away != bool(buckets_[at].foreign >> way & 1)) return "a spill is unmarked";
                if (tag_of(hash) != buckets_[at].tag[way]) return "an id is under another's tag";
                if (find(arena, order_id) != buckets_[at].node[way]) return "an id is not found";
            }
        }
        if (found != size_) return "the id table counts other than it has";
        return spilled == away || saturated ? "" : "the id table's spills are miscounted";
    }

private:
    static constexpr int kWays = 12;
    static constexpr u16 kManySpilled = UINT16_MAX;  // counted no further, up or down

    void release() {
        if (grow_at_) std::free(buckets_);
    }

    struct alignas(64) Bucket {
        u8 tag[kWays];     // 0: the place is empty
        u16 foreign;       // the places, one bit each, of ids that are at home elsewhere
        u16 spilled;       // how many ids at home here stand elsewhere
        Index node[kWays];  // nobody where the place is empty
    };
    static_assert(sizeof(Bucket) == 64);
    static constexpr unsigned kAllPlaces = (1u << kWays) - 1;

    /// The node at the place that a tag is of.
    TOUCHSTONE_INLINE static Index& node_at(u8* tag) {
        const u64 at = reinterpret_cast<u64>(tag);
        Bucket* const bucket = reinterpret_cast<Bucket*>(at & ~u64(63));
        return bucket->node[at & 63];
    }

    /// Of 12: where more are taken, many spill.
    static u64 full_at(u64 buckets) { return buckets * 77 / 10; }

    TOUCHSTONE_INLINE Bucket& home_of(u64 hash) const { return buckets_[hash & mask_]; }
    TOUCHSTONE_INLINE static u8 tag_of(u64 hash) {
        return u8(hash >> 56) | 1;  // never 0, an empty place
    }

    /// Return the places with a tag, one bit each.
#if defined(__SSE2__)
    TOUCHSTONE_INLINE static unsigned places_of(const Bucket& bucket, u8 tag) {
        const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(&bucket));
        // Repeated in a register: as bytes, GCC takes them through memory, and that stalls.
        const __m128i wanted = _mm_set1_epi32(int(tag * 0x01010101u));
        return unsigned(_mm_movemask_epi8(_mm_cmpeq_epi8(tags, wanted))) & kAllPlaces;
    }
#else
    static unsigned places_of(const Bucket& bucket, u8 tag) {
        unsigned places = 0;
        for (int way = 0; way < kWays; ++way) places |= unsigned(bucket.tag[way] == tag) << way;
        return places;
    }
#endif
    TOUCHSTONE_INLINE static unsigned empty_places(const Bucket& bucket) {
        return places_of(bucket, 0);
    }

    static Index find_in(const Bucket& bucket, const Arena& arena, OrderId id) {
        for (unsigned left = places_of(bucket, tag_of(id.hash)); left; left &= left - 1) {
            const Index node = bucket.node[__builtin_ctz(left)];
            if (arena.order(node).order_id == id.number) return node;
        }
        return kNobody;
    }

    TOUCHSTONE_INLINE static int way_of(const Bucket& bucket, Index node, u8 tag) {
        for (unsigned places = places_of(bucket, tag); places; places &= places - 1) {
            const int way = __builtin_ctz(places);
            if (TOUCHSTONE_LIKELY(bucket.node[way] == node)) return way;
        }
        return -1;
    }

    TOUCHSTONE_COLD Index find_spilled(const Arena& arena, OrderId id) const {
        const u64 home = id.hash & mask_;
        const bool many = buckets_[home].spilled == kManySpilled;
        u64 at = (home + 1) & mask_;
        for (u32 left = buckets_[home].spilled; left && at != home; at = (at + 1) & mask_) {
            const Bucket& bucket = buckets_[at];
            const Index found = find_in(bucket, arena, id);
            if (found != kNobody) return found;
            for (unsigned places = bucket.foreign; places; places &= places - 1) {
                const i64 other = arena.order(bucket.node[__builtin_ctz(places)]).order_id;
                left -= !many && (OrderId::hash_of(other) & mask_) == home;  // one of ours
            }
        }
        return kNobody;
    }

    TOUCHSTONE_COLD void erase_spilled(Index node, u64 hash) {
        u64 at = hash & mask_;
        if (buckets_[at].spilled != kManySpilled) --buckets_[at].spilled;
        int way;
        do {
            at = (at + 1) & mask_;
            way = way_of(buckets_[at], node, tag_of(hash));
        } while (way < 0);
        buckets_[at].node[way] = kNobody;
        buckets_[at].tag[way] = 0;
        buckets_[at].foreign &= u16(~(1u << way));
    }

    /// Return the next bucket that has a place, and count that one had to be found.
    TOUCHSTONE_COLD Bucket* spill(Bucket* home) {
        if (home->spilled != kManySpilled) ++home->spilled;
        u64 at = u64(home - buckets_);
        do {
            at = (at + 1) & mask_;
        } while (empty_places(buckets_[at]) == 0);
        return buckets_ + at;
    }

    Bucket* buckets_ = &none_;
    u32 mask_ = 0, size_ = 0, grow_at_ = 0;
    Bucket none_{};  // what an empty table looks like: one bucket where nobody is
};

}  // namespace touchstone

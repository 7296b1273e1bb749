// Where an order id is: one cache line holds twelve places, found by comparing their tags at once.
//
// A bucket keeps of each order its node's index and seven bits of its id's hash; the id itself is
// in the node, which whoever asks is about to touch anyway. Taking an id out clears one tag. What
// does not fit its bucket spills into the next ones, and the home bucket counts how many did.
#pragma once

#include <algorithm>
#include <cstddef>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "arena.hpp"

namespace touchstone {

class IdTable {
    struct Bucket;

public:
    /// An id and where to look for it, worked out once: in bulk, some rows ahead. It is good until
    /// the table grows.
    struct Sought {
        i64 number;
        Bucket* home;
        u32 tags;  // its tag, four times
    };

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
                if (old[at].tag[way] == Tag::Nobody) continue;
                insert(seek(arena.order(old[at].node[way]).order_id), old[at].node[way]);
            }
        }
        if (!was_empty) free_block(old, old_buckets * sizeof(Bucket));
    }

    /// Where an id was found: its node (or nobody), and where the table says so, for `erase_at`.
    struct Place {
        Index node = kNobody;
        Index* slot = nullptr;  // null where it spilled: `erase_spilled` finds it
    };

    /// Say where to look for an id.
    TOUCHSTONE_INLINE Sought seek(i64 number) const {
        const u64 hash = hash_of(number);
        return {number, buckets_ + (hash & mask_), tag_of(hash) * 0x01010101u};
    }

    /// Return the node of an id, or nobody.
    TOUCHSTONE_INLINE Index find(const Arena& arena, const Sought& id) const {
        return find_place(arena, id).node;
    }

    /// Return where an id probably is: without a branch, and without looking at the node. Where
    /// there is no such id, that is any slot of its bucket. The guess is right if the slot names a
    /// node with that id: whoever a slot names is live, or nobody.
    TOUCHSTONE_INLINE static Index* guess(const Sought& id) {
        const u32 way = u32(__builtin_ctz(tags_like(*id.home, id.tags) | 1u << (kWays - 1)));
        return id.home->node + way;
    }

    TOUCHSTONE_INLINE Place find_place(const Arena& arena, const Sought& id) const {
        for (unsigned places = places_of(*id.home, id.tags); places; places &= places - 1) {
            Index* const slot = id.home->node + u32(__builtin_ctz(places));
            if (TOUCHSTONE_LIKELY(arena.order(*slot).order_id == id.number)) return {*slot, slot};
        }
        if (TOUCHSTONE_LIKELY(id.home->spilled == 0)) return {};
        return {find_spilled(arena, id), nullptr};
    }

    /// Put in an id that is not there; there must be room.
    TOUCHSTONE_INLINE void insert(const Sought& id, Index node) {
        TOUCHSTONE_ASSERT(size_ < grow_at_);
        Bucket* bucket = id.home;
        ++size_;
        unsigned places = empty_places(*bucket);
        if (TOUCHSTONE_UNLIKELY(places == 0)) {
            bucket = spill(bucket);
            places = empty_places(*bucket);
            bucket->foreign |= u16(places & -places);
        }
        const u32 way = u32(__builtin_ctz(places));
        bucket->tag[way] = Tag(u8(id.tags));
        bucket->node[way] = node;
    }

    /// Take out an id that is there.
    TOUCHSTONE_INLINE void erase(const Sought& id, Index node) {
        const int way = way_of(*id.home, node, id.tags);
        erase_at({node, way < 0 ? nullptr : id.home->node + way}, id.number);
    }

    /// Take out an id just found.
    TOUCHSTONE_INLINE void erase_at(const Place& place, i64 number) {
        if (TOUCHSTONE_LIKELY(place.slot != nullptr)) return erase_slot(place.slot);
        --size_;
        erase_spilled(place.node, number);
    }

    /// Take out what a slot of its own bucket names.
    TOUCHSTONE_INLINE void erase_slot(Index* slot) {
        --size_;
        *slot = kNobody;
        tag_at(slot) = Tag::Nobody;
    }

    /// Say that an id is about to be looked for.
    TOUCHSTONE_INLINE static void expect(const Sought& id) { TOUCHSTONE_PREFETCH(id.home); }

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
                if (buckets_[at].tag[way] == Tag::Nobody) continue;
                ++found;
                const i64 order_id = arena.order(buckets_[at].node[way]).order_id;
                const u64 hash = hash_of(order_id);
                const bool is_away = (hash & mask_) != at;
                away += is_away;
                if (is_away != bool(buckets_[at].foreign >> way & 1)) return "a spill is unmarked";
                if (Tag(tag_of(hash)) != buckets_[at].tag[way]) return "an id is under another's tag";
                if (find(arena, seek(order_id)) != buckets_[at].node[way]) return "an id is not found";
            }
        }
        if (found != size_) return "the id table counts other than it has";
        return spilled == away || saturated ? "" : "the id table's spills are miscounted";
    }

private:
    static constexpr int kWays = 12;
    static constexpr u16 kManySpilled = UINT16_MAX;  // counted no further, up or down

    void release() {
        free_block(grow_at_ ? buckets_ : nullptr, bytes());
    }

    /// Seven bits of a hash, and one that is always set. No u8: writing through one of those may
    /// change anything as far as a compiler knows, and it would read the whole book anew.
    enum class Tag : u8 { Nobody = 0 };

    struct alignas(64) Bucket {
        Index node[kWays];  // nobody where the place is empty
        Tag tag[kWays];
        u16 foreign;  // the places, one bit each, of ids that are at home elsewhere
        u16 spilled;  // how many ids at home here stand elsewhere
    };
    static_assert(sizeof(Bucket) == 64 && offsetof(Bucket, tag) % 16 == 0);
    static constexpr unsigned kAllPlaces = (1u << kWays) - 1;

    /// The tag of what a slot, a bucket's `node[way]`, names.
    TOUCHSTONE_INLINE static Tag& tag_at(Index* slot) {
        const u64 at = reinterpret_cast<u64>(slot);
        Bucket* const bucket = reinterpret_cast<Bucket*>(at & ~u64(63));
        return bucket->tag[(at & 63) / sizeof(Index)];
    }

    /// Of 12: where more are taken, many spill.
    static u64 full_at(u64 buckets) { return buckets * 77 / 10; }

    /// One multiplication to twice the width, folded: every bit of the id reaches every bit.
    TOUCHSTONE_INLINE static u64 hash_of(i64 number) {
        const u128 wide = u128(u64(number) ^ 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
        return u64(wide) ^ u64(wide >> 64);
    }
    TOUCHSTONE_INLINE static u32 tag_of(u64 hash) { return u32(hash >> 56) | 1; }

    /// Return the places with a tag, one bit each; bits beyond them say nothing.
#if defined(__SSE2__)
    TOUCHSTONE_INLINE static unsigned tags_like(const Bucket& bucket, u32 tags) {
        const __m128i found = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tag));
        // Four at a time: as bytes, GCC takes them through memory, and that stalls.
        const __m128i wanted = _mm_set1_epi32(int(tags));
        return unsigned(_mm_movemask_epi8(_mm_cmpeq_epi8(found, wanted)));
    }
#else
    static unsigned tags_like(const Bucket& bucket, u32 tags) {
        unsigned places = 0;
        for (int way = 0; way < kWays; ++way) {
            places |= unsigned(bucket.tag[way] == Tag(u8(tags))) << way;
        }
        return places;
    }
#endif
    TOUCHSTONE_INLINE static unsigned places_of(const Bucket& bucket, u32 tags) {
        return tags_like(bucket, tags) & kAllPlaces;
    }
    TOUCHSTONE_INLINE static unsigned empty_places(const Bucket& bucket) {
        return places_of(bucket, u32(Tag::Nobody));
    }

    static Index find_in(const Bucket& bucket, const Arena& arena, const Sought& id) {
        for (unsigned left = places_of(bucket, id.tags); left; left &= left - 1) {
            const Index node = bucket.node[__builtin_ctz(left)];
            if (arena.order(node).order_id == id.number) return node;
        }
        return kNobody;
    }

    TOUCHSTONE_INLINE static int way_of(const Bucket& bucket, Index node, u32 tags) {
        for (unsigned places = places_of(bucket, tags); places; places &= places - 1) {
            const int way = __builtin_ctz(places);
            if (TOUCHSTONE_LIKELY(bucket.node[way] == node)) return way;
        }
        return -1;
    }

    TOUCHSTONE_COLD Index find_spilled(const Arena& arena, const Sought& id) const {
        const u64 home = u64(id.home - buckets_);
        const bool many = buckets_[home].spilled == kManySpilled;
        u64 at = (home + 1) & mask_;
        for (u32 left = buckets_[home].spilled; left && at != home; at = (at + 1) & mask_) {
            const Bucket& bucket = buckets_[at];
            const Index found = find_in(bucket, arena, id);
            if (found != kNobody) return found;
            for (unsigned places = bucket.foreign; places; places &= places - 1) {
                const i64 other = arena.order(bucket.node[__builtin_ctz(places)]).order_id;
                left -= !many && (hash_of(other) & mask_) == home;  // one of ours
            }
        }
        return kNobody;
    }

    TOUCHSTONE_COLD void erase_spilled(Index node, i64 number) {
        const Sought id = seek(number);
        u64 at = u64(id.home - buckets_);
        if (buckets_[at].spilled != kManySpilled) --buckets_[at].spilled;
        int way;
        do {
            at = (at + 1) & mask_;
            way = way_of(buckets_[at], node, id.tags);
        } while (way < 0);
        buckets_[at].node[way] = kNobody;
        buckets_[at].tag[way] = Tag::Nobody;
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

// What a command did: events for who asked, trades for the bulk interface.
//
// The book writes to an *outlet*, a type known at compile time: what an outlet does not keep costs
// nothing. `kKeepsIds` false leaves the id table alone (see tape.hpp).
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "memory.hpp"

namespace touchstone {

enum class EventKind : u8 {
    Accepted,
    Rejected,
    Traded,
    Refilled,
    Reduced,
    Replaced,
    Cancelled,
    Expired,
    Triggered
};

/// One event of lob.types, its numbers in the order of the fields there.
struct Event {
    EventKind kind;
    u8 code;  // the side, reason or yes-or-no among its fields
    i64 number[7];
};
static_assert(sizeof(Event) == 64);

/// Keep every event.
class EventOutlet {
public:
    static constexpr bool kKeepsIds = true;
    static constexpr int kFew = 4;

    void accepted(i64 order_id, Side side, i64 price_ticks, i64 lots) {
        add(EventKind::Accepted, u8(side), order_id, price_ticks, lots);
    }
    void rejected(i64 order_id, Refusal reason) {
        add(EventKind::Rejected, u8(reason), order_id);
    }
    void traded(i64 sequence, i64 maker, i64 taker, i64 price_ticks, i64 lots, Side aggressor,
                i64 maker_leaves, i64 taker_leaves) {
        add(EventKind::Traded, u8(aggressor), sequence, maker, taker, price_ticks, lots,
            maker_leaves, taker_leaves);
    }
    void refilled(i64 order_id, i64 displayed, i64 leaves) {
        add(EventKind::Refilled, 0, order_id, displayed, leaves);
    }
    void reduced(i64 order_id, i64 lots, i64 leaves) {
        add(EventKind::Reduced, 0, order_id, lots, leaves);
    }
    void replaced(i64 order_id, i64 price_ticks, i64 leaves, bool kept) {
        add(EventKind::Replaced, u8(kept), order_id, price_ticks, leaves);
    }
    void cancelled(i64 order_id, i64 lots, CancelReason reason) {
        add(EventKind::Cancelled, u8(reason), order_id, lots);
    }
    void expired(i64 order_id, i64 lots) { add(EventKind::Expired, 0, order_id, lots); }
    void triggered(i64 order_id, i64 stop_ticks) {
        add(EventKind::Triggered, 0, order_id, stop_ticks);
    }

    u64 size() const { return few_count_ + many_.size(); }
    const Event& operator[](u64 at) const { return at < kFew ? few_[at] : many_[at - kFew]; }

private:
    /// Write only the numbers that this kind of event has.
    template <class... Numbers>
    TOUCHSTONE_INLINE void add(EventKind kind, u8 code, Numbers... numbers) {
        Event& event = next();
        event.kind = kind;
        event.code = code;
        int place = 0;
        ((event.number[place++] = numbers), ...);
    }
    TOUCHSTONE_INLINE Event& next() {
        return TOUCHSTONE_LIKELY(few_count_ < kFew) ? few_[few_count_++] : next_of_many();
    }
    TOUCHSTONE_APART Event& next_of_many() { return many_.emplace_back(); }

    u32 few_count_ = 0;
    Event few_[kFew];
    std::vector<Event> many_;
};

/// Rows one behind the other, in memory that whoever asked for them can have as it lies.
///
/// `expect` reserves room for as many rows as there will probably be at most: memory that is not
/// written to costs nothing, and so no row waits for a large copy. What is small stays for the next
/// time.
template <class Row>
class Rows {
    static_assert(std::is_trivially_copyable_v<Row>);

public:
    Rows() = default;
    ~Rows() { release(); }
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;

    u64 size() const { return used_; }
    const Row* data() const { return rows(); }
    bool is_large() const { return used_ * sizeof(Row) >= kLarge; }

    /// Forget all rows, and find room for `most` more if there is that much.
    void expect(u64 most) {
        used_ = 0;
        const u64 wanted = std::min(most, kReserved);
        if (wanted * sizeof(Row) < kLarge || wanted <= room_) return;
        try {
            take_block(wanted);
        } catch (const std::bad_alloc&) {
            return;  // it will grow as it must
        }
    }

    TOUCHSTONE_INLINE Row& add() {
        if (TOUCHSTONE_UNLIKELY(used_ == room_)) grow();
        return rows()[used_++];
    }

    /// Forget all rows; what they took stays unless it is much.
    void clear() {
        if (block_.bytes >= kLarge) {
            release();
        } else {
            used_ = 0;
        }
    }

    /// Give the memory away, with the rows in it; it must go back to the spare blocks.
    Block give() {
        Block given = block_;
        given.touched = std::max(given.touched, used_ * sizeof(Row));
        block_ = {};
        used_ = room_ = 0;
        return given;
    }

private:
    static constexpr u64 kFirstRows = 64;
    static constexpr u64 kLarge = u64(1) << 20;     // bytes; less is copied, and kept
    static constexpr u64 kReserved = u64(1) << 24;  // rows

    TOUCHSTONE_INLINE Row* rows() const { return static_cast<Row*>(block_.memory); }

    TOUCHSTONE_COLD void grow() { take_block(std::max(kFirstRows, room_ * 2)); }

    void take_block(u64 room) {
        const u64 bytes = room * sizeof(Row);
        const Block grown = bytes < kLarge ? Block{make_block(bytes), bytes, 0}
                                           : spare_blocks().take(bytes);
        if (used_) std::memcpy(grown.memory, rows(), used_ * sizeof(Row));
        const u64 used = used_;
        release();
        block_ = grown;
        used_ = used;
        room_ = grown.bytes / sizeof(Row);
    }

    void release() {
        const Block given = give();
        if (given.bytes < kLarge) {
            free_block(given.memory, given.bytes);
        } else {
            spare_blocks().put(given);
        }
    }

    Block block_;
    u64 used_ = 0, room_ = 0;
};

/// Keep the trades only.
template <bool keeps_ids = true>
class TradeOutlet {
public:
    static constexpr bool kKeepsIds = keeps_ids;

    explicit TradeOutlet(Rows<Trade>& trades) : trades_(trades) {}

    TOUCHSTONE_INLINE void traded(i64 sequence, i64 maker, i64 taker, i64 price_ticks, i64 lots,
                                  Side aggressor, i64, i64) {
        Trade& row = trades_.add();
        row.ts_event_ns = ts_event_ns;
        row.sequence = sequence;
        row.maker_order_id = maker;
        row.taker_order_id = taker;
        row.price_ticks = price_ticks;
        row.quantity_lots = lots;
        row.aggressor_side = padded_byte(u8(sign_of(aggressor)));
    }
    void accepted(i64, Side, i64, i64) {}
    void refilled(i64, i64, i64) {}
    void reduced(i64, i64, i64) {}
    void replaced(i64, i64, i64, bool) {}
    void cancelled(i64, i64, CancelReason) {}
    void expired(i64, i64) {}
    void triggered(i64, i64) {}

    i64 ts_event_ns = 0;

private:
    Rows<Trade>& trades_;
};

/// Keep nothing, as callers in C do.
struct NoOutlet {
    static constexpr bool kKeepsIds = true;
    void traded(i64, i64, i64, i64, i64, Side, i64, i64) {}
    void accepted(i64, Side, i64, i64) {}
    void refilled(i64, i64, i64) {}
    void reduced(i64, i64, i64) {}
    void replaced(i64, i64, i64, bool) {}
    void cancelled(i64, i64, CancelReason) {}
    void expired(i64, i64) {}
    void triggered(i64, i64) {}
};

}  // namespace touchstone

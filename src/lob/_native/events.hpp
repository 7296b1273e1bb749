// What a command did: events for who asked, trades for the bulk interface.
//
// The book writes to an *outlet*, a type known at compile time: what an outlet does not keep costs
// nothing. `kKeepsIds` false leaves the id table alone (see tape.hpp).
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
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
    const Event* few() const { return few_; }
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

/// Rows in chunks: growing never moves what is there, so that no message waits for a large copy.
template <class Row>
class Chunks {
public:
    u64 size() const { return full_rows_ + used_; }

    TOUCHSTONE_INLINE Row& add() {
        if (TOUCHSTONE_UNLIKELY(used_ == room_)) open_chunk();
        return last_[used_++];
    }

    /// Copy all rows, oldest first, and forget them.
    void drain(void* to) {
        char* out = static_cast<char*>(to);
        u64 left = size();
        for (u64 at = 0; left > 0; ++at) {
            const u64 rows = std::min(left, chunks_[at].size);
            std::memcpy(out, chunks_[at].rows.get(), rows * sizeof(Row));
            out += rows * sizeof(Row);
            left -= rows;
        }
        clear();
    }

    /// Forget all rows; the memory of the first chunks is kept for the next ones.
    void clear() {
        if (chunks_.size() > kKept) chunks_.resize(kKept);
        open_ = used_ = room_ = full_rows_ = 0;
        last_ = nullptr;
    }

private:
    static constexpr u64 kFirstRows = 64, kGrowth = 4, kKept = 8;
    static constexpr u64 kMostRows = kHugePage / sizeof(Row);

    struct Release {
        void operator()(Row* rows) const { std::free(rows); }
    };
    struct Chunk {
        std::unique_ptr<Row, Release> rows;
        u64 size;
    };

    TOUCHSTONE_COLD void open_chunk() {
        if (open_ == chunks_.size()) {
            const u64 grown = chunks_.empty() ? kFirstRows : chunks_.back().size * kGrowth;
            const u64 size = std::min(grown, kMostRows);
            chunks_.reserve(chunks_.size() + 1);
            chunks_.push_back({std::unique_ptr<Row, Release>(
                                   static_cast<Row*>(make_block(kMostRows > size
                                                                    ? size * sizeof(Row)
                                                                    : kHugePage))),
                               size});
        }
        full_rows_ += used_;
        last_ = chunks_[open_].rows.get();
        room_ = chunks_[open_].size;
        used_ = 0;
        ++open_;
    }

    std::vector<Chunk> chunks_;
    u64 open_ = 0;  // how many chunks are in use
    Row* last_ = nullptr;
    u64 used_ = 0, room_ = 0, full_rows_ = 0;
};

/// Keep the trades only.
template <bool keeps_ids = true>
class TradeOutlet {
public:
    static constexpr bool kKeepsIds = keeps_ids;

    explicit TradeOutlet(Chunks<Trade>& trades) : trades_(trades) {}

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
    Chunks<Trade>& trades_;
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

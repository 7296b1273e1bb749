// The book for callers without Python: C functions on a handle, as numba and ctypes call them.
//
// A handle is `NativeOrderBook.handle`; it is good for as long as that book lives, and one thread
// may use it at a time. Nothing is thrown: what a function could not do it says by its number.
#pragma once

#include "book.hpp"

namespace touchstone::c {

/// What a call could not do, below every refusal's number.
enum Failure : i64 { kOutOfMemory = -100, kFull = -101, kBusy = -102, kUnusable = -103 };

/// A refusal as a number: -1 for the first of lob.types.RejectReason, -2 for the next.
constexpr i64 refused(Refusal refusal) { return -1 - i64(refusal); }

/// Counts what a command traded.
struct TradedLots : NoOutlet {
    i64 lots = 0;
    void traded(i64, i64, i64, i64, i64 quantity, Side, i64, i64) { lots += quantity; }
};

/// Call `act(book)`, which returns a number, and make numbers of what it throws.
template <class Act>
TOUCHSTONE_INLINE i64 guarded(void* handle, Act act) noexcept {
    Book& book = *static_cast<Book*>(handle);
    try {
        book.require_usable();
        return act(book);
    } catch (const Fault& fault) {
        return fault.kind == FaultKind::Overloaded ? kFull
               : fault.kind == FaultKind::Conflict ? kBusy
                                                   : kUnusable;
    } catch (...) {
        return kOutOfMemory;
    }
}

inline i64 zero_or(Refusal refusal) { return refusal == Refusal::None ? 0 : refused(refusal); }

}  // namespace touchstone::c

extern "C" {

/// Submit a limit order (a market order where `price_ticks` is 0); return the lots it traded, or
/// why not. `side` is +1 or -1; `time_in_force`, `display_lots` and `flags` are those of a message.
inline std::int64_t touchstone_book_submit(void* handle, std::int64_t order_id, std::int64_t side,
                                           std::int64_t quantity_lots, std::int64_t price_ticks,
                                           std::int64_t time_in_force, std::int64_t display_lots,
                                           std::int64_t flags, std::int64_t participant_id) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        if (side != 1 && side != -1) return c::kUnusable;
        if (time_in_force < 0 || time_in_force > i64(TimeInForce::Day)) return c::kUnusable;
        const i64 stp = (flags & flag::kStpMask) >> flag::kStpShift;
        if (stp > i64(Stp::DecrementAndCancel)) return c::kUnusable;
        NewOrder asked;
        asked.order_id = order_id;
        asked.side = side > 0 ? Side::Buy : Side::Sell;
        asked.quantity_lots = quantity_lots;
        asked.price_ticks = price_ticks;
        asked.type = price_ticks == 0 ? OrderType::Market : OrderType::Limit;
        asked.time_in_force = TimeInForce(time_in_force);
        asked.display_lots = display_lots;
        asked.stp = Stp(stp);
        asked.post_only = flags & flag::kPostOnly;
        asked.hidden = flags & flag::kHidden;
        asked.participant_id = participant_id;
        c::TradedLots out;
        const Refusal refusal = book.submit(asked, out);
        return refusal == Refusal::None ? out.lots : c::refused(refusal);
    });
}

/// Cancel an order; return 0, or why not.
inline std::int64_t touchstone_book_cancel(void* handle, std::int64_t order_id) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        NoOutlet nobody;
        return c::zero_or(book.cancel(order_id, nobody));
    });
}

/// Take lots off an order; return 0, or why not.
inline std::int64_t touchstone_book_reduce(void* handle, std::int64_t order_id,
                                           std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        NoOutlet nobody;
        return c::zero_or(book.reduce(order_id, quantity_lots, nobody));
    });
}

/// Replace an order; return the lots it traded, or why not.
inline std::int64_t touchstone_book_replace(void* handle, std::int64_t order_id,
                                            std::int64_t price_ticks, std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        c::TradedLots out;
        const Refusal refusal = book.replace(order_id, price_ticks, quantity_lots, out);
        return refusal == Refusal::None ? out.lots : c::refused(refusal);
    });
}

/// Move the book's time on; return 0. A time before the book's own changes nothing.
inline std::int64_t touchstone_book_advance(void* handle, std::int64_t now_ns) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        NoOutlet nobody;
        if (now_ns > book.now_ns()) book.advance(now_ns, nobody);
        return 0;
    });
}

/// Record what a feed says; return 0, or what cannot be true.
inline std::int64_t touchstone_book_feed_add(void* handle, std::int64_t order_id,
                                             std::int64_t side, std::int64_t price_ticks,
                                             std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        if (side != 1 && side != -1) return c::kUnusable;
        return c::zero_or(book.feed_add_any<NoOutlet>(order_id, side > 0 ? Side::Buy : Side::Sell,
                                                  price_ticks, quantity_lots, 0));
    });
}
inline std::int64_t touchstone_book_feed_delete(void* handle, std::int64_t order_id) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        const Book::Sought id = book.seek(order_id);
        return c::zero_or(book.feed_delete(id, Book::guess(id)));
    });
}
inline std::int64_t touchstone_book_feed_reduce(void* handle, std::int64_t order_id,
                                                std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        return c::zero_or(book.feed_reduce<NoOutlet>(order_id, quantity_lots));
    });
}
inline std::int64_t touchstone_book_feed_modify(void* handle, std::int64_t order_id,
                                                std::int64_t price_ticks,
                                                std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        return c::zero_or(book.feed_modify<NoOutlet>(order_id, price_ticks, quantity_lots));
    });
}
inline std::int64_t touchstone_book_feed_execute(void* handle, std::int64_t order_id,
                                                 std::int64_t quantity_lots) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        NoOutlet nobody;
        const Book::Sought id = book.seek(order_id);
        return c::zero_or(book.feed_execute(id, quantity_lots, nobody, Book::guess(id)));
    });
}

/// Return the best price that is shown on a side (+1 bid, -1 ask), and its lots; 0 where none is.
inline std::int64_t touchstone_book_best_price(void* handle, std::int64_t side) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        return book.touch(side > 0 ? Side::Buy : Side::Sell).price_ticks;
    });
}
inline std::int64_t touchstone_book_best_lots(void* handle, std::int64_t side) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) {
        return book.touch(side > 0 ? Side::Buy : Side::Sell).lots;
    });
}

/// Return the lots that are shown at a price.
inline std::int64_t touchstone_book_lots_at(void* handle, std::int64_t side,
                                            std::int64_t price_ticks) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        if (!in_range(price_ticks)) return 0;
        return book.level_at(side > 0 ? Side::Buy : Side::Sell, price_ticks).lots;
    });
}

/// Return what is left of a resting order; 0 where it does not rest.
inline std::int64_t touchstone_book_leaves(void* handle, std::int64_t order_id) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        RestingOrder found;
        return in_range(order_id) && book.find_order(order_id, found) ? found.leaves : 0;
    });
}

/// Return the lots before a resting order at its price, or why not.
inline std::int64_t touchstone_book_lots_ahead(void* handle, std::int64_t order_id) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 {
        if (!in_range(order_id) || !book.rests(order_id)) return c::refused(Refusal::UnknownOrder);
        return book.queue_position(order_id).lots_ahead;
    });
}

/// Return how many orders rest, and how many trades there were.
inline std::int64_t touchstone_book_order_count(void* handle) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) -> i64 { return book.order_count(); });
}
inline std::int64_t touchstone_book_trade_count(void* handle) {
    using namespace touchstone;
    return c::guarded(handle, [&](Book& book) { return book.trade_sequence(); });
}

}  // extern "C"

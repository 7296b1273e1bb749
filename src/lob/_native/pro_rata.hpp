// How a level's displayed orders share an aggressor's lots under pro-rata (rules 28 to 30).
#pragma once

#include "book.hpp"

namespace touchstone {

/// Settle self-trades, then trade one round with a level that shows something.
template <class Outlet>
TOUCHSTONE_COLD void Book::trade_pro_rata(Taker& taker, Index at, Outlet& out) {
    if (taker.guards()) {
        const Key key = ladder(opposite(taker.side)).best_key();
        settle_own_orders(taker, at, out);
        const Ladder& theirs = ladder(opposite(taker.side));
        if (taker.leaves == 0 || theirs.best_key() != key) return;  // the level may be gone
        if (arena_.level(at).order_count == 0) return;
    }
    trade_shares(taker, at, out);
}

/// Apply rules 16 to 19 to each displayed order of the aggressor's participant, by time.
template <class Outlet>
void Book::settle_own_orders(Taker& taker, Index level, Outlet& out) {
    for (Index at = arena_.level(level).first; at != level && taker.leaves > 0;) {
        const Index next = arena_.after(at);
        const bool last = arena_.level(level).order_count == 1;  // the level may go with it
        if (is_own(taker, at)) prevent_self_trade(taker, at, out);
        if (last) return;
        at = next;
    }
}

/// Trade one round: shares, then what is left by time; each order once, for both together.
template <class Outlet>
void Book::trade_shares(Taker& taker, Index at, Outlet& out) {
    const LevelNode level = arena_.level(at);  // as the round finds it
    const i64 quantity = std::min(taker.leaves, level.displayed_lots);
    i64 by_time = quantity < level.displayed_lots ? quantity - shares_of(quantity, level) : 0;
    exhausted_.clear();
    Index maker = level.first;
    for (u32 left = level.order_count; left > 0 && taker.leaves > 0; --left) {
        const Index next = arena_.after(maker);
        const OrderNode& order = arena_.order(maker);
        i64 lots = share_of(quantity, order.lots, level.displayed_lots);
        const i64 more = std::min(by_time, order.lots - lots);
        lots += more;
        by_time -= more;
        if (lots > 0) {
            record_trade(taker, order, lots, level.price_ticks, out);
            if (lots < order.lots) {
                take_queued(maker, lots);
            } else if (reserve_of(order) > 0) {
                exhausted_.push_back(maker);
                take_queued(maker, lots);
            } else {
                remove<Outlet>(maker);
            }
        }
        maker = next;
    }
    for (const Index iceberg : exhausted_) refill(iceberg, out);
}

/// Return an order's part of what trades; below the instrument's minimum it is nothing.
inline i64 Book::share_of(i64 quantity, i64 displayed, i64 total) const {
    if (quantity == total) return displayed;
    const i64 share = i64(i128(quantity) * displayed / total);
    return share < rules.minimum_allocation_lots ? 0 : share;
}

inline i64 Book::shares_of(i64 quantity, const LevelNode& level) const {
    i64 sum = 0;
    Index at = level.first;
    for (u32 left = level.order_count; left > 0; --left, at = arena_.after(at)) {
        sum += share_of(quantity, arena_.order(at).lots, level.displayed_lots);
    }
    return sum;
}

}  // namespace touchstone

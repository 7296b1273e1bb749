// What plain anonymous orders and levels do not have, kept apart so that they never touch it.
#pragma once

#include "arena.hpp"

namespace touchstone {

/// What an order has beyond its price and lots; one of these per order that has any of it.
struct Terms {
    Index order;  // whose they are
    u32 arrival;  // when it came (its node's word for that names these terms instead)
    i64 participant_id;
    i64 display_lots;  // what an iceberg shows after a refill; 0: not an iceberg
    i64 reserve_lots;  // what it does not show yet
    i64 expire_ns;     // 0: never
    Index expires_earlier, expires_later;  // the others of the same expiry, in a ring
    Stp stp;
    bool post_only;
    bool hidden;
    // Of a stop that waits:
    OrderType type;
    TimeInForce time_in_force;
    Side side;
    i64 stop_ticks;
    i64 price_ticks;

    Index& next_free() { return order; }
};

/// What a level with hidden orders, reserves or tracked orders has.
struct LevelExtra {
    Index hidden_list;  // the node that begins and ends the queue of hidden orders; 0: none yet
    u32 hidden_count;
    i64 hidden_lots;
    i64 reserve_lots;  // of all icebergs here
    Index tracked;     // the first of its tracked orders
    u32 unused;

    Index& next_free() { return hidden_list; }
    bool is_idle() const { return hidden_count == 0 && reserve_lots == 0 && tracked == 0; }
};

}  // namespace touchstone

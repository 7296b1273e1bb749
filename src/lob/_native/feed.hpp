// What a venue's feed says has happened (rule 38): nothing is matched, nothing triggered.
#pragma once

#include "book.hpp"

namespace touchstone {

/// Have an order come to rest as nearly all do: nobody's, at a price where others rest who show all
/// that they have. Whatever else there is, and what cannot be true, is left to `feed_add_any`.
template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_add(const Sought& id, Side side, i64 price_ticks,
                                         i64 lots) {
    Ladder& own = ladder(side);
    const Index level = own.find(own.key_of(price_ticks));
    const LevelNode& place = arena_.level(level);
    i64 total;
    if (TOUCHSTONE_UNLIKELY(!in_range(std::min(id.number, lots)) ||
                            level == kNobody || place.extra() != kNobody ||
                            __builtin_add_overflow(place.displayed_lots, lots, &total) ||
                            budget_ == 0 || find_live(id) != kNobody)) {
        return feed_add_any<Outlet>(id.number, side, price_ticks, lots, 0);
    }
    --budget_;
    const Index at = make_order(id.number, lots);
    ids_.insert(id, at);
    join(at, level);
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_APART Refusal Book::feed_add_any(i64 order_id, Side side, i64 price_ticks, i64 lots,
                                            i64 participant_id) {
    if (!in_range(order_id)) return Refusal::InvalidOrderId;
    if (!in_range(lots)) return Refusal::InvalidQuantity;
    if (!in_range(price_ticks)) return Refusal::InvalidPrice;
    if (participant_id < 0) return Refusal::InvalidParticipantId;
    if (find_live(order_id) != kNobody) return Refusal::DuplicateOrderId;
    Ladder& own = ladder(side);
    const Index level = own.find(own.key_of(price_ticks));
    if (overflows(level, lots)) return Refusal::LevelFull;
    make_room(level);
    if (participant_id == 0) {
        rest_plain(seek(order_id), side, price_ticks, lots, level);
        return Refusal::None;
    }
    make_room_for_terms(0);
    feed_add_with<Outlet>(order_id, side, price_ticks, lots, participant_id, level);
    return Refusal::None;
}

/// Have an order of a participant rest; there must be room.
template <class Outlet>
void Book::feed_add_with(i64 order_id, Side side, i64 price_ticks, i64 lots, i64 participant_id,
                         Index level) {
    NewOrder order;
    order.order_id = order_id;
    order.side = side;
    order.price_ticks = price_ticks;
    order.participant_id = participant_id;
    rest<Outlet>(order, lots, level);
}

/// Have an order be gone: the likely ones where they are guessed to be, the others by `_any`.
TOUCHSTONE_INLINE Refusal Book::feed_delete(const Sought& id, Index* guessed) {
    const Index at = *guessed;
    if (TOUCHSTONE_UNLIKELY(!is_plain(at, id.number))) return feed_delete_any(id.number);
    ids_.erase_slot(guessed);
    remove_plain(at);
    return Refusal::None;
}

TOUCHSTONE_APART inline Refusal Book::feed_delete_any(i64 order_id) {
    const IdTable::Place place = ids_.find_place(arena_, seek(order_id));
    const Index at = place.node;
    if (at == kNobody || is_stop(at)) return unknown(order_id);
    remove_found(place, order_id);
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_reduce(i64 order_id, i64 lots) {
    const IdTable::Place place = ids_.find_place(arena_, seek(order_id));
    const Index at = place.node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(order_id);
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    const i64 leaves = leaves_of(arena_.order(at));
    if (TOUCHSTONE_UNLIKELY(lots > leaves)) return Refusal::MoreThanLeaves;
    if (lots == leaves) {
        remove_found(place, order_id);
    } else {
        take_off(at, lots);
    }
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_execute(const Sought& id, i64 lots, Outlet& out,
                                             Index* guessed) {
    const Index at = *guessed;
    if (TOUCHSTONE_UNLIKELY(!is_plain(at, id.number) || !in_range(lots) ||
                            lots > arena_.order(at).lots)) {
        return feed_execute_any(id.number, lots, out);
    }
    const i64 left = arena_.order(at).lots - lots;
    record_execution(at, lots, left, out);
    if (left == 0) {
        ids_.erase_slot(guessed);
        remove_plain(at);
    } else {
        take_queued(at, lots);
    }
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_APART Refusal Book::feed_execute_any(i64 order_id, i64 lots, Outlet& out) {
    const IdTable::Place place = ids_.find_place(arena_, seek(order_id));
    const Index at = place.node;
    if (at == kNobody || is_stop(at)) return unknown(order_id);
    if (!in_range(lots)) return Refusal::InvalidQuantity;
    const i64 leaves = leaves_of(arena_.order(at));
    if (lots > leaves) return Refusal::MoreThanLeaves;
    record_execution(at, lots, leaves - lots, out);
    if (lots == leaves) {
        remove_found(place, order_id);
    } else {
        take_off(at, lots);
    }
    return Refusal::None;
}

/// Count and tell of a trade with an unknown taker; what the order has is changed by the caller.
template <class Outlet>
TOUCHSTONE_INLINE void Book::record_execution(Index at, i64 lots, i64 left, Outlet& out) {
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    out.traded(trade_sequence_ + 1, order.order_id, 0, level.price_ticks, lots,
               opposite(level.side()), left, 0);
    ++trade_sequence_;
    last_trade_ticks_ = level.price_ticks;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_modify(i64 order_id, i64 price_ticks, i64 lots) {
    const Index at = find_live(order_id);
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(order_id);
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    if (TOUCHSTONE_UNLIKELY(!in_range(price_ticks))) return Refusal::InvalidPrice;
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    const i64 leaves = leaves_of(order);
    if (price_ticks == level.price_ticks && lots <= leaves) {
        if (lots < leaves) take_off(at, leaves - lots);
        return Refusal::None;
    }
    const Refusal refusal = move_refusal(at, price_ticks, lots, false);
    if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) return refusal;
    make_room(kNobody);
    make_room_to_move(at);
    feed_move_at<Outlet>(at, price_ticks, lots);
    return Refusal::None;
}

/// Put an order at the tail of another price, or of its own with more lots.
template <class Outlet>
void Book::feed_move_at(Index at, i64 price_ticks, i64 lots) {
    NewOrder moved = as_new(at);
    moved.price_ticks = price_ticks;
    moving_ = tracker_.find(moved.order_id);
    remove<Outlet>(at);
    Ladder& own = ladder(moved.side);
    rest<Outlet>(moved, lots, own.find(own.key_of(price_ticks)));
    if (moving_ != kNobody) settle_tracked(moving_, find_live(moved.order_id));
    moving_ = kNobody;
    calendar_.unpin();
}

inline void Book::feed_clear() { clear_orders<NoOutlet>(); }

template <class Outlet>
void Book::clear_orders() {
    for (Ladder& side : ladders_) {
        while (!side.empty()) remove<Outlet>(first_maker(side.best()));
    }
}

}  // namespace touchstone

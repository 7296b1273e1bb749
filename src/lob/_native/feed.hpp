// What a venue's feed says has happened (rule 38): nothing is matched, nothing triggered.
#pragma once

#include "book.hpp"

namespace touchstone {

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_add(OrderId id, Side side, i64 price_ticks, i64 lots,
                                         i64 participant_id) {
    if (TOUCHSTONE_UNLIKELY(!in_range(id.number))) return Refusal::InvalidOrderId;
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    if (TOUCHSTONE_UNLIKELY(!in_range(price_ticks))) return Refusal::InvalidPrice;
    if (TOUCHSTONE_UNLIKELY(participant_id < 0)) return Refusal::InvalidParticipantId;
    if (TOUCHSTONE_UNLIKELY(find_live(id) != kNobody)) return Refusal::DuplicateOrderId;
    Ladder& own = ladder(side);
    const Index level = own.find(own.key_of(price_ticks));
    if (TOUCHSTONE_UNLIKELY(overflows(level, lots))) return Refusal::LevelFull;
    make_room(level);
    if (TOUCHSTONE_LIKELY(participant_id == 0)) {
        rest_plain<Outlet>(id, side, price_ticks, lots, level);
        return Refusal::None;
    }
    make_room_for_terms(0);
    feed_add_with<Outlet>(id.number, side, price_ticks, lots, participant_id, level);
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

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_delete(OrderId id, IdTable::Place guessed) {
    const IdTable::Place place = ids_.find_place(arena_, id, guessed);
    const Index at = place.node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(id.number);
    remove_found(place, id);
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_reduce(OrderId id, i64 lots,
                                            IdTable::Place guessed) {
    const IdTable::Place place = ids_.find_place(arena_, id, guessed);
    const Index at = place.node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(id.number);
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    const i64 leaves = leaves_of(arena_.order(at));
    if (TOUCHSTONE_UNLIKELY(lots > leaves)) return Refusal::MoreThanLeaves;
    if (lots == leaves) {
        remove_found(place, id);
    } else {
        take_off(at, lots);
    }
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_execute(OrderId id, i64 lots, Outlet& out,
                                             IdTable::Place guessed) {
    const IdTable::Place place = ids_.find_place(arena_, id, guessed);
    const Index at = place.node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(id.number);
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    const i64 leaves = leaves_of(arena_.order(at));
    if (TOUCHSTONE_UNLIKELY(lots > leaves)) return Refusal::MoreThanLeaves;
    record_execution(at, lots, leaves, out);
    if (lots == leaves) {
        remove_found(place, id);
    } else {
        take_off(at, lots);
    }
    return Refusal::None;
}

/// Count and tell of a trade with an unknown taker; what the order has is changed by the caller.
template <class Outlet>
TOUCHSTONE_INLINE void Book::record_execution(Index at, i64 lots, i64 leaves, Outlet& out) {
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    out.traded(trade_sequence_ + 1, order.order_id, 0, level.price_ticks, lots,
               opposite(level.side()), leaves - lots, 0);
    ++trade_sequence_;
    last_trade_ticks_ = level.price_ticks;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::feed_modify(OrderId id, i64 price_ticks, i64 lots,
                                            IdTable::Place guessed) {
    const Index at = ids_.find_place(arena_, id, guessed).node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody || is_stop(at))) return unknown(id.number);
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

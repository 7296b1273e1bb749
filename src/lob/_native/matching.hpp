// How commands trade, rest and change (rules 1 to 27).
#pragma once

#include "book.hpp"

namespace touchstone {

// ------------------------------------------------------------------ what can be wrong

/// Return the first field out of range (rule 22), and complete what the fields leave open.
TOUCHSTONE_INLINE Refusal Book::field_refusal(NewOrder& asked) const {
    const auto fits = [](i64 value, bool needed) { return needed ? in_range(value) : value == 0; };
    if (!in_range(asked.order_id)) return Refusal::InvalidOrderId;
    if (!in_range(asked.quantity_lots)) return Refusal::InvalidQuantity;
    if (!fits(asked.price_ticks, asked.has_limit())) return Refusal::InvalidPrice;
    if (!fits(asked.stop_ticks, asked.has_stop())) return Refusal::InvalidStopPrice;
    const i64 most_shown = asked.hidden ? 0 : asked.quantity_lots;
    if (asked.display_lots < 0 || asked.display_lots > most_shown ||
        shows_too_little(asked.display_lots, asked.quantity_lots)) {
        return Refusal::InvalidDisplay;
    }
    const bool dated = asked.time_in_force == TimeInForce::Gtd;
    if (dated ? asked.expire_ns <= now_ns_ : asked.expire_ns != 0) return Refusal::InvalidExpiry;
    if (asked.participant_id < 0) return Refusal::InvalidParticipantId;
    if (find_live(asked.order_id) != kNobody) return Refusal::DuplicateOrderId;
    complete(asked);
    return Refusal::None;
}

/// Fill in what the fields of an order leave open.
TOUCHSTONE_INLINE void Book::complete(NewOrder& asked) const {
    if (asked.display_lots == asked.quantity_lots) asked.display_lots = 0;
    if (TOUCHSTONE_UNLIKELY(asked.time_in_force == TimeInForce::Day)) {
        asked.expire_ns = next_day_close(now_ns_, rules.day_close_ns);
    }
    if (asked.type == OrderType::Market) asked.expire_ns = 0;
}

/// Look at what an order that arrives meets: post-only, FOK, level full (rule 22).
TOUCHSTONE_INLINE Book::Reception Book::receive(const NewOrder& order) {
    const Ladder& theirs = ladder(opposite(order.side));
    const Key limit = order.has_limit() ? theirs.key_of(order.price_ticks) : kAnyKey;
    Reception found{Refusal::None, theirs.best_key() <= limit, kNobody};
    if (TOUCHSTONE_UNLIKELY(order.post_only && found.crosses)) {
        found.refusal = Refusal::PostOnlyWouldCross;
        return found;
    }
    if (TOUCHSTONE_UNLIKELY(order.time_in_force == TimeInForce::Fok) && !is_fillable(order)) {
        found.refusal = Refusal::FokNotFillable;
        return found;
    }
    if (order.may_rest()) {
        Ladder& own = ladder(order.side);
        found.level = own.find(own.key_of(order.price_ticks));
        if (TOUCHSTONE_UNLIKELY(overflows(found.level, order.quantity_lots))) {
            found.refusal = Refusal::LevelFull;
        }
    }
    return found;
}

inline bool Book::is_fillable(const NewOrder& order) const {
    return walk(order, [](i64, i64) {}).lots == order.quantity_lots;
}

// ------------------------------------------------------------------ submit

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::submit(NewOrder& asked, Outlet& out) {
    const Refusal refusal = field_refusal(asked);
    if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) return refusal;
    if (TOUCHSTONE_UNLIKELY(asked.post_only && !asked.may_rest())) {
        return Refusal::PostOnlyNeedsResting;
    }
    Reception reception{Refusal::None, false, kNobody};
    if (TOUCHSTONE_LIKELY(!asked.has_stop())) {
        reception = receive(asked);
        if (TOUCHSTONE_UNLIKELY(reception.refusal != Refusal::None)) return reception.refusal;
    }
    make_room(kNobody);
    if (TOUCHSTONE_UNLIKELY(!asked.is_plain() || asked.has_stop())) {
        make_room_for_terms(asked.expire_ns);
    }
    begin_command();
    out.accepted(asked.order_id, asked.side, asked.price_ticks, asked.quantity_lots);
    if (TOUCHSTONE_UNLIKELY(asked.has_stop())) {
        submit_stop(asked, out);
    } else {
        act(asked, reception, out);
    }
    if (TOUCHSTONE_UNLIKELY(stop_count_ != 0)) release_stops(out);
    end_command();
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_APART Refusal Book::submit_crossing(i64 order_id, Side side, i64 lots, i64 price_ticks,
                                               Outlet& out) {
    NewOrder asked;
    asked.order_id = order_id;
    asked.side = side;
    asked.quantity_lots = lots;
    asked.price_ticks = price_ticks;
    return submit(asked, out);
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::submit_plain(const Sought& id, Side side, i64 lots, i64 price_ticks,
                                             Outlet& out) {
    const Ladder& theirs = ladder(opposite(side));
    const bool crosses = theirs.best_key() <= theirs.key_of(price_ticks);
    if (TOUCHSTONE_UNLIKELY(crosses || !in_range(price_ticks))) {
        return submit_crossing(id.number, side, lots, price_ticks, out);
    }
    if (TOUCHSTONE_UNLIKELY(!in_range(id.number))) return Refusal::InvalidOrderId;
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    if (TOUCHSTONE_UNLIKELY(find_live(id) != kNobody)) return Refusal::DuplicateOrderId;
    Ladder& own = ladder(side);
    const Index level = own.find(own.key_of(price_ticks));
    if (TOUCHSTONE_UNLIKELY(overflows(level, lots))) return Refusal::LevelFull;
    const bool grows = make_room(level);
    out.accepted(id.number, side, price_ticks, lots);
    // Where the table has grown, the id has another place.
    rest_plain(TOUCHSTONE_UNLIKELY(grows) ? seek(id.number) : id, side, price_ticks, lots, level);
    return Refusal::None;
}

/// Trade what crosses, then rest or cancel the remainder.
template <class Outlet>
TOUCHSTONE_INLINE void Book::act(const NewOrder& order, const Reception& reception, Outlet& out) {
    i64 leaves = order.quantity_lots;
    if (reception.crosses) {
        const Ladder& theirs = ladder(opposite(order.side));
        const Key limit = order.has_limit() ? theirs.key_of(order.price_ticks) : kAnyKey;
        Taker taker{order.order_id, leaves, order.participant_id, limit, order.side, order.stp};
        trade(taker, out);
        leaves = taker.leaves;
        if (leaves == 0) return;
    }
    if (order.may_rest()) {
        rest<Outlet>(order, leaves, reception.level);
    } else {
        out.cancelled(order.order_id, leaves,
                      order.has_limit() ? CancelReason::IocRemainder
                                        : CancelReason::MarketRemainder);
    }
}

// ------------------------------------------------------------------ trade

/// Trade with the touch until the taker is spent, stopped, or no price is left.
template <class Outlet>
void Book::trade(Taker& taker, Outlet& out) {
    const Ladder& theirs = ladder(opposite(taker.side));
    const bool guards = taker.guards();
    while (taker.leaves > 0 && theirs.best_key() <= taker.limit) {
        const Index level = theirs.best();
        if (TOUCHSTONE_UNLIKELY(rules.pro_rata) && arena_.level(level).order_count) {
            trade_pro_rata(taker, level, out);
            continue;
        }
        const Index maker = first_maker(level);
        if (TOUCHSTONE_UNLIKELY(guards) && is_own(taker, maker)) {
            prevent_self_trade(taker, maker, out);
        } else {
            trade_with(taker, maker, out);
        }
    }
}

/// Return who trades next at a level: displayed before hidden (rule 24).
TOUCHSTONE_INLINE Index Book::first_maker(Index at) const {
    const LevelNode& level = arena_.level(at);
    if (TOUCHSTONE_LIKELY(level.order_count != 0)) return level.first;
    return arena_.after(extras_[level.extra()].hidden_list);
}

TOUCHSTONE_INLINE bool Book::is_own(const Taker& taker, Index maker) const {
    const Terms* terms = terms_of(arena_.order(maker));
    return terms != nullptr && terms->participant_id == taker.participant_id;
}

/// Count a trade and tell of it; what the maker has is changed by the caller.
template <class Outlet>
TOUCHSTONE_INLINE void Book::record_trade(Taker& taker, const OrderNode& maker, i64 lots,
                                          i64 price_ticks, Outlet& out) {
    TOUCHSTONE_ASSERT(lots > 0 && lots <= taker.leaves && lots <= maker.lots);
    taker.leaves -= lots;
    last_trade_ticks_ = price_ticks;
    highest_trade_ = std::max(highest_trade_, price_ticks);
    lowest_trade_ = std::min(lowest_trade_, price_ticks);
    out.traded(++trade_sequence_, maker.order_id, taker.order_id, price_ticks, lots, taker.side,
               leaves_of(maker) - lots, taker.leaves);
}

/// Trade all that both have; an iceberg then shows new lots at the tail (rule 26).
template <class Outlet>
TOUCHSTONE_INLINE void Book::trade_with(Taker& taker, Index at, Outlet& out) {
    const OrderNode& maker = arena_.order(at);
    const i64 lots = std::min(taker.leaves, maker.lots);
    record_trade(taker, maker, lots, arena_.level(maker.level()).price_ticks, out);
    if (lots < maker.lots) {
        take_queued(at, lots);
    } else if (TOUCHSTONE_UNLIKELY(reserve_of(maker) > 0)) {
        take_queued(at, lots);
        refill(at, out);
    } else {
        remove<Outlet>(at);
    }
}

/// Have an iceberg whose displayed lots have traded show new ones, at the tail of its level.
template <class Outlet>
TOUCHSTONE_COLD void Book::refill(Index at, Outlet& out) {
    const u32 arrival = next_arrival();  // first: it may number all anew
    OrderNode& order = arena_.order(at);
    Terms& terms = terms_[order.arrival_word];
    const Index level = order.level();
    LevelNode& place = arena_.level(level);
    TOUCHSTONE_ASSERT(order.lots == 0 && terms.reserve_lots > 0);
    const i64 shown = std::min(terms.display_lots, terms.reserve_lots);
    order.lots = shown;
    terms.reserve_lots -= shown;
    place.displayed_lots += shown;
    arena_.unlink(at);
    arena_.append(level, at);
    const u32 was_arrival = terms.arrival;
    terms.arrival = arrival;
    LevelExtra& extra = extras_[place.extra()];
    extra.reserve_lots -= shown;
    if (extra.tracked != kNobody) {
        tracker_.note_refill(extra, at, was_arrival, terms.arrival, tail_position(at));
    }
    out.refilled(order.order_id, shown, leaves_of(order));
    release_idle_extra(level);
}

/// Apply the aggressor's mode to two orders of one participant (rules 16 to 19).
template <class Outlet>
TOUCHSTONE_COLD void Book::prevent_self_trade(Taker& taker, Index at, Outlet& out) {
    const OrderNode& maker = arena_.order(at);
    const i64 maker_id = maker.order_id, maker_leaves = leaves_of(maker);
    if (taker.stp == Stp::DecrementAndCancel) {
        const i64 lots = std::min(taker.leaves, maker_leaves);
        if (lots < maker_leaves) {
            take_off(at, lots);
            out.reduced(maker_id, lots, maker_leaves - lots);
        } else {
            remove<Outlet>(at);
            out.cancelled(maker_id, lots, CancelReason::SelfTrade);
        }
        taker.leaves -= lots;
        if (taker.leaves) {
            out.reduced(taker.order_id, lots, taker.leaves);
        } else {
            out.cancelled(taker.order_id, lots, CancelReason::SelfTrade);
        }
        return;
    }
    if (taker.stp != Stp::CancelNewest) {
        remove<Outlet>(at);
        out.cancelled(maker_id, maker_leaves, CancelReason::SelfTrade);
    }
    if (taker.stp != Stp::CancelOldest) {
        out.cancelled(taker.order_id, taker.leaves, CancelReason::SelfTrade);
        taker.leaves = 0;  // stopped for good: neither this level nor any other, and no rest
    }
}

// ------------------------------------------------------------------ cancel, reduce, replace

/// Cancel an order: the likely ones where they are guessed to be.
template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::cancel(const Sought& id, Outlet& out, Index* guessed) {
    const Index at = *guessed;
    if (TOUCHSTONE_UNLIKELY(!is_plain(at, id.number))) return cancel(id.number, out);
    out.cancelled(id.number, arena_.order(at).lots, CancelReason::Requested);
    ids_.erase_slot(guessed);
    remove_plain(at);
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_APART Refusal Book::cancel(i64 order_id, Outlet& out) {
    const IdTable::Place place = ids_.find_place(arena_, seek(order_id));
    const Index at = place.node;
    if (TOUCHSTONE_UNLIKELY(at == kNobody)) return unknown(order_id);
    out.cancelled(order_id, leaves_of(arena_.order(at)), CancelReason::Requested);
    if (TOUCHSTONE_UNLIKELY(is_stop(at))) {
        unwait(at);
    } else {
        remove_found(place, order_id);
    }
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::reduce(i64 order_id, i64 lots, Outlet& out) {
    const Index at = find_live(order_id);
    if (TOUCHSTONE_UNLIKELY(at == kNobody)) return unknown(order_id);
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    const i64 leaves = leaves_of(arena_.order(at));
    if (lots >= leaves) return cancel(order_id, out);
    out.reduced(order_id, lots, leaves - lots);
    if (TOUCHSTONE_UNLIKELY(is_stop(at))) {
        arena_.order(at).lots -= lots;
    } else {
        take_off(at, lots);
    }
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::replace(i64 order_id, i64 price_ticks, i64 lots, Outlet& out) {
    const Index at = find_live(order_id);
    if (TOUCHSTONE_UNLIKELY(at == kNobody)) return unknown(order_id);
    if (TOUCHSTONE_UNLIKELY(is_stop(at))) return Refusal::StopNotTriggered;
    if (TOUCHSTONE_UNLIKELY(!in_range(lots))) return Refusal::InvalidQuantity;
    if (TOUCHSTONE_UNLIKELY(!in_range(price_ticks))) return Refusal::InvalidPrice;
    const OrderNode& order = arena_.order(at);
    const i64 leaves = leaves_of(order);
    if (price_ticks == arena_.level(order.level()).price_ticks && lots <= leaves) {
        out.replaced(order_id, price_ticks, lots, true);
        if (lots < leaves) take_off(at, leaves - lots);
        return Refusal::None;
    }
    return move(at, price_ticks, lots, out);
}

/// Return what forbids an order to leave its place for another.
TOUCHSTONE_INLINE Refusal Book::move_refusal(Index at, i64 price_ticks, i64 lots, bool crosses) {
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    if (TOUCHSTONE_UNLIKELY(order.has_terms())) {
        const Terms& terms = terms_[order.arrival_word];
        if (shows_too_little(terms.display_lots, lots)) return Refusal::InvalidDisplay;
        if (crosses && terms.post_only) return Refusal::PostOnlyWouldCross;
    }
    Ladder& own = ladder(level.side());
    const i64 already_there = price_ticks == level.price_ticks ? leaves_of(order) : 0;
    const bool full = overflows(own.find(own.key_of(price_ticks)), lots - already_there);
    return full ? Refusal::LevelFull : Refusal::None;
}

/// Have an order leave its place and come back as a new arrival.
template <class Outlet>
TOUCHSTONE_INLINE Refusal Book::move(Index at, i64 price_ticks, i64 lots, Outlet& out) {
    const OrderNode& order = arena_.order(at);
    const Side side = arena_.level(order.level()).side();
    const Ladder& theirs = ladder(opposite(side));
    const bool crosses = theirs.best_key() <= theirs.key_of(price_ticks);
    const Refusal refusal = move_refusal(at, price_ticks, lots, crosses);
    if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) return refusal;
    make_room(kNobody);
    make_room_to_move(at);
    move_at(at, price_ticks, lots, crosses, out);
    return Refusal::None;
}

template <class Outlet>
TOUCHSTONE_INLINE void Book::move_at(Index at, i64 price_ticks, i64 lots, bool crosses,
                                     Outlet& out) {
    begin_command();
    NewOrder moved = as_new(at);
    moved.price_ticks = price_ticks;
    moved.quantity_lots = lots;
    moving_ = tracker_.find(moved.order_id);
    remove<Outlet>(at);
    out.replaced(moved.order_id, price_ticks, lots, false);
    Ladder& own = ladder(moved.side);
    act(moved, {Refusal::None, crosses, own.find(own.key_of(price_ticks))}, out);
    if (TOUCHSTONE_UNLIKELY(moving_ != kNobody)) {
        const Index rested = find_live(moved.order_id);
        if (rested != kNobody) {
            settle_tracked(moving_, rested);
        } else {
            tracker_.drop(moving_);
        }
        moving_ = kNobody;
    }
    if (TOUCHSTONE_UNLIKELY(stop_count_ != 0)) release_stops(out);
    end_command();
}

/// Return a resting order as if it were to arrive.
TOUCHSTONE_INLINE NewOrder Book::as_new(Index at) const {
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    NewOrder found;
    found.order_id = order.order_id;
    found.side = level.side();
    found.price_ticks = level.price_ticks;
    found.quantity_lots = order.lots;
    if (TOUCHSTONE_UNLIKELY(order.has_terms())) {
        const Terms& terms = terms_[order.arrival_word];
        found.quantity_lots += terms.reserve_lots;
        found.display_lots = terms.display_lots;
        found.expire_ns = terms.expire_ns;
        found.participant_id = terms.participant_id;
        found.stp = terms.stp;
        found.post_only = terms.post_only;
        found.hidden = terms.hidden;
    }
    return found;
}

}  // namespace touchstone

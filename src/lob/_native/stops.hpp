// Orders that wait for a trade at their stop price (rules 31 to 35).
#pragma once

#include "book.hpp"

namespace touchstone {

inline bool Book::is_triggered(const NewOrder& stop) const {
    if (last_trade_ticks_ == 0) return false;
    return stop.side == Side::Buy ? last_trade_ticks_ >= stop.stop_ticks
                                  : last_trade_ticks_ <= stop.stop_ticks;
}

/// Take a new stop, accepted already: it is triggered at once, or waits.
template <class Outlet>
TOUCHSTONE_COLD void Book::submit_stop(const NewOrder& asked, Outlet& out) {
    if (is_triggered(asked)) {
        trigger(asked, out);
    } else {
        wait(asked);
    }
}

/// Have a stop act as the order that it becomes; where a rule refuses that, it is cancelled.
template <class Outlet>
void Book::trigger(const NewOrder& stop, Outlet& out) {
    out.triggered(stop.order_id, stop.stop_ticks);
    NewOrder order = stop;
    order.type = stop.type == OrderType::Stop ? OrderType::Market : OrderType::Limit;
    const Reception reception = receive(order);
    if (reception.refusal == Refusal::None) {
        act(order, reception, out);
    } else {
        out.cancelled(order.order_id, order.quantity_lots,
                      reception.refusal == Refusal::LevelFull ? CancelReason::LevelFull
                                                              : CancelReason::FokNotFillable);
    }
}

/// Put a stop at the tail of those with its price; there must be room for its node and terms.
inline void Book::wait(const NewOrder& stop) {
    triggered_.reserve(u64(stop_count_) + 1);
    WaitingSide& side = waiting(stop.side);
    const auto [place, is_new] = side.try_emplace(stop_key(stop.side, stop.stop_ticks), kNobody);
    if (is_new) {
        place->second = arena_.take();
        arena_.make_list(place->second);
    }
    const Index at = arena_.take(), made = terms_.take();
    OrderNode& order = arena_.order(at);
    order.order_id = stop.order_id;
    order.lots = stop.quantity_lots;
    order.level_word = OrderNode::kHasTerms;
    order.arrival_word = made;
    arena_.append(place->second, at);
    terms_[made] = Terms{at, 0, stop.participant_id, stop.display_lots, 0, stop.expire_ns, kNobody,
                         kNobody, stop.stp, stop.post_only, stop.hidden, stop.type,
                         stop.time_in_force, stop.side, stop.stop_ticks, stop.price_ticks};
    if (stop.expire_ns) calendar_.add(terms_, made);
    ids_.insert(seek(stop.order_id), at);
    ++stop_count_;
}

/// Take a stop out of those that wait; what it asked must have been read before.
inline void Book::unwait(Index at) {
    const OrderNode& order = arena_.order(at);
    const Index made = order.arrival_word;
    const Terms& terms = terms_[made];
    arena_.unlink(at);
    WaitingSide& side = waiting(terms.side);
    const auto place = side.find(stop_key(terms.side, terms.stop_ticks));
    if (place != side.end() && arena_.after(place->second) == place->second) {
        arena_.give_back(place->second);
        side.erase(place);
    }
    if (terms.expire_ns) calendar_.remove(terms_, made);
    ids_.erase(seek(order.order_id), at);
    terms_.give_back(made);
    arena_.give_back(at);
    --stop_count_;
}

/// Return what a stop asks, with what is left of it.
inline NewOrder Book::as_stop(Index at) const {
    const OrderNode& order = arena_.order(at);
    const Terms& terms = terms_[order.arrival_word];
    NewOrder stop;
    stop.order_id = order.order_id;
    stop.quantity_lots = order.lots;
    stop.price_ticks = terms.price_ticks;
    stop.stop_ticks = terms.stop_ticks;
    stop.display_lots = terms.display_lots;
    stop.expire_ns = terms.expire_ns;
    stop.participant_id = terms.participant_id;
    stop.side = terms.side;
    stop.type = terms.type;
    stop.time_in_force = terms.time_in_force;
    stop.stp = terms.stp;
    stop.post_only = terms.post_only;
    stop.hidden = terms.hidden;
    return stop;
}

/// Release what the command's trades triggered, and what those stops trigger in turn (rule 33).
template <class Outlet>
TOUCHSTONE_COLD void Book::release_stops(Outlet& out) {
    triggered_.clear();
    collect_triggered();
    for (u64 next = 0; next < triggered_.size(); ++next) {
        const NewOrder stop = as_stop(triggered_[next]);
        unwait(triggered_[next]);
        make_room(kNobody);
        make_room_for_terms(stop.expire_ns);
        begin_command();
        trigger(stop, out);
        collect_triggered();
    }
}

/// Note what is triggered by now: BUY, lowest stop price first, then SELL, highest first.
inline void Book::collect_triggered() {
    if (highest_trade_ == 0) return;  // nothing traded
    collect_triggered(Side::Buy, highest_trade_);
    collect_triggered(Side::Sell, lowest_trade_);
}

inline void Book::collect_triggered(Side side, i64 price_ticks) {
    WaitingSide& stops = waiting(side);
    const Key reached = stop_key(side, price_ticks);
    while (!stops.empty() && stops.begin()->first <= reached) {
        const Index list = stops.begin()->second;
        while (arena_.after(list) != list) {
            const Index at = arena_.after(list);
            arena_.unlink(at);
            arena_.make_list(at);  // a list of its own: `unwait` may unlink it again
            triggered_.push_back(at);
        }
        arena_.give_back(list);
        stops.erase(stops.begin());
    }
}

}  // namespace touchstone

// What can be asked of a book: nothing here changes it (rules 41 and 42).
#pragma once

#include "book.hpp"

namespace touchstone {

template <class Visit>
void Book::visit_displayed_levels(Side side, Visit visit) const {
    const Ladder& own = ladder(side);
    for (auto place = own.first(); place.level; place = own.after(place.key)) {
        const LevelNode& level = arena_.level(place.level);
        if (level.order_count == 0) continue;
        if (!visit(Touch{level.price_ticks, level.displayed_lots, level.order_count})) return;
    }
}

inline Touch Book::touch(Side side) const {
    Touch found;
    visit_displayed_levels(side, [&found](const Touch& level) {
        found = level;
        return false;
    });
    return found;
}

inline Touch Book::level_at(Side side, i64 price_ticks) {
    Ladder& own = ladder(side);
    const Index at = own.find(own.key_of(price_ticks));
    if (at == kNobody || arena_.level(at).order_count == 0) return {};
    const LevelNode& level = arena_.level(at);
    return {level.price_ticks, level.displayed_lots, level.order_count};
}

inline RestingOrder Book::view(Index at, Side side, i64 price_ticks) const {
    const OrderNode& order = arena_.order(at);
    RestingOrder found{};
    found.order_id = order.order_id;
    found.side = side;
    found.price_ticks = price_ticks;
    found.leaves = found.displayed_lots = order.lots;
    if (const Terms* terms = terms_of(order)) {
        found.leaves += terms->reserve_lots;
        if (terms->hidden) found.displayed_lots = 0;
        found.display_lots = terms->display_lots;
        found.participant_id = terms->participant_id;
        found.expire_ns = terms->expire_ns;
        found.stp = terms->stp;
        found.post_only = terms->post_only;
        found.hidden = terms->hidden;
    }
    return found;
}

/// Visit the nodes of one side's orders by priority.
template <class Visit>
void Book::visit_nodes(Side side, Visit visit) const {
    const Ladder& own = ladder(side);
    for (auto place = own.first(); place.level; place = own.after(place.key)) {
        const LevelNode& level = arena_.level(place.level);
        visit_queue(place.level, visit);
        if (level.extra() == kNobody) continue;
        const Index hidden = extras_[level.extra()].hidden_list;
        if (hidden != kNobody) visit_queue(hidden, visit);
    }
}

template <class Visit>
void Book::visit_orders(Side side, Visit visit) const {
    visit_nodes(side, [&](Index at) {
        visit(view(at, side, arena_.level(arena_.order(at).level()).price_ticks));
    });
}

template <class Visit>
void Book::visit_stops(Visit visit) const {
    for (const WaitingSide* side : {&buy_stops_, &sell_stops_}) {
        for (const auto& [key, list] : *side) {
            visit_queue(list, [&](Index at) { visit(as_stop(at)); });
        }
    }
}

inline bool Book::find_order(i64 order_id, RestingOrder& found) const {
    const Index at = resting(order_id);
    if (at == kNobody) return false;
    const LevelNode& level = arena_.level(arena_.order(at).level());
    found = view(at, level.side(), level.price_ticks);
    return true;
}

inline bool Book::first_order(Side side, i64 price_ticks, RestingOrder& found) {
    Ladder& own = ladder(side);
    const Index level = own.find(own.key_of(price_ticks));
    if (level == kNobody) return false;
    found = view(first_maker(level), side, price_ticks);
    return true;
}

inline u64 Book::levels_before(i64 order_id) const {
    const LevelNode& own = arena_.level(arena_.order(resting(order_id)).level());
    u64 before = 0;
    visit_displayed_levels(own.side(), [&](const Touch& level) {
        if (level.price_ticks == own.price_ticks) return false;
        const bool better = (level.price_ticks < own.price_ticks) == (own.side() == Side::Sell);
        before += better;
        return better;
    });
    return before;
}

inline QueuePosition Book::queue_position(i64 order_id) const {
    const Index record = tracker_.find(order_id);
    return record != kNobody ? tracker_[record].position : walked_position(resting(order_id));
}

inline QueuePosition Book::track(i64 order_id) {
    const Index known = tracker_.find(order_id);
    if (known != kNobody) return tracker_[known].position;
    const Index at = resting(order_id);
    if (tracker_.limit() == 0) return walked_position(at);
    extras_.make_room(1);
    if (tracker_.size() >= tracker_.limit()) untrack(tracker_[tracker_.oldest()].order_id);
    const Index record = tracker_.add(order_id);
    settle_tracked(record, at);
    return tracker_[record].position;
}

inline void Book::untrack(i64 order_id) {
    const Index record = tracker_.find(order_id);
    if (record == kNobody) return;
    const Index level = arena_.order(tracker_[record].order).level();
    tracker_.unsettle(extras_[arena_.level(level).extra()], record);
    tracker_.drop(record);
    release_idle_extra(level);
}

// ------------------------------------------------------------------ what would trade

/// Add up what an IOC order would trade, level by level.
template <class Visit>
Walk Book::walk(const NewOrder& asked, Visit visit) const {
    const Ladder& theirs = ladder(opposite(asked.side));
    const Key limit = asked.price_ticks ? theirs.key_of(asked.price_ticks) : kAnyKey;
    const Taker taker{0, 0, asked.participant_id, limit, asked.side, asked.stp};
    const bool guards = taker.guards();
    i64 wanted = asked.quantity_lots;
    Walk found;
    for (auto place = theirs.first(); place.level && place.key <= limit && wanted > 0;
         place = theirs.after(place.key)) {
        const LevelNode& level = arena_.level(place.level);
        i64 taken;
        if (guards) {
            taken = walk_guarded(taker, place.level, wanted);
        } else {
            taken = std::min(wanted, total_lots(level));
            wanted -= taken;
        }
        if (taken == 0) continue;
        found.lots += taken;
        found.cost_tick_lots += i128(taken) * level.price_ticks;
        found.worst_price_ticks = level.price_ticks;
        visit(level.price_ticks, taken);
    }
    return found;
}

/// Meet an own order: what is wanted after it, by the aggressor's mode.
inline void Book::walk_own(const Taker& taker, const OrderNode& maker, i64& wanted) const {
    if (taker.stp == Stp::CancelOldest) return;
    wanted = taker.stp == Stp::DecrementAndCancel
                 ? wanted - std::min(wanted, leaves_of(maker))
                 : 0;  // the aggressor is cancelled here, for good
}

/// Return what trades at a level where own orders may stand.
inline i64 Book::walk_guarded(const Taker& taker, Index at, i64& wanted) const {
    const LevelNode& level = arena_.level(at);
    i64 taken = 0, reserves = 0;
    if (rules.pro_rata) {  // own displayed orders are settled before anyone trades
        visit_queue(at, [&](Index maker) {
            if (wanted > 0 && is_own(taker, maker)) walk_own(taker, arena_.order(maker), wanted);
        });
    }
    taken += walk_queue(taker, at, !rules.pro_rata, wanted, reserves);
    // Every own order has been met once: what refills is others'.
    const i64 refilled = std::min(wanted, reserves);
    taken += refilled;
    wanted -= refilled;
    if (level.extra() != kNobody && extras_[level.extra()].hidden_list != kNobody) {
        taken += walk_queue(taker, extras_[level.extra()].hidden_list, true, wanted, reserves);
    }
    return taken;
}

/// Return what trades in one queue as it stands, and add up the reserves behind it.
inline i64 Book::walk_queue(const Taker& taker, Index list, bool meets_own, i64& wanted,
                            i64& reserves) const {
    i64 taken = 0;
    for (Index at = arena_.after(list); at != list && wanted > 0; at = arena_.after(at)) {
        const OrderNode& maker = arena_.order(at);
        if (is_own(taker, at)) {
            if (meets_own) walk_own(taker, maker, wanted);
            continue;
        }
        const i64 lots = std::min(wanted, maker.lots);
        taken += lots;
        wanted -= lots;
        reserves += reserve_of(maker);
    }
    return taken;
}

}  // namespace touchstone

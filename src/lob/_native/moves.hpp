// The moves that everything in the book is made of: rest, remove, take off, expire.
#pragma once

#include "book.hpp"

namespace touchstone {

// ------------------------------------------------------------------ room

/// Make room for some commands, or for one where the book is nearly full.
inline void Book::make_room_slowly() {
    const u32 commands = arena_.can_have(kNodesEach * kCommands) ? kCommands : 1;
    arena_.make_room(kNodesEach * commands);
    ids_.make_room(arena_, u64(ids_.size()) + commands);
    ladders_[0].make_room();
    ladders_[1].make_room();
    budget_ = commands;
}

inline void Book::make_room_for_terms(i64 expire_ns) {
    terms_.make_room(1);
    extras_.make_room(1);
    if (expire_ns) calendar_.pin(expire_ns);
}

inline void Book::make_room_to_move(Index at) {
    const OrderNode& order = arena_.order(at);
    if (TOUCHSTONE_LIKELY(!order.has_terms() && tracker_.size() == 0)) return;
    make_room_for_terms(order.has_terms() ? terms_[order.arrival_word].expire_ns : 0);
}

inline void Book::pin_expiry_of(Index at) {
    const Terms* terms = terms_of(arena_.order(at));
    if (terms != nullptr && terms->expire_ns) calendar_.pin(terms->expire_ns);
}

// ------------------------------------------------------------------ levels

inline Index Book::make_level(Side side, i64 price_ticks) {
    const Index at = arena_.take();
    LevelNode& level = arena_.level(at);
    arena_.make_list(at);
    level.order_count = 0;
    level.extra_word = side == Side::Sell ? LevelNode::kIsAsk : 0;
    level.price_ticks = price_ticks;
    level.displayed_lots = 0;
    Ladder& own = ladder(side);
    own.insert(own.key_of(price_ticks), at);
    note_touch();
    return at;
}

/// A bid's key is what its price lacks to 2^63-1, so that both keys together say who is higher.
inline void Book::note_touch() {
    const Key ask = ladders_[1].best_key();
    crossed_ = ask <= kAnyKey && ladders_[0].best_key() <= kAnyKey - ask;
}

/// Take a level that shows nothing off its ladder, unless hidden orders are there.
inline void Book::close_level(Index at) {
    const LevelNode& level = arena_.level(at);
    TOUCHSTONE_ASSERT(level.order_count == 0);
    if (TOUCHSTONE_UNLIKELY(level.extra() != kNobody)) {
        if (extras_[level.extra()].hidden_count) return;
        release_extra(at);
    }
    Ladder& own = ladder(level.side());
    own.erase(own.key_of(level.price_ticks));
    arena_.give_back(at);
    note_touch();
}

/// Return a level's extras, made now where it had none; there must be room.
inline LevelExtra& Book::extra_of(Index at) {
    LevelNode& level = arena_.level(at);
    if (level.extra() != kNobody) return extras_[level.extra()];
    const Index made = extras_.take();
    level.extra_word |= made;
    extras_[made] = LevelExtra{};
    return extras_[made];
}

inline void Book::release_extra(Index at) {
    LevelNode& level = arena_.level(at);
    const Index extra = level.extra();
    if (extras_[extra].hidden_list != kNobody) arena_.give_back(extras_[extra].hidden_list);
    extras_.give_back(extra);
    level.extra_word &= LevelNode::kIsAsk;
}

inline void Book::release_idle_extra(Index at) {
    if (extras_[arena_.level(at).extra()].is_idle()) release_extra(at);
}

// ------------------------------------------------------------------ rest

/// Put an order at the tail of its price; `level` is nobody where nobody rests there yet.
template <class Outlet>
TOUCHSTONE_INLINE void Book::rest(const NewOrder& asked, i64 lots, Index level) {
    const Index at = make_order(asked.order_id, lots);
    if (Outlet::kKeepsIds) ids_.insert(seek(asked.order_id), at);
    if (TOUCHSTONE_UNLIKELY(level == kNobody)) level = make_level(asked.side, asked.price_ticks);
    if (TOUCHSTONE_UNLIKELY(!asked.is_plain())) return rest_with_terms(asked, lots, level, at);
    queue_plain(at, level);
}

/// The same for an order that is nothing but an id, a price and lots.
TOUCHSTONE_INLINE void Book::rest_plain(const Sought& id, Side side, i64 price_ticks, i64 lots,
                                        Index level) {
    const Index at = make_order(id.number, lots);
    ids_.insert(id, at);
    if (TOUCHSTONE_UNLIKELY(level == kNobody)) level = make_level(side, price_ticks);
    queue_plain(at, level);
}

TOUCHSTONE_INLINE Index Book::make_order(i64 order_id, i64 lots) {
    const Index at = arena_.take();
    OrderNode& order = arena_.order(at);
    order.order_id = order_id;
    order.lots = lots;
    return at;
}

TOUCHSTONE_INLINE void Book::queue_plain(Index at, Index level) {
    join(at, level);
    if (TOUCHSTONE_UNLIKELY(arena_.level(level).extra() != kNobody)) note_arrival(level, at);
}

/// The same at a level without extras.
TOUCHSTONE_INLINE void Book::join(Index at, Index level) {
    OrderNode& order = arena_.order(at);
    order.level_word = level;
    order.arrival_word = next_arrival();
    arena_.append(level, at);
    LevelNode& place = arena_.level(level);
    ++place.order_count;
    place.displayed_lots += order.lots;
}

inline void Book::rest_with_terms(const NewOrder& asked, i64 lots, Index level, Index at) {
    const Index made = terms_.take();
    const bool iceberg = asked.display_lots > 0;
    const i64 shown = iceberg ? std::min(lots, asked.display_lots) : lots;
    terms_[made] = Terms{at, next_arrival(), asked.participant_id, asked.display_lots,
                         lots - shown, asked.expire_ns, kNobody, kNobody, asked.stp,
                         asked.post_only, asked.hidden, OrderType::Limit, TimeInForce::Gtc,
                         asked.side, 0, 0};
    if (asked.expire_ns) calendar_.add(terms_, made);
    OrderNode& order = arena_.order(at);
    order.lots = shown;
    order.level_word = level | OrderNode::kHasTerms;
    order.arrival_word = made;
    if (asked.hidden) {
        LevelExtra& extra = extra_of(level);
        if (extra.hidden_list == kNobody) {
            extra.hidden_list = arena_.take();
            arena_.make_list(extra.hidden_list);
        }
        arena_.append(extra.hidden_list, at);
        ++extra.hidden_count;
        extra.hidden_lots += lots;
        return;
    }
    arena_.append(level, at);
    LevelNode& place = arena_.level(level);
    ++place.order_count;
    place.displayed_lots += shown;
    if (shown < lots) extra_of(level).reserve_lots += lots - shown;
    if (place.extra() != kNobody) note_arrival(level, at);
}

// ------------------------------------------------------------------ remove

/// Take an order that ends, or moves, out of the book.
template <class Outlet>
TOUCHSTONE_INLINE void Book::remove(Index at) {
    if (Outlet::kKeepsIds) ids_.erase(seek(arena_.order(at).order_id), at);
    remove_node(at);
}

/// The same where the id table has just been asked for it.
TOUCHSTONE_INLINE void Book::remove_found(const IdTable::Place& place, i64 order_id) {
    ids_.erase_at(place, order_id);
    remove_node(place.node);
}

TOUCHSTONE_INLINE void Book::remove_node(Index at) {
    if (TOUCHSTONE_UNLIKELY(arena_.order(at).has_terms())) return remove_with_terms(at);
    remove_plain(at);
}

TOUCHSTONE_INLINE void Book::remove_plain(Index at) {
    const Index level = arena_.order(at).level_word;
    if (TOUCHSTONE_UNLIKELY(arena_.level(level).extra() != kNobody)) return remove_noted(at, level);
    leave(at, level);
}

/// The same from a level without extras.
TOUCHSTONE_INLINE void Book::leave(Index at, Index level) {
    take_out(at, level);
    if (TOUCHSTONE_UNLIKELY(arena_.level(level).order_count == 0)) close_level(level);
}

/// Remove a plain order from a level with extras.
TOUCHSTONE_COLD inline void Book::remove_noted(Index at, Index level) {
    const OrderNode& order = arena_.order(at);
    note_loss(level, order, 1, order.lots, 0);
    forget_tracked(level, order.order_id);
    take_out(at, level);
    if (arena_.level(level).order_count == 0) {
        close_level(level);
    } else {
        release_idle_extra(level);
    }
}

/// Take a plain order out of its level's queue and sums; the level stays, even where it is empty.
TOUCHSTONE_INLINE void Book::take_out(Index at, Index level) {
    const OrderNode& order = arena_.order(at);
    TOUCHSTONE_ASSERT(!order.has_terms());
    LevelNode& place = arena_.level(level);
    arena_.unlink(at);
    place.displayed_lots -= order.lots;
    --place.order_count;
    arena_.give_back(at);
}

TOUCHSTONE_COLD inline void Book::remove_with_terms(Index at) {
    const OrderNode& order = arena_.order(at);
    const Index level = order.level(), terms_at = order.arrival_word;
    const Terms& terms = terms_[terms_at];
    LevelNode& place = arena_.level(level);
    if (place.extra() != kNobody) {
        note_loss(level, order, 1, order.lots, terms.reserve_lots);
        forget_tracked(level, order.order_id);
        LevelExtra& extra = extras_[place.extra()];
        extra.reserve_lots -= terms.reserve_lots;
        if (terms.hidden) {
            --extra.hidden_count;
            extra.hidden_lots -= order.lots;
        }
    }
    arena_.unlink(at);
    if (!terms.hidden) {
        --place.order_count;
        place.displayed_lots -= order.lots;
    }
    if (terms.expire_ns) calendar_.remove(terms_, terms_at);
    terms_.give_back(terms_at);
    arena_.give_back(at);
    if (place.order_count == 0) {
        close_level(level);
    } else if (place.extra() != kNobody) {
        release_idle_extra(level);
    }
}

// ------------------------------------------------------------------ take off

/// Take some of the lots that an order has in its queue; it keeps its place.
TOUCHSTONE_INLINE void Book::take_queued(Index at, i64 lots) {
    OrderNode& order = arena_.order(at);
    order.lots -= lots;
    const Index level = order.level();
    LevelNode& place = arena_.level(level);
    if (TOUCHSTONE_UNLIKELY(place.extra() != kNobody)) {
        note_loss(level, order, 0, lots, 0);
        if (is_hidden(order)) {
            extras_[place.extra()].hidden_lots -= lots;
            return;
        }
    }
    place.displayed_lots -= lots;
}

/// Take some of an iceberg's reserve.
inline void Book::take_reserve(Index at, i64 lots) {
    const OrderNode& order = arena_.order(at);
    const Index level = order.level();
    terms_[order.arrival_word].reserve_lots -= lots;
    extras_[arena_.level(level).extra()].reserve_lots -= lots;
    note_loss(level, order, 0, 0, lots);
    release_idle_extra(level);
}

/// Take fewer lots than its leaves off an order: its reserve gives first (rule 27).
TOUCHSTONE_INLINE void Book::take_off(Index at, i64 lots) {
    const OrderNode& order = arena_.order(at);
    TOUCHSTONE_ASSERT(lots < leaves_of(order));
    const i64 of_reserve = std::min(lots, reserve_of(order));
    if (TOUCHSTONE_UNLIKELY(of_reserve > 0)) take_reserve(at, of_reserve);
    if (lots > of_reserve) take_queued(at, lots - of_reserve);
}

// ------------------------------------------------------------------ expire

/// End what is due: by time, then by id (rule 36).
template <class Outlet>
TOUCHSTONE_COLD void Book::expire_due(Outlet& out) {
    changing_ = true;
    std::vector<std::pair<i64, Index>> due;  // ids, and their nodes
    while (calendar_.is_due(now_ns_)) {
        due.clear();
        const Index first = calendar_.next();
        Index at = first;
        do {
            const Index node = terms_[at].order;
            due.emplace_back(arena_.order(node).order_id, node);
            at = terms_[at].expires_later;
        } while (at != first);
        std::sort(due.begin(), due.end());
        for (const auto& [order_id, node] : due) {
            out.expired(order_id, leaves_of(arena_.order(node)));
            if (is_stop(node)) {
                unwait(node);
            } else {
                remove<Outlet>(node);
            }
        }
    }
    changing_ = false;
}

// ------------------------------------------------------------------ tracking

TOUCHSTONE_COLD inline void Book::note_loss(Index level, const OrderNode& order, i64 orders,
                                            i64 queued, i64 reserve) {
    const LevelExtra& extra = extras_[arena_.level(level).extra()];
    if (extra.tracked == kNobody) return;
    tracker_.note_loss(extra, {is_hidden(order), arrival_of(order), orders, queued, reserve});
}

TOUCHSTONE_COLD inline void Book::note_arrival(Index level, Index order) {
    const LevelExtra& extra = extras_[arena_.level(level).extra()];
    if (extra.tracked) tracker_.note_displayed(extra, leaves_of(arena_.order(order)));
}

/// Track an order that leaves its level no longer, unless a replace is only moving it.
inline void Book::forget_tracked(Index level, i64 order_id) {
    LevelExtra& extra = extras_[arena_.level(level).extra()];
    if (extra.tracked == kNobody) return;
    const Index record = tracker_.find(order_id);
    if (record == kNobody) return;
    tracker_.unsettle(extra, record);
    if (record != moving_) tracker_.drop(record);
}

/// Return the place of the last order of its queue.
inline QueuePosition Book::tail_position(Index at) const {
    const OrderNode& order = arena_.order(at);
    const LevelNode& level = arena_.level(order.level());
    if (!is_hidden(order)) return {i64(level.order_count) - 1, level.displayed_lots - order.lots};
    const LevelExtra& extra = extras_[level.extra()];
    return {i64(level.order_count) + extra.hidden_count - 1, total_lots(level) - order.lots};
}

/// Return the place of an order by looking at each before it.
inline QueuePosition Book::walked_position(Index at) const {
    const OrderNode& order = arena_.order(at);
    const Index level = order.level();
    Index list = level;
    QueuePosition found;
    if (is_hidden(order)) {
        const LevelExtra& extra = extras_[arena_.level(level).extra()];
        list = extra.hidden_list;
        found.orders_ahead = arena_.level(level).order_count;
        found.lots_ahead = arena_.level(level).displayed_lots + extra.reserve_lots;
    }
    for (Index ahead = arena_.after(list); ahead != at; ahead = arena_.after(ahead)) {
        found.orders_ahead += 1;
        found.lots_ahead += arena_.order(ahead).lots;
    }
    return found;
}

/// Put a tracked order's record at its level.
inline void Book::settle_tracked(Index record, Index at) {
    const OrderNode& order = arena_.order(at);
    tracker_.settle(extra_of(order.level()), record, at, is_hidden(order), arrival_of(order),
                    walked_position(at));
}

/// Count arrivals anew, in the same order at every level: once in four billion.
TOUCHSTONE_COLD inline void Book::renumber_arrivals() {
    arrivals_ = 0;
    const auto renumber = [this](Index at) {
        OrderNode& order = arena_.order(at);
        (order.has_terms() ? terms_[order.arrival_word].arrival : order.arrival_word) = ++arrivals_;
    };
    for (const Ladder& side : ladders_) {
        for (auto place = side.first(); place.level; place = side.after(place.key)) {
            visit_queue(place.level, renumber);
            const Index extra = arena_.level(place.level).extra();
            if (extra == kNobody) continue;
            if (extras_[extra].hidden_list) visit_queue(extras_[extra].hidden_list, renumber);
            for (Index at = extras_[extra].tracked; at; at = tracker_[at].list_later) {
                tracker_.renumber(at, arrival_of(arena_.order(tracker_[at].order)));
            }
        }
    }
}

template <class Visit>
TOUCHSTONE_INLINE void Book::visit_queue(Index list, Visit visit) const {
    for (Index at = arena_.after(list); at != list; at = arena_.after(at)) visit(at);
}

}  // namespace touchstone

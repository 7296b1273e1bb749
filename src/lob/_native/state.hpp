// The whole book at once: its bytes, restoring it, and checking that all of it agrees.
#pragma once

#include <cstring>

#include "book.hpp"

namespace touchstone {

// ------------------------------------------------------------------ bytes

/// Writes numbers one behind the other, little-endian, as lob.state_hash does.
class ByteWriter {
public:
    void reserve(u64 bytes) { bytes_.reserve(bytes); }
    void text(const char* characters, u64 size) { bytes_.append(characters, size); }
    void number(i64 value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
    void code(unsigned value) { bytes_.push_back(char(value)); }
    template <class... Values>
    void numbers(Values... values) {
        (number(i64(values)), ...);
    }
    std::string take() { return std::move(bytes_); }

private:
    std::string bytes_;
};

inline std::string Book::state_bytes() const {
    constexpr unsigned kPostOnly = 1, kHidden = 2;
    u64 counts[2] = {0, 0};
    for (const Side side : {Side::Buy, Side::Sell}) {
        visit_orders(side, [&](const RestingOrder&) { ++counts[u8(side)]; });
    }
    ByteWriter to;
    to.reserve(64 + 58 * (counts[0] + counts[1]) + 61 * u64(stop_count_));
    to.text("touchstone-book2", 16);
    to.numbers(counts[0], counts[1], stop_count_, trade_sequence_, last_trade_ticks_, now_ns_);
    for (const Side side : {Side::Buy, Side::Sell}) {
        visit_orders(side, [&](const RestingOrder& order) {
            to.numbers(order.order_id, order.price_ticks, order.leaves, order.displayed_lots,
                       order.display_lots, order.participant_id, order.expire_ns);
            to.code(unsigned(order.stp));
            to.code((order.post_only ? kPostOnly : 0) | (order.hidden ? kHidden : 0));
        });
    }
    visit_stops([&](const NewOrder& stop) {
        to.numbers(stop.order_id, stop.stop_ticks, stop.price_ticks, stop.quantity_lots,
                   stop.display_lots, stop.participant_id, stop.expire_ns);
        to.code(unsigned(stop.side));
        to.code(unsigned(stop.type));
        to.code(unsigned(stop.time_in_force));
        to.code(unsigned(stop.stp));
        to.code(stop.hidden ? kHidden : 0);
    });
    return to.take();
}

inline u64 Book::memory_bytes() const {
    return sizeof(Book) + arena_.bytes() + ids_.bytes() + ladders_[0].bytes() +
           ladders_[1].bytes() + terms_.bytes() + extras_.bytes() + tracker_.bytes();
}

// ------------------------------------------------------------------ restore

inline void Book::restore_counts(i64 trade_sequence, i64 last_trade_ticks, i64 now_ns) {
    trade_sequence_ = trade_sequence;
    last_trade_ticks_ = last_trade_ticks;
    now_ns_ = now_ns;
}

/// Put an order at the tail of its price as it was; return what no resting order can be.
inline Refusal Book::restore_order(const RestingOrder& order) {
    NewOrder asked;
    asked.order_id = order.order_id;
    asked.quantity_lots = order.leaves;
    asked.price_ticks = order.price_ticks;
    asked.participant_id = order.participant_id;
    asked.side = order.side;
    asked.stp = order.stp;
    asked.post_only = order.post_only;
    asked.hidden = order.hidden;
    const Refusal refusal = field_refusal(asked);
    if (refusal != Refusal::None) return refusal;
    const i64 shown = order.displayed_lots;
    const bool can_be = order.hidden              ? shown == 0 && order.display_lots == 0
                        : order.display_lots == 0 ? shown == order.leaves
                                                  : shown > 0 && shown <= order.leaves &&
                                                        shown <= order.display_lots;
    if (!can_be) return Refusal::InvalidDisplay;
    const bool ended = order.expire_ns != 0 && order.expire_ns <= now_ns_;
    if (ended && order.expire_ns != kMax) return Refusal::InvalidExpiry;
    asked.display_lots = order.display_lots;
    asked.expire_ns = order.expire_ns;
    Ladder& own = ladder(asked.side);
    const Index level = own.find(own.key_of(asked.price_ticks));
    if (overflows(level, asked.quantity_lots)) return Refusal::LevelFull;
    make_room(kNobody);
    make_room_for_terms(asked.expire_ns);
    rest<NoOutlet>(asked, asked.quantity_lots, level);
    calendar_.unpin();
    // `rest` shows as much as it may; an iceberg that has traded shows less.
    const Index at = find_live(asked.order_id);
    const i64 back = order.hidden ? 0 : arena_.order(at).lots - shown;
    if (back > 0) {
        const Index restored = arena_.order(at).level();
        arena_.order(at).lots -= back;
        arena_.level(restored).displayed_lots -= back;
        terms_[arena_.order(at).arrival_word].reserve_lots += back;
        extra_of(restored).reserve_lots += back;
    }
    return Refusal::None;
}

/// Have a stop wait as it did; `expire_ns` of a DAY stop says when its day closes.
inline Refusal Book::restore_stop(const NewOrder& stop) {
    NewOrder asked = stop;
    asked.time_in_force = TimeInForce::Gtc;
    asked.display_lots = asked.expire_ns = 0;
    const Refusal refusal = field_refusal(asked);
    if (refusal != Refusal::None) return refusal;
    if (stop.display_lots < 0 || (stop.hidden && stop.display_lots)) return Refusal::InvalidDisplay;
    if (!stop.has_stop()) return Refusal::InvalidStopPrice;
    if (stop.post_only) return Refusal::PostOnlyNeedsResting;
    const bool dated = stop.time_in_force == TimeInForce::Day ||
                       stop.time_in_force == TimeInForce::Gtd;
    const bool ended = stop.expire_ns <= now_ns_ && stop.expire_ns != kMax;
    if (dated ? ended : stop.expire_ns != 0) return Refusal::InvalidExpiry;
    make_room(kNobody);
    make_room_for_terms(stop.expire_ns);
    wait(stop);
    calendar_.unpin();
    return Refusal::None;
}

// ------------------------------------------------------------------ check

#define TOUCHSTONE_ENSURE(holds, otherwise) \
    do {                                    \
        if (!(holds)) return otherwise;     \
    } while (false)

inline std::string Book::check(bool crossed_allowed) const {
    u64 resting = 0, waiting = 0;
    for (const Side side : {Side::Buy, Side::Sell}) {
        const std::string error = check_side(side, resting);
        TOUCHSTONE_ENSURE(error.empty(), error);
    }
    TOUCHSTONE_ENSURE(resting == order_count(), "the count of orders and the levels differ");
    const std::string of_stops = check_stops(waiting);
    TOUCHSTONE_ENSURE(of_stops.empty(), of_stops);
    const std::string of_tables = check_tables(resting + waiting);
    TOUCHSTONE_ENSURE(of_tables.empty(), of_tables);
    TOUCHSTONE_ENSURE(crossed_allowed || !is_crossed(), "the book is crossed");
    return "";
}

inline std::string Book::check_side(Side side, u64& orders) const {
    const Ladder& own = ladder(side);
    const std::string error = own.check();
    TOUCHSTONE_ENSURE(error.empty(), error);
    for (auto place = own.first(); place.level; place = own.after(place.key)) {
        const std::string wrong = check_level(side, place.level, place.key, orders);
        if (!wrong.empty()) {
            return std::string(side == Side::Buy ? "BUY" : "SELL") + " level " +
                   std::to_string(arena_.level(place.level).price_ticks) + " " + wrong;
        }
    }
    return "";
}

inline std::string Book::check_level(Side side, Index at, Key key, u64& orders) const {
    const LevelNode& level = arena_.level(at);
    TOUCHSTONE_ENSURE(level.side() == side, "is on the other side's ladder");
    TOUCHSTONE_ENSURE(ladder(side).key_of(level.price_ticks) == key, "is misfiled");
    u64 displayed = 0, hidden = 0;
    const std::string wrong = check_queue(at, at, false, displayed);
    TOUCHSTONE_ENSURE(wrong.empty(), wrong);
    TOUCHSTONE_ENSURE(displayed == level.order_count, "miscounts its orders");
    u128 total = u128(level.displayed_lots);
    if (level.extra() != kNobody) {
        const LevelExtra& extra = extras_[level.extra()];
        TOUCHSTONE_ENSURE(!extra.is_idle(), "keeps extras for nothing");
        if (extra.hidden_list != kNobody) {
            const std::string behind = check_queue(at, extra.hidden_list, true, hidden);
            TOUCHSTONE_ENSURE(behind.empty(), behind);
        }
        TOUCHSTONE_ENSURE(hidden == extra.hidden_count, "miscounts its hidden orders");
        total += u128(extra.hidden_lots) + u128(extra.reserve_lots);
    }
    TOUCHSTONE_ENSURE(displayed + hidden > 0, "is empty");
    TOUCHSTONE_ENSURE(total <= u128(kMax), "has more lots than fit");
    orders += displayed + hidden;
    return "";
}

/// Look at one queue of a level: links, sums, ids, terms and order of arrival.
inline std::string Book::check_queue(Index level, Index list, bool hidden, u64& orders) const {
    const LevelNode& place = arena_.level(level);
    const LevelExtra none{};
    const LevelExtra& extra = place.extra() == kNobody ? none : extras_[place.extra()];
    u128 lots = 0, reserves = 0;
    u32 before = 0;
    Index earlier = list;
    for (Index at = arena_.after(list); at != list; at = arena_.after(at)) {
        const OrderNode& order = arena_.order(at);
        TOUCHSTONE_ENSURE(order.earlier == earlier, "has a broken link");
        TOUCHSTONE_ENSURE(order.level() == level, "has an order of another level");
        TOUCHSTONE_ENSURE(find_live(order.order_id) == at, "has an order that no id finds");
        TOUCHSTONE_ENSURE(order.lots > 0, "has an order without lots in its queue");
        TOUCHSTONE_ENSURE(arrival_of(order) > before, "has an order before an earlier one");
        TOUCHSTONE_ENSURE(is_hidden(order) == hidden, "has an order in the wrong queue");
        if (const Terms* terms = terms_of(order)) {
            TOUCHSTONE_ENSURE(terms->order == at, "has an order with another's terms");
            TOUCHSTONE_ENSURE(terms->reserve_lots >= 0, "has a reserve below nothing");
            TOUCHSTONE_ENSURE(terms->display_lots || !terms->reserve_lots, "hides a reserve");
            TOUCHSTONE_ENSURE(!terms->display_lots || order.lots <= terms->display_lots,
                              "shows more of an iceberg than it should");
            TOUCHSTONE_ENSURE(!terms->expire_ns || terms->expire_ns > now_ns_ || now_ns_ == kMax,
                              "has an order that should have expired");
            reserves += u128(terms->reserve_lots);
        }
        before = arrival_of(order);
        lots += u128(order.lots);
        earlier = at;
        ++orders;
    }
    TOUCHSTONE_ENSURE(before <= arrivals_, "has an order from the future");
    TOUCHSTONE_ENSURE(arena_[list].links.earlier == earlier, "has a broken end");
    const i64 said = hidden ? extra.hidden_lots : place.displayed_lots;
    TOUCHSTONE_ENSURE(lots == u128(said), "says other lots than it has");
    TOUCHSTONE_ENSURE(hidden || reserves == u128(extra.reserve_lots), "miscounts its reserves");
    return "";
}

inline std::string Book::check_stops(u64& stops) const {
    for (const WaitingSide* side : {&buy_stops_, &sell_stops_}) {
        for (const auto& [key, list] : *side) {
            TOUCHSTONE_ENSURE(arena_.after(list) != list, "nobody waits at a stop price");
            for (Index at = arena_.after(list); at != list; at = arena_.after(at), ++stops) {
                const OrderNode& order = arena_.order(at);
                TOUCHSTONE_ENSURE(is_stop(at), "an order that is no stop waits");
                const Terms& terms = terms_[order.arrival_word];
                TOUCHSTONE_ENSURE(terms.order == at, "a stop has another's terms");
                TOUCHSTONE_ENSURE(order.lots > 0, "a stop has no lots");
                TOUCHSTONE_ENSURE(find_live(order.order_id) == at, "no id finds a stop");
                TOUCHSTONE_ENSURE(stop_key(terms.side, terms.stop_ticks) == key &&
                                      (terms.side == Side::Buy) == (side == &buy_stops_),
                                  "a stop is misfiled");
            }
        }
    }
    TOUCHSTONE_ENSURE(stops == stop_count_, "the stops are miscounted");
    return "";
}

/// Look at what is kept beside the levels: ids, expiries, tracked places, and what is in use.
inline std::string Book::check_tables(u64 orders) const {
    const std::string error = ids_.check(arena_);
    TOUCHSTONE_ENSURE(error.empty(), error);
    TOUCHSTONE_ENSURE(ids_.size() == orders, "the id table and the orders differ");
    u64 expiring = 0, with_expiry = 0, with_terms = 0, levels = 0, lists = 0, extras = 0;
    const auto count = [&](i64 expire_ns, bool has_terms) {
        with_expiry += expire_ns != 0;
        with_terms += has_terms;
    };
    for (const Side side : {Side::Buy, Side::Sell}) {
        const Ladder& own = ladder(side);
        for (auto place = own.first(); place.level; place = own.after(place.key), ++levels) {
            const Index extra = arena_.level(place.level).extra();
            extras += extra != kNobody;
            lists += extra != kNobody && extras_[extra].hidden_list != kNobody;
        }
        visit_orders(side, [&](const RestingOrder& order) {
            count(order.expire_ns, arena_.order(find_live(order.order_id)).has_terms());
        });
    }
    visit_stops([&](const NewOrder& stop) { count(stop.expire_ns, true); });
    bool dated = true;
    calendar_.visit(terms_, [&](i64 expire_ns, Index at) {
        ++expiring;
        dated = dated && terms_[at].expire_ns == expire_ns && expire_ns >= calendar_.next_ns();
    });
    TOUCHSTONE_ENSURE(dated && expiring == with_expiry, "the expiries and the orders differ");
    TOUCHSTONE_ENSURE(terms_.live() == with_terms, "terms are lost");
    TOUCHSTONE_ENSURE(extras_.live() == extras, "extras are lost");
    lists += buy_stops_.size() + sell_stops_.size();
    TOUCHSTONE_ENSURE(arena_.live() == orders + levels + lists, "nodes are lost");
    bool placed = true;
    u64 tracked = 0;
    tracker_.visit([&](const Tracked& record) {
        ++tracked;
        const Index at = resting(record.order_id);
        if (at == kNobody || at != record.order) {
            placed = false;
            return;
        }
        const QueuePosition walked = walked_position(at);
        placed = placed && walked.orders_ahead == record.position.orders_ahead &&
                 walked.lots_ahead == record.position.lots_ahead &&
                 record.arrival == arrival_of(arena_.order(at));
    });
    TOUCHSTONE_ENSURE(tracked == tracker_.size(), "the tracked orders are miscounted");
    TOUCHSTONE_ENSURE(placed, "a tracked order's place is not where it stands");
    return "";
}

}  // namespace touchstone

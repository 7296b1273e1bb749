// The order book: what rests, what waits, and the moves that everything else is made of.
//
// docs/rulebook.md numbers the rules. How commands trade is in matching.hpp and pro_rata.hpp, stops
// in stops.hpp, what a feed says in feed.hpp, questions in questions.hpp, arrays of messages in
// bulk.hpp and tape.hpp.
//
// A command first looks whether it is refused, then makes sure of the memory it may need, and only
// then changes anything. What can still fail is the outlet's own memory, in the middle of a
// command: the book is then torn, and says so to whoever uses it next.
#pragma once

#include <atomic>
#include <map>
#include <vector>

#include "events.hpp"
#include "expiry.hpp"
#include "id_table.hpp"
#include "ladder.hpp"
#include "terms.hpp"
#include "tracking.hpp"

namespace touchstone {

/// Everything about one resting order.
struct RestingOrder {
    i64 order_id, price_ticks, leaves, displayed_lots, display_lots, participant_id, expire_ns;
    Side side;
    Stp stp;
    bool post_only, hidden;
};

/// A price as it is shown.
struct Touch {
    i64 price_ticks = 0;  // 0: nothing is shown
    i64 lots = 0;
    u32 orders = 0;
};

/// What an aggressor would get.
struct Walk {
    i64 lots = 0;
    i128 cost_tick_lots = 0;
    i64 worst_price_ticks = 0;
};

class Book {
public:
    static constexpr u32 kMaxNodes = (u32(1) << 31) - 1;

    explicit Book(Rules rules = {}, u32 max_tracked_orders = 10'000, u32 max_nodes = kMaxNodes)
        : rules(rules), tracker_(max_tracked_orders), arena_(max_nodes, "orders and levels") {}

    const Rules rules;

    // ---------------------------------------------------------------- commands (matching.hpp)

    using Sought = IdTable::Sought;

    /// Say where to look for an order; good until the next call that may add one.
    TOUCHSTONE_INLINE Sought seek(i64 order_id) const { return ids_.seek(order_id); }
    /// Say where it probably is; any place where it is not.
    TOUCHSTONE_INLINE static Index* guess(const Sought& id) { return IdTable::guess(id); }

    /// Each returns why the command was refused, or Refusal::None and its events in the outlet.
    /// `submit` completes what was asked: a DAY order gets the time at which it ends.
    template <class Outlet>
    Refusal submit(NewOrder& asked, Outlet& out);
    /// The same for a LIMIT order of the plainest kind: GTC, anonymous, all of it shown.
    template <class Outlet>
    Refusal submit_plain(const Sought& id, Side side, i64 lots, i64 price_ticks, Outlet& out);
    template <class Outlet>
    Refusal cancel(const Sought& id, Outlet& out, Index* guessed);
    template <class Outlet>
    Refusal cancel(i64 order_id, Outlet& out);
    template <class Outlet>
    Refusal reduce(i64 order_id, i64 lots, Outlet& out);
    template <class Outlet>
    Refusal replace(i64 order_id, i64 price_ticks, i64 lots, Outlet& out);

    /// Move the time on and end what is due; `now_ns` must not be before the book's own.
    template <class Outlet>
    void advance(i64 now_ns, Outlet& out) {
        now_ns_ = now_ns;
        if (TOUCHSTONE_UNLIKELY(calendar_.is_due(now_ns))) expire_due(out);
    }

    // ---------------------------------------------------------------- what a feed says (feed.hpp)

    /// Each returns why the message cannot be true, or Refusal::None.
    template <class Outlet>
    Refusal feed_add(const Sought& id, Side side, i64 price_ticks, i64 lots);
    template <class Outlet>
    Refusal feed_add_any(i64 order_id, Side side, i64 price_ticks, i64 lots, i64 participant_id);
    Refusal feed_delete(const Sought& id, Index* guessed);
    template <class Outlet>
    Refusal feed_reduce(i64 order_id, i64 lots);
    template <class Outlet>
    Refusal feed_execute(const Sought& id, i64 lots, Outlet& out, Index* guessed);
    template <class Outlet>
    Refusal feed_modify(i64 order_id, i64 price_ticks, i64 lots);
    void feed_clear();

    // ---------------------------------------------------------------- questions (questions.hpp)

    u32 order_count() const { return ids_.size() - stop_count_; }
    u32 stop_count() const { return stop_count_; }
    i64 trade_sequence() const { return trade_sequence_; }
    i64 last_trade_ticks() const { return last_trade_ticks_; }
    i64 now_ns() const { return now_ns_; }
    bool is_empty() const { return ids_.size() == 0; }

    /// Say whether any bid is at or above any ask.
    TOUCHSTONE_INLINE bool is_crossed() const { return crossed_; }

    Touch touch(Side side) const;
    Touch level_at(Side side, i64 price_ticks);
    template <class Visit>
    void visit_displayed_levels(Side side, Visit visit) const;  // visit(Touch) -> go on?
    template <class Visit>
    void visit_orders(Side side, Visit visit) const;  // visit(RestingOrder)
    template <class Visit>
    void visit_stops(Visit visit) const;  // visit(NewOrder)
    bool find_order(i64 order_id, RestingOrder& found) const;
    bool rests(i64 order_id) const { return resting(order_id) != kNobody; }
    bool first_order(Side side, i64 price_ticks, RestingOrder& found);
    u64 levels_before(i64 order_id) const;  // the order must rest
    QueuePosition queue_position(i64 order_id) const;
    template <class Visit>
    Walk walk(const NewOrder& asked, Visit visit) const;  // visit(price_ticks, lots)

    QueuePosition track(i64 order_id);  // the order must rest
    void untrack(i64 order_id);
    u32 tracked_count() const { return tracker_.size(); }

    // ---------------------------------------------------------------- whole-book state (state.hpp)

    std::string state_bytes() const;
    Refusal restore_order(const RestingOrder& order);
    Refusal restore_stop(const NewOrder& stop);
    void restore_counts(i64 trade_sequence, i64 last_trade_ticks, i64 now_ns);
    /// Return what is wrong, or "".
    std::string check(bool crossed_allowed) const;
    u64 memory_bytes() const;
    /// Have arrivals counted on from here, so that a test sees them renumbered.
    void set_arrivals(u32 arrivals) { arrivals_ = arrivals; }

    /// Raise unless the book may be used: not while another thread's bulk call is in it, nor after
    /// memory ran out in the middle of a command.
    TOUCHSTONE_INLINE void require_usable() const {
        if (TOUCHSTONE_UNLIKELY(!is_usable())) refuse_use();
    }
    TOUCHSTONE_INLINE bool is_usable() const {
        return !changing_ && idle_.load(std::memory_order_acquire);
    }

    /// Keep everyone else out for as long as this lives: bulk calls leave the interpreter's lock.
    class Exclusive {
    public:
        explicit Exclusive(Book& book) : book_(book) {
            if (!book.idle_.exchange(false, std::memory_order_acquire)) book.refuse_use();
            if (book.changing_) {
                book.idle_.store(true, std::memory_order_release);
                book.refuse_use();
            }
        }
        ~Exclusive() { book_.idle_.store(true, std::memory_order_release); }
        Exclusive(const Exclusive&) = delete;
        Exclusive& operator=(const Exclusive&) = delete;

    private:
        Book& book_;
    };

private:
    [[noreturn]] TOUCHSTONE_COLD void refuse_use() const {
        if (!made_) {
            fail(FaultKind::InvalidInput,
                 "book: not made; a class of one's own must call NativeOrderBook.__init__");
        }
        if (!idle_.load(std::memory_order_acquire)) {
            fail(FaultKind::Conflict, "book: in use by another thread; allowed: one at a time");
        }
        fail(FaultKind::InvariantViolation,
             "book: memory ran out in the middle of a command; it cannot be used any more");
    }

    friend class BulkRun;
    friend class TapeCompiler;
    friend class TapeReplay;

    /// An aggressor on its way.
    struct Taker {
        i64 order_id;
        i64 leaves;
        i64 participant_id;
        Key limit;
        Side side;
        Stp stp;
        bool guards() const { return stp != Stp::None && participant_id != 0; }
    };

    /// What an order that arrives meets: why it is refused, or its own level (nobody: none yet).
    struct Reception {
        Refusal refusal;
        bool crosses;
        Index level;
    };

    // ---------------------------------------------------------------- feed.hpp
    Refusal feed_delete_any(i64 order_id);
    template <class Outlet>
    Refusal feed_execute_any(i64 order_id, i64 lots, Outlet& out);
    template <class Outlet>
    void feed_add_with(i64 order_id, Side side, i64 price_ticks, i64 lots, i64 participant_id,
                       Index level);
    template <class Outlet>
    void record_execution(Index at, i64 lots, i64 leaves, Outlet& out);
    template <class Outlet>
    void feed_move_at(Index at, i64 price_ticks, i64 lots);
    template <class Outlet>
    void clear_orders();

    // ---------------------------------------------------------------- matching.hpp
    template <class Outlet>
    Refusal submit_crossing(i64 order_id, Side side, i64 lots, i64 price_ticks, Outlet& out);
    Refusal field_refusal(NewOrder& asked) const;
    void complete(NewOrder& asked) const;
    Reception receive(const NewOrder& order);
    bool is_fillable(const NewOrder& order) const;
    template <class Outlet>
    void act(const NewOrder& order, const Reception& reception, Outlet& out);
    template <class Outlet>
    void trade(Taker& taker, Outlet& out);
    Index first_maker(Index level) const;
    template <class Outlet>
    void record_trade(Taker& taker, const OrderNode& maker, i64 lots, i64 price_ticks, Outlet& out);
    template <class Outlet>
    void trade_with(Taker& taker, Index maker, Outlet& out);
    template <class Outlet>
    void prevent_self_trade(Taker& taker, Index maker, Outlet& out);
    void walk_own(const Taker& taker, const OrderNode& maker, i64& wanted) const;
    i64 walk_guarded(const Taker& taker, Index level, i64& wanted) const;
    i64 walk_queue(const Taker& taker, Index list, bool meets_own, i64& wanted,
                   i64& reserves) const;
    template <class Outlet>
    void refill(Index order, Outlet& out);
    bool is_own(const Taker& taker, Index maker) const;
    NewOrder as_new(Index order) const;
    Refusal move_refusal(Index order, i64 price_ticks, i64 lots, bool crosses);
    template <class Outlet>
    Refusal move(Index order, i64 price_ticks, i64 lots, Outlet& out);
    template <class Outlet>
    void move_at(Index order, i64 price_ticks, i64 lots, bool crosses, Outlet& out);
    void begin_command() {
        changing_ = true;
        highest_trade_ = 0;
        lowest_trade_ = kMax;
    }
    void end_command() {
        calendar_.unpin();
        changing_ = false;
    }

    // ---------------------------------------------------------------- pro_rata.hpp
    template <class Outlet>
    void trade_pro_rata(Taker& taker, Index level, Outlet& out);
    template <class Outlet>
    void settle_own_orders(Taker& taker, Index level, Outlet& out);
    template <class Outlet>
    void trade_shares(Taker& taker, Index level, Outlet& out);
    i64 shares_of(i64 quantity, const LevelNode& level) const;
    i64 share_of(i64 quantity, i64 displayed, i64 total) const;

    // ---------------------------------------------------------------- stops.hpp
    using WaitingSide = std::map<Key, Index>;  // nearest stop price first -> its list
    WaitingSide& waiting(Side side) { return side == Side::Buy ? buy_stops_ : sell_stops_; }
    static Key stop_key(Side side, i64 stop_ticks) {
        return side == Side::Buy ? Key(stop_ticks) : Key(kMax) - Key(stop_ticks);
    }
    template <class Outlet>
    void submit_stop(const NewOrder& asked, Outlet& out);
    template <class Outlet>
    void trigger(const NewOrder& stop, Outlet& out);
    void wait(const NewOrder& stop);
    NewOrder as_stop(Index stop) const;
    void unwait(Index stop);
    template <class Outlet>
    void release_stops(Outlet& out);
    void collect_triggered();
    void collect_triggered(Side side, i64 price_ticks);
    bool is_triggered(const NewOrder& stop) const;

    // ---------------------------------------------------------------- the moves

    TOUCHSTONE_INLINE Ladder& ladder(Side side) { return ladders_[u8(side)]; }
    TOUCHSTONE_INLINE const Ladder& ladder(Side side) const { return ladders_[u8(side)]; }

    /// Make sure that one command finds the nodes, pages and places in tables that it may need: an
    /// order, its level, and the list of the level's hidden orders. `level` is where it will rest;
    /// nobody where a level may have to be made.
    ///
    /// `budget_` counts the commands for which nodes and places are there. Return whether tables may
    /// have grown.
    TOUCHSTONE_INLINE bool make_room(Index level) {
        const bool paged = level != kNobody || (ladders_[0].has_room() && ladders_[1].has_room());
        const bool grows = budget_ == 0 || !paged;
        if (TOUCHSTONE_UNLIKELY(grows)) make_room_slowly();
        --budget_;
        return grows;
    }
    void make_room_slowly();
    static constexpr u32 kNodesEach = 3, kCommands = 64;
    void make_room_for_terms(i64 expire_ns);
    void make_room_to_move(Index at);
    void pin_expiry_of(Index order);

    TOUCHSTONE_INLINE Index find_live(const Sought& id) const { return ids_.find(arena_, id); }
    Index find_live(i64 order_id) const { return find_live(seek(order_id)); }
    Index resting(i64 order_id) const {
        const Index at = find_live(order_id);
        return at != kNobody && is_stop(at) ? kNobody : at;
    }
    TOUCHSTONE_INLINE bool is_stop(Index at) const {
        return arena_.order(at).level_word == OrderNode::kHasTerms;
    }
    /// Say whether a node is the order with that id, and rests without terms.
    TOUCHSTONE_INLINE bool is_plain(Index at, i64 order_id) const {
        return arena_.order(at).order_id == order_id && arena_.order(at).is_plain();
    }
    Refusal unknown(i64 order_id) const {
        return in_range(order_id) ? Refusal::UnknownOrder : Refusal::InvalidOrderId;
    }

    TOUCHSTONE_INLINE const Terms* terms_of(const OrderNode& order) const {
        return order.has_terms() ? &terms_[order.arrival_word] : nullptr;
    }
    TOUCHSTONE_INLINE i64 reserve_of(const OrderNode& order) const {
        return TOUCHSTONE_UNLIKELY(order.has_terms()) ? terms_[order.arrival_word].reserve_lots : 0;
    }
    i64 leaves_of(const OrderNode& order) const { return order.lots + reserve_of(order); }
    bool is_hidden(const OrderNode& order) const {
        return TOUCHSTONE_UNLIKELY(order.has_terms()) && terms_[order.arrival_word].hidden;
    }
    u32 arrival_of(const OrderNode& order) const {
        return order.has_terms() ? terms_[order.arrival_word].arrival : order.arrival_word;
    }

    u32 next_arrival() {
        if (TOUCHSTONE_UNLIKELY(arrivals_ == UINT32_MAX)) renumber_arrivals();
        return ++arrivals_;
    }
    void renumber_arrivals();

    /// All lots of a level: displayed, reserves and hidden.
    i64 total_lots(const LevelNode& level) const {
        if (TOUCHSTONE_LIKELY(level.extra() == kNobody)) return level.displayed_lots;
        const LevelExtra& extra = extras_[level.extra()];
        return level.displayed_lots + extra.reserve_lots + extra.hidden_lots;
    }
    TOUCHSTONE_INLINE bool overflows(Index level, i64 more_lots) const {
        return level != kNobody && more_lots > kMax - total_lots(arena_.level(level));
    }

    Index make_level(Side side, i64 price_ticks);
    void note_touch();
    void close_level(Index level);
    LevelExtra& extra_of(Index level);
    void release_extra(Index level);
    void release_idle_extra(Index level);

    template <class Outlet>
    void rest(const NewOrder& order, i64 lots, Index level);
    void queue_plain(Index order, Index level);
    void join(Index order, Index level);
    void rest_with_terms(const NewOrder& order, i64 lots, Index level, Index node);
    void rest_plain(const Sought& id, Side side, i64 price_ticks, i64 lots, Index level);
    Index make_order(i64 order_id, i64 lots);
    template <class Outlet>
    void remove(Index order);
    void remove_found(const IdTable::Place& place, i64 order_id);
    void remove_node(Index order);
    void remove_plain(Index order);
    void remove_noted(Index order, Index level);
    void leave(Index order, Index level);
    void take_out(Index order, Index level);
    void remove_with_terms(Index order);
    void take_queued(Index order, i64 lots);
    void take_reserve(Index order, i64 lots);
    void take_off(Index order, i64 lots);
    template <class Outlet>
    void expire_due(Outlet& out);

    // ---------------------------------------------------------------- tracking, in moves.hpp
    void note_loss(Index level, const OrderNode& order, i64 orders, i64 queued, i64 reserve);
    void note_arrival(Index level, Index order);
    void forget_tracked(Index level, i64 order_id);
    void settle_tracked(Index record, Index order);
    QueuePosition walked_position(Index order) const;
    QueuePosition tail_position(Index order) const;

    // ---------------------------------------------------------------- state
    std::string check_side(Side side, u64& orders) const;
    std::string check_level(Side side, Index level, Key key, u64& orders) const;
    std::string check_queue(Index level, Index list, bool hidden, u64& orders) const;
    std::string check_stops(u64& orders) const;
    std::string check_tables(u64 orders) const;
    template <class Visit>
    void visit_queue(Index list, Visit visit) const;
    template <class Visit>
    void visit_nodes(Side side, Visit visit) const;
    RestingOrder view(Index order, Side side, i64 price_ticks) const;

    // What every message touches comes first.
    std::atomic<bool> idle_{true};  // false too in the zeros of a book that nobody has made yet
    bool made_ = true;
    bool changing_ = false;  // in the middle of a command
    bool crossed_ = false;
    i64 now_ns_ = 0;
    i64 trade_sequence_ = 0;
    i64 last_trade_ticks_ = 0;
    i64 highest_trade_ = 0, lowest_trade_ = kMax;  // of the command that is being done
    u32 stop_count_ = 0;
    u32 budget_ = 0;
    u32 arrivals_ = 0;
    Index moving_ = kNobody;  // the tracked record of an order that a replace has out of the book
    Tracker tracker_;
    Arena arena_;
    IdTable ids_;
    Ladder ladders_[2]{{Side::Buy, kMaxNodes}, {Side::Sell, kMaxNodes}};
    Pool<Terms> terms_{kMaxNodes, "orders with terms"};
    Pool<LevelExtra> extras_{kMaxNodes, "levels with extras"};
    ExpiryCalendar calendar_;
    WaitingSide buy_stops_, sell_stops_;
    std::vector<Index> triggered_;  // by trades so far, in the order in which they will act
    std::vector<Index> exhausted_;  // icebergs that a pro-rata round emptied
};

}  // namespace touchstone

#include "feed.hpp"
#include "matching.hpp"
#include "moves.hpp"
#include "pro_rata.hpp"
#include "questions.hpp"
#include "state.hpp"
#include "stops.hpp"

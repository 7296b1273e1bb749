// Many messages at once (rule 39): what the calls would do, row by row.
#pragma once

#include <algorithm>

#include "book.hpp"

namespace touchstone {

/// What an array of messages came to.
struct BulkResult {
    Rows<Trade> trades;
    Rows<RefusedRow> refusals;
    Rows<Crossing> crossings;

    /// Forget what is there; there will be as many trades as messages, or fewer, as a rule.
    void begin(u64 messages) {
        trades.expect(messages);
        refusals.clear();
        crossings.clear();
    }
};

/// An array of messages, and of each row's participant where there are any.
struct MessageArray {
    const Message* rows;
    const i64* participants;  // may be null
    u64 size;

    i64 participant(u64 row) const { return participants ? participants[row] : 0; }
};

/// Return the fault for a feed message that cannot be true, with the field that shows it.
inline Fault feed_fault(Refusal refusal, const Message& said, i64 participant_id,
                        const std::string& where) {
    const auto out_of_range = [&](const char* name, i64 value, int low) {
        return Fault(FaultKind::InvalidInput, where + name + ": " + std::to_string(value) +
                                                  "; allowed: a whole number, " +
                                                  std::to_string(low) + ".." +
                                                  std::to_string(kMax));
    };
    const std::string id = std::to_string(said.order_id);
    const std::string lots = std::to_string(said.quantity_lots);
    switch (refusal) {
        case Refusal::InvalidOrderId: return out_of_range("order_id", said.order_id, 1);
        case Refusal::InvalidQuantity: return out_of_range("quantity_lots", said.quantity_lots, 1);
        case Refusal::InvalidPrice: return out_of_range("price_ticks", said.price_ticks, 1);
        case Refusal::InvalidParticipantId:
            return out_of_range("participant_id", participant_id, 0);
        case Refusal::UnknownOrder:
            return {FaultKind::NotFound, where + "order_id: " + id + " does not rest in the book"};
        case Refusal::DuplicateOrderId:
            return {FaultKind::Conflict,
                    where + "order_id: " + id + " is live already; allowed: an id that is not"};
        case Refusal::MoreThanLeaves:
            return {FaultKind::Conflict,
                    where + "quantity_lots: " + lots + " off order " + id + "; it has fewer"};
        case Refusal::InvalidDisplay:
            return {FaultKind::Conflict, where + "quantity_lots: " + lots + " of iceberg " + id +
                                             "; it would show itself in more than " +
                                             std::to_string(kMaxIcebergParts) + " parts"};
        default:
            return {FaultKind::Conflict, where + "quantity_lots: " + lots +
                                             " takes the level beyond " + std::to_string(kMax)};
    }
}

/// Say which row a fault is about.
inline std::string where_is(u64 row) { return "messages[" + std::to_string(row) + "]: "; }

/// Return the fault for a row that is no message.
inline Fault no_message(u64 row, const char* name, int value, const char* allowed) {
    return {FaultKind::InvalidInput,
            where_is(row) + name + ": " + std::to_string(value) + "; allowed: " + allowed};
}

/// Say whether a row's side is +1 or -1, without a branch that nobody can foretell.
TOUCHSTONE_INLINE bool is_side(i8 side) { return (u8(side + 1) & ~2u) == 0; }

TOUCHSTONE_INLINE Side side_of(i8 sign) { return Side(u8(sign) >> 7); }

/// Raise unless the words of a SUBMIT row stand for something.
TOUCHSTONE_INLINE void require_words(u64 row, const Message& message) {
    if (TOUCHSTONE_UNLIKELY(!is_side(message.side))) {
        throw no_message(row, "side", message.side, "+1, -1");
    }
    if (TOUCHSTONE_UNLIKELY(message.time_in_force > u8(TimeInForce::Day))) {
        throw no_message(row, "time_in_force", message.time_in_force, "0..3");
    }
    const int mode = (message.flags & flag::kStpMask) >> flag::kStpShift;
    if (TOUCHSTONE_UNLIKELY(mode > int(Stp::DecrementAndCancel))) {
        throw no_message(row, "self-trade mode of flags", mode, "0..4");
    }
}

/// Return the order that a SUBMIT row, whose words stand for something, asks for.
TOUCHSTONE_INLINE NewOrder order_of(const Message& message, i64 participant_id) {
    NewOrder asked;
    asked.order_id = message.order_id;
    asked.quantity_lots = message.quantity_lots;
    asked.price_ticks = message.price_ticks;
    asked.display_lots = message.display_lots;
    asked.participant_id = participant_id;
    asked.side = side_of(message.side);
    asked.time_in_force = TimeInForce(message.time_in_force);
    if (TOUCHSTONE_UNLIKELY(message.flags & flag::kOfSubmit)) {
        asked.type = message.flags & flag::kMarket ? OrderType::Market : OrderType::Limit;
        asked.stp = Stp((message.flags & flag::kStpMask) >> flag::kStpShift);
        asked.post_only = message.flags & flag::kPostOnly;
        asked.hidden = message.flags & flag::kHidden;
    }
    return asked;
}

/// One pass over an array of messages.
class BulkRun {
public:
    BulkRun(Book& book, const MessageArray& messages, bool strict, BulkResult& result)
        : book_(book), messages_(messages), strict_(strict), result_(result), out_(result.trades) {}

    /// Carry out the rows; a Fault names the row it is about, and the rows before it stay.
    void carry_out() {
        const Message* const end = messages_.rows + messages_.size;
        try {
            next_ = messages_.rows;
            while (next_ != end) {
                const u64 left = u64(end - next_);
                if (book_.order_count() < kFewOrders || left <= kToBucket) {
                    carry_out_near(next_ + std::min(kStretch, left));
                    continue;
                }
                const Message* const stop = next_ + std::min(rows_with_room(), left - kToBucket);
                if (book_.order_count() < kManyNodes) {
                    carry_out_far<false>(stop);
                } else {
                    carry_out_far<true>(stop);
                }
            }
        } catch (...) {
            end_crossing(row_of(*next_));
            throw;
        }
        end_crossing(messages_.size);
    }

    /// Carry out one row: the whole in steps, for who looks at the book between them.
    void carry_out_row(u64 row) {
        const Book::Sought id = book_.seek(messages_.rows[row].order_id);
        carry_out(messages_.rows[row], id, Book::guess(id));
    }

    /// End the stretch of rows after which the book was crossed, if it is within one.
    void end_crossing(u64 end) {
        if (was_crossed_ && crossed_since_ < end) {
            result_.crossings.add() = {i64(crossed_since_), i64(end)};
        }
        was_crossed_ = false;
    }

private:
    using Outlet = TradeOutlet<>;

    static constexpr u64 kStretch = 1024;  // rows between looks at the book's size, at least
    static constexpr u64 kLongestStretch = 8192;
    static constexpr u32 kFewOrders = 512;  // what they need is in the nearest cache

    // As kToNode. Memory answers only so many questions at a time, so that each row asks a few: many
    // at once would wait for one another.
    static constexpr u64 kToMessage = 64;
    static constexpr u64 kToBucket = 40;  // its place in the table of ids

    /// What is known of a row before its turn.
    struct Foreseen {
        Book::Sought id;
        Index* slot;  // a guess
    };

    /// The rows between the one whose turn it is and the farthest that is foreseen.
    class Foresight {
    public:
        TOUCHSTONE_INLINE Foreseen& operator[](u64 row) { return ring_[row % kRing]; }

    private:
        static constexpr u64 kRing = 64;
        static_assert(kRing > kToBucket);
        Foreseen ring_[kRing];
    };

    /// The memory's own foresight ends at every page. After its turn a message is not read again: it
    /// need not stay in the caches that the book would fill.
    static void expect_message(const Message* next) {
        TOUCHSTONE_PREFETCH_ONCE(reinterpret_cast<const void*>(reinterpret_cast<u64>(next) +
                                                               kToMessage * sizeof(Message)));
    }

    /// Make room in the table of ids, which must not grow while places in it are remembered, and
    /// return for how many rows there is.
    u64 rows_with_room() {
        IdTable& ids = book_.ids_;
        ids.make_room(book_.arena_, u64(ids.size()) + kStretch + Book::kCommands);
        return std::min(u64(ids.spare() - Book::kCommands), kLongestStretch);
    }

    u64 row_of(const Message& message) const { return u64(&message - messages_.rows); }

    /// Carry out the rows up to one.
    TOUCHSTONE_APART void carry_out_near(const Message* end) {
        for (const Message* next = next_; next != end; ++next) {
            next_ = next;  // what a fault is about
            expect_message(next);
            const Book::Sought id = book_.seek(next->order_id);
            carry_out(*next, id, Book::guess(id));
        }
        next_ = end;
    }

    /// Carry out the rows up to one; `kToBucket` more must follow. What a row needs is asked of
    /// memory before its turn: its bucket first, by what that says its node, and by that, where
    /// orders are many, its neighbours. Where the guess still holds at its turn, the id need not be
    /// looked for again.
    template <bool many>
    TOUCHSTONE_APART void carry_out_far(const Message* end) {
        Foresight foresight;
        for (u64 row = 0; row < kToBucket; ++row) foresee(next_[row], foresight[row]);
        for (u64 row = 0; row < kToNode; ++row) guess(foresight[row]);
        for (u64 row = 0; many && row < kToNeighbours; ++row) {
            book_.arena_.expect_neighbours(*foresight[row].slot);
        }
        const Message* next = next_;
        for (u64 row = 0; next != end; ++next, ++row) {
            next_ = next;  // what a fault is about
            expect_message(next);
            foresee(next[kToBucket], foresight[row + kToBucket]);
            guess(foresight[row + kToNode]);
            if (many) book_.arena_.expect_neighbours(*foresight[row + kToNeighbours].slot);
            carry_out(*next, foresight[row].id, foresight[row].slot);
        }
        next_ = end;
    }

    TOUCHSTONE_INLINE void foresee(const Message& message, Foreseen& seen) const {
        seen.id = book_.seek(message.order_id);
        IdTable::expect(seen.id);
    }
    TOUCHSTONE_INLINE void guess(Foreseen& seen) const {
        seen.slot = IdTable::guess(seen.id);
        book_.arena_.expect(*seen.slot);
    }

    TOUCHSTONE_INLINE void carry_out(const Message& message, const Book::Sought& id, Index* guessed) {
        // Comparisons, the likeliest first: they are foretold better than the jump of a switch.
        const Action action = Action(message.action);
        if (action == Action::FeedAdd) {
            feed_add(message, id);
        } else if (action == Action::FeedDelete) {
            tell(message, book_.feed_delete(id, guessed));
        } else if (action == Action::Submit) {
            submit(message, id);
        } else if (action == Action::Cancel) {
            begin(message);
            ask(message, book_.cancel(id, out_, guessed));
        } else if (action == Action::FeedExecute) {
            out_.ts_event_ns = message.ts_event_ns;
            tell(message, book_.feed_execute(id, message.quantity_lots, out_, guessed));
        } else {
            carry_out_rarer(message);
        }
        if (TOUCHSTONE_UNLIKELY(book_.is_crossed() != was_crossed_)) note_crossing(message);
    }

    TOUCHSTONE_APART void carry_out_rarer(const Message& message) {
        switch (Action(message.action)) {
            case Action::FeedReduce:
                return tell(message,
                            book_.feed_reduce<Outlet>(message.order_id, message.quantity_lots));
            case Action::FeedModify:
                return tell(message,
                            book_.feed_modify<Outlet>(message.order_id, message.price_ticks,
                                                      message.quantity_lots));
            case Action::FeedClear: return book_.feed_clear();
            case Action::Reduce:
                begin(message);
                return ask(message, book_.reduce(message.order_id, message.quantity_lots, out_));
            case Action::Replace:
                begin(message);
                return ask(message, book_.replace(message.order_id, message.price_ticks,
                                                  message.quantity_lots, out_));
            default: throw no_message(row_of(message), "action", message.action, "0..9");
        }
    }

    TOUCHSTONE_INLINE void feed_add(const Message& message, const Book::Sought& id) {
        if (TOUCHSTONE_UNLIKELY(!is_side(message.side))) {
            throw no_message(row_of(message), "side", message.side, "+1, -1");
        }
        const Side side = side_of(message.side);
        const i64 participant_id = participant_of(message);
        if (TOUCHSTONE_LIKELY(participant_id == 0)) {
            tell(message, book_.feed_add<Outlet>(id, side, message.price_ticks,
                                                 message.quantity_lots));
        } else {
            tell(message, book_.feed_add_any<Outlet>(id.number, side, message.price_ticks,
                                                     message.quantity_lots, participant_id));
        }
    }

    TOUCHSTONE_INLINE void submit(const Message& message, const Book::Sought& id) {
        const i64 participant_id = participant_of(message);
        const bool plain = (participant_id | message.display_lots | message.time_in_force |
                            (message.flags & flag::kOfSubmit)) == 0;
        if (TOUCHSTONE_LIKELY(plain && is_side(message.side))) {
            begin(message);
            return ask(message,
                       book_.submit_plain(id, side_of(message.side), message.quantity_lots,
                                          message.price_ticks, out_));
        }
        submit_any(message, participant_id);
    }

    TOUCHSTONE_APART void submit_any(const Message& message, i64 participant_id) {
        require_words(row_of(message), message);
        begin(message);
        NewOrder asked = order_of(message, participant_id);
        ask(message, book_.submit(asked, out_));
    }

    /// A command's time moves the book's on first.
    TOUCHSTONE_INLINE void begin(const Message& message) {
        out_.ts_event_ns = message.ts_event_ns;
        if (message.ts_event_ns > book_.now_ns()) book_.advance(message.ts_event_ns, out_);
    }

    TOUCHSTONE_INLINE i64 participant_of(const Message& message) const {
        if (TOUCHSTONE_LIKELY(messages_.participants == nullptr)) return 0;
        return messages_.participants[row_of(message)];
    }

    /// A command that was refused is no error.
    TOUCHSTONE_INLINE void ask(const Message& message, Refusal refusal) {
        if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) note_refusal(message, refusal);
    }

    /// A feed message that cannot be true is one, unless told otherwise.
    TOUCHSTONE_INLINE void tell(const Message& message, Refusal refusal) {
        if (TOUCHSTONE_UNLIKELY(refusal != Refusal::None)) note_untrue(message, refusal);
    }

    TOUCHSTONE_COLD void note_untrue(const Message& message, Refusal refusal) {
        if (strict_) {
            const u64 row = row_of(message);
            throw feed_fault(refusal, message, messages_.participant(row), where_is(row));
        }
        note_refusal(message, refusal);
    }

    TOUCHSTONE_COLD void note_refusal(const Message& message, Refusal refusal) {
        result_.refusals.add() = {i64(row_of(message)), message.order_id,
                                  padded_byte(u8(refusal))};
    }

    TOUCHSTONE_COLD void note_crossing(const Message& message) {
        const u64 row = row_of(message);
        if (was_crossed_) {
            end_crossing(row);
        } else {
            was_crossed_ = true;
            crossed_since_ = row;
        }
    }

    Book& book_;
    const MessageArray messages_;
    const bool strict_;
    BulkResult& result_;
    Outlet out_;
    const Message* next_ = nullptr;
    bool was_crossed_ = book_.is_crossed();
    u64 crossed_since_ = 0;  // the row, while it is crossed
};

}  // namespace touchstone

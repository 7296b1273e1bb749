// Messages compiled for repeated replays (rule 40).
//
// What an array of messages does to a new book is always the same: each order gets the same node,
// each level too. So a tape is played once into a book of its own, noting for each row what it came
// to: which node it takes out, which level it adds to, whether it crosses. A replay does that
// without looking for ids or prices, and without asking again what is refused. The id table is
// made at its end.
#pragma once

#include <mutex>
#include <optional>

#include "bulk.hpp"

namespace touchstone {

/// What one row comes to.
struct TapeStep {
    /// Join and Leave are what nearly all steps are: an order without terms, at a level that is
    /// there and has no extras.
    enum Kind : u8 {
        Join,
        Leave,
        Execute,
        Take,
        Add,
        Remove,
        Rest,
        FeedMove,
        Clear,
        Act,
        Move,
        Advance
    };

    Kind kind;
    Side side;     // of Add
    bool crosses;  // of Act and Move
    u32 detail;    // of steps that need more than is here: its place in TapeSteps::details
    Index at;     // the order's node
    Index level;  // where it comes to rest; nobody where the level is made then
    i64 order_id;  // of Execute: the time
    i64 lots;      // of Advance: the time
};
static_assert(sizeof(TapeStep) == 32);

/// What a step needs of its row beyond itself. They lie in the order of their use: the memory is
/// asked for them in a line, not here and there in the whole array.
struct TapeDetail {
    Message message;
    i64 participant_id;
};

/// The steps for one set of rules, and what a replay of them needs and leaves behind.
struct TapeSteps {
    std::vector<TapeStep> steps;
    std::vector<TapeDetail> details;
    std::vector<RefusedRow> refusals;
    std::vector<Crossing> crossings;
    std::optional<Fault> fault;  // raised at the end, where a row was one
    u32 nodes = 0, pages[2] = {0, 0}, terms = 0, extras = 0;
    i64 now_ns = 0;
};

/// Plays messages into a book of its own and notes the steps.
class TapeCompiler {
public:
    TapeCompiler(const Rules& rules, const MessageArray& messages, bool strict)
        : book_(rules), messages_(messages), run_(book_, messages, strict, result_) {}

    TapeSteps compile() {
        u64 row = 0;
        try {
            for (; row < messages_.size; ++row) note(row);
        } catch (const Fault& fault) {
            found_.fault = fault;
        }
        run_.end_crossing(row);
        keep(result_.refusals, found_.refusals);
        keep(result_.crossings, found_.crossings);
        found_.nodes = book_.arena_.end();
        found_.pages[0] = book_.ladders_[0].page_end();
        found_.pages[1] = book_.ladders_[1].page_end();
        found_.terms = book_.terms_.end();
        found_.extras = book_.extras_.end();
        found_.now_ns = book_.now_ns();
        return std::move(found_);
    }

private:
    template <class Row>
    static void keep(const Rows<Row>& from, std::vector<Row>& to) {
        to.assign(from.data(), from.data() + from.size());
    }

    void note(u64 row) {
        const Message& message = messages_.rows[row];
        if (message.action < kActions && is_command(Action(message.action))) begin(row, message);
        TapeStep step{};
        step.order_id = message.order_id;
        step.lots = message.quantity_lots;
        const bool does = foresee(message, messages_.participant(row), step);
        const u64 refused = result_.refusals.size();
        run_.carry_out_row(row);
        result_.trades.clear();
        if (!does || result_.refusals.size() != refused) return;
        step.detail = u32(found_.details.size());
        if (needs_detail(step)) found_.details.push_back({message, messages_.participant(row)});
        found_.steps.push_back(step);
    }

    static bool needs_detail(const TapeStep& step) {
        switch (step.kind) {
            case TapeStep::Add: return step.level == kNobody;
            case TapeStep::Rest:
            case TapeStep::Act:
            case TapeStep::Move:
            case TapeStep::FeedMove: return true;
            default: return false;
        }
    }

    /// Move the time on as the command will, where something ends by it or reads it.
    void begin(u64 row, const Message& message) {
        if (Action(message.action) == Action::Submit) require_words(row, message);
        const bool later = message.ts_event_ns > book_.now_ns();
        const bool reads_time = Action(message.action) == Action::Submit &&
                                TimeInForce(message.time_in_force) == TimeInForce::Day;
        if (!(later && book_.calendar_.is_due(message.ts_event_ns)) && !reads_time) return;
        NoOutlet nobody;
        if (later) book_.advance(message.ts_event_ns, nobody);
        TapeStep step{};
        step.kind = TapeStep::Advance;
        step.lots = book_.now_ns();
        found_.steps.push_back(step);
    }

    /// Fill in what a row will do if it is not refused; return whether that is anything.
    bool foresee(const Message& message, i64 participant_id, TapeStep& step) {
        switch (Action(message.action)) {
            case Action::FeedAdd: return foresee_add(message, participant_id, step);
            case Action::Submit: return foresee_submit(message, participant_id, step);
            case Action::FeedClear: step.kind = TapeStep::Clear; return true;
            default: break;
        }
        step.at = book_.resting(message.order_id);
        if (step.at == kNobody) return false;
        const OrderNode& order = book_.arena_.order(step.at);
        step.level = order.level();
        const LevelNode& level = book_.arena_.level(order.level());
        const i64 leaves = book_.leaves_of(order);
        switch (Action(message.action)) {
            case Action::FeedDelete:
            case Action::Cancel: step.kind = leaving(order); return true;
            case Action::FeedReduce:
            case Action::Reduce:
                step.kind = message.quantity_lots < leaves ? TapeStep::Take : leaving(order);
                return true;
            case Action::FeedExecute:
                step.kind = TapeStep::Execute;
                step.order_id = message.ts_event_ns;  // the node knows its id
                return true;
            default: break;
        }
        if (message.price_ticks == level.price_ticks && message.quantity_lots <= leaves) {
            step.kind = TapeStep::Take;
            step.lots = leaves - message.quantity_lots;
            return step.lots > 0;
        }
        step.kind =
            Action(message.action) == Action::Replace ? TapeStep::Move : TapeStep::FeedMove;
        step.crosses = crosses(level.side(), message.price_ticks);
        return true;
    }

    bool foresee_add(const Message& message, i64 participant_id, TapeStep& step) {
        step.side = message.side > 0 ? Side::Buy : Side::Sell;
        step.level = level_at(step.side, message.price_ticks);
        step.kind = participant_id ? TapeStep::Rest : joining(step.level);
        return true;
    }

    bool foresee_submit(const Message& message, i64 participant_id, TapeStep& step) {
        const NewOrder asked = order_of(message, participant_id);
        step.side = asked.side;
        step.level = asked.has_limit() ? level_at(asked.side, asked.price_ticks) : kNobody;
        step.crosses = asked.has_limit() ? crosses(asked.side, asked.price_ticks)
                                         : !book_.ladder(opposite(asked.side)).empty();
        const bool just_rests = asked.is_plain() && asked.may_rest() && !step.crosses &&
                                asked.time_in_force == TimeInForce::Gtc;
        step.kind = just_rests ? joining(step.level) : TapeStep::Act;
        return true;
    }

    TapeStep::Kind joining(Index level) const {
        const bool is_simple = level != kNobody && book_.arena_.level(level).extra() == kNobody;
        return is_simple ? TapeStep::Join : TapeStep::Add;
    }
    TapeStep::Kind leaving(const OrderNode& order) const {
        const bool is_simple =
            !order.has_terms() && book_.arena_.level(order.level()).extra() == kNobody;
        return is_simple ? TapeStep::Leave : TapeStep::Remove;
    }

    Index level_at(Side side, i64 price_ticks) {
        if (!in_range(price_ticks)) return kNobody;
        Ladder& own = book_.ladder(side);
        return own.find(own.key_of(price_ticks));
    }
    bool crosses(Side side, i64 price_ticks) {
        const Ladder& theirs = book_.ladder(opposite(side));
        return in_range(price_ticks) && theirs.best_key() <= theirs.key_of(price_ticks);
    }

    Book book_;
    const MessageArray messages_;
    BulkResult result_;
    BulkRun run_;
    TapeSteps found_;
};

/// Plays steps into a new book of the same rules.
class TapeReplay {
public:
    TapeReplay(Book& book, const TapeSteps& tape, BulkResult& result)
        : book_(book), tape_(tape), result_(result), out_(result.trades) {}

    static void require_new(const Book& book) {
        if (book.is_empty() && book.trade_sequence() == 0 && book.now_ns() == 0) return;
        fail(FaultKind::Conflict,
             "book: not a new one; allowed for a compiled tape: a new, empty book");
    }

    void carry_out() {
        begin();
        try {
            if (tape_.nodes < kManyNodes) {
                carry_out_steps<false>();
            } else {
                carry_out_steps<true>();
            }
        } catch (...) {
            book_.changing_ = true;  // between two rows, and without its ids
            throw;
        }
        end();
        for (const RefusedRow& row : tape_.refusals) result_.refusals.add() = row;
        for (const Crossing& stretch : tape_.crossings) result_.crossings.add() = stretch;
        if (tape_.fault) throw *tape_.fault;
    }

private:
    using Outlet = TradeOutlet<false>;

    template <bool many>
    TOUCHSTONE_APART void carry_out_steps() {
        const TapeStep* step = tape_.steps.data();
        const TapeStep* const end = step + tape_.steps.size();
        if (tape_.steps.size() > kToNode) {
            for (; step != end - kToNode; ++step) {
                book_.arena_.expect(step[kToNode].at);
                if (many) expect_neighbours(step[kToNeighbours].at);
                carry_out(*step);
            }
        }
        for (; step != end; ++step) carry_out(*step);
    }

    /// The order of a later step may be made in between, at a place where nobody ever was.
    TOUCHSTONE_INLINE void expect_neighbours(Index at) const {
        if (at < book_.arena_.end()) book_.arena_.expect_neighbours(at);
    }

    /// Have the book give out nodes and pages from the first one on, and find room for all.
    void begin() {
        book_.budget_ = 0;
        book_.arena_.clear();
        book_.ids_.clear();
        book_.ladders_[0].clear();
        book_.ladders_[1].clear();
        book_.terms_.clear();
        book_.extras_.clear();
        book_.arena_.make_room(tape_.nodes);
        book_.ladders_[0].make_room(tape_.pages[0]);
        book_.ladders_[1].make_room(tape_.pages[1]);
        book_.terms_.make_room(tape_.terms);
        book_.extras_.make_room(tape_.extras);
        book_.ids_.make_room(book_.arena_, tape_.nodes);
    }

    void end() {
        book_.now_ns_ = tape_.now_ns;
        for (const Side side : {Side::Buy, Side::Sell}) {
            book_.visit_nodes(side, [this](Index at) {
                book_.ids_.insert(book_.seek(book_.arena_.order(at).order_id), at);
            });
        }
    }

    TOUCHSTONE_INLINE void carry_out(const TapeStep& step) {
        switch (step.kind) {
            case TapeStep::Join:
                book_.join(book_.make_order(step.order_id, step.lots), step.level);
                break;
            case TapeStep::Leave: book_.leave(step.at, step.level); break;
            case TapeStep::Take: book_.take_off(step.at, step.lots); break;
            case TapeStep::Execute:
                out_.ts_event_ns = step.order_id;
                execute(step);
                break;
            default: carry_out_rare(step);
        }
    }

    void add(const TapeStep& step) {
        Index level = step.level;
        const Index at = book_.make_order(step.order_id, step.lots);
        if (TOUCHSTONE_UNLIKELY(level == kNobody)) {
            level = book_.make_level(step.side, message(step).price_ticks);
        }
        book_.queue_plain(at, level);
    }

    TOUCHSTONE_INLINE void execute(const TapeStep& step) {
        const i64 leaves = book_.leaves_of(book_.arena_.order(step.at));
        book_.record_execution(step.at, step.lots, leaves - step.lots, out_);
        if (step.lots == leaves) {
            book_.remove_node(step.at);
        } else {
            book_.take_off(step.at, step.lots);
        }
    }

    TOUCHSTONE_APART void carry_out_rare(const TapeStep& step) {
        switch (step.kind) {
            case TapeStep::Add: add(step); break;
            case TapeStep::Remove: book_.remove<Outlet>(step.at); break;
            case TapeStep::Act: act(step); break;
            case TapeStep::Move:
                out_.ts_event_ns = message(step).ts_event_ns;
                book_.pin_expiry_of(step.at);
                book_.move_at(step.at, message(step).price_ticks, step.lots, step.crosses, out_);
                break;
            case TapeStep::FeedMove:
                book_.pin_expiry_of(step.at);
                book_.feed_move_at<Outlet>(step.at, message(step).price_ticks, step.lots);
                break;
            case TapeStep::Rest: rest(step); break;
            case TapeStep::Clear: book_.clear_orders<Outlet>(); break;
            default: book_.advance(step.lots, out_);
        }
    }

    TOUCHSTONE_INLINE void act(const TapeStep& step) {
        out_.ts_event_ns = message(step).ts_event_ns;
        NewOrder asked = order_of(message(step), detail(step).participant_id);
        book_.complete(asked);
        if (asked.expire_ns) book_.calendar_.pin(asked.expire_ns);
        book_.begin_command();
        book_.act(asked, {Refusal::None, step.crosses, step.level}, out_);
        book_.end_command();
    }

    void rest(const TapeStep& step) {
        book_.feed_add_with<Outlet>(step.order_id, step.side, message(step).price_ticks, step.lots,
                                    detail(step).participant_id, step.level);
    }

    const TapeDetail& detail(const TapeStep& step) const { return tape_.details[step.detail]; }
    const Message& message(const TapeStep& step) const { return detail(step).message; }

    Book& book_;
    const TapeSteps& tape_;
    BulkResult& result_;
    Outlet out_;
};

/// Messages, kept, and their steps for each set of rules they were played by.
class CompiledTape {
public:
    CompiledTape(const MessageArray& messages, bool strict)
        : rows_(messages.rows, messages.rows + messages.size),
          participants_(messages.participants,
                        messages.participants + (messages.participants ? messages.size : 0)),
          strict_(strict) {
        if (messages.size > UINT32_MAX) {
            fail(FaultKind::InvalidInput, "messages: " + std::to_string(messages.size) +
                                              " rows; allowed for a tape: 4294967295");
        }
        steps_for(Rules{});
    }

    u64 size() const { return rows_.size(); }

    void apply_to(Book& book, BulkResult& result) {
        TapeReplay::require_new(book);
        TapeReplay(book, steps_for(book.rules), result).carry_out();
    }

private:
    MessageArray array() const {
        return {rows_.data(), participants_.empty() ? nullptr : participants_.data(), rows_.size()};
    }

    /// Return the steps for some rules, compiled the first time that they are asked for.
    const TapeSteps& steps_for(const Rules& rules) {
        const std::lock_guard<std::mutex> one_at_a_time(compiling_);
        for (const auto& known : steps_) {
            if (known->first == rules) return known->second;
        }
        auto made = std::make_unique<std::pair<Rules, TapeSteps>>(
            rules, TapeCompiler(rules, array(), strict_).compile());
        steps_.push_back(std::move(made));
        return steps_.back()->second;
    }

    const std::vector<Message> rows_;
    const std::vector<i64> participants_;
    const bool strict_;
    std::mutex compiling_;
    std::vector<std::unique_ptr<std::pair<Rules, TapeSteps>>> steps_;
};

}  // namespace touchstone

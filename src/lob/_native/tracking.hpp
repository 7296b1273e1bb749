// Queue positions that are kept up to date: O(1) to ask, one look at a level's word to maintain.
#pragma once

#include <unordered_map>

#include "terms.hpp"

namespace touchstone {

/// What stands before an order at its own price (rule 41).
struct QueuePosition {
    i64 orders_ahead = 0;
    i64 lots_ahead = 0;
};

/// One order that is tracked; it is in its level's list, and in the ring of all by age.
struct Tracked {
    Index order;  // nobody while a replace has it out of the book
    bool hidden;
    u32 arrival;
    Index list_earlier, list_later;  // at its level; nobody at the ends
    Index older, newer;              // by when `track` was called
    i64 order_id;
    QueuePosition position;

    Index& next_free() { return order; }
};

/// A change of one order as those behind it see it.
struct QueueChange {
    bool hidden;      // which queue the order is in
    u32 arrival;
    i64 orders;       // how many fewer stand in its place: 1 or 0
    i64 queued_lots;  // how many fewer lots of its queue
    i64 reserve_lots; // how many fewer behind it
};

class Tracker {
public:
    explicit Tracker(u32 limit) : limit_(limit) {}

    u32 size() const { return u32(by_id_.size()); }
    u32 limit() const { return limit_; }
    Index oldest() const { return oldest_; }
    const Tracked& operator[](Index at) const { return tracked_[at]; }
    u64 bytes() const { return tracked_.bytes() + by_id_.size() * 48; }

    /// Return the record of a tracked order, or nobody.
    Index find(i64 order_id) const {
        if (by_id_.empty()) return kNobody;
        const auto found = by_id_.find(order_id);
        return found == by_id_.end() ? kNobody : found->second;
    }

    /// Begin to track; bad_alloc without memory, and then nothing has changed.
    Index add(i64 order_id) {
        tracked_.make_room(1);
        const Index at = tracked_.take();
        try {
            by_id_.emplace(order_id, at);
        } catch (...) {
            tracked_.give_back(at);
            throw;
        }
        Tracked& record = tracked_[at];
        record = Tracked{kNobody, false, 0, kNobody, kNobody, newest_, kNobody, order_id, {}};
        (newest_ == kNobody ? oldest_ : tracked_[newest_].newer) = at;
        newest_ = at;
        return at;
    }

    /// End to track; it must be in no level's list.
    void drop(Index at) {
        const Tracked record = tracked_[at];
        by_id_.erase(record.order_id);
        (record.older == kNobody ? oldest_ : tracked_[record.older].newer) = record.newer;
        (record.newer == kNobody ? newest_ : tracked_[record.newer].older) = record.older;
        tracked_.give_back(at);
    }

    /// Put a record in its level's list, with the place where its order stands now.
    void settle(LevelExtra& level, Index at, Index order, bool hidden, u32 arrival,
                QueuePosition position) {
        Tracked& record = tracked_[at];
        record.order = order;
        record.hidden = hidden;
        record.arrival = arrival;
        record.position = position;
        record.list_earlier = kNobody;
        record.list_later = level.tracked;
        if (level.tracked != kNobody) tracked_[level.tracked].list_earlier = at;
        level.tracked = at;
    }

    /// Take a record off its level's list.
    void unsettle(LevelExtra& level, Index at) {
        Tracked& record = tracked_[at];
        (record.list_earlier == kNobody ? level.tracked
                                        : tracked_[record.list_earlier].list_later) =
            record.list_later;
        if (record.list_later != kNobody) {
            tracked_[record.list_later].list_earlier = record.list_earlier;
        }
        record.order = kNobody;
    }

    /// Note what an order at a level lost: those behind it have less before them.
    void note_loss(const LevelExtra& level, const QueueChange& loss) {
        for (Index at = level.tracked; at != kNobody; at = tracked_[at].list_later) {
            Tracked& record = tracked_[at];
            if (record.hidden == loss.hidden) {
                if (record.arrival <= loss.arrival) continue;
                record.position.orders_ahead -= loss.orders;
                record.position.lots_ahead -= loss.queued_lots;
            } else if (record.hidden) {
                record.position.orders_ahead -= loss.orders;
                record.position.lots_ahead -= loss.queued_lots + loss.reserve_lots;
            }
        }
    }

    /// Note a displayed order that came to a level: it stands before the hidden ones.
    void note_displayed(const LevelExtra& level, i64 leaves) {
        for (Index at = level.tracked; at != kNobody; at = tracked_[at].list_later) {
            Tracked& record = tracked_[at];
            if (!record.hidden) continue;
            record.position.orders_ahead += 1;
            record.position.lots_ahead += leaves;
        }
    }

    /// Note a displayed order that went from its place to the tail, having shown nothing.
    void note_refill(const LevelExtra& level, Index order, u32 was_arrival, u32 arrival,
                     QueuePosition tail) {
        for (Index at = level.tracked; at != kNobody; at = tracked_[at].list_later) {
            Tracked& record = tracked_[at];
            if (record.order == order) {
                record.arrival = arrival;
                record.position = tail;
            } else if (!record.hidden && record.arrival > was_arrival) {
                record.position.orders_ahead -= 1;
            }
        }
    }

    void renumber(Index at, u32 arrival) { tracked_[at].arrival = arrival; }

    void clear() {
        tracked_.clear();
        by_id_.clear();
        oldest_ = newest_ = kNobody;
    }

    /// Call `visit(record)` for each; for `check`.
    template <class Visit>
    void visit(Visit visit) const {
        for (Index at = oldest_; at != kNobody; at = tracked_[at].newer) visit(tracked_[at]);
    }

private:
    Pool<Tracked> tracked_{u32(1) << 31, "tracked orders"};
    std::unordered_map<i64, Index> by_id_;
    Index oldest_ = kNobody, newest_ = kNobody;
    u32 limit_;
};

}  // namespace touchstone

// When orders end by themselves: one ring of terms for each time at which any does.
#pragma once

#include <algorithm>
#include <map>
#include <vector>

#include "terms.hpp"

namespace touchstone {

/// DAY orders of one day share a time, so joining and leaving a ring is O(1) for nearly all.
class ExpiryCalendar {
public:
    /// Say whether anything ends at `now_ns` or before.
    TOUCHSTONE_INLINE bool is_due(i64 now_ns) const { return u64(now_ns) >= next_ns_; }

    i64 next_ns() const { return i64(next_ns_); }

    /// Make sure that until `unpin` an `add` at this time needs no memory.
    void pin(i64 expire_ns) {
        unpin();
        rings_.try_emplace(expire_ns, kNobody);
        pinned_ns_ = expire_ns;
    }

    /// End `pin`; an empty ring goes.
    TOUCHSTONE_INLINE void unpin() {
        if (TOUCHSTONE_LIKELY(pinned_ns_ == 0)) return;
        const auto ring = rings_.find(pinned_ns_);
        pinned_ns_ = 0;
        if (ring != rings_.end() && ring->second == kNobody) forget(ring);
    }

    void add(Pool<Terms>& terms, Index at) {
        const auto ring = rings_.find(terms[at].expire_ns);
        TOUCHSTONE_ASSERT(ring != rings_.end());
        const Index first = ring->second;
        if (first == kNobody) {
            terms[at].expires_earlier = terms[at].expires_later = at;
            ring->second = at;
        } else {
            const Index last = terms[first].expires_earlier;
            terms[at].expires_earlier = last;
            terms[at].expires_later = first;
            terms[last].expires_later = at;
            terms[first].expires_earlier = at;
        }
        next_ns_ = std::min(next_ns_, u64(terms[at].expire_ns));
    }

    void remove(Pool<Terms>& terms, Index at) {
        const auto ring = rings_.find(terms[at].expire_ns);
        TOUCHSTONE_ASSERT(ring != rings_.end());
        const Index earlier = terms[at].expires_earlier, later = terms[at].expires_later;
        terms[earlier].expires_later = later;
        terms[later].expires_earlier = earlier;
        if (ring->second == at) ring->second = later == at ? kNobody : later;
        if (ring->second == kNobody && ring->first != pinned_ns_) forget(ring);
    }

    /// The first of those that end next; it is due.
    Index next() const { return rings_.begin()->second; }

    void clear() {
        rings_.clear();
        next_ns_ = kNever;
        pinned_ns_ = 0;
    }

    /// Call `visit(expire_ns, terms index)` for all; for `check`.
    template <class Visit>
    void visit(const Pool<Terms>& terms, Visit visit) const {
        for (const auto& [expire_ns, first] : rings_) {
            Index at = first;
            if (at == kNobody) continue;
            do {
                visit(expire_ns, at);
                at = terms[at].expires_later;
            } while (at != first);
        }
    }

private:
    static constexpr u64 kNever = ~u64(0);
    using Rings = std::map<i64, Index>;

    void forget(Rings::iterator ring) {
        rings_.erase(ring);
        next_ns_ = rings_.empty() ? kNever : u64(rings_.begin()->first);
    }

    Rings rings_;
    u64 next_ns_ = kNever;
    i64 pinned_ns_ = 0;  // the time whose ring stays though it is empty; 0: none
};

/// Return the day's next close strictly after `now_ns`, 2^63-1 at most (rule 37).
inline i64 next_day_close(i64 now_ns, i64 day_close_ns) {
    constexpr i64 kDayNs = i64(86'400) * 1'000'000'000;
    const i64 time_of_day = now_ns % kDayNs;
    const i128 midnight = now_ns - time_of_day;
    const i128 close = midnight + day_close_ns + (time_of_day < day_close_ns ? 0 : kDayNs);
    return close > kMax ? kMax : i64(close);
}

}  // namespace touchstone

// The prices of one side: a trie of pages of 64, each with one word that says which are occupied.
//
// A price becomes a *key* that grows away from the touch: the price itself for asks, what is
// missing to 2^63-1 for bids. Better is always smaller, so one code serves both sides. A page covers six
// bits of the key; a page with a single child is left out, so that the trie is as large as the
// number of levels, never as the range of prices. The next best price is a bit scan.
#pragma once

#include "arena.hpp"

namespace touchstone {

using Key = u64;

/// The best key of a side where nobody is: beyond every price, and the limit of none.
constexpr Key kNoKey = u64(1) << 63;

/// The limit of an aggressor that takes any price.
constexpr Key kAnyKey = kNoKey - 1;

class Ladder {
public:
    Ladder(Side side, u32 page_limit)
        : flip_(side == Side::Buy ? Key(kMax) : 0), pages_(page_limit, "price pages") {
        forget_cached();
    }

    /// No branch: of the next order's side nobody can tell, and 2^63-1 less a price is its flip.
    TOUCHSTONE_INLINE Key key_of(i64 price_ticks) const { return Key(price_ticks) ^ flip_; }

    Key best_key() const { return best_key_; }
    Index best() const { return best_level_; }
    bool empty() const { return best_level_ == kNobody; }
    u64 bytes() const { return pages_.bytes(); }

    /// Say whether a level can be put in without growing: it makes at most two pages.
    TOUCHSTONE_INLINE bool has_room() const { return pages_.spare() >= 2; }
    void make_room(u32 pages = 2) { pages_.make_room(pages); }
    u32 page_end() const { return pages_.end(); }

    /// Return the level at a key, or nobody.
    TOUCHSTONE_INLINE Index find(Key key) {
        const Cached& cached = cache_[key >> 6 & (kCached - 1)];
        if (TOUCHSTONE_LIKELY(cached.prefix == key >> 6)) {
            return pages_[cached.page].child[key & 63];
        }
        return find_uncached(key);
    }

    /// Put a level at a key where none is; there must be room.
    void insert(Key key, Index level) {
        Index page = leaf_of(key);
        if (page == kNobody) page = make_leaf(key);
        Page& leaf = pages_[page];
        leaf.child[key & 63] = level;
        leaf.occupied |= u64(1) << (key & 63);
        if (key < best_key_) {
            best_key_ = key;
            best_level_ = level;
        }
    }

    /// Take out the level at a key where one is.
    void erase(Key key) {
        const Index page = leaf_of(key);
        Page& leaf = pages_[page];
        leaf.occupied &= ~(u64(1) << (key & 63));
        leaf.child[key & 63] = kNobody;
        if (key == best_key_) {
            // The best is the smallest: what is left on its page is next.
            if (leaf.occupied) {
                const int slot = __builtin_ctzll(leaf.occupied);
                best_key_ = (key & ~Key(63)) | u64(slot);
                best_level_ = leaf.child[slot];
                return;
            }
            drop(page);
            find_best();
            return;
        }
        if (leaf.occupied == 0) drop(page);
    }

    /// A level and its key.
    struct Place {
        Key key;
        Index level;
    };

    /// Return the first level with a key of at least `key`; its level is nobody beyond the last.
    Place at_or_after(Key key) const {
        Index at = root_;
        Index later_page = kNobody;  // the deepest page that has something behind the path
        int later_slot = 0;
        while (at != kNobody) {
            const Page& page = pages_[at];
            const u64 prefix = key >> page.shift >> 6;
            if (prefix > page.prefix) break;
            if (prefix < page.prefix) return first_of(at);
            const int slot = int(key >> page.shift & 63);
            const u64 behind = page.occupied & (~u64(0) << slot);
            if (page.shift == 0) {
                if (behind == 0) break;
                const int next = __builtin_ctzll(behind);
                return {page.prefix << 6 | u64(next), page.child[next]};
            }
            const u64 beyond = behind & ~(u64(1) << slot);
            if (beyond) {
                later_page = at;
                later_slot = __builtin_ctzll(beyond);
            }
            at = behind >> slot & 1 ? page.child[slot] : kNobody;
        }
        if (later_page == kNobody) return {kNoKey, kNobody};
        return first_of(pages_[later_page].child[later_slot]);
    }

    Place first() const { return {best_key_, best_level_}; }
    Place after(Key key) const { return at_or_after(key + 1); }

    void clear() {
        pages_.clear();
        root_ = kNobody;
        best_key_ = kNoKey;
        best_level_ = kNobody;
        forget_cached();
    }

    /// Return an error text, or "" where pages, words and links agree; for `check`.
    std::string check() const {
        u32 reached = 0;
        if (root_ != kNobody) {
            if (pages_[root_].parent != kNobody) return "the root page has a parent";
            const std::string error = check_page(root_, reached);
            if (!error.empty()) return error;
        }
        if (reached != pages_.live()) return "pages are lost";
        const Place best = root_ == kNobody ? Place{kNoKey, kNobody} : first_of(root_);
        if (best.key != best_key_ || best.level != best_level_) return "the touch is not the best";
        for (const Cached& cached : cache_) {
            if (cached.page == kNobody) continue;
            const Page& page = pages_[cached.page];
            if (page.shift != 0 || page.prefix != cached.prefix) return "a page is cached wrongly";
        }
        return "";
    }

private:
    static constexpr u32 kCached = 32;

    struct Page {
        u64 occupied;
        u64 prefix;   // the key's bits above this page's six
        Index parent;
        u8 shift;     // where this page's six bits begin in the key; 0: a leaf, of levels
        u8 slot;      // its place in the parent
        Index child[64];  // of a leaf: nobody where it is not occupied

        Index& next_free() { return parent; }
    };

    struct Cached {
        u64 prefix;
        Index page;
    };

    TOUCHSTONE_INLINE Index leaf_of(Key key) {
        Cached& cached = cache_[key >> 6 & (kCached - 1)];
        if (TOUCHSTONE_LIKELY(cached.prefix == key >> 6)) return cached.page;
        return find_leaf(key, cached);
    }

    TOUCHSTONE_COLD Index find_uncached(Key key) {
        const Index page = leaf_of(key);
        return page == kNobody ? kNobody : pages_[page].child[key & 63];
    }

    TOUCHSTONE_COLD Index find_leaf(Key key, Cached& cached) {
        Index at = root_;
        while (at != kNobody) {
            const Page& page = pages_[at];
            if (key >> page.shift >> 6 != page.prefix) return kNobody;
            if (page.shift == 0) {
                cached = {key >> 6, at};
                return at;
            }
            const int slot = int(key >> page.shift & 63);
            at = page.occupied >> slot & 1 ? page.child[slot] : kNobody;
        }
        return kNobody;
    }

    Index make_page(u64 prefix, u8 shift) {
        const Index at = pages_.take();
        Page& page = pages_[at];
        page.occupied = 0;
        page.prefix = prefix;
        page.parent = kNobody;
        page.shift = shift;
        page.slot = 0;
        return at;
    }

    void attach(Index parent, int slot, Index child) {
        Page& page = pages_[parent];
        page.occupied |= u64(1) << slot;
        page.child[slot] = child;
        pages_[child].parent = parent;
        pages_[child].slot = u8(slot);
    }

    /// Make the leaf of a key that has none, and the page that joins it to the others.
    TOUCHSTONE_COLD Index make_leaf(Key key) {
        const Index leaf = make_page(key >> 6, 0);
        for (Index& level : pages_[leaf].child) level = kNobody;
        cache_[key >> 6 & (kCached - 1)] = {key >> 6, leaf};
        Index at = root_;
        if (at == kNobody) {
            root_ = leaf;
            return leaf;
        }
        for (;;) {
            const Page& page = pages_[at];
            if (key >> page.shift >> 6 != page.prefix) break;
            const int slot = int(key >> page.shift & 63);
            if ((page.occupied >> slot & 1) == 0) {
                attach(at, slot, leaf);
                return leaf;
            }
            at = page.child[slot];
        }
        join(at, leaf, key);
        return leaf;
    }

    /// Put a page above two whose keys part higher than either's own bits.
    void join(Index there, Index leaf, Key key) {
        const Page page = pages_[there];
        const Key other = page.prefix << page.shift << 6;
        const Key apart = (key ^ other) >> page.shift >> 6 << page.shift << 6;
        const int shift = (63 - __builtin_clzll(apart)) / 6 * 6;
        const Index above = make_page(key >> shift >> 6, u8(shift));
        if (page.parent == kNobody) {
            root_ = above;
        } else {
            attach(page.parent, page.slot, above);
        }
        attach(above, int(other >> shift & 63), there);
        attach(above, int(key >> shift & 63), leaf);
    }

    /// Give back an empty leaf, and the page above it where only one child is left there.
    TOUCHSTONE_COLD void drop(Index leaf) {
        Cached& cached = cache_[pages_[leaf].prefix & (kCached - 1)];
        if (cached.page == leaf) cached = kNotCached;
        const Index above = pages_[leaf].parent;
        const int slot = pages_[leaf].slot;
        pages_.give_back(leaf);
        if (above == kNobody) {
            root_ = kNobody;
            return;
        }
        Page& page = pages_[above];
        page.occupied &= ~(u64(1) << slot);
        if (page.occupied & (page.occupied - 1)) return;
        const Index only = page.child[__builtin_ctzll(page.occupied)];
        if (page.parent == kNobody) {
            root_ = only;
            pages_[only].parent = kNobody;
        } else {
            attach(page.parent, page.slot, only);
        }
        pages_.give_back(above);
    }

    void find_best() {
        const Place best = root_ == kNobody ? Place{kNoKey, kNobody} : first_of(root_);
        best_key_ = best.key;
        best_level_ = best.level;
    }

    Place first_of(Index at) const {
        for (;;) {
            const Page& page = pages_[at];
            const int slot = __builtin_ctzll(page.occupied);
            if (page.shift == 0) return {page.prefix << 6 | u64(slot), page.child[slot]};
            at = page.child[slot];
        }
    }

    std::string check_page(Index at, u32& reached) const {
        const Page& page = pages_[at];
        ++reached;
        if (page.occupied == 0) return "a page is empty";
        for (int slot = 0; slot < 64 && page.shift == 0; ++slot) {
            const bool taken = page.occupied >> slot & 1;
            if (taken != (page.child[slot] != kNobody)) return "a page says other levels than it has";
        }
        if (page.shift == 0) return "";
        if ((page.occupied & (page.occupied - 1)) == 0) return "a page has a single child";
        for (u64 left = page.occupied; left; left &= left - 1) {
            const int slot = __builtin_ctzll(left);
            const Page& child = pages_[page.child[slot]];
            if (child.parent != at || child.slot != slot) return "a page is linked wrongly";
            if (child.shift >= page.shift) return "a page is no deeper than the one above";
            const u64 base = child.prefix << child.shift << 6;
            if (base >> page.shift != (page.prefix << 6 | u64(slot))) return "a page is misfiled";
            const std::string error = check_page(page.child[slot], reached);
            if (!error.empty()) return error;
        }
        return "";
    }

    static constexpr Cached kNotCached{~u64(0), kNobody};
    void forget_cached() {
        for (Cached& cached : cache_) cached = kNotCached;
    }

    Key best_key_ = kNoKey;
    Index best_level_ = kNobody;
    Index root_ = kNobody;
    Key flip_;
    Cached cache_[kCached];
    Pool<Page> pages_;
    // The side of the next order is anybody's guess, so ladders are found by a shift, no branch.
    char to_a_power_of_two_[1024 - 24 - sizeof(Cached) * kCached - sizeof(Pool<Page>)] = {};
};
static_assert(sizeof(Ladder) == 1024);

}  // namespace touchstone

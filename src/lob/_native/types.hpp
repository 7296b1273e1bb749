// The vocabulary of the native book: the same words and codes as lob.types and lob.messages.
#pragma once

#include <cassert>
#include <cstdint>
#include <stdexcept>
#include <string>

#if defined(TOUCHSTONE_DEBUG_CHECKS)
#define TOUCHSTONE_ASSERT(condition) assert(condition)
#else
#define TOUCHSTONE_ASSERT(condition) ((void)0)
#endif

#if defined(__GNUC__)
#define TOUCHSTONE_INLINE inline __attribute__((always_inline))
#define TOUCHSTONE_COLD __attribute__((noinline, cold))
// Kept out of the loops that it would crowd, but no colder than they are.
#define TOUCHSTONE_APART __attribute__((noinline))
#define TOUCHSTONE_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define TOUCHSTONE_UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define TOUCHSTONE_PREFETCH(address) __builtin_prefetch(address, 1)
#define TOUCHSTONE_PREFETCH_ONCE(address) __builtin_prefetch(address, 0, 0)
#else
#error "the native book is written for GCC and Clang: it needs __int128 and their builtins"
#endif

namespace touchstone {

using i8 = std::int8_t;
using i64 = std::int64_t;
using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
__extension__ typedef __int128 i128;
__extension__ typedef unsigned __int128 u128;

/// The largest id, price in ticks, quantity in lots and time.
constexpr i64 kMax = INT64_MAX;

/// A field that a caller gave, and that no field can be: refused where it is looked at.
constexpr i64 kNotAnInteger = -1;

constexpr bool in_range(i64 value) { return value > 0; }

/// In how many parts an iceberg may show itself; lob.types says why.
constexpr i64 kMaxIcebergParts = 10'000;

/// Say whether an order that shows so many lots at a time (0: all) shows itself in too many parts.
constexpr bool shows_too_little(i64 display_lots, i64 lots) {
    return display_lots > 0 && (lots - 1) / kMaxIcebergParts >= display_lots;
}

// ------------------------------------------------------------------ words, coded in their order

enum class Side : u8 { Buy, Sell };
enum class OrderType : u8 { Limit, Market, Stop, StopLimit };
enum class TimeInForce : u8 { Gtc, Ioc, Fok, Day, Gtd };
enum class Stp : u8 { None, CancelNewest, CancelOldest, CancelBoth, DecrementAndCancel };

enum class Refusal : u8 {
    InvalidOrderId,
    InvalidQuantity,
    InvalidPrice,
    InvalidStopPrice,
    InvalidDisplay,
    InvalidExpiry,
    InvalidParticipantId,
    DuplicateOrderId,
    UnknownOrder,
    StopNotTriggered,
    PostOnlyNeedsResting,
    PostOnlyWouldCross,
    FokNotFillable,
    LevelFull,
    MoreThanLeaves,
    None = 255
};

enum class CancelReason : u8 {
    Requested,
    IocRemainder,
    MarketRemainder,
    SelfTrade,
    FokNotFillable,
    LevelFull
};

constexpr Side opposite(Side side) { return side == Side::Buy ? Side::Sell : Side::Buy; }
constexpr i8 sign_of(Side side) { return side == Side::Buy ? 1 : -1; }

// ------------------------------------------------------------------ rows of the bulk interface

enum class Action : u8 {
    Submit,
    Cancel,
    Reduce,
    Replace,
    FeedAdd,
    FeedDelete,
    FeedReduce,
    FeedModify,
    FeedExecute,
    FeedClear
};
constexpr u8 kActions = 10;
constexpr bool is_command(Action action) { return action <= Action::Replace; }

namespace flag {
constexpr u8 kPostOnly = 1, kHidden = 2, kMarket = 4, kStpMask = 7 << 3;
constexpr int kStpShift = 3;
constexpr u8 kOfSubmit = kPostOnly | kHidden | kMarket | kStpMask;
}  // namespace flag

/// lob.MESSAGE_DTYPE
struct Message {
    i64 ts_event_ns, order_id, price_ticks, quantity_lots, display_lots;
    u8 action;
    i8 side;
    u8 time_in_force, flags;
};
static_assert(sizeof(Message) == 48);

/// lob.TRADE_DTYPE
struct Trade {
    i64 ts_event_ns, sequence, maker_order_id, taker_order_id, price_ticks, quantity_lots;
    i64 aggressor_side;  // the sign in its first byte; all eight are written, so none is left wild
};
static_assert(sizeof(Trade) == 56);

/// lob.messages.REFUSAL_DTYPE
struct RefusedRow {
    i64 index, order_id;
    i64 reason;  // the code in its first byte
};
static_assert(sizeof(RefusedRow) == 24);

/// lob.messages.CROSSING_DTYPE
struct Crossing {
    i64 first, end;
};

/// The byte of a little-endian row that carries a small number, with the padding behind it zero.
constexpr i64 padded_byte(u8 value) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return i64(value);
#else
#error "rows are little-endian, as lob.messages says"
#endif
}

// ------------------------------------------------------------------ orders and rules

/// A new order as it was asked for; 0 stands for a price, stop or expiry that was not given.
struct NewOrder {
    i64 order_id = 0;
    i64 quantity_lots = 0;
    i64 price_ticks = 0;
    i64 stop_ticks = 0;
    i64 display_lots = 0;
    i64 expire_ns = 0;
    i64 participant_id = 0;
    Side side = Side::Buy;
    OrderType type = OrderType::Limit;
    TimeInForce time_in_force = TimeInForce::Gtc;
    Stp stp = Stp::None;
    bool post_only = false;
    bool hidden = false;

    /// Say whether it rests as the simplest orders do: with nothing that a node has no room for.
    bool is_plain() const {
        return (participant_id | display_lots | expire_ns | u8(stp) | u8(post_only) | u8(hidden)) ==
               0;
    }
    bool has_limit() const { return type == OrderType::Limit || type == OrderType::StopLimit; }
    bool has_stop() const { return type == OrderType::Stop || type == OrderType::StopLimit; }
    bool may_rest() const {
        return type == OrderType::Limit && time_in_force != TimeInForce::Ioc &&
               time_in_force != TimeInForce::Fok;
    }
};

/// What an instrument's rules leave open.
struct Rules {
    bool pro_rata = false;
    i64 minimum_allocation_lots = 1;
    i64 day_close_ns = 0;

    bool operator==(const Rules& other) const {
        return pro_rata == other.pro_rata && day_close_ns == other.day_close_ns &&
               (!pro_rata || minimum_allocation_lots == other.minimum_allocation_lots);
    }
};

// ------------------------------------------------------------------ faults

/// The faults of lob.errors that the core raises; the bindings turn them into those.
enum class FaultKind : u8 { InvalidInput, NotFound, Conflict, Overloaded, InvariantViolation };

class Fault : public std::runtime_error {
public:
    Fault(FaultKind kind, const std::string& text) : std::runtime_error(text), kind(kind) {}
    FaultKind kind;
};

[[noreturn]] TOUCHSTONE_COLD inline void fail(FaultKind kind, const std::string& text) {
    throw Fault(kind, text);
}

}  // namespace touchstone

"""The vocabulary of the book: commands in, events out, all in integers.

Prices are ticks, quantities are lots, ids are 64-bit: each from 1 to `INT64_MAX`. Commands are in
the imperative and events in the past tense. Every value here is immutable.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from lob.instrument import Instrument as Instrument  # noqa: PLC0414 - exported from here too

INT64_MAX: Final = 2**63 - 1
"""The largest id, price in ticks, or quantity in lots."""

DAY_NS: Final = 86_400 * 1_000_000_000

MAX_ICEBERG_PARTS: Final = 10_000
"""In how many parts an iceberg may show itself: each is a trade and a refill, and one aggressor may
meet them all. Venues have such a limit too (Binance's spot API calls its filter ICEBERG_PARTS)."""


def __getattr__(name: str) -> Any:
    # Decimals and dataclasses cost more to import than all the rest here; a book needs neither.
    if name == "Instrument":
        from lob.instrument import Instrument  # noqa: PLC0415 - only for who asks

        return Instrument
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Side(StrEnum):
    """The side of an order: `sign` is +1 for BUY and -1 for SELL."""

    sign: int
    BUY = "BUY"
    SELL = "SELL"

    def __init__(self, value: str) -> None:
        self.sign = 1 if value == "BUY" else -1

    @property
    def opposite(self) -> "Side":
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """What bounds the price (a limit, or nothing), and whether a stop price is waited for first.

    STOP becomes a MARKET order and STOP_LIMIT a LIMIT order once a trade reaches the stop price.
    """

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"


class TimeInForce(StrEnum):
    """How long an order lives.

    GTC rests until cancelled; IOC trades what it can at once and never rests; FOK trades wholly at
    once or is refused; DAY rests until the instrument's next close; GTD until the time it names.
    A MARKET order never rests, whatever its time in force.
    """

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    DAY = "DAY"
    GTD = "GTD"


class Allocation(StrEnum):
    """How the lots of an aggressor are shared out among the displayed orders of one level."""

    PRICE_TIME = "PRICE_TIME"
    PRO_RATA = "PRO_RATA"


class SelfTradePrevention(StrEnum):
    """What happens when an aggressor meets an order of its own participant; its own mode decides.

    CANCEL_NEWEST cancels the aggressor, for good. CANCEL_OLDEST cancels the resting order and goes
    on. CANCEL_BOTH cancels both. DECREMENT_AND_CANCEL takes the smaller quantity off both; what is
    then empty is cancelled. Participant 0 is anonymous: it is never its own counterparty.
    """

    NONE = "NONE"
    CANCEL_NEWEST = "CANCEL_NEWEST"
    CANCEL_OLDEST = "CANCEL_OLDEST"
    CANCEL_BOTH = "CANCEL_BOTH"
    DECREMENT_AND_CANCEL = "DECREMENT_AND_CANCEL"


class RejectReason(StrEnum):
    """Why a command was refused; a refused command changes nothing.

    MORE_THAN_LEAVES is said of feed messages only: they take more off an order than it has.
    """

    INVALID_ORDER_ID = "INVALID_ORDER_ID"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    INVALID_PRICE = "INVALID_PRICE"
    INVALID_STOP_PRICE = "INVALID_STOP_PRICE"
    INVALID_DISPLAY = "INVALID_DISPLAY"
    INVALID_EXPIRY = "INVALID_EXPIRY"
    INVALID_PARTICIPANT_ID = "INVALID_PARTICIPANT_ID"
    DUPLICATE_ORDER_ID = "DUPLICATE_ORDER_ID"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    STOP_NOT_TRIGGERED = "STOP_NOT_TRIGGERED"
    POST_ONLY_NEEDS_RESTING = "POST_ONLY_NEEDS_RESTING"
    POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"
    FOK_NOT_FILLABLE = "FOK_NOT_FILLABLE"
    LEVEL_FULL = "LEVEL_FULL"
    MORE_THAN_LEAVES = "MORE_THAN_LEAVES"


class CancelReason(StrEnum):
    """Why lots left the book, or never came to rest, without trading."""

    REQUESTED = "REQUESTED"
    IOC_REMAINDER = "IOC_REMAINDER"
    MARKET_REMAINDER = "MARKET_REMAINDER"
    SELF_TRADE = "SELF_TRADE"
    FOK_NOT_FILLABLE = "FOK_NOT_FILLABLE"
    LEVEL_FULL = "LEVEL_FULL"


class AssetClass(StrEnum):
    """What kind of thing is traded."""

    EQUITY = "EQUITY"
    CRYPTO = "CRYPTO"
    FUTURES = "FUTURES"


class Submit(NamedTuple):
    """Ask the book to take a new order.

    LIMIT and STOP_LIMIT need `price_ticks`, STOP and STOP_LIMIT need `stop_ticks`, GTD needs
    `expire_ns`; the others must not have them. `display_lots` 0 shows the whole order, less than
    `quantity_lots` makes an iceberg; a `hidden` order shows nothing. `participant_id` 0 is
    anonymous. `order_id` must not be that of a live order.
    """

    order_id: int
    side: Side
    quantity_lots: int
    price_ticks: int | None = None
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    participant_id: int = 0
    stp: SelfTradePrevention = SelfTradePrevention.NONE
    stop_ticks: int | None = None
    display_lots: int = 0
    hidden: bool = False
    expire_ns: int | None = None


class Cancel(NamedTuple):
    """Ask the book to take a resting order, or a stop that waits, out."""

    order_id: int


class Reduce(NamedTuple):
    """Ask the book to take this many lots off an order, which keeps its place.

    An iceberg gives up its reserve first. Taking off as much as there is, or more, cancels.
    """

    order_id: int
    quantity_lots: int


class Replace(NamedTuple):
    """Ask the book to give a resting order a new price and new leaves.

    Fewer (or as many) lots at the same price keep the order's place; anything else puts it at the
    tail of its level, after trading whatever the new price crosses.
    """

    order_id: int
    price_ticks: int
    quantity_lots: int


Command = Submit | Cancel | Reduce | Replace


class Accepted(NamedTuple):
    """Say that an order was taken; always the first event of its submit."""

    order_id: int
    side: Side
    price_ticks: int | None
    quantity_lots: int


class Rejected(NamedTuple):
    """Say that a command was refused whole and changed nothing."""

    order_id: int
    reason: RejectReason


class Traded(NamedTuple):
    """Say that a resting order (maker) and an incoming one (taker) traded.

    The price is the maker's. `sequence` counts the book's trades from 1. Leaves include what an
    order does not show.
    """

    sequence: int
    maker_order_id: int
    taker_order_id: int
    price_ticks: int
    quantity_lots: int
    aggressor_side: Side
    maker_leaves: int
    taker_leaves: int


class Refilled(NamedTuple):
    """Say that an iceberg whose displayed part traded shows new lots, at the tail of its level."""

    order_id: int
    displayed_lots: int
    leaves: int


class Reduced(NamedTuple):
    """Say that an order lost lots without trading and goes on with `leaves`."""

    order_id: int
    quantity_lots: int
    leaves: int


class Replaced(NamedTuple):
    """Say that a resting order has a new price or new leaves, and whether it kept its place."""

    order_id: int
    price_ticks: int
    leaves: int
    kept_priority: bool


class Cancelled(NamedTuple):
    """Say that an order ended with `quantity_lots` of it untraded."""

    order_id: int
    quantity_lots: int
    reason: CancelReason


class Expired(NamedTuple):
    """Say that an order's time was over with `quantity_lots` of it untraded."""

    order_id: int
    quantity_lots: int


class Triggered(NamedTuple):
    """Say that a trade reached a stop's price: the order now trades as any other."""

    order_id: int
    stop_ticks: int


Event = (
    Accepted | Rejected | Traded | Refilled | Reduced | Replaced | Cancelled | Expired | Triggered
)


class Level(NamedTuple):
    """One price of one side: the lots displayed there and in how many orders."""

    price_ticks: int
    quantity_lots: int
    order_count: int


class QueuePosition(NamedTuple):
    """What stands before an order at its own price.

    Before a displayed order stand the displayed lots that came earlier. Before a hidden one stands
    everything displayed, with the reserves behind it, and the hidden orders that came earlier.
    """

    orders_ahead: int
    lots_ahead: int


class LevelFill(NamedTuple):
    """The lots that a walk takes at one price."""

    price_ticks: int
    quantity_lots: int


class Walk(NamedTuple):
    """What an aggressor would get: lots, cost in tick-lots, worst price, and lots by level."""

    quantity_lots: int
    cost_tick_lots: int
    worst_price_ticks: int | None
    levels: tuple[LevelFill, ...]


class RestingOrder(NamedTuple):
    """One order in the book.

    `leaves` is all that is left of it, `displayed_lots` the part that shows: all of a plain order,
    none of a hidden one. `display_lots` is what an iceberg shows after a refill (0: not an
    iceberg). `expire_ns` is None for an order that rests until cancelled.
    """

    order_id: int
    side: Side
    price_ticks: int
    leaves: int
    displayed_lots: int
    participant_id: int = 0
    post_only: bool = False
    stp: SelfTradePrevention = SelfTradePrevention.NONE
    display_lots: int = 0
    hidden: bool = False
    expire_ns: int | None = None


class BookSnapshot(NamedTuple):
    """Everything that decides what a book does next.

    `orders` are bids then asks, each by price, then displayed before hidden, then time. `stops` are
    the orders that wait for a trade, as they were submitted with what is left of them: BUY then
    SELL, nearest stop price first, then time; `expire_ns` of a DAY stop is when its day closes.
    """

    instrument: "Instrument | None"
    orders: tuple[RestingOrder, ...]
    stops: tuple[Submit, ...]
    trade_sequence: int
    last_trade_ticks: int | None
    now_ns: int

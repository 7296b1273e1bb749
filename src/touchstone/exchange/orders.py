"""Orders, fills and previews as the venue keeps them; every change makes a new value."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from lob.types import Side
from touchstone.exchange.money import ZERO
from touchstone.exchange.products import Product
from touchstone.exchange.reasons import CancelFailure, EditRefusal, EndReason, Refusal
from touchstone.exchange.requests import MarginType, OrderKind, OrderRequest


class OrderStatus(StrEnum):
    """The statuses this venue gives; Coinbase has no PARTIALLY_FILLED, and neither have we.

    PENDING is an order that does not work yet: a bracket attached to an order without fills, a TWAP
    before its start. A stop that waits for its price is OPEN and says so in its trigger status.
    """

    PENDING = "PENDING"
    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


LIVE: Final = frozenset({OrderStatus.PENDING, OrderStatus.OPEN})
"""The statuses of orders that may still trade."""

TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    # Entering and matching are one step, so QUEUED and its kin are never seen from outside.
    OrderStatus.PENDING: frozenset(OrderStatus) - {OrderStatus.FILLED},
    OrderStatus.OPEN: frozenset(OrderStatus) - {OrderStatus.PENDING},
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
    OrderStatus.FAILED: frozenset(),
}
"""Which status may follow which."""

CANCEL_FAILURES: Final[Mapping[OrderStatus, CancelFailure]] = {
    OrderStatus.FILLED: CancelFailure.ORDER_IS_FULLY_FILLED,
    OrderStatus.CANCELLED: CancelFailure.DUPLICATE_CANCEL_REQUEST,
    OrderStatus.EXPIRED: CancelFailure.INVALID_CANCEL_REQUEST,
    OrderStatus.FAILED: CancelFailure.INVALID_CANCEL_REQUEST,
}
"""Why an order that has ended cannot be cancelled."""


class TriggerStatus(StrEnum):
    """Where an order stands that waits for a stop price."""

    NONE = "INVALID_ORDER_TYPE"
    STOP_PENDING = "STOP_PENDING"
    STOP_TRIGGERED = "STOP_TRIGGERED"


class Liquidity(StrEnum):
    """Whether a fill rested (MAKER) or came in (TAKER)."""

    MAKER = "MAKER"
    TAKER = "TAKER"


@dataclass(frozen=True, slots=True)
class Edit:
    """One accepted edit: the price and the total size it gave, and when."""

    price: Decimal
    size: Decimal
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An accepted order as it stood at one moment.

    `number` is its id in the book and grows with every order; `size_lots` is its size after edits,
    `leaves_lots` what still works. `price_ticks` is the limit it works at now, None of a market
    order; `stop_ticks` is what the last trade has to reach. Times are nanoseconds of the exchange's
    clock. A child names its parent in `originating_order_id`; the parent of a bracket names its
    child in `attached_order_id`, a scaled order its orders in `children`.
    """

    order_id: str
    number: int
    account: str
    request: OrderRequest
    product: Product
    size_lots: int
    leaves_lots: int
    price_ticks: int | None
    leverage: Decimal
    created_ns: int
    updated_ns: int
    stop_ticks: int | None = None
    margin_type: MarginType = MarginType.CROSS
    status: OrderStatus = OrderStatus.OPEN
    trigger: TriggerStatus = TriggerStatus.NONE
    filled_lots: int = 0
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fill_count: int = 0
    last_fill_ns: int | None = None
    end_reason: EndReason | None = None
    edits: tuple[Edit, ...] = ()
    originating_order_id: str = ""
    attached_order_id: str = ""
    children: tuple[str, ...] = ()

    @property
    def side(self) -> Side:
        """Return BUY or SELL."""
        return self.request.side

    @property
    def kind(self) -> OrderKind:
        """Return what kind of order it is."""
        return self.request.kind

    @property
    def live(self) -> bool:
        """Say whether it may still trade."""
        return self.status in LIVE

    @property
    def in_book(self) -> bool:
        """Say whether it rests in the book; stops, TWAP and scaled parents work from outside."""
        if self.status is not OrderStatus.OPEN or not self.leaves_lots:
            return False
        kind = self.kind
        if kind is OrderKind.STOP_LIMIT:
            return self.trigger is TriggerStatus.STOP_TRIGGERED
        return kind not in {OrderKind.TWAP, OrderKind.SCALED}

    @property
    def size(self) -> Decimal:
        """Return the size asked for, in coins or contracts."""
        return self.product.instrument.quantity(self.size_lots)

    @property
    def filled_size(self) -> Decimal:
        """Return what has traded, in coins or contracts."""
        return self.product.instrument.quantity(self.filled_lots)

    @property
    def leaves(self) -> Decimal:
        """Return what still works, in coins or contracts."""
        return self.product.instrument.quantity(self.leaves_lots)

    @property
    def limit_price(self) -> Decimal | None:
        """Return the limit it works at now; None of a market order."""
        ticks = self.price_ticks
        return None if ticks is None else self.product.instrument.price(ticks)

    @property
    def stop_price(self) -> Decimal | None:
        """Return the price that triggers it; None without one."""
        ticks = self.stop_ticks
        return None if ticks is None else self.product.instrument.price(ticks)

    @property
    def average_price(self) -> Decimal:
        """Return the weighted-average price of the fills; 0 before the first."""
        if not self.filled_lots:
            return ZERO
        return self.filled_value / (self.product.lot_value_per_price * self.filled_lots)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One trade as one customer's order saw it. `number` grows with every fill of the venue."""

    entry_id: str
    trade_id: str
    number: int
    order_id: str
    product: Product
    side: Side
    price_ticks: int
    lots: int
    fee: Decimal
    liquidity: Liquidity
    time_ns: int

    @property
    def price(self) -> Decimal:
        """Return the price of the trade."""
        return self.product.instrument.price(self.price_ticks)

    @property
    def size(self) -> Decimal:
        """Return what traded, in coins or contracts."""
        return self.product.instrument.quantity(self.lots)


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What became of one cancel request; `failure` is the UNKNOWN one on success."""

    order_id: str
    success: bool
    failure: CancelFailure


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTrade:
    """One public trade; `maker_side` is what Coinbase publishes as its side."""

    trade_id: str
    product: Product
    price_ticks: int
    lots: int
    maker_side: Side
    time_ns: int

    @property
    def price(self) -> Decimal:
        """Return the price of the trade."""
        return self.product.instrument.price(self.price_ticks)

    @property
    def size(self) -> Decimal:
        """Return what traded, in coins or contracts."""
        return self.product.instrument.quantity(self.lots)


@dataclass(frozen=True, slots=True)
class EditResult:
    """What became of one edit: the order as it now is, or why nothing changed."""

    order: Order | None = None
    refusal: EditRefusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an order would do if it were entered now; amounts in the settlement currency.

    `errors` are the refusals that entering it would meet. Sizes are in coins or contracts. The
    average price and the slippage (a fraction of the touch) are of what would trade at once, or of
    the limit where nothing would; `commission_total` is what that costs at the rates of the day.
    Buffers are equity less maintenance margin, now and afterwards.
    """

    preview_id: str
    errors: tuple[Refusal, ...] = ()
    warnings: tuple[str, ...] = ()
    order_total: Decimal = ZERO
    commission_total: Decimal = ZERO
    quote_size: Decimal = ZERO
    base_size: Decimal = ZERO
    best_bid: Decimal = ZERO
    best_ask: Decimal = ZERO
    is_max: bool = False
    order_margin_total: Decimal = ZERO
    leverage: Decimal = ZERO
    max_leverage: Decimal = ZERO
    slippage: Decimal = ZERO
    average_price: Decimal = ZERO
    current_liquidation_buffer: Decimal = ZERO
    projected_liquidation_buffer: Decimal = ZERO
    predicted_liquidation_price: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EditPreview:
    """What an edit would do if it were made now, with the refusals it would meet."""

    errors: tuple[EditRefusal, ...] = ()
    order_total: Decimal = ZERO
    commission_total: Decimal = ZERO
    quote_size: Decimal = ZERO
    base_size: Decimal = ZERO
    best_bid: Decimal = ZERO
    best_ask: Decimal = ZERO
    slippage: Decimal = ZERO
    average_price: Decimal = ZERO

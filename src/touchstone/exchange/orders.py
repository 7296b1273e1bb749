"""Orders, fills and refusals in Coinbase's words; each value is immutable.

Refusals are values: a refused order leaves no trace, and its client_order_id may be used again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from lob.types import OrderType, Side, TimeInForce
from touchstone.exchange.money import ZERO
from touchstone.exchange.products import Product


class OrderStatus(StrEnum):
    """The statuses this venue gives; Coinbase has no PARTIALLY_FILLED, and neither have we."""

    OPEN = "OPEN"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"


TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = {
    # Entering and matching are one step, so PENDING and QUEUED are never seen from outside.
    OrderStatus.OPEN: frozenset(OrderStatus),
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELLED: frozenset(),
}
"""Which status may follow which."""


class FailureReason(StrEnum):
    """Why a new order was refused (`new_order_failure_reason`)."""

    UNKNOWN_FAILURE_REASON = "UNKNOWN_FAILURE_REASON"
    UNSUPPORTED_ORDER_CONFIGURATION = "UNSUPPORTED_ORDER_CONFIGURATION"
    INVALID_PRODUCT_ID = "INVALID_PRODUCT_ID"
    INVALID_SIZE_PRECISION = "INVALID_SIZE_PRECISION"
    INVALID_PRICE_PRECISION = "INVALID_PRICE_PRECISION"
    INSUFFICIENT_FUND = "INSUFFICIENT_FUND"
    INVALID_LIMIT_PRICE_POST_ONLY = "INVALID_LIMIT_PRICE_POST_ONLY"
    INVALID_NO_LIQUIDITY = "INVALID_NO_LIQUIDITY"
    INVALID_REQUEST = "INVALID_REQUEST"
    COMMANDER_REJECTED_NEW_ORDER = "COMMANDER_REJECTED_NEW_ORDER"
    INVALID_MARGIN_TYPE = "INVALID_MARGIN_TYPE"
    INVALID_LEVERAGE = "INVALID_LEVERAGE"
    REDUCE_ONLY_INCREASED_POSITION_SIZE = "REDUCE_ONLY_INCREASED_POSITION_SIZE"


class CancelFailure(StrEnum):
    """What a cancel result says; Coinbase sends the UNKNOWN one on success, too."""

    UNKNOWN_CANCEL_FAILURE_REASON = "UNKNOWN_CANCEL_FAILURE_REASON"
    UNKNOWN_CANCEL_ORDER = "UNKNOWN_CANCEL_ORDER"
    DUPLICATE_CANCEL_REQUEST = "DUPLICATE_CANCEL_REQUEST"
    ORDER_IS_FULLY_FILLED = "ORDER_IS_FULLY_FILLED"


class EndReason(StrEnum):
    """Why an order was cancelled (`cancel_message`)."""

    USER_REQUESTED = "User requested cancel"
    IOC_REMAINDER = "Immediate or cancel: remainder not fillable"
    FOK_NOT_FILLABLE = "Fill or kill: not fillable in full"
    SELF_TRADE = "Self-trade prevented"
    REDUCE_ONLY = "Reduce only: would have opened a position"


class Liquidity(StrEnum):
    """Whether a fill rested (MAKER) or came in (TAKER)."""

    MAKER = "MAKER"
    TAKER = "TAKER"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Say why an order was turned down: the reason, one clear line, and Coinbase's preview twin."""

    reason: FailureReason
    message: str
    preview_reason: str = ""

    @property
    def preview(self) -> str:
        """Return the `preview_failure_reason`: the reason's `PREVIEW_` twin unless one is given."""
        return self.preview_reason or f"PREVIEW_{self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A new order as a customer asks for it; `limit_price` None makes it a market order.

    `size` is in coins (INTX) or contracts (CDE). `configuration` is echoed back untouched.
    """

    client_order_id: str
    product_id: str
    side: Side
    size: Decimal
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    leverage: Decimal | None = None
    configuration: Mapping[str, Any] | None = None

    @property
    def order_type(self) -> OrderType:
        """Return LIMIT or MARKET."""
        return OrderType.MARKET if self.limit_price is None else OrderType.LIMIT

    @property
    def rests(self) -> bool:
        """Say whether a remainder would wait in the book."""
        return self.limit_price is not None and self.time_in_force is TimeInForce.GTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An accepted order as it stood at one moment; every change makes a new value.

    `number` is its id in the book and grows with every order; `leaves_lots` is what still works.
    Times are nanoseconds of the exchange's clock.
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
    status: OrderStatus = OrderStatus.OPEN
    filled_lots: int = 0
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    fill_count: int = 0
    last_fill_ns: int | None = None
    end_reason: EndReason | None = None

    @property
    def side(self) -> Side:
        """Return BUY or SELL."""
        return self.request.side

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

"""What customers ask for: plain values, so that a command can be written down and given again."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from lob.types import OrderType, Side, TimeInForce


class OrderKind(StrEnum):
    """What kind of order it is (`order_type`)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_LIMIT = "STOP_LIMIT"
    BRACKET = "BRACKET"
    TWAP = "TWAP"
    SCALED = "SCALED"
    LIQUIDATION = "LIQUIDATION"


class StopDirection(StrEnum):
    """Which way the last trade has to go to reach a stop price."""

    UP = "STOP_DIRECTION_STOP_UP"
    DOWN = "STOP_DIRECTION_STOP_DOWN"


class MarginType(StrEnum):
    """Whether a position shares the account's money or has its own."""

    CROSS = "CROSS"
    ISOLATED = "ISOLATED"


class Distribution(StrEnum):
    """How the prices or the sizes of a scaled order are spread from its lowest price upwards.

    EVENLY_SPLIT gives equal steps or sizes. As sizes, the linear ones grow (or shrink) by equal
    amounts; as prices, the steps between them do.
    """

    EVENLY_SPLIT = "EVENLY_SPLIT"
    LINEAR_INCREASING = "LINEAR_INCREASING"
    LINEAR_DECREASING = "LINEAR_DECREASING"


@dataclass(frozen=True, slots=True)
class Bracket:
    """Where a position is closed: a take-profit limit, and a stop with a limit 5 % beyond it."""

    limit_price: Decimal
    stop_trigger_price: Decimal


@dataclass(frozen=True, slots=True)
class Twap:
    """Trade `bucket_count` buckets of `bucket_size`, one each `bucket_ns` from `start_ns` on.

    What a bucket does not trade at the limit price or better rolls over into the next; nothing
    trades after the request's `end_time_ns`.
    """

    start_ns: int
    bucket_count: int
    bucket_size: Decimal
    bucket_ns: int


@dataclass(frozen=True, slots=True)
class Scaled:
    """Spread a size over `order_count` limit orders from `min_price` to `max_price`."""

    order_count: int
    min_price: Decimal
    max_price: Decimal
    price_distribution: Distribution = Distribution.EVENLY_SPLIT
    size_distribution: Distribution = Distribution.EVENLY_SPLIT


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """A new order as a customer asks for it; what is None is not asked for.

    Either `size`, in coins (INTX) or contracts (CDE), or `quote_size`, in the settlement currency.
    What is given decides the kind: `twap`, `scaled`, `stop_trigger_price` (a bracket: `limit_price`
    is its take-profit), `stop_price` (with `stop_direction`: a stop-limit), `limit_price`; with
    none of them it is a market order. `attached` brackets what this order will have traded. GTD
    orders need `end_time_ns`. `configuration` is echoed back untouched.
    """

    client_order_id: str
    product_id: str
    side: Side
    size: Decimal | None = None
    quote_size: Decimal | None = None
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    end_time_ns: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    stop_price: Decimal | None = None
    stop_direction: StopDirection | None = None
    stop_trigger_price: Decimal | None = None
    attached: Bracket | None = None
    twap: Twap | None = None
    scaled: Scaled | None = None
    leverage: Decimal | None = None
    margin_type: MarginType | None = None
    preview_id: str = ""
    liquidation: bool = False
    configuration: Mapping[str, Any] | None = None
    attached_configuration: Mapping[str, Any] | None = None

    @property
    def kind(self) -> OrderKind:
        """Return what kind of order this is."""
        if self.liquidation:
            return OrderKind.LIQUIDATION
        if self.twap is not None:
            return OrderKind.TWAP
        if self.scaled is not None:
            return OrderKind.SCALED
        if self.stop_trigger_price is not None:
            return OrderKind.BRACKET
        if self.stop_price is not None:
            return OrderKind.STOP_LIMIT
        return OrderKind.MARKET if self.limit_price is None else OrderKind.LIMIT

    @property
    def order_type(self) -> OrderType:
        """Return what the book takes it for: LIMIT or MARKET."""
        return OrderType.MARKET if self.limit_price is None else OrderType.LIMIT

    @property
    def rests(self) -> bool:
        """Say whether a remainder would wait in the book."""
        return self.limit_price is not None and self.time_in_force in {
            TimeInForce.GTC,
            TimeInForce.GTD,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """A new price and a new total size for an open limit order; a size left out counts as 0.

    `stop_price` and `attached` are for orders that have them; None leaves them as they are.
    """

    order_id: str
    price: Decimal | None = None
    size: Decimal | None = None
    stop_price: Decimal | None = None
    attached: Bracket | None = None
    cancel_attached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequest:
    """Close a position at market, all of it where `size` is None."""

    client_order_id: str
    product_id: str
    size: Decimal | None = None

"""What every provider does alike before it looks for liquidity: stops, limits, refusals."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from execution_providers.types import (
    FillStatus,
    MarketState,
    Order,
    PriceLevel,
    TimeInForce,
)
from lob.errors import InvalidInput, NotSupported
from lob.types import Side

POST_ONLY_NEEDS_RESTING = "POST_ONLY_NEEDS_RESTING"
POST_ONLY_WOULD_CROSS = "POST_ONLY_WOULD_CROSS"
FOK_NOT_FILLABLE = "FOK_NOT_FILLABLE"
STOP_NOT_TRIGGERED = "STOP_NOT_TRIGGERED"
NO_LIQUIDITY = "NO_LIQUIDITY"
_OPPOSITE = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class Ended(NamedTuple):
    """An order that ended before it reached a book, with the reason."""

    status: FillStatus
    reason: str


class Working(NamedTuple):
    """An order as it reaches the book: `limit` is None for a market order.

    `rests` says whether a remainder waits in the book.
    """

    side: Side
    quantity: Decimal
    limit: Decimal | None
    time_in_force: TimeInForce
    post_only: bool
    rests: bool

    def accepts(self, price: Decimal) -> bool:
        """Say whether trading at `price` keeps to the limit."""
        if self.limit is None:
            return True
        return price <= self.limit if self.side is Side.BUY else price >= self.limit


def arm(order: Order, market: MarketState) -> Working | Ended:
    """Return the order as it goes to the book, or how it ended before.

    A stop is triggered when the last price is at the stop price or beyond it (BUY at or above,
    SELL at or below), and is a market or limit order from then on. A stop that is not triggered at
    the decision stays UNFILLED: what happens to it later is another execution.

    Raises:
        InvalidInput: a stop without `market.last_price`.
        NotSupported: `display_quantity` below the quantity (icebergs).
    """
    if order.display_quantity is not None and order.display_quantity < order.quantity:
        raise NotSupported(
            f"order.display_quantity: {order.display_quantity} of {order.quantity}: icebergs are"
            " not implemented in this version"
        )
    if order.stop_price is not None and not _triggered(order, order.stop_price, market):
        return Ended(FillStatus.UNFILLED, STOP_NOT_TRIGGERED)
    limit, lives = order.limit_price, order.time_in_force
    rests = limit is not None and (lives is TimeInForce.GTC or lives is TimeInForce.DAY)
    if order.post_only and not rests:
        return Ended(FillStatus.REJECTED, POST_ONLY_NEEDS_RESTING)
    return Working(order.side, order.quantity, limit, lives, order.post_only, rests)


def opposite_levels(side: Side, market: MarketState) -> Sequence[PriceLevel]:
    """Return the levels an aggressor of `side` trades with, best first."""
    return market.asks if side is Side.BUY else market.bids


def opposite_touch(side: Side, market: MarketState) -> Decimal | None:
    """Return the best price an aggressor of `side` meets, or None where the side is empty."""
    best = market.best(_OPPOSITE[side])
    return None if best is None else best[0]


def status_of(wanted: Decimal, filled: Decimal) -> FillStatus:
    """Return how an order that was taken ended."""
    if not filled:
        return FillStatus.UNFILLED
    return FillStatus.FILLED if filled == wanted else FillStatus.PARTIALLY_FILLED


def _triggered(order: Order, stop: Decimal, market: MarketState) -> bool:
    if market.last_price is None:
        raise InvalidInput("market.last_price: nothing; allowed for a stop order: a price above 0")
    return (market.last_price - stop) * order.side.sign >= 0

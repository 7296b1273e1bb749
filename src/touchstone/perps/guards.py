"""Guards of an entry: how far liquidation is, and what the order is expected to cost."""

from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput
from lob.types import Side
from touchstone.perps.filters import EntryRefusal, MarketView, Objection
from touchstone.perps.sizing import impact_bps

MAINTENANCE_SHARE: Final = Decimal(2) / Decimal(3)
"""Maintenance margin as a share of initial margin (Coinbase Derivatives' rule)."""

_HALF: Final = Decimal("0.5")


def liquidation_distance(
    quantity: Decimal, mark: Decimal | None, liquidation_price: Decimal | None
) -> Decimal | None:
    """Return how far the mark is from the venue's liquidation price, as a fraction of the mark.

    Below 0: the mark is beyond it already. None without a position, without a mark or without the
    venue's price; a price of 0 is the venue's way to say that there is none (distance 1).
    """
    if quantity == 0 or mark is None or mark <= 0 or liquidation_price is None:
        return None
    if liquidation_price <= 0:
        return Decimal(1)
    return (mark - liquidation_price) / mark * (1 if quantity > 0 else -1)


def derived_liquidation_price(
    quantity: Decimal, mark: Decimal, buffer: Decimal, maintenance_rate: Decimal
) -> Decimal:
    """Return a position's liquidation price from the account's liquidation buffer.

    For a venue that tells only the account's: `buffer` is its equity less maintenance margin,
    `maintenance_rate` maintenance margin over the worth of all positions. The buffer is used up at
    (price - mark) x (size - |size| x rate) = -buffer, the other marks standing still; 0 where no
    price above 0 does that.
    """
    per_dollar = quantity - abs(quantity) * maintenance_rate
    if not per_dollar:
        return Decimal(0)
    return max(Decimal(0), mark - buffer / per_dollar)


def projected_distance(notional: Decimal, equity: Decimal, leverage: Decimal) -> Decimal:
    """Return how far the mark may move against a new position on cross margin, as a fraction.

    For an account without a position, of which the venue has no liquidation price yet: equity less
    maintenance margin, over the notional. A move of 1 or more cannot happen to a long position.

    Raises:
        InvalidInput: a notional or leverage that is not above 0.
    """
    if notional <= 0 or leverage <= 0:
        raise InvalidInput(f"notional: {notional}, leverage: {leverage}; allowed: above 0")
    return (equity - notional * MAINTENANCE_SHARE / leverage) / notional


def check_liquidation_buffer(distance: Decimal | None, buffer: Decimal) -> Objection | None:
    """Object to an entry that would leave less than `buffer` (a fraction) to liquidation."""
    if distance is None or not distance.is_finite():
        return Objection(
            EntryRefusal.NO_LIQUIDATION_PRICE, "liquidation price: the venue has not told one"
        )
    if distance < buffer:
        return Objection(
            EntryRefusal.LIQUIDATION_BUFFER,
            f"liquidation: {distance:.2%} away; allowed: {buffer:.2%} or more",
        )
    return None


def expected_slippage_bps(market: MarketView, side: Side, notional: Decimal) -> Decimal | None:
    """Return what a market order is expected to cost against the mid, in basis points.

    Half the spread and the impact on the side that it consumes; None where a figure is missing or
    the notional is more than ten levels hold.
    """
    spread, touch, deep = market.spread_bps, market.depth_l1.get(side), market.depth_l10.get(side)
    if spread is None or touch is None or deep is None or not 0 < touch <= deep:
        return None
    impact = impact_bps(notional, touch, deep)
    return None if impact is None else spread * _HALF + impact


def check_slippage(
    market: MarketView, side: Side, notional: Decimal, max_slippage_bps: Decimal
) -> Objection | None:
    """Object to an entry that is expected to cost more than `max_slippage_bps`, or nobody knows."""
    expected = expected_slippage_bps(market, side, notional)
    if expected is None:
        return Objection(
            EntryRefusal.SLIPPAGE,
            f"slippage: cannot be known for {notional:.0f} USD; allowed: {max_slippage_bps:f} bps",
        )
    if expected > max_slippage_bps:
        return Objection(
            EntryRefusal.SLIPPAGE,
            f"slippage: {expected:.2f} bps expected; allowed: at most {max_slippage_bps:f}",
        )
    return None

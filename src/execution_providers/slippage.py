"""Slippage against one reference, the mid at the decision, split so that the parts add up.

For each fill at price p, with mid0 and touch0 as they were at the decision and touch1 the opposite
touch on arrival, an aggressor's cost p - mid0 is

    spread (touch0 - mid0)  +  latency drift (touch1 - touch0)  +  depth (p - touch1)

so the half-spread is counted once. A resting fill is all spread: p - mid0, which is negative where
the order earned it. Every part is signed by side (positive costs), weighted by quantity, and in bps
of mid0. Fees are not slippage and are reported beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from execution_providers.types import Liquidity, MarketState, PartialFill
from lob.errors import InvalidInput
from lob.types import Side

_ZERO: Final = Decimal(0)
_TEN_THOUSAND: Final = Decimal(10_000)
_BPS_DIGITS: Final = Decimal("1E-9")
# Enough for any sum of price x quantity that the edge lets in, so that only divisions round.
EXACT: Final = Context(prec=120)
_AVERAGE: Final = Context(prec=20)
MAX_DECIMALS: Final = 18
_FINEST: Final = Decimal(1).scaleb(-MAX_DECIMALS)


@dataclass(frozen=True, slots=True)
class Reference:
    """The price slippage is measured against, and what it is: `mid`, or `last_price`."""

    price: Decimal
    kind: str


@dataclass(frozen=True, slots=True)
class Slippage:
    """Signed parts in bps of the reference price; positive is a cost. `total` is their sum."""

    spread: Decimal = _ZERO
    depth: Decimal = _ZERO
    latency_drift: Decimal = _ZERO
    impact: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """Return the sum of the parts."""
        return self.spread + self.depth + self.latency_drift + self.impact

    def parts(self) -> dict[str, str]:
        """Return the parts as decimal text by name."""
        return {
            "spread": plain(self.spread),
            "depth": plain(self.depth),
            "latency_drift": plain(self.latency_drift),
            "impact": plain(self.impact),
        }


def reference_of(market: MarketState) -> Reference:
    """Return the mid of the touch, or the last price where a side is empty.

    Raises:
        InvalidInput: there is neither.
    """
    if market.bids and market.asks:
        mid = (market.bids[0][0] + market.asks[0][0]) / 2
        return Reference(mid, "mid")
    if market.last_price is not None:
        return Reference(market.last_price, "last_price")
    raise InvalidInput(
        "market.last_price: nothing; allowed: a price above 0, needed where bids or asks are empty"
    )


def average_price(fills: Iterable[PartialFill]) -> Decimal | None:
    """Return the quantity-weighted price to 20 digits, 18 decimals at most; None without fills."""
    quantity = cost = _ZERO
    for fill in fills:
        quantity = EXACT.add(quantity, fill.quantity)
        cost = EXACT.add(cost, EXACT.multiply(fill.price, fill.quantity))
    return rounded(_AVERAGE.divide(cost, quantity)) if quantity else None


def rounded(amount: Decimal) -> Decimal:
    """Return a computed amount with 18 decimals at most."""
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        return amount.quantize(_FINEST, ROUND_HALF_EVEN, EXACT)
    return amount


def total_quantity(fills: Iterable[PartialFill]) -> Decimal:
    """Return the sum of the quantities, exactly."""
    total = _ZERO
    for fill in fills:
        total = EXACT.add(total, fill.quantity)
    return total


def split(
    side: Side,
    reference: Decimal,
    fills: Iterable[PartialFill],
    touch_at_decision: Decimal | None,
    touch_on_arrival: Decimal | None,
) -> Slippage:
    """Return the parts of the slippage of `fills`; the touches are those of the opposite side.

    A touch that was not there (None) counts as the reference price: its parts are then in depth
    or in latency drift.
    """
    touch0 = reference if touch_at_decision is None else touch_at_decision
    touch1 = touch0 if touch_on_arrival is None else touch_on_arrival
    total = taken = resting_cost = taking_cost = _ZERO
    for fill in fills:
        quantity = fill.quantity
        total = EXACT.add(total, quantity)
        if fill.liquidity is Liquidity.MAKER:
            distance = EXACT.multiply(quantity, fill.price - reference)
            resting_cost = EXACT.add(resting_cost, distance)
        else:
            taken = EXACT.add(taken, quantity)
            distance = EXACT.multiply(quantity, fill.price - touch1)
            taking_cost = EXACT.add(taking_cost, distance)
    if not total:
        return Slippage()
    unit = EXACT.multiply(reference, total)
    crossing = EXACT.multiply(taken, touch0 - reference)
    return Slippage(
        spread=_bps(side, EXACT.add(crossing, resting_cost), unit),
        depth=_bps(side, taking_cost, unit),
        latency_drift=_bps(side, EXACT.multiply(taken, touch1 - touch0), unit),
    )


def plain(number: Decimal) -> str:
    """Return decimal text without an exponent and without trailing zeros.

    >>> plain(Decimal("1E+2")), plain(Decimal("0.500")), plain(Decimal("-0.0"))
    ('100', '0.5', '0')
    """
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bps(side: Side, distance: Decimal, unit: Decimal) -> Decimal:
    ratio = EXACT.divide(EXACT.multiply(distance, _TEN_THOUSAND * side.sign), unit)
    return EXACT.quantize(ratio, _BPS_DIGITS)

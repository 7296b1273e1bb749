"""Slippage against one reference, the mid at the decision, split so that the parts add up.

For each fill at price p, with mid0 and touch0 as they were at the decision and touch1 the opposite
touch on arrival, an aggressor's cost p - mid0 is

    spread (touch0 - mid0)  +  latency drift (touch1 - touch0)  +  depth (p - touch1)

so the half-spread is counted once. A resting fill is all spread: p - mid0, which is negative where
the order earned it. Every part is signed by side (positive costs), weighted by quantity, and in bps
of mid0. Fees are not slippage and are reported beside it.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from execution_providers.types import Liquidity, MarketState, PartialFill
from lob.errors import InvalidInput
from lob.types import Side

_ZERO: Final = Decimal(0)
_HALF: Final = Decimal("0.5")
_BPS_DIGITS: Final = Decimal("1E-9")
_NO_BPS: Final = Decimal("0E-9")
# Enough for any sum of price x quantity that the edge lets in, so that only divisions round.
EXACT: Final = Context(prec=120)
_add, _subtract, _multiply, _divide = EXACT.add, EXACT.subtract, EXACT.multiply, EXACT.divide
_AVERAGE: Final = Context(prec=20)
MAX_DECIMALS: Final = 18
_FINEST: Final = Decimal(1).scaleb(-MAX_DECIMALS)
_SIGNED_TEN_THOUSAND: Final = {side: Decimal(10_000 * side.sign) for side in Side}


class Reference(NamedTuple):
    """The price slippage is measured against, and what it is: `mid`, or `last_price`."""

    price: Decimal
    kind: str


class Slippage(NamedTuple):
    """Signed parts in bps of the reference price; positive is a cost. `total` is their sum."""

    spread: Decimal = _ZERO
    depth: Decimal = _ZERO
    latency_drift: Decimal = _ZERO
    impact: Decimal = _ZERO

    @property
    def total(self) -> Decimal:
        """Return the sum of the parts."""
        paid = _add(self.spread, self.depth)
        return _add(_add(paid, self.latency_drift), self.impact)

    def parts(self) -> dict[str, str]:
        """Return the parts as decimal text by name."""
        return {
            "spread": plain(self.spread),
            "depth": plain(self.depth),
            "latency_drift": plain(self.latency_drift),
            "impact": plain(self.impact),
        }


class Totals(NamedTuple):
    """What the fills of one execution add up to, exactly: units and price x units, by role."""

    taken: Decimal
    taken_cost: Decimal
    given: Decimal
    given_cost: Decimal

    @property
    def quantity(self) -> Decimal:
        """Return all that filled, in units."""
        return _add(self.taken, self.given) if self.given else self.taken

    @property
    def cost(self) -> Decimal:
        """Return the notional of all that filled, in quote currency."""
        return _add(self.taken_cost, self.given_cost) if self.given else self.taken_cost


NOTHING: Final = Totals(_ZERO, _ZERO, _ZERO, _ZERO)


def reference_of(market: MarketState) -> Reference:
    """Return the mid of the touch, or the last price where a side is empty.

    Raises:
        InvalidInput: there is neither.
    """
    bid, ask = market.best(Side.BUY), market.best(Side.SELL)
    if bid is not None and ask is not None:
        return Reference(_multiply(_add(bid[0], ask[0]), _HALF), "mid")
    if market.last_price is not None:
        return Reference(market.last_price, "last_price")
    raise InvalidInput(
        "market.last_price: nothing; allowed: a price above 0, needed where bids or asks are empty"
    )


def totals_of(fills: Iterable[PartialFill]) -> Totals:
    """Return the sums over `fills`."""
    taken = taken_cost = given = given_cost = _ZERO
    for price, quantity, liquidity, _ in fills:
        if liquidity is Liquidity.MAKER:
            given = _add(given, quantity)
            given_cost = _add(given_cost, _multiply(price, quantity))
        else:
            taken = _add(taken, quantity)
            taken_cost = _add(taken_cost, _multiply(price, quantity))
    return Totals(taken, taken_cost, given, given_cost)


def average_price(totals: Totals) -> Decimal | None:
    """Return the quantity-weighted price to 20 digits, 18 decimals at most; None without fills.

    What would be 0 for want of decimals keeps them: what traded had a price.
    """
    quantity = totals.quantity
    if not quantity:
        return None
    average = _AVERAGE.divide(totals.cost, quantity)
    return rounded(average) or average


def rounded(amount: Decimal) -> Decimal:
    """Return a computed amount with 18 decimals at most."""
    short = amount.quantize(_FINEST, ROUND_HALF_EVEN, EXACT)
    return amount if short == amount else short


def split(
    side: Side,
    reference: Decimal,
    totals: Totals,
    touch_at_decision: Decimal | None,
    touch_on_arrival: Decimal | None,
) -> Slippage:
    """Return the parts of the slippage of fills; the touches are those of the opposite side.

    A touch that was not there (None) counts as the reference price: its parts are then in depth
    or in latency drift.
    """
    taken, taken_cost, given, given_cost = totals
    if not taken and not given:
        return Slippage()
    touch0 = reference if touch_at_decision is None else touch_at_decision
    touch1 = touch0 if touch_on_arrival is None else touch_on_arrival
    unit = _multiply(reference, totals.quantity)
    if given:
        crossing = _multiply(taken, _subtract(touch0, reference))
        resting = _subtract(given_cost, _multiply(reference, given))
        spread = _bps(side, _add(crossing, resting), unit)
    else:
        spread = _bps(side, _subtract(touch0, reference), reference)
    return Slippage(
        spread,
        _bps(side, _subtract(taken_cost, _multiply(touch1, taken)), unit),
        _NO_BPS
        if touch1 == touch0
        else _bps(side, _multiply(taken, _subtract(touch1, touch0)), unit),
        _ZERO,
    )


def plain(number: Decimal) -> str:
    """Return decimal text without an exponent and without trailing zeros.

    >>> plain(Decimal("1E+2")), plain(Decimal("0.500")), plain(Decimal("-0.0"))
    ('100', '0.5', '0')
    """
    if not number:
        return "0"
    text = str(number)
    if "E" in text:
        text = format(number, "f")
    if text[-1] == "0" and "." in text:
        return text.rstrip("0").rstrip(".")
    return text


def _bps(side: Side, distance: Decimal, unit: Decimal) -> Decimal:
    """Return the share of `unit` in bps, rounded once, to nine decimals."""
    if not distance:
        return _NO_BPS
    ratio = _divide(_multiply(distance, _SIGNED_TEN_THOUSAND[side]), unit)
    return ratio.quantize(_BPS_DIGITS, None, EXACT)

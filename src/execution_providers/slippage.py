"""Slippage against one reference, the mid at the decision, split so that the parts add up.

For each fill at price p, with mid0 and touch0 as they were at the decision and touch1 the opposite
touch on arrival, an aggressor's cost p - mid0 is

    spread (touch0 - mid0)  +  latency drift (touch1 - touch0)  +  depth (p - touch1)

so the half-spread is counted once. Where our own order moved the quotes before it traded, that
move stands between touch1 and depth, as impact. A resting fill is all spread: p - mid0, which is
negative where the order earned it. Every part is signed by side (positive costs), weighted by
quantity, and in bps of mid0. Fees are not slippage and are reported beside it.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from execution_providers.types import Liquidity, MarketState, PartialFill, PriceLevel
from lob.errors import InvalidInput
from lob.types import Side

_ZERO: Final = Decimal(0)
_HALF: Final = Decimal("0.5")
_BPS_DIGITS: Final = Decimal("1E-9")
_NO_BPS: Final = Decimal("0E-9")
# Enough for any sum of price x quantity that the edge lets in, so that only divisions round.
EXACT: Final = Context(prec=120)
_add, _subtract, _multiply, _divide = EXACT.add, EXACT.subtract, EXACT.multiply, EXACT.divide
_average: Final = Context(prec=20).divide
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
        spread, depth, drift, impact = self
        return _add(_add(_add(spread, depth), drift), impact)

    def parts(self) -> dict[str, str]:
        """Return the parts as decimal text by name."""
        spread, depth, drift, impact = self
        return {
            "spread": plain(spread) if spread else "0",
            "depth": plain(depth) if depth else "0",
            "latency_drift": plain(drift) if drift else "0",
            "impact": plain(impact) if impact else "0",
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
    return _reference(market, market.best(Side.BUY), market.best(Side.SELL))


def _reference(market: MarketState, bid: PriceLevel | None, ask: PriceLevel | None) -> Reference:
    if bid is not None and ask is not None:
        return Reference(_multiply(_add(bid[0], ask[0]), _HALF), "mid")
    if market.last_price is not None:
        return Reference(market.last_price, "last_price")
    raise InvalidInput(
        "market.last_price: nothing; allowed: a price above 0, needed where bids or asks are empty"
    )


class Seen:
    """What every execution against one market asks of it: the reference, the touches, the spread.

    Raises `InvalidInput` where there is no reference.
    """

    __slots__ = ("ask", "bid", "crossing_bps", "market", "reference", "text")

    def __init__(self, market: MarketState) -> None:
        # By `best`: a market that came over a wire makes its other levels when they are asked for.
        bid, ask = market.best(Side.BUY), market.best(Side.SELL)
        self.market = market
        self.reference = _reference(market, bid, ask)
        self.text = plain(self.reference.price)
        self.bid = None if bid is None else bid[0]
        self.ask = None if ask is None else ask[0]
        # By side, once it is asked for: what reaching the opposite touch costs.
        self.crossing_bps: dict[Side, Decimal] = {}

    def touch(self, side: Side) -> Decimal | None:
        """Return the best price that an aggressor of `side` meets, or None."""
        return self.ask if side is Side.BUY else self.bid

    def crossing(self, side: Side) -> Decimal:
        """Return the spread part of an order that only takes, in bps."""
        known = self.crossing_bps.get(side)
        if known is None:
            price, touch = self.reference.price, self.touch(side)
            far = _subtract(price if touch is None else touch, price)
            known = self.crossing_bps[side] = _bps(side, far, price)
        return known


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
    quantity, cost, given, given_cost = totals
    if given:
        quantity, cost = _add(quantity, given), _add(cost, given_cost)
    elif not quantity:
        return None
    average = _average(cost, quantity)
    return rounded(average) or average


def rounded(amount: Decimal) -> Decimal:
    """Return a computed amount with 18 decimals at most."""
    short = amount.quantize(_FINEST, ROUND_HALF_EVEN, EXACT)
    return amount if short == amount else short


def split(side: Side, seen: Seen, totals: Totals, touch_on_arrival: Decimal | None) -> Slippage:
    """Return the parts of the slippage of fills; the touch is the opposite side's.

    A touch that was not there (None) counts as the reference price at the decision, and as that of
    the decision on arrival: its parts are then in depth or in latency drift.
    """
    taken, taken_cost, given, given_cost = totals
    if not taken and not given:
        return Slippage()
    reference = seen.reference.price
    touch0 = seen.touch(side)
    touch0 = reference if touch0 is None else touch0
    touch1 = touch0 if touch_on_arrival is None else touch_on_arrival
    if given:
        unit = _multiply(reference, totals.quantity)
        crossing = _multiply(taken, _subtract(touch0, reference))
        resting = _subtract(given_cost, _multiply(reference, given))
        spread = _bps(side, _add(crossing, resting), unit)
    else:
        unit = _multiply(reference, taken)
        spread = seen.crossing(side)
    return Slippage(
        spread,
        _bps(side, _subtract(taken_cost, _multiply(touch1, taken)), unit),
        _NO_BPS
        if touch1 is touch0 or touch1 == touch0
        else _bps(side, _multiply(taken, _subtract(touch1, touch0)), unit),
        _ZERO,
    )


def split_moved(
    side: Side,
    reference: Decimal,
    lit: Totals,
    touches: tuple[Decimal | None, Decimal | None, Decimal | None],
    dark: Totals,
) -> Slippage:
    """Return the parts of the slippage where our own trading moved the market.

    `touches` are those of the opposite side at the decision, on arrival, and on arrival once the
    quotes had moved against the order: the last step is impact. `lit` are the fills of the book,
    `dark` those at a mid, of which what is beyond the reference is impact too: what leaked.
    """
    touch0, touch1, moved = touches
    touch0 = reference if touch0 is None else touch0
    touch1 = touch0 if touch1 is None else touch1
    moved = touch1 if moved is None else moved
    taken, taken_cost, given, given_cost = lit
    in_dark = dark.quantity
    unit = _multiply(reference, _add(lit.quantity, in_dark))
    if not unit:
        return Slippage()
    spread = _multiply(taken, _subtract(touch0, reference))
    if given:
        spread = _add(spread, _subtract(given_cost, _multiply(reference, given)))
    pushed = _multiply(taken, _subtract(moved, touch1))
    if in_dark:
        pushed = _add(pushed, _subtract(dark.cost, _multiply(reference, in_dark)))
    return Slippage(
        _bps(side, spread, unit),
        _bps(side, _subtract(taken_cost, _multiply(moved, taken)), unit),
        _bps(side, _multiply(taken, _subtract(touch1, touch0)), unit),
        _bps(side, pushed, unit),
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

"""What a market order of a given worth would pay, exactly: its average price against the mid."""

from decimal import ROUND_FLOOR, Context, Decimal, Inexact
from typing import NamedTuple, Protocol

from lob.errors import Conflict, InvalidInput
from lob.types import INT64_MAX, Instrument, Level, LevelFill, Side, Walk

_BPS = Decimal(10_000)
_ROUNDED = Context(prec=40)
_WHOLE = Context(prec=60, rounding=ROUND_FLOOR)
_EXACT = Context(prec=200, traps=[Inexact])


class Walkable(Protocol):
    """What a book must answer for its cost to be asked: `lob.OrderBook` does."""

    def best_bid(self) -> Level | None:
        """Return the best level of the bids, if there is one."""

    def best_ask(self) -> Level | None:
        """Return the best level of the asks, if there is one."""

    def walk(self, side: Side, quantity_lots: int) -> Walk:
        """Return what an IOC order would trade."""


class Sweep(NamedTuple):
    """A market order that was walked, not sent: how much it gets, and what that costs.

    `notional` is what its lots cost in quote currency, `average_price` that by the unit, and
    `cost_bps` how much worse than the mid it is, in 1/10,000 of the mid: above 0 for both sides.
    """

    quantity_lots: int
    notional: Decimal
    average_price: Decimal
    mid_price: Decimal
    cost_bps: Decimal


def sweep(book: Walkable, instrument: Instrument, side: Side, notional: Decimal) -> Sweep:
    """Walk a market order that spends (BUY) or raises (SELL) at most `notional`, in whole lots.

    The average is weighted by volume, over what an order would really trade (hidden orders and
    reserves too); the mid is of the displayed best prices. Integers all the way; only the two
    quotients at the end are rounded, to 40 digits. O(levels walked).

    Raises:
        InvalidInput: `notional` is no finite Decimal above 0, or buys less than one lot.
        Conflict: a side of the book is empty, or does not hold so much.
    """
    if not isinstance(notional, Decimal) or not notional.is_finite() or notional <= 0:
        raise InvalidInput(f"notional: {notional!r}; allowed: a finite Decimal above 0")
    bid, ask = book.best_bid(), book.best_ask()
    if bid is None or ask is None:
        empty = "bids" if bid is None else "asks"
        raise Conflict(f"{empty}: empty; a mid needs a bid and an ask")
    tick_lot = _EXACT.multiply(
        _EXACT.multiply(instrument.tick_size, instrument.lot_size), instrument.contract_size
    )
    budget = int(_WHOLE.divide(notional, tick_lot).to_integral_value(rounding=ROUND_FLOOR))
    opposite = ask if side is Side.BUY else bid
    fills = _levels_worth(book, side, budget, opposite.price_ticks)
    lots, cost = _take(fills, budget)
    if not lots:
        raise InvalidInput(f"notional: {notional}; allowed: the price of a lot, or more")
    twice_mid = bid.price_ticks + ask.price_ticks
    # side.sign x (cost / lots - mid) / mid, over one common denominator.
    worse = side.sign * (2 * cost - lots * twice_mid)
    return Sweep(
        lots,
        _EXACT.multiply(Decimal(cost), tick_lot),
        _ROUNDED.divide(_EXACT.multiply(instrument.tick_size, Decimal(cost)), Decimal(lots)),
        _EXACT.divide(_EXACT.multiply(instrument.tick_size, Decimal(twice_mid)), Decimal(2)),
        _ROUNDED.divide(Decimal(worse) * _BPS, Decimal(lots * twice_mid)),
    )


def sweep_cost_bps(
    book: Walkable, instrument: Instrument, side: Side, notional: Decimal
) -> Decimal:
    """Return how far from the mid, in bps of it, a market order of `notional` trades on average.

    The same as `sweep(...).cost_bps`, with the same faults.
    """
    return sweep(book, instrument, side, notional).cost_bps


def _levels_worth(
    book: Walkable, side: Side, budget: int, price_ticks: int
) -> tuple[LevelFill, ...]:
    """Return levels that cost at least `budget` tick-lots together."""
    quantity = budget // price_ticks + 1
    while True:
        walk = book.walk(side, min(quantity, INT64_MAX))
        if walk.cost_tick_lots >= budget:
            return walk.levels
        if walk.quantity_lots < quantity:
            opposite = "asks" if side is Side.BUY else "bids"
            raise Conflict(
                f"notional: {budget} tick-lots; the {opposite} hold {walk.cost_tick_lots} in all"
            )
        quantity *= 2


def _take(levels: tuple[LevelFill, ...], budget: int) -> tuple[int, int]:
    """Return the lots that `budget` tick-lots buy at these levels, and their cost."""
    lots = cost = 0
    for level in levels:
        taken = min(level.quantity_lots, (budget - cost) // level.price_ticks)
        lots += taken
        cost += taken * level.price_ticks
        if taken < level.quantity_lots:
            break
    return lots, cost

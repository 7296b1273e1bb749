"""What an order meets in depth that nobody else touches: levels are taken in order, whole.

It is what a book built of the same levels answers, at any split of a level into orders: an
aggressor's lots of a level, and what stands before an order that comes to rest, are sums.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from execution_providers.rules import (
    FOK_NOT_FILLABLE,
    POST_ONLY_WOULD_CROSS,
    Working,
)
from execution_providers.slippage import EXACT, NOTHING, Totals
from execution_providers.types import (
    Liquidity,
    MarketState,
    PartialFill,
    PriceLevel,
    TimeInForce,
)
from lob.types import Side

_ZERO: Final = Decimal(0)
_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply
_TAKER: Final = Liquidity.TAKER
# `PartialFill(...)` takes twice as long, and a sweep has one for each level.
_made: Final = tuple.__new__
_FINEST_UNIT: Final = Decimal("1E-9")
_SUM_MAX: Final = Decimal(9_000_000_000)
"""Sums below this, of at most nine decimals, are below 2^63 in ticks or lots of 1E-9."""


class Met(NamedTuple):
    """What an order found on arrival: its fills, its remainder, and why it was refused, if it was.

    `touch` is the opposite side's best price, `totals` what the fills add up to. Of a refused order
    nothing fills.
    """

    fills: tuple[PartialFill, ...]
    leaves: Decimal
    touch: Decimal | None
    refused: str | None
    totals: Totals = NOTHING


def meet(working: Working, market: MarketState, offset_ns: int = 0) -> Met:
    """Return what the order takes of the opposite levels, `offset_ns` after the decision."""
    side, leaves, limit, lives, post_only, _ = working
    buys, limited = side is Side.BUY, limit is not None
    best = market.best(Side.SELL if buys else Side.BUY)
    touch = None if best is None else best[0]
    levels: Sequence[PriceLevel]
    if best is None or (limited and not working.accepts(best[0])):
        levels = ()
    elif post_only:
        return Met((), leaves, touch, POST_ONLY_WOULD_CROSS)
    elif best[1] >= leaves:
        levels = (best,)  # the others need not be made
    else:
        levels = market.asks if buys else market.bids
    fills: list[PartialFill] = []
    taken = cost = _ZERO
    for price, size in levels:
        if limited and not working.accepts(price):
            break
        last = size >= leaves
        part = leaves if last else size
        fills.append(_made(PartialFill, (price, part, _TAKER, offset_ns)))
        taken, cost = _add(taken, part), _add(cost, _multiply(price, part))
        if last:
            leaves = _ZERO
            break
        leaves = _subtract(leaves, size)
    if leaves and lives is TimeInForce.FOK:
        return Met((), working.quantity, touch, FOK_NOT_FILLABLE)
    totals = _made(Totals, (taken, cost, _ZERO, _ZERO))
    return _made(Met, (tuple(fills), leaves, touch, None, totals))


def joined_size(working: Working, market: MarketState) -> Decimal:
    """Return the size that rests at the order's limit before it; 0 where nobody rests there."""
    limit, buys = working.limit, working.side is Side.BUY
    if limit is None:
        return _ZERO
    best = market.best(working.side)
    if best is None or (best[0] < limit) is buys:
        return best[1] if best is not None and best[0] == limit else _ZERO
    for price, size in market.bids if buys else market.asks:
        if price == limit:
            return size
        if (price < limit) is buys:
            break
    return _ZERO


def fits_a_book(working: Working, reached: Sequence[PriceLevel], joined: Decimal) -> bool:
    """Say whether the numbers of a walk are sure to be whole ticks and lots of 64 bits.

    A book might still take what this refuses, or says best what is wrong with it.
    """
    prices = _ZERO if working.limit is None else working.limit
    sizes = _add(working.quantity, joined) if joined else working.quantity
    for price, size in reached:
        prices = _add(prices, price)
        sizes = _add(sizes, size)
    return (
        sizes < _SUM_MAX
        and prices < _SUM_MAX
        and sizes.quantize(_FINEST_UNIT, None, EXACT) == sizes
        and prices.quantize(_FINEST_UNIT, None, EXACT) == prices
    )

"""How a scaled order spreads its size over prices."""

from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from touchstone.exchange.requests import Distribution

RUNGS_MAX: Final = 100
"""How many orders a scaled order may be of; fewer than two are none."""


class Rung(NamedTuple):
    """One order of a scaled one."""

    price_ticks: int
    lots: int


def rungs(
    count: int,
    lots: int,
    ticks: tuple[int, int],
    price_distribution: Distribution = Distribution.EVENLY_SPLIT,
    size_distribution: Distribution = Distribution.EVENLY_SPLIT,
) -> tuple[Rung, ...]:
    """Return `count` orders from the lowest price to the highest, of `lots` together.

    Prices and sizes are rounded down to whole steps, the sizes so that none is lost: a ladder of
    fewer lots than orders has empty rungs.

    >>> [tuple(rung) for rung in rungs(3, 10, (100, 110))]
    [(100, 3), (105, 3), (110, 4)]
    >>> [rung.lots for rung in rungs(3, 60, (100, 110), size_distribution=Distribution("LINEAR_INCREASING"))]
    [10, 20, 30]
    """  # noqa: E501 - one doctest, one line
    low, high = ticks
    steps = _cumulative(count - 1, price_distribution)
    sizes = _cumulative(count, size_distribution)
    prices = [low + (high - low) * step // steps[-1] for step in steps]
    shares = [lots * size // sizes[-1] for size in sizes]
    return tuple(
        Rung(price, after - before)
        for price, (before, after) in zip(prices, pairwise(shares), strict=True)
    )


def _cumulative(count: int, distribution: Distribution) -> list[int]:
    """Return 0 and the running sums of `count` weights."""
    weights = {
        Distribution.EVENLY_SPLIT: [1] * count,
        Distribution.LINEAR_INCREASING: list(range(1, count + 1)),
        Distribution.LINEAR_DECREASING: list(range(count, 0, -1)),
    }[distribution]
    return list(accumulate(weights, initial=0))

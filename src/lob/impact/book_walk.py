"""What a marketable order pays on a ladder of prices, on average and against the mid."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lob.bounds import numbers, positive
from lob.errors import InvalidInput
from lob.in_floats import in_floats

_COLUMNS = 2
_BPS = 10_000


class BookWalk(NamedTuple):
    """What was filled, at which average price, the last price, and the cost against the mid.

    `cost_bps` is above 0 where the order pays, for purchases and sales alike; `filled` is below the
    quantity asked for where the ladder ends before it.
    """

    filled: float
    vwap: float
    last_price: float
    cost_bps: float


@in_floats
def walk_book(levels: Sequence[tuple[float, float]], q: float, mid: float) -> BookWalk:
    """Return what an order of q pays on (price, size) levels, the best first.

    Asks, prices rising from the mid on, are for a purchase; bids, falling from it, for a sale.
    Prices and sizes in any units, cost in basis points of the mid. O(levels).

    >>> walk = walk_book([(100.01, 200), (100.02, 300), (100.05, 500)], q=800, mid=100.0)
    >>> round(walk.vwap, 5), round(walk.cost_bps, 3)
    (100.02875, 2.875)
    """
    ladder = numbers("levels", levels, above=0)
    if ladder.ndim != _COLUMNS or ladder.shape[1] != _COLUMNS:
        shape = "x".join(str(length) for length in ladder.shape)
        raise InvalidInput(f"levels: {shape} numbers; allowed: rows of (price, size), one or more")
    wanted, middle = positive("q", q), positive("mid", mid)
    prices, sizes = ladder.T
    side = 1 if prices[0] >= middle else -1
    if (np.diff(prices) * side <= 0).any():
        raise InvalidInput("levels: prices out of order; allowed: each further from the mid")
    before = np.cumsum(sizes) - sizes
    taken = np.clip(wanted - before, 0, sizes)
    filled = float(taken.sum())
    vwap = float(prices @ taken) / filled
    last = float(prices[taken > 0][-1])
    return BookWalk(filled, vwap, last, side * (vwap / middle - 1) * _BPS)

"""Make level-only data of a market-by-order feed: what a feed by price would say of the same.

Each message that changes what a price displays is one change: the lots before and after, and how
many of them traded. Which order it was is left out. So executions of displayed orders are seen as
trades, cancels as decreases without a place, and hidden orders not at all: a feed by price shows
them in its trades only.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lob.messages import Action, Array
from lob.types import Side

__all__ = ["LevelChange", "LevelView"]

_ADD, _DELETE, _REDUCE, _MODIFY, _EXECUTE, _CLEAR = (int(a) for a in tuple(Action)[4:])
_SIDES: Final = {side.sign: side for side in Side}


class LevelChange(NamedTuple):
    """What one price displays before and after; `traded_lots` of the decrease were a trade."""

    side: Side
    price_ticks: int
    old_lots: int
    new_lots: int
    traded_lots: int


class LevelView:
    """Forget the orders of a feed: `step` takes its messages, and gives the changes of levels.

    Orders that the feed never added, and repeated adds, change nothing.

    >>> view = LevelView()
    >>> view.step(int(Action.FEED_ADD), 1, +1, 100, 5)[0].new_lots
    5
    >>> view.step(int(Action.FEED_EXECUTE), 1, 0, 0, 2)[0][2:]
    (5, 3, 2)
    """

    def __init__(self) -> None:
        self._orders: dict[int, tuple[int, int, int]] = {}
        self._levels: dict[tuple[int, int], int] = {}

    def apply(self, messages: Array) -> Iterator[LevelChange]:
        """Yield the changes that messages make, in their order. O(messages)."""
        names = ("action", "order_id", "side", "price_ticks", "quantity_lots")
        columns: Any = zip(*(messages[name].tolist() for name in names), strict=True)
        for row in columns:
            yield from self.step(*row)

    def step(
        self, action: int, order_id: int, side_sign: int, price_ticks: int, quantity_lots: int
    ) -> tuple[LevelChange, ...]:
        """Carry out one feed message and return the changes it makes: none, one, or more."""
        if action == _ADD:
            if order_id in self._orders:
                return ()
            self._orders[order_id] = (side_sign, price_ticks, quantity_lots)
            return (self._change(side_sign, price_ticks, quantity_lots, 0),)
        if action == _CLEAR:
            self._orders.clear()
            return tuple(
                self._change(sign, price, -lots, 0)
                for (sign, price), lots in tuple(self._levels.items())
            )
        order = self._orders.get(order_id)
        if order is None:
            return ()
        sign, price, leaves = order
        if action == _MODIFY and (price_ticks != price or quantity_lots > leaves):
            self._orders[order_id] = (sign, price_ticks, quantity_lots)
            return (
                self._change(sign, price, -leaves, 0),
                self._change(sign, price_ticks, quantity_lots, 0),
            )
        gone = leaves if action == _DELETE else min(leaves, quantity_lots)
        if action == _MODIFY:
            gone = leaves - quantity_lots
        if gone == leaves:
            del self._orders[order_id]
        else:
            self._orders[order_id] = (sign, price, leaves - gone)
        return (self._change(sign, price, -gone, gone if action == _EXECUTE else 0),)

    def _change(self, sign: int, price: int, by_lots: int, traded_lots: int) -> LevelChange:
        old = self._levels.get((sign, price), 0)
        new = old + by_lots
        if new:
            self._levels[sign, price] = new
        else:
            del self._levels[sign, price]
        return LevelChange(_SIDES[sign], price, old, new, traded_lots)

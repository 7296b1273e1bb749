"""Which orders of a clustered flow may still rest, where, and when each is to go."""

from typing import NamedTuple

from lob.types import Side


class End(NamedTuple):
    """The cancel of an order: the turn by which it is known, the order's price, and its time."""

    turn: int
    price_ticks: int
    at: float


class LiveOrders:
    """The orders of a flow by id, by price, and in the order in which they came.

    One that has traded is forgotten when its cancel would have come.
    """

    __slots__ = ("_at", "ends", "recent")

    _REMEMBERED = 4_096

    def __init__(self) -> None:
        self.ends: dict[int, End] = {}
        self.recent: dict[int, list[int]] = {side.sign: [] for side in Side}
        self._at: dict[int, dict[int, list[int]]] = {side.sign: {} for side in Side}

    def arrive(self, order_id: int, sign: int) -> None:
        """Note that an order of a side comes now. O(1) amortised."""
        recent = self.recent[sign]
        recent.append(order_id)
        if len(recent) > self._REMEMBERED:
            del recent[: self._REMEMBERED // 2]

    def schedule(self, order_id: int, sign: int, end: End) -> None:
        """Note when an order is to be cancelled. O(1)."""
        self.ends[order_id] = end
        self._at[sign].setdefault(end.price_ticks, []).append(order_id)

    def forget(self, order_id: int, turn: int, sign: int) -> End | None:
        """Forget an order whose cancel has this turn; None where there is no such."""
        end = self.ends.get(order_id)
        if end is None or end.turn != turn:
            return None
        del self.ends[order_id]
        level = self._at[sign]
        there = level[end.price_ticks]
        if len(there) == 1:
            del level[end.price_ticks]
        else:
            there.remove(order_id)
        return end

    def at(self, sign: int, price_ticks: int) -> list[int]:
        """Return the orders of a side at a price, some of which may have traded."""
        return self._at[sign].get(price_ticks, [])

    def shift(self, ticks: int) -> None:
        """Move all prices."""
        self.ends = {
            order_id: end._replace(price_ticks=end.price_ticks + ticks)
            for order_id, end in self.ends.items()
        }
        for sign, levels in self._at.items():
            self._at[sign] = {price + ticks: ids for price, ids in levels.items()}

"""Which orders of a clustered flow may still rest, where, and when each is to go."""

import math
from collections.abc import Callable, Container
from typing import Final, NamedTuple

from lob.types import Side

_CANDIDATES: Final = 8
_LOOKED_BACK: Final = 64


class End(NamedTuple):
    """The cancel of an order: the turn by which it is known, the order's price, and its time."""

    turn: int
    price_ticks: int
    at: float


class LiveOrders:
    """The orders of a flow by id, by price, and in the order in which they came.

    One that has traded is forgotten when its cancel would have come. `recency` is the mean place,
    from the last, of those that `take_lately` looks at.
    """

    __slots__ = ("_at", "_backs", "_stays", "ends", "recent")

    _REMEMBERED = 4_096

    def __init__(self, recency: float) -> None:
        self._stays = math.log1p(-1 / recency) if recency > 1 else 0.0
        self.ends: dict[int, End] = {}
        self.recent: dict[int, list[int]] = {side.sign: [] for side in Side}
        self._backs: dict[int, list[int]] = {side.sign: [] for side in Side}
        self._at: dict[int, dict[int, list[int]]] = {side.sign: {} for side in Side}

    def arrive(self, order_id: int, sign: int) -> None:
        """Note that an order of a side comes now. O(1) amortised."""
        recent = self.recent[sign]
        recent.append(order_id)
        self._backs[sign].append(1)
        if len(recent) > self._REMEMBERED:
            del recent[: self._REMEMBERED // 2]
            del self._backs[sign][: self._REMEMBERED // 2]

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

    def take_lately(self, sign: int, book: Container[object], uniform: Callable[[], float]) -> int:
        """Forget and return, of some orders that came lately, the one to go soonest.

        0 where none of them is left in the book. Each is the last live one at or before a place
        that a geometric law draws. O(candidates x places looked back).
        """
        chosen, soonest = 0, math.inf
        recent, backs = self.recent[sign], self._backs[sign]
        end_of, stays = self.ends.get, self._stays
        count = len(recent)
        for _ in range(_CANDIDATES):
            at = place = count - (1 + int(math.log1p(-uniform()) / stays) if stays else 1)
            furthest = max(place - _LOOKED_BACK, -1)
            while at > furthest:
                order_id = recent[at]
                end = end_of(order_id)
                if end is not None and order_id in book:
                    if end.at < soonest:
                        chosen, soonest = order_id, end.at
                    break
                at -= backs[at]
            if at < place:
                # What is gone stays gone: the next search leaps over it.
                backs[place] = place - at
        if chosen:
            self.forget(chosen, self.ends[chosen].turn, sign)
        return chosen

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

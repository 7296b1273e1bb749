"""The shelves of the book: orders queue at levels, levels stand on one side's ladder.

Bids and asks share this code. A ladder turns each price into a *key* that grows away from the
touch: the price itself for asks, its negative for bids. "Better" is always "smaller key".
"""

from collections.abc import Iterator
from typing import Any

from sortedcontainers import SortedDict

from lob.types import RestingOrder, SelfTradePrevention, Side


class LiveOrder:
    """One resting order; only the book changes it."""

    __slots__ = (
        "leaves",
        "level",
        "order_id",
        "participant_id",
        "post_only",
        "sequence",
        "stp",
    )

    def __init__(
        self,
        order_id: int,
        leaves: int,
        participant_id: int,
        stp: SelfTradePrevention,
        post_only: bool,
    ) -> None:
        self.order_id = order_id
        self.leaves = leaves
        self.participant_id = participant_id
        self.stp = stp
        self.post_only = post_only
        self.sequence = 0
        self.level: Shelf

    def view(self) -> RestingOrder:
        """Return an immutable picture of the order as it is now."""
        return RestingOrder(
            order_id=self.order_id,
            side=self.level.ladder.side,
            price_ticks=self.level.price_ticks,
            leaves=self.leaves,
            participant_id=self.participant_id,
            sequence=self.sequence,
            post_only=self.post_only,
            stp=self.stp,
        )


class Shelf:
    """The queue at one price: orders by id in order of arrival, and the sum of their leaves."""

    __slots__ = ("key", "ladder", "orders", "price_ticks", "total_lots")

    def __init__(self, ladder: "Ladder", price_ticks: int, key: int) -> None:
        self.ladder = ladder
        self.price_ticks = price_ticks
        self.key = key
        self.total_lots = 0
        # A dict keeps insertion order, appends and deletes anywhere in O(1), and is C code.
        self.orders: dict[int, LiveOrder] = {}


class Ladder:
    """The levels of one side, best first. `sign` turns a price into its key."""

    __slots__ = ("best", "levels", "side", "sign")

    def __init__(self, side: Side) -> None:
        self.side = side
        self.sign = -side.sign
        self.levels: Any = SortedDict()  # key -> Shelf; the package has no type hints
        self.best: Shelf | None = None

    def __iter__(self) -> Iterator[Shelf]:
        """Yield the levels from the touch outwards."""
        return iter(self.levels.values())

    def shelf(self, price_ticks: int) -> Shelf | None:
        """Return the level at a price, if anyone is there. O(1)."""
        found: Shelf | None = self.levels.get(self.sign * price_ticks)
        return found

    def append(self, order: LiveOrder, price_ticks: int) -> None:
        """Put an order at the tail of its price. O(1), O(log levels) for a new price."""
        key = self.sign * price_ticks
        level: Shelf | None = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Shelf(self, price_ticks, key)
            if self.best is None or key < self.best.key:
                self.best = level
        order.level = level
        level.orders[order.order_id] = order
        level.total_lots += order.leaves

    def remove(self, order: LiveOrder) -> None:
        """Take an order, with the leaves it still has, off its level. O(1), O(log levels)."""
        level = order.level
        del level.orders[order.order_id]
        level.total_lots -= order.leaves
        if not level.orders:
            del self.levels[level.key]
            if level is self.best:
                self.best = self.levels.peekitem(0)[1] if self.levels else None

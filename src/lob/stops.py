"""Orders that wait for a trade at their stop price (rules 31-35)."""

from collections.abc import Iterator
from typing import Any

from sortedcontainers import SortedDict

from lob.ladder import LiveOrder
from lob.types import OrderType, Side, Submit


class Stop:
    """One order that waits; `order` is what it becomes, with what is left of it in `queued`."""

    __slots__ = ("asked", "order", "side")

    def __init__(self, order: LiveOrder, side: Side, asked: Submit) -> None:
        self.order = order
        self.side = side
        self.asked = asked

    @property
    def stop_ticks(self) -> int:
        """Return the stop price in ticks."""
        return self.asked.stop_ticks or 0  # it was looked at: a stop has one

    @property
    def key(self) -> int:
        """Return the stop price so that the nearest one is smallest: BUY ascending, SELL not."""
        return self.side.sign * self.stop_ticks

    def reached(self, trade_ticks: int | None) -> bool:
        """Say whether a trade is at the stop price or beyond."""
        return trade_ticks is not None and self.key <= self.side.sign * trade_ticks

    def triggered(self) -> Submit:
        """Return the MARKET or LIMIT order that it becomes (rule 32)."""
        stop_limit = self.asked.order_type == OrderType.STOP_LIMIT
        becomes = OrderType.LIMIT if stop_limit else OrderType.MARKET
        return self.asked._replace(order_type=becomes, stop_ticks=None)

    def view(self) -> Submit:
        """Return the order as it was submitted, with what is left of it."""
        order = self.order
        return self.asked._replace(
            side=self.side,
            quantity_lots=order.queued,
            display_lots=order.display_lots,
            hidden=order.hidden,
            post_only=False,
            expire_ns=order.expire_ns or None,
        )


class StopIndex:
    """The waiting stops by id, and by side, stop price and arrival."""

    __slots__ = ("_sides", "by_id")

    def __init__(self) -> None:
        self.by_id: dict[int, Stop] = {}
        # side -> key -> id -> Stop; the package has no type hints
        self._sides: dict[Side, Any] = {Side.BUY: SortedDict(), Side.SELL: SortedDict()}

    def __len__(self) -> int:
        """Return how many stops wait."""
        return len(self.by_id)

    def __contains__(self, order_id: object) -> bool:
        """Say whether a stop waits under an id."""
        return order_id in self.by_id

    def __iter__(self) -> Iterator[Stop]:
        """Yield the stops: BUY lowest first, then SELL highest first, then by arrival."""
        for levels in self._sides.values():
            for queue in levels.values():
                yield from queue.values()

    def get(self, order_id: int) -> Stop | None:
        """Return the stop of an id, or None. O(1)."""
        return self.by_id.get(order_id)

    def add(self, stop: Stop) -> None:
        """Let a stop wait behind those of its price. O(log prices)."""
        order_id = stop.order.order_id
        self.by_id[order_id] = stop
        self._sides[stop.side].setdefault(stop.key, {})[order_id] = stop

    def remove(self, stop: Stop) -> None:
        """Take a stop out. O(log prices)."""
        order_id = stop.order.order_id
        del self.by_id[order_id]
        levels = self._sides[stop.side]
        queue = levels[stop.key]
        del queue[order_id]
        if not queue:
            del levels[stop.key]

    def reached(self, high_ticks: int, low_ticks: int) -> list[Stop]:
        """Return the stops that trades from low to high release, in the order of rule 33."""
        found: list[Stop] = []
        for side, trade_ticks in ((Side.BUY, high_ticks), (Side.SELL, low_ticks)):
            for queue in self._sides[side].values():
                stops = list(queue.values())
                if not stops[0].reached(trade_ticks):
                    break
                found += stops
        return found

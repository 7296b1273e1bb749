"""Places in the queue that are followed, so that asking for them costs nothing (rule 41).

A level knows the tracked orders that stand at it, and tells of every change there; where nobody is
tracked, that costs one look. The position that is kept is always the one a walk would find.

Who stands before whom is told by sequence numbers that grow. They are given to a whole level when
one of its orders is tracked, and to what arrives there from then on. An order without one was there
before a tracked order came to the tail, so that 0, or an old number, stands before it as it should.
"""

from itertools import count

from lob.ladder import LiveOrder, Shelf
from lob.types import QueuePosition


class Tracked:
    """One order whose place is followed."""

    __slots__ = ("lots_ahead", "order", "orders_ahead")

    def __init__(self, order: LiveOrder, position: QueuePosition) -> None:
        self.order = order
        self.orders_ahead, self.lots_ahead = position


class Tracker:
    """The followed orders by id, the one followed longest first; at most `limit` of them."""

    __slots__ = ("_limit", "_sequences", "by_id")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.by_id: dict[int, Tracked] = {}
        self._sequences = count(1)

    def __len__(self) -> int:
        """Return how many orders are followed."""
        return len(self.by_id)

    def follow(self, order: LiveOrder) -> QueuePosition:
        """Follow an order from now on, dropping the one followed longest where there are too many.

        O(orders at the level), once.
        """
        known = self.position(order.order_id)
        if known is not None:
            return known
        found = walked_position(order)
        if self._limit:
            if len(self.by_id) >= self._limit:
                self.drop(next(iter(self.by_id)))
            level = order.level
            for other in (*level.displayed_orders(), *level.hidden.values()):
                other.sequence = next(self._sequences)
            tracked = self.by_id[order.order_id] = Tracked(order, found)
            _attach(level, tracked)
        return found

    def drop(self, order_id: int) -> None:
        """Follow an order no longer; one that is not followed is no fault."""
        tracked = self.by_id.pop(order_id, None)
        if tracked is not None:
            _detach(tracked)

    def position(self, order_id: int) -> QueuePosition | None:
        """Return what stands before a followed order, or None. O(1)."""
        tracked = self.by_id.get(order_id)
        return None if tracked is None else QueuePosition(tracked.orders_ahead, tracked.lots_ahead)

    # ---------------------------------------------------------------- what happens at a level

    def arrived(self, order: LiveOrder) -> None:
        """Note an order that has joined the tail of its queue."""
        level = order.level
        order.sequence = next(self._sequences)
        tracked = self.by_id.get(order.order_id)
        if tracked is not None:
            _place_at_tail(tracked)
            _attach(level, tracked)
        if not order.hidden:
            for other in level.tracked or ():
                if other.order.hidden:
                    other.orders_ahead += 1
                    other.lots_ahead += order.leaves

    def left(self, order: LiveOrder) -> None:
        """Note an order that has left its level, with the leaves that it still has."""
        tracked = self.by_id.get(order.order_id)
        if tracked is not None:
            _detach(tracked)
        for other in order.level.tracked or ():
            if _precedes(order, other.order):
                other.orders_ahead -= 1
                other.lots_ahead -= _counted_lots(order, other.order)

    def refilled(self, order: LiveOrder) -> None:
        """Note an iceberg that has gone to the tail with new lots."""
        was_sequence, order.sequence = order.sequence, next(self._sequences)
        for other in order.level.tracked or ():
            if other.order is order:
                _place_at_tail(other)
            elif not other.order.hidden and was_sequence < other.order.sequence:
                other.orders_ahead -= 1


def took(level: Shelf, order: LiveOrder, lots: int) -> None:
    """Note lots that went from what an order has in its queue."""
    for other in level.tracked or ():
        if _precedes(order, other.order):
            other.lots_ahead -= lots


def took_reserve(level: Shelf, lots: int) -> None:
    """Note lots that went from an iceberg's reserve: only hidden orders count those."""
    for other in level.tracked or ():
        if other.order.hidden:
            other.lots_ahead -= lots


def walked_position(order: LiveOrder) -> QueuePosition:
    """Return what stands before an order at its price, by looking at each. O(orders ahead)."""
    orders_ahead = lots_ahead = 0
    for other in order.level:
        if other is order:
            break
        orders_ahead += 1
        lots_ahead += _counted_lots(other, order)
    return QueuePosition(orders_ahead, lots_ahead)


def _precedes(order: LiveOrder, other: LiveOrder) -> bool:
    """Say whether an order stands before another at the same level."""
    if order.hidden != other.hidden:
        return other.hidden
    return order.sequence < other.sequence


def _counted_lots(order: LiveOrder, other: LiveOrder) -> int:
    """Return the lots of an order that stand before another behind it."""
    return order.leaves if other.hidden else order.queued


def _place_at_tail(tracked: Tracked) -> None:
    """Work out the place of an order that is the last of its queue. O(1)."""
    order, level = tracked.order, tracked.order.level
    if order.hidden:
        tracked.orders_ahead = len(level.orders) + len(level.hidden) - 1
        tracked.lots_ahead = level.total_lots - order.queued
    else:
        tracked.orders_ahead = len(level.orders) - 1
        tracked.lots_ahead = level.displayed_lots - order.queued


def _attach(level: Shelf, tracked: Tracked) -> None:
    if level.tracked is None:
        level.tracked = []
    level.tracked.append(tracked)


def _detach(tracked: Tracked) -> None:
    """Take an order off its level's list, where it is on it."""
    level = tracked.order.level
    if level.tracked is not None and tracked in level.tracked:
        level.tracked.remove(tracked)

"""The shelves of the book: orders queue at levels, levels stand on one side's ladder.

Bids and asks share this code. A ladder turns each price into a *key* that grows away from the
touch: the price itself for asks, its negative for bids. "Better" is always "smaller key".

A level has two queues: the displayed orders, and behind all of them the hidden ones. What an order
has in its queue is `queued`; what an iceberg keeps behind that is its `reserve`.

Most orders come and go without being looked at. Of a plain and anonymous one the level keeps just
the lots, and the book's index just the level: it is *bare*. Whoever changes it, or asks for it by
its id, has a `LiveOrder` made of it, which is kept until the order comes to rest anew. Who goes
through a level has one made to look at, which is not kept.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sortedcontainers import SortedDict

from lob.types import INT64_MAX, RestingOrder, SelfTradePrevention, Side

if TYPE_CHECKING:
    from lob.tracking import Tracked


class LiveOrder:
    """One plain order, resting or on its way; only the book changes it.

    Most orders are plain, so what only some have is a constant here and a field of `SpecialOrder`.
    `sequence` is for `lob.tracking` alone: 0 where nobody needed one.
    """

    __slots__ = ("level", "order_id", "participant_id", "queued", "sequence")

    reserve: int = 0
    display_lots: int = 0
    hidden: bool = False
    post_only: bool = False
    stp: SelfTradePrevention = SelfTradePrevention.NONE
    expire_ns: int = 0

    level: "Shelf"

    def __init__(self, order_id: int, queued: int, participant_id: int) -> None:
        self.order_id = order_id
        self.queued = queued
        self.participant_id = participant_id
        self.sequence = 0

    @property
    def leaves(self) -> int:
        """Return all that is left of the order."""
        return self.queued + self.reserve

    def show(self, leaves: int) -> None:
        """Divide what is left into what is queued and what stays in reserve (rule 25)."""
        self.queued = leaves

    def arm(self, leaves: int) -> None:
        """Make all that is left ready to trade, as an aggressor's is."""
        self.queued = leaves

    def view(self) -> RestingOrder:
        """Return an immutable picture of the order as it is now."""
        return RestingOrder(
            self.order_id,
            self.level.ladder.side,
            self.level.price_ticks,
            self.queued + self.reserve,
            0 if self.hidden else self.queued,
            self.participant_id,
            self.post_only,
            self.stp,
            self.display_lots,
            self.hidden,
            self.expire_ns or None,
        )


class SpecialOrder(LiveOrder):
    """An order that is an iceberg, hidden, post-only, guarded against itself, or that expires."""

    __slots__ = ("display_lots", "expire_ns", "hidden", "post_only", "reserve", "stp")

    def __init__(
        self,
        order_id: int,
        queued: int,
        participant_id: int,
        *,
        stp: SelfTradePrevention,
        post_only: bool,
        display_lots: int,
        hidden: bool,
        expire_ns: int,
    ) -> None:
        super().__init__(order_id, queued, participant_id)
        self.reserve = 0
        self.stp = stp
        self.post_only = bool(post_only)  # whatever stood for true
        self.display_lots = display_lots
        self.hidden = bool(hidden)
        self.expire_ns = expire_ns

    def show(self, leaves: int) -> None:
        """Divide what is left, as much as `display_lots` of it displayed."""
        self.queued = min(self.display_lots, leaves) if self.display_lots else leaves
        self.reserve = leaves - self.queued

    def arm(self, leaves: int) -> None:
        """Make all that is left ready to trade, the reserve too."""
        self.queued, self.reserve = leaves, 0


def live_order(
    order_id: int,
    lots: int,
    participant_id: int,
    *,
    stp: SelfTradePrevention,
    post_only: bool,
    display_lots: int,
    hidden: bool,
    expire_ns: int,
) -> LiveOrder:
    """Return an order with all its lots in `queued`: a plain one where nothing is special."""
    plain = stp == SelfTradePrevention.NONE and not (
        post_only or display_lots or hidden or expire_ns
    )
    if plain:
        return LiveOrder(order_id, lots, participant_id)
    return SpecialOrder(
        order_id,
        lots,
        participant_id,
        stp=stp,
        post_only=post_only,
        display_lots=display_lots,
        hidden=hidden,
        expire_ns=expire_ns,
    )


class Shelf:
    """The queues at one price, each by id in order of arrival, and their lots.

    `displayed_lots` are those of the displayed queue; `concealed_lots` are reserves and hidden
    orders. `tracked` are the orders here whose place in the queue is followed.
    """

    __slots__ = (
        "concealed_lots",
        "displayed_lots",
        "hidden",
        "key",
        "ladder",
        "orders",
        "price_ticks",
        "tracked",
    )

    def __init__(self, ladder: "Ladder", price_ticks: int, key: int) -> None:
        self.ladder = ladder
        self.price_ticks = price_ticks
        self.key = key
        self.displayed_lots = 0
        self.concealed_lots = 0
        # A dict keeps insertion order, appends and deletes anywhere in O(1), and is C code.
        self.orders: dict[int, Any] = {}  # id -> its LiveOrder; of a bare one, its lots
        self.hidden: dict[int, LiveOrder] = {}
        self.tracked: list[Tracked] | None = None

    @property
    def total_lots(self) -> int:
        """Return the lots of every order here, shown or not."""
        return self.displayed_lots + self.concealed_lots

    def __iter__(self) -> Iterator[LiveOrder]:
        """Yield the orders by priority, displayed, then hidden: to look at, not to change."""
        yield from self.displayed()
        yield from self.hidden.values()

    def displayed(self) -> Iterator[LiveOrder]:
        """Yield the displayed orders by time: to look at, not to change."""
        for order_id, kept in self.orders.items():
            yield self._made(order_id, kept) if type(kept) is int else kept

    def order(self, order_id: int) -> LiveOrder:
        """Return a displayed order; a bare one is made, and is bare no longer."""
        kept = self.orders[order_id]
        order: LiveOrder = self._made(order_id, kept) if type(kept) is int else kept
        if order is not kept:
            self.orders[order_id] = self.ladder.by_id[order_id] = order
        return order

    def displayed_orders(self) -> list[LiveOrder]:
        """Return the displayed orders by time, none of them bare any longer."""
        return [self.order(order_id) for order_id in self.orders]

    def first(self) -> LiveOrder:
        """Return the order that trades first."""
        if self.orders:
            return self.order(next(iter(self.orders)))
        return next(iter(self.hidden.values()))

    def _made(self, order_id: int, lots: int) -> LiveOrder:
        order = LiveOrder(order_id, lots, 0)
        order.level = self
        return order


class Ladder:
    """The levels of one side, best first. `sign` turns a price into its key.

    `best` may be a level that shows nothing; `hidden_count` says how many orders are hidden.
    `by_id` is the book's index: each order, or the level of one that is bare.
    """

    __slots__ = ("aggressor_side", "best", "by_id", "hidden_count", "levels", "side", "sign")

    def __init__(self, side: Side, by_id: "dict[int, LiveOrder | Shelf]") -> None:
        self.side = side
        self.by_id = by_id
        self.aggressor_side = side.opposite
        self.sign = -side.sign
        self.levels: Any = SortedDict()  # key -> Shelf; the package has no type hints
        self.best: Shelf | None = None
        self.hidden_count = 0

    def __iter__(self) -> Iterator[Shelf]:
        """Yield the levels from the touch outwards, those that show nothing included."""
        return iter(self.levels.values())

    def displayed(self) -> Iterator[Shelf]:
        """Yield the levels that show something, from the touch outwards."""
        return (level for level in self if level.orders)

    def touch(self) -> Shelf | None:
        """Return the best level that shows something. O(1) unless better ones are hidden."""
        best = self.best
        return best if best is None or best.orders else next(self.displayed(), None)

    def shelf(self, price_ticks: int) -> Shelf | None:
        """Return the level at a price, if anyone is there. O(1)."""
        found: Shelf | None = self.levels.get(self.sign * price_ticks)
        return found

    def open(self, price_ticks: int, key: int) -> Shelf:
        """Make the level of a price that has none. O(log levels)."""
        level = self.levels[key] = Shelf(self, price_ticks, key)
        if self.best is None or key < self.best.key:
            self.best = level
        return level

    def drop(self, level: Shelf) -> None:
        """Take an empty level down. O(log levels)."""
        del self.levels[level.key]
        if level is self.best:
            self.best = self.levels.peekitem(0)[1] if self.levels else None

    def append(self, order: LiveOrder, price_ticks: int) -> None:
        """Put an order at the tail of its queue. O(1), O(log levels) for a new price."""
        key = self.sign * price_ticks
        level = self.levels.get(key)
        if level is None:
            level = self.open(price_ticks, key)
        order.level = level
        if order.hidden:
            level.hidden[order.order_id] = order
            level.concealed_lots += order.queued
            self.hidden_count += 1
        else:
            level.orders[order.order_id] = order
            level.displayed_lots += order.queued
            level.concealed_lots += order.reserve

    def remove(self, order: LiveOrder) -> None:
        """Take an order, with the leaves it still has, off its level. O(1), O(log levels)."""
        level = order.level
        if order.hidden:
            del level.hidden[order.order_id]
            level.concealed_lots -= order.queued
            self.hidden_count -= 1
        else:
            del level.orders[order.order_id]
            level.displayed_lots -= order.queued
            level.concealed_lots -= order.reserve
        if not level.orders and not level.hidden:
            self.drop(level)


def takes_from_bare(level: Shelf, order_id: int, lots: int) -> bool:
    """Take lots off a bare order at a level that stays; say whether it could be done."""
    queue = level.orders
    left: int = queue[order_id] - lots
    if lots <= 0 or left < 0 or level.tracked or (left == 0 and len(queue) == 1):
        return False
    if left:
        queue[order_id] = left
    else:
        del queue[order_id], level.ladder.by_id[order_id]
    level.displayed_lots -= lots
    return True


def moves_bare(level: Shelf, order_id: int, price: int, lots: int) -> bool:
    """Move a bare order to another level that is there already; say whether it could be done."""
    ladder = level.ladder
    to = ladder.levels.get(ladder.sign * price)
    if (
        to is None
        or to is level
        or lots <= 0
        or len(level.orders) == 1
        or level.tracked
        or to.tracked
        or to.displayed_lots + to.concealed_lots + lots > INT64_MAX
    ):
        return False
    level.displayed_lots -= level.orders.pop(order_id)
    to.orders[order_id] = lots
    to.displayed_lots += lots
    ladder.by_id[order_id] = to
    return True

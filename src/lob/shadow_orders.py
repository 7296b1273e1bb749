"""Follow orders of no size through a market-by-order feed, exactly.

A *shadow order* is an order that was not there: so small that nobody would have acted otherwise,
and without lots that could use up a trade. It stands at one place of one queue, and everything
about it follows from the feed alone: which orders stand before it, when each of them trades, is
reduced or leaves, and when a trade would have come to it. No rate and no probability takes part.

A shadow order is filled by the first message that shows that an aggressor came to its place:

- REACHED: an order behind it at its price is executed;
- PASSED: an order of its side at a worse price is executed, hidden ones too (`hidden_trade`);
- MET: an order of the other side comes to rest at its price or through it: it would have traded.

A trade that takes the last lot before it does not fill it; the next lot would have.

Exact for venues of price-time priority, by the time at which the feed adds, and as far as the feed
is told whole. Where a venue lets an order behind go first, the shadow order is filled then: the
aggressor was there. FEED_MODIFY keeps an order's place as in `OrderBook.replace`. Command actions
are not for it.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple

from lob.errors import Conflict, InvalidInput
from lob.messages import Action, Array
from lob.types import INT64_MAX, QueuePosition, Side
from lob.waiting_prices import WaitingPrices

__all__ = ["FillCause", "ShadowFill", "ShadowOrder", "ShadowOrders"]

_ADD, _DELETE, _REDUCE, _MODIFY, _EXECUTE, _CLEAR = (int(a) for a in tuple(Action)[4:])
_SIDES: Final = {side.sign: side for side in Side}
_GAP: Final = 2
"""Between the places of two orders that came one after the other: room for a shadow order."""


class FillCause(StrEnum):
    """What showed that an aggressor came to a shadow order's place."""

    REACHED = "REACHED"
    PASSED = "PASSED"
    MET = "MET"


class ShadowFill(NamedTuple):
    """The fill of a shadow order: the message that showed it (counted from 0), its time, why."""

    shadow_id: int
    ts_event_ns: int
    message_index: int
    cause: FillCause


class ShadowOrder(NamedTuple):
    """A shadow order that waits: its side and price, and what stands before it."""

    shadow_id: int
    side: Side
    price_ticks: int
    orders_ahead: int
    lots_ahead: int


class _Shadow:
    __slots__ = ("lots_ahead", "orders_ahead", "place", "price", "shadow_id", "sign")

    def __init__(
        self, shadow_id: int, sign: int, price: int, place: int, orders_ahead: int, lots_ahead: int
    ) -> None:
        self.shadow_id = shadow_id
        self.sign = sign
        self.price = price
        self.place = place
        self.orders_ahead = orders_ahead
        self.lots_ahead = lots_ahead


class _Order:
    __slots__ = ("leaves", "place", "queue")

    def __init__(self, queue: "_Queue", leaves: int, place: int) -> None:
        self.queue = queue
        self.leaves = leaves
        self.place = place


class _Queue:
    """What rests at one price of one side, in order of time, and the shadow orders there."""

    __slots__ = ("lots", "orders", "price", "shadows", "sign")

    def __init__(self, sign: int, price: int) -> None:
        self.sign = sign
        self.price = price
        self.lots = 0
        self.orders: dict[int, _Order] = {}
        self.shadows: dict[int, _Shadow] = {}


class ShadowOrders:
    """Follow shadow orders through a feed: `apply` its messages, and place orders in between.

    Each message costs O(1) and O(shadow orders at its price). Orders that the feed never added, and
    repeated adds, change nothing: let a book say what is wrong with a feed.

    >>> shadows = ShadowOrders()
    >>> shadows.add(1, Side.BUY, 100, 5)
    >>> shadows.join(7, Side.BUY, 100).lots_ahead
    5
    >>> shadows.add(2, Side.BUY, 100, 3)
    >>> shadows.execute(1, 5)  # the lots before it are gone, and it waits
    ()
    >>> [fill.cause.value for fill in shadows.execute(2, 1)]
    ['REACHED']
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[int, int], _Queue] = {}
        self._orders: dict[int, _Order] = {}
        self._shadows: dict[int, _Shadow] = {}
        self._waiting = {sign: WaitingPrices(sign) for sign in _SIDES}
        self._places = 0
        self._index = 0
        self._now_ns = 0

    def __len__(self) -> int:
        """Return how many shadow orders wait."""
        return len(self._shadows)

    def __contains__(self, shadow_id: object) -> bool:
        """Say whether a shadow order of this id waits."""
        return shadow_id in self._shadows

    # ---------------------------------------------------------------- shadow orders

    def join(self, shadow_id: int, side: Side, price_ticks: int) -> ShadowOrder:
        """Place a shadow order behind all that rests at a price, which may be nothing.

        Raises:
            Conflict: an order of this id waits already.
            InvalidInput: the price is none.
        """
        if type(price_ticks) is not int or not 1 <= price_ticks <= INT64_MAX:
            raise InvalidInput(f"price_ticks: {price_ticks!r}; allowed: 1..{INT64_MAX}")
        self._require_new(shadow_id)
        queue = self._queue(side.sign, price_ticks)
        self._places += _GAP
        place = self._places
        return self._put(queue, shadow_id, place, len(queue.orders), queue.lots)

    def place_ahead(self, shadow_id: int, order_id: int) -> ShadowOrder:
        """Place a shadow order right before an order that rests. O(orders before it).

        It stays there when that order goes.

        Raises:
            Conflict: a shadow order of this id waits already.
            InvalidInput: no such order rests.
        """
        self._require_new(shadow_id)
        order = self._orders.get(order_id)
        if order is None:
            raise InvalidInput(f"order_id: {order_id}; allowed: an order that rests")
        queue = order.queue
        orders_ahead = lots_ahead = 0
        for other in queue.orders.values():
            if other is order:
                break
            orders_ahead += 1
            lots_ahead += other.leaves
        return self._put(queue, shadow_id, order.place - 1, orders_ahead, lots_ahead)

    def cancel(self, shadow_id: int) -> None:
        """Take a shadow order out; one that does not wait is no fault."""
        shadow = self._shadows.pop(shadow_id, None)
        if shadow is not None:
            queue = self._queues[shadow.sign, shadow.price]
            del queue.shadows[shadow_id]
            if not queue.shadows:
                self._waiting[queue.sign].discard(queue.price)
            self._forget_if_empty(queue)

    def waiting(self, shadow_id: int) -> ShadowOrder | None:
        """Return a shadow order that waits, with what stands before it now; else None. O(1)."""
        shadow = self._shadows.get(shadow_id)
        return None if shadow is None else _view(shadow)

    def position(self, shadow_id: int) -> QueuePosition:
        """Return what stands before a shadow order. O(1).

        Raises:
            InvalidInput: none of this id waits.
        """
        shadow = self._require_waiting(shadow_id)
        return QueuePosition(shadow.orders_ahead, shadow.lots_ahead)

    def ahead(self, shadow_id: int) -> Iterator[tuple[int, int]]:
        """Yield the orders that stand before a shadow order, front first: (id, leaves).

        Raises:
            InvalidInput: none of this id waits.
        """
        shadow = self._require_waiting(shadow_id)
        for order_id, order in self._queues[shadow.sign, shadow.price].orders.items():
            if order.place >= shadow.place:
                break
            yield order_id, order.leaves

    # ---------------------------------------------------------------- the feed

    def apply(self, messages: Array) -> list[ShadowFill]:
        """Carry out feed messages and return the fills that they show, in their order.

        Raises:
            InvalidInput: an action that is not a feed's; the messages before it are done.
        """
        names = ("ts_event_ns", "action", "order_id", "side", "price_ticks", "quantity_lots")
        columns: Any = zip(*(messages[name].tolist() for name in names), strict=True)
        fills: list[ShadowFill] = []
        for row in columns:
            fills += self.step(*row)
        return fills

    def step(
        self,
        ts_event_ns: int,
        action: int,
        order_id: int,
        side_sign: int,
        price_ticks: int,
        quantity_lots: int,
    ) -> tuple[ShadowFill, ...]:
        """Carry out one feed message and return the fills that it shows."""
        self._now_ns = ts_event_ns
        fills: tuple[ShadowFill, ...] = ()
        if action == _ADD:
            if order_id not in self._orders:
                fills = self._add(order_id, side_sign, price_ticks, quantity_lots)
        elif action == _CLEAR:
            self._clear()
        elif not _ADD <= action <= _CLEAR:
            raise InvalidInput(f"action: {action}; allowed: {_ADD}..{_CLEAR}")
        elif (order := self._orders.get(order_id)) is not None:
            fills = self._change(order_id, order, action, price_ticks, quantity_lots)
        self._index += 1
        return fills

    def add(self, order_id: int, side: Side, price_ticks: int, quantity_lots: int) -> None:
        """Carry out a FEED_ADD of an order that meets no shadow order."""
        self.step(self._now_ns, _ADD, order_id, side.sign, price_ticks, quantity_lots)

    def execute(self, order_id: int, quantity_lots: int) -> tuple[ShadowFill, ...]:
        """Carry out a FEED_EXECUTE and return the fills that it shows."""
        return self.step(self._now_ns, _EXECUTE, order_id, 0, 0, quantity_lots)

    def hidden_trade(
        self, ts_event_ns: int, side: Side, price_ticks: float
    ) -> tuple[ShadowFill, ...]:
        """Take notice of a trade with a hidden order of this side, and return the fills it shows.

        A displayed order at a better price would have come first. At the price itself too, but
        those displayed there before the shadow order also: such a trade says nothing of its place.
        The price may lie between ticks. The trade is no message: fills have the next one's index.
        """
        self._now_ns = ts_event_ns
        return self._fill_better(side.sign, price_ticks, FillCause.PASSED)

    # ---------------------------------------------------------------- what happens

    def _add(self, order_id: int, sign: int, price: int, lots: int) -> tuple[ShadowFill, ...]:
        if sign not in _SIDES:
            raise InvalidInput(f"side: {sign}; allowed: +1, -1")
        fills = self._meet(sign, price)
        queue = self._queue(sign, price)
        self._places += _GAP
        self._orders[order_id] = queue.orders[order_id] = _Order(queue, lots, self._places)
        queue.lots += lots
        return fills

    def _meet(self, sign: int, price: int) -> tuple[ShadowFill, ...]:
        """Fill the shadow orders of the other side that an order at this price would trade with."""
        return self._fill_better(-sign, price + sign, FillCause.MET)

    def _change(
        self, order_id: int, order: _Order, action: int, price: int, lots: int
    ) -> tuple[ShadowFill, ...]:
        queue = order.queue
        fills: tuple[ShadowFill, ...] = ()
        if action == _EXECUTE:
            fills = self._fill_better(queue.sign, queue.price, FillCause.PASSED)
            reached = [shadow for shadow in _in_order(queue) if shadow.place < order.place]
            fills += tuple(self._fill(shadow, FillCause.REACHED) for shadow in reached)
            self._take(order_id, order, lots)
        elif action == _DELETE:
            self._take(order_id, order, order.leaves)
        elif action == _REDUCE:
            self._take(order_id, order, lots)
        elif price == queue.price and lots <= order.leaves:
            self._take(order_id, order, order.leaves - lots)
        else:
            self._take(order_id, order, order.leaves)
            fills = self._add(order_id, queue.sign, price, lots)
        return fills

    def _take(self, order_id: int, order: _Order, lots: int) -> None:
        """Take lots off an order, at most what it has, also from what stands before others."""
        queue = order.queue
        taken = min(lots, order.leaves)
        order.leaves -= taken
        queue.lots -= taken
        gone = not order.leaves
        for shadow in queue.shadows.values():
            if order.place < shadow.place:
                shadow.lots_ahead -= taken
                shadow.orders_ahead -= gone
        if gone:
            del queue.orders[order_id], self._orders[order_id]
            self._forget_if_empty(queue)

    def _clear(self) -> None:
        """Forget everything: the venue's book is empty, and no queue goes on."""
        self._queues.clear()
        self._orders.clear()
        self._shadows.clear()
        for prices in self._waiting.values():
            prices.clear()

    def _fill_better(self, sign: int, price: float, cause: FillCause) -> tuple[ShadowFill, ...]:
        """Fill the shadow orders of a side at better prices than this one, best first."""
        fills: list[ShadowFill] = []
        for better in self._waiting[sign].better_than(price):
            fills += [self._fill(s, cause) for s in _in_order(self._queues[sign, better])]
        return tuple(fills)

    def _fill(self, shadow: _Shadow, cause: FillCause) -> ShadowFill:
        self.cancel(shadow.shadow_id)
        return ShadowFill(shadow.shadow_id, self._now_ns, self._index, cause)

    # ---------------------------------------------------------------- places

    def _put(
        self, queue: _Queue, shadow_id: int, place: int, orders_ahead: int, lots_ahead: int
    ) -> ShadowOrder:
        sign, price = queue.sign, queue.price
        self._waiting[sign].add(price)
        shadow = _Shadow(shadow_id, sign, price, place, orders_ahead, lots_ahead)
        self._shadows[shadow_id] = queue.shadows[shadow_id] = shadow
        return _view(shadow)

    def _queue(self, sign: int, price: int) -> _Queue:
        queue = self._queues.get((sign, price))
        if queue is None:
            queue = self._queues[sign, price] = _Queue(sign, price)
        return queue

    def _forget_if_empty(self, queue: _Queue) -> None:
        if not queue.orders and not queue.shadows:
            self._queues.pop((queue.sign, queue.price), None)

    def _require_new(self, shadow_id: int) -> None:
        if shadow_id in self._shadows:
            raise Conflict(f"shadow_id: {shadow_id} waits already; allowed: another")

    def _require_waiting(self, shadow_id: int) -> _Shadow:
        shadow = self._shadows.get(shadow_id)
        if shadow is None:
            raise InvalidInput(f"shadow_id: {shadow_id}; allowed: one that waits")
        return shadow


def _in_order(queue: _Queue) -> list[_Shadow]:
    return sorted(queue.shadows.values(), key=lambda shadow: shadow.place)


def _view(shadow: _Shadow) -> ShadowOrder:
    side = _SIDES[shadow.sign]
    return ShadowOrder(shadow.shadow_id, side, shadow.price, shadow.orders_ahead, shadow.lots_ahead)

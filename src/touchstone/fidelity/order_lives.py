"""Know the life of every resting order of a feed: one pass over its messages, one row an order.

Plain dictionaries, because each row must be written as it happens: half a second for 100,000
messages.
"""

import heapq
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import numpy as np

from lob.messages import Action, Array, Flag

__all__ = ["LIFE_DTYPE", "EndReason", "find_stale", "order_lives"]

_ADD, _DELETE, _REDUCE, _MODIFY, _EXECUTE, _CLEAR = (int(a) for a in tuple(Action)[4:])
_SNAPSHOT: Final = int(Flag.SNAPSHOT)
CHUNK_ROWS: Final = 65_536
"""Rows that are made into Python's numbers at a time: memory does not grow with the market."""


class EndReason(IntEnum):
    """How an order's stay in its queue ended; MOVED goes on in another row of the same id."""

    OPEN = 0
    FILLED = 1
    CANCELLED = 2
    MOVED = 3
    CLEARED = 4
    STALE = 5


LIFE_DTYPE: Final = np.dtype(
    [
        ("order_id", "<i8"),
        ("side", "i1"),
        ("at_start", "?"),
        ("end_reason", "u1"),
        ("price_ticks", "<i8"),
        ("quantity_lots", "<i8"),
        ("arrival_ns", "<i8"),
        ("arrival_index", "<i8"),
        ("orders_ahead", "<i8"),
        ("lots_ahead", "<i8"),
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("first_fill_ns", "<i8"),
        ("first_fill_index", "<i8"),
        ("filled_lots", "<i8"),
        ("filled_ns", "<i8"),
        ("end_ns", "<i8"),
        ("end_index", "<i8"),
    ]
)
"""One stay of one order in one queue.

`bid_` and `ask_` are the touch just before it came, 0 where there was none. `arrival_index`,
`first_fill_index` and `end_index` are places in the market's messages. What did not happen has
index -1 and time -1: a first fill, being filled whole (`filled_ns`), an end. `at_start` marks
orders of a snapshot, whose arrival is not known: the time is the file's first.
"""

MessageRow = tuple[int, int, int, int, int, int, int]
"""What a pass reads of a message: time, id, price, lots, action, side, flags."""

_PLACE: Final = {name: at for at, name in enumerate(LIFE_DTYPE.names or ())}
_END_REASON, _END_NS, _END_INDEX = (_PLACE[f"end_{what}"] for what in ("reason", "ns", "index"))
_FIRST_NS, _FIRST_INDEX = _PLACE["first_fill_ns"], _PLACE["first_fill_index"]
_FILLED_LOTS, _FILLED_NS = _PLACE["filled_lots"], _PLACE["filled_ns"]


class _Level:
    """The queue of one price: leaves by order, in order of time."""

    __slots__ = ("lots", "queue")

    def __init__(self) -> None:
        self.lots = 0
        self.queue: dict[int, int] = {}


class _Ladder:
    """One side's levels; the best comes from a heap that forgets empty ones when they surface."""

    __slots__ = ("_heap", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, _Level] = {}
        self._heap: list[int] = []

    def level(self, price: int) -> _Level:
        """Return the level at a price, a new one where nothing rests."""
        level = self.levels.get(price)
        if level is None:
            level = self.levels[price] = _Level()
            heapq.heappush(self._heap, -self.sign * price)
        return level

    def best(self) -> tuple[int, int]:
        """Return price and lots of the touch, zeros where the side is empty."""
        while self._heap:
            price = -self.sign * self._heap[0]
            level = self.levels.get(price)
            if level is not None:
                return price, level.lots
            heapq.heappop(self._heap)
        return 0, 0

    def add(self, order_id: int, price: int, lots: int) -> _Level:
        """Put an order at the tail of its level."""
        level = self.level(price)
        level.queue[order_id] = lots
        level.lots += lots
        return level

    def take(self, order_id: int, price: int, lots: int) -> int:
        """Take lots off an order, at most its leaves, and return what is left of it."""
        level = self.levels[price]
        left = level.queue[order_id] - lots
        if left > 0:
            level.queue[order_id] = left
            level.lots -= lots
            return left
        level.lots -= left + lots
        del level.queue[order_id]
        if not level.queue:
            del self.levels[price]
        return 0


class _Rows:
    """The lives that are over, written into an array in bulk, so that few lists live at a time."""

    def __init__(self, most: int) -> None:
        self._found = np.zeros(most, LIFE_DTYPE)
        self._waiting: list[list[Any]] = []
        self._places: list[int] = []

    def write(self, place: int, life: list[Any]) -> None:
        """Take a life that will not change any more."""
        self._waiting.append(life)
        self._places.append(place)
        if len(self._places) >= CHUNK_ROWS:
            self._flush()

    def array(self, count: int) -> Array:
        """Return the first `count` rows."""
        self._flush()
        return self._found[:count]

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True)
        for name, column in zip(LIFE_DTYPE.names or (), columns, strict=False):
            self._found[name][self._places] = column
        self._waiting.clear()
        self._places.clear()


class _Pass:
    """One walk over messages that no book refuses: queues, and the lives that are written."""

    def __init__(self, rows: _Rows | None = None, stale: frozenset[int] = frozenset()) -> None:
        self.ladders = {1: _Ladder(1), -1: _Ladder(-1)}
        self.live: dict[int, tuple[int, int, list[Any], int]] = {}
        self.arrivals = 0
        self._rows = rows
        self._stale = stale

    def finish(self) -> None:
        """Write down the orders that rest to the end."""
        if self._rows is not None:
            for _, _, life, place in self.live.values():
                self._rows.write(place, life)

    def step(self, index: int, row: MessageRow) -> None:
        """Carry out one message."""
        ts, order_id, price, lots, action, side, flags = row
        if action == _ADD:
            self._arrive(index, ts, order_id, side, price, lots, at_start=bool(flags & _SNAPSHOT))
        elif action == _CLEAR:
            for order in tuple(self.live):
                self._end(index, ts, order, EndReason.CLEARED)
        elif order_id in self.live:
            self._change(index, row)

    def _change(self, index: int, row: MessageRow) -> None:
        """Carry out a message on an order that rests."""
        ts, order_id, price, lots, action, _, flags = row
        side, at, life, _ = self.live[order_id]
        ladder = self.ladders[side]
        if action == _EXECUTE:
            if life[_FIRST_INDEX] < 0:
                life[_FIRST_NS], life[_FIRST_INDEX] = ts, index
            life[_FILLED_LOTS] += lots
            if not ladder.take(order_id, at, lots):
                life[_FILLED_NS] = ts
                self._note_end(index, ts, order_id, EndReason.FILLED)
        elif action == _DELETE:
            gone = order_id in self._stale
            self._end(index, ts, order_id, EndReason.STALE if gone else EndReason.CANCELLED)
        elif action == _REDUCE:
            if not ladder.take(order_id, at, lots):
                self._note_end(index, ts, order_id, EndReason.CANCELLED)
        elif price == at and lots <= ladder.levels[at].queue[order_id]:
            ladder.take(order_id, at, ladder.levels[at].queue[order_id] - lots)
        else:
            self._end(index, ts, order_id, EndReason.MOVED)
            at_start = bool(flags & _SNAPSHOT)
            self._arrive(index, ts, order_id, side, price, lots, at_start=at_start)

    def _arrive(
        self,
        index: int,
        ts: int,
        order_id: int,
        side: int,
        price: int,
        lots: int,
        *,
        at_start: bool,
    ) -> None:
        bid, ask = self.ladders[1].best(), self.ladders[-1].best()
        level = self.ladders[side].levels.get(price)
        ahead = (0, 0) if level is None else (len(level.queue), level.lots)
        what = (order_id, side, at_start, 0, price, lots, ts, index)
        life: list[Any] = [*what, *ahead, *bid, *ask, -1, -1, 0, -1, -1, -1]
        self.ladders[side].add(order_id, price, lots)
        self.live[order_id] = (side, price, life, self.arrivals)
        self.arrivals += 1

    def _end(self, index: int, ts: int, order_id: int, reason: EndReason) -> None:
        side, at, _, _ = self.live[order_id]
        ladder = self.ladders[side]
        ladder.take(order_id, at, ladder.levels[at].queue[order_id])
        self._note_end(index, ts, order_id, reason)

    def _note_end(self, index: int, ts: int, order_id: int, reason: EndReason) -> None:
        _, _, life, place = self.live.pop(order_id)
        life[_END_REASON], life[_END_NS], life[_END_INDEX] = int(reason), ts, index
        if self._rows is not None:
            self._rows.write(place, life)


def message_rows(messages: Array) -> Iterator[MessageRow]:
    """Yield what a pass reads of each message, as plain whole numbers."""
    names = ("ts_event_ns", "order_id", "price_ticks", "quantity_lots", "action", "side", "flags")
    for first in range(0, len(messages), CHUNK_ROWS):
        part = messages[first : first + CHUNK_ROWS]
        columns: Any = zip(*(part[name].tolist() for name in names), strict=True)
        yield from columns


def order_lives(messages: Array, *, stale_orders: frozenset[int] = frozenset()) -> Array:
    """Return the lives of a feed's orders, in order of arrival: an array of `LIFE_DTYPE`.

    The messages must be ones that a book takes (what it refuses left out). The deletes of
    `stale_orders` are ones that nobody sent: they end as `EndReason.STALE`. O(messages).
    """
    rows = _Rows(int(np.isin(messages["action"], (_ADD, _MODIFY)).sum()))
    walk = _Pass(rows, stale_orders)
    for index, row in enumerate(message_rows(messages)):
        walk.step(index, row)
    walk.finish()
    return rows.array(walk.arrivals)


def find_stale(messages: Array) -> list[tuple[int, int]]:
    """Return the orders that a later message shows to be gone: (place of that message, order id).

    An order is gone where one behind it trades, at its price or a worse one, or where an order
    comes to rest that would have traded with it, and no message from there on names it. Only for
    feeds of strict price-time priority that leave out what is far from the touch.
    """
    walk = _Pass()
    # The last row of each order: the first in the messages turned round.
    named, last_named = np.unique(messages["order_id"][::-1], return_index=True)
    last_named = len(messages) - 1 - last_named
    found: list[tuple[int, int]] = []
    for index, row in enumerate(message_rows(messages)):
        _, order_id, price, _, action, side, flags = row
        suspects: list[int] = []
        if action == _ADD and not flags & _SNAPSHOT:
            suspects = _before(walk.ladders[-side], price, None)
        elif action == _EXECUTE and order_id in walk.live:
            own, at, _, _ = walk.live[order_id]
            suspects = _before(walk.ladders[own], at, order_id)
        for suspect in suspects:
            if last_named[np.searchsorted(named, suspect)] < index:
                found.append((index, suspect))
                walk.step(index, (row[0], suspect, 0, 0, _DELETE, 0, 0))
        walk.step(index, row)
    return found


def _before(ladder: _Ladder, price: int, order_id: int | None) -> list[int]:
    """Return the orders that must trade before one at this price does (None: at its tail)."""
    best, _ = ladder.best()
    level = ladder.levels.get(price)
    if not best or ladder.sign * best < ladder.sign * price:
        return []
    if order_id is not None and best == price and level and next(iter(level.queue)) == order_id:
        return []
    better = sorted(
        (at for at in ladder.levels if ladder.sign * at > ladder.sign * price),
        key=lambda at: -ladder.sign * at,
    )
    found = [other for at in better for other in ladder.levels[at].queue]
    for other in level.queue if level is not None else ():
        if other == order_id:
            break
        found.append(other)
    return found

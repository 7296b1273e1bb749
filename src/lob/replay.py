"""Rebuild a book from a LOBSTER message file, and hold it against the venue's own book.

**What rested before the file began.** With an orderbook file of one row per message, the first row
(its own message undone) gives the levels; their orders are unknown and stand as one anonymous order
a level. Otherwise the file itself tells (`lob.feeds.lobster_feed.start_orders`).

**Which row belongs to which message.** As many rows as messages: one each. Otherwise the file has a
row for every change of its levels, and for every hidden execution, cross and halt, which repeat the
row before; it may go on after the last message.

**What does not fit.** A message that contradicts the book, or whose order was never seen, counts as
not used, with its line, and changes nothing. A delete that names another size than the order has
shows that a message was missed: the order goes, and the size counts as not used.

**What is stale.** A file of n levels says nothing of orders further out, so one that was deleted
there seems to rest for ever. When the market comes back to its price, the venue's row shows a worse
touch than ours. Our orders at prices better than the venue's touch cannot be there. They are taken
out only where the row then agrees exactly, and each is reported by name, with how many levels stood
before it at its furthest: an order that was never outside the file's levels would be our error, not
the file's silence.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from lob import OrderBook
from lob.errors import Conflict, InvalidInput
from lob.feeds.lobster import (
    UNUSABLE,
    BookRow,
    LobsterMessage,
    LobsterReader,
    MessageType,
    count_levels,
    count_lines,
    read_book_rows,
)
from lob.feeds.lobster_feed import LobsterFeed, price_units, start_orders
from lob.replay_feed import MAX_REPORTED, FeedReplay, FeedReplaySummary
from lob.types import Instrument, Level, RestingOrder, Side

__all__ = [
    "MAX_REPORTED",
    "FeedReplay",
    "FeedReplaySummary",
    "LobsterReplay",
    "Mismatch",
    "ReplaySummary",
    "Stale",
]

logger = logging.getLogger("lob")

ANONYMOUS_IDS: Final = 1 << 62
"""First id of the orders that stand for levels whose own orders are unknown."""

PROGRESS_EVERY: Final = 2_000
"""Messages between two calls of the progress callback."""

Progress = Callable[[int, int], None]
Picture = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


@dataclass(frozen=True, slots=True)
class Stale:
    """One order that the venue's book shows to be gone, though no message said so."""

    order_id: int
    side: Side
    price_ticks: int
    quantity_lots: int
    added_line: int | None
    found_line: int
    row: int
    venue_touch_ticks: int
    furthest_level: int = 0


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One row that the rebuilt book disagrees with: (price, lots) of bids and asks."""

    line: int
    row: int
    venue: Picture
    ours: Picture
    out_of_sight: bool = False


@dataclass(slots=True)
class ReplaySummary:
    """What a replay saw, could not use, and agreed with.

    `rows_agreeing_to` counts the rows that agree in the first level, the first two, ... of both
    sides. `rows_out_of_sight` are those that differ only at prices that had been beyond the last
    level of the file: nothing said what happened there.
    """

    messages: int = 0
    by_type: dict[str, int] = field(default_factory=dict)
    unusable: Counter[str] = field(default_factory=Counter)
    initial_orders: int = 0
    crossed: list[int] = field(default_factory=list)
    crossed_count: int = 0
    unknown: list[int] = field(default_factory=list)
    rows_compared: int = 0
    rows_agreeing: int = 0
    rows_agreeing_to: list[int] = field(default_factory=list)
    rows_out_of_sight: int = 0
    rows_missing: int = 0
    stale: list[Stale] = field(default_factory=list)
    stale_count: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Say whether every row there was to compare agreed, stale orders explained."""
        return self.rows_agreeing == self.rows_compared and not self.rows_missing


class LobsterReplay:
    """Rebuild `book` from a message file; compare it with an orderbook file if there is one.

    `instrument` is a US share with ticks of a cent where there is none.
    `depth` levels are compared, at most those of the file: the attribute says how many.
    `progress(done, total)` is called every `PROGRESS_EVERY` messages and at the end;
    `on_message(message, book)` sees the book after each.
    Positions in the summary are line numbers; its lists hold the first `MAX_REPORTED`, its counts
    hold all. A message file without messages, and an orderbook file without rows, are
    `InvalidInput`: there is nothing that could agree.
    """

    def __init__(
        self,
        messages: str | Path,
        orderbook: str | Path | None = None,
        *,
        depth: int = 1,
        instrument: Instrument | None = None,
        progress: Progress | None = None,
        on_message: Callable[[LobsterMessage, OrderBook], None] | None = None,
    ) -> None:
        if depth < 1:
            raise InvalidInput(f"depth: {depth}; allowed: 1 or more")
        if instrument is None:
            instrument = LobsterFeed.default_instrument(Path(messages))
        self.instrument = instrument
        self.book = OrderBook(instrument)
        self.summary = ReplaySummary()
        self._units = price_units(instrument)
        self._reader = LobsterReader(messages, self._units)
        self.progress = progress
        self._on_message = on_message
        self.depth = depth
        self._levels = depth
        self._total = _required_lines(messages, "message")
        self._rows: Iterator[BookRow] | None = None
        self._row_per_message = False
        self._added_line: dict[int, int] = {}
        self._sight: OutOfSight | None = None
        if orderbook is not None:
            self._row_per_message = _required_lines(orderbook, "row") == self._total
            self._levels = max(1, count_levels(orderbook))
            self.depth = min(depth, self._levels)
            self.summary.rows_agreeing_to = [0] * self.depth
            if self._row_per_message:
                self._sight = OutOfSight(self._levels)
            self._rows = read_book_rows(orderbook, self._units)

    def run(self) -> ReplaySummary:
        """Replay everything and return the summary. The book is left as it ends."""
        summary = self.summary
        self._begin()
        rows = self._rows
        shown = self._picture(self._levels)
        for message in self._reader:
            self._apply(message)
            summary.messages += 1
            if self._on_message is not None:
                self._on_message(message, self.book)
            if self.book.crossed:
                summary.crossed_count += 1
                _note(summary.crossed, message.line)
            if rows is not None:
                changed = self._row_per_message or self._picture(self._levels) != shown
                if changed or message.kind in UNUSABLE:
                    self._compare(message.line, rows)
                    shown = self._picture(self._levels)
            if self.progress is not None and summary.messages % PROGRESS_EVERY == 0:
                self.progress(summary.messages, self._total)
        if summary.stale:
            summary.stale = self._how_far_out()
        summary.by_type = dict(self._reader.by_type)
        summary.unusable.update(self._reader.unusable)
        if self.progress is not None:
            self.progress(summary.messages, self._total)
        return summary

    # ---------------------------------------------------------------- the start

    def _begin(self) -> None:
        if self._rows is None or not self._row_per_message:
            for order in start_orders(self._reader.path, self._units):
                side = Side.BUY if order.side_sign > 0 else Side.SELL
                self.book.feed_add(order.order_id, side, order.price_ticks, order.quantity_lots)
        else:
            first = next(iter(self._reader), None)
            row = next(self._rows, None)
            if first is None or row is None:
                return
            self._seed_levels(first, row)
            self._rows = itertools.chain([row], self._rows)
        self.summary.initial_orders = len(self.book)

    def _seed_levels(self, first: LobsterMessage, row: BookRow) -> None:
        """Put the first row's levels in, as they were before the first message."""
        back = {MessageType.ADD: -1}.get(first.kind, 0 if first.kind in UNUSABLE else 1)
        ids = itertools.count(ANONYMOUS_IDS)
        lots = {
            (side, level.price_ticks): level.quantity_lots
            for side, levels in ((Side.BUY, row.bids), (Side.SELL, row.asks))
            for level in levels
        }
        if back:
            place = (first.side, first.price_ticks)
            lots[place] = lots.get(place, 0) + back * first.quantity_lots
        for (side, price_ticks), quantity_lots in lots.items():
            if quantity_lots > 0:
                self.book.feed_add(next(ids), side, price_ticks, quantity_lots)

    # ---------------------------------------------------------------- one message

    def _apply(self, message: LobsterMessage) -> None:
        kind = message.kind
        if kind in UNUSABLE:
            return
        book, order_id = self.book, message.order_id
        order = book.order(order_id)
        try:
            if kind is MessageType.ADD:
                book.feed_add(order_id, message.side, message.price_ticks, message.quantity_lots)
                if self._rows is not None:
                    self._added_line[order_id] = message.line
            elif order is None:
                self._take_unknown(message)
            else:
                self._change(order, message)
        except Conflict as fault:
            self._not_used("contradiction", message, str(fault))
        if order_id not in book:
            self._added_line.pop(order_id, None)

    def _change(self, order: RestingOrder, message: LobsterMessage) -> None:
        """Take from an order what a message says; `Conflict` where that cannot be."""
        if (order.side, order.price_ticks) != (message.side, message.price_ticks):
            raise Conflict(f"order {order.order_id}: {order.side} @ {order.price_ticks} ticks")
        if message.kind is MessageType.DELETE:
            if order.leaves != message.quantity_lots:
                self._not_used("delete_size", message, f"the order has {order.leaves} lots")
            self.book.feed_delete(order.order_id)
        elif message.kind is MessageType.EXECUTE:
            self.book.feed_execute(order.order_id, message.quantity_lots)
        else:
            self.book.feed_reduce(order.order_id, message.quantity_lots)

    def _take_unknown(self, message: LobsterMessage) -> None:
        """Take the lots of an order we never saw off its level's anonymous order, if there is one.

        Otherwise it was added outside the file's levels, and what it does now cannot be used.
        """
        head = self._anonymous(message.side, message.price_ticks)
        if head is None or head.leaves < message.quantity_lots:
            self._not_used("unknown_order", message, f"order {message.order_id} was never added")
        elif message.kind is MessageType.EXECUTE:
            self.book.feed_execute(head.order_id, message.quantity_lots)
        else:
            self.book.feed_reduce(head.order_id, message.quantity_lots)

    def _anonymous(self, side: Side, price_ticks: int) -> RestingOrder | None:
        first = self.book.first_order(side, price_ticks)
        return first if first is not None and first.order_id >= ANONYMOUS_IDS else None

    def _not_used(self, reason: str, message: LobsterMessage, why: str) -> None:
        self.summary.unusable[reason] += 1
        _note(self.summary.unknown, message.line)
        logger.debug("%s:%d: %s: %s", self._reader.path, message.line, reason, why)

    # ---------------------------------------------------------------- one row

    def _compare(self, line: int, rows: Iterator[BookRow]) -> None:
        summary = self.summary
        row = next(rows, None)
        if row is None:
            summary.rows_missing += 1
            return
        depth = self.depth
        venue = (_pairs(row.bids[:depth]), _pairs(row.asks[:depth]))
        ours = self._picture(depth)
        summary.rows_compared += 1
        equal = depth if ours == venue else _levels_equal(venue, ours)
        if equal < depth and self._explained(line, row, venue, depth):
            equal = depth
        for level in range(equal):
            summary.rows_agreeing_to[level] += 1
        unseen = self._sight is not None and self._sight.explains(
            (_pairs(row.bids), _pairs(row.asks)), self._picture(self._levels)
        )
        if equal == depth:
            summary.rows_agreeing += 1
            return
        summary.rows_out_of_sight += unseen
        if len(summary.mismatches) < MAX_REPORTED:
            summary.mismatches.append(Mismatch(line, row.line, venue, ours, unseen))

    def _explained(self, line: int, row: BookRow, venue: Picture, depth: int) -> bool:
        """Take out orders better than the venue's touch where the row agrees without them."""
        stale: list[tuple[RestingOrder, int]] = []
        for side, levels in ((Side.BUY, row.bids), (Side.SELL, row.asks)):
            for order in self.book.orders(side) if levels else ():
                touch = levels[0].price_ticks
                if side.sign * (order.price_ticks - touch) <= 0:
                    break
                stale.append((order, touch))
        gone = {(order.side, order.price_ticks) for order, _ in stale}
        if not gone or self._picture(depth, gone) != venue:
            return False
        for order, touch in stale:
            added = self._added_line.pop(order.order_id, None)
            self.book.feed_delete(order.order_id)
            place = (order.order_id, order.side, order.price_ticks, order.leaves)
            self.summary.stale_count += 1
            if len(self.summary.stale) < MAX_REPORTED:
                self.summary.stale.append(Stale(*place, added, line, row.line, touch))
        return True

    def _picture(self, depth: int, without: AbstractSet[tuple[Side, int]] = frozenset()) -> Picture:
        bids, asks = self.book.depth(depth + len(without))
        return (
            tuple(
                (at.price_ticks, at.quantity_lots)
                for at in bids
                if (Side.BUY, at.price_ticks) not in without
            )[:depth],
            tuple(
                (at.price_ticks, at.quantity_lots)
                for at in asks
                if (Side.SELL, at.price_ticks) not in without
            )[:depth],
        )

    # ---------------------------------------------------------------- evidence

    def _how_far_out(self) -> list[Stale]:
        """Return the stale orders with the furthest level each stood at, by a second replay."""
        last_line = max(stale.found_line for stale in self.summary.stale)
        again = LobsterReplay(self._reader.path, instrument=self.instrument)
        again._begin()
        furthest = dict.fromkeys((stale.order_id for stale in self.summary.stale), 0)
        for message in again._reader:
            if message.line > last_line:
                break
            again._apply(message)
            for order_id, level in furthest.items():
                if order_id in again.book:
                    furthest[order_id] = max(level, again.book.levels_before(order_id) + 1)
        return [
            replace(stale, furthest_level=furthest[stale.order_id]) for stale in self.summary.stale
        ]


class OutOfSight:
    """Tells a wrong book from one that was not told: the file's messages end with its last level.

    What is added, taken or deleted further out has no message, and shows when its price comes into
    view. So a price that was out of view is not vouched for until nothing is left there.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._edges: list[int | None] = [None, None]
        self._came: set[tuple[int, int]] = set()

    def explains(self, venue: Picture, ours: Picture) -> bool:
        """Take the next row, all its levels; say whether it differs at no other prices."""
        came: set[tuple[int, int]] = set()
        vouched_for = True
        for side, sign in ((0, -1), (1, 1)):
            there, here = dict(venue[side]), dict(ours[side])
            edge = venue[side][-1][0] if len(venue[side]) == self._levels else None
            was = self._edges[side]
            for price in there.keys() | here.keys():
                if edge is not None and sign * price > sign * edge:
                    continue
                place = (side, price)
                if place in self._came or (was is not None and sign * price > sign * was):
                    came.add(place)
                elif there.get(price) != here.get(price):
                    vouched_for = False
            self._edges[side] = edge
        self._came = came
        return vouched_for


def _levels_equal(venue: Picture, ours: Picture) -> int:
    """Return in how many levels from the touch both sides are the same."""
    return min(
        sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], levels))
        for levels in (
            itertools.zip_longest(there, here) for there, here in zip(venue, ours, strict=True)
        )
    )


def _pairs(levels: tuple[Level, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((level.price_ticks, level.quantity_lots) for level in levels)


def _required_lines(path: str | Path, what: str) -> int:
    count = count_lines(path)
    if not count:
        raise InvalidInput(f"{path}: empty; allowed: at least one {what}")
    return count


def _note(lines: list[int], line: int) -> None:
    if len(lines) < MAX_REPORTED:
        lines.append(line)

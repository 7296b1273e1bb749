"""A venue's file as a market in which one's own orders queue and trade.

The file is what happened, and what it says of others' orders stands: beside one's own orders the
book is the venue's, at every moment. What one's own orders get follows from the same messages:

- An execution of an order shows that somebody came to its place. One's own orders that stand before
  it, at a better price or in the queue of its price, trade first, with no more than the executed
  lots; what they took, the file's order loses without a trade.
- An order that is added or moved to a price at which one's own order stands on the other side
  trades with it first, at the own order's price; what is left comes to rest.
- One's own aggressive order trades with what the book shows. The file's orders have as much less:
  later messages about lots that are gone are taken for as many as there are.

Others do not react to one's own orders: they had happened before. Waiting stops of one's own are
released by the file's trades. Own icebergs are not supported, as a file does not say how often one
would have been reached.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

from lob import OrderBook
from lob.errors import Fault, InvalidInput, InvariantViolation, NotSupported
from lob.feeds.base import Feed, FeedBlock
from lob.live_market import FIRST_OWN_ID, OwnOrders
from lob.messages import Action, Flag
from lob.types import (
    Accepted,
    Cancelled,
    CancelReason,
    Command,
    Event,
    OrderType,
    Reduced,
    Rejected,
    Replaced,
    Side,
    Submit,
    Traded,
    Triggered,
)

BLOCK_ROWS: Final = 4_096
"""Records of one reading: a few milliseconds' work."""
_UNKNOWN_TAKER: Final = 0

Row = tuple[int, int, int, int, int, int, int, int, int]
"""A message, in the order of `MESSAGE_DTYPE`."""


class FeedMarket:
    """Let a file's messages happen one by one; the book begins with what rested at its start.

    It can be pickled between two calls, but for its book, which whoever pickles says how to keep
    (`OrderBook.snapshot`). What is restored reads the file again, up to where it was.
    """

    TRANSIENT: ClassVar = frozenset({"_feed", "_blocks", "_rows", "_at"})
    """What does not decide what happens next: `position` does, and the file."""

    def __init__(self, feed: Feed) -> None:
        self.name = feed.format
        self.book = OrderBook(feed.instrument)
        self.own = OwnOrders()
        self.ended = False
        self.unfitting = 0
        self.position = 0
        self._feed = feed
        self._blocks: Iterator[FeedBlock] | None = iter(feed.blocks())
        self._rows: list[Row] = []
        self._at = 0
        self._size: int | None = None
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is not read from the file again."""
        return self.__dict__ | {"_blocks": None, "_rows": [], "_at": 0}

    @property
    def wants_reading(self) -> bool:
        """Say whether the next question has to read a block of the file first."""
        return not self.ended and self._at >= len(self._rows)

    def read(self) -> None:
        """Read blocks until there is a message, or the file has no more.

        Raises:
            InvalidInput: what is no record of the file's format.
        """
        while self.wants_reading:
            self._at = 0
            block = self._next_block()
            if block is None:
                self.ended = True
                self._rows = []
            else:
                self._rows = block.messages.tolist()

    def next_ns(self) -> int | None:
        """Return the time of the file's next message, not before the book's own; None at its end.

        Raises:
            InvalidInput: as `read`.
        """
        self.read()
        return None if self.ended else max(self._rows[self._at][0], self.book.now_ns)

    def step(self) -> list[Event]:
        """Let the next message happen and return the events; the file's trades have taker 0."""
        now_ns = self.next_ns()
        if now_ns is None:
            return []
        row = self._taken()
        events: list[Event] = list(self.book.advance(now_ns))
        try:
            self._happen(row, events)
        except InvariantViolation:
            raise
        except Fault:  # what cannot be true of this book: an id added twice, a price of 0
            self.unfitting += 1
        if self.own.waiting:
            self._release(events)
        if len(self.own):
            self.own.note(self.book, events, None)
        return events

    def concerned(self) -> tuple[tuple[Side, int], ...]:
        """Return side and price of each order that the next message is about, before and after.

        Raises:
            InvalidInput: as `read`.
        """
        if self.next_ns() is None:
            return ()
        _, order_id, price, _, _, action, sign, _, _ = self._rows[self._at]
        if action == Action.FEED_CLEAR:
            return tuple((order.side, order.price_ticks) for order in self.book.orders())
        order = self.book.order(order_id)
        if order is None:
            return ((Side.BUY if sign > 0 else Side.SELL, price),)
        there = (order.side, order.price_ticks)
        return (there, (order.side, price)) if action == Action.FEED_MODIFY else (there,)

    def act(self, command: Command) -> Sequence[Event]:
        """Carry out one's own command and return the events.

        Raises:
            NotSupported: an iceberg.
        """
        if isinstance(command, Submit) and 0 < command.display_lots < command.quantity_lots:
            raise NotSupported(
                f"display_lots: {command.display_lots} of {command.quantity_lots}: icebergs are not"
                " supported among the orders of a file"
            )
        events = self.book.apply(command)
        self.own.note(self.book, events, command)
        return events

    def _taken(self) -> Row:
        """Return the next message and count it."""
        row = self._rows[self._at]
        self._at += 1
        self.position += 1
        return row

    def _next_block(self) -> FeedBlock | None:
        """Return the next block; after a restore the one that the position is in."""
        if self._blocks is not None:
            block = next(self._blocks, None)
            self._size = self._feed.bytes_total
            return block
        self._blocks = iter(self._feed.blocks())
        skip = self.position
        for block in self._blocks:
            if self._feed.bytes_total != self._size:
                raise InvalidInput(
                    f"{self._feed.path}: {self._feed.bytes_total} bytes; allowed: {self._size}, as"
                    " when it was read first"
                )
            if skip < len(block.messages):
                self._at = skip
                return block
            skip -= len(block.messages)
        return None

    def _begin(self) -> None:
        """Put up what rested before the file's first message, at that message's time."""
        while (now_ns := self.next_ns()) is not None:
            row = self._rows[self._at]
            starts_anew = row[5] == Action.FEED_CLEAR and not len(self.book)
            if not row[8] & Flag.SNAPSHOT and not starts_anew:
                break
            self.book.advance(now_ns)
            self._taken()
            try:
                self._happen(row, [])
            except InvariantViolation:
                raise
            except Fault:
                self.unfitting += 1
        first_ns = self.next_ns()
        if first_ns is not None:
            self.book.advance(first_ns)

    # ---------------------------------------------------------------- the file's messages

    def _happen(self, row: Row, events: list[Event]) -> None:
        _, order_id, price, lots, _, action, sign, _, _ = row
        if action == Action.FEED_ADD:
            self._add(order_id, Side.BUY if sign > 0 else Side.SELL, price, lots, events)
        elif action == Action.FEED_CLEAR:
            events.extend(
                Cancelled(order.order_id, order.leaves, CancelReason.REQUESTED)
                for order in self.book.orders()
            )
            self.book.feed_clear()
        elif action in {Action.FEED_DELETE, Action.FEED_REDUCE}:
            whole = action == Action.FEED_DELETE
            self._take(order_id, None if whole else lots, events)
        elif action == Action.FEED_EXECUTE:
            self._execute(order_id, lots, events)
        elif action == Action.FEED_MODIFY:
            self._modify(order_id, price, lots, events)
        else:
            self.unfitting += 1

    def _add(self, order_id: int, side: Side, price: int, lots: int, events: list[Event]) -> None:
        if order_id in self.book or order_id >= FIRST_OWN_ID:
            self.unfitting += 1
            return
        if not self.own.resting:
            self.book.feed_add(order_id, side, price, lots)
            events.append(Accepted(order_id, side, price, lots))
            return
        events.append(Accepted(order_id, side, price, lots))
        left = self._meet_own(order_id, side, price, lots, events)
        if left:
            self.book.feed_add(order_id, side, price, left)

    def _take(self, order_id: int, lots: int | None, events: list[Event]) -> None:
        """Take lots off an order without a trade; None takes all of them."""
        order = self.book.order(order_id)
        if order is None:
            self.unfitting += 1
        elif lots is None or lots >= order.leaves:
            self.book.feed_delete(order_id)
            events.append(Cancelled(order_id, order.leaves, CancelReason.REQUESTED))
        else:
            self.book.feed_reduce(order_id, lots)
            events.append(Reduced(order_id, lots, order.leaves - lots))

    def _execute(self, order_id: int, lots: int, events: list[Event]) -> None:
        order = self.book.order(order_id)
        if order is None:
            self.unfitting += 1
            return
        left = lots = min(lots, order.leaves)
        for own_id in self._before(order.side, order.price_ticks, order_id):
            left -= self._trade(own_id, left, _UNKNOWN_TAKER, left, events)
            if not left:
                break
        if left:
            self._trade(order_id, left, _UNKNOWN_TAKER, left, events)
        if left < lots:
            self._take(order_id, lots - left, events)

    def _modify(self, order_id: int, price: int, lots: int, events: list[Event]) -> None:
        order = self.book.order(order_id)
        if order is None:
            self.unfitting += 1
            return
        kept = price == order.price_ticks and lots <= order.leaves
        events.append(Replaced(order_id, price, lots, kept_priority=kept))
        moved = price != order.price_ticks
        left = self._meet_own(order_id, order.side, price, lots, events) if moved else lots
        if left:
            self.book.feed_modify(order_id, price, left)
        else:
            self.book.feed_delete(order_id)

    # ---------------------------------------------------------------- one's own orders

    def _before(self, side: Side, price: int, order_id: int | None) -> list[int]:
        """Return own orders of a side that trade before an order at a price, the first one first.

        Without an order: those that anything reaching that price trades with.
        """
        if not self.own.resting:
            return []
        book, found = self.book, []
        place = None if order_id is None else book.queue_position(order_id).orders_ahead
        for own_id in self.own.resting:
            order = book.order(own_id)
            if order is None or order.side is not side:
                continue
            behind = (price - order.price_ticks) * side.sign
            ahead = book.queue_position(own_id).orders_ahead
            if behind < 0 or (behind == 0 and (place is None or ahead < place)):
                found.append((behind, ahead, own_id))
        return [own_id for _, _, own_id in sorted(found)]

    def _meet_own(
        self, order_id: int, side: Side, price: int, lots: int, events: list[Event]
    ) -> int:
        """Let an arriving order trade with own orders of the other side; return what is left."""
        for own_id in self._before(side.opposite, price, None):
            lots -= self._trade(own_id, lots, order_id, lots, events)
            if not lots:
                break
        return lots

    def _trade(
        self, order_id: int, lots: int, taker_id: int, taker_lots: int, events: list[Event]
    ) -> int:
        """Let a resting order trade up to so many lots; return how many it had."""
        order = self.book.order(order_id)
        if order is None:
            return 0
        lots = min(lots, order.leaves)
        self.book.feed_execute(order_id, lots)
        events.append(
            Traded(
                self.book.trade_count,
                order_id,
                taker_id,
                order.price_ticks,
                lots,
                order.side.opposite,
                order.leaves - lots,
                0 if taker_id == _UNKNOWN_TAKER else taker_lots - lots,
            )
        )
        return lots

    def _release(self, events: list[Event]) -> None:
        """Release own stops that the trades among the events have reached."""
        for price in _traded_at(tuple(events)):
            for stop in list(self.book.stops()):
                if (price - (stop.stop_ticks or 0)) * stop.side.sign < 0:
                    continue
                self.book.cancel(stop.order_id)
                self.own.waiting.discard(stop.order_id)
                becomes = OrderType.MARKET if stop.price_ticks is None else OrderType.LIMIT
                first, *others = self.book.apply(stop._replace(order_type=becomes, stop_ticks=None))
                events.append(Triggered(stop.order_id, stop.stop_ticks or 0))
                if isinstance(first, Rejected):
                    lots = stop.quantity_lots
                    events.append(Cancelled(stop.order_id, lots, CancelReason.REQUESTED))
                events += others


def _traded_at(events: Iterable[Event]) -> list[int]:
    return [event.price_ticks for event in events if isinstance(event, Traded)]

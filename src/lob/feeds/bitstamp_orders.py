"""Turn Bitstamp's order events into messages for a book, and find the trades in them."""

import re
from typing import Final, NamedTuple

from lob.feeds.base import FeedSummary
from lob.feeds.exact import OFF_GRID, Units
from lob.feeds.lines import Row, Rows
from lob.messages import Action, Flag
from lob.types import Instrument

_ANY_PRICE: Final = re.compile(r"999999999(\.0*)?")
"""The price with which a market order to buy comes; one to sell comes with 0."""

_GTC: Final = 0
_LAST: Final = int(Flag.LAST)


class Event(NamedTuple):
    """What happened to an order: what is left of it, and the price that the event says.

    `price` and `amount` are the venue's own texts (or JSON numbers); times are nanoseconds.
    """

    position: int
    order_id: int
    action: str
    sign: int
    price: object
    amount: object
    ts_event_ns: int
    ts_recv_ns: int


class _Live:
    """An order that was created and not yet deleted; `ticks` 0 where it has no price."""

    __slots__ = ("birth", "lots", "ticks")

    def __init__(self, birth: int, ticks: int, lots: int) -> None:
        self.birth = birth
        self.ticks = ticks
        self.lots = lots


class _Fall(NamedTuple):
    """An event that took lots off an order: one side of a trade, if its neighbour is the other.

    `lots` is 0 where nobody knows how many: a market order that names no amount.
    """

    event: Event
    order: _Live
    lots: int
    left: int
    ticks: int


class BitstampOrders:
    """Carry what is left of each live order through the events, one event behind them.

    Memory is bounded by the live orders.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._ticks = Units("price", instrument.tick_size)
        self._lots = Units("volume", instrument.lot_size)
        self._live: dict[int, _Live] = {}
        self._births = 0
        self._fall: _Fall | None = None
        self._moment_ns = -1
        self._held: list[tuple[Row, Event]] = []

    def take(self, event: Event, rows: Rows, summary: FeedSummary) -> None:
        """Add what an event means to `rows`, and count it in `summary` where it means nothing.

        Raises:
            InvalidInput: its price or amount is no number of 0 or more.
        """
        if event.ts_event_ns != self._moment_ns:
            self._settle(None)
            self._release(rows, len(self._held))
            self._moment_ns = event.ts_event_ns
        elif len(self._held) > 1:
            # Of the rows of a moment only the last must wait: it may be the one to carry LAST.
            self._release(rows, len(self._held) - 1)
        ticks, lots = self._price_ticks(event.price), self._lots(event.amount)
        order = self._live.get(event.order_id)
        if OFF_GRID in (ticks, lots):
            off = "price_off_tick" if ticks == OFF_GRID else "volume_off_lot"
            falls = order is not None and OFF_GRID < lots < order.lots
            if event.action != "deleted" and not falls:
                summary.note_unusable(off, event.position)
                return
            # What goes needs no price; and how much of it was left is then not told.
            ticks = max(ticks, 0)
            if lots == OFF_GRID:
                lots = 0 if order is None else order.lots
        if event.action == "created":
            self._settle(None)
            self._create(event, ticks, lots, summary)
        elif order is None:
            self._settle(None)
            self._unknown(event, ticks, lots, summary)
        else:
            self._known(event, order, ticks, lots, summary)

    def finish(self, rows: Rows, summary: FeedSummary) -> None:  # noqa: ARG002 - as `take`
        """Add what still waits for a next event."""
        self._settle(None)
        self._release(rows, len(self._held))

    # ------------------------------------------------------------ events

    def _price_ticks(self, price: object) -> int:
        text = price if type(price) is str else str(price)
        if text.startswith("999999999") and _ANY_PRICE.fullmatch(text):
            return 0
        return self._ticks(price)

    def _create(self, event: Event, ticks: int, lots: int, summary: FeedSummary) -> None:
        self._births += 1
        priced = ticks > 0 and lots > 0
        if event.order_id not in self._live:
            self._live[event.order_id] = _Live(self._births, ticks if priced else 0, lots)
        if priced:
            self._hold(event, ticks, lots, Action.FEED_ADD)
        else:
            summary.note_unusable("no_price" if not ticks else "no_amount", event.position)

    def _unknown(self, event: Event, ticks: int, lots: int, summary: FeedSummary) -> None:
        if event.action == "deleted":
            self._hold(event, 0, 0, Action.FEED_DELETE)
        elif not ticks or not lots:
            summary.note_unusable("no_price" if not ticks else "no_amount", event.position)
        else:
            self._hold(event, ticks, lots, Action.FEED_MODIFY)

    def _known(
        self, event: Event, order: _Live, ticks: int, lots: int, summary: FeedSummary
    ) -> None:
        if not order.ticks:
            summary.note_unusable("no_price", event.position)
        elif not order.lots:
            summary.note_unusable("already_ended", event.position)
        falls = lots < order.lots
        unnamed = not order.ticks and not falls
        if falls or unnamed:
            self._settle(_Fall(event, order, order.lots - lots if falls else 0, lots, ticks))
        else:
            self._settle(None)
            in_book = order.ticks and order.lots
            if in_book and event.action == "deleted":
                self._hold(event, 0, 0, Action.FEED_DELETE)
            elif in_book:
                order.ticks = ticks or order.ticks
                self._hold(event, order.ticks, lots, Action.FEED_MODIFY)
        order.lots = lots if order.lots or not order.ticks else 0
        if event.action == "deleted":
            del self._live[event.order_id]

    # ------------------------------------------------------------ trades

    def _settle(self, fall: _Fall | None) -> None:
        """Tell whether the waiting fall and this one are a trade; if not, this one waits."""
        before, self._fall = self._fall, None
        if before is None:
            self._fall = fall
        elif fall is not None and _one_trade(before, fall):
            lots = before.lots or fall.lots
            for one, other in ((before, fall), (fall, before)):
                self._lower(one, lots, executed=one.order.birth < other.order.birth)
        else:
            self._alone(before)
            self._fall = fall

    def _alone(self, fall: _Fall) -> None:
        """Lower an order that nobody traded with; it may have another price now, too."""
        event, order = fall.event, fall.order
        moved = fall.ticks not in (0, order.ticks) and order.ticks
        if moved and fall.left and event.action == "changed":
            order.ticks = fall.ticks
            self._hold(event, fall.ticks, fall.left, Action.FEED_MODIFY)
        else:
            self._lower(fall, fall.lots, executed=False)

    def _lower(self, fall: _Fall, lots: int, *, executed: bool) -> None:
        event, order = fall.event, fall.order
        if not order.ticks:
            return
        deleted = event.action == "deleted"
        if executed:
            self._hold(event, 0, lots, Action.FEED_EXECUTE)
            if deleted and fall.left:
                self._hold(event, 0, 0, Action.FEED_DELETE)
        elif deleted or not fall.left:
            self._hold(event, 0, 0, Action.FEED_DELETE)
        else:
            self._hold(event, 0, lots, Action.FEED_REDUCE)

    # ------------------------------------------------------------ rows

    def _hold(self, event: Event, ticks: int, lots: int, action: Action) -> None:
        row = (event.ts_event_ns, event.order_id, ticks, lots, 0, action, event.sign, _GTC, 0)
        self._held.append((row, event))

    def _release(self, rows: Rows, count: int) -> None:
        """Give away the first rows held; where all go, the last one ends the venue's event."""
        last = len(self._held) - 1
        for index, (row, event) in enumerate(self._held[:count]):
            flagged = (*row[:-1], _LAST) if index == last else row
            rows.add(flagged, event.position, ts_recv_ns=event.ts_recv_ns)
        del self._held[:count]


def _one_trade(before: _Fall, after: _Fall) -> bool:
    same_lots = before.lots == after.lots or 0 in (before.lots, after.lots)
    return (
        before.event.sign != after.event.sign
        and before.event.ts_event_ns == after.event.ts_event_ns
        and same_lots
        and (before.lots or after.lots) > 0
        and before.order.birth != after.order.birth
    )

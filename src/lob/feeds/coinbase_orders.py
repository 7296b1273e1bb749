"""Turn Coinbase Exchange messages about orders into messages for a book.

Source: Coinbase Exchange documentation, "WebSocket channels", the `full` and `level3` channels.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from lob.errors import InvalidInput
from lob.feeds.exact import OFF_GRID, Units, iso_nanoseconds
from lob.feeds.lines import Row
from lob.messages import Action, Flag
from lob.types import Instrument

Record = Mapping[str, Any]

_SIGNS: Final = {"buy": 1, "sell": -1}
_MAX_ID_LENGTH: Final = 64
_GTC: Final = 0
_LAST: Final = int(Flag.LAST)


class OpenOrder:
    """An order that the venue has opened and not yet called done; `leaves` 0 is filled."""

    __slots__ = ("leaves", "order_id", "price_ticks")

    def __init__(self, order_id: int, price_ticks: int, leaves: int) -> None:
        self.order_id = order_id
        self.price_ticks = price_ticks
        self.leaves = leaves


class OrderTable:
    """Know what each order is worth now, and give every venue id (a UUID) a number of its own.

    Numbers count from 1 in the order of a file, so that one file always gives the same ones. Kept
    are open orders, and `pending` ids: orders received (or seen as takers) that are not open. Both
    are forgotten when the order is done.
    """

    def __init__(self) -> None:
        self.open: dict[str, OpenOrder] = {}
        self.pending: set[str] = set()
        self._next_id = 1

    def fresh_id(self) -> int:
        """Return the next number."""
        number = self._next_id
        self._next_id += 1
        return number


class CoinbaseOrders:
    """Carry a table of orders through a feed: one message in, one row (or a reason for none) out.

    What contradicts the table (an order nobody opened, more than is left) still gives a row, of an
    id that no book has: it is the book that refuses it, with its position.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.table = OrderTable()
        self._ticks = Units("price", instrument.tick_size)
        self._lots = Units("size", instrument.lot_size)
        self._meanings: dict[str, Callable[[Record, bool], Row | str]] = {
            "received": self._received,
            "open": self._open,
            "match": self._match,
            "change": self._change,
            "done": self._done,
            "activate": lambda *_: "activate",
            "noop": lambda *_: "noop",
        }

    def translate(self, kind: str, record: Record, *, compact: bool) -> Row | str:
        """Return the row that a message is, or the reason why it is none.

        `compact` messages are of the level3 channel, which does not say what was received: an
        unknown order may be one that never came to rest.
        """
        return self._meanings[kind](record, compact)

    def before_snapshot(self, kind: str, record: Record) -> None:
        """Note of a message that a snapshot already holds only which orders are still to open."""
        if kind == "received":
            self.table.pending.add(_order_id(record, "order_id"))
        elif kind in ("open", "done"):
            self.table.pending.discard(_order_id(record, "order_id"))

    def snapshot_order(self, sign: int, price: object, size: object, venue_id: object) -> Row | str:
        """Return the row of one order of a snapshot; its time is the caller's to say."""
        venue_id = _order_id({"order_id": venue_id}, "order_id")
        return self._opened(venue_id, sign, price, size, 0, int(Flag.SNAPSHOT))

    # ------------------------------------------------------------ meanings

    def _received(self, record: Record, _compact: bool) -> str:
        venue_id = _order_id(record, "order_id")
        if venue_id not in self.table.open:
            self.table.pending.add(venue_id)
        return "received"

    def _open(self, record: Record, _compact: bool) -> Row | str:
        venue_id = _order_id(record, "order_id")
        side = record.get("side")
        sign = _SIGNS.get(side) if type(side) is str else None
        if sign is None:
            raise InvalidInput(f"side: {str(side)[:40]!r}; allowed: buy, sell")
        size = record.get("remaining_size")
        if size is None:
            size = record.get("size")
        time_ns = iso_nanoseconds(record.get("time"))
        return self._opened(venue_id, sign, record.get("price"), size, time_ns, _LAST)

    def _opened(
        self, venue_id: str, sign: int, price: object, size: object, time_ns: int, flags: int
    ) -> Row | str:
        ticks, lots = self._ticks.positive(price), self._lots.positive(size)
        if OFF_GRID in (ticks, lots):
            self.table.pending.add(venue_id)
            return "price_off_tick" if ticks == OFF_GRID else "size_off_lot"
        self.table.pending.discard(venue_id)
        order = self.table.open.get(venue_id)
        if order is None or not order.leaves:
            order = OpenOrder(self.table.fresh_id(), ticks, lots)
            self.table.open[venue_id] = order
        # Opened while it is open: the book refuses the id, and the table stays as the book is.
        return (time_ns, order.order_id, ticks, lots, 0, Action.FEED_ADD, sign, _GTC, flags)

    def _match(self, record: Record, _compact: bool) -> Row | str:
        maker = _order_id(record, "maker_order_id")
        taker = _order_id(record, "taker_order_id")
        time_ns = iso_nanoseconds(record.get("time"))
        lots = self._lots.positive(record.get("size"))
        if taker not in self.table.open:
            self.table.pending.add(taker)
        if lots == OFF_GRID:
            return "size_off_lot"
        order = self.table.open.get(maker)
        if order is None:
            if maker in self.table.pending:
                return "maker_not_open"
            return _row(time_ns, self.table.fresh_id(), 0, lots, Action.FEED_EXECUTE)
        if lots <= order.leaves:
            order.leaves -= lots
        return _row(time_ns, order.order_id, order.price_ticks, lots, Action.FEED_EXECUTE)

    def _change(self, record: Record, compact: bool) -> Row | str:
        venue_id = _order_id(record, "order_id")
        time_ns = iso_nanoseconds(record.get("time"))
        order = self.table.open.get(venue_id)
        if order is None and (compact or venue_id in self.table.pending):
            return "change_of_order_not_open"
        if record.get("new_funds") is not None and record.get("new_size") is None:
            return "change_of_funds"
        lots = self._lots(record["new_size"] if "new_size" in record else record.get("size"))
        price = record.get("new_price")
        if price is None:
            price = record.get("price")
        if price is not None:
            ticks = self._ticks.positive(price)
        else:
            ticks = 1 if order is None else order.price_ticks
        if OFF_GRID in (ticks, lots):
            return "price_off_tick" if ticks == OFF_GRID else "size_off_lot"
        order_id = self.table.fresh_id() if order is None else order.order_id
        if lots == 0:
            if order is not None:
                order.leaves = 0
            return _row(time_ns, order_id, 0, 0, Action.FEED_DELETE)
        if order is not None and order.leaves:
            order.leaves, order.price_ticks = lots, ticks
        return _row(time_ns, order_id, ticks, lots, Action.FEED_MODIFY)

    def _done(self, record: Record, compact: bool) -> Row | str:
        venue_id = _order_id(record, "order_id")
        time_ns = iso_nanoseconds(record.get("time"))
        order = self.table.open.pop(venue_id, None)
        if order is not None:
            self.table.pending.discard(venue_id)
            if not order.leaves:
                return "done_after_fill"
            return _row(time_ns, order.order_id, 0, 0, Action.FEED_DELETE)
        if compact or venue_id in self.table.pending:
            self.table.pending.discard(venue_id)
            return "done_never_opened"
        return _row(time_ns, self.table.fresh_id(), 0, 0, Action.FEED_DELETE)


def _row(time_ns: int, order_id: int, ticks: int, lots: int, action: Action) -> Row:
    return (time_ns, order_id, ticks, lots, 0, action, 0, _GTC, _LAST)


def _order_id(record: Record, name: str) -> str:
    value = record.get(name)
    if type(value) is not str or not 0 < len(value) <= _MAX_ID_LENGTH:
        raise InvalidInput(
            f"{name}: {str(value)[:40]!r}; allowed: a text of 1..{_MAX_ID_LENGTH} characters"
        )
    return value

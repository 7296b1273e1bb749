"""Write any feed as a TotalView-ITCH 5.0 file: a session's start, one stock, its orders, the end.

What ITCH says in its own way: a modified order that keeps its place is cancelled in part (X), any
other is replaced (U) under a new number, and an emptied book is a delete of every order. Times are
nanoseconds after midnight: the day is not said.
"""

import gzip
import struct
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from lob.errors import InvalidInput
from lob.feeds.base import Feed, FeedBlock
from lob.feeds.itch_format import PRICE_UNITS
from lob.messages import Action
from lob.types import DAY_NS, Instrument

_LOCATE: Final = 1
_UINT32_MAX: Final = 2**32 - 1
_SYMBOL_BYTES: Final = 8
_FIRST_NEW_NUMBER: Final = 1 << 62
"""Orders that are replaced get numbers from here on: no venue's own come near."""

_TAKES: Final = {Action.FEED_REDUCE: b"X", Action.FEED_EXECUTE: b"E"}


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write a feed, and return by reason how many messages ITCH cannot say.

    Those are commands, messages of orders that are not there, prices that are no whole units of
    0.0001, and prices or sizes that do not fit in 32 bits. A `.gz` ending compresses.

    Raises:
        InvalidInput: the symbol does not fit in eight ASCII letters, or the file cannot be written.
    """
    writer = _Writer(feed.instrument)
    try:
        with path.open("wb") as raw:
            file: Any = raw
            if path.suffix.lower() == ".gz":
                file = gzip.GzipFile(fileobj=raw, mode="wb", mtime=0)
            with file:
                file.write(writer.opening())
                for block in feed.blocks():
                    file.write(writer.block(block))
                file.write(writer.closing())
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    return writer.left_out


class _Writer:
    """Turn messages into ITCH; knows of each live order its number, side, price and shares."""

    def __init__(self, instrument: Instrument) -> None:
        self.left_out: Counter[str] = Counter()
        self._orders: dict[int, tuple[int, int, int, int]] = {}
        self._units = _whole(instrument.tick_size * PRICE_UNITS, "tick_size")
        self._lot = _whole(instrument.lot_size, "lot_size")
        symbol = instrument.symbol.encode("ascii", "replace")
        if len(symbol) > _SYMBOL_BYTES or symbol.decode() != instrument.symbol:
            raise InvalidInput(f"symbol: {instrument.symbol!r}; allowed: 8 ASCII letters")
        self._symbol = symbol.ljust(_SYMBOL_BYTES)
        self._time_ns = 0
        self._matches = 0
        self._new_number = _FIRST_NEW_NUMBER

    def opening(self) -> bytes:
        """Return the start of messages and the stock's directory entry."""
        entry = self._symbol + b"QN" + struct.pack(">I", 100) + b"NC" + b"Z " + b"PNN1N"
        directory = self._framed(b"R", entry + struct.pack(">I", 0) + b"N")
        return self._framed(b"S", b"O", locate=0) + directory

    def closing(self) -> bytes:
        """Return the end of messages."""
        return self._framed(b"S", b"C", locate=0)

    def block(self, block: FeedBlock) -> bytes:
        """Return a block's messages."""
        columns = (
            block.messages[name].tolist()
            for name in (
                "ts_event_ns",
                "action",
                "side",
                "order_id",
                "price_ticks",
                "quantity_lots",
            )
        )
        parts: list[bytes] = []
        for time_ns, action, side, order_id, ticks, lots in zip(*columns, strict=True):
            self._time_ns = time_ns % DAY_NS
            said = self._said(action, side, order_id, ticks * self._units, lots * self._lot)
            if isinstance(said, str):
                self.left_out[said] += 1
            else:
                parts.append(said)
        return b"".join(parts)

    def _said(self, action: int, side: int, order_id: int, price: int, shares: int) -> bytes | str:
        if action < Action.FEED_ADD:
            return "command"
        if action == Action.FEED_CLEAR:
            numbers = [order[0] for order in self._orders.values()]
            self._orders.clear()
            return b"".join(self._framed(b"D", struct.pack(">Q", number)) for number in numbers)
        if (order_id in self._orders) == (action == Action.FEED_ADD):
            is_there = "there already" if action == Action.FEED_ADD else "not there"
            return f"order that is {is_there}"
        if action == Action.FEED_ADD:
            return self._added(side, order_id, price, shares)
        if action == Action.FEED_MODIFY:
            return self._modified(order_id, price, shares)
        return self._taken(action, order_id, shares)

    def _added(self, side: int, order_id: int, price: int, shares: int) -> bytes | str:
        if not (0 < price <= _UINT32_MAX and 0 < shares <= _UINT32_MAX):
            return "price or size beyond the format"
        self._orders[order_id] = (order_id, side, price, shares)
        body = struct.pack(">QcI", order_id, b"B" if side > 0 else b"S", shares)
        return self._framed(b"A", body + self._symbol + struct.pack(">I", price))

    def _modified(self, order_id: int, price: int, shares: int) -> bytes | str:
        number, side, old_price, left = self._orders[order_id]
        if price == old_price and 0 < shares <= left:
            self._orders[order_id] = (number, side, price, shares)
            taken = struct.pack(">QI", number, left - shares)
            return self._framed(b"X", taken) if shares < left else b""
        if not (0 < price <= _UINT32_MAX and 0 < shares <= _UINT32_MAX):
            return "price or size beyond the format"
        self._new_number += 1
        self._orders[order_id] = (self._new_number, side, price, shares)
        return self._framed(b"U", struct.pack(">QQII", number, self._new_number, shares, price))

    def _taken(self, action: int, order_id: int, shares: int) -> bytes | str:
        number, side, price, left = self._orders[order_id]
        if action == Action.FEED_DELETE:
            del self._orders[order_id]
            return self._framed(b"D", struct.pack(">Q", number))
        if not 0 < shares <= left:
            return "more lots than the order has"
        if shares == left:
            del self._orders[order_id]
        else:
            self._orders[order_id] = (number, side, price, left - shares)
        body = struct.pack(">QI", number, shares)
        if action == Action.FEED_EXECUTE:
            self._matches += 1
            body += struct.pack(">Q", self._matches)
        return self._framed(_TAKES[Action(action)], body)

    def _framed(self, kind: bytes, body: bytes, *, locate: int = _LOCATE) -> bytes:
        """Return a message behind its length."""
        time = struct.pack(">HI", self._time_ns >> 32, self._time_ns & _UINT32_MAX)
        message = kind + struct.pack(">HH", locate, 0) + time + body
        return struct.pack(">H", len(message)) + message


def _whole(value: Decimal, name: str) -> int:
    if value != int(value):
        raise InvalidInput(f"{name}: {value} units; allowed: whole ones in this format")
    return int(value)

"""Read NASDAQ TotalView-ITCH 5.0 files, plain or compressed: the visible book of one stock.

Adds (A, F), executions (E, C), cancels (X), deletes (D) and replaces (U) change the book. C names
another price for the trade, but takes its shares off the order all the same; U is a delete and an
add at the tail, under a new number. Trades of orders that are not displayed (P), crosses (Q) and
broken trades (B) change nothing that shows: they are counted, as all the rest is.
"""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock
from lob.feeds.itch_format import (
    LENGTHS,
    NAMES,
    ORDER_LAYOUTS,
    PRICE_UNITS,
    RawMessages,
    read_messages,
)
from lob.feeds.itch_write import write
from lob.feeds.live_orders import Bools, Ints, LiveOrders
from lob.feeds.streams import first_bytes, open_stream
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import AssetClass, Instrument

__all__ = ["ItchFeed", "write"]

_HEAD_BYTES: Final = 4_096
_LISTED: Final = 10
_ALL: Final = 1 << 40
"""More shares than an order can have: a delete takes what is left."""

ADDS, EXECUTES = (ord("A"), ord("F")), (ord("E"), ord("C"))
CANCEL, DELETE, REPLACE, DIRECTORY = (ord(letter) for letter in "XDUR")
_SIDES: Final = {ord("B"): 1, ord("S"): -1}
_ORDER_TYPE: Final = np.isin(np.arange(256), [ord(letter) for letter in ORDER_LAYOUTS])


class ItchFeed(Feed):
    """Read the orders of one stock.

    `symbol` chooses it; without, the file must have orders of one only. `positions` count messages.
    Times are nanoseconds after midnight (the file names no day). Shares are lots; prices must be
    whole ticks.
    """

    format = "itch"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        units = instrument.tick_size * PRICE_UNITS
        if units != int(units) or instrument.lot_size != int(instrument.lot_size):
            raise InvalidInput(
                f"tick_size: {instrument.tick_size} and lot_size: {instrument.lot_size}; "
                "allowed: multiples of 0.0001 and of 1"
            )
        self._units, self._lot = int(units), int(instrument.lot_size)
        self._symbol = symbol

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:
        """Say whether it begins with messages of these types and lengths."""
        begin = first_bytes(path, head, _HEAD_BYTES)
        at, found = 0, 0
        while at + 2 < len(begin):
            length = int.from_bytes(begin[at : at + 2], "big")
            if LENGTHS.get(chr(begin[at + 2])) != length:
                return False
            at, found = at + 2 + length, found + 1
        return found > 0

    @classmethod
    def default_instrument(cls, path: str | Path, *, symbol: str | None = None) -> Instrument:
        """Return a share in units of 0.0001, the scale of the format; reads up to the first order.

        Raises as reading does.
        """
        return Instrument(
            symbol=symbol or _first_symbol(Path(path)),
            asset_class=AssetClass.EQUITY,
            tick_size=Decimal("0.0001"),
            lot_size=Decimal(1),
        )

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the messages of at most `block_rows` records at a time.

        Raises:
            InvalidInput: what cannot be a message, orders of several stocks and no choice among
                them, or a symbol that is not there; names file and byte.
        """
        self.restart()
        live, stocks = LiveOrders(), _Stocks(self.path, self._symbol)
        with open_stream(self.path) as stream:
            for raw in read_messages(stream, self.block_rows):
                stocks.learn(raw)
                mine = stocks.mine(raw)
                self._count(raw, mine)
                yield self._block(raw, np.flatnonzero(mine & _ORDER_TYPE[raw.types]), live)
                self.bytes_done = stream.bytes_done
        stocks.require_found()
        self.bytes_done = self.bytes_total

    def _count(self, raw: RawMessages, mine: Bools) -> None:
        summary = self.summary
        summary.records += len(raw.types)
        counts = np.bincount(raw.types, minlength=256)
        ours = mine | (raw.locates == 0)
        for letter, name in NAMES.items():
            kind = ord(letter)
            if not counts[kind]:
                continue
            summary.by_type[name] += int(counts[kind])
            if letter not in ORDER_LAYOUTS:
                self._unusable(name, raw, ours & (raw.types == kind))
        self._unusable("other instrument", raw, ~ours)

    def _unusable(self, reason: str, raw: RawMessages, which: Bools) -> None:
        count = int(np.count_nonzero(which))
        if count:
            self.summary.note_unusable(reason, raw.first + int(np.argmax(which)), count)

    def _block(self, raw: RawMessages, index: Ints, live: LiveOrders) -> FeedBlock:
        orders = _Orders(raw, index)
        orders.require_letters(self.path)
        unprinted = int(np.count_nonzero(orders.printable == ord("N")))
        if unprinted:
            self.summary.by_type["execution that is not printed"] += unprinted
        replace = orders.types == REPLACE
        places = orders.is_add | replace
        ticks, off_tick = np.divmod(orders.price, self._units)
        lots, off_lot = np.divmod(orders.shares, self._lot)
        sized = orders.types != DELETE
        usable = np.ones(len(index), bool)
        sides = orders.sides(live)
        for reason, wrong in (
            ("no order number", (orders.ref == 0) | (replace & (orders.new_ref == 0))),
            ("order number above 2^63-1", (orders.ref < 0) | (orders.new_ref < 0)),
            ("no price", places & (orders.price == 0)),
            ("price off the tick", places & (off_tick != 0)),
            ("no shares", sized & (orders.shares == 0)),
            ("shares off the lot", sized & (off_lot != 0)),
            ("replace of an unknown order", replace & (sides == 0)),
        ):
            found = usable & wrong
            if found.any():
                self.summary.note_unusable(
                    reason, raw.first + int(index[np.argmax(found)]), int(found.sum())
                )
                usable &= ~found
        _settle(live, orders, lots, sides, usable)
        block = _messages(raw, orders, ticks, lots, sides, usable)
        self.summary.messages += len(block.messages)
        return block


class _Orders:
    """The messages of one stock's orders, in columns; 0 where a type has no such field."""

    def __init__(self, raw: RawMessages, index: Ints) -> None:
        self.index = index
        self.types = raw.types[index]
        self.is_add = np.isin(self.types, ADDS)
        self._byte = raw.byte + raw.begins[index]
        count = len(index)
        self.time_ns = np.zeros(count, np.int64)
        self.ref = np.zeros(count, np.int64)
        self.new_ref = np.zeros(count, np.int64)
        self.shares = np.zeros(count, np.int64)
        self.price = np.zeros(count, np.int64)
        self.side = np.zeros(count, np.uint8)
        self.printable = np.zeros(count, np.uint8)
        for letter, layout in ORDER_LAYOUTS.items():
            at = np.flatnonzero(self.types == ord(letter))
            if not len(at):
                continue
            rows = raw.rows(index[at], layout)
            high, middle, low = (rows["time"][:, part].astype(np.int64) for part in range(3))
            self.time_ns[at] = high << 32 | middle << 16 | low
            for name in ("ref", "new_ref", "shares", "price", "side", "printable"):
                if name in layout.fields:  # type: ignore[operator]
                    getattr(self, name)[at] = rows[name].astype(getattr(self, name).dtype)

    def require_letters(self, path: Path) -> None:
        """Raise `InvalidInput` where a side or a printable flag is none."""
        for name, values, wrong, allowed in (
            ("side", self.side, self.is_add & ~np.isin(self.side, list(_SIDES)), "B, S"),
            (
                "printable",
                self.printable,
                (self.types == EXECUTES[1]) & ~np.isin(self.printable, (ord("Y"), ord("N"))),
                "Y, N",
            ),
        ):
            if wrong.any():
                row = int(np.argmax(wrong))
                raise InvalidInput(
                    f"{path}: byte {self._byte[row]}: {name}: {chr(values[row])!r}; "
                    f"allowed: {allowed}"
                )

    def sides(self, live: LiveOrders) -> NDArray[np.int8]:
        """Return each order's side where it is placed: of a replace that of the order before it.

        0 where nothing is known of that order.
        """
        sides: NDArray[np.int8] = (self.side == ord("B")).astype(np.int8)
        sides -= self.side == ord("S")
        replaced = np.flatnonzero(self.types == REPLACE)
        if not len(replaced):
            return sides
        known = dict(zip(self.ref[self.is_add].tolist(), sides[self.is_add].tolist(), strict=True))
        old = self.ref[replaced]
        found = []
        for ref, new_ref, before in zip(
            old.tolist(), self.new_ref[replaced].tolist(), live.marks(old).tolist(), strict=True
        ):
            side = known.get(ref, before)
            known[new_ref] = side
            found.append(side)
        sides[replaced] = found
        return sides


def _settle(
    live: LiveOrders, orders: _Orders, lots: Ints, sides: NDArray[np.int8], usable: Bools
) -> None:
    """Keep what is left of each order; a replace takes all of one and places another."""
    replace = orders.types == REPLACE
    takes_all = replace | (orders.types == DELETE)
    wide = np.stack((np.ones(len(usable), bool), replace & usable), axis=1)
    wide[:, 0] = usable | replace
    ids = np.stack((orders.ref, orders.new_ref), axis=1)[wide]
    amounts = np.stack((np.where(takes_all, _ALL, lots), lots), axis=1)[wide]
    sets = np.stack((orders.is_add, replace), axis=1)[wide]
    marks = np.stack((sides, sides), axis=1)[wide]
    live.settle(ids, sets, amounts, np.zeros(len(ids), np.int64), marks)


def _messages(
    raw: RawMessages,
    orders: _Orders,
    ticks: Ints,
    lots: Ints,
    sides: NDArray[np.int8],
    usable: Bools,
) -> FeedBlock:
    """Return a message for each order message, two for a replace."""
    types = orders.types
    replace = types == REPLACE
    action = np.select(
        [orders.is_add, np.isin(types, EXECUTES), types == CANCEL],
        [Action.FEED_ADD, Action.FEED_EXECUTE, Action.FEED_REDUCE],
        Action.FEED_DELETE,
    )
    # Where the new order of a replace is unusable, the old one goes all the same.
    used = np.stack((usable | (replace & (orders.ref > 0)), replace & usable), axis=1)
    row = np.repeat(np.arange(len(types)), np.count_nonzero(used, axis=1))
    messages = np.zeros(len(row), MESSAGE_DTYPE)
    messages["ts_event_ns"] = orders.time_ns[row]
    messages["order_id"] = np.stack((orders.ref, orders.new_ref), axis=1)[used]
    messages["price_ticks"] = ticks[row]
    messages["quantity_lots"] = lots[row]
    adds = np.full(len(types), Action.FEED_ADD, action.dtype)
    messages["action"] = np.stack((action, adds), axis=1)[used]
    messages["side"] = sides[row]
    if len(row):
        last = np.append(row[1:] != row[:-1], True)  # the last of all, too
        messages["flags"] = np.where(last, np.uint8(Flag.LAST), np.uint8(0))
    nothing = np.zeros(len(row), np.int64)
    return FeedBlock(messages, raw.first + orders.index[row], nothing, nothing)


class _Stocks:
    """Know which locate code is whose, and which one is wanted."""

    def __init__(self, path: Path, symbol: str | None) -> None:
        self._path = path
        self._symbol = symbol
        self._locates: dict[str, int] = {}
        self._wanted: int | None = None

    def learn(self, raw: RawMessages) -> None:
        """Take the names of the stock directory."""
        for at in np.flatnonzero(raw.types == DIRECTORY).tolist():
            begin = int(raw.begins[at]) + 11
            name = bytes(raw.raw[begin : begin + 8]).decode("ascii", "replace").strip()
            self._locates.setdefault(name, int(raw.locates[at]))

    def mine(self, raw: RawMessages) -> Bools:
        """Say which messages are of the stock that is wanted."""
        if self._symbol is not None:
            self._wanted = self._locates.get(self._symbol)
            if self._wanted is None:
                return np.zeros(len(raw.types), bool)
            return np.asarray(raw.locates == self._wanted)
        orders = _ORDER_TYPE[raw.types]
        if self._wanted is None and orders.any():
            self._wanted = int(raw.locates[np.argmax(orders)])
        wanted = -1 if self._wanted is None else self._wanted
        others = orders & (raw.locates != wanted)
        if others.any():
            row = int(np.argmax(others))
            raise InvalidInput(
                f"{self._path}: byte {raw.byte + int(raw.begins[row])}: several instruments; "
                f"allowed (symbol=): {self.listed()}"
            )
        return np.asarray(raw.locates == wanted)

    def require_found(self) -> None:
        """Raise `InvalidInput` where the symbol asked for was never named."""
        if self._symbol is not None and self._symbol not in self._locates:
            raise InvalidInput(
                f"symbol: {self._symbol!r} is not in {self._path}; allowed: {self.listed()}"
            )

    def listed(self) -> str:
        """Return the symbols of the directory, a few of many."""
        names = sorted(self._locates)
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return (", ".join(names[:_LISTED]) or "none") + more

    def name_of(self, locate: int) -> str | None:
        """Return the symbol of a locate code, where the directory has named it."""
        return next((name for name, code in self._locates.items() if code == locate), None)


def _first_symbol(path: Path) -> str:
    """Return the symbol of the first order, or the file's name where nothing names it."""
    stocks = _Stocks(path, None)
    with open_stream(path) as stream:
        for raw in read_messages(stream, BLOCK_ROWS):
            stocks.learn(raw)
            orders = _ORDER_TYPE[raw.types]
            if orders.any():
                locate = int(raw.locates[np.argmax(orders)])
                return stocks.name_of(locate) or path.name
    return path.name

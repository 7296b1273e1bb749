"""Read and write LOBSTER message files as feed messages, whole blocks of lines at a time.

What rested before the file began is told by the file itself (`start_orders`) and comes first, as
orders of a snapshot. Sizes are lots, times nanoseconds after midnight.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from lob.errors import InvalidInput
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock
from lob.feeds.ledger import Change, Ledger, Row, message_rows
from lob.feeds.lobster import UNUSABLE, LobsterMessage, MessageType, read_message
from lob.feeds.text import (
    MAX_LINE_BYTES,
    Ints,
    TextBlock,
    decimals,
    split_fields,
    text_blocks,
    whole_numbers,
)
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.types import INT64_MAX, AssetClass, Instrument

_FIELDS: Final = 6
_NANOSECOND_DIGITS: Final = 9
_UNITS_PER_DOLLAR: Final = 10_000
_SECOND_NS: Final = 1_000_000_000
_KINDS: Final = tuple(MessageType)
_KIND_OF: Final = {
    Action.FEED_ADD: MessageType.ADD,
    Action.FEED_REDUCE: MessageType.REDUCE,
    Action.FEED_DELETE: MessageType.DELETE,
    Action.FEED_EXECUTE: MessageType.EXECUTE,
}
_ACTION_OF: Final = np.zeros(len(MessageType) + 1, np.uint8)
for _action, _kind in _KIND_OF.items():
    _ACTION_OF[_kind] = _action


class _Lines(NamedTuple):
    """The columns of a block of lines; `price_ticks` is 0 where the type is not the book's."""

    time_ns: Ints
    kind: Ints
    order_id: Ints
    quantity_lots: Ints
    price_ticks: Ints
    side: Ints


class StartOrder(NamedTuple):
    """An order that a message file shows to have rested before it began."""

    order_id: int
    side_sign: int
    price_ticks: int
    quantity_lots: int
    line: int


class LobsterFeed(Feed):
    """Read a message file; `start_orders=False` leaves out what rested before it began.

    With them the file is read twice. Hidden executions, crosses and halts are counted as unusable.
    The instrument's tick must be a whole number of 0.0001 dollars.
    """

    format = "lobster"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        block_rows: int = BLOCK_ROWS,
        start_orders: bool = True,
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        self._units = price_units(instrument)
        self._start_orders = start_orders

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:  # noqa: ARG003 - the content decides
        """Say whether the first line is a LOBSTER message."""
        line, _, _ = head.partition(b"\n")
        try:
            read_message(1, line.decode("ascii").rstrip("\r"), 1)
        except (InvalidInput, ValueError):
            return False
        return True

    @classmethod
    def default_instrument(cls, path: Path) -> Instrument:
        """Return a US share named by the file's first word, as LOBSTER names its files."""
        return Instrument(
            symbol=path.name.split("_")[0].split(".")[0] or "LOBSTER",
            asset_class=AssetClass.EQUITY,
            tick_size=Decimal("0.01"),
            lot_size=Decimal(1),
        )

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the orders that rested at the start, then a block for each block of lines."""
        self.restart()
        if self._start_orders:
            yield from self._snapshot()
        before_ns = 0
        for text in text_blocks(self.path, block_lines=self.block_rows):
            lines = self._lines(text, before_ns)
            before_ns = int(lines.time_ns[-1])
            self.bytes_done = text.bytes_done
            yield self._block(text.first_line, lines)

    def _snapshot(self) -> Iterator[FeedBlock]:
        orders = start_orders(self.path, self._units, self.block_rows)
        first_ns = 0
        for text in text_blocks(self.path, block_lines=1):
            first_ns = int(self._lines(text, 0).time_ns[0])
            break
        for begin in range(0, len(orders), self.block_rows):
            part = orders[begin : begin + self.block_rows]
            messages = np.zeros(len(part), MESSAGE_DTYPE)
            messages["ts_event_ns"] = first_ns
            messages["action"] = Action.FEED_ADD
            messages["flags"] = Flag.SNAPSHOT
            for name, at in (("order_id", 0), ("side", 1), ("price_ticks", 2)):
                messages[name] = [order[at] for order in part]
            messages["quantity_lots"] = [order.quantity_lots for order in part]
            self.summary.messages += len(part)
            nothing = np.zeros(len(part), np.int64)
            positions = np.array([order.line for order in part], np.int64)
            yield FeedBlock(messages, positions, nothing, nothing)

    def _block(self, first_line: int, lines: _Lines) -> FeedBlock:
        summary = self.summary
        count = len(lines.kind)
        summary.records += count
        positions = np.arange(first_line, first_line + count, dtype=np.int64)
        for kind in _KINDS:
            found = lines.kind == kind
            number = int(found.sum())
            if number:
                summary.by_type[kind.name] += number
                if kind in UNUSABLE:
                    position = int(positions[np.argmax(found)])
                    summary.note_unusable(UNUSABLE[kind], position, number)
        used = lines.kind <= MessageType.EXECUTE
        messages = np.zeros(int(used.sum()), MESSAGE_DTYPE)
        messages["ts_event_ns"] = lines.time_ns[used]
        messages["order_id"] = lines.order_id[used]
        messages["price_ticks"] = lines.price_ticks[used]
        messages["quantity_lots"] = lines.quantity_lots[used]
        messages["action"] = _ACTION_OF[lines.kind[used]]
        messages["side"] = lines.side[used]
        summary.messages += len(messages)
        nothing = np.zeros(len(messages), np.int64)
        return FeedBlock(messages, positions[used], nothing, nothing)

    def _lines(self, text: TextBlock, before_ns: int) -> _Lines:
        return _read_lines(self.path, text, self._units, before_ns)


def price_units(instrument: Instrument) -> int:
    """Return the instrument's tick in units of 0.0001 dollars; `InvalidInput` if not whole."""
    units = instrument.tick_size * _UNITS_PER_DOLLAR
    if units != units.to_integral_value() or units > INT64_MAX:
        raise InvalidInput(
            f"tick_size: {instrument.tick_size}; allowed for LOBSTER: a multiple of 0.0001"
        )
    return int(units)


def start_orders(path: Path, units: int, block_rows: int = BLOCK_ROWS) -> list[StartOrder]:
    """Return the orders that a message file shows to have rested before it began, by id.

    Ids are given out in order of arrival: an order that is reduced, deleted or executed, was never
    added, and has an id below that of the first add, rested at the start with as many lots as later
    leave it. Reads the whole file; holds these orders, and the ids below the first add's.
    """
    first_added: int | None = None
    added: set[int] = set()
    found: dict[int, StartOrder] = {}
    before_ns = 0
    for text in text_blocks(path, block_lines=block_rows):
        lines = _read_lines(path, text, units, before_ns)
        before_ns = int(lines.time_ns[-1])
        if first_added is None and (lines.kind == MessageType.ADD).any():
            first_added = int(lines.order_id[np.argmax(lines.kind == MessageType.ADD)])
        told = lines.kind <= MessageType.EXECUTE
        if first_added is not None:
            told &= lines.order_id < first_added
        for index in np.flatnonzero(told).tolist():
            order_id = int(lines.order_id[index])
            if lines.kind[index] == MessageType.ADD:
                added.add(order_id)
            elif order_id not in added:
                before = found.get(order_id)
                lots = int(lines.quantity_lots[index])
                found[order_id] = StartOrder(
                    order_id,
                    int(lines.side[index]),
                    int(lines.price_ticks[index]),
                    min(INT64_MAX, lots + (0 if before is None else before.quantity_lots)),
                    text.first_line + index if before is None else before.line,
                )
    return [
        found[order_id]
        for order_id in sorted(found)
        if first_added is None or order_id < first_added
    ]


def _read_lines(path: Path, text: TextBlock, units: int, before_ns: int) -> _Lines:
    lines = _plain_lines(text, units)
    if lines is None or lines.time_ns[0] < before_ns or (np.diff(lines.time_ns) < 0).any():
        lines = _line_by_line(path, text, units, before_ns)
    return lines


def _plain_lines(text: TextBlock, units: int) -> _Lines | None:
    """Return the columns of a block in which every line is plain and in range, else None."""
    fields = split_fields(text.raw, text.line_count, _FIELDS)
    if fields is None:
        return None
    begins, ends = fields
    time_ns = decimals(text.raw, begins[:, 0], ends[:, 0], _NANOSECOND_DIGITS)
    columns = [
        whole_numbers(text.raw, begins[:, at], ends[:, at], signed=True) for at in range(1, _FIELDS)
    ]
    if time_ns is None or any(column is None for column in columns):
        return None
    kind, order_id, size, price, direction = (c for c in columns if c is not None)
    if kind.min() < MessageType.ADD or kind.max() > MessageType.HALT:
        return None
    used = kind <= MessageType.EXECUTE
    ticks, rest = np.divmod(np.where(used, price, 0), units)
    in_range = (order_id > 0) & (size > 0) & (ticks > 0) & (rest == 0) & (np.abs(direction) == 1)
    if not in_range[used].all():
        return None
    return _Lines(time_ns, kind, order_id, size, ticks, direction)


def _line_by_line(path: Path, text: TextBlock, units: int, before_ns: int) -> _Lines:
    rows: list[tuple[int, ...]] = []
    for index, raw in enumerate(text.raw.split(b"\n")[:-1]):
        number = text.first_line + index
        try:
            message = _one_line(number, raw, units)
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{path}:{number}: not ASCII text") from error
        except (InvalidInput, ValueError) as error:
            raise InvalidInput(f"{path}:{number}: {error}") from error
        if not before_ns <= message.time_ns <= INT64_MAX:
            why = f"time: {message.time_ns} ns; allowed: {before_ns} or later"
            raise InvalidInput(f"{path}:{number}: {why}")
        before_ns = message.time_ns
        used = message.kind not in UNUSABLE
        rows.append(
            (
                message.time_ns,
                message.kind.value,
                message.order_id if used else 0,
                message.quantity_lots if used else 0,
                message.price_ticks,
                message.side.sign,
            )
        )
    return _Lines(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def _one_line(number: int, raw: bytes, units: int) -> LobsterMessage:
    if len(raw) >= MAX_LINE_BYTES:
        raise InvalidInput(f"longer than {MAX_LINE_BYTES} bytes")
    return read_message(number, raw.decode("ascii").rstrip("\r"), units)


# -------------------------------------------------------------------------------------- writing


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write a feed as a message file, and return what it could not say, by reason.

    An order that loses its place (a new price, or more lots) is deleted and added again under its
    id. A cleared book is so many deletes. A time that goes back is written as the latest before.
    Commands, times of receipt, sequences and flags have no place in the format.
    """
    units = price_units(feed.instrument)
    left_out: Counter[str] = Counter()
    ledger = Ledger(left_out)
    now_ns = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        for block in feed.blocks():
            lines: list[str] = []
            for row in message_rows(block.messages):
                if row.ts_event_ns < now_ns:
                    left_out["time_out_of_order"] += 1
                now_ns = max(now_ns, row.ts_event_ns)
                stamp = f"{now_ns // _SECOND_NS}.{now_ns % _SECOND_NS:09d}"
                lines += [f"{stamp},{text}" for text in _said(ledger, row, units)]
            file.writelines(lines)
    return left_out


def _said(ledger: Ledger, row: Row, units: int) -> Iterator[str]:
    """Yield the lines, without their time, that say what a message says."""
    if row.action == Action.FEED_CLEAR:
        for gone in ledger.clear():
            yield _line(MessageType.DELETE, gone, gone.price_ticks * units, gone.quantity_lots)
        return
    change = ledger.change(row)
    if change is None:
        return
    price = change.price_ticks * units
    if change.action != Action.FEED_MODIFY:
        yield _line(_KIND_OF[change.action], change, price, change.quantity_lots)
    elif change.keeps_place:
        yield _line(MessageType.REDUCE, change, price, change.leaves_before - change.leaves)
    else:
        before = change.price_ticks_before * units
        yield _line(MessageType.DELETE, change, before, change.leaves_before)
        yield _line(MessageType.ADD, change, price, change.leaves)


def _line(kind: MessageType, change: Change, price: int, lots: int) -> str:
    return f"{kind.value},{change.order_id},{lots},{price},{change.side_sign}\n"

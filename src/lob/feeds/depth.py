"""Hold a book rebuilt from a venue's orders against the depth that the venue publishes itself.

Databento's mbp-1 and mbp-10 schemas have a record for each change within so many levels. A record
belongs to the event that has its receive time, event time and sequence; the last record of an event
is held against the book after the event's last message. A record of no event (a trade that left the
book as it was) is held against the book as it stands then. Where the book's levels change and the
venue has no record, that is counted too.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds import dbn
from lob.feeds.base import MAX_REPORTED, Feed, FeedBlock
from lob.feeds.databento import RecordFile, Schema
from lob.feeds.databento_csv import is_header, mbp_columns
from lob.feeds.databento_orders import TRADE
from lob.feeds.streams import open_stream
from lob.messages import (
    CROSSING_DTYPE,
    REFUSAL_DTYPE,
    TRADE_DTYPE,
    Action,
    Applied,
    Array,
    Flag,
)
from lob.types import INT64_MAX, Instrument, Level

SCHEMAS: Final = {
    levels: Schema(f"mbp-{levels}", dbn.mbp_dtype(levels), rtype, mbp_columns(levels))
    for levels, rtype in dbn.MBP_RTYPES.items()
}
"""What this module reads, by the number of levels."""

_BLOCK_ROWS: Final = 8_192
_HEAD_BYTES: Final = 65_536
_NO_EVENT: Final = -2

Key = tuple[int, int, int]
"""Receive time, sequence, event time: what a depth record shares with its event."""

Levels = tuple[tuple[int, int, int], ...]


class DepthRecord(NamedTuple):
    """One record: best levels first as (price in ticks, lots, orders); `position` as in feeds.

    `is_last` says that the venue's event ends here; `moves` that it is no mere trade.
    """

    key: Key
    bids: Levels
    asks: Levels
    is_last: bool
    moves: bool
    position: int


class DepthBook(Protocol):
    """What a comparison asks of a book: `lob.OrderBook` has it."""

    @property
    def last_apply(self) -> Any:
        """Return what the last `apply` came to."""

    def apply(self, messages: Any, *, strict: bool) -> Any:
        """Carry messages out and return their trades."""

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return up to `levels` bid and ask levels, best first."""


class DepthFile:
    """Read the depth records of one instrument of a mbp-1 or mbp-10 file, DBN or CSV.

    `levels` says how many a side. Choose among instruments as with `DatabentoFeed`.

    Raises:
        InvalidInput: no such file, or none of these schemas.
    """

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        instrument_id: int | None = None,
        publisher_id: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.levels = _levels_of(self.path)
        self.unusable: Counter[str] = Counter()
        units, lot = instrument.tick_size * dbn.PRICE_UNITS, instrument.lot_size
        if units != int(units) or lot != int(lot):
            raise InvalidInput(
                f"tick_size: {instrument.tick_size} and lot_size: {lot}; "
                "allowed: multiples of 0.000000001 and of 1"
            )
        self._units, self._lot = int(units), int(lot)
        self._choice: dict[str, Any] = {
            "symbol": symbol,
            "instrument_id": instrument_id,
            "publisher_id": publisher_id,
        }

    @classmethod
    def sniff(cls, path: Path) -> bool:
        """Say whether a file is one of these schemas."""
        try:
            _levels_of(path)
        except InvalidInput:
            return False
        return True

    def __iter__(self) -> Iterator[DepthRecord]:
        """Yield the records in order; `unusable` counts, by reason, those that are left out."""
        self.unusable.clear()
        with ExitStack() as stack:
            stream = stack.enter_context(open_stream(self.path))
            file = RecordFile(stream, SCHEMAS[self.levels], **self._choice)
            for rows, positions in file.read(_BLOCK_ROWS):
                yield from self._records(rows, positions)
            self.unusable.update(file.others)

    def _records(self, rows: Array, positions: NDArray[np.int64]) -> Iterator[DepthRecord]:
        usable = np.ones(len(rows), bool)
        sides = []
        for side in ("bid", "ask"):
            price = rows["levels"][f"{side}_px"]
            size = rows["levels"][f"{side}_sz"].astype(np.int64)
            there = (price != dbn.UNDEF_PRICE) & (size != 0)
            ticks, off_tick = np.divmod(price, self._units)
            lots, off_lot = np.divmod(size, self._lot)
            for reason, wrong in (
                ("price not above 0", price <= 0),
                ("price off the tick", off_tick != 0),
                ("size off the lot", off_lot != 0),
            ):
                found = usable & (there & wrong).any(axis=1)
                if found.any():
                    self.unusable[reason] += int(found.sum())
                    usable &= ~found
            count = rows["levels"][f"{side}_ct"].astype(np.int64)
            sides.append((np.stack((ticks, lots, count), axis=2), there))
        rows, positions = rows[usable], positions[usable]
        lasts = ((rows["flags"] & dbn.F_LAST) != 0).tolist()
        moves = (rows["action"] != TRADE).tolist()
        keys = zip(
            *(_int64(rows[name]) for name in ("ts_recv", "sequence", "ts_event")), strict=True
        )
        bids, asks = (_present(values[usable].tolist(), there[usable]) for values, there in sides)
        for record in zip(keys, bids, asks, lasts, moves, positions.tolist(), strict=True):
            yield DepthRecord(*record)


def _int64(values: NDArray[Any]) -> list[int]:
    wide = np.where(values > INT64_MAX, 0, values) if values.dtype == np.uint64 else values
    numbers: list[int] = wide.astype(np.int64).tolist()
    return numbers


def _present(levels: list[list[list[int]]], there: NDArray[np.bool_]) -> Iterator[Levels]:
    whole: list[bool] = np.all(there, axis=1).tolist()
    for row, (level, is_whole) in enumerate(zip(levels, whole, strict=True)):
        if is_whole:
            yield tuple(map(tuple, level))  # type: ignore[arg-type]
        else:
            kept = there[row].tolist()
            yield tuple(
                (values[0], values[1], values[2])
                for values, is_there in zip(level, kept, strict=True)
                if is_there
            )


def _levels_of(path: Path) -> int:
    """Return how many levels the records of a file have, by its metadata or header line."""
    with open_stream(path) as stream:
        begin = stream.peek(_HEAD_BYTES)
        if begin.startswith(dbn.MAGIC):
            schema = dbn.read_metadata(stream).schema
            found = [levels for levels, known in SCHEMAS.items() if known.name == schema]
        else:
            header = begin.partition(b"\n")[0]
            found = [n for n, known in SCHEMAS.items() if is_header(header, known.columns)]
            schema = "unknown"
    if not found:
        names = ", ".join(known.name for known in SCHEMAS.values())
        raise InvalidInput(f"{path}: schema {schema}; allowed: {names}")
    return max(found)


class Difference(NamedTuple):
    """One disagreement: where in both files, on which side and level, and what either has."""

    position: int
    depth_position: int
    side: str
    level: int
    ours: tuple[int, int, int] | None
    theirs: tuple[int, int, int] | None


@dataclass(slots=True)
class DepthAgreement:
    """What a comparison found.

    `compared` records were held against the book and `agreeing` of them were equal in every level,
    size and order count. `within_events` were passed over: the venue's book was changing.
    `without_event` changed the venue's levels at no event of ours (they are compared all the same),
    `unannounced` counts events of ours that changed the levels without a record of the venue.
    """

    levels: int
    records: int = 0
    compared: int = 0
    agreeing: int = 0
    within_events: int = 0
    without_event: int = 0
    unannounced: int = 0
    differences: list[Difference] = field(default_factory=list)
    first_without_event: list[int] = field(default_factory=list)
    first_unannounced: list[int] = field(default_factory=list)


class DepthComparison:
    """Apply a feed's blocks to a book, and hold it against depth records along the way."""

    def __init__(self, records: Iterator[DepthRecord], levels: int) -> None:
        self.agreement = DepthAgreement(levels)
        self._records = iter(records)
        self._next: DepthRecord | None = next(self._records, None)
        self._position = 0
        self._shown: tuple[Levels, Levels] | None = None
        self._started = False

    def apply(self, book: DepthBook, block: FeedBlock) -> Applied:
        """Apply a block event by event, comparing after each, and return all that `apply` said.

        Feed messages that cannot be true are listed among the refusals.
        """
        messages = block.messages
        ends = np.flatnonzero(messages["flags"] & Flag.LAST) + 1
        if len(messages) and (not len(ends) or ends[-1] != len(messages)):
            ends = np.append(ends, len(messages))  # an event that goes on in the next block
        due = self._take_due(block, ends)
        flags = messages["flags"][ends - 1]
        # A snapshot is not news, and an event that goes on is none yet.
        quiet = ((flags & Flag.SNAPSHOT) != 0) | ((flags & Flag.LAST) == 0)
        quiet |= messages["action"][ends - 1] == Action.FEED_CLEAR
        quiet[:-1] |= _same_key(block, ends[:-1] - 1, ends[1:] - 1)
        if -1 in due:
            self._hold(due[-1], book.depth(self.agreement.levels))
        parts, begin = [], 0
        for event, (end, is_quiet) in enumerate(zip(ends.tolist(), quiet.tolist(), strict=True)):
            book.apply(messages[begin:end], strict=False)
            parts.append((begin, book.last_apply))
            self._position = int(block.positions[end - 1])
            self._compare(due.get(event), book.depth(self.agreement.levels), is_quiet)
            begin = end
        return _merged(parts)

    def _compare(self, record: DepthRecord | None, shown: Any, is_quiet: bool) -> None:
        if record is not None:
            self._hold(record, shown)
        elif self._started and not is_quiet and shown != self._shown and self._next is not None:
            self.agreement.unannounced += 1
            if len(self.agreement.first_unannounced) < MAX_REPORTED:
                self.agreement.first_unannounced.append(self._position)
        self._shown = shown

    def finish(self, book: DepthBook) -> None:
        """Hold the book after the last block against the records that are left."""
        shown = book.depth(self.agreement.levels)
        while (record := self._next) is not None:
            self._advance()
            self._without_event(record)
            if record.is_last:
                self._hold(record, shown)
            else:
                self.agreement.within_events += 1

    def _take_due(self, block: FeedBlock, ends: NDArray[np.int64]) -> dict[int, DepthRecord]:
        """Return the last record of each event of a block; event -1 is before the first."""
        due: dict[int, DepthRecord] = {}
        keys = list(
            zip(
                block.ts_recv_ns.tolist(),
                block.sequences.tolist(),
                block.messages["ts_event_ns"].tolist(),
                strict=True,
            )
        )
        if not keys:
            return due
        events = np.searchsorted(ends, np.arange(len(keys)), side="right").tolist()
        event_of = dict(zip(keys, events, strict=True))
        order = list(accumulate((keys[end - 1] for end in ends.tolist()), max))
        while self._next is not None:
            record = self._next
            event = event_of.get(record.key, _NO_EVENT)
            if event == _NO_EVENT and record.key > order[-1]:
                break
            self._advance()
            if event == _NO_EVENT:
                if not record.is_last:
                    self.agreement.within_events += 1
                    continue
                self._without_event(record)
                event = bisect_right(order, record.key) - 1
            if event in due:
                self.agreement.within_events += 1
            due[event] = record
        return due

    def _advance(self) -> None:
        self._next = next(self._records, None)
        self.agreement.records += 1

    def _without_event(self, record: DepthRecord) -> None:
        if record.moves:
            self.agreement.without_event += 1
            if len(self.agreement.first_without_event) < MAX_REPORTED:
                self.agreement.first_without_event.append(record.position)

    def _hold(self, record: DepthRecord, shown: tuple[Any, Any]) -> None:
        self._started = True
        agreement = self.agreement
        agreement.compared += 1
        if shown == (record.bids, record.asks):
            agreement.agreeing += 1
            return
        if len(agreement.differences) >= MAX_REPORTED:
            return
        for side, ours, theirs in (("bid", shown[0], record.bids), ("ask", shown[1], record.asks)):
            for level in range(max(len(ours), len(theirs))):
                mine = tuple(ours[level]) if level < len(ours) else None
                yours = theirs[level] if level < len(theirs) else None
                if mine != yours:
                    agreement.differences.append(
                        Difference(self._position, record.position, side, level + 1, mine, yours)
                    )
                    return


def compare_depth(feed: Feed, depth: DepthFile, book: DepthBook) -> DepthAgreement:
    """Replay a feed into an empty book and hold it against the venue's depth at every event.

    Raises `InvalidInput` as the readers do.
    """
    comparison = DepthComparison(iter(depth), depth.levels)
    for block in feed.blocks():
        comparison.apply(book, block)
    comparison.finish(book)
    return comparison.agreement


def _same_key(
    block: FeedBlock, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which events cannot be told from the one after: a record of either is the later's."""
    times = block.messages["ts_event_ns"]
    same: NDArray[np.bool_] = times[first] == times[second]
    same &= block.ts_recv_ns[first] == block.ts_recv_ns[second]
    same &= block.sequences[first] == block.sequences[second]
    return same


def _merged(parts: list[tuple[int, Any]]) -> Applied:
    """Put what `apply` said of stretches together as if it had been one."""
    trades = [part.trades for _, part in parts if len(part.trades)]
    columns: dict[str, list[Array]] = {"refusals": [], "crossings": []}
    for name, fields in (("refusals", ("index",)), ("crossings", ("first", "end"))):
        for begin, part in parts:
            rows = getattr(part, name)
            if len(rows):
                shifted = rows.copy()
                for each in fields:
                    shifted[each] += begin
                columns[name].append(shifted)
    return Applied(
        np.concatenate(trades) if trades else np.zeros(0, TRADE_DTYPE),
        np.concatenate([*columns["refusals"], np.zeros(0, REFUSAL_DTYPE)]),
        np.concatenate([*columns["crossings"], np.zeros(0, CROSSING_DTYPE)]),
    )

"""Read and write hftbacktest's market-by-order files: `.npz` (member `data`) and `.npy`.

An event is `ev, exch_ts, local_ts, px, qty, order_id, ival, fval` (hftbacktest 2, `types.py`). The
low byte of `ev` says what it is, its bits 28..31 the side and which of the two clocks it is for.
A FILL takes nothing off an order: the MODIFY or CANCEL that follows does, as in the Databento feeds
these files are made of. So fills wait here for it, and are given as executions then.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.arrays import read_header, read_rows, write_rows
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock
from lob.feeds.ledger import Change, Ledger, Row, message_rows
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import INT64_MAX, Instrument

EVENT_DTYPE: Final = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ],
    align=True,
)

EXCH_EVENT: Final = 1 << 31
LOCAL_EVENT: Final = 1 << 30
BUY_EVENT: Final = 1 << 29
SELL_EVENT: Final = 1 << 28
TRADE, CLEAR, ADD, CANCEL, MODIFY, FILL = 2, 3, 10, 11, 12, 13
_NAMES: Final = {
    1: "DEPTH",
    TRADE: "TRADE",
    CLEAR: "DEPTH_CLEAR",
    4: "DEPTH_SNAPSHOT",
    5: "DEPTH_BBO",
    ADD: "ADD_ORDER",
    CANCEL: "CANCEL_ORDER",
    MODIFY: "MODIFY_ORDER",
    FILL: "FILL",
}
_USED: Final = (CLEAR, ADD, CANCEL, MODIFY, FILL)
# `ival` of a file made of a Databento feed holds that feed's flags.
_DBN_LAST: Final = 128
_DBN_SNAPSHOT: Final = 32
_MEMBER: Final = "data.npy"
_EXACT_MAX: Final = 1 << 53
_NEAR: Final = 1e-6
"""Of a tick: how far a price that went through a float may lie from a whole one."""


class HftBacktestFeed(Feed):
    """Read the L3 events of one of the two clocks; positions count events from 1.

    `clock` "exchange" takes events marked for the exchange, at `exch_ts`; "local" those marked for
    the local side, at `local_ts`. Depth and trade events, one-sided clears, prices off the tick and
    sizes that are no whole lots are counted as unusable.
    """

    format = "hftbacktest"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        block_rows: int = BLOCK_ROWS,
        clock: str = "exchange",
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        if clock not in {"exchange", "local"}:
            raise InvalidInput(f"clock: {clock!r}; allowed: exchange, local")
        self._clock = clock
        self._ticks = Scale.of("tick_size", instrument.tick_size)
        self._lots = Scale.of("lot_size", instrument.lot_size)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:  # noqa: ARG003 - the content decides
        """Say whether it is a zip or numpy file with hftbacktest's event type."""
        is_npy = head.startswith(b"\x93NUMPY") and b"'exch_ts'" in head
        return is_npy or (head.startswith(b"PK\x03\x04") and _MEMBER.encode() in head[:256])

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield a block for each piece of the file."""
        self.restart()
        translation = _Translation(self)
        try:
            with _opened(self.path) as (file, size):
                dtype, count = read_header(self.path, file)
                if dtype.names != EVENT_DTYPE.names:
                    raise InvalidInput(
                        f"{self.path}: {dtype}; allowed: {', '.join(EVENT_DTYPE.names or ())}"
                    )
                done = 0
                for first, events in read_rows(self.path, file, dtype, count, self.block_rows):
                    done += events.nbytes
                    self.bytes_done = min(self.bytes_total, self.bytes_total * done // size)
                    yield self._block(first, events.astype(EVENT_DTYPE), translation)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            told = f"{self.path}: after {self.summary.records}: {str(error)[:200]}"
            raise InvalidInput(told) from error
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror or error}") from error
        translation.finish()

    def _block(self, first: int, events: Array, translation: "_Translation") -> FeedBlock:
        summary = self.summary
        summary.records += len(events)
        positions = np.arange(first, first + len(events), dtype=np.int64)
        kind = (events["ev"] & np.uint64(0xFF)).astype(np.int64)
        for code, number in zip(*np.unique(kind, return_counts=True), strict=True):
            summary.by_type[_NAMES.get(int(code), f"TYPE_{code}")] += int(number)
        exchange = self._clock == "exchange"
        mark = np.uint64(EXCH_EVENT if exchange else LOCAL_EVENT)
        ours = (events["ev"] & mark) != 0
        self._unusable("other_clock", ~ours, positions)
        used = np.isin(kind, _USED) & ours
        self._unusable("no_order_event", ours & ~used, positions)
        buys = (events["ev"] & np.uint64(BUY_EVENT)) != 0
        sells = (events["ev"] & np.uint64(SELL_EVENT)) != 0
        checks = (
            ("no_side", (kind == ADD) & (buys == sells)),
            ("one_sided_clear", (kind == CLEAR) & (buys != sells)),
            ("order_id_out_of_range", (kind != CLEAR) & _bad_ids(events["order_id"])),
            ("time_out_of_range", events["exch_ts" if exchange else "local_ts"] < 0),
        )
        for reason, wrong in checks:
            self._unusable(reason, used & wrong, positions)
            used = used & ~wrong
        ticks, off_tick = self._ticks.units(events["px"])
        lots, off_lot = self._lots.units(events["qty"])
        priced = (kind == ADD) | (kind == MODIFY)
        for reason, wrong in (
            ("price_off_tick", priced & off_tick),
            ("quantity_off_lot", (priced | (kind == FILL)) & off_lot),
        ):
            self._unusable(reason, used & wrong, positions)
            used = used & ~wrong
        return translation.block(events[used], positions[used], kind[used], ticks[used], lots[used])

    def _unusable(self, reason: str, wrong: NDArray[Any], positions: NDArray[np.int64]) -> None:
        if wrong.any():
            self.summary.note_unusable(reason, int(positions[np.argmax(wrong)]), int(wrong.sum()))


class _Translation:
    """Turn events into messages, keeping what is left of each live order, and fills that wait."""

    def __init__(self, feed: HftBacktestFeed) -> None:
        self._feed = feed
        self._local = feed._clock == "local"  # noqa: SLF001 - its own part
        self._leaves: dict[int, int] = {}
        self._fills: dict[int, tuple[int, int]] = {}

    def block(
        self,
        events: Array,
        positions: NDArray[np.int64],
        kind: NDArray[np.int64],
        ticks: NDArray[np.int64],
        lots: NDArray[np.int64],
    ) -> FeedBlock:
        """Return the messages of events that can be used."""
        side = np.where((events["ev"] & np.uint64(BUY_EVENT)) != 0, 1, -1)
        said: list[tuple[int, int, int]] = []  # event, action, quantity
        columns = (kind.tolist(), events["order_id"].tolist(), lots.tolist(), positions.tolist())
        for index, (code, order_id, quantity, position) in enumerate(zip(*columns, strict=True)):
            for action, amount in self._messages(code, order_id, quantity, position):
                said.append((index, action, amount))
        at = np.array([row[0] for row in said], np.int64)
        messages = np.zeros(len(said), MESSAGE_DTYPE)
        messages["ts_event_ns"] = events["local_ts" if self._local else "exch_ts"][at]
        messages["action"] = [row[1] for row in said]
        messages["quantity_lots"] = [row[2] for row in said]
        for name, column in (("order_id", events["order_id"]), ("price_ticks", ticks)):
            messages[name] = column[at]
        messages["side"] = np.where(messages["action"] == Action.FEED_CLEAR, 0, side[at])
        flags = events["ival"][at]
        last = np.append(at[1:] != at[:-1], True) if len(at) else np.zeros(0, bool)
        messages["flags"] = np.where((flags & _DBN_SNAPSHOT) != 0, Flag.SNAPSHOT, 0)
        messages["flags"] |= np.where(last & ((flags & _DBN_LAST) != 0), Flag.LAST, 0).astype("u1")
        self._feed.summary.messages += len(said)
        nothing = np.zeros(len(said), np.int64)
        return FeedBlock(messages, positions[at], events["local_ts"][at], nothing)

    def finish(self) -> None:
        """Count the fills that no change of their order followed."""
        for _, position in self._fills.values():
            self._feed.summary.note_unusable("fill_without_change", position)

    def _messages(
        self, code: int, order_id: int, lots: int, position: int
    ) -> Iterator[tuple[int, int]]:
        leaves = self._leaves
        if code == FILL:
            waiting = self._fills.get(order_id, (0, position))
            self._fills[order_id] = (waiting[0] + lots, waiting[1])
            return
        if code == CLEAR:
            leaves.clear()
            self.finish()
            self._fills.clear()
            yield Action.FEED_CLEAR, 0
            return
        if code == ADD:
            leaves[order_id] = lots
            yield Action.FEED_ADD, lots
            return
        filled, _ = self._fills.pop(order_id, (0, 0)) if self._fills else (0, 0)
        left = leaves.get(order_id, 0)
        if filled and left:
            filled = min(filled, left)
            yield Action.FEED_EXECUTE, filled
            left -= filled
        if code == CANCEL:
            leaves.pop(order_id, None)
            if left or not filled:
                yield Action.FEED_DELETE, left
            return
        leaves[order_id] = lots
        if not filled or left != lots:
            # Filled to its end and changed to more: it is there again, behind all others.
            yield (Action.FEED_ADD if filled and not left else Action.FEED_MODIFY), lots


class Scale(NamedTuple):
    """A decimal unit as a fraction, to go from units to floats and back without a wrong one."""

    numerator: int
    denominator: int

    @classmethod
    def of(cls, name: str, unit: Decimal) -> "Scale":
        """Return the scale of a unit; `InvalidInput` where floats cannot hold it."""
        numerator, denominator = unit.as_integer_ratio()
        if max(numerator, denominator) > _EXACT_MAX:
            raise InvalidInput(f"{name}: {unit}; allowed: what a 64-bit float can hold")
        return cls(numerator, denominator)

    def floats(self, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return units as floats, each the nearest there is; exact products up to 2^53."""
        values: NDArray[np.float64] = units.astype(np.float64) * self.numerator / self.denominator
        return values

    def holds(self, units: int) -> bool:
        """Say whether so many units come back from a float as they were."""
        return units * self.numerator < _EXACT_MAX

    def units(self, values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return floats as whole units, and which of them are none (those are 0)."""
        with np.errstate(all="ignore"):
            exact = values * self.denominator / self.numerator
            near = np.rint(exact)
            wrong = ~((near >= 1) & (near < _EXACT_MAX))
            units = np.where(wrong, 0, near).astype(np.int64)
            # Large ones: the float itself is further than that from a whole multiple.
            wrong |= ~((np.abs(exact - near) <= _NEAR) | (self.floats(units) == values))
        return np.where(wrong, 0, units), wrong


def _bad_ids(order_ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = (order_ids == 0) | (order_ids > np.uint64(INT64_MAX))
    return wrong


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open the array in a `.npz`, or a `.npy`, and say how many bytes it has unpacked."""
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic != b"PK":
            yield file, max(1, path.stat().st_size)
            return
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if _MEMBER not in names:
                told = str(names[:5])[:200]
                raise InvalidInput(f"{path}: members {told}; allowed: {_MEMBER}")
            method = archive.getinfo(_MEMBER).compress_type
            if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise InvalidInput(f"{path}: compression {method}; allowed: stored, deflated")
            with archive.open(_MEMBER) as member:
                yield member, max(1, archive.getinfo(_MEMBER).file_size)


# -------------------------------------------------------------------------------------- writing


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write a feed as hftbacktest events, and return what they could not say, by reason.

    An execution is a FILL and the MODIFY to what is left, or the CANCEL. Times that go back are
    written as the latest before, on each clock: hftbacktest needs them in order. Numbers beyond
    what a float holds, and commands, are left out.
    """
    left_out: Counter[str] = Counter()
    events = path.with_name(path.name + ".npy")
    try:
        with events.open("w+b") as file:
            write_rows(file, EVENT_DTYPE, _events(feed, left_out))
            size = file.tell()
            file.seek(0)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                member = zipfile.ZipInfo(_MEMBER)
                member.compress_type = zipfile.ZIP_DEFLATED
                with archive.open(member, "w", force_zip64=size >= INT64_MAX >> 32) as target:
                    while piece := file.read(1 << 20):
                        target.write(piece)
    finally:
        events.unlink(missing_ok=True)
    return left_out


def _events(feed: Feed, left_out: Counter[str]) -> Iterator[Array]:
    ticks = Scale.of("tick_size", feed.instrument.tick_size)
    lots = Scale.of("lot_size", feed.instrument.lot_size)
    ledger = Ledger(left_out)
    exchange_ns = local_ns = 0
    for block in feed.blocks():
        said: list[tuple[int, int, int, int, int, int, int]] = []
        for row, recv_ns in zip(
            message_rows(block.messages), block.ts_recv_ns.tolist(), strict=True
        ):
            arrival_ns = max(recv_ns, row.ts_event_ns)
            if row.ts_event_ns < exchange_ns or arrival_ns < local_ns:
                left_out["time_out_of_order"] += 1
            exchange_ns = max(exchange_ns, row.ts_event_ns)
            local_ns = max(local_ns, arrival_ns)
            flags = _ival(row.flags)
            for kind, order_id, sign, price, quantity in _said(ledger, row):
                if not (ticks.holds(price) and lots.holds(quantity)):
                    left_out["beyond_a_float"] += 1
                    continue
                bits = EXCH_EVENT | LOCAL_EVENT | {1: BUY_EVENT, -1: SELL_EVENT, 0: 0}[sign]
                said.append((kind | bits, exchange_ns, local_ns, price, quantity, order_id, flags))
        yield _event_array(said, ticks, lots)


def _event_array(
    said: list[tuple[int, int, int, int, int, int, int]], ticks: Scale, lots: Scale
) -> Array:
    events = np.zeros(len(said), EVENT_DTYPE)
    if said:
        ev, exchange, local, price, quantity, order_id, flags = zip(*said, strict=True)
        events["ev"], events["exch_ts"], events["local_ts"] = ev, exchange, local
        events["px"] = ticks.floats(np.array(price, np.int64))
        events["qty"] = lots.floats(np.array(quantity, np.int64))
        events["order_id"], events["ival"] = order_id, flags
    return events


def _ival(flags: int) -> int:
    return (_DBN_LAST if flags & Flag.LAST else 0) | (_DBN_SNAPSHOT if flags & Flag.SNAPSHOT else 0)


def _said(ledger: Ledger, row: Row) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (kind, order id, side, price, quantity) of the events that say what a message says."""
    if row.action == Action.FEED_CLEAR:
        ledger.clear()
        yield CLEAR, 0, 0, 0, 0
        return
    change = ledger.change(row)
    if change is None:
        return
    if change.action == Action.FEED_ADD:
        yield _event(ADD, change, change.quantity_lots)
        return
    if change.action == Action.FEED_EXECUTE:
        yield _event(FILL, change, change.quantity_lots)
    if change.leaves:
        yield _event(MODIFY, change, change.leaves)
    else:
        yield _event(CANCEL, change, change.quantity_lots)


def _event(kind: int, change: Change, lots: int) -> tuple[int, int, int, int, int]:
    return kind, change.order_id, change.side_sign, change.price_ticks, lots

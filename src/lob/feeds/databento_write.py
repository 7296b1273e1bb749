"""Write any feed as Databento's market-by-order schema: DBN where the name says so, else CSV.

An execution is written as Nasdaq's are: T of the aggressor's side, F, and the C that takes the lots
off. `.zst` and `.gz` endings compress; Zstandard needs `pyarrow`.
"""

import gzip
import importlib
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from lob.errors import ConfigError, InvalidInput
from lob.feeds import dbn
from lob.feeds.base import Feed, FeedBlock
from lob.feeds.databento_csv import MBO_COLUMNS
from lob.feeds.databento_orders import ADD, ASK, BID, CANCEL, CLEAR, FILL, MODIFY, NO_SIDE, TRADE
from lob.messages import Action, Array, Flag
from lob.types import INT64_MAX, Instrument

_MAX_SIZE: Final = 2**32 - 2
_VERSION: Final = 2
_SYMBOL_BYTES: Final = 71
_SCHEMA_NUMBERS: Final = {name: number for number, name in dbn.SCHEMAS.items()}
_DATASET: Final = b"XNAS.ITCH"
_NEVER: Final = 2**64 - 1
_RAW_SYMBOL, _INSTRUMENT_ID = 1, 0
_FIRST_DAY, _LAST_DAY = 19700101, 22620101
_INSTRUMENT: Final = 1
_HEADER: Final = (*(c.name for c in MBO_COLUMNS), "symbol")

_Said = tuple[int, int, int, int, int]
_Row = tuple[int, int, int, int, int, int, int, int, int]


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write a feed, and return by reason how many messages the schema cannot say.

    Those are commands, messages of orders that are not there, prices that are no whole units of
    1e-9, and sizes that are no whole units or do not fit in 32 bits.
    """
    recorder = _Recorder(feed.instrument)
    name = path.name.lower()
    symbol = feed.instrument.symbol
    with _open(path) as file:
        if name.removesuffix(".zst").removesuffix(".gz").endswith(".dbn"):
            file.write(dbn_metadata("mbo", symbol))
            for block in feed.blocks():
                file.write(recorder.rows(block).tobytes())
        else:
            file.write((",".join(_HEADER) + "\n").encode())
            for block in feed.blocks():
                file.write(csv_lines(recorder.rows(block), symbol).encode())
    return recorder.left_out


def dbn_metadata(schema: str, symbol: str = "X", instrument_id: int = _INSTRUMENT) -> bytes:
    """Return what comes before the records of a file of one instrument (DBN version 2).

    Raises:
        InvalidInput: the symbol is not ASCII or does not fit in 70 bytes; an unknown schema.
    """
    raw = symbol.encode("ascii", "replace")
    if len(raw) >= _SYMBOL_BYTES or raw.decode() != symbol:
        raise InvalidInput(f"symbol: {symbol!r}; allowed: {_SYMBOL_BYTES - 1} ASCII letters")
    if schema not in _SCHEMA_NUMBERS:
        raise InvalidInput(f"schema: {schema!r}; allowed: {', '.join(_SCHEMA_NUMBERS)}")

    def text(value: bytes) -> bytes:
        return value.ljust(_SYMBOL_BYTES, b"\0")

    fixed = struct.pack(
        "<16sHQQQBBBH53x",
        _DATASET,
        _SCHEMA_NUMBERS[schema],
        0,
        _NEVER,
        0,
        _RAW_SYMBOL,
        _INSTRUMENT_ID,
        0,
        _SYMBOL_BYTES,
    )
    tables = struct.pack("<II", 0, 1) + text(raw) + struct.pack("<II", 0, 0)
    mapping = struct.pack("<I", 1) + text(raw) + struct.pack("<III", 1, _FIRST_DAY, _LAST_DAY)
    body = fixed + tables + mapping + text(str(instrument_id).encode())
    return dbn.MAGIC + struct.pack("<BI", _VERSION, len(body)) + body


def csv_lines(rows: Array, symbol: str) -> str:
    """Return records as lines of CSV, in the columns of `MBO_COLUMNS` and the symbol."""
    letters = {"action", "side"}
    columns = [
        map(chr, rows[c.name].tolist()) if c.name in letters else map(str, rows[c.name].tolist())
        for c in MBO_COLUMNS
    ]
    return "".join(f"{','.join(fields)},{symbol}\n" for fields in zip(*columns, strict=True))


class _Recorder:
    """Turn messages into records; knows of each live order its side, price and leaves."""

    def __init__(self, instrument: Instrument) -> None:
        self.left_out: Counter[str] = Counter()
        self._orders: dict[int, tuple[int, int, int]] = {}
        self._units = _whole(instrument.tick_size * dbn.PRICE_UNITS, "tick_size")
        self._lot = _whole(instrument.lot_size, "lot_size")
        self._sequence = 0

    def rows(self, block: FeedBlock) -> Array:
        """Return a block's messages as records."""
        made: list[_Row] = []
        columns = (
            block.messages[name].tolist()
            for name in ("action", "side", "order_id", "price_ticks", "quantity_lots", "flags")
        )
        times = zip(
            block.messages["ts_event_ns"].tolist(),
            block.ts_recv_ns.tolist(),
            block.sequences.tolist(),
            strict=True,
        )
        for (event_ns, recv_ns, sequence), fields in zip(
            times, zip(*columns, strict=True), strict=True
        ):
            self._sequence = sequence or self._sequence + 1
            said = self._said(*fields)
            if isinstance(said, str):
                self.left_out[said] += 1
                if made and fields[-1] & Flag.LAST:
                    made[-1] = (*made[-1][:5], made[-1][5] | dbn.F_LAST, *made[-1][6:])
                continue
            flags = dbn.F_SNAPSHOT if fields[-1] & Flag.SNAPSHOT else 0
            last = dbn.F_LAST if fields[-1] & Flag.LAST else 0
            number = self._sequence & (2**32 - 1)
            for at, record in enumerate(said, 1):
                ends = last if at == len(said) else 0
                made.append((*record, flags | ends, event_ns, recv_ns or event_ns, number))
        rows = np.zeros(len(made), dbn.MBO_DTYPE)
        rows["length"], rows["rtype"] = dbn.MBO_DTYPE.itemsize // 4, dbn.MBO_RTYPE
        rows["publisher_id"], rows["instrument_id"] = 1, _INSTRUMENT
        names = ("action", "side", "price", "size", "order_id", "flags", "ts_event", "ts_recv",
                 "sequence")  # fmt: skip
        for name, values in zip(names, zip(*made, strict=True), strict=False):
            rows[name] = values
        return rows

    def _said(
        self, action: int, side: int, order_id: int, ticks: int, lots: int, _flags: int
    ) -> list[_Said] | str:
        """Return action, side, price, size and id of each record, or why there is none."""
        if action == Action.FEED_CLEAR:
            self._orders.clear()
            return [(CLEAR, NO_SIDE, dbn.UNDEF_PRICE, 0, 0)]
        if action == Action.FEED_ADD or action not in _ON_ORDERS:
            if action != Action.FEED_ADD or order_id in self._orders:
                return "command" if action != Action.FEED_ADD else "order that is there already"
            return self._placed(ADD, BID if side > 0 else ASK, order_id, ticks, lots)
        if order_id not in self._orders:
            return "order that is not there"
        if action == Action.FEED_MODIFY:
            return self._placed(MODIFY, self._orders[order_id][0], order_id, ticks, lots)
        return self._taken(action, order_id, lots * self._lot)

    def _placed(
        self, action: int, letter: int, order_id: int, ticks: int, lots: int
    ) -> list[_Said] | str:
        price, size = ticks * self._units, lots * self._lot
        if not (0 < price <= INT64_MAX and 0 < size <= _MAX_SIZE):
            return "price or size beyond the schema"
        self._orders[order_id] = (letter, price, size)
        return [(action, letter, price, size, order_id)]

    def _taken(self, action: int, order_id: int, size: int) -> list[_Said] | str:
        letter, price, left = self._orders[order_id]
        if action == Action.FEED_DELETE:
            size = left
        if not 0 < size <= left:
            return "more lots than the order has"
        if size == left:
            del self._orders[order_id]
        else:
            self._orders[order_id] = (letter, price, left - size)
        cancel = (CANCEL, letter, price, size, order_id)
        if action != Action.FEED_EXECUTE:
            return [cancel]
        taker = ASK if letter == BID else BID
        fill = (FILL, letter, price, size, order_id)
        return [(TRADE, taker, price, size, 0), fill, cancel]


_ON_ORDERS: Final = frozenset(
    (Action.FEED_MODIFY, Action.FEED_DELETE, Action.FEED_REDUCE, Action.FEED_EXECUTE)
)


def _whole(value: Decimal, name: str) -> int:
    if value != int(value):
        raise InvalidInput(f"{name}: {value} units; allowed: whole ones in this schema")
    return int(value)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a file to write, compressed as its ending says."""
    ending = path.suffix.lower()
    try:
        with path.open("wb") as raw:
            if ending not in _COMPRESSORS:
                yield raw
                return
            with _COMPRESSORS[ending](raw) as file:
                yield file
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error


def _gzip(raw: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=raw, mode="wb", mtime=0)


def _zstd(raw: IO[bytes]) -> Any:
    try:
        arrow = importlib.import_module("pyarrow")
    except ImportError as error:
        raise ConfigError("pyarrow: not installed; needed to write zstd") from error
    return arrow.CompressedOutputStream(raw, "zstd")


_COMPRESSORS: Final[dict[str, Callable[[IO[bytes]], Any]]] = {".gz": _gzip, ".zst": _zstd}

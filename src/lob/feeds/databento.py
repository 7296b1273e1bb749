"""Read Databento market-by-order files: DBN and CSV, plain, gzip or Zstandard.

What the records mean is in `lob.feeds.databento_orders`; here is which of them are read: those of
one instrument of one publisher. A file of several needs to be told which.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds import dbn
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock, Progress
from lob.feeds.databento_csv import MBO_COLUMNS, Column, CsvRecords, is_header
from lob.feeds.databento_orders import ADD, MODIFY, Translator
from lob.feeds.databento_write import write
from lob.feeds.streams import ByteStream, first_bytes, open_stream
from lob.messages import Array
from lob.types import AssetClass, Instrument

__all__ = ["MBO", "DatabentoFeed", "RecordFile", "Schema", "write"]

_HEAD_BYTES: Final = 8_192
_SCAN_ROWS: Final = 1 << 18
TICK_RECORDS: Final = 1 << 24
"""How many records are read to find the tick: those of a busy day; no file takes longer."""
_LISTED: Final = 10
_FUTURES: Final = frozenset((1,))
"""The publishers of futures: CME Globex."""


class Schema(NamedTuple):
    """What to read of a file: the schema's name, its record in binary, its columns in text."""

    name: str
    dtype: np.dtype[Any]
    rtype: int
    columns: tuple[Column, ...]


MBO: Final = Schema("mbo", dbn.MBO_DTYPE, dbn.MBO_RTYPE, MBO_COLUMNS)


class RecordFile:
    """The records of one schema and one instrument of an open file.

    `others` counts what was left out: records of other types and of other instruments.
    """

    def __init__(
        self,
        stream: ByteStream,
        schema: Schema,
        *,
        symbol: str | None = None,
        instrument_id: int | None = None,
        publisher_id: int | None = None,
    ) -> None:
        self.path = stream.path
        self.others: Counter[str] = Counter()
        self.mappings: tuple[dbn.Mapping, ...] = ()
        self._stream = stream
        self._schema = schema
        self._symbol = symbol
        self._csv: CsvRecords | None = None
        if stream.peek(3) == dbn.MAGIC:
            metadata = dbn.read_metadata(stream)
            if metadata.schema not in (None, schema.name):
                raise InvalidInput(f"{self.path}: schema {metadata.schema}; allowed: {schema.name}")
            self.mappings = metadata.mappings
        else:
            self._csv = CsvRecords(stream, schema.dtype, schema.columns, symbol=symbol)
        self._wanted = self._chosen(instrument_id)
        self._told = self._wanted is not None
        self._publisher_id = publisher_id
        self._publisher_told = publisher_id is not None

    @property
    def left_out(self) -> int:
        """Return how many records were left out so far."""
        return self.others.total() + (0 if self._csv is None else self._csv.others.total())

    def read(
        self, block_rows: int, after_each: Callable[[], None] | None = None
    ) -> Iterator[dbn.Records]:
        """Yield the records, about `block_rows` at a time.

        `after_each` is called after each block of the file, also where all of it is left out.

        Raises:
            InvalidInput: what cannot be a record; several instruments or publishers and no choice
                among them; a symbol or instrument that is not there.
        """
        schema, found = self._schema, False
        if self._csv is None:
            source = dbn.read_records(
                self._stream, schema.dtype, schema.rtype, block_rows, self.others
            )
        else:
            source = self._csv.read(block_rows)
        for records in source:
            if after_each is not None:
                after_each()
            kept = self._kept(records)
            found = found or len(kept.rows) > 0
            if len(kept.rows):
                yield kept
        if self._csv is not None:
            self.others.update(self._csv.others)
        if not found and self.others["other instrument"]:
            wanted = self._symbol or " ".join(str(number) for number in self._wanted or ())
            raise InvalidInput(f"{self.path}: nothing of {wanted}; allowed: {self._listed()}")
        if not found and self.others["other publisher"]:
            raise InvalidInput(f"{self.path}: nothing of publisher {self._publisher_id}")

    def symbol_of(self, instrument_id: int) -> str:
        """Return an instrument's symbol as the file has it, else its number."""
        for mapping in self.mappings:
            if mapping.instrument_id == instrument_id and mapping.symbol:
                return mapping.symbol
        named = {} if self._csv is None else self._csv.symbols
        return named.get(instrument_id) or str(instrument_id)

    def _chosen(self, instrument_id: int | None) -> frozenset[int] | None:
        if instrument_id is not None:
            return frozenset((instrument_id,))
        symbol = self._symbol
        if symbol is None:
            return None
        named = frozenset(m.instrument_id for m in self.mappings if m.symbol == symbol)
        if named:
            return named
        if symbol.isdecimal():
            return frozenset((int(symbol),))
        if self.mappings:
            raise InvalidInput(
                f"symbol: {symbol!r} is not in {self.path}; allowed: {self._listed()}"
            )
        return None  # nothing in the file names its instruments: it must have one only

    def _kept(self, records: dbn.Records) -> dbn.Records:
        """Leave out other instruments, or refuse them where nothing said which one is wanted."""
        rows, positions = records
        if self._csv is not None and self._csv.chose_symbol:
            return self._of_one_publisher(rows, positions)
        ids = rows["instrument_id"]
        if self._wanted is None:
            self._wanted = self._same_symbol(int(ids[0]))
        keep = np.isin(ids, list(self._wanted))
        while not (self._told or keep.all()):
            other = int(ids[np.argmin(keep)])
            if self._wanted.isdisjoint(self._same_symbol(other)):
                listed = self._listed(*self._wanted, *np.unique(ids[~keep])[:_LISTED].tolist())
                raise InvalidInput(
                    f"{self.path}:{positions[np.argmin(keep)]}: several instruments; "
                    f"allowed (symbol=): {listed}"
                )
            self._wanted |= {other}
            keep |= ids == other
        keep &= self._in_time(rows)
        if not keep.all():
            self.others["other instrument"] += len(keep) - int(keep.sum())
            rows, positions = dbn.pick(dbn.Records(rows, positions), keep)
        return self._of_one_publisher(rows, positions)

    def _same_symbol(self, instrument_id: int) -> frozenset[int]:
        """Return the numbers that this one's symbol has, on whatever day, by what the file says."""
        symbols = {m.symbol for m in self.mappings if m.instrument_id == instrument_id}
        same = {m.instrument_id for m in self.mappings if m.symbol in symbols}
        named = {} if self._csv is None else self._csv.symbols
        name = named.get(instrument_id)
        if name is not None:
            same |= {number for number, other in named.items() if other == name}
        return frozenset(same | {instrument_id})

    def _in_time(self, rows: Array) -> NDArray[np.bool_]:
        """Say which rows are of the days on which their number was the chosen symbol's."""
        mine = [m for m in self.mappings if m.symbol == self._symbol]
        others = {m.instrument_id for m in self.mappings if m.symbol != self._symbol}
        within = np.ones(len(rows), bool)
        if others.isdisjoint(m.instrument_id for m in mine):
            return within
        within[:] = False
        for mapping in mine:
            within |= (
                (rows["instrument_id"] == mapping.instrument_id)
                & (rows["ts_recv"] >= mapping.start_ns)
                & (rows["ts_recv"] < mapping.end_ns)
            )
        return within

    def _of_one_publisher(self, rows: Array, positions: NDArray[np.int64]) -> dbn.Records:
        publishers = rows["publisher_id"]
        if self._publisher_id is None and len(rows):
            self._publisher_id = int(publishers[0])
        keep = publishers == self._publisher_id
        if not keep.all():
            if not self._publisher_told:
                listed = ", ".join(str(number) for number in np.unique(publishers)[:_LISTED])
                raise InvalidInput(
                    f"{self.path}:{positions[np.argmin(keep)]}: several publishers; "
                    f"allowed (publisher_id=, --publisher): {listed}"
                )
            self.others["other publisher"] += len(keep) - int(keep.sum())
            rows, positions = dbn.pick(dbn.Records(rows, positions), keep)
        return dbn.Records(rows, positions)

    def _listed(self, *numbers: int) -> str:
        """Return the instruments that may be asked for, those that the file names and these."""
        names = list(dict.fromkeys(mapping.symbol for mapping in self.mappings))
        if self._csv is not None:
            names += [self.symbol_of(number) for number in self._csv.symbols]
        names += [self.symbol_of(number) for number in dict.fromkeys(numbers)]
        names = list(dict.fromkeys(names))
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return (", ".join(names[:_LISTED]) or "none") + more


class DatabentoFeed(Feed):
    """Read a market-by-order file of one instrument.

    `symbol` (or an `instrument_id`; digits as a symbol are one as well) chooses among several,
    `publisher_id` among several publishers. `positions` count records of DBN, lines of CSV.
    """

    format = "databento"

    def __init__(
        self,
        path: str | Path,
        instrument: Instrument,
        *,
        symbol: str | None = None,
        instrument_id: int | None = None,
        publisher_id: int | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        super().__init__(path, instrument, block_rows=block_rows)
        self._choice: dict[str, Any] = {
            "symbol": symbol,
            "instrument_id": instrument_id,
            "publisher_id": publisher_id,
        }

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:
        """Say whether it is DBN, or text whose first line has the columns of the mbo schema."""
        begin = first_bytes(path, head, _HEAD_BYTES)
        return begin.startswith(dbn.MAGIC) or is_header(begin.partition(b"\n")[0])

    @classmethod
    def default_instrument(
        cls,
        path: str | Path,
        *,
        symbol: str | None = None,
        instrument_id: int | None = None,
        publisher_id: int | None = None,
        progress: Progress | None = None,
    ) -> Instrument:
        """Return an instrument whose tick is the largest that all prices of orders are whole in.

        Reads the file once, up to `TICK_RECORDS` records and until one is the instrument's: a later
        price in between its ticks is counted as `price off the tick`. Lots are whole units of size.
        `progress(done, total)` is told in bytes. Raises as reading does, and `InvalidInput` where
        there is no price.
        """
        choice = {"symbol": symbol, "instrument_id": instrument_id, "publisher_id": publisher_id}
        with _open(Path(path), MBO, **choice) as (file, stream):
            tick_units, first, publisher, records = 0, None, 0, 0
            total = Path(path).stat().st_size
            tell = None if progress is None else lambda: progress(stream.bytes_done, total)
            for rows, _ in file.read(_SCAN_ROWS, tell):
                if first is None:
                    first, publisher = int(rows["instrument_id"][0]), int(rows["publisher_id"][0])
                placed = (rows["action"] == ADD) | (rows["action"] == MODIFY)
                prices = rows["price"][placed]
                prices = prices[(prices > 0) & (prices != dbn.UNDEF_PRICE)]
                if len(prices) and (not tick_units or (prices % tick_units).any()):
                    tick_units = int(np.gcd(tick_units, np.gcd.reduce(prices)))
                records += len(rows)
                if tick_units and records + file.left_out >= TICK_RECORDS:
                    break
            if first is None or not tick_units:
                raise InvalidInput(f"{path}: no price of an order; allowed: an Instrument")
            return Instrument(
                symbol=file.symbol_of(first) if symbol is None else symbol,
                asset_class=_asset_class(publisher),
                tick_size=Decimal(tick_units).scaleb(-9).normalize() + Decimal(0),
                lot_size=Decimal(1),
            )

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the messages of at most `block_rows` records at a time, events whole if they fit.

        Raises:
            InvalidInput: what cannot be a record, several instruments or publishers and no choice
                among them, or a symbol that is not there; names file and position.
        """
        self.restart()
        summary = self.summary
        translator = Translator(self.path, self.instrument, summary)
        with _open(self.path, MBO, **self._choice) as (file, stream):
            held: dbn.Records | None = None
            for records in file.read(self.block_rows):
                held = records if held is None else dbn.join((held, records))
                while len(held.rows) > self.block_rows:
                    cut = _end_of_events(held.rows, self.block_rows)
                    yield self._block(translator, held.rows[:cut], held.positions[:cut])
                    held = dbn.Records(held.rows[cut:], held.positions[cut:])
                self.bytes_done = stream.bytes_done
            if held is not None and len(held.rows):
                yield self._block(translator, *held)
            self.bytes_done = self.bytes_total
            for reason, count in file.others.items():
                summary.records += count
                summary.note_unusable(reason, 0, count)

    def _block(
        self, translator: Translator, rows: Array, positions: NDArray[np.int64]
    ) -> FeedBlock:
        block = translator.block(rows, positions)
        self.summary.records += len(rows)
        self.summary.messages += len(block.messages)
        return block


@contextmanager
def _open(path: Path, schema: Schema, **choice: Any) -> Iterator[tuple[RecordFile, ByteStream]]:
    with open_stream(path) as stream:
        yield RecordFile(stream, schema, **choice), stream


def _end_of_events(rows: Array, most: int) -> int:
    """Return where the last whole event ends; an event that is larger than all rows is cut.

    Events that cannot be told from one another by their times and sequence stay together as well,
    if they fit: a record of the venue's depth is of the last of them.
    """
    ends = np.flatnonzero(rows["flags"][:most] & dbn.F_LAST) + 1
    if not len(ends):
        return most
    told_apart = np.zeros(len(ends), bool)
    for name in ("ts_recv", "ts_event", "sequence"):
        told_apart |= rows[name][ends] != rows[name][ends - 1]
    return int(ends[told_apart][-1] if told_apart.any() else ends[-1])


def _asset_class(publisher_id: int) -> AssetClass:
    return AssetClass.FUTURES if publisher_id in _FUTURES else AssetClass.EQUITY

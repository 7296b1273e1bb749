"""Read Databento's CSV encoding into the same arrays as its binary one.

A header line names the columns, in any order; columns that are not needed (a symbol, say) may be
there. Prices are whole units of 1e-9 or decimals, times are nanoseconds or ISO 8601, as the options
`pretty_px` and `pretty_ts` of Databento's downloads have it. `pyarrow` reads the lines.
"""

import importlib
import io
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import ConfigError, InvalidInput
from lob.feeds.dbn import F_LAST, MBO_DTYPE, UNDEF_PRICE, Records
from lob.feeds.streams import ByteStream
from lob.messages import Array

MAX_LINE_BYTES: Final = 65_536
_CHUNK_BYTES: Final = 1 << 23
_INT64_MAX: Final = 2**63 - 1
_ROW: Final = re.compile(r"Row #(\d+):? ?")
_PRICE_DIGITS: Final = 38
_PRICE_PLACES: Final = 9


class Column(NamedTuple):
    """A column of a file and the field of a record that it fills; `kind` says what it holds."""

    name: str
    field: str
    kind: str
    required: bool = False
    level: int | None = None


MBO_COLUMNS: Final = (
    Column("rtype", "rtype", "u1"),
    Column("publisher_id", "publisher_id", "u2"),
    Column("instrument_id", "instrument_id", "u4"),
    Column("ts_event", "ts_event", "time", required=True),
    Column("ts_recv", "ts_recv", "time"),
    Column("action", "action", "letter", required=True),
    Column("side", "side", "letter", required=True),
    Column("price", "price", "price", required=True),
    Column("size", "size", "u4", required=True),
    Column("channel_id", "channel_id", "u1"),
    Column("order_id", "order_id", "u8", required=True),
    Column("flags", "flags", "u1"),
    Column("sequence", "sequence", "u4"),
)


def mbp_columns(levels: int) -> tuple[Column, ...]:
    """Return the columns of a market-by-price file, `bid_px_00` and so on included."""
    left_out = ("channel_id", "order_id", "price", "size", "side")
    plain = tuple(column for column in MBO_COLUMNS if column.name not in left_out)
    return plain + tuple(
        Column(f"{field}_{level:02d}", field, kind, required=True, level=level)
        for level in range(levels)
        for field, kind in (
            ("bid_px", "price"),
            ("ask_px", "price"),
            ("bid_sz", "u4"),
            ("ask_sz", "u4"),
            ("bid_ct", "u4"),
            ("ask_ct", "u4"),
        )
    )


def is_header(line: bytes, columns: tuple[Column, ...] = MBO_COLUMNS) -> bool:
    """Say whether a file's first line names all the columns that a schema needs."""
    names = set(line.decode("ascii", "replace").strip().split(","))
    return all(column.name in names for column in columns if column.required)


class CsvRecords:
    """Read records of one schema from the lines of a file.

    `symbols` holds, by instrument id, the names of the `symbol` column where there is one. With a
    `symbol` that is not a number the rows of others are left out and counted in `others`;
    `chose_symbol` says whether that is so.
    """

    def __init__(
        self,
        stream: ByteStream,
        dtype: np.dtype[Any] = MBO_DTYPE,
        columns: tuple[Column, ...] = MBO_COLUMNS,
        *,
        symbol: str | None = None,
    ) -> None:
        self.others: Counter[str] = Counter()
        self.symbols: dict[int, str] = {}
        self._stream = stream
        self._dtype = dtype
        self._wanted = columns
        self._symbol = symbol
        self._arrow, self._csv = _pyarrow(stream)
        self._lines = _line_chunks(stream)
        _, header = next(self._lines, (1, b""))
        self._names = header.decode("ascii", "replace").strip().split(",")
        missing = [c.name for c in columns if c.required and c.name not in self._names]
        if missing:
            raise InvalidInput(
                f"{stream.path}:1: header without {', '.join(missing[:5])}; "
                f"allowed: {', '.join(c.name for c in columns if c.required)[:200]}"
            )
        twice = [name for name, count in Counter(self._names).items() if count > 1]
        if twice:
            raise InvalidInput(f"{stream.path}:1: header names {twice[0]!r} twice")
        self.chose_symbol = (
            symbol is not None and not symbol.isdecimal() and "symbol" in self._names
        )
        self._columns = tuple(c for c in columns if c.name in self._names)
        self._types: dict[str, Any] = {}

    def read(self, block_rows: int) -> Iterator[Records]:
        """Yield the rows, at most `block_rows` at a time; positions are line numbers.

        Raises:
            InvalidInput: a line cannot be read; names file, line and column.
        """
        for first_line, chunk in self._lines:
            table = self._table(first_line, chunk)
            rows = np.zeros(len(table), self._dtype)
            for column in self._columns:
                target = rows if column.level is None else rows["levels"][:, column.level]
                values = self._values(table[column.name], column, first_line)
                target[column.field] = values
            if "flags" not in self._names:
                rows["flags"] = F_LAST  # nothing says where an event ends: each row is one
            positions = np.arange(first_line, first_line + len(rows), dtype=np.int64)
            keep = self._keep(table, rows)
            if keep is not None:
                self.others["other instrument"] += len(rows) - int(keep.sum())
                rows, positions = rows[keep], positions[keep]
            for begin in range(0, len(rows), block_rows):
                part = slice(begin, begin + block_rows)
                yield Records(rows[part], positions[part])

    def _table(self, first_line: int, chunk: bytes) -> Any:
        if not self._types:
            self._types = self._guess(chunk)
        csv = self._csv
        try:
            return csv.read_csv(
                io.BytesIO(chunk),
                csv.ReadOptions(
                    column_names=self._names, use_threads=False, block_size=len(chunk) + 1
                ),
                csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
                csv.ConvertOptions(
                    column_types=self._types,
                    include_columns=list(self._types),
                    null_values=[""],
                    strings_can_be_null=True,
                    check_utf8=True,
                ),
            )
        except self._arrow.ArrowInvalid as error:
            text = str(error)
            found = _ROW.search(text)
            line = first_line + (int(found[1]) - 1 if found else 0)
            text = _ROW.sub("", self._named(text)).removeprefix("CSV parse error: ")
            raise InvalidInput(f"{self._stream.path}:{line}: {text[:200]}") from error

    def _named(self, text: str) -> str:
        """Return pyarrow's words with the column's name for its number."""
        found = re.search(r"In CSV column #(\d+): ", text)
        if found is None:
            return text
        return text.replace(found[0], f"{self._names[int(found[1])]}: ")

    def _guess(self, chunk: bytes) -> dict[str, Any]:
        """Return a type for each column: prices and times are as the first ones written are."""
        pa = self._arrow
        plain = {"u1": pa.uint8(), "u2": pa.uint16(), "u4": pa.uint32(), "u8": pa.uint64()}
        types: dict[str, Any] = {}
        decimal = False
        for column in self._columns:
            if column.kind in plain:
                types[column.name] = plain[column.kind]
            elif column.kind == "letter":
                types[column.name] = pa.string()
            elif column.kind == "time":
                types[column.name] = self._time_type(self._first(chunk, column.name))
            else:
                decimal = decimal or b"." in self._first(chunk, column.name)
        price = pa.decimal128(_PRICE_DIGITS, _PRICE_PLACES) if decimal else pa.int64()
        types |= {c.name: price for c in self._columns if c.kind == "price"}
        if "symbol" in self._names:
            types["symbol"] = pa.string()
        return types

    def _first(self, chunk: bytes, name: str) -> bytes:
        """Return the first value written in a column."""
        index = self._names.index(name)
        for line in io.BytesIO(chunk):
            fields = line.rstrip(b"\r\n").split(b",")
            if index < len(fields) and fields[index]:
                return fields[index]
        return b""

    def _time_type(self, text: bytes) -> Any:
        pa = self._arrow
        if text.isdigit() or not text:
            return pa.uint64()
        zoned = re.search(rb"(?:Z|[+-]\d\d:?\d\d)$", text) is not None
        return pa.timestamp("ns", "UTC") if zoned else pa.timestamp("ns")

    def _values(self, chunked: Any, column: Column, first_line: int) -> NDArray[Any]:
        array = chunked.combine_chunks()
        if column.kind == "price":
            return self._prices(array, column, first_line)
        if array.null_count:
            if column.kind != "time":
                self._refuse(array.is_null(), column, first_line, "''", "a value")
            array = array.cast(self._arrow.int64()).fill_null(0)
        if column.kind == "letter":
            return self._letters(array, column, first_line)
        if column.kind == "time" and array.type != self._arrow.uint64():
            array = array.cast(self._arrow.int64())
        values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
        return values

    def _letters(self, array: Any, column: Column, first_line: int) -> NDArray[Any]:
        offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
        wrong = np.diff(offsets) != 1
        if wrong.any():
            text = array[int(np.argmax(wrong))].as_py()
            self._refuse(wrong, column, first_line, repr(text), "one letter")
        if not len(array):
            return np.zeros(0, np.uint8)
        return np.frombuffer(array.buffers()[2], np.uint8, len(array), int(offsets[0]))

    def _prices(self, array: Any, column: Column, first_line: int) -> NDArray[Any]:
        """Return units of 1e-9; a price that is not there is as Databento writes it in binary."""
        there = array.is_valid().to_numpy(zero_copy_only=False)
        if array.type == self._arrow.int64():
            return np.asarray(array.fill_null(UNDEF_PRICE).to_numpy(zero_copy_only=False))
        halves = np.frombuffer(array.buffers()[1], np.int64, 2 * len(array), 16 * array.offset)
        low, high = halves[0::2], halves[1::2]
        wrong = there & (high != low >> 63)
        if wrong.any():
            text = str(array[int(np.argmax(wrong))].as_py())
            limit = f"units of 1e-9 up to {_INT64_MAX}"
            self._refuse(wrong, column, first_line, text, limit)
        return np.where(there, low, UNDEF_PRICE)

    def _refuse(
        self, wrong: Any, column: Column, first_line: int, value: str, allowed: str
    ) -> None:
        row = int(np.argmax(np.asarray(wrong)))
        line = first_line + row
        raise InvalidInput(
            f"{self._stream.path}:{line}: {column.name}: {value[:80]}; allowed: {allowed}"
        )

    def _keep(self, table: Any, rows: Array) -> NDArray[np.bool_] | None:
        """Note which symbol is which instrument, and say which rows are the one that is wanted."""
        if "symbol" not in self._names or not len(rows):
            return None
        coded = table["symbol"].combine_chunks().dictionary_encode()
        names = ["" if name is None else str(name) for name in coded.dictionary.to_pylist()]
        codes = coded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
        if "instrument_id" in self._names:
            for code, name in enumerate(names):
                first = int(rows["instrument_id"][np.argmax(codes == code)])
                self.symbols.setdefault(first, name)
        if not self.chose_symbol:
            return None
        wanted = names.index(self._symbol) if self._symbol in names else -1
        keep: NDArray[np.bool_] = codes == wanted
        return keep


def _pyarrow(stream: ByteStream) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.csv")
    except ImportError as error:
        raise ConfigError(f"pyarrow: not installed; needed to read {stream.path}") from error


def _line_chunks(stream: ByteStream) -> Iterator[tuple[int, bytes]]:
    """Yield the header line, then whole lines in pieces, each with the number of its first line."""
    rest, line = b"", 1
    while chunk := stream.read(_CHUNK_BYTES):
        whole, feed, rest = (rest + chunk).rpartition(b"\n")
        whole += feed
        if line == 1 and whole:
            header, _, whole = whole.partition(b"\n")
            yield 1, header
            line = 2
        if whole:
            yield line, whole
            line += whole.count(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise InvalidInput(f"{stream.path}:{line}: longer than {MAX_LINE_BYTES} bytes")
    if rest:
        yield line, rest

"""Read Databento Binary Encoding: metadata, then records of one length after another.

Layout as in Databento's `dbn` library, versions 1 to 3 (databento.com/docs, "Databento Binary
Encoding"): little-endian, "DBN", a version byte, the length of the metadata and the metadata; then
records that begin with their length in words of four bytes and their type. Records are looked at as
arrays where they lie: none becomes a Python object.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.streams import ByteStream
from lob.messages import Array

MAGIC: Final = b"DBN"
VERSIONS: Final = (1, 2, 3)
UNDEF_PRICE: Final = 2**63 - 1
PRICE_UNITS: Final = 1_000_000_000
"""A price counts units of 1e-9."""

F_LAST: Final = 128
F_TOB: Final = 64
F_SNAPSHOT: Final = 32
F_MBP: Final = 16
F_BAD_TS_RECV: Final = 8
F_MAYBE_BAD_BOOK: Final = 4

MBO_RTYPE: Final = 160
_HEADER: Final = [
    ("length", "u1"),
    ("rtype", "u1"),
    ("publisher_id", "<u2"),
    ("instrument_id", "<u4"),
    ("ts_event", "<u8"),
]
MBO_DTYPE: Final = np.dtype(
    [
        *_HEADER,
        ("order_id", "<u8"),
        ("price", "<i8"),
        ("size", "<u4"),
        ("flags", "u1"),
        ("channel_id", "u1"),
        ("action", "u1"),
        ("side", "u1"),
        ("ts_recv", "<u8"),
        ("ts_in_delta", "<i4"),
        ("sequence", "<u4"),
    ]
)
"""One market-by-order record, 56 bytes; `action` and `side` are ASCII letters."""

_LEVEL: Final = np.dtype(
    [
        ("bid_px", "<i8"),
        ("ask_px", "<i8"),
        ("bid_sz", "<u4"),
        ("ask_sz", "<u4"),
        ("bid_ct", "<u4"),
        ("ask_ct", "<u4"),
    ]
)


def mbp_dtype(levels: int) -> np.dtype[Any]:
    """Return the record of a market-by-price schema: 48 bytes, then 32 for each level."""
    return np.dtype(
        [
            *_HEADER,
            ("price", "<i8"),
            ("size", "<u4"),
            ("action", "u1"),
            ("side", "u1"),
            ("flags", "u1"),
            ("depth", "u1"),
            ("ts_recv", "<u8"),
            ("ts_in_delta", "<i4"),
            ("sequence", "<u4"),
            ("levels", _LEVEL, (levels,)),
        ]
    )


MBP_RTYPES: Final = {1: 1, 10: 10}
"""The record type of mbp-1 and of mbp-10, by levels."""

SCHEMAS: Final = {0: "mbo", 1: "mbp-1", 2: "mbp-10", 3: "tbbo", 4: "trades"}

_MAX_METADATA_BYTES: Final = 1 << 26
_MIN_RECORD_BYTES: Final = 16
_MAX_RECORD_BYTES: Final = 255 * 4
_WORD: Final = 4
_NO_SCHEMA: Final = 0xFFFF
_FIXED_BYTES: Final = 100
_V1_SYMBOL_BYTES: Final = 22


class Mapping(NamedTuple):
    """For how long a symbol is an instrument: [start_ns, end_ns) by `ts_recv`."""

    symbol: str
    instrument_id: int
    start_ns: int
    end_ns: int


class Metadata(NamedTuple):
    """What a file says of itself; `schema` is None where it mixes several."""

    version: int
    dataset: str
    schema: str | None
    mappings: tuple[Mapping, ...]


class Records(NamedTuple):
    """Some records in order, and where each stands in the file, counted from 1."""

    rows: Array
    positions: NDArray[np.int64]


def read_metadata(stream: ByteStream) -> Metadata:
    """Read what comes before the records.

    Raises:
        InvalidInput: it is no DBN stream, of another version, or cut short or inconsistent.
    """
    head = stream.read(8)
    if len(head) < 8 or not head.startswith(MAGIC):  # noqa: PLR2004 - mark, version and length
        raise InvalidInput(f"{stream.path}: byte 0: {head[:4]!r}; allowed: 'DBN' and a version")
    version, length = head[3], int.from_bytes(head[4:8], "little")
    if version not in VERSIONS:
        raise InvalidInput(f"{stream.path}: byte 3: DBN version {version}; allowed: 1..3")
    if not _FIXED_BYTES <= length <= _MAX_METADATA_BYTES:
        raise InvalidInput(
            f"{stream.path}: byte 4: metadata of {length} bytes; "
            f"allowed: {_FIXED_BYTES}..{_MAX_METADATA_BYTES}"
        )
    raw = stream.read(length)
    if len(raw) < length:
        raise InvalidInput(f"{stream.path}: byte 8: metadata cut short: {len(raw)} of {length}")
    try:
        return _metadata(version, raw)
    except (struct.error, ValueError, OverflowError) as error:
        raise InvalidInput(f"{stream.path}: byte 8: metadata: {error}") from error


def _metadata(version: int, raw: bytes) -> Metadata:
    dataset = _text(raw[:16])
    (schema,) = struct.unpack_from("<H", raw, 16)
    symbol_bytes = _V1_SYMBOL_BYTES
    if version > 1:
        (symbol_bytes,) = struct.unpack_from("<H", raw, 45)
    reader = _Reader(raw, _FIXED_BYTES)
    reader.take(reader.number())  # a schema definition: none is in use
    for _ in range(3):  # symbols asked for, found for part of the time, not found
        reader.take(reader.number() * symbol_bytes)
    mappings = []
    for _ in range(reader.number()):
        symbol = _text(reader.take(symbol_bytes))
        for _ in range(reader.number()):
            start, end = reader.number(), reader.number()
            found = _text(reader.take(symbol_bytes))
            if found.isdecimal():
                mappings.append(Mapping(symbol, int(found), _day_ns(start), _day_ns(end)))
            elif symbol.isdecimal():  # asked for by number: the other way round
                mappings.append(Mapping(found, int(symbol), _day_ns(start), _day_ns(end)))
    name = None if schema == _NO_SCHEMA else SCHEMAS.get(schema, f"number {schema}")
    return Metadata(version, dataset, name, tuple(mappings))


class _Reader:
    def __init__(self, raw: bytes, offset: int) -> None:
        self._raw = raw
        self._offset = offset

    def take(self, size: int) -> bytes:
        end = self._offset + size
        if end > len(self._raw):
            raise ValueError(f"{size} bytes wanted at {self._offset} of {len(self._raw)}")
        taken = self._raw[self._offset : end]
        self._offset = end
        return taken

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("ascii")


def _day_ns(number: int) -> int:
    """Return the start of a day written as the number yyyymmdd, in nanoseconds since 1970."""
    day = datetime(number // 10_000, number // 100 % 100, number % 100, tzinfo=UTC)
    return int(day.timestamp()) * 1_000_000_000


def read_records(
    stream: ByteStream, dtype: np.dtype[Any], rtype: int, block_rows: int, others: Counter[str]
) -> Iterator[Records]:
    """Yield the records of one type, about `block_rows` at a time; count the others by type.

    Raises:
        InvalidInput: a record's length cannot be, or the last record is cut short; names the byte.
    """
    rest, position = b"", 0
    block_bytes = max(block_rows * dtype.itemsize, _MAX_RECORD_BYTES)
    while True:
        base = stream.offset - len(rest)
        chunk = stream.read(block_bytes - len(rest))
        data = rest + chunk
        parts: list[Records] = []
        begin, fault = 0, ""
        while run := _run(data, begin):
            length = data[begin] * _WORD
            raw = np.frombuffer(data, np.uint8, run * length, begin).reshape(run, length)
            wanted = _count_others(raw[:, 1], rtype, others)
            if wanted.any() and length < dtype.itemsize:
                fault = f"a record of {length} bytes; allowed: {dtype.itemsize} of its type"
                break
            if wanted.any():
                positions = np.arange(position + 1, position + run + 1)
                records = Records(_rows(raw, dtype), positions)
                parts.append(records if wanted.all() else pick(records, wanted))
            begin += run * length
            position += run
        if parts:
            yield join(parts)
        rest = data[begin:]
        if rest and rest[0] * _WORD < _MIN_RECORD_BYTES:
            fault = f"a record of {rest[0] * _WORD} bytes; allowed: {_MIN_RECORD_BYTES} or more"
        elif rest and not chunk:
            fault = f"the last record is cut short: {len(rest)} bytes"
        if fault:
            raise InvalidInput(f"{stream.path}: byte {base + begin}: {fault}")
        if not chunk:
            return


def join(parts: Sequence[Records]) -> Records:
    """Return records one after another."""
    if len(parts) == 1:
        return parts[0]
    dtype = parts[0].rows.dtype
    # As plain bytes: numpy would go through them field by field.
    rows = np.concatenate([part.rows.view(_plain(dtype)) for part in parts])
    return Records(rows.view(dtype), np.concatenate([part.positions for part in parts]))


def pick(records: Records, keep: NDArray[np.bool_]) -> Records:
    """Return those records that are kept."""
    rows, positions = records
    plain = rows.view(_plain(rows.dtype))[keep]
    return Records(plain.view(rows.dtype), positions[keep])


def _plain(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(f"V{dtype.itemsize}")


def _count_others(rtypes: NDArray[np.uint8], rtype: int, others: Counter[str]) -> NDArray[np.bool_]:
    """Return which records are of the type that is wanted, and count those that are not."""
    wanted: NDArray[np.bool_] = rtypes == rtype
    if not wanted.all():
        for other, count in zip(*np.unique(rtypes[~wanted], return_counts=True), strict=True):
            others[f"record type {other}"] += int(count)
    return wanted


def _run(data: bytes, begin: int) -> int:
    """Return how many whole records follow one another that are as long as the first."""
    length = data[begin] * _WORD if begin < len(data) else 0
    whole = (len(data) - begin) // length if length >= _MIN_RECORD_BYTES else 0
    if not whole:
        return 0
    lengths = np.frombuffer(data, np.uint8, (whole - 1) * length + 1, begin)[::length]
    same = lengths == lengths[0]
    return whole if same.all() else int(np.argmin(same))


def _rows(raw: NDArray[np.uint8], dtype: np.dtype[Any]) -> Array:
    # A record may say more after its own fields, such as when it was sent (ts_out).
    return np.ascontiguousarray(raw[:, : dtype.itemsize]).view(dtype)[:, 0]

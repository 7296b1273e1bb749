"""The messages of NASDAQ TotalView-ITCH 5.0, as the specification of that name lays them out.

All numbers are big-endian; a message begins with its type, the stock's locate code, a tracking
number and nanoseconds after midnight in 48 bits. In NASDAQ's files each message comes after its
length in two bytes, and a length of 0 ends the session. Prices count units of 0.0001 dollars.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.streams import ByteStream
from lob.messages import Array

PRICE_UNITS: Final = 10_000
"""Units of a price in a dollar."""

LENGTHS: Final = {
    "S": 12,
    "R": 39,
    "H": 25,
    "Y": 20,
    "L": 26,
    "V": 35,
    "W": 12,
    "K": 28,
    "J": 35,
    "h": 21,
    "A": 36,
    "F": 40,
    "E": 31,
    "C": 36,
    "X": 23,
    "D": 19,
    "U": 35,
    "P": 44,
    "Q": 40,
    "B": 19,
    "I": 50,
    "N": 20,
    "O": 48,
}
"""The length of each type of message."""

NAMES: Final = {
    "S": "system event",
    "R": "stock directory",
    "H": "trading action",
    "Y": "short sale restriction",
    "L": "market participant",
    "V": "circuit breaker levels",
    "W": "circuit breaker status",
    "K": "IPO quoting period",
    "J": "auction collar",
    "h": "operational halt",
    "A": "add",
    "F": "add with attribution",
    "E": "execute",
    "C": "execute at another price",
    "X": "cancel",
    "D": "delete",
    "U": "replace",
    "P": "trade of an order not displayed",
    "Q": "cross trade",
    "B": "broken trade",
    "I": "order imbalance",
    "N": "retail interest",
    "O": "direct listing",
}

_HEADER: Final = [("type", "u1"), ("locate", ">u2"), ("tracking", ">u2"), ("time", ">u2", (3,))]


def _layout(*fields: tuple[str, str]) -> np.dtype[Any]:
    return np.dtype([*_HEADER, *fields])


ORDER_LAYOUTS: Final = {
    "A": _layout(
        ("ref", ">u8"), ("side", "u1"), ("shares", ">u4"), ("stock", "S8"), ("price", ">u4")
    ),
    "F": _layout(
        ("ref", ">u8"),
        ("side", "u1"),
        ("shares", ">u4"),
        ("stock", "S8"),
        ("price", ">u4"),
        ("attribution", "S4"),
    ),
    "E": _layout(("ref", ">u8"), ("shares", ">u4"), ("match", ">u8")),
    "C": _layout(
        ("ref", ">u8"), ("shares", ">u4"), ("match", ">u8"), ("printable", "u1"), ("at", ">u4")
    ),
    "X": _layout(("ref", ">u8"), ("shares", ">u4")),
    "D": _layout(("ref", ">u8")),
    "U": _layout(("ref", ">u8"), ("new_ref", ">u8"), ("shares", ">u4"), ("price", ">u4")),
}
"""The messages that change the visible book."""

_LENGTH_OF: Final = np.zeros(256, np.int64)
for _letter, _length in LENGTHS.items():
    _LENGTH_OF[ord(_letter)] = _length
_PREFIX: Final = 2
_BYTES_A_ROW: Final = 24
_LONGEST: Final = 255 + _PREFIX


class RawMessages(NamedTuple):
    """Some messages where they lie: `raw` bytes, where each begins in them, and of each its type.

    `first` is the number of the first one, counted from 1, and `byte` where `raw` begins.
    """

    raw: NDArray[np.uint8]
    begins: NDArray[np.int64]
    types: NDArray[np.uint8]
    locates: NDArray[np.int64]
    first: int
    byte: int

    def rows(self, which: NDArray[Any], layout: np.dtype[Any]) -> Array:
        """Return the messages at these places as an array of a layout."""
        places = self.begins[which][:, None] + np.arange(layout.itemsize)
        return np.ascontiguousarray(self.raw[places]).view(layout)[:, 0]


def read_messages(stream: ByteStream, block_rows: int) -> Iterator[RawMessages]:
    """Yield a file's messages, at most `block_rows` at a time.

    Raises:
        InvalidInput: an unknown type, a length that is not its type's, a message cut short, or
            anything after the end of the session; names the byte.
    """
    rest, number, ended = b"", 1, False
    while True:
        base = stream.offset - len(rest)
        wanted = max(block_rows * _BYTES_A_ROW, _LONGEST)
        chunk = stream.read(max(wanted - len(rest), 0))
        data = rest + chunk
        if not data:
            return
        if ended:
            raise InvalidInput(f"{stream.path}: byte {base}: a message after the session's end")
        places, end = _walk(data, block_rows)
        begins = np.array(places, np.int64) + _PREFIX
        raw = np.frombuffer(data, np.uint8)
        begins, ended = _checked(stream, raw, begins, base)
        if ended:
            end = places[len(begins)] + _PREFIX
        if len(begins):
            locates = raw[begins + 1].astype(np.int64) << 8 | raw[begins + 2]
            yield RawMessages(raw, begins, raw[begins], locates, number, base)
            number += len(begins)
        rest = data[end:]
        if not chunk and not places and rest:
            raise InvalidInput(
                f"{stream.path}: byte {base + end}: the last message is cut short: {len(rest)} "
                "bytes"
            )


def _walk(data: bytes, limit: int) -> tuple[list[int], int]:
    """Return where up to `limit` whole messages begin, with their lengths, and where they end.

    Looks at the lower byte of a length only; `_checked` looks at the rest.
    """
    places: list[int] = []
    note = places.append
    at, size = 0, len(data)
    stop = size - 1
    while at < stop:
        note(at)
        at += data[at + 1] + _PREFIX
    if len(places) > limit:
        at = places[limit]
        del places[limit:]
    elif at > size:
        at = places.pop()
    return places, at


def _checked(
    stream: ByteStream, raw: NDArray[np.uint8], begins: NDArray[np.int64], base: int
) -> tuple[NDArray[np.int64], bool]:
    """Return the messages up to the session's end, and whether it is there."""
    lengths = raw[begins - 2].astype(np.int64) << 8 | raw[begins - 1]
    ends = np.flatnonzero(lengths == 0)
    if len(ends):
        begins, lengths = begins[: ends[0]], lengths[: ends[0]]
    kinds = raw[np.minimum(begins, len(raw) - 1)]
    wrong = _LENGTH_OF[kinds] != lengths
    if wrong.any():
        row = int(np.argmax(wrong))
        kind = chr(kinds[row])
        where = f"{stream.path}: byte {base + int(begins[row])}"
        if kind not in LENGTHS:
            known = " ".join(LENGTHS)
            raise InvalidInput(f"{where}: message type: {kind!r}; allowed: {known}")
        raise InvalidInput(
            f"{where}: length of a message {kind}: {lengths[row]}; allowed: {LENGTHS[kind]}"
        )
    return begins, bool(len(ends))

"""How records stand in a journal's file: numbered, length-prefixed, checksummed.

A file begins with `FILE_HEADER`: magic, version, and the number of its first record. Each record is
`RECORD_HEADER` (magic, length, CRC-32 of number and payload, number), then the payload.
Little-endian. A process that dies can only leave a torn end; anything else is damage, and says so.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from lob.errors import Unavailable

VERSION: Final = 1
PAYLOAD_BYTES_MAX: Final = 1 << 20

FILE_HEADER: Final = struct.Struct("<8sQQ")
"""Magic, version, number of the first record."""

RECORD_HEADER: Final = struct.Struct("<4sIIQ")
"""Magic, bytes of payload, CRC-32, number."""

_FILE_MAGIC: Final = b"TSXJRNL\n"
_RECORD_MAGIC: Final = b"\xf6TR\n"
_NUMBER: Final = struct.Struct("<Q")


class Damaged(Unavailable):
    """Say where kept state is not what was written."""


class Record(NamedTuple):
    """One record as it stands in its file, from `offset` to `end`."""

    number: int
    payload: bytes
    offset: int
    end: int


def file_header(first_number: int) -> bytes:
    """Return what a file begins with whose first record has this number."""
    return FILE_HEADER.pack(_FILE_MAGIC, VERSION, first_number)


def frame(number: int, payload: bytes) -> bytes:
    """Return a record's bytes."""
    checksum = zlib.crc32(payload, zlib.crc32(_NUMBER.pack(number)))
    return RECORD_HEADER.pack(_RECORD_MAGIC, len(payload), checksum, number) + payload


def first_number(name: str, content: bytes) -> int | None:
    """Return the number of a file's first record; None where not even the header is whole.

    Raises:
        Damaged: it is no journal, or one of another version.
    """
    if len(content) < FILE_HEADER.size:
        return None
    magic, version, number = FILE_HEADER.unpack_from(content)
    if magic != _FILE_MAGIC:
        raise Damaged(f"{name}: no journal of Touchstone")
    if version != VERSION:
        raise Damaged(f"{name}: journal version {version}; this is for version {VERSION}")
    return int(number)


def records(name: str, content: bytes, number: int, *, torn_end_allowed: bool) -> Iterator[Record]:
    """Yield a file's records from the one with this number on, up to its end or a torn one.

    Where a record is not whole and no later one is either, the end is torn: a write that was under
    way. The caller sees from the last record's `end` that bytes are left over.

    Raises:
        Damaged: a record in the middle is not what was written (file and offset are named).
    """
    offset = FILE_HEADER.size
    while offset < len(content):
        record = _record_at(content, offset)
        if record is None or record.number != number:
            if torn_end_allowed and record is None and _later(content, offset, number) is None:
                return
            raise Damaged(
                f"{name}: byte {offset}: record {number} is damaged; to go on from what stands"
                f" before it, and lose what comes after: truncate -s {offset} {name}"
            )
        yield record
        offset = record.end
        number += 1


def _record_at(content: bytes, offset: int) -> Record | None:
    start = offset + RECORD_HEADER.size
    if start > len(content):
        return None
    magic, length, checksum, number = RECORD_HEADER.unpack_from(content, offset)
    payload = content[start : start + length] if length <= PAYLOAD_BYTES_MAX else b""
    if magic != _RECORD_MAGIC or len(payload) != length:
        return None
    if zlib.crc32(payload, zlib.crc32(_NUMBER.pack(number))) != checksum:
        return None
    return Record(number, payload, offset, start + length)


def _later(content: bytes, offset: int, number: int) -> Record | None:
    """Return a whole record of a later number that stands somewhere behind `offset`."""
    found = content.find(_RECORD_MAGIC, offset + 1)
    while found >= 0:
        record = _record_at(content, found)
        if record is not None and record.number > number:
            return record
        found = content.find(_RECORD_MAGIC, found + 1)
    return None

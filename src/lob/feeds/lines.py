"""Read text files of venues line by line in bounded memory: plain, gzip or Zstandard."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from lob.errors import InvalidInput
from lob.feeds.base import FeedBlock
from lob.feeds.streams import GZIP_MAGIC, ByteStream, first_bytes, open_stream
from lob.messages import MESSAGE_DTYPE

MAX_LINE_BYTES: Final = 1 << 24
"""A venue's list of all its products is one line of some hundred kilobytes."""

HEAD_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 14
"""Little is lost where a compressed file is cut: what came before is given."""

Row = tuple[int, int, int, int, int, int, int, int, int]
"""One message, in the order of `MESSAGE_DTYPE`'s fields."""


class LineReader:
    """Yield `(number, line)` of a file, numbers from 1, lines without their end.

    `bytes_done` is how far into the file, as it lies, the reading is. What cannot be read (no file,
    one cut short, a line longer than 16 MiB) is `InvalidInput` with the file and the place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: ByteStream | None = None

    @property
    def bytes_done(self) -> int:
        """How much of the file has been read."""
        return 0 if self._stream is None else self._stream.bytes_done

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Read the file from its start."""
        number = 0
        begun: list[bytes] = []  # of a line whose end has not come yet
        with open_stream(self.path) as stream:
            self._stream = stream
            try:
                while chunk := stream.read(_CHUNK_BYTES):
                    begun.append(chunk)
                    if b"\n" in chunk:
                        lines = b"".join(begun).split(b"\n")
                        begun = [lines.pop()]
                        for line in lines:
                            number += 1
                            yield number, line.rstrip(b"\r")
                    elif len(begun) * _CHUNK_BYTES > MAX_LINE_BYTES:
                        raise InvalidInput(
                            f"{self.path}:{number + 1}: a line longer than {MAX_LINE_BYTES} bytes"
                        )
                if rest := b"".join(begun):
                    yield number + 1, rest.rstrip(b"\r")
            finally:
                self._stream = None


def plain_head(path: Path, head: bytes) -> bytes:
    """Return a file's first bytes, unpacked where they are packed; as many as can be."""
    if not head.startswith(GZIP_MAGIC):
        return first_bytes(path, head, HEAD_BYTES)
    try:
        # A file that is cut short still has a head.
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def read_head(path: Path) -> bytes:
    """Return the first bytes of what a file holds, unpacked; as many as can be read."""
    try:
        with path.open("rb") as raw:
            return plain_head(path, raw.read(HEAD_BYTES))
    except OSError:
        return b""


def read_whole(path: Path, limit: int) -> bytes:
    """Return all that a file holds, unpacked; more than `limit` bytes are `InvalidInput`."""
    with open_stream(path) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise InvalidInput(f"{path}: more than {limit} bytes; allowed: at most as many")
    return content


class Rows:
    """Gather messages with their positions, and give them as blocks."""

    def __init__(self) -> None:
        self._messages: list[Row] = []
        self._positions: list[int] = []
        self._received: list[int] = []
        self._sequences: list[int] = []

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, row: Row, position: int, *, ts_recv_ns: int = 0, sequence: int = 0) -> None:
        """Append one message."""
        self._messages.append(row)
        self._positions.append(position)
        self._received.append(ts_recv_ns)
        self._sequences.append(sequence)

    def take(self) -> FeedBlock:
        """Return what was gathered, and start anew."""
        block = FeedBlock(
            np.array(self._messages, dtype=MESSAGE_DTYPE),
            np.array(self._positions, dtype=np.int64),
            np.array(self._received, dtype=np.int64),
            np.array(self._sequences, dtype=np.int64),
        )
        for kept in (self._messages, self._positions, self._received, self._sequences):
            kept.clear()
        return block

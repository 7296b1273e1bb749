"""Open a file for reading whatever it is compressed with, and say how far it has been read.

The first bytes decide: gzip (RFC 1952) and Zstandard (RFC 8878) streams are read through, anything
else as it lies. Zstandard needs `pyarrow`. Whatever goes wrong is `InvalidInput` with the file.
"""

import gzip
import importlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from lob.errors import ConfigError, InvalidInput
from lob.feeds.base import file_size

GZIP_MAGIC: Final = b"\x1f\x8b"
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC: Final = b"\x2a\x4d\x18"
"""The last three bytes of a Zstandard skippable frame's mark, which some writers put first."""


class ByteStream:
    """The bytes of a file, decompressed, in order.

    `offset` counts what has been read of them; `bytes_done` says how far the file itself is.
    """

    def __init__(self, path: Path, raw: IO[bytes], stream: Any) -> None:
        self.path = path
        self.offset = 0
        self._raw = raw
        self._stream = stream
        self._peeked = b""

    @property
    def bytes_done(self) -> int:
        """Return how many bytes of the file, as it lies, have been read."""
        return self._raw.tell()

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end.

        Raises:
            InvalidInput: the file cannot be read, or its compressed data is damaged or cut short.
        """
        parts = []
        wanted = size
        if self._peeked:
            taken, self._peeked = self._peeked[:size], self._peeked[size:]
            parts.append(taken)
            wanted -= len(taken)
            self.offset += len(taken)
        while wanted:
            try:
                part = self._stream.read(wanted)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                where = f"{self.path}: after byte {self.offset} of its contents"
                raise InvalidInput(
                    f"{where}: {getattr(error, 'strerror', None) or error}"
                ) from error
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
            self.offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes, which stay to be read; fewer only at the end."""
        begin = self.offset
        taken = self.read(size)
        self._peeked = taken + self._peeked
        self.offset = begin
        return taken


@contextmanager
def open_stream(path: Path) -> Iterator[ByteStream]:
    """Open a plain, gzip or Zstandard file.

    Raises:
        InvalidInput: the file cannot be opened, or is a pipe or a device.
        ConfigError: it is a Zstandard file, and `pyarrow` is not installed.
    """
    file_size(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from error
    with raw:
        try:
            head = raw.read(4)
            raw.seek(0)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror or error}") from error
        yield ByteStream(path, raw, _decompressed(path, head, raw))


def is_zstd(head: bytes) -> bool:
    """Say whether these first bytes are those of a Zstandard stream."""
    return head.startswith(ZSTD_MAGIC) or head[1:4] == _SKIPPABLE_MAGIC


def _decompressed(path: Path, head: bytes, raw: IO[bytes]) -> Any:
    if head.startswith(GZIP_MAGIC):
        return gzip.GzipFile(fileobj=raw, mode="rb")
    if is_zstd(head):
        try:
            arrow = importlib.import_module("pyarrow")
        except ImportError as error:
            raise ConfigError(f"pyarrow: not installed; needed to read {path} (zstd)") from error
        return arrow.CompressedInputStream(raw, "zstd")
    return raw


def first_bytes(path: Path, head: bytes, size: int) -> bytes:
    """Return the first bytes of a file's contents: `head` itself where it is not compressed.

    Gives b"" where they cannot be read: a question about a file's format is no fault.
    """
    if not (head.startswith(GZIP_MAGIC) or is_zstd(head)):
        return head[:size]
    try:
        with open_stream(path) as stream:
            return stream.read(size)
    except InvalidInput:
        return b""

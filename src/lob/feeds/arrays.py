"""Read and write our own arrays: a `.npy` file of `lob.MESSAGE_DTYPE`, and check rows from outside.

A file is as `numpy.save` writes it, and `numpy.load(path, mmap_mode="r")` opens it for
`OrderBook.apply`. It keeps messages only: when they were received, and their sequence, are lost.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from lob.errors import InvalidInput
from lob.feeds.base import BLOCK_ROWS, Feed, FeedBlock, FeedSummary
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import Instrument

_MAGIC: Final = b"\x93NUMPY"
_BAD_HEADER: Final = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TokenError,
    TypeError,
    ValueError,
)
"""What numpy's reading of a header, which is Python's own syntax, may raise."""

_STP_CODE_MAX: Final = 4
_TIME_IN_FORCE_MAX: Final = 3
_ACTIONS: Final = tuple(Action)
_NEEDS_SIDE: Final = (Action.SUBMIT, Action.FEED_ADD)


class ArraysFeed(Feed):
    """Read a `.npy` file of messages; a row that is no message is `InvalidInput`."""

    format = "arrays"

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> bool:  # noqa: ARG003 - the content decides
        """Say whether it is a numpy file with the fields of a message."""
        return head.startswith(_MAGIC) and b"'price_ticks'" in head

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the file's rows."""
        self.restart()
        try:
            with self.path.open("rb") as file:
                dtype, count = read_header(self.path, file)
                if dtype != MESSAGE_DTYPE:
                    raise InvalidInput(f"{self.path}: {dtype}; allowed: lob.MESSAGE_DTYPE")
                for first, rows in read_rows(self.path, file, dtype, count, self.block_rows):
                    positions = np.arange(first, first + len(rows), dtype=np.int64)
                    require_messages(self.path, rows, positions)
                    self.bytes_done = file.tell()
                    count_messages(self, rows)
                    nothing = np.zeros(len(rows), np.int64)
                    yield FeedBlock(rows, positions, nothing, nothing)
        except OSError as error:
            raise InvalidInput(f"{self.path}: {error.strerror or error}") from error


class TapeFeed(Feed):
    """Give messages that are in memory as a feed, so that they can be replayed and written.

    A row that is no message is `InvalidInput`; `name` stands for the file in what is said of it.
    """

    format = "arrays"

    def __init__(
        self,
        messages: Array,
        instrument: Instrument,
        *,
        block_rows: int = BLOCK_ROWS,
        ts_recv_ns: NDArray[np.int64] | None = None,
        sequences: NDArray[np.int64] | None = None,
        name: str = "messages",
    ) -> None:
        super().__init__(name, instrument, block_rows=block_rows)
        if messages.dtype != MESSAGE_DTYPE or messages.ndim != 1:
            raise InvalidInput(f"messages: {messages.dtype}; allowed: rows of lob.MESSAGE_DTYPE")
        self._messages = messages
        nothing = np.zeros(len(messages), np.int64)
        self._ts_recv_ns = nothing if ts_recv_ns is None else ts_recv_ns
        self._sequences = nothing if sequences is None else sequences

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the messages; positions count them from 1."""
        self.summary = FeedSummary()
        self.bytes_done, self.bytes_total = 0, self._messages.nbytes
        for first in range(0, len(self._messages), self.block_rows):
            part = slice(first, first + self.block_rows)
            messages = self._messages[part]
            positions = np.arange(first + 1, first + 1 + len(messages), dtype=np.int64)
            require_messages(self.path, messages, positions)
            count_messages(self, messages)
            self.bytes_done += messages.nbytes
            yield FeedBlock(messages, positions, self._ts_recv_ns[part], self._sequences[part])


def write(path: Path, feed: Feed) -> Counter[str]:
    """Write a feed's messages to `path`; nothing of them is left out."""
    with path.open("wb") as file:
        write_rows(file, MESSAGE_DTYPE, (block.messages for block in feed.blocks()))
    return Counter()


def count_messages(feed: Feed, messages: Array) -> None:
    """Count a block whose records are messages, by action."""
    summary = feed.summary
    summary.records += len(messages)
    summary.messages += len(messages)
    counts = np.bincount(messages["action"], minlength=len(_ACTIONS))
    for action in _ACTIONS:
        if counts[action]:
            summary.by_type[action.name] += int(counts[action])


def require_messages(path: Path, messages: Array, positions: NDArray[np.int64]) -> None:
    """Raise `InvalidInput`, with file and position, where a row is no message.

    Looks at what `OrderBook.apply` would raise for whatever `strict` is: action, side, time in
    force, self-trade mode, and a time before 0.
    """
    action = messages["action"]
    sided = np.isin(action, _NEEDS_SIDE)
    submits = action == Action.SUBMIT
    stp = (messages["flags"] & Flag.STP_MASK) >> 3
    checks: tuple[tuple[str, Any, Any, str], ...] = (
        ("action", action, action >= len(_ACTIONS), f"0..{len(_ACTIONS) - 1}"),
        ("side", messages["side"], sided & (np.abs(messages["side"]) != 1), "1, -1"),
        (
            "time_in_force",
            messages["time_in_force"],
            submits & (messages["time_in_force"] > _TIME_IN_FORCE_MAX),
            f"0..{_TIME_IN_FORCE_MAX}",
        ),
        ("flags (self-trade mode)", stp, submits & (stp > _STP_CODE_MAX), f"0..{_STP_CODE_MAX}"),
        ("ts_event_ns", messages["ts_event_ns"], messages["ts_event_ns"] < 0, "0 or later"),
    )
    for name, values, wrong, allowed in checks:
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InvalidInput(
                f"{path}:{positions[row]}: {name}: {values[row]}; allowed: {allowed}"
            )


def write_rows(file: IO[bytes], dtype: np.dtype[Any], blocks: Iterator[Array]) -> int:
    """Write blocks of rows as one `.npy`, in pieces, and return how many rows there were.

    The header is written again at the end, when the number is known: numpy leaves room for it.
    """
    rows = 0
    _write_header(file, dtype, 0)
    begin = file.tell()
    for block in blocks:
        whole = np.zeros(len(block), dtype)
        for name in dtype.names or ():
            whole[name] = block[name]  # what pads a row is not copied: same messages, same bytes
        file.write(whole.tobytes())
        rows += len(block)
    end = file.tell()
    file.seek(0)
    _write_header(file, dtype, rows)
    if file.tell() != begin:
        raise InvalidInput(f"rows: {rows}; allowed: as many as a numpy header can say")
    file.seek(end)
    return rows


def _write_header(file: IO[bytes], dtype: np.dtype[Any], rows: int) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (rows,),
    }
    np.lib.format.write_array_header_2_0(file, header)


def read_header(path: Path, file: IO[bytes]) -> tuple[np.dtype[Any], int]:
    """Return the type and number of rows of a `.npy` stream; `InvalidInput` names the file."""
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except _BAD_HEADER as error:
        raise InvalidInput(f"{path}: not a numpy array: {error}") from error
    if len(shape) != 1 or fortran or dtype.hasobject:
        raise InvalidInput(f"{path}: shape {shape} of {dtype}; allowed: one dimension of records")
    return dtype, int(shape[0])


def read_rows(
    path: Path, file: IO[bytes], dtype: np.dtype[Any], count: int, block_rows: int
) -> Iterator[tuple[int, Array]]:
    """Yield (number of the first row from 1, rows) until `count`; too few are `InvalidInput`."""
    done = 0
    while done < count:
        wanted = min(block_rows, count - done)
        raw = _read_exactly(file, wanted * dtype.itemsize)
        if len(raw) < wanted * dtype.itemsize:
            there = done + len(raw) // dtype.itemsize
            raise InvalidInput(f"{path}:{there + 1}: the file ends; its header says {count} rows")
        yield done + 1, np.frombuffer(raw, dtype)
        done += wanted


def _read_exactly(file: IO[bytes], size: int) -> bytes:
    """Read on where a compressed stream gives less than it was asked for."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

"""The decision log's files: append-only segments, bounded, readable by many at once.

A segment is JSON lines. It holds every configuration that its decisions name, ahead of them, so
that each can be read by itself and the oldest can go without the rest. A process writes only to
segments that it made: several routers may share a folder.
"""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from lob.errors import NotFound
from touchstone.rollout.decisions import LINE_BYTES_MAX

NAME: Final = re.compile(r"decisions-(\d{13})-[0-9a-f]{8}\.jsonl")
TAIL_BYTES: Final = 1024 * 1024
SYNC_SECONDS: Final = 1.0
STAMP_MAX: Final = 10**13 - 1
# Not every system has the former.
_sync: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
DECISION_START: Final = b'{"kind":"decision"'


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in a segment, with its end; `number` counts from 1."""

    path: Path
    number: int
    raw: bytes

    @property
    def whole(self) -> bool:
        """Say whether the line was written to its end."""
        return self.raw.endswith(b"\n")

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder, oldest first; none where it does not exist."""
    try:
        found = [entry for entry in folder.iterdir() if NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return sorted(found, key=lambda path: path.name)


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of one segment; the last may be torn, or still be being written.

    A line that is longer than any record is yielded cut off.

    Raises:
        NotFound: the segment is gone, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                yield Line(path, number, raw)
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror or error}") from None


def find_lines(folder: Path, needle: bytes) -> list[bytes]:
    """Return the whole lines of the newest segment that has `needle`, and of those after it.

    Reads large pieces, so that a thread that does it leaves the interpreter to others. O(bytes).
    """
    found: list[bytes] = []
    for path in reversed(segments(folder)):
        lines = _find_in(path, needle)
        found = [*lines, *found]
        if any(line.startswith(DECISION_START) for line in lines):
            break
    return found


def _find_in(path: Path, needle: bytes) -> list[bytes]:
    lines = []
    try:
        with path.open("rb") as file:
            rest = b""
            while piece := file.read(TAIL_BYTES):
                piece = rest + piece
                end = piece.rfind(b"\n") + 1
                at = piece.find(needle, 0, end)
                while at >= 0:
                    start = piece.rfind(b"\n", 0, at) + 1
                    stop = piece.index(b"\n", at) + 1
                    lines.append(piece[start:stop])
                    at = piece.find(needle, stop, end)
                rest = piece[end:]
                if len(rest) > LINE_BYTES_MAX:
                    break  # no line is that long
    except OSError:
        return lines
    return lines


class Segments:
    """Append to segments of this process and let the oldest of all go. Every method blocks.

    Args:
        folder: made when the first line is written.
        bytes_max: of all segments together; the oldest go when there are more.
        segment_bytes: a segment is closed when it has as many.
        age_seconds_max: a segment whose last line is older goes.
        wall_clock: seconds since 1970.
        on_dropped: called with the bytes of each segment that goes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        bytes_max: int,
        segment_bytes: int,
        age_seconds_max: float,
        wall_clock: Callable[[], float] = time.time,
        on_dropped: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        self.folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._age_seconds_max = age_seconds_max
        self._wall_clock = wall_clock
        self._on_dropped = on_dropped
        self._file: FileIO | None = None
        self._bytes = 0
        self._unsynced = False
        self._looked_at = 0.0

    def cut_torn(self) -> int:
        """Cut what a killed process left unfinished at the ends of its segments; return how many.

        A segment that somebody writes to is left alone: its writer holds a lock on it.
        """
        return sum(_cut(path) for path in segments(self.folder))

    @property
    def is_fresh(self) -> bool:
        """Say whether the next line is a segment's first: its configurations have to go ahead."""
        return self._file is None or self._bytes == 0 or self._bytes >= self._segment_bytes

    def append(self, encoded: bytes) -> None:
        """Write whole lines; the system has them when this returns, the disk within a second.

        Raises:
            OSError: the disk refuses; nothing of them is in the segment, which is used again.
        """
        if self._file is None or self._bytes >= self._segment_bytes:
            self._next()
        file = self._file
        if file is None:
            raise OSError("no segment is open")
        rest = memoryview(encoded)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            self._take_back(file)
            raise
        self._bytes += len(encoded)
        self._unsynced = True

    def keep_up(self) -> None:
        """Bring what is written to the disk, once a second; leave a segment that was removed.

        Raises:
            OSError: the disk refuses.
        """
        file = self._file
        now = time.monotonic()
        if file is None or not self._unsynced or now - self._looked_at < SYNC_SECONDS:
            return
        self._looked_at = now
        self._unsynced = False
        if os.fstat(file.fileno()).st_nlink == 0:
            self.close()  # its folder was cleared: what would follow could never be read
        else:
            _sync(file.fileno())

    def close(self) -> None:
        """Close the segment; the next line begins another."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                _sync(file.fileno())
            with contextlib.suppress(OSError):
                file.close()

    def drop_old(self) -> None:
        """Remove the oldest segments while there are too many bytes, and those too old.

        A segment that a router writes to stays, whoever's it is.
        """
        found: list[tuple[Path, os.stat_result]] = []
        for path in segments(self.folder):
            with contextlib.suppress(OSError):
                found.append((path, path.stat()))
        total = sum(stat.st_size for _, stat in found)
        oldest_kept = self._wall_clock() - self._age_seconds_max
        own = None if self._file is None else os.fstat(self._file.fileno()).st_ino
        for path, stat in found:
            if total <= self._bytes_max and stat.st_mtime >= oldest_kept:
                continue
            if stat.st_ino == own or _is_written_to(path):
                continue
            with contextlib.suppress(OSError):
                path.unlink()
                self._on_dropped(stat.st_size)
                total -= stat.st_size

    def _take_back(self, file: FileIO) -> None:
        """Cut what was written of lines that did not fit, so that the segment stays whole.

        A new segment for each attempt would leave thousands of them on a disk that is full.
        """
        try:
            file.truncate(self._bytes)
            file.seek(self._bytes)
        except OSError:
            self.close()

    def _next(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"decisions-{self._stamp():013d}-{secrets.token_hex(4)}.jsonl"
        # Unbuffered: what is written outlives the process, however it ends.
        # Nobody else may read it: orders and accounts are in it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o600), "wb", buffering=0)
        # Where the file system has no locks, segments have one writer each all the same.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        self._file, self._bytes = file, 0
        self.drop_old()

    def _stamp(self) -> int:
        """Return the milliseconds in a new segment's name: after all others, whatever the clock."""
        now = int(self._wall_clock() * 1000)
        for path in segments(self.folder)[-1:]:
            now = max(now, int(path.name.split("-")[1]) + 1)
        return min(now, STAMP_MAX)


def _is_written_to(path: Path) -> bool:
    """Say whether a process holds the lock on a segment."""
    with contextlib.suppress(OSError), path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _cut(path: Path) -> int:
    """Cut a torn last line; return 1 where there was one. A writer's segment is left alone."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = file.seek(0, os.SEEK_END)
            kept = size
            while kept > 0:
                start = max(0, kept - TAIL_BYTES)
                file.seek(start)
                end = file.read(kept - start).rfind(b"\n")
                kept = start + end + 1
                if end >= 0:
                    break
            if kept == size:
                return 0
            file.truncate(kept)
            return 1
    except OSError:  # BlockingIOError too: somebody holds the lock
        return 0

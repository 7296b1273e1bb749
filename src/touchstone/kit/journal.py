"""A journal: what happened, one numbered record after another, in files.

A record is in the kernel's hands when `append` returns, so that no end of the process loses it;
`kept` waits until it is on the disk. Appending is for one thread, the event loop's; the disk is
waited for in another, once for all that wait.
"""

import asyncio
import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from lob.errors import Unavailable
from touchstone.kit import framing
from touchstone.kit.disk import open_disk
from touchstone.kit.framing import Damaged

_log: Final = logging.getLogger(__name__)
_NAME: Final = re.compile(r"journal-(\d{20})\.log")


class Kept(NamedTuple):
    """One record that was kept, and where it stands."""

    number: int
    payload: bytes
    path: Path
    offset: int


class JournalFailed(Unavailable):
    """Say that the journal takes no more: what comes next could not be kept."""


class Journal:
    """Append records; rotate to a new file where a snapshot is taken.

    Once a write or a sync has failed it is closed for good: after either nobody knows what the
    disk has.
    """

    def __init__(self, folder: Path, number: int, *, sync: bool) -> None:
        """Begin a new file whose first record will have this number.

        Raises:
            JournalFailed: the file cannot be written.
        """
        self._folder = folder
        self._sync = sync
        self.number = number
        self.bytes_written = 0
        self.syncs = 0
        self.failure = ""
        self._synced = number
        self._retired: list[int] = []
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._under_way = False
        self._disk = open_disk() if sync else None
        self._first = number
        if sync:
            self._sync_last_file()
        self._file = self._begin()

    def append(self, payload: bytes) -> int:
        """Write a record and return its number. O(bytes).

        Raises:
            JournalFailed: it could not be written whole (disk full, say); nor will anything else.
        """
        self._require_open()
        if len(payload) > framing.PAYLOAD_BYTES_MAX:
            raise ValueError(f"record: {len(payload)} bytes; allowed: {framing.PAYLOAD_BYTES_MAX}")
        self._write(framing.frame(self.number, payload))
        self.number += 1
        return self.number - 1

    async def kept(self) -> None:
        """Return when everything appended so far is on the disk; at once where sync is off.

        Raises:
            JournalFailed: the disk refused it.
        """
        await self.keep()

    def keep(self) -> "asyncio.Future[None]":
        """Begin what `kept` waits for, and return what is done then.

        Raises:
            JournalFailed: as `kept`; later, the future has it.
        """
        self._require_open()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._disk is None or self._synced >= self.number:
            waiter.set_result(None)
            return waiter
        self._waiting.append((self.number, waiter))
        if not self._under_way:
            self._start_sync()
        return waiter

    def rotate(self) -> int:
        """Go on in a new file; return the number that its first record will have.

        The old file is on the disk before the new one is there, so that only the last can be torn.
        """
        self._require_open()
        if self.number > self._first:
            self._sync_now()
            self._retired.append(self._file)
            self._file = self._begin()
        return self.number

    def close(self) -> None:
        """Sync what there is and close the files. Idempotent."""
        if self._disk is not None:
            self._disk.close()
        if self._file >= 0:
            if not self.failure:
                self._sync_now()
            self._retired.append(self._file)
            self._file = -1
        _close(self._retired)
        self.failure = self.failure or "closed"
        self._answer(self.number)

    # ---------------------------------------------------------------- inside

    def _sync_last_file(self) -> None:
        """Have the disk know what a process that died left in the kernel's hands.

        Otherwise a power cut could take the end of that file, and leave what follows it in ours.
        """
        for _, path in segments(self._folder)[-1:]:
            try:
                opened = os.open(path, os.O_RDONLY)
                try:
                    os.fdatasync(opened)
                finally:
                    os.close(opened)
            except OSError as error:
                raise self._failed(error) from None

    def _begin(self) -> int:
        path = segment_path(self._folder, self.number)
        try:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._file = opened
            self._write(framing.file_header(self.number))
            if self._sync:
                sync_folder(self._folder)
        except OSError as error:
            raise self._failed(error) from None
        self._first = self.number
        return opened

    def _sync_now(self) -> None:
        if self._sync:
            try:
                os.fdatasync(self._file)
            except OSError as error:
                raise self._failed(error) from None

    def _write(self, content: bytes) -> None:
        while content:
            try:
                written = os.write(self._file, content)
            except OSError as error:
                raise self._failed(error) from None
            # A disk that is nearly full takes a part; why, it says when it is given the rest.
            content = content[written:]
            self.bytes_written += written

    def _require_open(self) -> None:
        if self.failure:
            raise JournalFailed(f"journal: {self.failure}")

    def _failed(self, error: BaseException) -> JournalFailed:
        reason = getattr(error, "strerror", None) or str(error)
        self.failure = self.failure or f"{self._folder}: {reason}"
        return JournalFailed(f"journal: {self.failure}")

    def _start_sync(self) -> None:
        self._under_way = True
        upto = self.number
        # Files that were left are closed here, where no sync of them can be under way any more.
        _close(self._retired)
        assert self._disk is not None  # noqa: S101 - else nobody waits
        self._disk.begin(self._file, lambda error: self._end_sync(error, upto))

    def _end_sync(self, error: OSError | None, upto: int) -> None:
        self._under_way = False
        if self._file < 0:
            return
        if error is not None:
            fault = self._failed(error)
            for _, waiter in self._waiting:
                if not waiter.done():
                    waiter.set_exception(fault)
            self._waiting.clear()
            return
        self.syncs += 1
        self._synced = upto
        self._answer(upto)
        if self._waiting:
            self._start_sync()

    def _answer(self, upto: int) -> None:
        """Let go on who waited for the records before this one."""
        while self._waiting and self._waiting[0][0] <= upto:
            waiter = self._waiting.popleft()[1]
            if not waiter.done():
                waiter.set_result(None)


def _close(files: list[int]) -> None:
    while files:
        os.close(files.pop())


# -------------------------------------------------------------------- files


def segment_path(folder: Path, number: int) -> Path:
    """Return the path of the file whose first record has this number."""
    return folder / f"journal-{number:020}.log"


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the journal's files with the number of the first record of each, in order."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def sync_folder(folder: Path) -> None:
    """Have the disk know which files are in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class Reading:
    """Read back what was kept, from one number on."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self.number = number
        self.bytes_read = 0
        self.torn: tuple[Path, int, int] | None = None
        """Where the last file's end is torn: its path, the offset, and how many bytes are left."""

    def __iter__(self) -> Iterator[Kept]:
        """Yield the records in order; afterwards `number` is the one that comes next.

        Raises:
            Damaged: a file is missing, or a record in the middle is not what was written.
        """
        files = [(first, path) for first, path in segments(self._folder) if self._may_have(first)]
        for place, (first, path) in enumerate(files):
            if first > self.number:
                raise Damaged(f"{path}: begins with record {first}; {self.number} is missing")
            yield from self._file(first, path, last=place == len(files) - 1)

    def _may_have(self, first: int) -> bool:
        later = [number for number, _ in segments(self._folder) if number > first]
        return not later or min(later) > self.number

    def _file(self, first: int, path: Path, *, last: bool) -> Iterator[Kept]:
        content = path.read_bytes()
        said = framing.first_number(str(path), content)
        if said is None and not last:
            raise Damaged(f"{path}: not even its header is whole")
        if said is not None and said != first:
            raise Damaged(f"{path}: its header says that it begins with record {said}")
        end = min(len(content), framing.FILE_HEADER.size) if said is not None else 0
        if said is not None:
            for record in framing.records(str(path), content, first, torn_end_allowed=last):
                end = record.end
                if record.number >= self.number:
                    self.number = record.number + 1
                    self.bytes_read += record.end - record.offset
                    yield Kept(record.number, record.payload, path, record.offset)
        if end < len(content):
            self.torn = (path, end, len(content) - end)


def cut_torn_end(reading: Reading) -> int:
    """Cut off what a write that was under way left behind; return how many bytes that were."""
    if reading.torn is None:
        return 0
    path, offset, left_over = reading.torn
    _log.warning("%s: byte %d: %d bytes of a torn end cut off", path, offset, left_over)
    if offset == 0:
        path.unlink()
    else:
        os.truncate(path, offset)
    sync_folder(path.parent)
    return left_over


def remove_empty(folder: Path, number: int) -> None:
    """Remove a last file without records: the journal goes on in a new one of the same name."""
    for first, path in segments(folder):
        if first == number:
            path.unlink()

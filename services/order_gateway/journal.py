"""The gateway's journal: every change of orders, fills, positions and watermarks, before SQL.

It is the truth; SQL is written behind it. Each of its files begins with an entry that says which
journal this is and whose, so that SQL can keep one place in it for each journal it ever followed.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

import structlog

from lob.errors import ConfigError
from services.order_gateway.metrics_safety import StorageMetrics
from touchstone.kit import framing
from touchstone.kit.framing import Damaged
from touchstone.kit.journal import (
    Journal,
    JournalFailed,
    Reading,
    cut_torn_end,
    remove_empty,
    segments,
    sync_folder,
)
from touchstone.kit.ledger_entries import (
    VERSION,
    Entry,
    Opened,
    UnknownEntryError,
    decode_entry,
    encode_entry,
)

SEGMENT_BYTES: Final = 4 << 20
"""After so many a new file begins; what is behind SQL is read again file by file."""

RETAINED_BYTES: Final = 512 << 20
RETAINED_SECONDS: Final = 48 * 3_600.0
"""How much of what SQL has is kept, so that an older backup of it can be brought up to date."""

_log = structlog.get_logger("touchstone.gateway.journal")


class GatewayJournal:
    """Append entries to files in one folder; tell a listener of each.

    Appending is for the event loop's thread. Once a write has failed nothing is taken any more.
    """

    def __init__(
        self,
        folder: Path,
        opened: Opened,
        number: int,
        metrics: StorageMetrics,
        *,
        sync: bool = True,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Go on in a new file whose first entry has this number.

        Raises:
            JournalFailed: the folder cannot be written.
        """
        self.folder = folder
        self.journal_id = opened.journal_id
        self.listener: Callable[[int, Entry], None] = lambda _number, _entry: None
        self._opened = opened
        self._metrics = metrics
        self._segment_bytes = segment_bytes
        self._journal = Journal(folder, number, sync=sync)
        self._segment_began = 0
        self.segments_begun = 0
        self._metrics.journal_writable.set(1)
        self._begin()

    @property
    def number(self) -> int:
        """Return the number that the next entry will have."""
        return self._journal.number

    @property
    def failure(self) -> str:
        """Return why nothing is taken any more; '' while it is."""
        return self._journal.failure

    @property
    def syncs(self) -> int:
        """Return how often the disk was waited for, for however many orders."""
        return self._journal.syncs

    def append(self, entry: Entry) -> int:
        """Write an entry and return its number: no end of the process loses it now.

        Raises:
            JournalFailed: it could not be written; nor will anything else.
        """
        try:
            number = self._journal.append(encode_entry(entry))
        except JournalFailed:
            self._metrics.journal_writable.set(0)
            raise
        self.listener(number, entry)
        if self._journal.bytes_written - self._segment_began > self._segment_bytes:
            with contextlib.suppress(JournalFailed):
                self.rotate()
        return number

    def rotate(self) -> None:
        """Go on in a new file.

        Raises:
            JournalFailed: there is none; nothing will be taken any more.
        """
        try:
            self._journal.rotate()
            self._begin()
        except JournalFailed:
            self._metrics.journal_writable.set(0)
            raise

    async def kept(self) -> None:
        """Return when everything appended so far is on the disk.

        Raises:
            JournalFailed: the disk refused it.
        """
        await self.keep()

    def keep(self) -> "asyncio.Future[None]":
        """Begin what `kept` waits for, and return what is done then.

        Raises:
            JournalFailed: as `kept`; later, the future has it.
        """
        try:
            keeping = self._journal.keep()
        except JournalFailed:
            self._metrics.journal_writable.set(0)
            raise
        keeping.add_done_callback(self._note_failure)
        return keeping

    async def kept_if_possible(self) -> None:
        """Return when everything is on the disk, or when it is known that it never will be."""
        with contextlib.suppress(JournalFailed):
            await self._journal.kept()

    def remove_projected(self, upto: int, now: Callable[[], float] = time.time) -> int:
        """Remove files of which SQL has every entry up to `upto`; return how many.

        The newest of them stay for a while: an older backup of the database goes on from them.
        """
        files = segments(self.folder)
        sizes = {path: path.stat().st_size for _, path in files}
        total = sum(sizes.values())
        removed = 0
        for (_, path), (following, _) in pairwise(files):
            is_old = now() - path.stat().st_mtime > RETAINED_SECONDS
            if following > upto + 1 or not (is_old or total > RETAINED_BYTES):
                break
            path.unlink()
            total -= sizes[path]
            removed += 1
        self._metrics.journal_bytes.set(total)
        return removed

    def _note_failure(self, keeping: "asyncio.Future[None]") -> None:
        if not keeping.cancelled() and keeping.exception() is not None:
            self._metrics.journal_writable.set(0)

    def close(self) -> None:
        """Sync and close the file. Idempotent."""
        with contextlib.suppress(JournalFailed):
            self._journal.close()

    def _begin(self) -> None:
        self._segment_began = self._journal.bytes_written
        self.segments_begun += 1
        entry = Entry(version=VERSION, at_ns=time.time_ns(), opened=self._opened)
        self.listener(self._journal.append(encode_entry(entry)), entry)


# -------------------------------------------------------------------- opening


class FoundJournal:
    """A journal as a start finds it in its folder, to be replayed and gone on with."""

    def __init__(self, folder: Path, bot_id: str) -> None:
        """Look at what is there; a folder without a journal begins a new one.

        Raises:
            ConfigError: the journal is of another bot.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        found = _identity(folder)
        self.is_new = found is None
        self.opened = found or Opened(uuid.uuid4().hex, bot_id)
        if self.opened.bot_id != bot_id:
            raise ConfigError(
                f"{folder}: the journal of bot {self.opened.bot_id!r}, and this is {bot_id!r}; "
                "allowed: the same TOUCHSTONE_GATEWAY_BOT_ID, or another data folder"
            )
        self.first = min((number for number, _ in segments(folder)), default=0)
        self.number = self.first
        self.damage = ""
        self.next_number = _end(folder)
        """The number after the last entry that stands whole in the last file."""

    def entries(self, number: int) -> Iterator[tuple[int, Entry]]:
        """Yield the entries from this number on; a torn end is cut off.

        What stands behind a damaged place is not read; `damage` says so then.

        Raises:
            ConfigError: an entry was written by a newer version.
        """
        reading = Reading(self.folder, max(number, self.first))
        try:
            for kept in reading:
                yield kept.number, decode_entry(kept.payload)
        except Damaged as fault:
            self.damage = str(fault)
        except UnknownEntryError as error:
            raise ConfigError(f"{self.folder}: {error}") from None
        else:
            cut_torn_end(reading)
            remove_empty(self.folder, reading.number)
        self.number = reading.number

    def in_folder(self, folder: Path) -> "FoundJournal":
        """Return the same journal in the folder where it is now."""
        return FoundJournal(folder, self.opened.bot_id)

    def set_aside(self) -> tuple["FoundJournal", Path]:
        """Give a damaged journal's folder another name; return the one that takes its place."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        aside = self.folder.rename(self.folder.with_name(f"{self.folder.name}-damaged-{now}"))
        _log.error("journal_damaged", set_aside=str(aside), why=self.damage)
        fresh = FoundJournal(self.folder, self.opened.bot_id)
        sync_folder(self.folder.parent)
        return fresh, aside


def _end(folder: Path) -> int:
    files = segments(folder)
    if not files:
        return 0
    reading = Reading(folder, files[-1][0])
    with contextlib.suppress(Damaged):
        for _ in reading:
            pass
    return reading.number


def _identity(folder: Path) -> Opened | None:
    """Return which journal is in a folder: what the first whole entry of any file says."""
    for number, path in reversed(segments(folder)):
        with contextlib.suppress(Damaged, UnknownEntryError):
            content = path.read_bytes()
            if framing.first_number(str(path), content) is None:
                continue
            for record in framing.records(str(path), content, number, torn_end_allowed=True):
                opened = decode_entry(record.payload).opened
                if opened is not None:
                    return opened
                break
    return None

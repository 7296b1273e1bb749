"""What keeps the venue: its folder, its journal, and when a snapshot is taken."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from lob.errors import Fault
from services.paper_exchange.entries import ADVANCE, encode_entry
from services.paper_exchange.recovery import FolderLock, Recovered, recover
from services.paper_exchange.snapshots import (
    ForkedSnapshot,
    snapshot_path,
    snapshots,
    write_snapshot,
)
from touchstone.exchange import Exchange, ExchangeConfig
from touchstone.exchange.state import outcome
from touchstone.kit.journal import Journal, JournalFailed, segments

SNAPSHOTS_KEPT: Final = 2
"""The newest, and the one before it, with the journal from there on."""

WRITER_SECONDS_MAX: Final = 300.0
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePolicy:
    """Whether answers wait for the disk, and after how much a snapshot is due.

    After `snapshot_records` records or `snapshot_seconds`, whichever comes first: both bound what a
    restart has to replay.
    """

    sync: bool = True
    snapshot_records: int = 50_000
    snapshot_seconds: float = 300.0


class Store:
    """Keep what happens to one venue; one process has one folder.

    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()), ExchangeConfig(flow=FlowKind.NONE))
    >>> store.recovered.begun
    True
    >>> store.close()
    """

    def __init__(
        self,
        folder: Path,
        config: ExchangeConfig,
        policy: StorePolicy | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the folder and bring its venue back.

        Raises:
            ConfigError: another process has the folder, or its state is of other settings or code.
            Damaged: a file is not what was written.
            JournalFailed: the folder cannot be written.
        """
        self.folder = folder
        self.policy = policy or StorePolicy()
        self._monotonic = monotonic
        self._lock = FolderLock(folder)
        try:
            self.recovered: Recovered = recover(folder, config)
            self.journal = Journal(folder, self.recovered.number, sync=self.policy.sync)
        except OSError as error:
            self._lock.release()
            raise JournalFailed(f"{folder}: {error.strerror or error}") from None
        except BaseException:
            self._lock.release()
            raise
        self.exchange: Exchange = self.recovered.exchange
        self.snapshot_number = self.recovered.snapshot_number
        self.snapshot_failure = ""
        self._recorded_ns = self.exchange.now_ns
        self._looked_since = monotonic()
        self._due_again_at = 0.0
        self._closed = False
        self._writer: ForkedSnapshot | None = None
        self._writer_began = 0.0

    # ---------------------------------------------------------------- journal

    def record(self, name: str, began_ns: int, fields: bytes = b"null") -> None:
        """Write down what was just done to the venue, when it began, and what came of it.

        Raises:
            JournalFailed: it could not be kept.
        """
        exchange = self.exchange
        self.journal.append(encode_entry(name, began_ns, outcome(exchange), fields))
        self._recorded_ns = exchange.now_ns

    async def kept(self) -> None:
        """Return when everything recorded so far is on the disk (at once where sync is off).

        What else comes in at this moment is carried out before the disk is asked: once for all.
        """
        if self.policy.sync:
            await asyncio.sleep(0)
        await self.journal.kept()

    @property
    def records_since_snapshot(self) -> int:
        """Return how many records a restart would replay now."""
        return self.journal.number - self.snapshot_number

    @property
    def snapshot_age_seconds(self) -> float:
        """Return how long ago the newest snapshot was written, by whichever process."""
        try:
            written_at = snapshot_path(self.folder, self.snapshot_number).stat().st_mtime
        except OSError:
            return math.nan
        return max(0.0, time.time() - written_at)

    def records_written(self) -> int:
        """Return how many records were written since the start."""
        return self.journal.number - self.recovered.number

    def syncs(self) -> int:
        """Return how often the disk was waited for since the start, for however many answers."""
        return self.journal.syncs

    def journal_bytes(self) -> int:
        """Return the size of the journal's files together."""
        return sum(path.stat().st_size for _, path in segments(self.folder))

    # ---------------------------------------------------------------- snapshots

    def look_after(self) -> None:
        """Take a snapshot where one is due, and see to one under way. Called between commands.

        A snapshot that fails is told and tried again later: the journal has it all.

        Raises:
            JournalFailed: the journal could not go on in a new file.
        """
        if self._writer is not None:
            self._see_to(self._writer)
        elif self._is_due():
            number = self._rotate()
            try:
                self._writer = ForkedSnapshot(self.folder, number, self.exchange)
            except OSError as error:
                self._snapshot_failed(str(error))
            else:
                self._writer_began = self._monotonic()

    def snapshot(self) -> None:
        """Write a snapshot now, and wait for it.

        Raises:
            OSError, Fault: there is none; the journal has it all.
        """
        number = self._rotate()
        write_snapshot(self.folder, number, self.exchange)
        self._taken(number)

    def close(self, *, intact: bool = True) -> None:
        """Write a last snapshot, so that the next start has nothing to replay, and let go.

        Idempotent. There is none where the venue is not `intact`, or the journal has failed: what
        is in memory then went on too far.
        """
        if self._writer is not None:
            self._writer.give_up()
            self._writer = None
        try:
            if intact and not self.journal.failure and self.records_since_snapshot:
                self.snapshot()
        except (OSError, Fault) as error:
            _log.warning("no last snapshot, the journal is replayed: %s", error)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the folder as it is. Idempotent."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(JournalFailed):
                self.journal.close()
            self._lock.release()

    # ---------------------------------------------------------------- inside

    def _rotate(self) -> int:
        """Begin a new file of the journal; a snapshot stands at a record, its time included."""
        if self.exchange.now_ns > self._recorded_ns:
            self.record(ADVANCE, self.exchange.now_ns)
        return self.journal.rotate()

    def _is_due(self) -> bool:
        records = self.records_since_snapshot
        if not records or self._monotonic() < self._due_again_at:
            return False
        return (
            records >= self.policy.snapshot_records
            or self._monotonic() - self._looked_since >= self.policy.snapshot_seconds
        )

    def _see_to(self, writer: ForkedSnapshot) -> None:
        if writer.ended():
            self._writer = None
            if writer.failure:
                self._snapshot_failed(writer.failure)
            else:
                self._taken(writer.number)
        elif self._monotonic() - self._writer_began > WRITER_SECONDS_MAX:
            writer.give_up()
            self._writer = None
            self._snapshot_failed(f"not written within {WRITER_SECONDS_MAX:g} s")

    def _snapshot_failed(self, why: str) -> None:
        _log.error("snapshot failed, the journal goes on: %s", why)
        self.snapshot_failure = why
        self._due_again_at = self._monotonic() + self.policy.snapshot_seconds

    def _taken(self, number: int) -> None:
        """Note a snapshot that is whole, and remove what no restart needs any more."""
        self.snapshot_number = number
        self.snapshot_failure = ""
        self._looked_since = self._writer_began or self._monotonic()
        with contextlib.suppress(OSError):
            remove_old(self.folder)


def remove_old(folder: Path) -> None:
    """Remove the snapshots before the newest two, and the journal's files before those."""
    found = snapshots(folder)
    for _, path in found[:-SNAPSHOTS_KEPT]:
        path.unlink()
    oldest = found[-SNAPSHOTS_KEPT:][0][0]
    files = segments(folder)
    for (_, path), (following, _) in pairwise(files):
        if following <= oldest:
            path.unlink()

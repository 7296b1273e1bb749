"""Write the journal's entries into SQL behind the gateway's back, each exactly once.

Entries come from memory while SQL keeps up; what no longer fits there is read again from the
journal's files. Whatever goes wrong, the next try begins with asking SQL how far it is: a batch
whose answer was lost, a database that was restored from a backup and one that was away all end the
same way.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import Any, Final

import structlog

from lob.errors import Fault, Unavailable
from services.order_gateway.journal import GatewayJournal
from services.order_gateway.metrics_safety import StorageMetrics
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_writer import Batcher
from touchstone.kit.journal import Kept, Reading, segments
from touchstone.kit.ledger_entries import Entry, decode_entry

ENTRIES_IN_MEMORY_MAX: Final = 5_000
BATCH_ENTRIES: Final = 500
LIVE_ENTRIES: Final = 200
"""How many are written at once: fewer while SQL keeps up, which is when orders come."""

SLICE_ENTRIES: Final = 25
"""After so many the event loop gets a turn: orders must not wait for their book-keeping."""

LINGER_SECONDS: Final = 0.05
"""How long entries gather before they are written."""

RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

_log = structlog.get_logger("touchstone.gateway.projector")


class Projector:
    """Follow one journal into one event store; `offer` is the journal's listener."""

    def __init__(self, store: EventStore, journal: GatewayJournal, metrics: StorageMetrics) -> None:
        self._store = store
        self._journal = journal
        self._metrics = metrics
        self._memory: deque[tuple[int, Entry]] = deque()
        self._wake = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._batcher: Batcher | None = None
        self._next = 0
        self._counted = journal.number
        self._files: Iterator[Kept] | None = None
        self._segments_seen = 0
        self._waiting_since_ns: int | None = time.time_ns()
        self.problem = ""
        """Why SQL does not follow; '' while it does."""
        metrics.backlog_records.set_function(lambda: float(self.behind))
        metrics.backlog_age.set_function(lambda: self.age_seconds)

    @property
    def behind(self) -> int:
        """Return how many entries SQL does not have yet."""
        return self._journal.number - self._next

    @property
    def age_seconds(self) -> float:
        """Return how old the oldest entry is that SQL does not have; 0 where it has all."""
        if self._waiting_since_ns is None:
            return 0.0
        return max(0.0, (time.time_ns() - self._waiting_since_ns) / 1e9)

    def offer(self, number: int, entry: Entry) -> None:
        """Take a new entry; never waits. What does not fit into memory is in the files."""
        if len(self._memory) >= ENTRIES_IN_MEMORY_MAX:
            self._memory.clear()
        self._memory.append((number, entry))
        if self._waiting_since_ns is None:
            self._waiting_since_ns = entry.at_ns
        self._wake.set()

    async def check(self) -> str:
        """Return a readiness detail; `Unavailable` while SQL does not follow."""
        if self.problem:
            raise Unavailable(f"{self.problem}; {self.behind} records wait in the journal")
        return f"{self.behind} records behind"

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        failed = 0
        while True:
            try:
                written = await self._step()
            except Fault:
                await asyncio.sleep(RETRY_SECONDS[min(failed, len(RETRY_SECONDS) - 1)])
                failed += 1
                continue
            failed = 0
            if not written:
                await self._wake.wait()
            if self.behind < LIVE_ENTRIES:
                await asyncio.sleep(LINGER_SECONDS)

    async def catch_up(self, seconds: float) -> bool:
        """Return whether SQL had everything that is here now within so many seconds."""
        wanted = self._journal.number
        try:
            async with asyncio.timeout(seconds):
                while self._next < wanted:
                    await self._step()
        except (TimeoutError, Fault):
            return False
        return True

    # ---------------------------------------------------------------- inside

    async def _step(self) -> int:
        """Write one batch; return how many entries were in it."""
        # Counted here and not one by one: appending is on the way of an order.
        self._metrics.journal_records.inc(self._journal.number - self._counted)
        self._counted = self._journal.number
        async with self._stepping:
            try:
                written = await self._write_some()
            except Fault as fault:
                self._batcher = None
                self._metrics.failures.inc()
                if not self.problem:
                    _log.warning("store_does_not_follow", why=str(fault))
                self.problem = str(fault)
                raise
            except asyncio.CancelledError:
                # Nobody knows whether the batch was written: SQL is asked.
                self._batcher = None
                raise
            if self.problem:
                _log.info("store_follows", behind=self.behind)
                self.problem = ""
            return written

    async def _write_some(self) -> int:
        if self._batcher is None:
            self._batcher = await self._store.batcher(self._journal.journal_id)
            self._next = 0 if self._batcher.place is None else self._batcher.place + 1
            self._files = None
        entries = await self._take()
        if not entries:
            return 0
        batch = self._batcher.begin()
        for place, (number, entry) in enumerate(entries):
            if place % SLICE_ENTRIES == SLICE_ENTRIES - 1:
                await asyncio.sleep(0)
            self._batcher.add(batch, number, entry)
        # Never ahead of the disk: a power cut must not leave SQL with what the journal lost.
        await self._journal.kept_if_possible()
        for _ in self._batcher.ending(batch):
            await asyncio.sleep(0)
        await _to_its_end(self._store.write(batch))
        last, entry = entries[-1]
        self._next = last + 1
        caught_up = self._next >= self._journal.number
        self._waiting_since_ns = None if caught_up else entry.at_ns
        await self._remove_files()
        return len(entries)

    async def _take(self) -> list[tuple[int, Entry]]:
        """Return the next entries, from memory where it has them, else from the files."""
        self._wake.clear()
        memory = self._memory
        while memory and memory[0][0] < self._next:
            memory.popleft()
        if memory and memory[0][0] == self._next:
            self._files = None
            return [memory.popleft() for _ in range(min(len(memory), LIVE_ENTRIES))]
        if self._next >= self._journal.number:
            return []
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[tuple[int, Entry]]:
        """Read entries that are no longer in memory; the first may come after a gap."""
        again = self._files is not None
        if self._files is None:
            first = min((number for number, _ in segments(self._journal.folder)), default=0)
            self._files = iter(Reading(self._journal.folder, max(self._next, first)))
        found = [
            (kept.number, decode_entry(kept.payload)) for kept in islice(self._files, BATCH_ENTRIES)
        ]
        if not found:
            self._files = None
            return self._read() if again else []
        return found

    async def _remove_files(self) -> None:
        """After each change of the journal's file, remove files that nobody needs any more."""
        if self._journal.segments_begun == self._segments_seen:
            return
        await self._store.checkpoint()
        self._segments_seen = self._journal.segments_begun
        removed = await asyncio.to_thread(self._journal.remove_projected, self._next - 1)
        if removed:
            _log.info("journal_files_removed", count=removed)


async def _to_its_end(write: Coroutine[Any, Any, None]) -> None:
    """Wait for a transaction also when cancelled: half a one would hold its locks."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise

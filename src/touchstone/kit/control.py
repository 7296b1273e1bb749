"""One versioned control state in Redis, as router and gateway see it: the store and its reader.

Permission expires, prohibition never does: a record that is lost, lower than one seen before, or
too old for its user only ever closes. A reader that sends (a member) holds a lease besides: it
acknowledges each generation once it has taken effect, and without a lease it is closed.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

import structlog
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from lob.errors import Fault
from touchstone.kit.control_store import (
    AuditEntry,
    ControlRecord,
    ControlStore,
    UnreadableRecord,
    record_from_fields,
    record_from_ring,
    require_text,
)
from touchstone.kit.membership import Membership, leave, renew
from touchstone.kit.tasks import stop_tasks

__all__ = [
    "KILL_SCOPE",
    "ROLLOUT_SCOPE",
    "SIMULATOR_SCOPE",
    "AuditEntry",
    "ControlReader",
    "ControlRecord",
    "ControlStore",
    "ControlView",
    "UnreadableRecord",
    "ViewStatus",
    "require_text",
]

KILL_SCOPE: Final = "kill:global"
ROLLOUT_SCOPE: Final = "rollout"
SIMULATOR_SCOPE: Final = "simulator"
"""Each new generation of it asks simulators to read their configuration again."""

# A generation that follows at once is applied at once; after that the poll takes over.
APPLY_ATTEMPTS: Final = 4

_log = structlog.get_logger("touchstone.control")


class ViewStatus(StrEnum):
    """What the last answer of Redis amounted to; only KNOWN permits anything."""

    KNOWN = "KNOWN"
    NEVER_READ = "NEVER_READ"
    MISSING = "MISSING"
    REGRESSED = "REGRESSED"
    UNREADABLE = "UNREADABLE"


@dataclass(frozen=True, slots=True)
class ControlView:
    """What a reader knows at this instant.

    `record` is the newest good record ever seen, even when `known` is false. `age_seconds` counts
    from before the last answered read was sent, infinite when there was none; the caller's own
    limit decides what is stale. `lease_seconds_left` is 0 where this member's lease has lapsed,
    which closes it to new risk, and infinite for a reader that is no member. `why` is one line,
    empty when all is well.
    """

    record: ControlRecord | None
    age_seconds: float
    known: bool
    why: str
    status: ViewStatus = ViewStatus.NEVER_READ
    lease_seconds_left: float = float("inf")


class ControlReader:
    """Keep an up-to-date view of one scope, readable without waiting.

    The doorbell makes it quick: its message is the new record, which is applied before it is read
    back. A poll makes it sure. Use it as an async context manager. A
    generation below one already seen (a restored backup, FLUSHALL), or the same one with another
    content (a failover that lost a write), makes the view unknown until a higher one is written.

    With a `membership` each read is also the renewal of its lease, and a new generation is
    acknowledged as soon as it has taken effect: the view is changed, what was checked before is
    handed over, and `before_ack` is done.
    """

    def __init__(
        self,
        store: ControlStore,
        scope: str,
        *,
        poll_seconds: float = 0.1,
        floor_generation: int = 0,
        membership: Membership | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._scope = scope
        self._membership = membership
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._seen_generation = floor_generation
        self._answered_at: float | None = None
        self._view = ControlView(None, float("inf"), known=False, why="never read")
        self._failing = True
        self._reading = asyncio.Lock()
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[ControlView], None]] = []

    @property
    def seen_generation(self) -> int:
        """Return the highest generation ever seen, the floor for the next write."""
        return self._seen_generation

    def view(self) -> ControlView:
        """Return what is known now; never waits."""
        age = float("inf") if self._answered_at is None else self._monotonic() - self._answered_at
        lease = self._membership.lease.seconds_left() if self._membership else float("inf")
        stopped = bool(self._tasks) and self._tasks[0].done()
        found = self._view
        why = "the reader is stopped" if stopped else found.why
        # Not by `replace`, which takes twice as long: every order asks.
        return ControlView(found.record, age, found.known, why, found.status, lease)

    def subscribe(self, listener: Callable[[ControlView], None]) -> None:
        """Call `listener` with each view that differs in record or status; it must not block."""
        self._listeners.append(listener)

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._poll(), name=f"control poll {self._scope}"),
            asyncio.create_task(self._listen(), name=f"control doorbell {self._scope}"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await stop_tasks(self._tasks)
        if self._membership is not None:
            with contextlib.suppress(Fault):
                await leave(self._store, self._scope, self._membership)

    async def refresh(self) -> ControlView:
        """Read now, whatever the poll is doing, and return the view; raises no fault."""
        # One read at a time: an older answer that arrives late must not look like a regression.
        async with self._reading:
            for _ in range(APPLY_ATTEMPTS):
                if not await self._ask():
                    break
        return self.view()

    async def _ask(self) -> bool:
        """Apply what is new and read once; return whether there is more to apply."""
        applied = await self._apply_present()
        sent_at, seen_before = self._monotonic(), self._seen_generation
        try:
            record, granted = await self._read()
        except UnreadableRecord as fault:
            self._answered_at = sent_at
            self._publish(
                replace(self._view, known=False, why=str(fault), status=ViewStatus.UNREADABLE)
            )
        except Fault as fault:
            self._view = replace(self._view, why=str(fault))
            self._failing = True
        else:
            if record is not None and seen_before <= record.generation < self._seen_generation:
                # Answered before the doorbell brought a newer one: neither news nor a step back.
                return applied
            self._on_answer(record, sent_at)
            if granted and self._membership is not None and self._view.known:
                self._membership.lease.renew(sent_at)
        return applied and self._to_apply() is not None

    async def _read(self) -> tuple[ControlRecord | None, bool]:
        """Return the record, and whether this member's lease is renewed."""
        if self._membership is None:
            return await self._store.read(self._scope), False
        granted, fields = await renew(self._store, self._scope, self._membership)
        return (record_from_fields(self._scope, fields) if fields else None), granted

    def _to_apply(self) -> ControlRecord | None:
        """Return the record that this member has yet to acknowledge."""
        record = self._view.record
        if self._membership is None or record is None or not self._view.known:
            return None
        return None if record.generation == self._membership.applied_generation else record

    async def _apply_present(self) -> bool:
        """Make way for an acknowledgement; return whether nothing stands in its way."""
        record = self._to_apply()
        if record is None or self._membership is None:
            return True
        try:
            await self._membership.apply(record)
        except (Fault, TimeoutError) as error:
            why = str(error) or "a send or its record is still under way"
            _log.warning(
                "not_acknowledged", scope=self._scope, generation=record.generation, why=why
            )
            return False
        return True

    def _on_answer(self, record: ControlRecord | None, sent_at: float) -> None:
        self._answered_at = sent_at
        last = self._view.record
        seen = self._seen_generation
        status, why = ViewStatus.KNOWN, ""
        if record is None:
            status, why = ViewStatus.MISSING, f"no record in Redis (generation {seen} was seen)"
        elif record.generation < seen:
            why = f"generation {record.generation} in Redis is below {seen}, which was seen"
            status = ViewStatus.REGRESSED
        elif last is not None and record.generation == last.generation and record != last:
            why = f"generation {seen} in Redis is not the one that was seen"
            status = ViewStatus.REGRESSED
        known = status is ViewStatus.KNOWN
        if known and record is not None:
            self._seen_generation = record.generation
            last = record
        self._publish(ControlView(last, 0.0, known=known, why=why, status=status))

    def _publish(self, view: ControlView) -> None:
        changed = (view.record, view.status) != (self._view.record, self._view.status)
        self._view = view
        if self._membership is not None and view.known and view.record is not None:
            self._membership.see(view.record.generation)
        if not changed:
            return
        generation = None if view.record is None else view.record.generation
        log = _log.info if view.known else _log.warning
        log(
            "control_state",
            scope=self._scope,
            status=view.status,
            generation=generation,
            state=None if view.record is None else view.record.state,
            why=view.why,
        )
        for listener in self._listeners:
            try:
                listener(self.view())
            except Exception:  # noqa: BLE001 - logged; it must not blind the reader
                _log.exception("control_listener_failed", scope=self._scope)

    async def _poll(self) -> None:
        while True:
            self._rung.clear()
            was_failing = self._failing
            self._failing = False
            await self._refresh_surely()
            if was_failing and not self._failing:
                await self._look_at_durability()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._rung.wait()

    async def _refresh_surely(self) -> None:
        """Refresh; a defect is logged, and closes by the age of the view, not for ever."""
        try:
            await self.refresh()
        except Exception:  # noqa: BLE001 - a reader that ends would keep this process closed
            self._failing = True
            _log.exception("control_read_failed", scope=self._scope)

    async def _look_at_durability(self) -> None:
        """Have the log say where Redis may lose a halt; whatever it answers, the poll goes on."""
        try:
            await self._store.durability_problems()
        except Fault as fault:
            _log.debug("durability_not_known", why=str(fault))
        except Exception:  # noqa: BLE001 - as in `_refresh_surely`
            _log.exception("durability_not_known")

    async def _listen(self) -> None:
        while True:
            try:
                async with self._store.doorbell(self._scope) as pubsub:
                    # Whatever rang while nobody listened was missed: look.
                    self._rung.set()
                    await self._ring_until_silent(pubsub)
            except (Fault, RedisError, OSError, RuntimeError, TimeoutError) as error:
                _log.debug("doorbell_lost", scope=self._scope, error=str(error))
            except Exception:  # noqa: BLE001 - such as a message that is not UTF-8: one of many
                _log.exception("doorbell_failed", scope=self._scope)
            await asyncio.sleep(self._poll_seconds)

    async def _ring_until_silent(self, pubsub: PubSub) -> None:
        """Pass on each ring; return when the server does not answer a ping within a second."""
        pinged = False
        while True:
            async with asyncio.timeout(2.0):
                message = await pubsub.get_message(timeout=1.0)
            if message is None:
                if pinged:
                    return
                async with asyncio.timeout(1.0):
                    await pubsub.ping()
                pinged = True
                continue
            pinged = False
            if message["type"] == "message":
                self._on_ring(record_from_ring(self._scope, message["data"]))
                self._rung.set()

    def _on_ring(self, record: ControlRecord | None) -> None:
        """Apply a newer record at once; whatever else it is, the read after it finds out."""
        if record is None or record.generation <= self._seen_generation:
            return
        self._seen_generation = record.generation
        self._publish(
            replace(self._view, record=record, known=True, why="", status=ViewStatus.KNOWN)
        )

"""Versioned control states in Redis, as router and gateway see them: the store and its readers.

Permission expires, prohibition never does: a record that is lost, lower than one seen before, or
too old for its user only ever closes. A reader that sends (a member) holds a lease besides: it
acknowledges each generation once it has taken effect, and without a lease it is closed.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
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
    channel_of,
    record_from_fields,
    record_from_ring,
    require_text,
)
from touchstone.kit.control_view import ControlView, ScopeTrack, ViewStatus
from touchstone.kit.membership import Membership, Renewal, leave, renew, renew_all
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
    "ScopesReader",
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
# Of reads in a row: by then, with the usual poll, the leases have ended.
FAILURES_TOLD: Final = 5

_log = structlog.get_logger("touchstone.control")


class ScopesReader:
    """Keep an up-to-date view of several scopes, readable without waiting.

    The doorbell makes it quick: its message is the new record, which is applied before it is read
    back. A poll makes it sure: one round trip for all scopes. Use it as an async context manager.
    A generation below one already seen (a restored backup, FLUSHALL), or the same one with another
    content (a failover that lost a write), makes a view unknown until a higher one is written.

    A scope with a membership renews its lease with each read, and acknowledges a new generation as
    soon as it has taken effect: the view is changed, what was checked before is handed over, and
    `before_ack` is done. Scopes stand apart: one that cannot be acknowledged holds up no other.
    Several scopes need a membership each.
    """

    def __init__(
        self,
        store: ControlStore,
        scopes: Mapping[str, Membership | None],
        *,
        floors: Mapping[str, int] | None = None,
        poll_seconds: float = 0.1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._tracks = {
            scope: ScopeTrack(
                scope,
                floor_generation=(floors or {}).get(scope, 0),
                membership=membership,
                monotonic=monotonic,
                on_change=lambda scope=scope: self._changed(scope),  # type: ignore[misc]
            )
            for scope, membership in scopes.items()
        }
        self._by_channel = {channel_of(scope): track for scope, track in self._tracks.items()}
        self._name = next(iter(self._tracks))
        self._failing = True
        self._failures = 0
        self._reading = asyncio.Lock()
        self._rung = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: list[Callable[[str, ControlView], None]] = []
        self.version = 0
        """Another number after each change of any view, and once the reader has stopped."""

    def seen_generation(self, scope: str) -> int:
        """Return the highest generation ever seen, the floor for the next write."""
        return self._tracks[scope].seen_generation

    def view(self, scope: str) -> ControlView:
        """Return what is known of a scope now; never waits."""
        stopped = bool(self._tasks) and self._tasks[0].done()
        return self._tracks[scope].view(stopped=stopped)

    def subscribe(self, listener: Callable[[str, ControlView], None]) -> None:
        """Call `listener` with each scope's view that differs in record or status.

        It must not block.
        """
        self._listeners.append(listener)

    async def __aenter__(self) -> Self:
        self._tasks = [
            asyncio.create_task(self._poll(), name=f"control poll {self._name}"),
            asyncio.create_task(self._listen(), name=f"control doorbell {self._name}"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await stop_tasks(self._tasks)
        members = {s: t.membership for s, t in self._tracks.items() if t.membership is not None}
        for member in members.values():
            member.lease.end()
        self.version += 1
        for scope, member in members.items():
            with contextlib.suppress(Fault):
                await leave(self._store, scope, member)

    async def refresh(self) -> None:
        """Read now, whatever the poll is doing; raises no fault."""
        # One read at a time: an older answer that arrives late must not look like a regression.
        async with self._reading:
            for _ in range(APPLY_ATTEMPTS):
                if not await self._ask():
                    break

    async def _ask(self) -> bool:
        """Apply what is new and read once; return whether there is more to apply."""
        tracks = list(self._tracks.values())
        applied = [await track.apply_present() for track in tracks]
        sent_at = self._monotonic()
        seen_before = [track.seen_generation for track in tracks]
        answers = await self._answers(tracks)
        for track, seen, answer in zip(tracks, seen_before, answers, strict=True):
            if isinstance(answer, UnreadableRecord):
                track.on_unreadable(answer, sent_at)
            elif isinstance(answer, Fault):
                track.on_fault(answer)
                self._failing = True
            else:
                granted, record = answer
                track.on_answer(record, sent_at, seen, granted=granted)
        return any(
            done and track.to_apply() is not None
            for track, done in zip(tracks, applied, strict=True)
        )

    async def _answers(
        self, tracks: list[ScopeTrack]
    ) -> list[tuple[bool, ControlRecord | None] | Fault]:
        """Return for each scope whether its lease is renewed and its record, or what went wrong."""
        if len(tracks) == 1:
            try:
                return [await self._answer(tracks[0])]
            except Fault as fault:
                return [fault]
        members = {t.scope: t.membership for t in tracks if t.membership is not None}
        if len(members) != len(tracks):
            raise AssertionError("several scopes need a membership each")
        try:
            renewals = await renew_all(self._store, members)
        except Fault as fault:
            return [fault] * len(tracks)
        return [_readable(t.scope, r) for t, r in zip(tracks, renewals, strict=True)]

    async def _answer(self, track: ScopeTrack) -> tuple[bool, ControlRecord | None]:
        if track.membership is None:
            return False, await self._store.read(track.scope)
        granted, fields = await renew(self._store, track.scope, track.membership)
        return granted, (record_from_fields(track.scope, fields) if fields else None)

    def _changed(self, scope: str) -> None:
        self.version += 1
        for listener in self._listeners:
            try:
                listener(scope, self.view(scope))
            except Exception:  # noqa: BLE001 - logged; the others are to be told all the same
                _log.exception("control_listener_failed", scope=scope)

    async def _poll(self) -> None:
        while True:
            self._rung.clear()
            was_failing = self._failing
            self._failing = False
            await self._refresh_surely()
            self._tell_of_failures()
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
            _log.exception("control_read_failed", scope=self._name)

    def _tell_of_failures(self) -> None:
        """Log once that Redis is away, when it lasts, and once that it is back."""
        if not self._failing:
            if self._failures >= FAILURES_TOLD:
                _log.info("control_answers_again", scope=self._name, failed_reads=self._failures)
            self._failures = 0
            return
        self._failures += 1
        if self._failures == FAILURES_TOLD:
            _log.warning("control_unreachable", scope=self._name, why=self.view(self._name).why)

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
                async with self._store.doorbell(*self._tracks) as pubsub:
                    # Whatever rang while nobody listened was missed: look.
                    self._rung.set()
                    await self._ring_until_silent(pubsub)
            except (Fault, RedisError, OSError, RuntimeError, TimeoutError) as error:
                _log.debug("doorbell_lost", scope=self._name, error=str(error))
            except Exception:  # noqa: BLE001 - such as a message that is not UTF-8: one of many
                _log.exception("doorbell_failed", scope=self._name)
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
            track = self._by_channel.get(message["channel"])
            if message["type"] == "message" and track is not None:
                track.on_ring(record_from_ring(track.scope, message["data"]))
                self._rung.set()


class ControlReader:
    """Keep an up-to-date view of one scope: a `ScopesReader` of one, member or not."""

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
        self._scope = scope
        self._reader = ScopesReader(
            store,
            {scope: membership},
            floors={scope: floor_generation},
            poll_seconds=poll_seconds,
            monotonic=monotonic,
        )

    @property
    def seen_generation(self) -> int:
        """Return the highest generation ever seen, the floor for the next write."""
        return self._reader.seen_generation(self._scope)

    def view(self) -> ControlView:
        """Return what is known now; never waits."""
        return self._reader.view(self._scope)

    def subscribe(self, listener: Callable[[ControlView], None]) -> None:
        """Call `listener` with each view that differs in record or status; it must not block."""
        self._reader.subscribe(lambda _scope, view: listener(view))

    async def __aenter__(self) -> Self:
        await self._reader.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def refresh(self) -> ControlView:
        """Read now, whatever the poll is doing, and return the view; raises no fault."""
        await self._reader.refresh()
        return self.view()


def _readable(scope: str, renewal: Renewal | Fault) -> tuple[bool, ControlRecord | None] | Fault:
    if isinstance(renewal, Fault):
        return renewal
    granted, fields = renewal
    try:
        return granted, (record_from_fields(scope, fields) if fields else None)
    except UnreadableRecord as fault:
        return fault

"""The kill switch of one gateway process: Redis state, a latch of its own, and a watermark.

The effective state is the strictest of what Redis says and what this process was told directly. A
tightening holds in process from the first instant, whether or not Redis can be reached, and its
latch ends only when Redis is seen to hold something at least as strict. Nothing is ever loosened
because something is missing, old, or lower than before. Without a lease the gate is closed, and a
tightening that reached Redis is answered once every gateway has acknowledged it or lost its lease.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from lob.errors import Conflict, Fault, InvalidInput, Unavailable
from services.order_gateway.metrics import GatewayMetrics
from touchstone.kit.control import (
    KILL_SCOPE,
    ControlReader,
    ControlRecord,
    ControlStore,
    ControlView,
    ViewStatus,
)
from touchstone.kit.event_store import EventStore, Record, Watermark
from touchstone.kit.membership import Acknowledgement, not_waited, wait_for_acks
from touchstone.perps.kill import (
    Gate,
    TradingState,
    is_loosening,
    parse_state,
    strictest,
    why_not,
)

PERSIST_SECONDS: Final = 0.4
PERSIST_ATTEMPTS: Final = 5
WATCH_SECONDS: Final = 0.05
CLOSED_WHEN_UNKNOWN: Final = TradingState.REDUCE_ONLY

_log = structlog.get_logger("touchstone.gateway.kill")


@dataclass(frozen=True, slots=True)
class Latch:
    """A tightening this process was told: it holds until Redis is seen to hold it too."""

    state: TradingState
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of the kill switch came to; `persisted` says whether Redis has it.

    `acknowledgement` is that of a tightening, None for a loosening, which waits for nobody.
    """

    state: TradingState
    generation: int | None
    persisted: bool
    detail: str
    acknowledgement: Acknowledgement | None = None


class KillSwitch:
    """Answer `gate()` without waiting, change the state, and keep latch and watermark."""

    def __init__(
        self,
        control: ControlStore,
        reader: ControlReader,
        store: EventStore,
        metrics: GatewayMetrics,
        *,
        watermark: Watermark | None,
        first_state: TradingState,
        stale_after_seconds: float,
    ) -> None:
        self._control = control
        self._reader = reader
        self._store = store
        self._metrics = metrics
        self._watermark = watermark
        self._first_state = first_state
        self._stale_after_seconds = stale_after_seconds
        self._latch: Latch | None = None
        self._changing = asyncio.Lock()
        self._remembering = asyncio.Lock()
        self._told_generation = watermark.generation if watermark else 0
        self.may_go_active: Callable[[], str] = lambda: ""
        """Returns why ACTIVE is not allowed yet (positions not reconciled), '' when it is."""

    def gate(self) -> Gate:
        """Return the effective state now; never waits, so that nothing can come in between."""
        view = self._reader.view()
        state, known, why = self._from_redis(view)
        if self._latch is not None:
            latched = self._latch.state
            if latched.strictness >= state.strictness:
                why = f"{self._latch.reason} (held in process until Redis confirms)"
                known = True
            state = strictest((state, latched))
        return Gate(state=state, known=known, age_seconds=view.age_seconds, why=why)

    def describe(self) -> dict[str, Any]:
        """Return the kill switch as `GET /v1/kill-switch` shows it."""
        gate, view = self.gate(), self._reader.view()
        return {
            "state": gate.state.value,
            "known": gate.known,
            "why": gate.why,
            "scope": KILL_SCOPE,
            "generation": self.generation,
            "age_seconds": None if view.record is None else round(view.age_seconds, 3),
            "leased": view.lease_seconds_left > 0,
            "persisted": self._latch is None,
            "record": None
            if view.record is None
            else {
                "generation": view.record.generation,
                "state": view.record.state,
                "actor": view.record.actor,
                "reason": view.record.reason,
                "updated_at": view.record.updated_at,
            },
        }

    @property
    def generation(self) -> int:
        """Return the highest generation seen or stored; a loosening has to name it."""
        mark = self._watermark.generation if self._watermark else 0
        return max(self._reader.seen_generation, mark)

    async def change(
        self,
        wanted: TradingState,
        *,
        actor: str,
        reason: str,
        expected_generation: int | None,
    ) -> Change:
        """Tighten (always works) or loosen (needs reason, generation and a live Redis).

        Raises:
            Conflict: the loosening is not allowed from the present state or generation.
            InvalidInput: the loosening has no reason or no generation.
            Unavailable: a loosening while the control state is unknown or Redis is away.
        """
        present = self.gate().state
        if is_loosening(present, wanted):
            return await self._loosen(present, wanted, actor, reason, expected_generation)
        return await self.tighten(wanted, actor=actor, reason=reason)

    async def tighten(self, wanted: TradingState, *, actor: str, reason: str) -> Change:
        """Close at once in process, then persist, then wait for the other gateways.

        The answer says whether Redis has it and who acknowledged it; without Redis nobody else can
        be asked, and their leases close them within half a second.
        """
        started = time.monotonic()
        # A blank reason could never be persisted, and its latch never be let go.
        reason = reason.strip() or f"set to {wanted}"
        state = strictest((wanted, self.gate().state))
        held = self._latch.state if self._latch else TradingState.ACTIVE
        self._latch = Latch(strictest((state, held)), actor, reason)
        _log.warning("kill_switch_tightened", state=state, actor=actor, reason=reason)
        detail = "persisted"
        try:
            async with asyncio.timeout(PERSIST_SECONDS):
                await self._persist_latch()
        except TimeoutError:
            detail = f"held in process; Redis did not answer within {PERSIST_SECONDS} s"
        except Fault as fault:
            detail = f"held in process; {fault}"
        if self._latch is not None:
            told = not_waited("Redis does not have it", time.monotonic() - started)
            return Change(state, None, persisted=False, detail=detail, acknowledgement=told)
        generation = self.generation
        told = await wait_for_acks(self._control, KILL_SCOPE, generation, since=started)
        if told.acked is not None:
            self._metrics.ack_seconds.labels(KILL_SCOPE).observe(told.seconds)
        _log.warning("kill_switch_acknowledged", generation=generation, what=told.describe())
        return Change(state, generation, persisted=True, detail=detail, acknowledgement=told)

    async def watch(self, on_closed: Callable[[], Awaitable[None]]) -> None:
        """Keep metrics, watermark, latch and first state up to date, until cancelled.

        `on_closed` is called whenever the switch is set to REDUCE_ONLY or stricter (not when the
        state is merely unknown: that closes the gate, but cancels nothing).
        """
        closed_before = False
        tried = 0
        while True:
            gate = self.gate()
            self._metrics.kill_state.set(gate.state.strictness)
            self._metrics.control_age.labels(KILL_SCOPE).set(gate.age_seconds)
            closed = gate.known and gate.state is not TradingState.ACTIVE
            # First and by itself: no store or Redis that fails may keep entries alive.
            closed_before = closed and (closed_before or await _succeeds(on_closed))
            await _succeeds(self._note_generation)
            tried += 1
            # Every fifth turn: what Redis refused a moment ago is not asked for at once.
            if tried % 5 == 1:
                await _succeeds(self._first_record, PERSIST_SECONDS)
                await _succeeds(self._persist_latch, PERSIST_SECONDS)
            await asyncio.sleep(WATCH_SECONDS)

    def _from_redis(self, view: ControlView) -> tuple[TradingState, bool, str]:
        last = parse_state(view.record.state) if view.record else CLOSED_WHEN_UNKNOWN
        closed = strictest((last, CLOSED_WHEN_UNKNOWN))
        if self._watermark is not None and view.record is None:
            closed = strictest((closed, parse_state(self._watermark.state)))
        age = view.age_seconds
        if age > self._stale_after_seconds:
            limit = self._stale_after_seconds
            shown = "never read" if age == float("inf") else f"{age:.3f} s old"
            why = f"control state is {shown}, limit {limit} s"
            return closed, False, f"{why}: {view.why}" if view.why else why
        if view.status is ViewStatus.MISSING:
            return TradingState.HALTED, False, view.why
        if not view.known or view.record is None:
            return closed, False, view.why
        if self._watermark is not None and view.record.generation < self._watermark.generation:
            mark = self._watermark.generation
            return closed, False, f"generation {view.record.generation} is below {mark}"
        if view.lease_seconds_left <= 0:
            return closed, False, f"no lease: {view.why or 'it is not granted, or has lapsed'}"
        record = view.record
        return parse_state(record.state), True, f"{record.reason} ({record.actor})"

    async def _loosen(
        self,
        present: TradingState,
        wanted: TradingState,
        actor: str,
        reason: str,
        expected_generation: int | None,
    ) -> Change:
        problem = why_not(present, wanted, reason)
        if problem and not reason.strip():
            raise InvalidInput(problem)
        if problem:
            raise Conflict(problem)
        if expected_generation is None:
            raise InvalidInput(
                "expected_generation: missing; loosening has to name the present one"
            )
        if wanted is TradingState.ACTIVE and (why := self.may_go_active()):
            raise Conflict(f"state: ACTIVE: not allowed yet: {why}")
        if expected_generation != self.generation:
            raise Conflict(
                f"expected_generation: {expected_generation}: the present one is {self.generation}",
            )
        async with self._changing:
            if self._latch is not None:
                raise Conflict("a tightening of this process is not yet confirmed by Redis")
            view = await self._reader.refresh()
            if view.age_seconds > self._stale_after_seconds:
                raise Unavailable(f"Redis does not answer: {view.why}; nothing was loosened")
            # Compared with what the hash holds now, which is nothing after a loss of data.
            found = await self._control.read(KILL_SCOPE)
            if found is not None and view.known and found.generation != expected_generation:
                raise Conflict(
                    f"expected_generation: {expected_generation}: "
                    f"the present one is {found.generation}",
                )
            record = await self._control.write(
                KILL_SCOPE,
                state=wanted.value,
                document={},
                actor=actor,
                reason=reason,
                expected_generation=found.generation if found else 0,
                floor_generation=self.generation,
            )
            await self._reader.refresh()
        _log.warning("kill_switch_loosened", state=wanted, actor=actor, reason=reason)
        await self._note_generation()
        return Change(wanted, record.generation, persisted=True, detail="persisted")

    async def _persist_latch(self) -> None:
        """Write the latch to Redis unless something as strict is there; then let go of it."""
        async with self._changing:
            for _ in range(PERSIST_ATTEMPTS):
                latch = self._latch
                if latch is None:
                    return
                found = await self._control.read(KILL_SCOPE)
                present = parse_state(found.state) if found else TradingState.HALTED
                state = strictest((latch.state, present))
                if found is None or state is not present:
                    # Compared and not forced: another process may have closed further meanwhile.
                    with contextlib.suppress(Conflict):
                        await self._control.write(
                            KILL_SCOPE,
                            state=state.value,
                            document={},
                            actor=latch.actor,
                            reason=latch.reason,
                            expected_generation=found.generation if found else 0,
                            floor_generation=self.generation,
                        )
                view = await self._reader.refresh()
                if self._confirms(view, latch) and self._latch is latch:
                    self._latch = None
                    return

    def _confirms(self, view: ControlView, latch: Latch) -> bool:
        if not view.known or view.record is None or view.age_seconds > self._stale_after_seconds:
            return False
        return parse_state(view.record.state).strictness >= latch.state.strictness

    async def _first_record(self) -> None:
        """Write the first state of all, where neither Redis nor the event store ever had one."""
        view = self._reader.view()
        if self._watermark is not None or view.status is not ViewStatus.MISSING:
            return
        if view.age_seconds > self._stale_after_seconds or self._reader.seen_generation:
            return
        await self._control.initialise(
            KILL_SCOPE,
            state=self._first_state.value,
            document={},
            actor="order_gateway",
            reason="first start: no control state and no earlier generation",
        )
        await self._reader.refresh()

    async def remember(self, record: ControlRecord) -> None:
        """Keep a generation durably, before it is acknowledged: no restart takes an older one.

        Raises:
            Fault: the event store does not answer.
        """
        async with self._remembering:
            if self._watermark is not None and record.generation <= self._watermark.generation:
                return
            mark = Watermark(record.generation, record.state)
            await self._store.raise_watermark(KILL_SCOPE, mark)
            self._watermark = mark

    async def _note_generation(self) -> None:
        """Put a new generation into the journal, once."""
        view = self._reader.view()
        record = view.record
        if record is None or not view.known or record.generation <= self._told_generation:
            return
        await self.remember(record)
        await self._store.append(
            Record(
                type="kill_switch",
                payload={
                    "state": record.state,
                    "generation": record.generation,
                    "actor": record.actor,
                    "reason": record.reason,
                },
            ),
        )
        self._told_generation = record.generation


async def _succeeds(step: Callable[[], Awaitable[None]], seconds: float | None = None) -> bool:
    """Take one step, for at most `seconds`; return False where it is to be tried again."""
    try:
        async with asyncio.timeout(seconds):
            await step()
    except (Fault, TimeoutError) as error:
        _log.debug("kill_switch_pending", why=str(error) or type(error).__name__)
        return False
    return True

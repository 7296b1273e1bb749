"""One scope of the kill switch in this process: Redis state, a latch of its own, and a watermark.

A tightening holds in process from the first instant, whether or not Redis can be reached, and its
latch ends only when Redis is seen to hold something at least as strict. Nothing is ever loosened
because something is missing, old, or lower than before.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from lob.errors import Conflict, Fault, InvalidInput, Unavailable
from touchstone.kit.control import (
    ControlRecord,
    ControlStore,
    ControlView,
    ScopesReader,
    ViewStatus,
)
from touchstone.kit.ledger_entries import Record, Watermark
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
CLOSED_WHEN_UNKNOWN: Final = TradingState.REDUCE_ONLY

_log = structlog.get_logger("touchstone.gateway.kill")


class KillJournal(Protocol):
    """Where generations are kept over a restart, and changes of the state are told."""

    async def raise_watermark(self, scope: str, mark: Watermark) -> None:
        """Make the highest generation of a scope durable."""
        ...

    async def append(self, record: Record) -> None:
        """Append an event."""
        ...


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

    scope: str
    state: TradingState
    generation: int | None
    persisted: bool
    detail: str
    acknowledgement: Acknowledgement | None = None


def control_scope(scope: str) -> str:
    """Return the name of a scope's record in Redis."""
    return f"kill:{scope}"


class ScopeSwitch:
    """Say what one scope permits without waiting, change it, and keep its latch and watermark."""

    def __init__(
        self,
        scope: str,
        control: ControlStore,
        reader: ScopesReader,
        journal: KillJournal,
        *,
        watermark: Watermark | None,
        first_state: TradingState,
        stale_after_seconds: float,
    ) -> None:
        self.scope = scope
        self.key = control_scope(scope)
        self.version = 0
        """Another number after each change that the reader does not see."""
        self._control = control
        self._reader = reader
        self._journal = journal
        self._watermark = watermark
        self._first_state = first_state
        self._stale_after_seconds = stale_after_seconds
        self._latch: Latch | None = None
        self._changing = asyncio.Lock()
        self._remembering = asyncio.Lock()
        self._told_generation = watermark.generation if watermark else 0

    @property
    def generation(self) -> int:
        """Return the highest generation seen or stored; a loosening has to name it."""
        mark = self._watermark.generation if self._watermark else 0
        return max(self._reader.seen_generation(self.key), mark)

    def gate(self) -> Gate:
        """Return what this scope says now; never waits, so that nothing can come in between."""
        view = self._reader.view(self.key)
        state, known, why = self._from_redis(view)
        if self._latch is not None:
            latched = self._latch.state
            if latched.strictness >= state.strictness:
                why = f"{self._latch.reason} (held in process until Redis confirms)"
                known = True
            state = strictest((state, latched))
        return Gate(state=state, known=known, age_seconds=view.age_seconds, why=why)

    def holds_seconds(self) -> float:
        """Return how long `gate()` stays what it is if nothing comes: until lease or age end."""
        view = self._reader.view(self.key)
        return min(self._stale_after_seconds - view.age_seconds, view.lease_seconds_left)

    def describe(self) -> dict[str, Any]:
        """Return the scope as `GET /v1/kill-switch` shows it."""
        gate, view = self.gate(), self._reader.view(self.key)
        record = view.record
        return {
            "scope": self.scope,
            "state": gate.state.value,
            "known": gate.known,
            "why": gate.why,
            "generation": self.generation,
            "age_seconds": None if record is None else round(view.age_seconds, 3),
            "leased": view.lease_seconds_left > 0,
            "persisted": self._latch is None,
            "record": None
            if record is None
            else {
                "generation": record.generation,
                "state": record.state,
                "actor": record.actor,
                "reason": record.reason,
                "updated_at": record.updated_at,
            },
        }

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
        self.version += 1
        _log.warning(
            "kill_switch_tightened", scope=self.scope, state=state, actor=actor, reason=reason
        )
        detail = "persisted"
        try:
            async with asyncio.timeout(PERSIST_SECONDS):
                await self.persist_latch()
        except TimeoutError:
            detail = f"held in process; Redis did not answer within {PERSIST_SECONDS} s"
        except Fault as fault:
            detail = f"held in process; {fault}"
        if self._latch is not None:
            await self._outlive_restart(self._latch)
            told = not_waited("Redis does not have it", time.monotonic() - started)
            return Change(self.scope, state, None, False, detail, told)
        generation = self.generation
        told = await wait_for_acks(self._control, self.key, generation, since=started)
        _log.warning(
            "kill_switch_acknowledged",
            scope=self.scope,
            generation=generation,
            what=told.describe(),
        )
        return Change(self.scope, state, generation, True, detail, told)

    async def loosen(
        self, wanted: TradingState, *, actor: str, reason: str, expected_generation: int | None
    ) -> Change:
        """Loosen; the caller knows that `wanted` is looser than the present state.

        Raises:
            Conflict: it is not allowed from the present state or generation.
            InvalidInput: it has no reason or no generation.
            Unavailable: the control state is unknown or Redis is away.
        """
        problem = why_not(self.gate().state, wanted, reason)
        if problem and not reason.strip():
            raise InvalidInput(problem)
        if problem:
            raise Conflict(problem)
        if expected_generation is None:
            raise InvalidInput(
                "expected_generation: missing; loosening has to name the present one"
            )
        if expected_generation != self.generation:
            raise Conflict(
                f"expected_generation: {expected_generation}: the present one is {self.generation}",
            )
        async with self._changing:
            record = await self._write_loosened(wanted, actor, reason, expected_generation)
            await self._reader.refresh()
        _log.warning(
            "kill_switch_loosened", scope=self.scope, state=wanted, actor=actor, reason=reason
        )
        await self.note_generation()
        return Change(self.scope, wanted, record.generation, True, "persisted")

    def loosens(self, wanted: TradingState) -> bool:
        """Return whether `wanted` permits more than the scope does now."""
        return is_loosening(self.gate().state, wanted)

    async def persist_latch(self) -> None:
        """Write the latch to Redis unless something as strict is there; then let go of it."""
        if self._latch is None:
            return
        async with self._changing:
            for _ in range(PERSIST_ATTEMPTS):
                latch = self._latch
                if latch is None:
                    return
                found = await self._control.read(self.key)
                present = parse_state(found.state) if found else TradingState.HALTED
                state = strictest((latch.state, present))
                below = found is None or found.generation < self.generation
                if below or state is not present:
                    # Compared and not forced: another process may have closed further meanwhile.
                    with contextlib.suppress(Conflict):
                        await self._control.write(
                            self.key,
                            state=state.value,
                            document={},
                            actor=latch.actor,
                            reason=latch.reason,
                            expected_generation=found.generation if found else 0,
                            floor_generation=self.generation,
                        )
                await self._reader.refresh()
                if self._confirms(self._reader.view(self.key), latch) and self._latch is latch:
                    self._latch = None
                    self.version += 1
                    return

    async def first_record(self) -> None:
        """Write the first state of all, where neither Redis nor the journal ever had one."""
        view = self._reader.view(self.key)
        if self._watermark is not None or view.status is not ViewStatus.MISSING:
            return
        if view.age_seconds > self._stale_after_seconds or self._reader.seen_generation(self.key):
            return
        await self._control.initialise(
            self.key,
            state=self._first_state.value,
            document={},
            actor="order_gateway",
            reason="first start: no control state and no earlier generation",
        )
        await self._reader.refresh()

    async def remember(self, record: ControlRecord) -> None:
        """Keep a generation durably, before it is acknowledged: no restart takes an older one.

        Raises:
            Fault: the journal does not answer.
        """
        await self._raise_watermark(Watermark(record.generation, record.state))

    async def note_generation(self) -> None:
        """Put a new generation into the journal, once."""
        view = self._reader.view(self.key)
        record = view.record
        if record is None or not view.known or record.generation <= self._told_generation:
            return
        await self.remember(record)
        await self._journal.append(
            Record(
                type="kill_switch",
                payload={
                    "scope": self.scope,
                    "state": record.state,
                    "generation": record.generation,
                    "actor": record.actor,
                    "reason": record.reason,
                },
            ),
        )
        self._told_generation = record.generation

    async def _raise_watermark(self, mark: Watermark) -> None:
        async with self._remembering:
            if self._watermark is not None and mark.generation <= self._watermark.generation:
                return
            await self._journal.raise_watermark(self.key, mark)
            self._watermark = mark
            self.version += 1

    async def _outlive_restart(self, latch: Latch) -> None:
        """Have the next start find a generation that Redis does not have: it stays closed.

        What is held in process only would be forgotten by a crash before Redis is back.
        """
        try:
            await self._raise_watermark(Watermark(self.generation + 1, latch.state.value))
        except Fault as fault:
            _log.error("kill_switch_not_kept", scope=self.scope, why=str(fault))

    def _from_redis(self, view: ControlView) -> tuple[TradingState, bool, str]:
        last = parse_state(view.record.state) if view.record else CLOSED_WHEN_UNKNOWN
        closed = strictest((last, CLOSED_WHEN_UNKNOWN))
        mark = self._watermark
        if mark is not None and (view.record is None or view.record.generation < mark.generation):
            closed = strictest((closed, parse_state(mark.state)))
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
        if mark is not None and view.record.generation < mark.generation:
            return closed, False, f"generation {view.record.generation} is below {mark.generation}"
        if view.lease_seconds_left <= 0:
            return closed, False, f"no lease: {view.why or 'it is not granted, or has lapsed'}"
        record, state = view.record, parse_state(view.record.state)
        if mark is not None and record.generation == mark.generation:
            # The mark may be of a tightening that Redis never got; another one took its number.
            state = strictest((state, parse_state(mark.state)))
        return state, True, f"{record.reason} ({record.actor})"

    async def _write_loosened(
        self, wanted: TradingState, actor: str, reason: str, expected_generation: int
    ) -> ControlRecord:
        if self._latch is not None:
            raise Conflict("a tightening of this process is not yet confirmed by Redis")
        await self._reader.refresh()
        view = self._reader.view(self.key)
        if view.age_seconds > self._stale_after_seconds:
            raise Unavailable(f"Redis does not answer: {view.why}; nothing was loosened")
        # Compared with what the hash holds now, which is nothing after a loss of data.
        found = await self._control.read(self.key)
        if found is not None and view.known and found.generation != expected_generation:
            raise Conflict(
                f"expected_generation: {expected_generation}: "
                f"the present one is {found.generation}",
            )
        return await self._control.write(
            self.key,
            state=wanted.value,
            document={},
            actor=actor,
            reason=reason,
            expected_generation=found.generation if found else 0,
            floor_generation=self.generation,
        )

    def _confirms(self, view: ControlView, latch: Latch) -> bool:
        if not view.known or view.record is None or view.age_seconds > self._stale_after_seconds:
            return False
        if view.record.generation < self.generation:
            return False
        return parse_state(view.record.state).strictness >= latch.state.strictness

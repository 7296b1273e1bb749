"""The hard triggers at work: watch every live answer of L3, and roll back once when one trips.

The breaker is in this process and needs neither Redis nor Prometheus: the answer that trips it is
the last one that L3 gives, and the rollback is persisted after.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter

from execution_providers import ExecutionRequest, Fill
from lob.errors import Fault, InvalidInput
from services.router.providers import Provider, execute_many
from touchstone.kit.received import bps_of
from touchstone.rollout.state import Phase
from touchstone.rollout.triggers import (
    TRIGGERS,
    CountsByTrigger,
    TriggerBoard,
    Trip,
    reading_to_json,
)

EVALUATE_SECONDS: Final = 0.25
ACTOR: Final = "trigger"
_REASON_CHARACTERS_MAX: Final = 500
_log = structlog.get_logger("touchstone.router")


class Rollback(Protocol):
    """What can roll back; `RolloutControl` does."""

    def latch_here(self, *, actor: str, reason: str, join: bool = False) -> None:
        """Take effect in this process before the next order."""
        ...

    async def rollback(self, *, actor: str, reason: str, join: bool = False) -> object:
        """Take effect here, and persist for everybody; once, where `join` is said."""
        ...


class TriggerWatch:
    """Hold the board of this process, ask it on time, and act on what it says.

    With `enabled` false a trip is logged, counted and shown, and nothing is rolled back.
    `rolled_back` says whether a rollback is in force, None where that is not known. `others`
    gives the counts of the other routers, `on_rearm` is called where a person opened the latch.
    """

    def __init__(
        self,
        control: Rollback,
        *,
        rolled_back: Callable[[], bool | None],
        enabled: bool,
        registry: CollectorRegistry,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._rolled_back = rolled_back
        self._enabled = enabled
        self.others: Callable[[], Iterable[CountsByTrigger]] = tuple
        self.on_rearm: Callable[[], None] = lambda: None
        self._wall_clock = wall_clock
        self._woken = asyncio.Event()
        self._noted: Trip | None = None
        self._acted_on: Trip | None = None
        self._seen_rolled_back = False
        self.board = TriggerBoard()
        trips = Counter(
            "rollout_trigger_trips", "Trips of the hard triggers", ["trigger"], registry=registry
        )
        self._trips = {trigger.name: trips.labels(trigger.name) for trigger in TRIGGERS}

    def observe(self, seconds: float, fill: Fill | None, fault: Fault | None) -> None:
        """Count a live execution of L3; a request that was wrong in itself says nothing of L3."""
        if isinstance(fault, InvalidInput):
            return
        trip = self.board.observe(
            self._wall_clock(),
            seconds=seconds,
            slippage_bps=None if fill is None else bps_of(fill),
            error=fault is not None,
            # INTERNAL is the code of a defect; every other fault is a refusal with a name.
            critical=fault is not None and fault.code == Fault.code,
        )
        if trip is not None:
            if self._enabled:
                self._control.latch_here(actor=ACTOR, reason=_reason(trip), join=True)
            self._woken.set()

    def observe_answers(self, seconds: float, fills: Sequence[Fill]) -> None:
        """Count live executions of L3 that gave fills together; `seconds` is what each took."""
        slippages = [bps for bps in map(bps_of, fills) if bps is not None]
        self.board.observe_answers(
            self._wall_clock(), seconds=seconds, slippages_bps=slippages, count=len(fills)
        )

    def observe_health(self, *, failed: bool) -> None:
        """Count a health check of the simulator."""
        self.board.observe_health(self._wall_clock(), failed=failed)

    async def work(self) -> None:
        """Ask the windows four times a second, and at once when an event tripped; until cancelled.

        A rollback that fails is tried again: the latch of the board stays.
        """
        while True:
            try:
                await self._step()
            except Exception:  # noqa: BLE001 - logged with its trace, and tried again
                _log.exception("trigger_watch_failed")
            try:
                async with asyncio.timeout(EVALUATE_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue
            self._woken.clear()

    def to_json(self) -> dict[str, Any]:
        """Return the latch and what each trigger sees."""
        trip = self.board.trip
        return {
            "auto_rollback_enabled": self._enabled,
            "trip": None
            if trip is None
            else {"at": trip.at, "reason": trip.reason, **reading_to_json(trip.reading)},
            "readings": [
                reading_to_json(reading)
                for reading in self.board.readings(self._wall_clock(), self.others())
            ],
        }

    async def _step(self) -> None:
        self._rearm_where_a_person_did()
        self.board.evaluate(self._wall_clock(), self.others())
        trip = self.board.trip
        if trip is None or trip is self._acted_on:
            return
        if trip is not self._noted:
            self._noted = trip
            self._trips[trip.reading.trigger.name].inc()
            _log.warning("trigger_tripped", reason=trip.reason, acting=self._enabled)
        if self._enabled:
            await self._control.rollback(actor=ACTOR, reason=_reason(trip), join=True)
            # Even where a person re-arms before the next look.
            self._seen_rolled_back = True
        self._acted_on = trip

    def _rearm_where_a_person_did(self) -> None:
        """Open the board's latch once the rollback that it led to has been left."""
        rolled_back = self._rolled_back()
        if rolled_back is None:
            # A state that was lost is no re-arm.
            return
        if self._seen_rolled_back and not rolled_back:
            self.board.rearm()
            self.on_rearm()
        self._seen_rolled_back = rolled_back


class WatchedL3:
    """L3 with the triggers watching: the same answers and faults, counted."""

    def __init__(self, provider: Provider, watch: TriggerWatch) -> None:
        self._provider = provider
        self._watch = watch

    async def execute(self, request: ExecutionRequest, seed: int) -> Fill:
        """Return the provider's fill, or raise its fault."""
        started = time.perf_counter()
        try:
            fill = await self._provider.execute(request, seed)
        except Fault as fault:
            self._watch.observe(time.perf_counter() - started, None, fault)
            raise
        self._watch.observe(time.perf_counter() - started, fill, None)
        return fill

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], seed: int
    ) -> list[Fill | Fault]:
        """Return the provider's fills and faults; each counts its share of the time."""
        started = time.perf_counter()
        results = await execute_many(self._provider, requests, seed)
        seconds = (time.perf_counter() - started) / len(requests)
        fills = [result for result in results if not isinstance(result, Fault)]
        if len(fills) == len(results):
            self._watch.observe_answers(seconds, fills)
            return results
        for result in results:
            if isinstance(result, Fault):
                self._watch.observe(seconds, None, result)
            else:
                self._watch.observe(seconds, result, None)
        return results


def _reason(trip: Trip) -> str:
    return trip.reason[:_REASON_CHARACTERS_MAX]


def is_rolled_back(phase: Phase | None, *, latched: bool) -> bool | None:
    """Return whether a rollback is in force, here or in the control state; None if unknown."""
    if latched:
        return True
    return None if phase is None else phase is Phase.ROLLED_BACK

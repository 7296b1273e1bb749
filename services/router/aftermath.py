"""What follows a rollback, whoever began it: a dossier within seconds, and the rollout file.

Each router writes its own dossier, because each has its own orders and pairs in memory. Nothing
here is on the way of a rollback: it is over when this begins.
"""

import asyncio
import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from lob.errors import Fault
from services.router.analysis import Analysis
from services.router.dossier_folder import DossierFolder
from services.router.recent_orders import RecentOrders
from services.router.rollout_control import RolloutControl
from services.router.rollout_file import RolloutFile
from services.router.shared_windows import SharedWindows
from services.router.triggers import TriggerWatch
from touchstone.kit.control import ROLLOUT_SCOPE, ControlRecord, ControlStore, ControlView
from touchstone.rollout.dossier import (
    DRAINING_PREFIX,
    VERSION,
    finding,
    flag_diff,
    kind_of,
    named_trigger,
    orders_to_json,
    windows_to_json,
)
from touchstone.rollout.shadow import WORST_PAIRS, ShadowPair, ShadowStore
from touchstone.rollout.state import Phase
from touchstone.rollout.triggers import reading_to_json

LOOK_SECONDS: Final = 0.1
PERSIST_SECONDS_MAX: Final = 1.0
"""How long a first dossier waits for its generation; without Redis it is written without."""
WRITE_ATTEMPTS_MAX: Final = 5
RETRY_SECONDS: Final = 1.0
AUDIT_ENTRIES: Final = 50

_log = structlog.get_logger("touchstone.router")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a dossier's contents come from."""

    control: RolloutControl
    store: ControlStore
    analysis: Analysis
    triggers: TriggerWatch
    shared: SharedWindows
    pairs: ShadowStore
    live_pairs: ShadowStore
    orders: RecentOrders
    wall_clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _Rollback:
    """One rollback in force. `written` names the generation that its dossier holds."""

    generation: int | None
    actor: str
    reason: str
    at: float
    since: float
    before: Mapping[str, Any] | None = None
    name: str = ""
    written: bool = False
    complete: bool = False
    attempts: int = 0
    next_attempt: float = field(default=float("-inf"))


class Aftermath:
    """Watch for rollbacks, and do what follows each of them once."""

    def __init__(
        self,
        sources: Sources,
        folder: DossierFolder,
        rollout_file: RolloutFile | None,
        registry: CollectorRegistry,
    ) -> None:
        self._sources = sources
        self._folder = folder
        self._rollout_file = rollout_file
        self._present: _Rollback | None = None
        self._before: ControlRecord | None = None
        self._started = False
        self._latched_before = sources.control.latch
        counter = Counter(
            "rollout_dossiers",
            "Dossiers of rollbacks: written, or attempts that failed",
            ["outcome"],
            registry=registry,
        )
        self._dossiers = {name: counter.labels(name) for name in ("written", "failed")}
        sources.control.reader.subscribe(self._on_view)

    async def work(self) -> None:
        """Look ten times a second, until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged with its trace; the next rollback counts, too
                _log.exception("aftermath_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Note a rollback that began or ended, and write what is due."""
        seen = self._seen()
        if seen is None:
            return
        if isinstance(seen, ControlRecord):
            self._remember(seen)
            if self._present is not None:
                self._present = None
                # The next dossier's are those after the re-arm.
                self._sources.orders.clear()
                await self._set_file_phase(seen.state.lower())
            self._started = True
            return
        if self._follow(seen):
            await self._set_file_phase(Phase.ROLLED_BACK.lower())
        self._started = True
        present = self._present
        if present is not None and self._is_due(present):
            await self._write(present)

    def _on_view(self, view: ControlView) -> None:
        """Remember each state as it comes: the next may follow before the next look."""
        if view.known and view.record is not None:
            self._remember(view.record)

    def _remember(self, record: ControlRecord) -> None:
        prepared = record.reason.startswith(DRAINING_PREFIX)
        if record.state != Phase.ROLLED_BACK and not prepared:
            self._before = record

    def _seen(self) -> _Rollback | ControlRecord | None:
        """Return the rollback in force, else the record that is none; None where unknown."""
        control = self._sources.control
        view, latch = control.reader.view(), control.latch
        record = view.record if view.known else None
        now, since = self._sources.wall_clock(), self._sources.monotonic()
        if record is not None and record.state == Phase.ROLLED_BACK:
            return _Rollback(record.generation, record.actor, record.reason, now, since)
        if latch is not None:
            return _Rollback(latch.generation, latch.actor, latch.reason, now, since)
        return record

    def _follow(self, seen: _Rollback) -> bool:
        """Take over what is seen; return whether it is a rollback that was not there before."""
        present = self._present
        latch = self._sources.control.latch
        latched_here = latch is not None and latch is not self._latched_before
        if not self._started and not latched_here:
            # It began in an earlier life of this router, or before it: its dossier is not due.
            seen.written = seen.complete = True
        if present is not None and seen.generation in (None, present.generation):
            return False
        if present is not None and present.generation is None:
            # What was held here only is now in Redis; somebody else may have been first.
            present.generation = seen.generation
            present.actor, present.reason = seen.actor, seen.reason
            present.attempts, present.next_attempt = 0, float("-inf")
            return False
        before = self._before
        seen.before = None if before is None else before.document
        self._present = seen
        return True

    def _is_due(self, present: _Rollback) -> bool:
        now = self._sources.monotonic()
        if present.complete or present.attempts >= WRITE_ATTEMPTS_MAX:
            return False
        if now < present.next_attempt:
            return False
        if present.generation is not None:
            return True
        return not present.written and now - present.since >= PERSIST_SECONDS_MAX

    async def _write(self, present: _Rollback) -> None:
        sources = self._sources
        complete = present.generation is not None
        if not present.name:
            present.name = _name(present, sources.control.member)
        # Counted first, so that whatever goes wrong is tried a few times and not for ever.
        present.attempts += 1
        present.next_attempt = sources.monotonic() + RETRY_SECONDS
        dossier = await self._collect(present)
        try:
            await asyncio.to_thread(self._folder.write, dossier)
        except (OSError, ValueError) as error:
            _log.warning("dossier_not_written", dossier=present.name, error=str(error))
            self._dossiers["failed"].inc()
            return
        present.written, present.complete = True, complete
        self._dossiers["written"].inc()
        _log.warning("dossier_written", dossier=present.name, kind=dossier["kind"])

    async def _collect(self, present: _Rollback) -> dict[str, Any]:
        sources = self._sources
        now = sources.wall_clock()
        entries, why = await self._audit()
        before = _document_before(entries, present) or present.before
        record = next((e for e in entries if e.generation == present.generation), None)
        after = record.document if record is not None else _rolled_back(before)
        others = sources.shared.others()
        board = sources.triggers.board
        readings = board.readings(now, others)
        trigger = named_trigger(present.reason)
        kind = kind_of(present.actor, present.reason)
        found = None
        if kind == "automatic" and trigger is not None:
            trip = board.trip if board.trip and board.trip.reading.trigger is trigger else None
            reading = next(r for r in readings if r.trigger is trigger)
            found = finding(reading, trip)
        analysis = sources.analysis.to_json()
        pairs = (*sources.pairs.pairs(now), *sources.live_pairs.pairs(now))
        flags = sources.control.flags
        return {
            "version": VERSION,
            "id": present.name,
            "kind": kind,
            "router": sources.control.member,
            "written_at": now,
            "rollback": {
                "generation": present.generation,
                "actor": present.actor,
                "reason": present.reason,
                "at": present.at,
            },
            "trigger": found,
            "auto_rollback_enabled": sources.triggers.to_json()["auto_rollback_enabled"],
            "readings": [reading_to_json(reading) for reading in readings],
            "windows": windows_to_json([board.to_counts(), *others]),
            "windows_shared": sources.shared.to_json(),
            "evidence": analysis,
            "orders": orders_to_json(sources.orders.affected(present.at)),
            "worst_pairs": await asyncio.to_thread(_worst, pairs),
            "flags": {
                "before": before,
                "after": after,
                "diff": flag_diff(before, after),
                "environment_allows": flags.environment_allows,
                "off_because": list(flags.off_because),
            },
            "timeline": self._timeline(entries, present, found, now),
            "timeline_incomplete": why,
        }

    async def _audit(self) -> tuple[list[ControlRecord], str]:
        """Return the newest changes, newest first, and why they could not be had."""
        try:
            entries = await self._sources.store.audit(ROLLOUT_SCOPE, AUDIT_ENTRIES)
        except Fault as fault:
            return [], str(fault)
        return [entry.record for entry in entries], ""

    def _timeline(
        self,
        entries: list[ControlRecord],
        present: _Rollback,
        found: Mapping[str, Any] | None,
        now: float,
    ) -> list[dict[str, Any]]:
        here = self._sources.control.member
        rows = [
            _event(_seconds(e.updated_at), e.generation, f"phase {e.state}", e.actor, e.reason)
            for e in entries
        ]
        if found is not None and found["at"] is not None:
            text = found["text"]
            rows.append(_event(found["at"], None, f"{found['trigger']} tripped", here, text))
        rows += [
            _event(present.at, None, "rollback seen", here, present.reason),
            _event(now, None, "dossier written", here, ""),
        ]
        return sorted(rows, key=lambda row: row["at"])

    async def _set_file_phase(self, phase: str) -> None:
        if self._rollout_file is not None:
            await asyncio.to_thread(self._rollout_file.set_phase, phase)


def _name(present: _Rollback, member: str) -> str:
    moment = datetime.fromtimestamp(present.at, UTC)
    stamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"
    kept = "here" if present.generation is None else f"g{present.generation}"
    return f"{stamp}-{kept}-{member.rpartition(':')[2]}"


def _document_before(entries: list[ControlRecord], present: _Rollback) -> Mapping[str, Any] | None:
    """Return the newest document before the rollback that neither was nor prepared one."""
    for entry in entries:
        if present.generation is not None and entry.generation >= present.generation:
            continue
        prepared = entry.reason.startswith(DRAINING_PREFIX)
        if entry.state != Phase.ROLLED_BACK and not prepared:
            return entry.document
    return None


def _rolled_back(before: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {**(before or {}), "phase": Phase.ROLLED_BACK.value, "schedule_armed": False}


def _worst(pairs: Sequence[ShadowPair]) -> list[dict[str, Any]]:
    differing = (pair for pair in pairs if pair.difference_bps is not None)
    worst = heapq.nlargest(WORST_PAIRS, differing, key=lambda pair: abs(pair.difference_bps or 0.0))
    return [
        {
            "at": pair.at,
            "decision_id": pair.decision_id,
            "symbol": pair.symbol,
            "side": pair.side,
            "quantity": str(pair.quantity),
            "control_bps": _float(pair.control.slippage_bps),
            "candidate_bps": _float(None if p is None else p.slippage_bps),
            "difference_bps": pair.difference_bps,
        }
        for pair in worst
        for p in [pair.candidate]
    ]


def _float(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _event(at: float, generation: int | None, what: str, actor: str, reason: str) -> dict[str, Any]:
    return {"at": at, "generation": generation, "what": what, "actor": actor, "reason": reason}

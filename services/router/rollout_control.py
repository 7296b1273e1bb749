"""The rollout state as this process applies it: what is permitted now, and how that changes."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from lob.errors import Conflict, Fault, InvalidInput, Unavailable
from services.router.watermark import Latch, Watermark, load_watermark, save_watermark
from touchstone.kit.control import (
    ROLLOUT_SCOPE,
    ControlReader,
    ControlRecord,
    ControlStore,
    ControlView,
    ViewStatus,
    require_text,
)
from touchstone.kit.control_store import document_text
from touchstone.kit.flags import Flags
from touchstone.kit.leases import LEASE_SECONDS, Lease
from touchstone.kit.membership import (
    Acknowledgement,
    Membership,
    member_name,
    wait_for_acks,
)
from touchstone.rollout.assignment import RoutingConfig
from touchstone.rollout.state import (
    LIVE_PHASES,
    REARM_PHASES,
    Phase,
    RolloutDocument,
    change,
    loosens,
)

UPKEEP_SECONDS: Final = 0.25
JOIN_ATTEMPTS: Final = 3
_log = structlog.get_logger("touchstone.router")


class StaleGeneration(Conflict):
    """Say that the state has another generation than the caller expected."""

    code = "STALE_GENERATION"

    def __init__(self, expected: int, present: int) -> None:
        super().__init__(f"If-Match: generation {expected}; the present generation is {present}")
        self.present = present


class RolloutControl:
    """Join control state, flags and this process's own latch into one routing configuration.

    A rollback takes effect here first and is persisted after; what could not be persisted stays
    latched and is tried again until Redis has it. Every router holds a lease on the state: without
    it L2 answers, and with it the router has acknowledged the present generation.
    """

    def __init__(
        self,
        store: ControlStore,
        flags: Flags,
        watermark_path: Path,
        stale_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        require_durable: bool = False,
    ) -> None:
        self._store = store
        self._require_durable = require_durable
        self._watermark_path = watermark_path
        self._saved = load_watermark(watermark_path)
        self._latch: Latch | None = self._saved.latch
        self._stale_seconds = stale_seconds
        self._monotonic = monotonic
        self._document: tuple[ControlRecord, RolloutDocument | None] | None = None
        self._saving = asyncio.Lock()
        self._not_saved = ""
        self._persisting = asyncio.Lock()
        self.flags = flags
        self.on_acknowledged: Callable[[float], None] = lambda _seconds: None
        membership = Membership(
            member_name("router"), lease=Lease(monotonic=monotonic), before_ack=self._remember
        )
        self.send_gate = membership.gate
        self.member = membership.name
        self.reader = ControlReader(
            store,
            ROLLOUT_SCOPE,
            floor_generation=self._saved.generation,
            membership=membership,
            monotonic=monotonic,
        )
        self.reader.subscribe(self._on_view)

    @property
    def latch(self) -> Latch | None:
        """Return this process's own rollback, while the state in Redis does not yet say so."""
        return self._latch

    def now(self) -> float:
        """Return the time on the clock of `RoutingConfig.expires_at`."""
        return self._monotonic()

    def routing(self) -> RoutingConfig:
        """Return what is permitted now; never waits."""
        view = self.reader.view()
        document = self._parse(view.record) if view.known and view.record is not None else None
        return RoutingConfig(
            document=document,
            generation=0 if view.record is None else view.record.generation,
            expires_at=self._monotonic()
            + min(self._stale_seconds - view.age_seconds, view.lease_seconds_left),
            latched=self._latch is not None,
            environment_allows=self.flags.environment_allows,
            master_flag=self.flags.master_flag,
        )

    def withdrawn(self) -> bool:
        """Return whether an answer of L3 comes too late for an order that was checked before.

        While the lease holds, every acknowledgement waits for this router's own, and that for the
        order. Afterwards one may come without it, unless a look of less than a lease ago still
        found a state in which L3 answers: a drain lets what is under way end.
        """
        view = self.reader.view()
        if view.lease_seconds_left > 0:
            return False
        if self._latch is not None or not view.known or view.record is None:
            return True
        return view.age_seconds >= LEASE_SECONDS or view.record.state not in LIVE_PHASES

    async def check(self) -> str:
        """Return a readiness detail; raise where L2 answers because of the control state."""
        view = self.reader.view()
        config = self.routing()
        if self._latch is not None:
            raise Conflict(f"rolled back here: {self._latch.reason}")
        if config.document is None:
            raise Conflict(
                f"control state unknown, L2 answers: {view.why or 'unreadable document'}"
            )
        if view.age_seconds < self._stale_seconds and view.lease_seconds_left <= 0:
            raise Conflict(
                f"no lease on the control state, L2 answers: {view.why or 'not granted'}"
            )
        if self.now() >= config.expires_at:
            raise Conflict(f"control state is {view.age_seconds:.0f} s old, L2 answers: {view.why}")
        if view.why:
            raise Conflict(f"control state is {view.age_seconds:.1f} s old: {view.why}")
        return f"phase {config.document.phase}, generation {config.generation}"

    async def present(self) -> ControlRecord | None:
        """Return the record in Redis; what was last known when Redis does not answer."""
        try:
            return await self._store.read(ROLLOUT_SCOPE)
        except Fault:
            return self.reader.view().record

    async def put(
        self, changes: Mapping[str, Any], *, expected: int, actor: str, reason: str
    ) -> ControlRecord:
        """Write the present document with `changes`.

        Raises:
            StaleGeneration: the present generation is not `expected`.
            Conflict: the table of phases does not allow it; the text names what it does.
            InvalidInput: the document would be wrong.
        """
        record = await self._expect(expected)
        if self._latch is not None:
            raise Conflict("rolled back in this router; allowed: POST /v1/rollout/rearm")
        if expected < self.reader.seen_generation:
            # The doorbell may have been quicker than that read: then somebody wrote meanwhile.
            await self._expect(expected)
            raise Conflict(
                f"generation {expected} is below {self.reader.seen_generation}, which was seen "
                "(data lost or restored); allowed: POST /v1/rollout/rearm"
            )
        before = self._require_document(record)
        after = change(before, changes)
        # What could not be written as a rollback would keep L3 in every router but one.
        document_text(replace(after, phase=Phase.ROLLED_BACK).to_json())
        if loosens(before, after):
            await self._refuse_where_it_could_be_lost()
        return await self._write(after, expected, actor, reason)

    async def rearm(self, phase: str, *, expected: int, actor: str, reason: str) -> ControlRecord:
        """Leave a rollback, or a state that was lost, for OFF or SHADOW.

        Raises:
            StaleGeneration: the present generation is not `expected`.
            Conflict: there is nothing to re-arm.
            InvalidInput: another phase was asked for.
        """
        if phase not in REARM_PHASES:
            raise InvalidInput(f"phase: {phase!r}; allowed: {', '.join(REARM_PHASES)}")
        # What is held when it is asked for; a rollback that comes in later is another one.
        latch = self._latch
        record = await self._expect(expected)
        present = None if record is None else self._parse(record)
        lost = expected < self.reader.seen_generation or (record is not None and present is None)
        rolled_back = present is not None and present.phase is Phase.ROLLED_BACK
        if not (lost or rolled_back or self._latch):
            held = "none" if present is None else present.phase
            raise Conflict(f"nothing to re-arm: phase {held}; allowed: PUT /v1/rollout")
        await self._refuse_where_it_could_be_lost()
        # Also out of a state that was lost: a schedule goes on only where a person says so anew.
        after = replace(self._last_document(record), phase=Phase(phase), schedule_armed=False)
        written = await self._write(after, expected, actor, reason)
        if self._latch is latch:
            self._latch = None
        await self._save()
        return written

    async def rollback(
        self, *, actor: str, reason: str, join: bool = False
    ) -> ControlRecord | None:
        """Roll back: here at once, then for everybody; None when that could not be persisted.

        With `join` nothing is written where the state is rolled back already: of several routers
        that find the same, one writes.

        Raises:
            InvalidInput: actor or reason could never be persisted; nothing is changed.
        """
        self.latch_here(actor=actor, reason=reason, join=join)
        record = await self._persist_latch()
        await self._save()
        return record

    def latch_here(self, *, actor: str, reason: str, join: bool = False) -> None:
        """Roll back in this process at once; `keep_up` persists it, unless `rollback` does first.

        Raises:
            InvalidInput: actor or reason could never be persisted; nothing is changed.
        """
        require_text("actor", actor)
        require_text("reason", reason)
        latch = Latch(reason, actor, join=join)
        # One that is written already may have been left by a re-arm that is not seen yet.
        if self._latch != latch:
            self._latch = latch
            _log.warning("emergency_rollback", actor=actor, reason=reason)

    async def stop_routing(
        self, *, actor: str, reason: str
    ) -> tuple[RolloutDocument, ControlRecord] | None:
        """Write the present state with nothing for L3; return what it was, and what was written.

        None where L3 answers nothing in this phase. The phase stays where it may have a share of
        0, so that whoever looks sees a rollout that drains.

        Raises:
            Fault: the state could not be read or written, or changed meanwhile.
        """
        require_text("actor", actor)
        require_text("reason", reason)
        record = await self._store.read(ROLLOUT_SCOPE, patient=True)
        before = self._require_document(record)
        if record is None or before.phase not in LIVE_PHASES:
            return None
        drained = replace(
            before,
            phase=Phase.EXPANSION if before.phase is Phase.FULL else before.phase,
            basis_points=0,
            canary_symbols=(),
            canary_accounts=(),
            schedule_armed=False,
        )
        return before, await self._write(drained, record.generation, actor, reason)

    async def write_rollback(
        self, document: RolloutDocument, *, expected: int, actor: str, reason: str
    ) -> ControlRecord:
        """Write a rolled-back document under the generation it is based on.

        Raises:
            StaleGeneration: the present generation is not `expected`.
            Fault: Redis did not take it.
        """
        record = await self._write(document, expected, actor, reason)
        await self._save()
        return record

    async def acknowledged(self, record: ControlRecord, since: float) -> Acknowledgement:
        """Wait until every router has acknowledged `record` or its lease has lapsed.

        `since` is the time on this process's clock (`now`) that the wait is counted from.
        """
        told = await wait_for_acks(
            self._store, ROLLOUT_SCOPE, record.generation, since=since, monotonic=self._monotonic
        )
        if told.acked is not None:
            self.on_acknowledged(told.seconds)
        _log.warning("rollback_acknowledged", generation=record.generation, what=told.describe())
        return told

    async def start(self) -> None:
        """Look once, and write the first record where there is none, before the first request.

        A Redis that is away costs no more than its time-out.
        """
        await self.reader.refresh()
        await self._initialise_once()

    async def keep_up(self) -> None:
        """Do what has to be tried again until it succeeds; runs until cancelled."""
        while True:
            try:
                await self._initialise_once()
                if self._latch is not None and self._latch.generation is None:
                    await self._persist_latch()
                await self._save()
            except Exception:  # noqa: BLE001 - logged with its trace, and tried again
                _log.exception("upkeep_failed")
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _initialise_once(self) -> None:
        """Write the first record where Redis is empty and this process never saw one.

        A record that vanishes later is not made again: that takes a re-arm by a person.
        """
        view = self.reader.view()
        if view.status is not ViewStatus.MISSING or view.record is not None:
            return
        document = self.flags.first_document
        if self._saved.rolled_back or self._latch is not None:
            document = replace(document, phase=Phase.ROLLED_BACK)
        with contextlib.suppress(Fault):
            await self._store.initialise(
                ROLLOUT_SCOPE,
                state=document.phase,
                document=document.to_json(),
                actor="router",
                reason="first boot: from the configuration file, at most SHADOW",
                floor_generation=self.reader.seen_generation,
            )
            await self.reader.refresh()

    async def _persist_latch(self) -> ControlRecord | None:
        """Write the latch where it is not written yet; return the record that holds it.

        One at a time: a rollback and the upkeep that finds its latch write it once together.
        """
        async with self._persisting:
            return await self._persist_latch_once()

    async def _persist_latch_once(self) -> ControlRecord | None:
        latch = self._latch
        if latch is None or latch.generation is not None:
            record = self.reader.view().record
            rolled_back = record is not None and record.state == Phase.ROLLED_BACK
            return record if rolled_back else None
        try:
            record = await self._write_latch(latch)
        except Fault as fault:
            _log.warning("rollback_not_persisted", error=str(fault))
            return None
        # Read back: the latch goes only when the state itself is seen to say so.
        if self._latch is latch:
            self._latch = replace(latch, generation=record.generation)
            self._on_view(self.reader.view())
        return record

    async def _write_latch(self, latch: Latch) -> ControlRecord:
        """Write the rollback; one that joins writes under the present generation, or not at all."""
        for _ in range(JOIN_ATTEMPTS if latch.join else 0):
            present = await self._store.read(ROLLOUT_SCOPE)
            found = None if present is None else self._parse(present)
            if present is not None and found is not None and found.phase is Phase.ROLLED_BACK:
                _log.info("rollback_joined", generation=present.generation, reason=present.reason)
                await self.reader.refresh()
                return present
            document = replace(self._last_document(present), phase=Phase.ROLLED_BACK)
            with contextlib.suppress(StaleGeneration):
                expected = 0 if present is None else present.generation
                return await self._write(document, expected, latch.actor, latch.reason)
        document = replace(self._last_document(await self.present()), phase=Phase.ROLLED_BACK)
        return await self._write(document, None, latch.actor, latch.reason)

    async def _refuse_where_it_could_be_lost(self) -> None:
        """Refuse a loosening where the rollback after it might not survive the server's crash.

        Raises:
            Conflict: durable control is required, and the server is not configured for it.
            Fault: that could not be found out.
        """
        if not self._require_durable:
            return
        if problems := await self._store.durability_problems():
            raise Conflict(
                f"Redis may lose control state ({'; '.join(problems)}), and durable control is "
                "required; allowed: what tightens"
            )

    async def _expect(self, expected: int) -> ControlRecord | None:
        record = await self._store.read(ROLLOUT_SCOPE, patient=True)
        present = 0 if record is None else record.generation
        if present != expected:
            raise StaleGeneration(expected, present)
        return record

    async def _write(
        self, document: RolloutDocument, expected: int | None, actor: str, reason: str
    ) -> ControlRecord:
        try:
            record = await self._store.write(
                ROLLOUT_SCOPE,
                state=document.phase,
                document=document.to_json(),
                actor=actor,
                reason=reason,
                expected_generation=expected,
                floor_generation=self.reader.seen_generation,
            )
        except Conflict:
            present = await self._store.read(ROLLOUT_SCOPE)
            raise StaleGeneration(expected or 0, present.generation if present else 0) from None
        # This process applies its own write before it answers.
        await self.reader.refresh()
        return record

    def _on_view(self, view: ControlView) -> None:
        latch = self._latch
        if latch is None or latch.generation is None or view.record is None or not view.known:
            return
        if view.record.generation >= latch.generation:
            self._latch = None

    def _parse(self, record: ControlRecord) -> RolloutDocument | None:
        """Return the record's document, parsed once; None when it is not a right one."""
        if self._document is not None and self._document[0] is record:
            return self._document[1]
        document: RolloutDocument | None = None
        try:
            document = RolloutDocument.from_json(record.document)
            if document.phase != record.state:
                document = None
        except (InvalidInput, TypeError) as error:
            _log.warning("rollout_document_wrong", error=str(error))
        self._document = (record, document)
        return document

    def _require_document(self, record: ControlRecord | None) -> RolloutDocument:
        if record is None:
            return replace(self.flags.first_document, phase=Phase.OFF)
        document = self._parse(record)
        if document is None:
            raise Conflict("the document in Redis is damaged; allowed: POST /v1/rollout/rearm")
        return document

    def _last_document(self, record: ControlRecord | None) -> RolloutDocument:
        for candidate in (record, self.reader.view().record):
            document = None if candidate is None else self._parse(candidate)
            if document is not None:
                return document
        return self.flags.first_document

    async def _remember(self, _record: ControlRecord) -> None:
        """Have the generation on the disk before it is acknowledged: a restart must know it."""
        await self._save()
        if self._not_saved:
            raise Unavailable(f"{self._watermark_path}: {self._not_saved}")

    async def _save(self) -> None:
        """Keep what a restart must not forget; done to the end also where the caller gives up."""
        await asyncio.shield(asyncio.ensure_future(self._save_one_at_a_time()))

    async def _save_one_at_a_time(self) -> None:
        async with self._saving:
            await self._save_now()

    async def _save_now(self) -> None:
        record = self.reader.view().record
        rolled_back = self._saved.rolled_back if record is None else record.state == "ROLLED_BACK"
        current = Watermark(self.reader.seen_generation, rolled_back, self._latch)
        if current == self._saved:
            return
        why = await asyncio.to_thread(save_watermark, self._watermark_path, current)
        if why and why != self._not_saved:
            # Nothing is acknowledged meanwhile, so L2 answers; the upkeep tries again.
            _log.error("watermark_not_saved", path=str(self._watermark_path), error=why)
        self._not_saved = why
        if not why:
            self._saved = current

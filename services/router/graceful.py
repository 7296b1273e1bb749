"""The graceful rollback: nothing new to L3, what is under way ends, then off, then proof.

The emergency rollback is over sooner and keeps the same promise; this one lets executions end that
it would only wait for as long as a lease.
"""

import asyncio
from dataclasses import replace
from typing import Any, Final

import structlog

from lob.errors import Conflict, Fault
from services.router.metrics import l3_may
from services.router.rollout_control import RolloutControl
from touchstone.kit.control import ROLLOUT_SCOPE, ControlRecord, ControlStore
from touchstone.kit.control_store import TEXT_CHARACTERS_MAX, require_text
from touchstone.kit.membership import Acknowledgement, not_waited, wait_for_acks
from touchstone.rollout.assignment import Arm, assign
from touchstone.rollout.dossier import DRAINING_PREFIX, GRACEFUL_PREFIX
from touchstone.rollout.state import Phase, RolloutDocument

DRAIN_SECONDS_DEFAULT: Final = 5
DRAIN_SECONDS_MAX: Final = 60
PROBES: Final = ("AAPL", "MSFT", "GOOGL", "BTC-USD", "ETH-USD", *(f"PROBE{n}" for n in range(95)))
"""Symbols that are assigned at the end; besides those of the canary list."""

_log = structlog.get_logger("touchstone.router")


class GracefulRollback:
    """Drain, disable, verify, report; one at a time."""

    def __init__(self, control: RolloutControl, store: ControlStore) -> None:
        self._control = control
        self._store = store
        self._one_at_a_time = asyncio.Lock()
        self._running: set[asyncio.Task[dict[str, Any]]] = set()

    async def run(self, *, actor: str, reason: str, drain_seconds: float) -> dict[str, Any]:
        """Roll back gracefully and return the report; done to its end whoever stops waiting.

        What still runs after `drain_seconds` is named in the report and not waited for. Where
        Redis is away this router latches at once and waits for its own executions only.

        Raises:
            Conflict: it is rolled back already.
            InvalidInput: actor or reason could never be persisted; nothing is changed.
        """
        require_text("actor", actor)
        require_text("reason", reason)
        task = asyncio.create_task(self._run(actor, reason, drain_seconds))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def _run(self, actor: str, reason: str, drain_seconds: float) -> dict[str, Any]:
        async with self._one_at_a_time:
            control = self._control
            self._require_not_rolled_back()
            started, under_way = control.now(), control.send_gate.open_passages
            text = (GRACEFUL_PREFIX + reason)[:TEXT_CHARACTERS_MAX]
            record: ControlRecord | None = None
            try:
                before = await control.stop_routing(
                    actor=actor, reason=(DRAINING_PREFIX + reason)[:TEXT_CHARACTERS_MAX]
                )
            except Fault as fault:
                control.latch_here(actor=actor, reason=text, join=True)
                drain = await self._drain_here(str(fault), drain_seconds)
                record = await control.rollback(actor=actor, reason=text, join=True)
                document = None
            else:
                document = None if before is None else before[0]
                drain = await self._drain(before, drain_seconds)
                record = await self._disable(before, actor, text)
            if record is None:
                told = not_waited("Redis does not have it", control.now() - started)
            else:
                told = await control.acknowledged(record, started)
            drain |= {"under_way_at_start": under_way}
            return self._report(record, told, drain, document)

    def _require_not_rolled_back(self) -> None:
        config = self._control.routing()
        phase = None if config.document is None else config.document.phase
        if config.latched or phase is Phase.ROLLED_BACK:
            raise Conflict("rolled back already; allowed: POST /v1/rollout/rearm")

    async def _drain(
        self, before: tuple[RolloutDocument, ControlRecord] | None, seconds: float
    ) -> dict[str, Any]:
        """Wait until every router has nothing under way, for at most `seconds` and one lease."""
        if before is None:
            return {"needed": False, "drained": True, "seconds": 0.0}
        control, generation = self._control, before[1].generation
        started = control.now()
        while True:
            told = await wait_for_acks(
                *(self._store, ROLLOUT_SCOPE, generation),
                since=started,
                forget=False,
                monotonic=control.now,
            )
            # A router that is silent may be gone, or wait for L3; so it stays listed.
            over = control.now() - started >= seconds
            if told.acked is None or not told.lapsed or over:
                break
        drained = told.acked is not None and not told.lapsed
        _log.info("l3_drained" if drained else "l3_not_drained", generation=generation)
        return {"needed": True, "drained": drained, "generation": generation} | told.to_json()

    async def _drain_here(self, why: str, seconds: float) -> dict[str, Any]:
        gate, started = self._control.send_gate, self._control.now()
        try:
            async with asyncio.timeout(seconds):
                await gate.drained(gate.mark())
            drained = True
        except TimeoutError:
            drained = False
        waited = self._control.now() - started
        return {"needed": True, "drained": drained, "seconds": waited, "why": f"only here: {why}"}

    async def _disable(
        self, before: tuple[RolloutDocument, ControlRecord] | None, actor: str, text: str
    ) -> ControlRecord | None:
        """Write the rollback with the share and lists from before, for later."""
        if before is not None:
            document, drained = before
            try:
                return await self._control.write_rollback(
                    replace(document, phase=Phase.ROLLED_BACK),
                    expected=drained.generation,
                    actor=actor,
                    reason=text,
                )
            except Fault as fault:
                # Somebody else wrote, or Redis is away: what is certain comes first.
                _log.warning("graceful_rollback_goes_on_at_once", why=str(fault))
        return await self._control.rollback(actor=actor, reason=text, join=True)

    def _report(
        self,
        record: ControlRecord | None,
        told: Acknowledgement,
        drain: dict[str, Any],
        document: RolloutDocument | None,
    ) -> dict[str, Any]:
        control = self._control
        config, now = control.routing(), control.now()
        symbols = sorted({*PROBES, *(() if document is None else document.canary_symbols)})
        on_l3 = [s for s in symbols if assign(s, "", config, now).arm is Arm.L3]
        left = control.send_gate.open_passages
        everywhere = told.acked is not None and not told.lapsed
        here = not on_l3 and not l3_may(control) and left == 0
        view = control.reader.view()
        confirmed = (
            record is not None
            and told.acked is not None
            and view.record is not None
            and view.known
            and view.record.generation >= record.generation
        )
        return {
            "rolled_back": True,
            "mode": "graceful",
            "persisted": record is not None,
            "confirmed": confirmed,
            "generation": None if record is None else record.generation,
            "drain": drain,
            "verified": {
                "all_on_l2": here and everywhere,
                "here": here,
                "routers_on_l2": len(told.acks),
                "symbols_probed": len(symbols),
                "symbols_on_l3": on_l3,
                "under_way_here": left,
            },
        } | told.to_json()

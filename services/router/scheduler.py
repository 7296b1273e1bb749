"""The schedule at work: one step at a time, at or after its date, while the gate is open.

Every router looks; none leads. A step is written under the generation that it was decided on, so of
several routers that find the same one writes it, and the others read what it wrote. After a step
the judge's experiment and the dwell begin anew in every router, so no clock that is set can bring
two steps at once: the dwell is measured by the process's monotonic clock, and the date is that of
this host or of the Redis server, whichever is earlier.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from lob.errors import Fault
from services.router.analysis import Analysis
from services.router.go_no_go import GoNoGo
from services.router.rollout_control import RolloutControl, StaleGeneration
from touchstone.rollout.go_no_go import Decision
from touchstone.rollout.judge import Outcome
from touchstone.rollout.schedule import Proposal
from touchstone.rollout.state import RolloutDocument, fraction_from_basis_points

LOOK_SECONDS: Final = 1.0
ACTOR: Final = "schedule"
OUTCOMES: Final = ("made", "lost", "failed")
_REASON_CHARACTERS_MAX: Final = 500

_log = structlog.get_logger("touchstone.router")


class Scheduler:
    """Ask once a second whether the next step may be made, and make it."""

    def __init__(
        self,
        control: RolloutControl,
        analysis: Analysis,
        go: GoNoGo,
        *,
        registry: CollectorRegistry,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._control = control
        self._analysis = analysis
        self._go = go
        self._wall_clock = wall_clock
        self._last: dict[str, Any] | None = None
        self._why = ""
        steps = Counter(
            "rollout_schedule_steps",
            "Steps of the schedule: made here, lost to another router's write, or failed",
            ["outcome"],
            registry=registry,
        )
        self._steps = {outcome: steps.labels(outcome) for outcome in OUTCOMES}

    async def work(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged with its trace, and tried again
                _log.exception("scheduler_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> bool:
        """Make the next step where it may be made now; return whether it was."""
        control = self._control
        if not self._may():
            return False
        # The gate's second half is asked anew, so that no verdict of before opens it.
        verdict = await self._go.evaluate()
        generation, document = self._present()
        if not self._may() or document is None or verdict.decision is not Decision.GO:
            return False
        step = self._propose(document).step
        if step is None:
            return False
        judged = self._analysis.verdict()
        share = fraction_from_basis_points(step.basis_points)
        reason = (
            f"schedule: {share} from {step.not_before}; judge: {judged.reason} "
            f"({judged.blocks} blocks); go/no-go: GO"
        )[:_REASON_CHARACTERS_MAX]
        try:
            record = await control.put(
                {"phase": step.phase.value, "basis_points": step.basis_points},
                expected=generation,
                actor=ACTOR,
                reason=reason,
            )
        except StaleGeneration as fault:
            self._steps["lost"].inc()
            _log.info("schedule_step_lost", why=str(fault))
            await control.reader.refresh()
            return False
        except Fault as fault:
            if str(fault) != self._why:
                _log.warning("schedule_step_failed", why=str(fault))
            self._why = str(fault)
            self._steps["failed"].inc()
            return False
        self._why = ""
        self._steps["made"].inc()
        self._last = {
            "generation": record.generation,
            "basis_points": step.basis_points,
            "at": self._wall_clock(),
            "reason": reason,
        }
        _log.warning("schedule_step_made", **self._last)
        return True

    def to_json(self) -> dict[str, Any]:
        """Return the schedule, its next step, and why that is not made yet."""
        plan, (_, document) = self._control.flags.plan, self._present()
        judged, go = self._analysis.verdict(), self._go.latest
        body: dict[str, Any] = {
            "armed": document is not None and document.schedule_armed,
            "steps": [
                _step_to_json(step.basis_points, step.not_before) for step in plan.schedule.steps
            ],
            "next": None,
            "permitted": False,
            "waits_for": ["the control state is not known"],
            "dwell": {"seconds": self._dwelt(), "needed_seconds": plan.dwell_seconds},
            "gate": {
                "judge": {
                    "outcome": judged.outcome.value,
                    "reason": judged.reason,
                    "overdue": judged.overdue,
                    "deadline_at": judged.deadline_at,
                },
                "go_no_go": None
                if go is None
                else {"decision": go.decision.value, "reasons": list(go.reasons), "at": go.at},
            },
            "last_step": self._last,
        }
        if document is not None:
            proposal = self._propose(document)
            if proposal.step is not None:
                step = proposal.step
                body["next"] = _step_to_json(step.basis_points, step.not_before)
            failed = [f"the last attempt failed: {self._why}"] if self._why else []
            body["waits_for"] = [
                *self._obstacles(),
                *proposal.refused_because,
                *(self._details() if proposal.step is not None else ()),
                *failed,
            ]
            body["permitted"] = proposal.permitted and not self._obstacles()
        return body

    def _may(self) -> bool:
        document = self._present()[1]
        return document is not None and self._propose(document).permitted and not self._obstacles()

    def _present(self) -> tuple[int, RolloutDocument | None]:
        config = self._control.routing()
        expired = self._control.now() >= config.expires_at
        return config.generation, None if expired else config.document

    def _propose(self, document: RolloutDocument) -> Proposal:
        plan = self._control.flags.plan
        server = self._go.server_now()
        # A clock that is ahead permits nothing early; without the server's there is no gate either.
        now = self._wall_clock() if server is None else min(self._wall_clock(), server)
        dwelt = self._dwelt()
        return plan.schedule.next_step(
            document,
            now,
            dwelled=dwelt is not None and dwelt >= plan.dwell_seconds,
            gate_open=self._gate_open(),
        )

    def _gate_open(self) -> bool:
        go = self._go.latest
        return (
            self._go.server_now() is not None
            and go is not None
            and go.decision is Decision.GO
            and self._analysis.verdict().outcome is Outcome.PROMOTE
        )

    def _dwelt(self) -> float | None:
        step = self._analysis.step
        return None if step is None else self._analysis.now() - self._analysis.started_at

    def _obstacles(self) -> list[str]:
        """Return what stands in the way besides date, dwell and gate."""
        control, step = self._control, self._analysis.step
        _, document = self._present()
        found = [f"L3 is switched off: {why}" for why in control.flags.off_because]
        if not control.flags.environment_allows:
            found.append("L3 is switched off: USE_L3_SIMULATOR=false")
        if control.latch is not None:
            found.append("rolled back in this router")
        if step is not None and document is not None:
            same = (step.phase, step.basis_points) == (document.phase, document.basis_points)
            if not same:
                found.append("the judge has not begun this step's experiment yet")
        return found

    def _details(self) -> list[str]:
        """Return what holds the gate shut, in the words of those who hold it."""
        judged, go = self._analysis.verdict(), self._go.latest
        found = []
        if judged.outcome is not Outcome.PROMOTE:
            found.append(f"judge: {judged.outcome}: {judged.reason}")
        if judged.overdue:
            found.append("judge: overdue, a person has to decide")
        if go is None:
            found.append("go/no-go: no verdict yet")
        elif go.decision is not Decision.GO:
            found += [f"go/no-go: {go.decision}: {reason}" for reason in go.reasons]
        return found


def _step_to_json(basis_points: int, not_before: object) -> dict[str, Any]:
    return {
        "not_before": str(not_before),
        "basis_points": basis_points,
        "percentage": float(fraction_from_basis_points(basis_points)),
    }

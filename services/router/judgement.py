"""What follows from the judge's verdict by itself: proven harm rolls back, as a trigger does."""

import asyncio
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.router.analysis import Analysis
from services.router.triggers import Rollback
from touchstone.rollout.dossier import JUDGE_ACTOR
from touchstone.rollout.judge import Outcome

LOOK_SECONDS: Final = 1.0
_REASON_CHARACTERS_MAX: Final = 500

_log = structlog.get_logger("touchstone.router")


class JudgeWatch:
    """Ask the judge every second, in each phase with evidence, and roll back once on harm.

    With `enabled` false harm is logged, counted and shown, and nothing is rolled back.
    """

    def __init__(
        self, analysis: Analysis, control: Rollback, *, enabled: bool, registry: CollectorRegistry
    ) -> None:
        self._analysis = analysis
        self._control = control
        self._enabled = enabled
        self._noted = 0
        self._acted_on = 0
        self._overdue_in = 0
        self._rollbacks = Counter(
            "rollout_judge_harm", "Experiments in which harm was proven", registry=registry
        )
        outcomes = Gauge(
            "rollout_judge_outcome",
            "1 for what the judge says of the present step",
            ["outcome"],
            registry=registry,
        )
        self._outcomes = {outcome: outcomes.labels(outcome.value) for outcome in Outcome}
        self._overdue = Gauge(
            "rollout_judge_overdue",
            "1 where the judge's deadline passed without a decision: a person has to make it",
            registry=registry,
        )

    async def work(self) -> None:
        """Look until cancelled; a rollback that fails is tried again."""
        while True:
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - logged with its trace, and tried again
                _log.exception("judge_watch_failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Ask once, show the answer, and act on proven harm."""
        analysis = self._analysis
        verdict, experiment = analysis.verdict(), analysis.experiment
        for outcome, gauge in self._outcomes.items():
            gauge.set(outcome is verdict.outcome)
        overdue = verdict.overdue and analysis.step is not None
        self._overdue.set(overdue)
        if overdue and self._overdue_in != experiment:
            self._overdue_in = experiment
            _log.warning("judge_overdue", reason=verdict.reason, blocks=verdict.blocks)
        if verdict.outcome is not Outcome.ROLLBACK or analysis.step is None:
            return
        if experiment != self._noted:
            self._noted = experiment
            self._rollbacks.inc()
            _log.warning("judge_proved_harm", reason=verdict.reason, acting=self._enabled)
        if self._enabled and experiment != self._acted_on:
            reason = f"judge: {verdict.reason}"[:_REASON_CHARACTERS_MAX]
            await self._control.rollback(actor=JUDGE_ACTOR, reason=reason, join=True)
            self._acted_on = experiment

    def to_json(self) -> dict[str, Any]:
        """Return whether harm rolls back, and whether it did in the present experiment."""
        acted = self._acted_on == self._analysis.experiment
        return {"auto_rollback_enabled": self._enabled, "rolled_back": acted}

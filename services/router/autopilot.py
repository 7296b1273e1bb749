"""What goes on, or back, without a person: judge, go/no-go, schedule, and what they learn from."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from services.router.analysis import Analysis
from services.router.counterfactual import Counterfactual
from services.router.go_no_go import GoNoGo
from services.router.judgement import JudgeWatch
from services.router.metrics import PairMetrics
from services.router.providers import Provider
from services.router.rollout_control import RolloutControl
from services.router.scheduler import Scheduler
from services.router.settings import RouterSettings
from touchstone.kit.control import ControlStore
from touchstone.rollout.plan import Plan
from touchstone.rollout.shadow import ShadowPair, ShadowStore


@dataclass(frozen=True, slots=True)
class Autopilot:
    """The parts, and what they do all the time."""

    analysis: Analysis
    counterfactual: Counterfactual
    judgement: JudgeWatch
    go_no_go: GoNoGo
    scheduler: Scheduler
    pairs: PairMetrics

    def observe(self, pair: ShadowPair) -> None:
        """Learn from an order that both providers executed, in shadow or live."""
        self.analysis.observe(pair)
        self.go_no_go.observe(pair)
        self.pairs.observe(pair)

    def work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what has to run until cancelled."""
        return (
            self.counterfactual.work(),
            self.judgement.work(),
            self.go_no_go.work(),
            self.scheduler.work(),
        )


def build_autopilot(
    control: RolloutControl,
    store: ControlStore,
    l2: Provider,
    settings: RouterSettings,
    registry: CollectorRegistry,
) -> Autopilot:
    """Return the parts, put together around the rollout's state."""

    def plan() -> Plan:
        return control.flags.plan

    analysis = Analysis(lambda: plan().judge)
    control.reader.subscribe(analysis.follow)
    go = GoNoGo(store, control.member, plan, registry=registry)

    def observe(pair: ShadowPair) -> None:
        autopilot.observe(pair)

    autopilot = Autopilot(
        analysis,
        Counterfactual(
            l2, ShadowStore(settings.shadow_pairs_max), registry=registry, on_pair=observe
        ),
        JudgeWatch(analysis, control, enabled=settings.auto_rollback_enabled, registry=registry),
        go,
        Scheduler(control, analysis, go, registry=registry),
        PairMetrics(registry),
    )
    return autopilot

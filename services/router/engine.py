"""One execution: assignment, the arm's provider, L2 where L3 fails, the mirror in shadow."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from execution_providers import ExecutionRequest, Fill
from lob.errors import Fault
from services.router.metrics import ExecutionMetrics
from services.router.providers import Provider
from services.router.rollout_control import RolloutControl
from services.router.shadow import Mirror, ShadowRunner
from touchstone.rollout.assignment import Arm, Assignment, Rule, assign
from touchstone.rollout.dossier import LiveOrder


@dataclass(frozen=True, slots=True)
class Decision:
    """Who answered and why; `rule` is `fallback:<code>` where L3 was to answer and failed."""

    id: str
    arm: Arm
    rule: str
    bucket: int
    generation: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {
            "id": self.id,
            "arm": self.arm.value,
            "rule": self.rule,
            "bucket": self.bucket,
            "generation": self.generation,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision and the fill it led to."""

    decision: Decision
    fill: Fill


class Router:
    """Execute requests: exactly one answer each, from L2 whenever L3 may not or cannot."""

    def __init__(
        self,
        control: RolloutControl,
        l2: Provider,
        l3: Provider,
        shadow: ShadowRunner,
        metrics: ExecutionMetrics,
        seed: int,
        on_live: Callable[[LiveOrder], None] = lambda _order: None,
    ) -> None:
        self._control = control
        self._l2 = l2
        self._l3 = l3
        self._shadow = shadow
        self._metrics = metrics
        self._seed = seed
        self._on_live = on_live

    def assign(self, symbol: str, account: str = "") -> Assignment:
        """Return who would answer now."""
        return assign(symbol, account, self._control.routing(), self._control.now())

    async def execute(self, request: ExecutionRequest, account: str = "") -> Answer:
        """Execute a request by the arm it is assigned to.

        Raises:
            InvalidInput: the order lacks what its execution needs.
        """
        identity = uuid.uuid4().hex
        # Until L3 has answered: a rollback that every router acknowledged leaves none under way.
        with self._control.send_gate.passage():
            assignment = self.assign(request.order.symbol, account)
            self._metrics.on_rule(assignment.rule)
            if assignment.arm is Arm.L3:
                return await self._execute_l3(request, assignment, identity)
        fill, seconds = await self._execute_l2(request, "live")
        if assignment.rule is Rule.SHADOW:
            self._shadow.offer(
                Mirror(identity, assignment.generation, request, self._seed, fill, seconds)
            )
        return self._answer(identity, assignment, Arm.L2, assignment.rule.value, fill)

    async def _execute_l3(
        self, request: ExecutionRequest, assignment: Assignment, identity: str
    ) -> Answer:
        started = time.perf_counter()
        try:
            fill = await self._l3.execute(request, self._seed)
        except Fault as fault:
            seconds = time.perf_counter() - started
            self._metrics.on_fault("L3", "live", fault, seconds)
            self._note(request, assignment, identity, seconds, None, fault)
            fill, _ = await self._execute_l2(request, "fallback")
            self._metrics.on_fallback(fault)
            return self._answer(identity, assignment, Arm.L2, f"fallback:{fault.code}", fill)
        seconds = time.perf_counter() - started
        self._metrics.on_fill("L3", "live", fill, seconds)
        self._note(request, assignment, identity, seconds, fill, None)
        return self._answer(identity, assignment, Arm.L3, assignment.rule.value, fill)

    def _note(
        self,
        request: ExecutionRequest,
        assignment: Assignment,
        identity: str,
        seconds: float,
        fill: Fill | None,
        fault: Fault | None,
    ) -> None:
        """Keep what a rollback's dossier needs to know of an execution by L3."""
        slippage = None if fill is None else fill.slippage_bps
        self._on_live(
            LiveOrder(
                decision_id=identity,
                generation=assignment.generation,
                at=time.time(),
                symbol=request.order.symbol,
                side=request.order.side.value,
                quantity=str(request.order.quantity),
                seconds=seconds,
                slippage_bps=None if slippage is None else float(slippage),
                error=None if fault is None else fault.code,
            )
        )

    async def _execute_l2(self, request: ExecutionRequest, mode: str) -> tuple[Fill, float]:
        started = time.perf_counter()
        try:
            fill = await self._l2.execute(request, self._seed)
        except Fault as fault:
            self._metrics.on_fault("L2", mode, fault, time.perf_counter() - started)
            raise
        seconds = time.perf_counter() - started
        self._metrics.on_fill("L2", mode, fill, seconds)
        return fill, seconds

    def _answer(
        self, identity: str, assignment: Assignment, arm: Arm, rule: str, fill: Fill
    ) -> Answer:
        decision = Decision(
            identity, arm, rule, assignment.bucket, assignment.generation, self._seed
        )
        return Answer(decision, fill)

"""One execution: assignment, the arm's provider, L2 where L3 fails, the mirror in shadow."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from execution_providers import ExecutionRequest, Fill
from lob.errors import Fault, InvalidInput
from services.router.counterfactual import LiveAnswer
from services.router.decision_log import Made
from services.router.metrics import ExecutionMetrics
from services.router.providers import Provider, execute_many
from services.router.rollout_control import RolloutControl
from services.router.shadow import Mirror, ShadowRunner
from touchstone.kit.codec import complete
from touchstone.kit.received import ReceivedFill
from touchstone.rollout.assignment import Arm, Assignment, RoutingConfig, Rule, assign
from touchstone.rollout.dossier import LiveOrder

_ID_BYTES: Final = 16
_IDS_DRAWN: Final = 256


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
    """A decision and the fill it led to; how long its provider took is the provider's word."""

    decision: Decision
    fill: Fill
    provider_seconds: float


class Route(NamedTuple):
    """An order on its way: who is to answer, and everything that follows from."""

    identity: str
    account: str
    request: ExecutionRequest
    config: RoutingConfig
    now: float
    assignment: Assignment


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
        compare: Callable[[LiveAnswer], None] = lambda _answer: None,
        record: Callable[[Made], None] = lambda _made: None,
    ) -> None:
        self._control = control
        self._l2 = l2
        self._l3 = l3
        self._shadow = shadow
        self._metrics = metrics
        self._seed = seed
        self._on_live = on_live
        self._compare = compare
        self._record = record
        self._identities: list[str] = []

    def assign(self, symbol: str, account: str = "") -> Assignment:
        """Return who would answer now."""
        return assign(symbol, account, self._control.routing(), self._control.now())

    async def execute(self, request: ExecutionRequest, account: str = "") -> Answer:
        """Execute a request by the arm it is assigned to.

        Raises:
            InvalidInput: the order lacks what its execution needs.
        """
        # Until L3 has answered: a rollback that every router acknowledged leaves none under way.
        gate = self._control.send_gate
        ticket = gate.enter()
        try:
            (route,) = self._routes([request], account)
            if route.assignment.arm is Arm.L3:
                started = time.perf_counter()
                outcome: Fill | Fault
                try:
                    outcome = await self._l3.execute(request, self._seed)
                except Fault as fault:
                    outcome = fault
                return await self._settle(route, outcome, time.perf_counter() - started)
        finally:
            gate.leave(ticket)
        return await self._answer_by_l2(route)

    async def execute_many(
        self, requests: Sequence[ExecutionRequest], account: str = ""
    ) -> list[Answer | Fault]:
        """Execute requests together: those for L3 go there as one, each with its own result.

        The seconds of an execution by L3 are then its share of what the whole took.
        """
        results: dict[str, Answer | Fault] = {}
        gate = self._control.send_gate
        ticket = gate.enter()
        try:
            routes = self._routes(requests, account)
            by_l3 = [route for route in routes if route.assignment.arm is Arm.L3]
            if by_l3:
                started = time.perf_counter()
                asked = [route.request for route in by_l3]
                outcomes = await execute_many(self._l3, asked, self._seed)
                seconds = (time.perf_counter() - started) / len(by_l3)
                for route, outcome in zip(by_l3, outcomes, strict=True):
                    try:
                        results[route.identity] = await self._settle(route, outcome, seconds)
                    except Fault as fault:
                        results[route.identity] = fault
        finally:
            gate.leave(ticket)
        for route in routes:
            if route.identity not in results:
                try:
                    results[route.identity] = await self._answer_by_l2(route)
                except Fault as fault:
                    results[route.identity] = fault
        return [results[route.identity] for route in routes]

    def _routes(self, requests: Sequence[ExecutionRequest], account: str) -> list[Route]:
        """Assign requests by the state as it is now, with no pause in between."""
        config, now = self._control.routing(), self._control.now()
        routes = []
        for request in requests:
            assignment = assign(request.order.symbol, account, config, now)
            self._metrics.on_rule(assignment.rule)
            identity = self._identity()
            routes.append(Route(identity, account, request, config, now, assignment))
        return routes

    def _identity(self) -> str:
        """Return an id that nobody has; drawn many at a time, as each drawing is a system call."""
        if not self._identities:
            drawn = os.urandom(_ID_BYTES * _IDS_DRAWN).hex()
            step = 2 * _ID_BYTES
            self._identities = [drawn[i : i + step] for i in range(0, len(drawn), step)]
        return self._identities.pop()

    async def _answer_by_l2(self, route: Route) -> Answer:
        request, assignment = route.request, route.assignment
        complete(request)
        fill, seconds = await self._execute_l2(route, "live")
        if assignment.rule is Rule.SHADOW:
            self._shadow.offer(
                Mirror(route.identity, assignment.generation, request, self._seed, fill, seconds)
            )
        return self._answer(route, Arm.L2, fill, seconds)

    async def _settle(self, route: Route, outcome: Fill | Fault, seconds: float) -> Answer:
        """Answer with what L3 gave, or by L2 where that is a fault."""
        identity, request, assignment = route.identity, route.request, route.assignment
        live = (identity, assignment.generation, request, self._seed)
        if isinstance(outcome, Fault):
            # A request that was wrong in itself says nothing of L3; and one that cannot even be
            # read is refused here, in the words of the edge.
            wrong = isinstance(outcome, InvalidInput)
            if wrong:
                complete(request)
            self._metrics.on_fault("L3", "live", outcome, seconds)
            self._note(request, assignment, identity, seconds, None, outcome)
            fill, taken = await self._execute_l2(route, "fallback", outcome)
            self._metrics.on_fallback(outcome)
            if not wrong:
                self._compare(LiveAnswer(*live, None, outcome.code, seconds, fill, taken))
            return self._answer(route, Arm.L2, fill, taken, outcome)
        self._metrics.on_fill("L3", "live", outcome, seconds)
        self._note(request, assignment, identity, seconds, outcome, None)
        self._compare(LiveAnswer(*live, outcome, None, seconds))
        own = outcome.provider_seconds if isinstance(outcome, ReceivedFill) else None
        return self._answer(route, Arm.L3, outcome, seconds if own is None else own)

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

    async def _execute_l2(
        self, route: Route, mode: str, instead_of: Fault | None = None
    ) -> tuple[Fill, float]:
        started = time.perf_counter()
        try:
            fill = await self._l2.execute(route.request, self._seed)
        except Fault as fault:
            self._metrics.on_fault("L2", mode, fault, time.perf_counter() - started)
            self._keep(route, Arm.L2, None, instead_of, fault)
            raise
        seconds = time.perf_counter() - started
        self._metrics.on_fill("L2", mode, fill, seconds)
        return fill, seconds

    def _answer(
        self,
        route: Route,
        arm: Arm,
        fill: Fill,
        provider_seconds: float,
        fault: Fault | None = None,
    ) -> Answer:
        self._keep(route, arm, fill, fault, None)
        assignment = route.assignment
        rule = assignment.rule.value if fault is None else f"fallback:{fault.code}"
        decision = Decision(
            route.identity, arm, rule, assignment.bucket, assignment.generation, self._seed
        )
        return Answer(decision, fill, provider_seconds)

    def _keep(
        self, route: Route, arm: Arm, fill: Fill | None, fault: Fault | None, refusal: Fault | None
    ) -> None:
        """Hand the decision to the log: everything it was made from, and what came of it."""
        identity, account, request, config, now, assignment = route
        self._record(
            Made(
                *(identity, time.time(), account, request, self._seed, config, now),
                *(assignment, arm, fill, fault, refusal),
            )
        )

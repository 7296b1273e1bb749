"""One execution: assignment, the arm's provider, L2 where L3 fails, the mirror in shadow."""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
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
from touchstone.kit.received import ReceivedFill, bps_of
from touchstone.kit.trace import about, trace_id
from touchstone.rollout.assignment import Arm, Assignment, RoutingConfig, Rule, assign
from touchstone.rollout.dossier import LiveOrder

_ID_BYTES: Final = 16
_IDS_DRAWN: Final = 256
_ASSIGNMENTS_KEPT: Final = 4_096
# A class of tuples called by its name takes twice as long, and an order has five of them.
_made: Final = tuple.__new__


class Decision(NamedTuple):
    """Who answered and why; `rule` is `fallback:<code>` where L3 was to answer and failed."""

    id: str
    arm: Arm
    rule: str
    bucket: int
    generation: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return self._asdict() | {"arm": self.arm.value}


class Answer(NamedTuple):
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


Compare = Callable[[int, Callable[[int], LiveAnswer]], None]
"""Takes as many of some live answers as it has room for; they are made by number."""


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
        compare: Compare = lambda _count, _make: None,
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
        # Assignments of one account under one state, by symbol.
        self._assigned: tuple[tuple[object, ...], dict[str, Assignment]] = ((), {})

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
                    outcome = await self._execute_one_by_l3(route)
                except Fault as fault:
                    outcome = fault
                if self._control.withdrawn():
                    return await self._answer_too_late(route)
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
        results: list[Answer | Fault | None] = [None] * len(requests)
        gate = self._control.send_gate
        ticket = gate.enter()
        try:
            routes = self._routes(requests, account)
            places = [n for n, route in enumerate(routes) if route.assignment.arm is Arm.L3]
            if places:
                by_l3 = [routes[place] for place in places]
                answers = await self._execute_l3(by_l3)
                for place, answer in zip(places, answers, strict=True):
                    results[place] = answer
        finally:
            gate.leave(ticket)
        return [
            await self._answered(self._answer_by_l2(route)) if result is None else result
            for route, result in zip(routes, results, strict=True)
        ]

    async def _execute_one_by_l3(self, route: Route) -> Fill:
        if not trace_id():
            return await self._l3.execute(route.request, self._seed)
        with about(decision_id=route.identity):
            return await self._l3.execute(route.request, self._seed)

    async def _execute_l3(self, routes: list[Route]) -> list[Answer | Fault]:
        """Return the answers to orders that go to L3 as one; those that fail are L2's."""
        started = time.perf_counter()
        outcomes = await execute_many(self._l3, [r.request for r in routes], self._seed)
        seconds = (time.perf_counter() - started) / len(routes)
        if self._control.withdrawn():
            return [await self._answered(self._answer_too_late(route)) for route in routes]
        fills = [outcome for outcome in outcomes if not isinstance(outcome, Fault)]
        if len(fills) == len(routes):
            return [*self._settle_fills(routes, fills, seconds)]
        return [
            await self._answered(self._settle(route, outcome, seconds))
            for route, outcome in zip(routes, outcomes, strict=True)
        ]

    async def _answered(self, answer: Awaitable[Answer]) -> Answer | Fault:
        """Return an answer, or the fault that it ends in."""
        try:
            return await answer
        except Fault as fault:
            return fault

    async def _answer_too_late(self, route: Route) -> Answer:
        """Answer by L2 what L3 was asked and may not answer any more: by the state as it is now."""
        config, now = self._control.routing(), self._control.now()
        assignment = assign(route.request.order.symbol, route.account, config, now)
        self._metrics.on_rule(assignment.rule)
        return await self._answer_by_l2(
            route._replace(config=config, now=now, assignment=assignment)
        )

    def _routes(self, requests: Sequence[ExecutionRequest], account: str) -> list[Route]:
        """Assign requests by the state as it is now, with no pause in between."""
        config, now = self._control.routing(), self._control.now()
        identity = self._identity
        routes: list[Route] = []
        # One addition for as many in a row as have the same rule, mostly all.
        rule, count = Rule.DEFAULT, 0
        assigned = self._assigned_now(config, account, now) if len(requests) > 1 else {}
        for request in requests:
            symbol = request.order.symbol
            assignment = assigned.get(symbol)
            if assignment is None:
                assignment = assign(symbol, account, config, now)
                if len(assigned) < _ASSIGNMENTS_KEPT:
                    assigned[symbol] = assignment
            if assignment.rule is not rule:
                self._metrics.on_rule(rule, count)
                rule, count = assignment.rule, 0
            count += 1
            route = (identity(), account, request, config, now, assignment)
            routes.append(_made(Route, route))
        self._metrics.on_rule(rule, count)
        return routes

    def _assigned_now(
        self, config: RoutingConfig, account: str, now: float
    ) -> dict[str, Assignment]:
        """Return assignments made before under the same state, by symbol; it may be added to."""
        if now >= config.expires_at:
            return {}
        document = config.document
        # The document itself is kept with them, so that its place in memory is nobody else's.
        state = (
            *(account, config.generation, config.latched),
            *(config.environment_allows, config.master_flag),
        )
        before, assigned = self._assigned
        if not before or before[0] is not document or before[1:] != state:
            assigned = {}
            self._assigned = (document, *state), assigned
        return assigned

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
        if assignment.rule is Rule.SHADOW and self._shadow.wants():
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
            self._note(request, assignment, identity, seconds, outcome)
            fill, taken = await self._execute_l2(route, "fallback", outcome)
            self._metrics.on_fallback(outcome)
            if not wrong:
                failed = LiveAnswer(*live, None, outcome.code, seconds, fill, taken)
                self._compare(1, lambda _number: failed)
            return self._answer(route, Arm.L2, fill, taken, outcome)
        (answer,) = self._settle_fills([route], [outcome], seconds)
        return answer

    def _settle_fills(
        self, routes: Sequence[Route], fills: Sequence[Fill], seconds: float
    ) -> list[Answer]:
        """Answer with what L3 gave; `seconds` is what each took."""
        self._metrics.on_fills("L3", "live", fills, seconds)
        at, seed, answers = time.time(), self._seed, []
        note, record = self._on_live, self._record
        for (identity, account, request, config, now, assignment), fill in zip(
            routes, fills, strict=True
        ):
            order, generation = request.order, assignment.generation
            kept = (identity, generation, at, order.symbol, order.side, str(order.quantity))
            note(_made(LiveOrder, (*kept, seconds, bps_of(fill), None)))
            seen = (identity, at, account, request, seed, config, now, assignment, Arm.L3, fill)
            record(_made(Made, (*seen, None, None)))
            own = fill.provider_seconds if type(fill) is ReceivedFill else None
            rule, bucket = assignment.rule, assignment.bucket
            decision = _made(Decision, (identity, Arm.L3, rule, bucket, generation, seed))
            answers.append(_made(Answer, (decision, fill, seconds if own is None else own)))

        def live(number: int) -> LiveAnswer:
            route = routes[number]
            return LiveAnswer(
                *(route.identity, route.assignment.generation, route.request, seed),
                *(fills[number], None, seconds),
            )

        self._compare(len(fills), live)
        return answers

    def _note(
        self,
        request: ExecutionRequest,
        assignment: Assignment,
        identity: str,
        seconds: float,
        fault: Fault,
    ) -> None:
        """Keep what a rollback's dossier needs to know of an execution by L3 that failed."""
        self._on_live(
            LiveOrder(
                decision_id=identity,
                generation=assignment.generation,
                at=time.time(),
                symbol=request.order.symbol,
                side=request.order.side.value,
                quantity=str(request.order.quantity),
                seconds=seconds,
                slippage_bps=None,
                error=fault.code,
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

"""Running executions: bounded, inside their deadline, and without holding up the event loop."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from execution_providers.l3 import L3Provider
from execution_providers.outlook import FillOutlook
from execution_providers.types import CostEstimate, ExecutionRequest, Fill
from lob.errors import DeadlineExceeded, Fault, InvariantViolation, NotSupported, Overloaded
from services.simulator.configured import Configured
from services.simulator.live import LiveExecutions
from services.simulator.metrics import SimulatorMetrics

_SMOOTHING: Final = 0.2
_OUTLIER: Final = 4
"""So many times the bound of a quick kind counts at most; two such in a row make it a slow one."""
_now = time.perf_counter


class Executions:
    """Execute requests with the providers of the configuration in force.

    An execution that takes well under a millisecond costs less inline than a hop to a thread. The
    time of each kind (those that may wait in the queue, and those that cannot) is measured as it
    runs, and a kind slower than `inline_seconds_max` goes to a thread.

    `current` is the configuration in force; what is under way keeps the one it began with.
    """

    def __init__(
        self,
        current: Configured,
        metrics: SimulatorMetrics,
        executor: ThreadPoolExecutor,
        live: LiveExecutions,
        *,
        max_in_flight: int,
        inline_seconds_max: float,
    ) -> None:
        self.current = current
        self._metrics = metrics
        self._executor = executor
        self._live = live
        self._max_in_flight = max_in_flight
        self._inline_seconds_max = inline_seconds_max
        self._outlier_seconds = _OUTLIER * inline_seconds_max or math.inf
        self._in_flight = 0
        self._usual_seconds = {False: 0.0, True: 0.0}

    @property
    def in_flight(self) -> int:
        """Return how many executions are accepted and not answered yet."""
        return self._in_flight

    def admit(self, count: int) -> None:
        """Take `count` places; every admitted place is given back with `release`.

        Raises:
            Overloaded: there are not that many places left.
        """
        if self._in_flight + count > self._max_in_flight:
            raise Overloaded(
                f"{self._in_flight} executions are under way; allowed: {self._max_in_flight}"
            )
        self._in_flight += count
        self._metrics.in_flight.set(self._in_flight)

    def release(self, count: int) -> None:
        """Give places back."""
        self._in_flight -= count
        self._metrics.in_flight.set(self._in_flight)

    async def execute(
        self,
        request: ExecutionRequest,
        seed: int | None,
        remaining: Callable[[], float | None],
        under: Configured | None = None,
        session_id: str | None = None,
    ) -> Fill:
        """Return what becomes of one request; `remaining` says how many seconds are left.

        It executes under the configuration in force, or under the one given; in the book of the
        session named, or of its symbol's live one.

        Raises:
            DeadlineExceeded: there is no time left.
            Fault: what the provider refuses.
        """
        try:
            left = remaining()
            if left is not None and left <= 0:
                raise DeadlineExceeded("the deadline passed before the execution began")
            under = under or self.current
            session = self._live.session_for(request, session_id)
            if session is not None:
                started = _now()
                fill = await self._live.execute(session, request, seed, under, remaining)
                self._metrics.record_fill(request, fill, _now() - started)
                return fill
            if self.is_quick(request):
                return self.execute_now(request, seed, under)[0]
            started = time.perf_counter()
            fill, ran = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._run_timed, under, request, seed
            )
            seconds = time.perf_counter() - started
        except Fault as fault:
            self._metrics.record_fault(request.order, fault)
            raise
        self._note(request, fill, seconds, ran)
        return fill

    def is_quick(self, request: ExecutionRequest) -> bool:
        """Return whether a request of this kind may run on the event loop, in a book of its own."""
        if self._live.session_for(request, None) is not None:
            return False
        return self._usual_seconds[_waits(request)] <= self._inline_seconds_max

    def execute_now(
        self, request: ExecutionRequest, seed: int | None, under: Configured | None = None
    ) -> tuple[Fill, float]:
        """Return what becomes of a quick request, and the seconds that its provider took.

        Raises:
            Fault: what the provider refuses; the caller counts it with `count_fault`.
        """
        started = _now()
        fill = self._run(under or self.current, request, seed)
        seconds = _now() - started
        self._note(request, fill, seconds, seconds)
        return fill, seconds

    def count_fault(self, request: ExecutionRequest | None, fault: Fault) -> None:
        """Count a fault; `request` None where it could not be read."""
        self._metrics.record_fault(None if request is None else request.order, fault)

    def _note(self, request: ExecutionRequest, fill: Fill, seconds: float, ran: float) -> None:
        """Count an execution; `ran` is what it would have held up the event loop for."""
        # One that the machine held up says little: bounded, it alone makes no kind a slow one.
        spent, waits = min(ran, self._outlier_seconds), _waits(request)
        kinds = self._usual_seconds
        kinds[waits] += _SMOOTHING * (spent - kinds[waits])
        self._metrics.record_fill(request, fill, seconds)

    def estimate(self, request: ExecutionRequest) -> tuple[CostEstimate, Configured]:
        """Return what the request's order is expected to cost now, and under what."""
        under = self.current
        provider = under.providers[request.asset_class]
        cost = provider.estimate_execution_cost(request.order, request.market, request.bar)
        return cost, under

    def outlook(
        self, request: ExecutionRequest, horizon_seconds: float
    ) -> tuple[FillOutlook, Configured]:
        """Return how likely the request's order is to fill within a horizon, and under what.

        Raises:
            Fault: what the provider refuses.
        """
        under = self.current
        provider = under.providers[request.asset_class]
        if not isinstance(provider, L3Provider):
            raise NotSupported(
                f"asset_class: {request.asset_class}: its provider forecasts nothing"
            )
        return provider.fill_outlook(request.order, request.market, horizon_seconds), under

    def _run(self, under: Configured, request: ExecutionRequest, seed: int | None) -> Fill:
        provider = under.providers[request.asset_class]
        fill = provider.execute(request.order, request.market, request.bar, seed=seed)
        if fill is None:
            raise InvariantViolation("the provider gave no fill")
        return fill

    def _run_timed(
        self, under: Configured, request: ExecutionRequest, seed: int | None
    ) -> tuple[Fill, float]:
        """Return a fill and what it took without the wait for a thread.

        With that wait a kind that was slow for a moment would never be quick again under load.
        """
        started = _now()
        fill = self._run(under, request, seed)
        return fill, _now() - started


def _waits(request: ExecutionRequest) -> bool:
    """Return whether the order may wait in the queue while the bar trades."""
    return request.bar is not None and request.order.limit_price is not None

"""The control of live orders: what L2 would have done with those that L3 answered.

So the paired difference goes on after the shadow phase. It runs after the answer has been given, on
the same frozen inputs and seed, in this process, at a bounded rate from a bounded queue: what is
beyond is let go and counted. Which orders are let go depends on when they came, never on what
became of them. Nothing here can reach a venue.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter

from execution_providers import ExecutionRequest, Fill
from lob.errors import Fault
from services.router.providers import Provider
from services.router.shadow import inputs_digest, spread_bps, touch_multiple
from services.router.shadow_frames import kept, size_of
from touchstone.rollout.shadow import ShadowPair, ShadowStore

PER_SECOND_MAX: Final = 200
QUEUE_MAX: Final = 256
OUTCOMES: Final = ("pair", "queue_full", "control_failed")

_log = structlog.get_logger("touchstone.router")


class LiveAnswer(NamedTuple):
    """An order that L3 was to answer: its fill, or the fault's code and L2's fill in its place."""

    decision_id: str
    generation: int
    request: ExecutionRequest
    seed: int
    candidate: Fill | None
    error: str | None
    candidate_seconds: float
    control: Fill | None = None
    control_seconds: float = 0.0


class Counterfactual:
    """Take live answers without waiting, execute the control on them, keep the pairs."""

    def __init__(
        self,
        control: Provider,
        store: ShadowStore,
        *,
        registry: CollectorRegistry,
        on_pair: Callable[[ShadowPair], None] = lambda _pair: None,
        wall_clock: Callable[[], float] = time.time,
        per_second: int = PER_SECOND_MAX,
        queue_size: int = QUEUE_MAX,
    ) -> None:
        self._control = control
        self._queue: asyncio.Queue[LiveAnswer] = asyncio.Queue(queue_size)
        self._on_pair = on_pair
        self._wall_clock = wall_clock
        self._pause_seconds = 1 / per_second
        self.store = store
        counter = Counter(
            "live_pairs",
            "Live orders of L3 compared with L2, or not",
            ["outcome"],
            registry=registry,
        )
        self._counts = {outcome: counter.labels(outcome) for outcome in OUTCOMES}

    def offer(self, answer: LiveAnswer) -> None:
        """Queue an answer, or let it go and count it; never waits, never raises."""
        self.offer_some(1, lambda _number: answer)

    def offer_some(self, count: int, make: Callable[[int], LiveAnswer]) -> None:
        """Queue as many of `count` answers as there is room for; `make` gives them by number."""
        room = min(count, self._queue.maxsize - self._queue.qsize())
        for number in range(room):
            self._queue.put_nowait(make(number))
        if room < count:
            self._counts["queue_full"].inc(count - room)

    async def work(self) -> None:
        """Compare one order after another, at most so many a second; until cancelled."""
        while True:
            answer = await self._queue.get()
            try:
                await self._compare(answer)
            except Exception:  # noqa: BLE001 - the comparison must not end with one odd order
                _log.exception("live_pair_failed", decision_id=answer.decision_id)
                self._counts["control_failed"].inc()
            await asyncio.sleep(self._pause_seconds)

    async def _compare(self, answer: LiveAnswer) -> None:
        control, seconds = answer.control, answer.control_seconds
        if control is None:
            started = time.perf_counter()
            try:
                control = await self._control.execute(answer.request, answer.seed)
            except Fault:
                self._counts["control_failed"].inc()
                return
            seconds = time.perf_counter() - started
        request = answer.request
        pair = ShadowPair(
            decision_id=answer.decision_id,
            generation=answer.generation,
            at=self._wall_clock(),
            symbol=request.order.symbol,
            side=request.order.side.value,
            quantity=request.order.quantity,
            inputs_digest=inputs_digest(request),
            seed=answer.seed,
            # Thousands are kept: one object each to the garbage collector.
            control=kept(control),
            candidate=None if answer.candidate is None else kept(answer.candidate),
            error=answer.error,
            control_seconds=seconds,
            candidate_seconds=answer.candidate_seconds,
            touch_multiple=touch_multiple(request),
            spread_bps=spread_bps(request.market),
        )
        self.store.append(pair, size_of(pair.control) + size_of(pair.candidate))
        self._counts["pair"].inc()
        self._on_pair(pair)

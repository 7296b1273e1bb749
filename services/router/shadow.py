"""Compare the candidate with the control's answers: bounded, off the path, unable to matter."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog

from execution_providers import ExecutionRequest, Fill, MarketState, Side
from lob.errors import Fault, InvalidInput
from services.router.metrics import ExecutionMetrics, ShadowMetrics
from services.router.providers import Provider
from services.router.shadow_frames import Outcome, kept, size_of
from services.router.shadow_work import ControlAgain, inputs_digest, run_candidate
from touchstone.kit.received import ReceivedRequest
from touchstone.rollout.shadow import ShadowPair, ShadowStore

LEVELS_WAITING_MAX: Final = 200_000
"""Levels of all books waiting together: their memory, whatever one order brings."""
BURST_SECONDS: Final = 0.25
"""So much of a second's orders may be mirrored one right after the other."""
LEVEL_BYTES: Final = 30
"""What a level takes as JSON, about: so many bytes that came count as one, whatever is in them."""

_log = structlog.get_logger("touchstone.router")

__all__ = [
    "LoopLane",
    "Mirror",
    "ShadowRunner",
    "inputs_digest",
    "spread_bps",
    "touch_multiple",
]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A control answer to be mirrored; request and fill are immutable."""

    decision_id: str
    generation: int
    request: ExecutionRequest
    seed: int
    control: Fill
    control_seconds: float


class Lane(Protocol):
    """Where the candidate runs."""

    def work(self, shadow: "ShadowRunner") -> list[Coroutine[Any, Any, None]]:
        """Return what takes mirrors and settles them, each until it is cancelled."""
        ...

    def affords(self) -> bool:
        """Return whether the candidate has processor time left for more orders."""
        ...

    async def check(self) -> str:
        """Return a short text when the candidate can run, or need not; for readiness."""
        ...


class ShadowRunner:
    """Take control answers without waiting, keep the pairs that the lane's candidate makes of them.

    A full queue drops and counts, and so does what is more in a second than is to be compared:
    which orders are let go depends on when they came and on nothing else; or on what the candidate
    computed before it knew of them, where it has overspent its processor time. What it does wrong
    is recorded and goes no further. Orders still waiting when the phase is left are let go.
    """

    def __init__(
        self,
        lane: Lane,
        store: ShadowStore,
        *,
        queue_size: int,
        per_second_max: float = math.inf,
        in_shadow: Callable[[], bool],
        metrics: ShadowMetrics,
        executions: ExecutionMetrics,
        on_pair: Callable[[ShadowPair], None] = lambda _pair: None,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lane = lane
        self._queue: asyncio.Queue[Mirror] = asyncio.Queue(queue_size)
        self._levels = 0
        self._per_second_max = per_second_max
        self._clock = clock
        # A little at a time: what comes in a burst is felt in a burst.
        self._allowance_max = max(1.0, min(float(queue_size), per_second_max * BURST_SECONDS))
        self._allowance = self._allowance_max
        self._allowed_at = clock()
        self._metrics = metrics
        self._executions = executions
        self._on_pair = on_pair
        self._wall_clock = wall_clock
        self.in_shadow = in_shadow
        self.store = store
        self.mirrored = 0
        self.dropped = 0
        metrics.depth.set_function(self._queue.qsize)

    @property
    def depth(self) -> int:
        """Return how many orders wait for their mirror."""
        return self._queue.qsize()

    def now(self) -> float:
        """Return the time on the clock of the pairs, in seconds since 1970."""
        return self._wall_clock()

    def wants(self) -> bool:
        """Return whether one more answer is to be mirrored; one that is not is counted."""
        if not self._may():
            self.drop("rate")
            return False
        if not self._lane.affords():
            self.drop("processor")
            return False
        return True

    def offer(self, mirror: Mirror) -> None:
        """Queue an answer that is wanted, or drop and count it; never waits, never raises."""
        levels = _levels(mirror)
        if self._queue.full() or self._levels + levels > LEVELS_WAITING_MAX:
            self.drop("queue_full")
            return
        self._queue.put_nowait(mirror)
        self._levels += levels

    def _may(self) -> bool:
        """Return whether the rate allows one more, and count it as taken."""
        if self._per_second_max == math.inf:
            return True
        now = self._clock()
        more = (now - self._allowed_at) * self._per_second_max
        self._allowed_at = now
        self._allowance = min(self._allowance + more, self._allowance_max)
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what mirrors one order after another, each until it is cancelled."""
        return self._lane.work(self)

    async def check(self) -> str:
        """Return a short text when the comparison can run, or need not; for readiness.

        Raises:
            Unavailable: it cannot, and why.
        """
        return await self._lane.check()

    async def take(self) -> Mirror:
        """Wait for the next order that is to be mirrored."""
        mirror = await self._queue.get()
        self._levels -= _levels(mirror)
        return mirror

    def take_now(self) -> Mirror | None:
        """Return the next order that is to be mirrored; None where there is none."""
        if self._queue.empty():
            return None
        mirror = self._queue.get_nowait()
        self._levels -= _levels(mirror)
        return mirror

    def drop(self, reason: str) -> None:
        """Count an order that is not mirrored."""
        self.dropped += 1
        self._metrics.dropped[reason].inc()

    def let_go(self) -> None:
        """Drop every order that waits: the phase has been left."""
        while self.take_now() is not None:
            self.drop("not_in_shadow")

    def settle(self, mirror: Mirror, outcome: Outcome, size_bytes: int = 0) -> None:
        """Keep, judge and count the pair of an order and what the candidate made of it."""
        try:
            self._settle(mirror, outcome, size_bytes)
        except Exception:  # noqa: BLE001 - the comparison must not end with one odd pair
            _log.exception("shadow_pair_failed", decision_id=mirror.decision_id)
            self._metrics.errors[Fault.code].inc()

    def _settle(self, mirror: Mirror, outcome: Outcome, size_bytes: int) -> None:
        fill, seconds, order = outcome.fill, outcome.seconds, mirror.request.order
        if fill is not None:
            self._executions.on_fill("L3", "shadow", fill, seconds)
        else:
            wrong = outcome.error == InvalidInput.code
            kind = InvalidInput if wrong else Fault
            self._executions.on_fault("L3", "shadow", kind(outcome.error or ""), seconds)
            errors = self._metrics.errors
            errors[outcome.error if outcome.error in errors else Fault.code].inc()
        pair = ShadowPair(
            decision_id=mirror.decision_id,
            generation=mirror.generation,
            at=self._wall_clock(),
            symbol=order.symbol,
            side=order.side.value,
            quantity=order.quantity,
            inputs_digest=outcome.digest,
            seed=mirror.seed,
            control=kept(mirror.control),
            candidate=fill,
            error=outcome.error,
            control_seconds=mirror.control_seconds,
            candidate_seconds=seconds,
            touch_multiple=touch_multiple(mirror.request),
            spread_bps=spread_bps(mirror.request.market),
            control_repeat=outcome.repeat,
        )
        self.store.append(pair, size_bytes + size_of(pair.control))
        self._on_pair(pair)
        self.mirrored += 1
        self._metrics.pairs.inc()
        if (difference := pair.difference_bps) is not None:
            self._metrics.difference.observe(difference)
            self._metrics.difference_square.inc(difference * difference)


@dataclass(slots=True)
class LoopLane:
    """Run a candidate in this process and loop: a stand-in that a test or a program hands over.

    What it does wrong is recorded as everywhere; but one that blocks, blocks everything. What is
    not one's own belongs into a process of its own (`shadow_lane`).
    """

    candidate: Provider
    deadline_seconds: float
    workers: int
    again: ControlAgain = field(default_factory=ControlAgain)
    taken: int = 0

    def affords(self) -> bool:
        """Return True: what it computes is this process's own."""
        return True

    async def check(self) -> str:
        """Return that it runs here."""
        return "in this process"

    def work(self, shadow: ShadowRunner) -> list[Coroutine[Any, Any, None]]:
        """Return the workers."""
        return [self._work(shadow) for _ in range(self.workers)]

    async def _work(self, shadow: ShadowRunner) -> None:
        while True:
            mirror = await shadow.take()
            if not shadow.in_shadow():
                shadow.drop("not_in_shadow")
                continue
            shadow.settle(mirror, await self._outcome(mirror))

    async def _outcome(self, mirror: Mirror) -> Outcome:
        self.taken += 1
        again = self.taken % self.again.every == 0
        return await run_candidate(
            self.candidate,
            mirror.request,
            mirror.seed,
            digest=inputs_digest(mirror.request),
            deadline_seconds=self.deadline_seconds,
            repeat=self.again.execute(mirror.request, mirror.seed) if again else None,
        )


def touch_multiple(request: ExecutionRequest) -> float | None:
    """Return the quantity over what the touch displays that it would take from; None without."""
    market, order = request.market, request.order
    levels = market.asks if order.side is Side.BUY else market.bids
    return float(order.quantity / levels[0][1]) if levels else None


def spread_bps(market: MarketState) -> float | None:
    """Return the spread over the mid; None where a side is empty."""
    if not market.bids or not market.asks:
        return None
    bid, ask = market.bids[0][0], market.asks[0][0]
    return float((ask - bid) / (ask + bid) * 20_000)


def _levels(mirror: Mirror) -> int:
    request = mirror.request
    market = request.market
    levels = len(market.bids) + len(market.asks)
    if isinstance(request, ReceivedRequest):
        return max(levels, len(request.received) // LEVEL_BYTES)
    return levels

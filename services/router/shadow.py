"""Run the candidate after the control has answered: bounded, off the path, unable to matter."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from execution_providers import ExecutionRequest, Fill, MarketState, Side
from lob.errors import DeadlineExceeded, Fault
from services.router.metrics import ExecutionMetrics, ShadowMetrics, known_code
from services.router.providers import Provider
from touchstone.kit.codec import execution_request_to_json
from touchstone.rollout.shadow import ShadowPair, ShadowStore

_log = structlog.get_logger("touchstone.router")


@dataclass(frozen=True, slots=True)
class Mirror:
    """A control answer to be mirrored; request and fill are immutable."""

    decision_id: str
    generation: int
    request: ExecutionRequest
    seed: int
    control: Fill
    control_seconds: float


class ShadowRunner:
    """Take control answers without waiting, run the candidate on them, keep the pairs.

    A full queue drops and counts. Whatever the candidate does wrong is recorded and goes no
    further. Orders still waiting when the phase is left are let go.
    """

    def __init__(
        self,
        candidate: Provider,
        store: ShadowStore,
        *,
        queue_size: int,
        deadline_seconds: float,
        in_shadow: Callable[[], bool],
        metrics: ShadowMetrics,
        executions: ExecutionMetrics,
        on_pair: Callable[[ShadowPair], None] = lambda _pair: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._candidate = candidate
        self._queue: asyncio.Queue[Mirror] = asyncio.Queue(queue_size)
        self._deadline_seconds = deadline_seconds
        self._in_shadow = in_shadow
        self._metrics = metrics
        self._executions = executions
        self._on_pair = on_pair
        self._wall_clock = wall_clock
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

    def offer(self, mirror: Mirror) -> None:
        """Queue a control answer, or drop and count it; never waits, never raises."""
        try:
            self._queue.put_nowait(mirror)
        except asyncio.QueueFull:
            self._drop("queue_full")

    async def work(self) -> None:
        """Mirror one order after another; runs until cancelled."""
        while True:
            mirror = await self._queue.get()
            try:
                if self._in_shadow():
                    await self._mirror(mirror)
                else:
                    self._drop("not_in_shadow")
            except Exception:  # noqa: BLE001 - the comparison must not end with one odd pair
                _log.exception("shadow_pair_failed", decision_id=mirror.decision_id)
                self._metrics.errors[Fault.code].inc()

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._metrics.dropped[reason].inc()

    async def _mirror(self, mirror: Mirror) -> None:
        started = time.perf_counter()
        fill, fault = await self._run_candidate(mirror)
        seconds = time.perf_counter() - started
        if fill is not None:
            self._executions.on_fill("L3", "shadow", fill, seconds)
        elif fault is not None:
            self._executions.on_fault("L3", "shadow", fault, seconds)
            self._metrics.errors[known_code(fault)].inc()
        pair = ShadowPair(
            decision_id=mirror.decision_id,
            generation=mirror.generation,
            at=self._wall_clock(),
            symbol=mirror.request.order.symbol,
            side=mirror.request.order.side.value,
            quantity=mirror.request.order.quantity,
            inputs_digest=inputs_digest(mirror.request),
            seed=mirror.seed,
            control=mirror.control,
            candidate=fill,
            error=None if fault is None else fault.code,
            control_seconds=mirror.control_seconds,
            candidate_seconds=seconds,
            touch_multiple=touch_multiple(mirror.request),
            spread_bps=spread_bps(mirror.request.market),
        )
        self.store.append(pair)
        self._on_pair(pair)
        self.mirrored += 1
        self._metrics.pairs.inc()
        if (difference := pair.difference_bps) is not None:
            self._metrics.difference.observe(difference)
            self._metrics.difference_square.inc(difference * difference)

    async def _run_candidate(self, mirror: Mirror) -> tuple[Fill | None, Fault | None]:
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self._candidate.execute(mirror.request, mirror.seed), None
        except TimeoutError:
            return None, DeadlineExceeded(f"candidate: none within {self._deadline_seconds} s")
        except Fault as fault:
            return None, fault
        except Exception as error:  # noqa: BLE001 - a candidate's defect is a finding, no more
            return None, Fault(f"candidate: {type(error).__name__}: {error}")


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


def inputs_digest(request: ExecutionRequest) -> str:
    """Return a digest of everything the execution depends on besides the seed."""
    encoded = json.dumps(
        execution_request_to_json(request), sort_keys=True, separators=(",", ":")
    ).encode()
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()

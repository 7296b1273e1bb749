"""The trials: what is broken, what is measured, what must hold."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from lob.errors import Fault
from touchstone.cli.drill.ring import OrderRing, monotonic_ns
from touchstone.cli.drill.stage import Stage, Worker, until
from touchstone.kit.leases import DRAIN_SECONDS, LEASE_SECONDS

CLOSED_MS_MAX: Final = (LEASE_SECONDS + DRAIN_SECONDS) * 1000
_FAULT_SECONDS: Final = LEASE_SECONDS + DRAIN_SECONDS + 0.1
_WATCH_SECONDS: Final = 0.15
_LATE_SECONDS: Final = 0.3


class Kind(StrEnum):
    """What happens to Redis or to a worker in a trial."""

    HEALTHY = "healthy"
    REDIS_KILLED = "redis-killed"
    REDIS_PAUSED = "redis-paused"
    REDIS_FLUSHED = "redis-flushed"
    REDIS_RESTORED = "redis-restored"
    PARTITION = "partition"
    WORKER_CRASHED = "worker-crashed"


FAULTS: Final = tuple(kind for kind in Kind if kind is not Kind.HEALTHY)

MEANING: Final = {
    Kind.HEALTHY: "a kill while everything works",
    Kind.REDIS_KILLED: "kill -9 of Redis, then a start over its own files",
    Kind.REDIS_PAUSED: "SIGSTOP of Redis, then SIGCONT",
    Kind.REDIS_FLUSHED: "FLUSHALL",
    Kind.REDIS_RESTORED: "kill -9 of Redis, then a start over an older copy of its files",
    Kind.PARTITION: "half of the workers are cut off from Redis, and the kill is called at once",
    Kind.WORKER_CRASHED: "kill -9 of a worker, and the kill is called at once",
}


@dataclass(slots=True)
class Trial:
    """What one trial measured; times in milliseconds, None where there was nothing to measure.

    `written_ms` is when Redis had the kill on its disk, from the call of the kill; `last_order_ms`
    when the last order was begun; `ack_ms` when the call returned. `closed_ms` is when the last
    order was begun, from the fault.
    """

    number: int
    kind: Kind
    orders: int = 0
    written_ms: float | None = None
    last_order_ms: float | None = None
    ack_ms: float | None = None
    acks: int = 0
    lapsed: int = 0
    orders_after_ack: int = 0
    handed_over_after_ack: int = 0
    closed_ms: float | None = None
    orders_after_restart: int = 0
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        fields = {name: getattr(self, name) for name in Trial.__slots__}
        rounded = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in fields.items()
        }
        return rounded | {"ok": not self.problems}


async def run_trial(stage: Stage, number: int, kind: Kind, chance: random.Random) -> Trial:
    """Arm, break, measure, kill, measure, restart, compare; what did not hold is in `problems`."""
    trial = Trial(number, kind)
    before = sum(ring.count for ring in stage.rings)
    try:
        await stage.arm()
        await asyncio.sleep(chance.uniform(0.05, 0.15))
        await _FAULTS[kind](stage, trial)
        await _restart_one(stage, trial, stage.workers[number % len(stage.workers)])
        if problem := await stage.audit_problem():
            trial.problems.append(problem)
        await _all_arrived(stage, trial)
    except Fault as fault:
        trial.problems.append(str(fault))
    except OverflowError as error:
        trial.problems.append(f"not measured: {error}")
    trial.orders = sum(ring.count for ring in stage.rings) - before
    return trial


async def _all_arrived(stage: Stage, trial: Trial) -> None:
    """Compare what was begun with what the sink has; a worker ended hard may owe one order."""

    def missing() -> int:
        return sum(ring.count for ring in stage.rings) - stage.sink.count

    stage.may_be_missing += trial.kind is Kind.WORKER_CRASHED
    await until(lambda: missing() <= stage.may_be_missing, "the sink has every order", 10.0)
    if missing() < 0:
        trial.problems.append(f"the sink has {-missing()} orders that nobody began")


async def _kill(stage: Stage, trial: Trial) -> tuple[int, ...]:
    """Call the kill and measure; return the numbers of the workers whose leases lapsed."""
    called_ns = monotonic_ns()
    told = await stage.kill()
    acked_ns = monotonic_ns()
    await asyncio.sleep(_WATCH_SECONDS)
    stamps = [stamp for ring in stage.rings for stamp in ring.since(called_ns)]
    trial.written_ms = (stage.written_ns - called_ns) / 1e6
    trial.ack_ms = (acked_ns - called_ns) / 1e6
    trial.acks, trial.lapsed = len(told.acks), len(told.lapsed)
    trial.last_order_ms = (max(stamps) - called_ns) / 1e6 if stamps else 0.0
    trial.orders_after_ack = sum(stamp > acked_ns for stamp in stamps)
    trial.handed_over_after_ack = sum(ring.handed_ns > acked_ns for ring in stage.rings)
    if told.acked is None:
        trial.problems.append(f"the kill was not acknowledged: {told.why}")
    if trial.orders_after_ack or trial.handed_over_after_ack:
        trial.problems.append(
            f"after the acknowledged kill {trial.orders_after_ack} orders were begun and "
            f"{trial.handed_over_after_ack} handed over"
        )
    if trial.ack_ms > CLOSED_MS_MAX + stage.late_ms_max:
        trial.problems.append(f"the kill took {trial.ack_ms:.0f} ms")
    return tuple(sorted(_worker_number(name) for name in told.lapsed))


async def _measure_closing(trial: Trial, rings: list[OrderRing], since_ns: int) -> None:
    """Wait for lease and drain, then look when these workers began their last order."""
    await asyncio.sleep(max(0.0, _FAULT_SECONDS - (monotonic_ns() - since_ns) / 1e9))
    stamps = [stamp for ring in rings for stamp in ring.since(since_ns)]
    newest = max(stamps, default=since_ns)
    trial.closed_ms = (newest - since_ns) / 1e6
    if trial.closed_ms > CLOSED_MS_MAX:
        trial.problems.append(f"closed {trial.closed_ms:.0f} ms after the fault")
    if any(ring.is_open for ring in rings):
        trial.problems.append("a worker is still open after lease and drain")


async def _stays_closed(stage: Stage, trial: Trial, why: str) -> None:
    before = [ring.count for ring in stage.rings]
    await asyncio.sleep(_LATE_SECONDS)
    begun = sum(ring.count for ring in stage.rings) - sum(before)
    if begun:
        trial.problems.append(f"{begun} orders were begun {why}")


async def _restart_one(stage: Stage, trial: Trial, worker: Worker) -> None:
    """Restart a worker while all is closed: it must not begin anything."""
    before = worker.ring.count
    await stage.stop_worker(worker)
    await stage.start_worker(worker)
    ring = worker.ring
    await until(lambda: ring.refused > 20, "a restarted worker tries and is refused", 5.0)  # noqa: PLR2004
    trial.orders_after_restart += ring.count - before
    if ring.count > before:
        trial.problems.append(f"a restarted worker began {ring.count - before} orders")


async def _opens_again(stage: Stage) -> None:
    """Wait until every worker begins orders: an outage ends by itself, a kill does not."""
    before = [ring.count for ring in stage.rings]
    await until(
        lambda: all(ring.count > count for ring, count in zip(stage.rings, before, strict=True)),
        "every worker begins orders again once Redis is back",
        10.0,
    )


async def _healthy(stage: Stage, trial: Trial) -> None:
    lapsed = await _kill(stage, trial)
    if lapsed:
        trial.problems.append(f"leases lapsed in a healthy trial: workers {list(lapsed)}")


async def _redis_killed(stage: Stage, trial: Trial) -> None:
    fault_ns = monotonic_ns()
    await stage.kill_redis()
    await _measure_closing(trial, stage.rings, fault_ns)
    await _expect_no_acknowledgement(stage, trial)
    await _restart_one(stage, trial, stage.workers[-1])
    await stage.start_redis_again()
    await _opens_again(stage)
    await _kill(stage, trial)


async def _redis_paused(stage: Stage, trial: Trial) -> None:
    fault_ns = monotonic_ns()
    stage.redis.process.send_signal(signal.SIGSTOP)
    await _measure_closing(trial, stage.rings, fault_ns)
    stage.redis.process.send_signal(signal.SIGCONT)
    await _opens_again(stage)
    await _kill(stage, trial)


async def _redis_flushed(stage: Stage, trial: Trial) -> None:
    fault_ns = monotonic_ns()
    await stage.flush()
    await _measure_closing(trial, stage.rings, fault_ns)
    await _restart_one(stage, trial, stage.workers[-1])
    await _stays_closed(stage, trial, "after a flush")
    await stage.arm()
    await _kill(stage, trial)


async def _redis_restored(stage: Stage, trial: Trial) -> None:
    backup = stage.back_up()
    await stage.kill()
    await stage.arm()
    fault_ns = monotonic_ns()
    await stage.kill_redis()
    stage.restore(backup)
    await stage.start_redis_again()
    await _measure_closing(trial, stage.rings, fault_ns)
    await _restart_one(stage, trial, stage.workers[-1])
    await _stays_closed(stage, trial, "under a restored older state")
    await stage.arm()
    await _kill(stage, trial)


async def _partition(stage: Stage, trial: Trial) -> None:
    cut_off = stage.behind_proxy
    fault_ns = monotonic_ns()
    stage.proxy.cut()
    lapsed = await _kill(stage, trial)
    await _measure_closing(trial, [worker.ring for worker in cut_off], fault_ns)
    stage.proxy.mend()
    expected = tuple(worker.config.number for worker in cut_off)
    if lapsed != expected:
        trial.problems.append(f"leases lapsed: workers {list(lapsed)}, not {list(expected)}")
    await _stays_closed(stage, trial, "after the partition ended under a kill")


async def _worker_crashed(stage: Stage, trial: Trial) -> None:
    worker = stage.workers[trial.number % len(stage.workers)]
    await stage.stop_worker(worker, signal.SIGKILL)
    lapsed = await _kill(stage, trial)
    if lapsed != (worker.config.number,):
        trial.problems.append(
            f"leases lapsed: workers {list(lapsed)}, not [{worker.config.number}]"
        )


async def _expect_no_acknowledgement(stage: Stage, trial: Trial) -> None:
    """Call the kill while Redis is gone: it must not claim anything."""
    try:
        told = await stage.kill()
    except Fault:
        return
    trial.problems.append(f"a kill without Redis was acknowledged: {told.describe()}")


def _worker_number(name: str) -> int:
    return int(name.partition(":")[0].removeprefix("worker"))


_FAULTS: Final[dict[Kind, Callable[[Stage, Trial], Awaitable[None]]]] = {
    Kind.HEALTHY: _healthy,
    Kind.REDIS_KILLED: _redis_killed,
    Kind.REDIS_PAUSED: _redis_paused,
    Kind.REDIS_FLUSHED: _redis_flushed,
    Kind.REDIS_RESTORED: _redis_restored,
    Kind.PARTITION: _partition,
    Kind.WORKER_CRASHED: _worker_crashed,
}

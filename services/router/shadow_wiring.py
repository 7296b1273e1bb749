"""Put the shadow comparison together: the candidate in a process of its own."""

import math
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from services.router.metrics import ExecutionMetrics, ProcessMetrics, ShadowMetrics
from services.router.providers import Provider
from services.router.settings import RouterSettings
from services.router.shadow import Lane, LoopLane, ShadowRunner
from services.router.shadow_lane import ProcessLane
from services.router.shadow_process import Task
from touchstone.rollout.shadow import ShadowPair, ShadowStore


def build_shadow(
    settings: RouterSettings,
    stand_in: Provider | None,
    *,
    in_shadow: Callable[[], bool],
    on_pair: Callable[[ShadowPair], None],
    executions: ExecutionMetrics,
    registry: CollectorRegistry,
) -> ShadowRunner:
    """Return what compares; `stand_in` takes the candidate's place, in this process."""
    lane: Lane
    rate = float(settings.shadow_per_second_max) if stand_in is None else math.inf
    if stand_in is not None:
        lane = LoopLane(stand_in, settings.shadow_deadline_seconds, settings.shadow_workers)
    else:
        lane = ProcessLane(
            task_of(settings),
            per_second_max=settings.shadow_per_second_max,
            order_seconds=settings.shadow_order_seconds,
            metrics=ProcessMetrics(registry),
        )
    return ShadowRunner(
        lane,
        ShadowStore(settings.shadow_pairs_max),
        queue_size=settings.shadow_queue_size,
        per_second_max=rate,
        in_shadow=in_shadow,
        metrics=ShadowMetrics(registry),
        executions=executions,
        on_pair=on_pair,
    )


def task_of(settings: RouterSettings) -> Task:
    """Return what the shadow process is told; nothing of it is secret."""
    return Task(
        descriptor=-1,
        parent=-1,
        candidate=settings.shadow_candidate,
        simulator_address=settings.simulator_address,
        simulator_deadline_seconds=settings.simulator_deadline_seconds,
        deadline_seconds=settings.shadow_deadline_seconds,
        workers=settings.shadow_workers,
        memory_bytes_max=settings.shadow_memory_bytes_max,
    )

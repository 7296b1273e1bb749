"""The simulator's composition root: settings in, connected parts out."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.simulator.configured import read
from services.simulator.executions import Executions
from services.simulator.live import LiveExecutions
from services.simulator.metrics import SimulatorMetrics
from services.simulator.reload import Reloads, following
from services.simulator.replays import Replays
from services.simulator.self_check import SelfCheck
from services.simulator.sessions import Limits, Sessions
from services.simulator.settings import SimulatorSettings
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry
from touchstone.kit.tasks import start_task, stop_tasks

EXPIRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Components:
    """Everything the servers need."""

    settings: SimulatorSettings
    registry: CollectorRegistry
    metrics: SimulatorMetrics
    executions: Executions
    sessions: Sessions
    replays: Replays
    reloads: Reloads
    self_check: SelfCheck
    readiness: Readiness


@asynccontextmanager
async def wire(settings: SimulatorSettings) -> AsyncIterator[Components]:
    """Build the parts, keep sessions expiring while they are used, and close them.

    Raises:
        ConfigError: the L3 configuration file is not right.
    """
    first = read(settings.l3_config_path, settings.seed, 1)
    registry = create_registry("simulator")
    metrics = SimulatorMetrics(registry)
    metrics.note_config(first.digest, first.version, enabled=first.config.enabled)
    limits = Limits(
        sessions=settings.max_sessions,
        orders_per_session=settings.max_orders_per_session,
        subscribers_per_session=settings.max_subscribers_per_session,
        queue_size=settings.subscriber_queue_size,
        idle_seconds=settings.session_idle_seconds,
        source_orders=settings.max_source_orders,
    )
    sessions = Sessions(limits, metrics, time.monotonic)
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="execution") as executor:
        executions = Executions(
            first,
            metrics,
            executor,
            LiveExecutions(sessions),
            max_in_flight=settings.max_in_flight,
            inline_seconds_max=settings.inline_seconds_max,
        )
        replays = Replays(settings.replay_dir, settings.max_replays)
        self_check = SelfCheck(executions, metrics, settings.self_check_seconds)
        reloads = Reloads(settings.l3_config_path, settings.seed, executions, metrics)
        await self_check.check()
        redis_url = settings.redis_url if settings.follow_control else None
        tasks = [
            start_task(work) for work in (_expire(sessions), self_check.work(), reloads.work())
        ]
        try:
            async with following(reloads, redis_url):
                yield Components(
                    settings=settings,
                    registry=registry,
                    metrics=metrics,
                    executions=executions,
                    sessions=sessions,
                    replays=replays,
                    reloads=reloads,
                    self_check=self_check,
                    readiness=Readiness(),
                )
        finally:
            await stop_tasks(tasks)
            sessions.close_all()
            replays.close()


async def _expire(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        sessions.expire()

"""The simulator's composition root: settings in, connected parts out."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from execution_providers import create_execution_provider
from execution_providers.types import AssetClass
from lob.config import L3ExecutionConfig
from services.simulator.executions import Executions
from services.simulator.metrics import SimulatorMetrics
from services.simulator.replays import Replays
from services.simulator.sessions import Limits, Sessions
from services.simulator.settings import SimulatorSettings
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry

EXPIRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Components:
    """Everything the servers need."""

    settings: SimulatorSettings
    config: L3ExecutionConfig
    registry: CollectorRegistry
    metrics: SimulatorMetrics
    executions: Executions
    sessions: Sessions
    replays: Replays
    readiness: Readiness


@asynccontextmanager
async def wire(settings: SimulatorSettings) -> AsyncIterator[Components]:
    """Build the parts, keep sessions expiring while they are used, and close them.

    Raises:
        ConfigError: the L3 configuration file is not right.
    """
    config = L3ExecutionConfig.from_yaml(settings.l3_config_path)
    registry = create_registry("simulator")
    metrics = SimulatorMetrics(registry)
    metrics.enabled.set(1 if config.enabled else 0)
    providers = {
        kind: create_execution_provider(kind, level="L3", config=config, seed=settings.seed)
        for kind in AssetClass
    }
    limits = Limits(
        sessions=settings.max_sessions,
        orders_per_session=settings.max_orders_per_session,
        subscribers_per_session=settings.max_subscribers_per_session,
        queue_size=settings.subscriber_queue_size,
        idle_seconds=settings.session_idle_seconds,
    )
    sessions = Sessions(limits, metrics, time.monotonic)
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="execution") as executor:
        executions = Executions(
            providers,
            metrics,
            executor,
            max_in_flight=settings.max_in_flight,
            inline_seconds_max=settings.inline_seconds_max,
        )
        replays = Replays(settings.replay_dir, settings.max_replays)
        expiring = asyncio.create_task(_expire(sessions))
        try:
            yield Components(
                settings=settings,
                config=config,
                registry=registry,
                metrics=metrics,
                executions=executions,
                sessions=sessions,
                replays=replays,
                readiness=Readiness(),
            )
        finally:
            expiring.cancel()
            with suppress(asyncio.CancelledError):
                await expiring
            sessions.close_all()
            replays.close()


async def _expire(sessions: Sessions) -> None:
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        sessions.expire()

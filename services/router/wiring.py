"""Put the router together, and take it apart again."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.router.analysis import Analysis
from services.router.engine import Router
from services.router.flags import load_flags
from services.router.metrics import ExecutionMetrics, ShadowMetrics, export_control
from services.router.providers import BoundedL3, InProcessL2, Provider
from services.router.rollout_control import RolloutControl
from services.router.settings import RouterSettings
from services.router.shadow import ShadowRunner
from services.router.triggers import TriggerWatch, WatchedL3, is_rolled_back
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore
from touchstone.kit.health import Readiness
from touchstone.kit.membership import ack_histogram
from touchstone.kit.metrics import create_registry
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.kit.tasks import stop_tasks
from touchstone.rollout.judge import JudgeConfig
from touchstone.rollout.shadow import ShadowStore
from touchstone.rollout.state import Phase


@dataclass(frozen=True, slots=True)
class Components:
    """Everything the router's app is made of."""

    settings: RouterSettings
    router: Router
    control: RolloutControl
    store: ControlStore
    shadow: ShadowRunner
    analysis: Analysis
    triggers: TriggerWatch
    readiness: Readiness
    registry: CollectorRegistry


@contextlib.asynccontextmanager
async def wire(settings: RouterSettings, l3: Provider | None = None) -> AsyncIterator[Components]:
    """Connect the router's parts for the length of an `async with` block.

    Neither Redis nor the simulator has to be there: without them L2 answers.

    Args:
        settings: what to connect to.
        l3: takes the simulator's place; for tests.

    Raises:
        ConfigError: a configuration file is wrong.
    """
    flags = load_flags(settings.config_path, settings.rollout_path, settings.use_l3_simulator)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(ControlStore(settings.redis_url))
        client = await stack.enter_async_context(
            SimulatorClient(settings.simulator_address, settings.simulator_deadline_seconds)
        )
        watermark_path = settings.data_dir / "router" / "control.json"
        control = RolloutControl(store, flags, watermark_path, settings.control_stale_seconds)
        registry = create_registry("router")
        executions = ExecutionMetrics(registry)
        candidate = l3 or BoundedL3(
            client.execute, settings.simulator_in_flight_max, settings.simulator_deadline_seconds
        )
        analysis = Analysis(JudgeConfig(), phase=lambda: _phase(control), wall_clock=time.time)
        triggers = _trigger_watch(settings, control, registry)
        shadow = ShadowRunner(
            candidate,
            ShadowStore(settings.shadow_pairs_max),
            queue_size=settings.shadow_queue_size,
            deadline_seconds=settings.shadow_deadline_seconds,
            in_shadow=lambda: _in_shadow(control),
            metrics=ShadowMetrics(registry),
            executions=executions,
            on_pair=analysis.observe,
        )
        export_control(registry, control)
        ack_seconds = ack_histogram(registry, ROLLOUT_SCOPE).labels(ROLLOUT_SCOPE)
        control.on_acknowledged = ack_seconds.observe
        router = Router(
            control,
            InProcessL2(settings.seed),
            WatchedL3(candidate, triggers),
            shadow,
            executions,
            settings.seed,
        )
        await control.start()
        await stack.enter_async_context(control.reader)
        work = [
            control.keep_up(),
            triggers.work(),
            *(shadow.work() for _ in range(settings.shadow_workers)),
        ]
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        stack.push_async_callback(stop_tasks, tasks)
        yield Components(
            settings=settings,
            router=router,
            control=control,
            store=store,
            shadow=shadow,
            analysis=analysis,
            triggers=triggers,
            readiness=_readiness(control, store, client),
            registry=registry,
        )


def _trigger_watch(
    settings: RouterSettings, control: RolloutControl, registry: CollectorRegistry
) -> TriggerWatch:
    return TriggerWatch(
        control,
        rolled_back=lambda: is_rolled_back(_phase(control), latched=control.latch is not None),
        enabled=settings.auto_rollback_enabled,
        registry=registry,
    )


def _phase(control: RolloutControl) -> Phase | None:
    document = control.routing().document
    return None if document is None else document.phase


def _in_shadow(control: RolloutControl) -> bool:
    config = control.routing()
    return (
        config.document is not None and config.document.phase is Phase.SHADOW and not config.latched
    )


def _readiness(control: RolloutControl, store: ControlStore, client: SimulatorClient) -> Readiness:
    """Return the checks. None is required: L2 in process answers whatever is away."""
    readiness = Readiness()
    readiness.add("rollout", control.check, required=False)
    readiness.add("redis", store.check, required=False)
    readiness.add("simulator", client.check, required=False)
    return readiness

"""Put the router together, and take it apart again."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.router.aftermath import Aftermath, Sources
from services.router.analysis import Analysis
from services.router.autopilot import Autopilot, build_autopilot
from services.router.decision_log import DecisionLog
from services.router.decision_wiring import open_decision_log
from services.router.dossier_folder import DossierFolder
from services.router.durability import export_durability, watch_durability
from services.router.engine import Router
from services.router.graceful import GracefulRollback
from services.router.health_watch import HealthWatch
from services.router.l3_identity import watch_identity
from services.router.metrics import ExecutionMetrics, export_control, l3_may
from services.router.providers import BoundedL3, InProcessL2, Provider
from services.router.recent_orders import RecentOrders
from services.router.reload import ReloadCounter
from services.router.rollout_control import RolloutControl
from services.router.rollout_file import RolloutFile
from services.router.settings import RouterSettings
from services.router.shadow import ShadowRunner
from services.router.shadow_wiring import build_shadow
from services.router.shared_windows import SharedWindows
from services.router.triggers import TriggerWatch, WatchedL3, is_rolled_back
from touchstone.kit.control import ROLLOUT_SCOPE, ControlStore
from touchstone.kit.flags import Flags, load_flags
from touchstone.kit.health import Readiness
from touchstone.kit.membership import ack_histogram
from touchstone.kit.metrics import create_registry
from touchstone.kit.simulator_client import SimulatorClient
from touchstone.kit.simulator_stream import SimulatorStream
from touchstone.kit.tasks import start_task, stop_tasks
from touchstone.rollout.shadow import ShadowPair
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
    autopilot: Autopilot
    triggers: TriggerWatch
    shared: SharedWindows
    dossiers: DossierFolder
    graceful: GracefulRollback
    readiness: Readiness
    registry: CollectorRegistry
    reloads: ReloadCounter
    decisions: DecisionLog


@contextlib.asynccontextmanager
async def wire(
    settings: RouterSettings,
    l3: Provider | None = None,
    l3_check: Callable[[], Awaitable[object]] | None = None,
) -> AsyncIterator[Components]:
    """Connect the router's parts for the length of an `async with` block.

    Neither Redis nor the simulator has to be there: without them L2 answers.

    Args:
        settings: what to connect to.
        l3: takes the simulator's place; for tests.
        l3_check: its health check; where `l3` is given and this is not, there is none.

    Raises:
        ConfigError: a configuration file is wrong.
    """
    flags = load_flags(settings.config_path, settings.rollout_path, settings.use_l3_simulator)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(ControlStore(settings.redis_url))
        client = await stack.enter_async_context(
            SimulatorClient(settings.simulator_address, settings.simulator_deadline_seconds)
        )
        control = _control(settings, store, flags)
        registry = create_registry("router")
        executions = ExecutionMetrics(registry)
        decisions = await stack.enter_async_context(open_decision_log(settings, registry))
        stream = SimulatorStream(client, address=settings.simulator_stream_address)
        candidate = l3 or _bounded(settings, stream, stack)
        l2 = InProcessL2(settings.seed)
        autopilot = build_autopilot(control, store, l2, settings, registry)
        triggers, shared = _trigger_watch(settings, control, store, registry)
        shadow = build_shadow(
            *(settings, l3),
            in_shadow=lambda: _in_shadow(control),
            on_pair=_both(decisions.record, autopilot.observe),
            executions=executions,
            registry=registry,
        )
        _export(registry, control, store)
        recent = RecentOrders()
        router = Router(
            *(control, l2, WatchedL3(candidate, triggers), shadow, executions, settings.seed),
            on_live=recent.add,
            compare=autopilot.counterfactual.offer_some,
            record=decisions.record,
        )
        dossiers = DossierFolder(settings.data_dir / "router" / "dossiers")
        pairs = (shadow.store, autopilot.counterfactual.store)
        parts = (control, store, autopilot.analysis, triggers, shared)
        sources = Sources(*parts, *pairs, recent)
        await control.start()
        await stack.enter_async_context(control.reader)
        aftermath = Aftermath(sources, dossiers, _rollout_file(settings), registry)
        # Before the first request: what is rolled back by now began in an earlier life.
        await aftermath.look()
        check = l3_check or (None if l3 else client.check)
        work = [
            *(control.keep_up(), triggers.work(), shared.work(), aftermath.work()),
            *([] if l3 else [watch_identity(settings.simulator_address, decisions.learn_l3)]),
            *(*autopilot.work(), watch_durability(store)),
            *(_health_watch(check, control, triggers), *shadow.work()),
        ]
        stack.push_async_callback(stop_tasks, [start_task(w) for w in work])
        yield Components(
            *(settings, router, control, store, shadow, autopilot.analysis, autopilot),
            *(triggers, shared, dossiers, GracefulRollback(control, store)),
            *(_readiness(control, store, client, shadow), registry, ReloadCounter(registry)),
            decisions,
        )


def _control(settings: RouterSettings, store: ControlStore, flags: Flags) -> RolloutControl:
    return RolloutControl(
        store,
        flags,
        settings.data_dir / "router" / "control.json",
        settings.control_stale_seconds,
        require_durable=settings.require_durable_control,
    )


def _bounded(
    settings: RouterSettings, stream: SimulatorStream, stack: contextlib.AsyncExitStack
) -> BoundedL3:
    stack.push_async_callback(stream.close)
    return BoundedL3(
        stream.execute,
        settings.simulator_in_flight_max,
        settings.simulator_deadline_seconds,
        stream.execute_many,
    )


def _export(registry: CollectorRegistry, control: RolloutControl, store: ControlStore) -> None:
    export_control(registry, control)
    export_durability(registry, store)
    ack_seconds = ack_histogram(registry, ROLLOUT_SCOPE).labels(ROLLOUT_SCOPE)
    control.on_acknowledged = ack_seconds.observe


def _trigger_watch(
    settings: RouterSettings,
    control: RolloutControl,
    store: ControlStore,
    registry: CollectorRegistry,
) -> tuple[TriggerWatch, SharedWindows]:
    """Return the watch of this process, and what joins its windows with the other routers'."""
    watch = TriggerWatch(
        control,
        rolled_back=lambda: is_rolled_back(_phase(control), latched=control.latch is not None),
        enabled=settings.auto_rollback_enabled,
        registry=registry,
    )
    shared = SharedWindows(store, control.member, watch.board)
    watch.others, watch.on_rearm = shared.others, shared.forget
    return watch, shared


def _rollout_file(settings: RouterSettings) -> RolloutFile | None:
    """Return the file to keep a rollback in: only one that this router was told to start from.

    The one that is shipped belongs to the installation, or to a checkout.
    """
    named = "rollout_path" in settings.model_fields_set
    return RolloutFile(settings.rollout_path) if named else None


async def _health_watch(
    check: Callable[[], Awaitable[object]] | None, control: RolloutControl, triggers: TriggerWatch
) -> None:
    if check is not None:
        watch = HealthWatch(
            check,
            live=lambda: l3_may(control),
            count=lambda failed: triggers.observe_health(failed=failed),
        )
        await watch.work()


def _both(
    first: Callable[[ShadowPair], None], second: Callable[[ShadowPair], None]
) -> Callable[[ShadowPair], None]:
    """Return what tells both of a pair."""

    def tell(pair: ShadowPair) -> None:
        first(pair)
        second(pair)

    return tell


def _phase(control: RolloutControl) -> Phase | None:
    document = control.routing().document
    return None if document is None else document.phase


def _in_shadow(control: RolloutControl) -> bool:
    config = control.routing()
    return (
        config.document is not None and config.document.phase is Phase.SHADOW and not config.latched
    )


def _readiness(
    control: RolloutControl, store: ControlStore, client: SimulatorClient, shadow: ShadowRunner
) -> Readiness:
    """Return the checks. None is required: L2 in process answers whatever is away."""
    readiness = Readiness()
    readiness.add("rollout", control.check, required=False)
    readiness.add("redis", store.check, required=False)
    readiness.add("simulator", client.check, required=False)
    readiness.add("shadow", shadow.check, required=False)
    return readiness

"""Compose the gateway: settings in, running components out, everything stopped on leaving."""

import asyncio
import contextlib
import fcntl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from lob.errors import Conflict, Unavailable
from services.order_gateway.engine import Engine
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import GatewayMetrics, VenueMetrics
from services.order_gateway.recovery import Recovery, RecoveryTimes
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.coinbase_ws import CoinbaseFeed, FeedOwner
from touchstone.kit.control import KILL_SCOPE, ControlReader, ControlStore
from touchstone.kit.event_store import EventStore, open_event_store
from touchstone.kit.health import Readiness
from touchstone.kit.membership import Membership, member_name
from touchstone.kit.metrics import create_registry
from touchstone.perps.checks import Limits
from touchstone.perps.kill import TradingState

# The venue forgives clocks a few seconds, and a request may wait in its queues.
LATE_ARRIVAL_MARGIN_SECONDS = 10

_log = structlog.get_logger("touchstone.gateway")


@dataclass(frozen=True, slots=True)
class Components:
    """What the app needs."""

    settings: GatewaySettings
    registry: CollectorRegistry
    readiness: Readiness
    store: EventStore
    engine: Engine
    kill_switch: KillSwitch
    recovery: Recovery
    quotes: Quotes


@contextlib.asynccontextmanager
async def wire(settings: GatewaySettings) -> AsyncIterator[Components]:
    """Yield the running components; on leaving, drain, stop the loops and close everything.

    Neither Redis nor the venue has to answer for this to start; the event store has to.
    """
    registry = create_registry("order_gateway")
    metrics = GatewayMetrics(registry, settings.symbol_map)
    venue_metrics = VenueMetrics(registry)
    signer = ApiKeySigner(settings.key_file, lifetime_seconds=settings.jwt_lifetime_seconds)
    quotes = Quotes()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_only_one(settings.data_dir))
        store = await stack.enter_async_context(_open_store(settings))
        control = await stack.enter_async_context(ControlStore(settings.redis_url))
        watermark = await store.load_watermark(KILL_SCOPE)
        floor = watermark.generation if watermark else 0
        membership = Membership(member_name("gateway"))
        reader = ControlReader(control, KILL_SCOPE, floor_generation=floor, membership=membership)
        kill_switch = KillSwitch(
            control,
            reader,
            store,
            metrics,
            watermark=watermark,
            first_state=first_state(settings),
            stale_after_seconds=settings.control_stale_after_seconds,
        )
        membership.before_ack = kill_switch.remember
        await stack.enter_async_context(reader)
        venue = CoinbaseRest(
            settings.venue_url,
            signer,
            settings.symbol_map,
            venue_metrics,
            deadline_seconds=settings.venue_deadline_seconds,
            forward_reduce_only=settings.forward_reduce_only,
        )
        stack.push_async_callback(venue.close)
        ledger = Ledger(store, metrics)
        await ledger.load()
        limits = Limits(
            max_order_notional=settings.max_order_notional,
            max_orders_per_minute=settings.max_orders_per_minute,
            quote_stale_after_seconds=settings.quote_stale_after_seconds,
        )
        engine = Engine(
            venue,
            ledger,
            kill_switch,
            quotes,
            metrics,
            symbols=settings.symbol_map,
            limits=limits,
            send_gate=membership.gate,
        )
        recovery = Recovery(engine, _times(settings))
        kill_switch.may_go_active = lambda: recovery.problem
        owner = FeedOwner(recovery.offer, recovery.request_resync, venue.rules_for_product)
        products = list(settings.symbol_map.values())
        feed = CoinbaseFeed(settings.venue_ws_url, signer, products, quotes, owner, venue_metrics)
        readiness = _readiness(store, control, kill_switch, recovery, feed)
        await stack.enter_async_context(_running(kill_switch, engine, recovery, feed))
        stack.push_async_callback(_drain, engine, settings.drain_seconds)
        yield Components(
            settings, registry, readiness, store, engine, kill_switch, recovery, quotes
        )


def first_state(settings: GatewaySettings) -> TradingState:
    """Return the state of a very first start: ACTIVE only where the venue is a paper exchange."""
    return TradingState.ACTIVE if settings.venue_is_paper else TradingState.REDUCE_ONLY


def _open_store(
    settings: GatewaySettings,
) -> contextlib.AbstractAsyncContextManager[EventStore]:
    url = settings.database_url
    return open_event_store(
        None if url is None else url.get_secret_value(),
        settings.data_dir,
        bot_id=settings.bot_id,
        deadline_seconds=settings.store_deadline_seconds,
    )


def _times(settings: GatewaySettings) -> RecoveryTimes:
    return RecoveryTimes(
        orders_seconds=settings.orders_reconcile_seconds,
        positions_seconds=settings.positions_reconcile_seconds,
        late_arrival_seconds=settings.jwt_lifetime_seconds + LATE_ARRIVAL_MARGIN_SECONDS,
    )


def _readiness(
    store: EventStore,
    control: ControlStore,
    kill_switch: KillSwitch,
    recovery: Recovery,
    feed: CoinbaseFeed,
) -> Readiness:
    async def check_feed() -> str:
        if feed.problem:
            raise Unavailable(feed.problem)
        return "connected"

    async def check_kill_state() -> str:
        gate = kill_switch.gate()
        if not gate.known:
            raise Unavailable(f"{gate.state}: {gate.why}")
        return gate.state.value

    readiness = Readiness()
    readiness.add("event_store", store.check)
    readiness.add("venue", recovery.check)
    readiness.add("venue_feed", check_feed)
    readiness.add("kill_switch", check_kill_state)
    # A server that may lose a halt is worth a warning, not a refusal to trade on paper.
    readiness.add("redis", control.check, required=False)
    return readiness


@contextlib.contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """Keep a second gateway off the same journal; the kernel frees the lock when we end."""
    folder = data_dir / "gateway"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise Unavailable(f"data folder {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another gateway already uses {folder}") from None
        yield


@contextlib.asynccontextmanager
async def _running(
    kill_switch: KillSwitch, engine: Engine, recovery: Recovery, feed: CoinbaseFeed
) -> AsyncIterator[None]:
    """Run the loops; one that ends by a defect takes the whole service down, visibly."""

    async def follow_feed() -> None:
        # Before the rules are known, a size on the wire means nothing.
        await recovery.rules_loaded.wait()
        await feed.run()

    async def close_entries() -> None:
        await engine.cancel_entries()

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(kill_switch.watch(close_entries), name="kill switch"),
            group.create_task(recovery.apply_reports(), name="reports"),
            group.create_task(recovery.reconcile_forever(), name="reconciliation"),
            group.create_task(recovery.sweep(), name="sweep"),
            group.create_task(follow_feed(), name="feed"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _drain(engine: Engine, seconds: float) -> None:
    """Stop entries, cancel what could increase risk, save; within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await engine.drain()
    except TimeoutError:
        _log.warning("drain_incomplete", seconds=seconds)
        await engine.ledger.flush()

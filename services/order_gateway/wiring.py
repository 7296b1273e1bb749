"""Compose the gateway: settings in, running components out, everything stopped on leaving."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from lob.errors import Conflict, Unavailable
from services.order_gateway.books import Books, open_books
from services.order_gateway.capabilities import Capabilities
from services.order_gateway.engine import Engine
from services.order_gateway.flatten import Flattening
from services.order_gateway.go_no_go import GoNoGo
from services.order_gateway.kill_scope import control_scope
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import GatewayMetrics, VenueMetrics
from services.order_gateway.money import Money, follow_money
from services.order_gateway.outcomes import Observers, OrderCounts
from services.order_gateway.recovery import Recovery, RecoveryTimes
from services.order_gateway.settings import GatewaySettings
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from services.order_gateway.venues.coinbase_ws import CoinbaseFeed, FeedOwner
from services.order_gateway.venues.venue_clock import VenueClock
from services.order_gateway.venues.wire import HttpWire
from touchstone.kit.control import ControlStore
from touchstone.kit.event_store import EventStore, open_event_store
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry
from touchstone.kit.tasks import start_task, stop_tasks
from touchstone.perps.checks import Limits, Sizing
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
    books: Books
    engine: Engine
    kill_switch: KillSwitch
    recovery: Recovery
    quotes: Quotes
    clock: VenueClock
    capabilities: Capabilities
    go_no_go: GoNoGo
    order_counts: OrderCounts
    flattening: Flattening
    money: Money


@contextlib.asynccontextmanager
async def wire(settings: GatewaySettings) -> AsyncIterator[Components]:
    """Yield the running components; on leaving, drain, stop the loops and close everything.

    Neither Redis nor the venue has to answer for this to start; the event store has to.
    """
    registry = create_registry("order_gateway")
    metrics = GatewayMetrics(registry, settings.symbol_map)
    adapter = Adapter(settings, VenueMetrics(registry))
    venue, clock, quotes = adapter.venue, adapter.clock, adapter.quotes
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_only_one(settings.data_dir))
        store = await stack.enter_async_context(_open_store(settings))
        control = await stack.enter_async_context(ControlStore(settings.redis_url))
        folder = settings.data_dir / "gateway" / "journal"
        books = await stack.enter_async_context(open_books(store, folder, metrics))
        ledger = books.ledger
        kill_switch = await stack.enter_async_context(
            _kill_switch(settings, control, ledger, metrics)
        )
        stack.push_async_callback(venue.close)
        engine = _engine(settings, adapter, ledger, kill_switch, metrics)
        go_no_go, order_counts = _go_no_go(settings, ledger, quotes, clock, metrics), OrderCounts()
        engine.observer = Observers(go_no_go, order_counts)
        recovery = Recovery(engine, _times(settings))
        kill_switch.may_go_active = lambda: recovery.problem
        feed = adapter.feed(recovery)
        money = await stack.enter_async_context(
            follow_money(
                settings, engine, books, kill_switch, venue, metrics, store, go_no_go.drift
            )
        )
        engine.equity = lambda: money.equity
        engine.entry_rules = lambda _symbol: (money.entries.rule,)
        readiness = _readiness(books, control, kill_switch, recovery, feed)
        await stack.enter_async_context(_running(books, kill_switch, engine, recovery, feed))
        capabilities = Capabilities(venue, next(iter(settings.symbol_map)))
        watching = start_task(capabilities.watch(recovery.rules_loaded))
        stack.push_async_callback(stop_tasks, [watching])
        stack.push_async_callback(stop_tasks, [start_task(go_no_go.work(store))])
        flattening = Flattening(
            engine,
            kill_switch,
            request_resync=recovery.request_resync,
            seconds_max=settings.flatten_seconds,
        )
        stack.push_async_callback(stop_tasks, [start_task(flattening.serve())])
        stack.push_async_callback(_drain, engine, settings.drain_seconds)
        yield Components(
            settings,
            registry,
            readiness,
            store,
            books,
            engine,
            kill_switch,
            recovery,
            quotes,
            clock,
            capabilities,
            go_no_go,
            order_counts,
            flattening,
            money,
        )


class Adapter:
    """What speaks to the venue: REST, and the feed that keeps quotes and the venue's clock."""

    def __init__(self, settings: GatewaySettings, metrics: VenueMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._signer = ApiKeySigner(
            settings.key_file, lifetime_seconds=settings.jwt_lifetime_seconds
        )
        self._signer.check()
        self.clock = VenueClock()
        self.quotes = Quotes(venue_now_ns=self.clock.now_ns)
        self.venue = CoinbaseRest(
            HttpWire(settings.venue_url, idle_seconds_max=settings.venue_idle_seconds),
            self._signer,
            settings.symbol_map,
            metrics,
            deadline_seconds=settings.venue_deadline_seconds,
            forward_reduce_only=settings.forward_reduce_only,
            clock=self.clock,
        )

    def feed(self, recovery: Recovery) -> CoinbaseFeed:
        """Return the feed, which tells `recovery` what it hears of orders."""
        return CoinbaseFeed(
            self._settings.venue_ws_url,
            self._signer,
            list(self._settings.symbol_map.values()),
            self.quotes,
            FeedOwner(recovery.offer, recovery.request_resync, self.venue.rules_for_product),
            self._metrics,
            clock=self.clock,
        )


def _engine(
    settings: GatewaySettings,
    adapter: Adapter,
    ledger: Ledger,
    kill_switch: KillSwitch,
    metrics: GatewayMetrics,
) -> Engine:
    limits = Limits(
        max_order_notional=settings.max_order_notional,
        max_orders_per_minute=settings.max_orders_per_minute,
        quote_stale_after_seconds=settings.quote_stale_after_seconds,
        max_position_notional=settings.max_position_notional,
        max_total_notional=settings.max_total_notional,
        max_leverage=settings.max_leverage,
        sizing=Sizing(settings.sizing_mode, settings.max_impact_bps)
        if settings.sizing_mode
        else None,
        dry_run=settings.dry_run,
    )
    engine = Engine(
        adapter.venue,
        ledger,
        kill_switch,
        adapter.quotes,
        metrics,
        symbols=settings.symbol_map,
        limits=limits,
        send_gate=kill_switch.send_gate,
        max_slippage_bps=settings.max_slippage_bps,
        venue_keeps_reduce_only=settings.forward_reduce_only,
    )
    engine.venue_now_ns = adapter.clock.now_ns
    return engine


def _go_no_go(
    settings: GatewaySettings,
    ledger: Ledger,
    quotes: Quotes,
    clock: VenueClock,
    metrics: GatewayMetrics,
) -> GoNoGo:
    return GoNoGo(
        ledger.note,
        quotes.mark,
        # Before the venue has told its time, ours says which day it is.
        lambda: clock.now_ns() or time.time_ns(),
        metrics.verdict,
        dwell_seconds=settings.go_dwell_seconds,
        observe_slippage=metrics.money.observe_slippage,
    )


def _kill_switch(
    settings: GatewaySettings, control: ControlStore, ledger: Ledger, metrics: GatewayMetrics
) -> KillSwitch:
    """Return the kill switch over what the journal kept; it reads nothing until it is entered."""
    keys = [control_scope(scope) for scope in settings.kill_scopes]
    marks = ledger.watermarks
    return KillSwitch(
        control,
        ledger,
        metrics,
        scopes=settings.kill_scopes,
        watermarks={key: marks[key] for key in keys if key in marks},
        first_state=first_state(settings),
        stale_after_seconds=settings.control_stale_after_seconds,
        account=settings.account,
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
    books: Books,
    control: ControlStore,
    kill_switch: KillSwitch,
    recovery: Recovery,
    feed: CoinbaseFeed,
) -> Readiness:
    async def check_journal() -> str:
        if books.journal.failure:
            raise Unavailable(f"journal: {books.journal.failure}")
        return f"{books.journal.number} records"

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
    readiness.add("journal", check_journal)
    # SQL is written behind: while it is away the journal has everything.
    readiness.add("event_store", books.projector.check, required=False)
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
    books: Books,
    kill_switch: KillSwitch,
    engine: Engine,
    recovery: Recovery,
    feed: CoinbaseFeed,
) -> AsyncIterator[None]:
    """Run the loops; one that ends by a defect takes the whole service down, visibly."""

    async def follow_feed() -> None:
        # Before the rules are known, a size on the wire means nothing.
        await recovery.rules_loaded.wait()
        await feed.run()

    async def close_entries() -> None:
        await engine.cancel_entries(only_closed=True)

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(books.projector.run(), name="projector"),
            group.create_task(kill_switch.watch(close_entries), name="kill switch"),
            group.create_task(recovery.apply_reports(), name="reports"),
            group.create_task(recovery.reconcile_forever(), name="reconciliation"),
            group.create_task(recovery.sweep(), name="sweep"),
            group.create_task(follow_feed(), name="feed"),
        ]
        try:
            yield
        finally:
            # Asked again until they end: a library may take a cancellation for its own time-out.
            await stop_tasks(tasks)


async def _drain(engine: Engine, seconds: float) -> None:
    """Stop entries, cancel what could increase risk, save; within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await engine.drain()
    except TimeoutError:
        _log.warning("drain_incomplete", seconds=seconds)

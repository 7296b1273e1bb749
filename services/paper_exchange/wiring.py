"""The composition root: from settings to running components, and back down in reverse order."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.paper_exchange.auth import Authenticator
from services.paper_exchange.clock import ExchangeClock
from services.paper_exchange.faults import FaultBook
from services.paper_exchange.faults_feed import FeedFaults
from services.paper_exchange.feed import Feed, FeedLimits
from services.paper_exchange.gate import Gate
from services.paper_exchange.keys import ensure_key_file, load_keys
from services.paper_exchange.latency import Latencies
from services.paper_exchange.metrics import ExchangeMetrics
from services.paper_exchange.metrics_store import export_store
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.store import Store, StorePolicy
from services.paper_exchange.venue import Venue
from touchstone.exchange import Exchange, ExchangeConfig
from touchstone.exchange.funding import SAMPLES, FundingRule
from touchstone.exchange.index import SECOND_NS
from touchstone.exchange.marketplace import require_files
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry
from touchstone.kit.rate_limit import RateLimiter


@dataclass(frozen=True, slots=True)
class Components:
    """Everything the app needs."""

    settings: ExchangeSettings
    venue: Venue
    feed: Feed
    gate: Gate
    metrics: ExchangeMetrics
    registry: CollectorRegistry
    faults: FaultBook
    readiness: Readiness
    accounts: frozenset[str]


@contextlib.asynccontextmanager
async def wire(settings: ExchangeSettings) -> AsyncIterator[Components]:
    """Yield the components, with the venue ticking.

    Raises:
        ConfigError: a key file is wrong or cannot be written; the kept state is another process's,
            of other settings or of other code.
        Damaged: the kept state is not what was written.
    """
    for name in ("cdp_api_key", *settings.extra_keys):
        ensure_key_file(settings.keys_dir, f"{name}.json")
    authenticator = Authenticator(load_keys(settings.keys_dir), reuse=settings.token_reuse)
    config = exchange_config(settings)
    store = None
    if settings.durable:
        require_files(config)
        store = Store(settings.state_dir, config, store_policy(settings))
    try:
        async with _running(compose(settings, authenticator, config, store)) as components:
            yield components
    finally:
        if store is not None:
            # Of a venue that stopped, or never started, nothing is kept but its journal.
            store.abandon()


@contextlib.asynccontextmanager
async def _running(components: Components) -> AsyncIterator[Components]:
    venue = components.venue
    venue.start(sorted(components.accounts))
    tasks = [
        asyncio.create_task(venue.run()),
        asyncio.create_task(components.feed.run(lambda: not venue.failure)),
    ]
    try:
        yield components
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if venue.store is not None:
            venue.store.close(intact=not venue.failure)


def exchange_config(settings: ExchangeSettings) -> ExchangeConfig:
    """Return the rules of a venue that begins now; a kept one goes on from when it began."""
    start_ns = time.time_ns()
    return ExchangeConfig(
        seed=settings.seed,
        # Ids are made of this and of numbers that go on after a restart: none comes twice.
        run=str(start_ns),
        start_ns=start_ns,
        starting_balance=settings.starting_balance,
        maker_fee_rate=settings.maker_fee_rate,
        taker_fee_rate=settings.taker_fee_rate,
        funding=FundingRule(
            interval_ns=settings.funding_interval_seconds * SECOND_NS,
            sample_ns=settings.funding_interval_seconds * SECOND_NS // SAMPLES,
            cap=settings.funding_cap,
            fixed_rate=settings.funding_rate,
        ),
        insurance_fund=settings.insurance_fund,
        mark_band=settings.mark_band,
        price_collar=settings.price_collar,
        flow=settings.flow,
        flow_rate=settings.flow_rate,
        flow_size=settings.flow_size,
        flow_files=settings.flow_files,
        index_volatility=settings.index_volatility,
        arbitrage_band=settings.arbitrage_band,
    )


def store_policy(settings: ExchangeSettings) -> StorePolicy:
    """Return how the venue is kept."""
    return StorePolicy(
        sync=settings.journal_sync,
        snapshot_records=settings.snapshot_records,
        snapshot_seconds=settings.snapshot_seconds,
    )


def feed_limits(settings: ExchangeSettings) -> FeedLimits:
    """Return what a client of the feed may do."""
    return FeedLimits(
        connections=settings.max_connections,
        queue_bytes=settings.feed_queue_bytes,
        behind_seconds=settings.feed_behind_seconds,
        first_subscribe_seconds=settings.first_subscribe_seconds,
        idle_seconds=settings.idle_seconds,
        connections_per_second=settings.connections_per_second,
        unauthenticated_per_second=settings.unauthenticated_messages_per_second,
    )


def compose(
    settings: ExchangeSettings,
    authenticator: Authenticator,
    config: ExchangeConfig,
    store: Store | None,
) -> Components:
    """Return the components without starting anything; without a store all is in memory only."""
    exchange = Exchange(config) if store is None else store.exchange
    clock = ExchangeClock(settings.flow_speed, earliest_ns=exchange.now_ns)
    registry = create_registry("paper_exchange")
    metrics = ExchangeMetrics(registry, lambda: len(feed.connections))
    faults = FaultBook(registry)
    feed = Feed(
        exchange,
        authenticator,
        monotonic=time.monotonic,
        limits=feed_limits(settings),
        metrics=metrics.feed,
        faults=FeedFaults(faults),
        user_positions=settings.user_positions,
    )
    venue = Venue(
        exchange,
        clock,
        feed,
        settings.tick_seconds,
        store=store,
        latencies=Latencies(settings.seed, settings.latency_profile),
    )
    export_store(registry, venue)
    readiness = Readiness()

    async def venue_runs() -> str:
        venue.require_running()
        return f"{len(exchange.products)} products, {_keeping(store)}"

    readiness.add("venue", venue_runs)
    return Components(
        settings=settings,
        venue=venue,
        feed=feed,
        gate=Gate(
            authenticator,
            *(
                RateLimiter(rate, time.monotonic, settings.rate_limit_burst_seconds)
                for rate in (settings.rate_limit_per_second, settings.public_rate_limit_per_second)
            ),
        ),
        metrics=metrics,
        registry=registry,
        faults=faults,
        readiness=readiness,
        accounts=frozenset(authenticator.accounts),
    )


def _keeping(store: Store | None) -> str:
    if store is None:
        return "in memory only"
    return (
        f"durable: snapshot {store.snapshot_age_seconds:.0f} s old,"
        f" {store.records_since_snapshot} records since"
    )

"""The composition root: from settings to running components, and back down in reverse order."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from services.paper_exchange.auth import Authenticator
from services.paper_exchange.feed import Feed
from services.paper_exchange.gate import Gate
from services.paper_exchange.keys import ensure_key_file, load_keys
from services.paper_exchange.metrics import ExchangeMetrics
from services.paper_exchange.rate_limit import RateLimiter
from services.paper_exchange.settings import ExchangeSettings
from services.paper_exchange.venue import ExchangeClock, Venue
from touchstone.exchange import Exchange, ExchangeConfig
from touchstone.kit.health import Readiness
from touchstone.kit.metrics import create_registry


@dataclass(frozen=True, slots=True)
class Components:
    """Everything the app needs."""

    settings: ExchangeSettings
    venue: Venue
    feed: Feed
    gate: Gate
    metrics: ExchangeMetrics
    registry: CollectorRegistry
    readiness: Readiness


@contextlib.asynccontextmanager
async def wire(settings: ExchangeSettings) -> AsyncIterator[Components]:
    """Yield the components, with the venue ticking.

    Raises:
        ConfigError: a key file is wrong or cannot be written.
    """
    ensure_key_file(settings.keys_dir)
    authenticator = Authenticator(load_keys(settings.keys_dir))
    components = compose(settings, authenticator)
    ticking = asyncio.create_task(components.venue.run())
    try:
        yield components
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


def compose(settings: ExchangeSettings, authenticator: Authenticator) -> Components:
    """Return the components without starting anything."""
    clock = ExchangeClock(settings.flow_speed)
    start_ns = clock.now_ns()
    exchange = Exchange(
        ExchangeConfig(
            seed=settings.seed,
            # Ids must not repeat after a restart, which forgets the orders that had them.
            run=str(start_ns),
            start_ns=start_ns,
            starting_balance=settings.starting_balance,
            maker_fee_rate=settings.maker_fee_rate,
            taker_fee_rate=settings.taker_fee_rate,
            background_flow=settings.background_flow,
        )
    )
    for account in sorted(authenticator.accounts):
        exchange.open_account(account)
    feed = Feed(
        exchange,
        authenticator,
        monotonic=time.monotonic,
        connections_max=settings.max_connections,
        queue_messages=settings.feed_queue_messages,
    )
    venue = Venue(exchange, clock, feed, settings.tick_seconds)
    registry = create_registry("paper_exchange")
    readiness = Readiness()

    async def venue_runs() -> str:
        venue.require_running()
        return f"{len(exchange.products)} products, in memory only"

    readiness.add("venue", venue_runs)
    return Components(
        settings=settings,
        venue=venue,
        feed=feed,
        gate=Gate(
            authenticator,
            RateLimiter(settings.rate_limit_per_second, time.monotonic),
            RateLimiter(settings.public_rate_limit_per_second, time.monotonic),
        ),
        metrics=ExchangeMetrics(registry, lambda: len(feed.connections)),
        registry=registry,
        readiness=readiness,
    )

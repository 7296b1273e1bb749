"""An engine over real books and a venue in memory, for tests of what the engine does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from lob.types import Side
from services.order_gateway.books import Books, open_books
from services.order_gateway.engine import Engine, Submitted
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.market import Quotes, Traded
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.recovery import Recovery, RecoveryTimes
from tests.fakes.venue import FakeVenue
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.perps.checks import Limits, Refusal, RefusalReason
from touchstone.perps.kill import Gate, TradingState
from touchstone.perps.orders import Intent, Order, OrderState, OrderType

SYMBOL = "BTC-PERP"
LIMITS = Limits(max_order_notional=Decimal(50_000), max_orders_per_minute=1_000)


class FakeKillSwitch:
    """A gate that tests set."""

    def __init__(self) -> None:
        self.state = TradingState.ACTIVE

    def gate(self, symbol: str = "", strategy: str = "") -> Gate:  # noqa: ARG002 - its signature
        """Return the state that was set."""
        return Gate(self.state, known=True, age_seconds=0.0, why="test")

    def closes(self, symbol: str, strategy: str = "") -> bool:  # noqa: ARG002 - its signature
        """Return whether the state that was set is not ACTIVE."""
        return self.state is not TradingState.ACTIVE


@dataclass
class House:
    """An engine with everything around it."""

    engine: Engine
    recovery: Recovery
    venue: FakeVenue
    kill_switch: FakeKillSwitch
    store: EventStore
    books: Books
    now_ns: list[int]

    @property
    def ledger(self) -> Ledger:
        """The engine's ledger."""
        return self.engine.ledger

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0

    registry: CollectorRegistry
    trades: int = 0

    async def submit(self, intent: Intent) -> Order:
        """Submit and return the order; fail on a refusal."""
        outcome = await self.engine.submit(intent)
        assert isinstance(outcome, Submitted), outcome
        return outcome.order

    async def events(self, event_type: str | None = None) -> list[dict[str, Any]]:
        """Return the events as stored."""
        assert await self.books.projector.catch_up(10)
        return await self.store.load_events(event_type=event_type)

    def trade(self, price: str) -> None:
        """Have the market trade at a price, with the touch five dollars wide below and at it."""
        quotes, at = self.engine.quotes, Decimal(price)
        quotes.reset(SYMBOL)
        quotes.set_level(SYMBOL, True, at - 5, Decimal(1))
        quotes.set_level(SYMBOL, False, at, Decimal(1))
        quotes.stamp(SYMBOL)
        self.trades += 1
        quotes.trades(SYMBOL, [Traded(f"m{self.trades}", at, Decimal(1), self.trades)])

    async def quiet(self) -> None:
        """Let everything that was started come to its end."""
        for _ in range(3):
            sending = [*self.engine._sending, *self.engine._tasks]
            if sending:
                await asyncio.wait(sending)
            await asyncio.sleep(0)

    async def told(self, venue_order_id: str) -> Order:
        """Have the venue tell of an order as it stands there."""
        return await self.engine.apply_report(self.venue.by_id[venue_order_id])

    async def sweep(self) -> None:
        """Do what is done twice a second."""
        await self.recovery.sweep_once()

    async def state(self, key: str) -> OrderState:
        """Return an order's state as stored."""
        assert await self.books.projector.catch_up(10)
        stored = await self.store.load_order(key)
        assert stored is not None
        assert stored.state is self.ledger.current(stored).state
        return stored.state


_EMPTY_STORE: list[bytes] = []


async def _empty_store(file: Path) -> bytes:
    """Return the file of a store with its tables and nothing in them; made once."""
    if not _EMPTY_STORE:
        async with EventStore(database_url(None, file), bot_id="bot", deadline_seconds=10):
            pass
        _EMPTY_STORE.append(file.read_bytes())  # noqa: ASYNC240 - a small file, once
    return _EMPTY_STORE[0]


@asynccontextmanager
async def furnished(
    folder: Path, venue: FakeVenue, limits: Limits = LIMITS
) -> AsyncIterator[House]:
    """Compose an engine over books in `folder`, not yet reconciled."""
    file = folder / "events.db"
    url = database_url(None, file)
    if not file.exists():
        file.write_bytes(await _empty_store(folder / "empty.db"))
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry, [SYMBOL])
    now_ns = [1_000_000_000_000_000_000]
    async with (
        EventStore(url, bot_id="bot", deadline_seconds=10) as store,
        open_books(store, folder / "journal", metrics, now_ns=lambda: now_ns[0]) as books,
    ):
        quotes, kill_switch = Quotes(), FakeKillSwitch()
        quotes.set_level(SYMBOL, True, Decimal(60_000), Decimal(1))
        quotes.set_level(SYMBOL, False, Decimal(60_005), Decimal(1))
        quotes.stamp(SYMBOL)
        engine = Engine(
            venue,
            books.ledger,
            cast("KillSwitch", kill_switch),
            quotes,
            metrics,
            symbols={SYMBOL: "BIP"},
            limits=limits,
            patience_seconds=0,
            venue_keeps_reduce_only=True,
        )
        recovery = Recovery(
            engine, RecoveryTimes(45, 90, late_arrival_seconds=40, certain_seconds=0)
        )
        if not venue.down:
            engine.rules = dict(await venue.rules())
        yield House(engine, recovery, venue, kill_switch, store, books, now_ns, registry)


def limit(key: str, side: Side = Side.BUY, quantity: str = "0.02", **changes: object) -> Intent:
    """Return a resting limit order."""
    price = Decimal(59_000) if side is Side.BUY else Decimal(61_000)
    intent = Intent(
        client_order_id=key,
        symbol=SYMBOL,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT,
        limit_price=price,
    )
    return replace(intent, **changes)  # type: ignore[arg-type]


async def hold(house: House, quantity: str) -> None:
    """Make the house long by filling a buy."""
    order = await house.submit(limit("seed", quantity=quantity))
    await house.engine.apply_report(house.venue.fill(order.venue_order_id, quantity))
    assert house.ledger.position(SYMBOL).quantity == Decimal(quantity)


async def refused(house: House, intent: Intent) -> RefusalReason:
    """Submit and return why it was refused before journaling."""
    outcome = await house.engine.submit(intent)
    assert isinstance(outcome, Refusal)
    return outcome.reason

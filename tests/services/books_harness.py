"""Orders, fills, funding and prohibitions in a gateway's books, and what SQL says of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from lob.types import Side
from services.order_gateway.books import Books, open_books
from services.order_gateway.ledger import Ledger
from services.order_gateway.metrics import GatewayMetrics
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.ledger_entries import Fill, FundingPayment, Watermark
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderType
from touchstone.perps.positions import Position

E = OrderEvent
SYMBOL = "BTC-PERP"


class House(NamedTuple):
    """A store and the books over it."""

    store: EventStore
    books: Books

    @property
    def ledger(self) -> Ledger:
        """The books' ledger."""
        return self.books.ledger

    async def caught_up(self) -> None:
        """Have SQL know everything."""
        assert await self.books.projector.catch_up(30), self.books.projector.problem


@asynccontextmanager
async def housed(url: str, folder: Path, bot_id: str = "bot") -> AsyncIterator[House]:
    """Open the books as a gateway's start does; nothing runs beside them."""
    metrics = GatewayMetrics(CollectorRegistry(), [SYMBOL])
    store = EventStore(database_url(url, Path()), bot_id=bot_id, deadline_seconds=10)
    async with store, open_books(store, folder, metrics, sync=False) as books:
        yield House(store, books)


def intent(key: str, side: Side = Side.BUY, quantity: str = "0.02") -> Intent:
    """Return a resting order."""
    return Intent(
        client_order_id=key,
        symbol=SYMBOL,
        side=side,
        quantity=Decimal(quantity),
        order_type=OrderType.LIMIT,
        limit_price=Decimal("60000.5"),
        strategy="ma",
    )


def fill_of(order: Order, trade_id: str, quantity: str) -> Fill:
    """Return a fill of a part of an order."""
    return Fill(
        venue_order_id=order.venue_order_id,
        trade_id=trade_id,
        client_order_id=order.intent.client_order_id,
        symbol=SYMBOL,
        side=order.intent.side,
        quantity=Decimal(quantity),
        price=Decimal("60000.123456789"),
        fee=Decimal("0.1"),
        ts_event_ns=1_800_000_000_000_000_000,
    )


def open_order(ledger: Ledger, key: str, side: Side = Side.BUY) -> Order:
    """Place an order that the venue takes: three entries."""
    order = ledger.place(intent(key, side))
    order = ledger.apply(order, (E.RESPONDED,), venue_order_id=f"v-{key}")
    return ledger.apply(order, (E.ACKNOWLEDGED,))


def whole_life(ledger: Ledger, key: str, side: Side = Side.BUY) -> Order:
    """Take an order from its intent to its end, filled in two parts: seven entries."""
    order = open_order(ledger, key, side)
    order = ledger.book(order, [fill_of(order, f"t1-{key}", "0.005")])
    order = ledger.apply(order, (E.PARTIALLY_FILLED,))
    order = ledger.book(order, [fill_of(order, f"t2-{key}", "0.015")])
    return ledger.apply(order, (E.FILLED,))


def fund(ledger: Ledger, hour: int) -> bool:
    """Book one hour's funding."""
    return ledger.book_funding(
        FundingPayment(
            symbol=SYMBOL,
            funding_time_ns=hour * 3_600_000_000_000,
            quantity=Decimal("0.02"),
            mark_price=Decimal(60_000),
            rate=Decimal("0.0001"),
            amount=Decimal("0.12"),
        )
    )


async def busy(ledger: Ledger, rounds: int, name: str = "o") -> None:
    """Do a bit of everything: twelve entries a round."""
    for number in range(rounds):
        side = Side.BUY if number % 3 else Side.SELL
        whole_life(ledger, f"{name}{number}", side)
        open_order(ledger, f"{name}{number}-rest", side)
        fund(ledger, number)
        mark = Watermark(number + 1, "REDUCE_ONLY")
        await ledger.raise_watermark(f"kill:{name}", mark)


def shown(ledger: Ledger) -> dict[str, Any]:
    """Return everything that a ledger knows and a restart must know again."""
    return {
        "orders": {o.intent.client_order_id: o for o in ledger.in_memory()},
        "positions": {key: held for key, held in ledger.positions.items() if held != _nothing(key)},
        "funding": ledger.last_funding_ns(SYMBOL),
        "watermarks": dict(ledger.watermarks),
    }


def _nothing(symbol: str) -> Position:
    return Position(symbol=symbol)


async def stored(url: str) -> dict[str, Any]:
    """Return what SQL has, so that two databases can be compared."""
    engine = create_async_engine(database_url(url, Path()))
    queries = {
        "orders": "SELECT client_order_id, status, filled_quantity, fees FROM orders ORDER BY 1",
        "fills": "SELECT venue_order_id, trade_id, quantity, price, fee FROM fills ORDER BY 1, 2",
        "funding": "SELECT symbol, funding_time_ns, amount FROM funding_payments ORDER BY 1, 2",
        "watermarks": "SELECT scope, generation FROM control_watermarks ORDER BY 1",
        "deltas": "SELECT quantity, cost, realized_pnl, fees, funding_paid FROM positions",
        "totals": "SELECT quantity, cost, realized_pnl, fees, funding_paid FROM position_totals",
        "events": (
            "SELECT type, client_order_id, COUNT(*) FROM events WHERE client_order_id IS NOT NULL "
            "GROUP BY 1, 2 ORDER BY 1, 2"
        ),
    }
    found: dict[str, Any] = {}
    async with engine.connect() as connection:
        for name, query in queries.items():
            rows = (await connection.execute(text(query))).all()
            found[name] = [tuple(map(_plain, row)) for row in rows]
    await engine.dispose()
    deltas = found.pop("deltas")
    found["sums"] = [tuple(sum(column) for column in zip(*deltas, strict=True))] if deltas else []
    return found


def _plain(value: Any) -> Any:
    """Return amounts as numbers: SQLite keeps them as text."""
    try:
        return Decimal(str(value)).normalize()
    except ArithmeticError:
        return value

"""The event store on SQLite and on a real PostgreSQL: exact, append-only, each entry once."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from lob.errors import ConfigError, Conflict, DeadlineExceeded, Unavailable
from lob.types import Side
from tests.fakes.postgresql import wipe
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.ledger_entries import (
    VERSION,
    DailyMetrics,
    Entry,
    Fill,
    FundingPayment,
    Record,
    Watermark,
)
from touchstone.perps.orders import Attached, Intent, Order, OrderState, OrderType, Replacement
from touchstone.perps.positions import Position, apply_fill

# As the rollout plan prints them.
ORDER_SUCCESS_RATE = """
SELECT
  COUNT(*) as total_orders,
  SUM(CASE WHEN status = 'filled' THEN 1 ELSE 0 END) as filled,
  SUM(CASE WHEN status = 'rejected' THEN 1 ELSE 0 END) as rejected,
  AVG(CASE WHEN status = 'filled' THEN 1 ELSE 0 END) * 100 as success_rate
FROM orders
WHERE timestamp > NOW() - INTERVAL '1 day';
"""
PNL_SUMMARY = """
SELECT
  symbol,
  SUM(realized_pnl) as total_realized,
  SUM(funding_paid) as total_funding,
  COUNT(DISTINCT DATE(timestamp)) as days_active,
  SUM(realized_pnl) / COUNT(DISTINCT DATE(timestamp)) as daily_avg
FROM positions
GROUP BY symbol;
"""


def intent(key: str, side: Side = Side.BUY) -> Intent:
    """Return an intent for a third of a coin."""
    return Intent(
        client_order_id=key,
        symbol="BTC-PERP",
        side=side,
        quantity=Decimal("0.333333333333333333"),
        order_type=OrderType.STOP_LIMIT,
        limit_price=Decimal("60000.10"),
        stop_price=Decimal("60000.05"),
        attached=Attached(take_profit_price=Decimal("61000.5"), stop_price=Decimal(59_000)),
        expires_at_ns=2_000_000_000_000_000_000,
        strategy="ma_crossover",
    )


def order(key: str, state: OrderState = OrderState.PENDING_SUBMIT, **changes: Any) -> Order:
    """Return an order made now."""
    now = time.time_ns()
    made = Order(intent=intent(key), state=state, created_ns=now, updated_ns=now)
    return replace(made, **changes)


def fill(trade_id: str, side: Side, quantity: str, price: str) -> Fill:
    """Return a fill of order `a`."""
    return Fill(
        venue_order_id="v",
        trade_id=trade_id,
        client_order_id="a",
        symbol="BTC-PERP",
        side=side,
        quantity=Decimal(quantity),
        price=Decimal(price),
        fee=Decimal("0.01"),
        ts_event_ns=1_800_000_000_000_000_000 + int(trade_id),
    )


def entry(*kinds: str, **parts: Any) -> Entry:
    """Return an entry made now with events of these kinds."""
    records = tuple(Record(type=kind, client_order_id="a") for kind in kinds)
    return Entry(version=VERSION, at_ns=time.time_ns(), records=records, **parts)


async def put(store: EventStore, *entries: Entry, journal: str = "j") -> None:
    """Write entries as a journal's next ones, in one batch."""
    batcher = await store.batcher(journal)
    first = -1 if batcher.place is None else batcher.place
    batch = batcher.begin()
    for number, made in enumerate(entries, first + 1):
        batcher.add(batch, number, made)
    await store.write(batcher.end(batch))


@asynccontextmanager
async def opened(url: str, bot_id: str = "bot") -> AsyncIterator[EventStore]:
    """Open the store; a loaded test machine gets more time than production would."""
    store = EventStore(database_url(url, Path()), bot_id=bot_id, deadline_seconds=10)
    async with store:
        yield store


@pytest.fixture
async def events_db(url_text: str) -> AsyncIterator[EventStore]:
    """An open event store on each kind of database."""
    async with opened(url_text) as store:
        yield store


async def test_an_order_comes_back_as_it_went_in(events_db: EventStore, url_text: str) -> None:
    """Every field survives, decimals to the last digit, also for the next process."""
    wish = Replacement(client_order_id="a.r1", quantity=Decimal("0.1"), limit_price=Decimal(1))
    kept = order("a", venue_order_id="v", reason="because", cancel_wanted=True, replacement=wish)
    await put(events_db, entry("order_intent", order=kept))
    async with opened(url_text) as again:
        assert await again.load_order("a") == kept
        assert await again.load_orders(not_done=True) == [kept]
        over = replace(kept, state=OrderState.CANCELLED)
        await put(again, entry(order=over))
        assert await again.load_orders(not_done=True) == [over]
        done = replace(over, replacement=replace(wish, carried_out=True))
        await put(again, entry(order=done))
        assert await again.load_orders(not_done=True) == []
        assert await again.load_orders(status="cancelled", symbol="BTC-PERP") == [done]
        assert await again.load_last_changed(5) == [done]
        assert [key async for key in again.load_ids()] == ["a"]


async def test_the_columns_say_what_the_document_says(events_db: EventStore, url_text: str) -> None:
    """Whoever queries orders by SQL sees every term."""
    await put(events_db, entry(order=order("a", OrderState.OPEN)))
    [row] = await rows_of(url_text, "SELECT * FROM orders")
    asked = intent("a")
    assert (row["bot_id"], row["status"], row["type"]) == ("bot", "open", "STOP_LIMIT")
    assert Decimal(row["quantity"]) == asked.quantity
    assert Decimal(row["stop_price"]) == asked.stop_price
    assert Decimal(row["attached_take_profit_price"]) == Decimal("61000.5")
    assert Decimal(row["attached_stop_price"]) == Decimal(59_000)
    assert (row["strategy"], row["expires_at_ns"]) == ("ma_crossover", asked.expires_at_ns)


async def rows_of(url_text: str, query: str) -> list[dict[str, Any]]:
    """Return what a query says, past the store."""
    engine = create_async_engine(database_url(url_text, Path()))
    async with engine.connect() as connection:
        rows = (await connection.execute(text(query))).mappings().all()
    await engine.dispose()
    return [dict(row) for row in rows]


async def test_a_batch_is_written_once_and_in_its_place(events_db: EventStore) -> None:
    """The same batch again, or one that leaves entries out, changes nothing."""
    batcher = await events_db.batcher("j")
    first = batcher.begin()
    for number in range(3):
        batcher.add(first, number, entry("one"))
    await events_db.write(batcher.end(first))
    assert await events_db.place("j") == 2
    with pytest.raises(Conflict):
        await events_db.write(first)
    stale = await events_db.batcher("j")
    await put(events_db, entry("two"))
    late = stale.begin()
    stale.add(late, 3, entry("three"))
    with pytest.raises(Conflict, match="entry 2 is not the last one"):
        await events_db.write(stale.end(late))
    assert [row["type"] for row in await events_db.load_events()] == ["one"] * 3 + ["two"]
    assert await events_db.places() == {"j": 3}


async def test_fills_positions_and_funding_add_up_exactly(events_db: EventStore) -> None:
    """What stands after each booking is what SUM and the totals say, to the last digit."""
    position = Position(symbol="BTC-PERP")
    fills = [
        fill("1", Side.BUY, "0.3", "60000.123456789"),
        fill("2", Side.SELL, "0.1", "60100"),
        fill("3", Side.SELL, "0.3", "59000.7"),
    ]
    for booked in fills:
        position = apply_fill(position, booked.side, booked.quantity, booked.price, booked.fee)
        await put(events_db, entry("fill", fill=booked, position=position, cause="fill"))
    paid = FundingPayment(
        symbol="BTC-PERP",
        funding_time_ns=1_800_000_000_000_000_000,
        quantity=Decimal("-0.1"),
        mark_price=Decimal(60_000),
        rate=Decimal("0.0001"),
        amount=Decimal("-0.6"),
    )
    position = replace(position, funding_paid=position.funding_paid + paid.amount)
    await put(events_db, entry("funding", funding=paid, position=position, cause="funding"))
    assert await events_db.load_positions() == {"BTC-PERP": position}
    assert await events_db.load_fill_ids(["v"]) == {("v", "1"), ("v", "2"), ("v", "3")}
    assert await events_db.load_fills("BTC-PERP") == fills
    assert await events_db.load_fills(since_ns=fills[1].ts_event_ns or 0) == fills[1:]
    assert await events_db.load_funding_times() == {("BTC-PERP", paid.funding_time_ns)}


async def test_a_position_that_jumped_is_made_up_for(events_db: EventStore, url_text: str) -> None:
    """Entries that SQL never saw are in the next delta: the sum is what the journal says."""
    await put(events_db, entry("a", position=Position(symbol="X", quantity=Decimal(1))))
    await put(events_db, entry("b", position=Position(symbol="X", quantity=Decimal(7))))
    rows = await rows_of(url_text, "SELECT quantity FROM positions ORDER BY sequence")
    assert [Decimal(row["quantity"]) for row in rows] == [1, 6]


async def test_what_was_booked_under_another_journal_is_not_booked_again(
    events_db: EventStore, url_text: str
) -> None:
    """The same fill and funding told by a second journal of the bot leave one row each."""
    booked = fill("1", Side.BUY, "0.3", "60000")
    position = apply_fill(Position(symbol="BTC-PERP"), Side.BUY, booked.quantity, booked.price)
    made = entry("fill", fill=booked, position=position, cause="fill")
    await put(events_db, made)
    await put(events_db, made, journal="k")
    assert await events_db.load_fills() == [booked]
    assert await events_db.load_positions() == {"BTC-PERP": position}
    rows = await rows_of(url_text, "SELECT quantity FROM positions ORDER BY sequence")
    assert sum(Decimal(row["quantity"]) for row in rows) == booked.quantity


async def test_two_bots_in_one_database_do_not_see_one_another(url_text: str) -> None:
    """The same ids, symbols and scopes stay apart."""
    async with opened(url_text) as one, opened(url_text, bot_id="other") as other:
        for store, amount in ((one, 1), (other, 2)):
            made = order("a", OrderState.OPEN, filled_quantity=Decimal(amount))
            position = Position(symbol="BTC-PERP", quantity=Decimal(amount))
            mark = Watermark(amount, "HALTED")
            booked = replace(fill("1", Side.BUY, "1", "1"), quantity=Decimal(amount))
            parts = {"order": made, "position": position, "fill": booked}
            await put(store, entry("x", watermark=("kill:global", mark), **parts))
        for store, amount in ((one, 1), (other, 2)):
            stored = await store.load_order("a")
            assert stored is not None
            assert stored.filled_quantity == amount
            assert (await store.load_positions())["BTC-PERP"].quantity == amount
            assert (await store.load_watermarks())["kill:global"].generation == amount
            assert [f.quantity for f in await store.load_fills()] == [amount]
            assert len(await store.load_events()) == 1
            assert len(await store.load_orders(not_done=True)) == 1


async def test_events_are_append_only_by_the_database_itself(
    events_db: EventStore, url_text: str
) -> None:
    """Neither an update nor a delete gets through, whoever sends it."""
    paid = Entry(version=VERSION, at_ns=1, records=(Record(type="one", payload={"price": "0.1"}),))
    await put(events_db, paid, entry("two"))
    rows = await events_db.load_events()
    assert [(row["type"], row["bot_id"]) for row in rows] == [("one", "bot"), ("two", "bot")]
    assert rows[0]["payload"] == {"price": "0.1"}
    assert await events_db.load_events(after=rows[0]["sequence"], limit=5) == rows[1:]
    assert await events_db.load_events(newest_first=True) == rows[::-1]
    assert await events_db.load_events(before=rows[1]["sequence"]) == rows[:1]
    engine = create_async_engine(database_url(url_text, Path()))
    for statement in ("UPDATE events SET type = 'x'", "DELETE FROM events"):
        with pytest.raises(Exception, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))
    await engine.dispose()


async def test_the_days_figures_are_replaced_by_later_ones(
    events_db: EventStore, url_text: str
) -> None:
    """One row a day, and it is the last word."""
    for trades in (1, 2):
        day = DailyMetrics(day="2026-11-21", equity_close=Decimal("10.5"), trades=trades)
        await put(events_db, entry("daily_metrics", day=day))
    assert await events_db.load_days() == [day]
    [row] = await rows_of(url_text, "SELECT day, trades, win_rate FROM daily_metrics")
    assert row == {"day": "2026-11-21", "trades": 2, "win_rate": None}


async def test_the_plans_queries_run_verbatim(postgresql_url: str) -> None:
    """Both dashboard queries run on PostgreSQL and their sums are right."""
    await wipe(postgresql_url)
    async with opened(postgresql_url) as store:
        states = [OrderState.FILLED, OrderState.FILLED, OrderState.REJECTED, OrderState.CANCELLED]
        await put(store, *(entry(order=order(str(n), state)) for n, state in enumerate(states)))
        for realized in ("1.25", "0.75"):
            position = Position(symbol="BTC-PERP", realized_pnl=Decimal(realized))
            await put(store, entry("fill", position=position, cause="fill"))
    [rate] = await rows_of(postgresql_url, ORDER_SUCCESS_RATE)
    [summary] = await rows_of(postgresql_url, PNL_SUMMARY)
    assert tuple(rate.values()) == (4, 2, 1, Decimal(50))
    assert tuple(summary.values()) == ("BTC-PERP", Decimal("0.75"), 0, 1, Decimal("0.75"))


async def test_a_database_that_is_away_is_one_clear_fault() -> None:
    """Nothing listens: a fault in one line, without the password."""
    url = database_url("postgresql://bot:secret@127.0.0.1:1/none", Path())
    with pytest.raises(Unavailable) as caught:
        await EventStore(url, bot_id="bot", deadline_seconds=2).__aenter__()
    assert "secret" not in str(caught.value)


async def test_a_locked_database_is_bounded_in_time(tmp_path: Path) -> None:
    """A writer that never ends costs the deadline, and the next write works again."""
    url = database_url(f"sqlite:///{tmp_path / 'events.db'}", Path())
    async with EventStore(url, bot_id="bot", deadline_seconds=0.5) as store:
        engine = create_async_engine(url)
        async with engine.connect() as holder:
            await holder.execute(text("BEGIN IMMEDIATE"))
            started = time.monotonic()
            with pytest.raises(
                (Unavailable, DeadlineExceeded), match=r"locked|no answer"
            ) as caught:
                await put(store, entry("one"))
            assert time.monotonic() - started < 3
            assert caught.value.retryable
            await holder.rollback()
        await engine.dispose()
        await put(store, entry("two"))
        assert [row["type"] for row in await store.load_events()] == ["two"]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://a:secret@b/c",
        "nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql://a:secret@b/c?sslmode=yes",
        "postgresql://a:secret@b/c?pool=3",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    """Only SQLite and PostgreSQL are known, and the password is never shown."""
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        database_url(url, Path())
    assert "secret" not in str(caught.value)


def test_the_usual_ssl_parameter_reaches_the_driver() -> None:
    """What every PostgreSQL URL calls `sslmode`, asyncpg calls `ssl`."""
    url = database_url("postgres://a:b@c/d?sslmode=require", Path())
    assert (url.drivername, dict(url.query)) == ("postgresql+asyncpg", {"ssl": "require"})

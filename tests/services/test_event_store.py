"""The event store on SQLite and on a real PostgreSQL: durable, append-only, exact, bounded."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from lob.errors import ConfigError, Conflict, DeadlineExceeded, Unavailable
from lob.types import OrderType, Side
from touchstone.kit import event_store as event_store_module
from touchstone.kit.event_store import EventStore, Fill, Record, Watermark
from touchstone.kit.event_store_url import database_url
from touchstone.perps.orders import Intent, Order, OrderState
from touchstone.perps.positions import Position, apply_fill, difference

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
BINARIES = Path("/usr/lib/postgresql/15/bin")


def intent(key: str, side: Side = Side.BUY) -> Intent:
    """Return an intent for a third of a coin."""
    return Intent(
        client_order_id=key,
        symbol="BTC-PERP",
        side=side,
        quantity=Decimal("0.333333333333333333"),
        order_type=OrderType.LIMIT,
        limit_price=Decimal("60000.10"),
        post_only=True,
    )


def order(key: str, state: OrderState = OrderState.PENDING_SUBMIT) -> Order:
    """Return an order made now."""
    now = time.time_ns()
    return Order(intent=intent(key), state=state, created_ns=now, updated_ns=now)


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
    )


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server of its own on loopback; TEST_POSTGRESQL_URL may name another."""
    named = os.environ.get("TEST_POSTGRESQL_URL")
    if named:
        yield named
        return
    found = shutil.which("initdb", path=f"{os.environ.get('PATH', '')}:{BINARIES}")
    if found is None:
        pytest.skip(f"no PostgreSQL server on PATH or in {BINARIES}")
    as_root = os.geteuid() == 0
    if as_root and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser")
    folder = tmp_path_factory.mktemp("postgresql")
    prefix = ["runuser", "-u", "postgres", "--"] if as_root else []
    if as_root:
        for parent in (folder, *folder.parents[:3]):
            parent.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    initdb = [found, "-D", str(folder / "db"), "-U", "touchstone", "-A", "trust", "--no-sync"]
    done = subprocess.run(
        [*prefix, *initdb], check=False, cwd="/", capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        pytest.skip(f"initdb failed: {done.stderr.strip()}")
    server = subprocess.Popen(
        [
            *prefix,
            str(Path(found).with_name("postgres")),
            *("-D", str(folder / "db"), "-p", str(port), "-h", "127.0.0.1"),
            *("-k", str(folder), "-c", "fsync=off", "-c", "timezone=UTC"),
        ],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for_port(port)
        yield f"postgresql://touchstone@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=20)


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(params=["sqlite", "postgresql"])
def url_text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'events.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    asyncio.run(_wipe(url))
    return url


async def _wipe(url: str) -> None:
    engine = create_async_engine(database_url(url, Path()))
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[EventStore]:
    """Open the store; a loaded test machine gets more time than production would."""
    store = EventStore(database_url(url, Path()), bot_id="bot", deadline_seconds=10)
    async with store:
        yield store


@pytest.fixture
async def events_db(url_text: str) -> AsyncIterator[EventStore]:
    """An open event store on each kind of database."""
    async with opened(url_text) as store:
        yield store


async def test_an_order_comes_back_as_it_went_in(events_db: EventStore, url_text: str) -> None:
    """Every field survives, decimals to the last digit, also for the next process."""
    kept = replace(order("a"), venue_order_id="v", reason="because", cancel_wanted=True)
    await events_db.journal_order(kept, Record(type="order_intent", client_order_id="a"))
    async with opened(url_text) as again:
        assert await again.load_order("a") == kept
        assert await again.load_orders(working_only=True) == [kept]
        over = replace(kept, state=OrderState.CANCELLED)
        await again.save_order(over)
        assert await again.load_orders(working_only=True) == []
        assert await again.load_orders(status="cancelled") == [over]


async def test_a_client_order_id_is_taken_once(events_db: EventStore) -> None:
    """The second order of an id is a conflict and leaves nothing behind."""
    await events_db.journal_order(order("a"), Record(type="order_intent"))
    with pytest.raises(Conflict):
        await events_db.journal_order(order("a"), Record(type="order_intent"))
    assert len(await events_db.load_events()) == 1


async def test_a_fill_is_booked_once_with_its_position(events_db: EventStore) -> None:
    """Fill, position delta, order and event are one transaction, and happen once."""
    placed = order("a")
    await events_db.journal_order(placed, Record(type="order_intent"))
    position = Position(symbol="BTC-PERP")
    fills = [
        fill("1", Side.BUY, "0.3", "60000.123456789"),
        fill("2", Side.SELL, "0.1", "60100"),
        fill("3", Side.SELL, "0.3", "59000.7"),
    ]
    for booked in fills:
        after = apply_fill(position, booked.side, booked.quantity, booked.price, booked.fee)
        placed = placed.with_fill(booked.quantity, booked.price, booked.fee)
        record = Record(type="fill", client_order_id="a")
        await events_db.book_fill(booked, placed, difference(after, position), record)
        position = after
    with pytest.raises(Conflict):
        await events_db.book_fill(fills[0], placed, position, Record(type="fill"))
    assert await events_db.load_positions() == {"BTC-PERP": position}
    assert await events_db.load_fill_ids(["v"]) == {("v", "1"), ("v", "2"), ("v", "3")}
    stored = await events_db.load_order("a")
    assert stored is not None
    assert stored.filled_value == placed.filled_value
    assert len(await events_db.load_events(event_type="fill")) == 3


async def test_events_are_append_only_by_the_database_itself(
    events_db: EventStore, url_text: str
) -> None:
    """Neither an update nor a delete gets through, whoever sends it."""
    await events_db.append(Record(type="one", payload={"price": "0.1"}), Record(type="two"))
    rows = await events_db.load_events()
    assert [(row["type"], row["bot_id"]) for row in rows] == [("one", "bot"), ("two", "bot")]
    assert rows[0]["payload"] == {"price": "0.1"}
    assert await events_db.load_events(after=rows[0]["sequence"], limit=5) == rows[1:]
    engine = create_async_engine(database_url(url_text, Path()))
    for statement in ("UPDATE events SET type = 'x'", "DELETE FROM events"):
        with pytest.raises(Exception, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))
    await engine.dispose()


async def test_watermarks_only_rise(events_db: EventStore) -> None:
    """A lower generation never replaces a higher one."""
    assert await events_db.load_watermark("kill:global") is None
    for mark in (Watermark(3, "HALTED"), Watermark(2, "ACTIVE")):
        await events_db.raise_watermark("kill:global", mark)
    assert await events_db.load_watermark("kill:global") == Watermark(3, "HALTED")


async def test_the_plans_queries_run_verbatim(postgresql_url: str) -> None:
    """Both dashboard queries run on PostgreSQL and their sums are right."""
    await _wipe(postgresql_url)
    async with opened(postgresql_url) as store:
        states = [OrderState.FILLED, OrderState.FILLED, OrderState.REJECTED, OrderState.CANCELLED]
        for number, state in enumerate(states):
            await store.journal_order(order(str(number), state), Record(type="order_intent"))
        for realized in ("1.25", "-0.5"):
            delta = Position(symbol="BTC-PERP", realized_pnl=Decimal(realized))
            await store.adjust_position(delta, "fill", Record(type="fill"))
    engine = create_async_engine(database_url(postgresql_url, Path()))
    async with engine.connect() as connection:
        rate = (await connection.execute(text(ORDER_SUCCESS_RATE))).one()
        summary = (await connection.execute(text(PNL_SUMMARY))).one()
    await engine.dispose()
    assert tuple(rate) == (4, 2, 1, Decimal(50))
    assert tuple(summary) == ("BTC-PERP", Decimal("0.75"), 0, 1, Decimal("0.75"))


async def test_the_intent_survives_the_process_being_killed(tmp_path: Path) -> None:
    """What `journal_order` returned for is on disk when the process dies the next instant."""
    program = (
        "import asyncio, os, pathlib\n"
        "from tests.services.test_event_store import *\n"
        "async def main():\n"
        f"    async with opened('sqlite:///{tmp_path}/events.db') as store:\n"
        "        await store.journal_order(order('a'), Record(type='order_intent'))\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=Path(__file__).parents[2]
    )
    assert await asyncio.wait_for(process.wait(), 30) == -9
    async with opened(f"sqlite:///{tmp_path}/events.db") as store:
        assert await store.load_order("a") is not None


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
                await store.append(Record(type="one"))
            assert time.monotonic() - started < 3
            assert caught.value.retryable
            await holder.rollback()
        await engine.dispose()
        await store.append(Record(type="two"))
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


async def test_positions_are_added_up_over_any_number_of_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each read is bounded, the sum is that of all deltas, and no read asks for everything."""
    monkeypatch.setattr(event_store_module, "PAGE_ROWS", 2)
    delta = Position(symbol="BTC-PERP", quantity=Decimal("0.1"), cost=Decimal(6_000))
    async with opened(f"sqlite:///{tmp_path}/events.db") as store:
        for _ in range(5):
            await store.adjust_position(delta, "test", Record(type="test"))
        pages = []
        read = store._rows

        async def counted(what: str, query: Any) -> Any:
            rows = await read(what, query)
            pages.append(len(rows))
            return rows

        monkeypatch.setattr(store, "_rows", counted)
        assert (await store.load_positions())["BTC-PERP"].quantity == Decimal("0.5")
        assert pages == [2, 2, 1, 0]

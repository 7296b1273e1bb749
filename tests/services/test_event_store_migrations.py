"""The schema's versions on SQLite and PostgreSQL: up, down, from before they were counted."""

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from lob.errors import ConfigError
from lob.types import Side
from touchstone.kit import event_store_schema as schema
from touchstone.kit import migrations
from touchstone.kit.event_store import EventStore
from touchstone.kit.event_store_url import database_url
from touchstone.kit.ledger_entries import VERSION, Entry, Watermark
from touchstone.kit.migrations.__main__ import main
from touchstone.perps.orders import OrderState
from touchstone.perps.positions import Position

NOW = "2026-01-02 03:04:05"
ROWS: dict[str, list[dict[str, Any]]] = {
    "orders": [
        {
            "client_order_id": key,
            "bot_id": "bot",
            "venue_order_id": f"v-{key}",
            "symbol": "BTC-PERP",
            "side": "BUY",
            "type": "LIMIT",
            "time_in_force": "GTC",
            "quantity": "0.30",
            "limit_price": "60000.123456789",
            "post_only": True,
            "reduce_only": False,
            "filled_quantity": "0.1",
            "filled_value": "6000.0123456789",
            "fees": "0.01",
            "status": status,
            "reason": "because",
            "cancel_wanted": False,
            "created_ns": 1_700_000_000_123_456_789,
            "updated_ns": 1_700_000_000_123_456_790,
            "timestamp": NOW,
        }
        for key, status in (("a", "open"), ("b", "cancelled"))
    ],
    "fills": [
        {
            "venue_order_id": "v-a",
            "trade_id": trade,
            "client_order_id": "a",
            "symbol": "BTC-PERP",
            "side": "BUY",
            "quantity": "0.05",
            "price": "60000.123456789",
            "fee": "0.005",
            "liquidity": "MAKER",
            "ts_event_ns": 1,
            "timestamp": NOW,
        }
        for trade in ("1", "2")
    ],
    "positions": [
        {
            "bot_id": "bot",
            "symbol": "BTC-PERP",
            "cause": "fill",
            "quantity": "0.05",
            "cost": "3000.00617283945",
            "realized_pnl": "0",
            "fees": "0.005",
            "funding_paid": "0",
            "timestamp": NOW,
        }
    ]
    * 2,
    "control_watermarks": [
        {"scope": "kill:global", "generation": 7, "state": "HALTED", "updated_at": NOW},
    ],
    "events": [
        {"bot_id": "bot", "recorded_at": NOW, "type": "order_intent", "payload": '{"a": "1"}'}
    ],
}
"""What a database of the first version held."""


async def on(url: str, work: Callable[[Connection], Any]) -> Any:
    """Run work in one transaction of the database."""
    engine = create_async_engine(database_url(url, Path()))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def fill_first_version(connection: Connection) -> None:
    """Make a database as it was before its versions were counted."""
    migrations.upgrade(connection, "0001")
    connection.execute(text("DROP TABLE alembic_version"))
    stamp = "INSERT INTO schema_versions (version, applied_at) VALUES (1, '2026-01-01 00:00:00')"
    connection.execute(text(stamp))
    for table, rows in ROWS.items():
        for row in rows:
            # As literals: PostgreSQL takes each for what its column is.
            values = ", ".join(_literal(value) for value in row.values())
            names = ", ".join(row)
            connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"))  # noqa: S608 - ours


def _literal(value: object) -> str:
    return str(value) if isinstance(value, bool | int) else f"'{value}'".replace(":", r"\:")


def rows_of(table: str) -> Callable[[Connection], list[dict[str, Any]]]:
    """Return what reads a table as plain values that both databases agree on."""

    def read(connection: Connection) -> list[dict[str, Any]]:
        every = text(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 - a name of ours
        found = connection.execute(every).mappings().all()
        return [{name: _plain(name, value) for name, value in row.items()} for row in found]

    return read


def _plain(name: str, value: Any) -> Any:
    if name in ("post_only", "reduce_only", "cancel_wanted"):
        return bool(value)
    if name == "payload":
        return value if isinstance(value, str) else json.dumps(value)
    return str(value)[:19] if name in ("timestamp", "updated_at", "recorded_at") else value


async def test_the_newest_version_is_the_schema_that_the_code_uses(url_text: str) -> None:
    """Nothing is missing and nothing is over."""

    def compare(connection: Connection) -> list[Any]:
        migrations.upgrade(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, schema.metadata))

    assert await on(url_text, compare) == []
    assert await on(url_text, migrations.current) == migrations.NEWEST


async def test_a_database_of_the_first_version_is_brought_up_to_date(url_text: str) -> None:
    """Orders, fills, positions and prohibitions are all there, exactly, and it goes on."""
    await on(url_text, fill_first_version)
    assert await on(url_text, migrations.current) == "0001"
    async with EventStore(database_url(url_text, Path()), bot_id="bot", deadline_seconds=10) as now:
        [working] = await now.load_orders(not_done=True)
        assert working.intent.client_order_id == "a"
        assert working.intent.side is Side.BUY
        assert working.intent.limit_price == Decimal("60000.123456789")
        assert (working.state, working.reason) == (OrderState.OPEN, "because")
        assert working.filled_value == Decimal("6000.0123456789")
        assert working.created_ns == 1_700_000_000_123_456_789
        assert [o.state for o in await now.load_last_changed(9)] == [OrderState.CANCELLED]
        assert await now.load_fill_ids(["v-a"]) == {("v-a", "1"), ("v-a", "2")}
        held = (await now.load_positions())["BTC-PERP"]
        assert held == Position(
            symbol="BTC-PERP",
            quantity=Decimal("0.10"),
            cost=Decimal("6000.01234567890"),
            fees=Decimal("0.010"),
        )
        assert await now.load_watermarks() == {"kill:global": Watermark(7, "HALTED")}
        assert [row["type"] for row in await now.load_events()] == ["order_intent"]
        batcher = await now.batcher("j")
        batch = batcher.begin()
        moved = Position(symbol="BTC-PERP", quantity=Decimal("0.2"))
        entry = Entry(version=VERSION, at_ns=time.time_ns(), position=moved, cause="fill")
        batcher.add(batch, 0, entry)
        await now.write(batcher.end(batch))
        assert (await now.load_positions())["BTC-PERP"] == moved


async def test_down_and_up_again_loses_nothing_that_the_older_version_had(url_text: str) -> None:
    """Every row of the first version survives the way there and back; events stay append-only."""
    await on(url_text, fill_first_version)
    before = {table: await on(url_text, rows_of(table)) for table in ROWS}
    await on(url_text, migrations.upgrade)
    await on(url_text, lambda connection: migrations.downgrade(connection, "0001"))
    assert {table: await on(url_text, rows_of(table)) for table in ROWS} == before
    await on(url_text, migrations.upgrade)
    with pytest.raises(Exception, match="append-only"):
        await on(url_text, lambda connection: connection.execute(text("DELETE FROM events")))
    await on(url_text, lambda connection: migrations.downgrade(connection, "base"))
    left = await on(url_text, lambda connection: inspect(connection).get_table_names())
    assert left == ["alembic_version"]


async def test_two_bots_with_one_id_cannot_go_back_to_one(url_text: str) -> None:
    """The way down says what stands in it, and changes nothing."""
    await on(url_text, fill_first_version)
    await on(url_text, migrations.upgrade)
    names = [column.name for column in schema.orders.columns if column.name != "bot_id"]
    copied = ", ".join(names)
    twice = f"SELECT 'other', {copied} FROM orders"  # noqa: S608 - names of ours
    copy = f"INSERT INTO orders (bot_id, {copied}) {twice}"
    await on(url_text, lambda connection: connection.execute(text(copy)))
    with pytest.raises(ConfigError, match="'a': two bots have one"):
        await on(url_text, lambda connection: migrations.downgrade(connection, "0001"))
    assert await on(url_text, migrations.current) == "0002"


async def test_several_that_start_at_once_migrate_once(url_text: str) -> None:
    """Processes that begin together wait for one another, and all find the newest schema."""
    await on(url_text, fill_first_version)
    url = database_url(url_text, Path())
    stores = [EventStore(url, bot_id="bot", deadline_seconds=10) for _ in range(4)]
    opened = await asyncio.gather(*(store.__aenter__() for store in stores))
    assert [len(await store.load_orders()) for store in opened] == [2] * 4
    for store in opened:
        await store.close()


async def test_a_schema_of_a_newer_build_is_left_alone(url_text: str) -> None:
    """A revision that this build does not know is named, and nothing is touched."""
    await on(url_text, migrations.upgrade)
    newer = "UPDATE alembic_version SET version_num = '9999'"
    await on(url_text, lambda connection: connection.execute(text(newer)))
    store = EventStore(database_url(url_text, Path()), bot_id="bot", deadline_seconds=10)
    with pytest.raises(ConfigError, match="9999; this build knows up to 0002"):
        await store.__aenter__()


def test_the_command_goes_up_and_down_and_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step prints the revision that it came to; what cannot be done is one line."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    steps = (["current"], ["up", "0001"], ["up"], ["down", "0001"], ["down", "base"])
    said = []
    for step in steps:
        assert main(["--database-url", url, *step]) == 0
        said.append(capsys.readouterr().out.split()[0])
    assert said == ["base", "0001", "0002", "0001", "base"]
    assert main(["--database-url", "mysql://a:secret@b/c", "current"]) == 1
    told = capsys.readouterr().err
    assert "DATABASE_URL" in told
    assert "secret" not in told
    assert main(["--database-url", url, "down", "7"]) == 1
    assert "7" in capsys.readouterr().err

"""Many bots in one database; orders as documents; the journal's place; funding; daily metrics."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from lob.errors import ConfigError
from touchstone.kit.event_store_types import ExactDecimal, UtcTime, counted_key

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

PAGE_ROWS: Final = 5_000
TERMINAL: Final = ("filled", "cancelled", "expired", "rejected", "refused", "missing")
MONEY: Final = ("quantity", "cost", "realized_pnl", "fees", "funding_paid")
_ADDED_TO_ORDERS: Final = (
    *("stop_price", "expires_at_ns", "attached_take_profit_price", "attached_stop_price"),
    *("strategy", "replaces", "parent", "done", "document"),
)
_INDEXES: Final = {
    "orders": ("ix_orders_status", "ix_orders_timestamp", "ix_orders_venue_order_id"),
    "fills": ("ix_fills_client_order_id",),
}


def upgrade() -> None:
    """Give every row its bot, and make the new tables."""
    _make_new_tables()
    _upgrade_orders()
    _upgrade_fills()
    _upgrade_watermarks()
    op.add_column("positions", sa.Column("ts_event_ns", sa.BigInteger))
    _sum_positions()
    op.drop_table("schema_versions")


def downgrade() -> None:
    """Go back to one bot; the new tables are lost.

    Raises:
        ConfigError: two bots have orders under one id.
    """
    _require_one_bot()
    old = _set_aside("orders")
    _first().create_orders()
    names = [column.name for column in old.columns if column.name not in _ADDED_TO_ORDERS]
    _copy(old, "orders", lambda row: {name: row[name] for name in names})
    old = _set_aside("fills")
    _first().create_fills()
    _copy(old, "fills", lambda row: {n: v for n, v in row.items() if n != "bot_id"})
    _downgrade_watermarks()
    op.execute("ALTER TABLE positions DROP COLUMN ts_event_ns")
    for name in ("journal_places", "daily_metrics", "funding_payments", "position_totals"):
        op.drop_table(name)
    op.create_table(
        "schema_versions",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("applied_at", UtcTime, nullable=False),
    )
    versions = _table("schema_versions")
    op.get_bind().execute(versions.insert().values(version=1, applied_at=datetime.now(UTC)))


# -------------------------------------------------------------------- new tables


def _make_new_tables() -> None:
    op.create_table(
        "position_totals",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("symbol", sa.String(64), primary_key=True),
        *(sa.Column(name, ExactDecimal, nullable=False) for name in MONEY),
        sa.Column("updated_at", UtcTime, nullable=False),
    )
    op.create_table(
        "funding_payments",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("symbol", sa.String(64), primary_key=True),
        sa.Column("funding_time_ns", sa.BigInteger, primary_key=True),
        sa.Column("quantity", ExactDecimal, nullable=False),
        sa.Column("mark_price", ExactDecimal, nullable=False),
        sa.Column("rate", ExactDecimal, nullable=False),
        sa.Column("amount", ExactDecimal, nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("timestamp", UtcTime, nullable=False),
    )
    op.create_table(
        "daily_metrics",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("equity_open", ExactDecimal),
        sa.Column("equity_close", ExactDecimal),
        sa.Column("return_ratio", ExactDecimal),
        sa.Column("realized_pnl", ExactDecimal, nullable=False),
        sa.Column("unrealized_pnl", ExactDecimal),
        sa.Column("fees", ExactDecimal, nullable=False),
        sa.Column("funding_paid", ExactDecimal, nullable=False),
        sa.Column("trades", sa.Integer, nullable=False),
        sa.Column("closed_trades", sa.Integer, nullable=False),
        sa.Column("wins", sa.Integer, nullable=False),
        sa.Column("win_rate", ExactDecimal),
        sa.Column("drawdown", ExactDecimal),
        sa.Column("sharpe", ExactDecimal),
        sa.Column("timestamp", UtcTime, nullable=False),
    )
    op.create_table(
        "journal_places",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("journal_id", sa.String(32), primary_key=True),
        sa.Column("last_number", sa.BigInteger, nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("client_order_id", sa.String(128), primary_key=True),
        sa.Column("venue_order_id", sa.String(128), nullable=False),
        sa.Column("symbol", sa.String(64), nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("time_in_force", sa.String(8), nullable=False),
        sa.Column("quantity", ExactDecimal, nullable=False),
        sa.Column("limit_price", ExactDecimal),
        sa.Column("stop_price", ExactDecimal),
        sa.Column("post_only", sa.Boolean, nullable=False),
        sa.Column("reduce_only", sa.Boolean, nullable=False),
        sa.Column("expires_at_ns", sa.BigInteger),
        sa.Column("attached_take_profit_price", ExactDecimal),
        sa.Column("attached_stop_price", ExactDecimal),
        sa.Column("strategy", sa.String(64), nullable=False, server_default=""),
        sa.Column("replaces", sa.String(128), nullable=False, server_default=""),
        sa.Column("parent", sa.String(128), nullable=False, server_default=""),
        sa.Column("filled_quantity", ExactDecimal, nullable=False),
        sa.Column("filled_value", ExactDecimal, nullable=False),
        sa.Column("fees", ExactDecimal, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.Column("timestamp", UtcTime, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_index("ix_orders_status", "orders", ["status"])
    op.create_index("ix_orders_timestamp", "orders", ["timestamp"])
    op.create_index("ix_orders_venue_order_id", "orders", ["venue_order_id"])
    where = sa.text("NOT done")
    op.create_index(
        "ix_orders_not_done", "orders", ["bot_id"], sqlite_where=where, postgresql_where=where
    )


def _create_fills() -> None:
    op.create_table(
        "fills",
        sa.Column("sequence", counted_key(), primary_key=True, autoincrement=True),
        sa.Column("bot_id", sa.String(64), nullable=False),
        sa.Column("venue_order_id", sa.String(128), nullable=False),
        sa.Column("trade_id", sa.String(128), nullable=False),
        sa.Column("client_order_id", sa.String(128), nullable=False),
        sa.Column("symbol", sa.String(64), nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("quantity", ExactDecimal, nullable=False),
        sa.Column("price", ExactDecimal, nullable=False),
        sa.Column("fee", ExactDecimal, nullable=False),
        sa.Column("liquidity", sa.String(16), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger),
        sa.Column("timestamp", UtcTime, nullable=False),
        sa.UniqueConstraint("bot_id", "venue_order_id", "trade_id", name="uq_fills_trade"),
    )
    op.create_index("ix_fills_client_order_id", "fills", ["client_order_id"])


# -------------------------------------------------------------------- rows


def _upgrade_orders() -> None:
    old = _set_aside("orders")
    _create_orders()

    def renew(row: dict[str, Any]) -> dict[str, Any]:
        added = {"done": row["status"] in TERMINAL, "document": _document(row)}
        return row | added | {"strategy": "", "replaces": "", "parent": ""}

    _copy(old, "orders", renew)


def _upgrade_fills() -> None:
    """A fill is of the bot whose order it filled."""
    bots = _bots()
    orders = _table("orders")
    query = sa.select(orders.c.client_order_id, orders.c.bot_id)
    owners = {row[0]: row[1] for row in op.get_bind().execute(query)}
    old = _set_aside("fills")
    _create_fills()
    _copy(old, "fills", lambda row: row | {"bot_id": owners.get(row["client_order_id"], bots[0])})


def _upgrade_watermarks() -> None:
    """What was prohibited stays so for every bot that has anything here."""
    rows = [*_rows("control_watermarks")]
    op.drop_table("control_watermarks")
    op.create_table(
        "control_watermarks",
        sa.Column("bot_id", sa.String(64), primary_key=True),
        sa.Column("scope", sa.String(128), primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
    )
    renewed = [row | {"bot_id": bot} for row in rows for bot in _bots()]
    if renewed:
        op.get_bind().execute(_table("control_watermarks").insert(), renewed)


def _downgrade_watermarks() -> None:
    highest: dict[str, dict[str, Any]] = {}
    for row in _rows("control_watermarks"):
        kept = {name: value for name, value in row.items() if name != "bot_id"}
        if kept["generation"] > highest.get(kept["scope"], {"generation": -1})["generation"]:
            highest[kept["scope"]] = kept
    op.drop_table("control_watermarks")
    _first().create_watermarks()
    if highest:
        op.get_bind().execute(_table("control_watermarks").insert(), list(highest.values()))


def _sum_positions() -> None:
    sums: dict[tuple[str, str], list[Decimal]] = {}
    latest: dict[tuple[str, str], datetime] = {}
    for row in _rows("positions"):
        key = (row["bot_id"], row["symbol"])
        deltas = [row[name] for name in MONEY]
        before = sums.get(key, [Decimal(0)] * len(MONEY))
        sums[key] = [a + b for a, b in zip(before, deltas, strict=True)]
        latest[key] = row["timestamp"]
    rows = [
        {"bot_id": bot, "symbol": symbol, "updated_at": latest[bot, symbol]}
        | dict(zip(MONEY, values, strict=True))
        for (bot, symbol), values in sums.items()
    ]
    if rows:
        op.get_bind().execute(_table("position_totals").insert(), rows)


def _document(row: dict[str, Any]) -> Any:
    """Return an order with every field that it had."""
    terms = {
        "client_order_id": row["client_order_id"],
        "symbol": row["symbol"],
        "side": row["side"],
        "quantity": str(row["quantity"]),
        "order_type": row["type"],
        "time_in_force": row["time_in_force"],
        "limit_price": None if row["limit_price"] is None else str(row["limit_price"]),
        "post_only": row["post_only"],
        "reduce_only": row["reduce_only"],
    }
    amounts = {name: str(row[name]) for name in ("filled_quantity", "filled_value", "fees")}
    same = ("venue_order_id", "reason", "cancel_wanted", "created_ns", "updated_ns")
    document = {"intent": terms, "state": row["status"], **amounts}
    return json.loads(json.dumps(document | {name: row[name] for name in same}))


# -------------------------------------------------------------------- inside


def _first() -> Any:
    from touchstone.kit.migrations.versions import v0001_one_bot  # noqa: PLC0415 - a way back

    return v0001_one_bot


def _require_one_bot() -> None:
    orders = _table("orders")
    twice = sa.select(orders.c.client_order_id).group_by(orders.c.client_order_id)
    found = op.get_bind().execute(twice.having(sa.func.count() > 1).limit(1)).scalar()
    if found is not None:
        raise ConfigError(f"orders: client_order_id {found!r}: two bots have one; not downgraded")


def _bots() -> list[str]:
    """Return every bot that has anything here; where nobody has, the default one."""
    queries = [sa.select(_table(name).c.bot_id) for name in ("events", "orders", "positions")]
    found = op.get_bind().execute(sa.union(*queries)).scalars().all()
    return sorted(found) or ["touchstone"]


def _table(name: str) -> sa.Table:
    """Return a table as it is, with our own types where the database has plainer ones."""
    table = sa.Table(name, sa.MetaData(), autoload_with=op.get_bind())
    for column in table.columns:
        if column.name in _DECIMALS:
            column.type = ExactDecimal()
        elif column.name in _TIMES:
            column.type = UtcTime()
        elif column.name in ("post_only", "reduce_only", "cancel_wanted", "done"):
            column.type = sa.Boolean()
    return table


_DECIMALS: Final = frozenset(
    (*MONEY, "limit_price", "filled_quantity", "filled_value", "price", "fee")
)
_TIMES: Final = frozenset(("timestamp", "updated_at", "applied_at"))


def _set_aside(name: str) -> sa.Table:
    """Give a table another name, so that one of the same name can be made."""
    for index in _INDEXES[name]:
        op.drop_index(index, table_name=name)
    if name == "orders":
        op.drop_index("ix_orders_not_done", table_name=name, if_exists=True)
    bind = op.get_bind()
    if bind.dialect.name == "postgresql":
        # The name of a key's index is taken as long as the table is there.
        op.execute(f"ALTER TABLE {name} RENAME CONSTRAINT {name}_pkey TO {name}_before_pkey")
        if name == "fills":
            op.execute("ALTER SEQUENCE fills_sequence_seq RENAME TO fills_before_sequence_seq")
    op.rename_table(name, f"{name}_before")
    return _table(f"{name}_before")


def _copy(old: sa.Table, name: str, renew: Any) -> None:
    """Copy all rows, each renewed, and remove the old table."""
    new = _table(name)
    page: list[dict[str, Any]] = []
    for row in _rows(old.name):
        page.append(renew(row))
        if len(page) == PAGE_ROWS:
            op.get_bind().execute(new.insert(), page)
            page = []
    if page:
        op.get_bind().execute(new.insert(), page)
    if "sequence" in new.c and op.get_bind().dialect.name == "postgresql":
        highest = sa.select(sa.func.coalesce(sa.func.max(new.c.sequence), 0) + 1).scalar_subquery()
        op.get_bind().execute(sa.select(sa.func.setval(f"{name}_sequence_seq", highest, False)))
    op.drop_table(old.name)


def _rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield a table's rows in the order of its key, page by page."""
    table = _table(name)
    key = list(table.primary_key.columns)
    query = sa.select(table).order_by(*key).limit(PAGE_ROWS)
    rows = op.get_bind().execute(query).mappings().all()
    while rows:
        yield from map(dict, rows)
        after = sa.tuple_(*key) > sa.tuple_(*(sa.literal(rows[-1][k.name]) for k in key))
        rows = op.get_bind().execute(query.where(after)).mappings().all()

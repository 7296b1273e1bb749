"""One schema for the event store, on SQLite and on PostgreSQL, for any number of bots.

`orders` and `positions` carry the columns that operators query (`status`, `timestamp`,
`realized_pnl`, `funding_paid`); `positions` holds one delta per booking, so that SUM is right.
An order is read back from `document`, which has every field; the columns beside it are for
queries. `touchstone.kit.migrations` makes these tables, and brings older ones up to date.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from touchstone.kit.event_store_types import ExactDecimal, UtcTime, counted_key

metadata = MetaData()


events = Table(
    "events",
    metadata,
    Column("sequence", counted_key(), primary_key=True, autoincrement=True),
    Column("bot_id", String(64), nullable=False),
    Column("ts_event_ns", BigInteger),
    Column("recorded_at", UtcTime, nullable=False),
    Column("type", String(64), nullable=False),
    Column("symbol", String(64)),
    Column("client_order_id", String(128)),
    Column("payload", JSON, nullable=False),
    Index("ix_events_type", "type", "sequence"),
    Index("ix_events_order", "client_order_id", "sequence"),
    # Without it SQLite may give a deleted row's number to a new one.
    sqlite_autoincrement=True,
)

orders = Table(
    "orders",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("client_order_id", String(128), primary_key=True),
    Column("venue_order_id", String(128), nullable=False, index=True),
    Column("symbol", String(64), nullable=False),
    Column("side", String(4), nullable=False),
    Column("type", String(16), nullable=False),
    Column("time_in_force", String(8), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("limit_price", ExactDecimal),
    Column("stop_price", ExactDecimal),
    Column("post_only", Boolean, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("expires_at_ns", BigInteger),
    Column("attached_take_profit_price", ExactDecimal),
    Column("attached_stop_price", ExactDecimal),
    Column("strategy", String(64), nullable=False, server_default=""),
    Column("replaces", String(128), nullable=False, server_default=""),
    Column("parent", String(128), nullable=False, server_default=""),
    Column("filled_quantity", ExactDecimal, nullable=False),
    Column("filled_value", ExactDecimal, nullable=False),
    Column("fees", ExactDecimal, nullable=False),
    Column("status", String(24), nullable=False),
    Column("reason", Text, nullable=False),
    Column("cancel_wanted", Boolean, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("timestamp", UtcTime, nullable=False, index=True),
    Column("document", JSON, nullable=False),
    Index("ix_orders_status", "status"),
    Index(
        "ix_orders_not_done",
        "bot_id",
        sqlite_where=text("NOT done"),
        postgresql_where=text("NOT done"),
    ),
)

fills = Table(
    "fills",
    metadata,
    Column("sequence", counted_key(), primary_key=True, autoincrement=True),
    Column("bot_id", String(64), nullable=False),
    Column("venue_order_id", String(128), nullable=False),
    Column("trade_id", String(128), nullable=False),
    Column("client_order_id", String(128), nullable=False, index=True),
    Column("symbol", String(64), nullable=False),
    Column("side", String(4), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("price", ExactDecimal, nullable=False),
    Column("fee", ExactDecimal, nullable=False),
    Column("liquidity", String(16), nullable=False),
    Column("ts_event_ns", BigInteger),
    Column("timestamp", UtcTime, nullable=False),
    # A fill is booked once, however often it is told.
    UniqueConstraint("bot_id", "venue_order_id", "trade_id", name="uq_fills_trade"),
)

positions = Table(
    "positions",
    metadata,
    Column("sequence", counted_key(), primary_key=True, autoincrement=True),
    Column("bot_id", String(64), nullable=False),
    Column("symbol", String(64), nullable=False, index=True),
    Column("cause", String(32), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("cost", ExactDecimal, nullable=False),
    Column("realized_pnl", ExactDecimal, nullable=False),
    Column("fees", ExactDecimal, nullable=False),
    Column("funding_paid", ExactDecimal, nullable=False),
    Column("ts_event_ns", BigInteger),
    Column("timestamp", UtcTime, nullable=False),
)

position_totals = Table(
    # The sum of the deltas: a start does not add up years of them.
    "position_totals",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("symbol", String(64), primary_key=True),
    Column("quantity", ExactDecimal, nullable=False),
    Column("cost", ExactDecimal, nullable=False),
    Column("realized_pnl", ExactDecimal, nullable=False),
    Column("fees", ExactDecimal, nullable=False),
    Column("funding_paid", ExactDecimal, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

funding_payments = Table(
    "funding_payments",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("symbol", String(64), primary_key=True),
    Column("funding_time_ns", BigInteger, primary_key=True),
    Column("quantity", ExactDecimal, nullable=False),
    Column("mark_price", ExactDecimal, nullable=False),
    Column("rate", ExactDecimal, nullable=False),
    Column("amount", ExactDecimal, nullable=False),
    Column("source", String(32), nullable=False),
    Column("timestamp", UtcTime, nullable=False),
)

daily_metrics = Table(
    "daily_metrics",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("equity_open", ExactDecimal),
    Column("equity_close", ExactDecimal),
    Column("return_ratio", ExactDecimal),
    Column("realized_pnl", ExactDecimal, nullable=False),
    Column("unrealized_pnl", ExactDecimal),
    Column("fees", ExactDecimal, nullable=False),
    Column("funding_paid", ExactDecimal, nullable=False),
    Column("trades", Integer, nullable=False),
    Column("closed_trades", Integer, nullable=False),
    Column("wins", Integer, nullable=False),
    Column("win_rate", ExactDecimal),
    Column("drawdown", ExactDecimal),
    Column("sharpe", ExactDecimal),
    Column("timestamp", UtcTime, nullable=False),
)

control_watermarks = Table(
    "control_watermarks",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("scope", String(128), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

journal_places = Table(
    # Up to which entry of which journal everything here goes: written in one transaction with it.
    "journal_places",
    metadata,
    Column("bot_id", String(64), primary_key=True),
    Column("journal_id", String(32), primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

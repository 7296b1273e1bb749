"""One schema for the event store, on SQLite and on PostgreSQL.

`orders` and `positions` carry the columns that operators query (`status`, `timestamp`,
`realized_pnl`, `funding_paid`); `positions` holds one delta per booking, so that SUM is right.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import (
    DDL,
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.types import TypeDecorator, TypeEngine

SCHEMA_VERSION: Final = 1

metadata = MetaData()


class ExactDecimal(TypeDecorator[Decimal]):
    """A Decimal that keeps every digit: NUMERIC on PostgreSQL, text on SQLite, which has none."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of this database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        """Write a Decimal."""
        return format(value, "f") if value is not None and dialect.name == "sqlite" else value

    def process_result_value(
        self,
        value: Any,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> Decimal | None:
        """Read a Decimal."""
        return None if value is None else Decimal(value)


class UtcTime(TypeDecorator[datetime]):
    """A moment with its zone: TIMESTAMPTZ on PostgreSQL, UTC text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Write a moment in UTC."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime | None:
        """Read a moment, always with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite counts rows by itself only where the key is a plain INTEGER.
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

schema_versions = Table(
    "schema_versions",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("applied_at", UtcTime, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
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
    Column("client_order_id", String(128), primary_key=True),
    Column("bot_id", String(64), nullable=False),
    Column("venue_order_id", String(128), nullable=False, index=True),
    Column("symbol", String(64), nullable=False),
    Column("side", String(4), nullable=False),
    Column("type", String(16), nullable=False),
    Column("time_in_force", String(8), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("limit_price", ExactDecimal),
    Column("post_only", Boolean, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("filled_quantity", ExactDecimal, nullable=False),
    Column("filled_value", ExactDecimal, nullable=False),
    Column("fees", ExactDecimal, nullable=False),
    Column("status", String(24), nullable=False),
    Column("reason", Text, nullable=False),
    Column("cancel_wanted", Boolean, nullable=False),
    Column("created_ns", BigInteger, nullable=False),
    Column("updated_ns", BigInteger, nullable=False),
    Column("timestamp", UtcTime, nullable=False, index=True),
    Index("ix_orders_status", "status"),
)

fills = Table(
    "fills",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
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
    UniqueConstraint("venue_order_id", "trade_id"),
)

positions = Table(
    "positions",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("bot_id", String(64), nullable=False),
    Column("symbol", String(64), nullable=False, index=True),
    Column("cause", String(32), nullable=False),
    Column("quantity", ExactDecimal, nullable=False),
    Column("cost", ExactDecimal, nullable=False),
    Column("realized_pnl", ExactDecimal, nullable=False),
    Column("fees", ExactDecimal, nullable=False),
    Column("funding_paid", ExactDecimal, nullable=False),
    Column("timestamp", UtcTime, nullable=False),
)

control_watermarks = Table(
    "control_watermarks",
    metadata,
    Column("scope", String(128), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("state", String(32), nullable=False),
    Column("updated_at", UtcTime, nullable=False),
)

for _verb in ("UPDATE", "DELETE"):
    event.listen(
        events,
        "after_create",
        DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER events_no_{_verb.lower()} BEFORE {_verb} ON events "
            "BEGIN SELECT RAISE(ABORT, 'events is append-only'); END",
        ).execute_if(dialect="sqlite"),
    )
event.listen(
    events,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events is append-only'; END $$",
    ).execute_if(dialect="postgresql"),
)
event.listen(
    events,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()",
    ).execute_if(dialect="postgresql"),
)

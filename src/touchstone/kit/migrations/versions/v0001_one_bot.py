"""The first schema: one bot, events, orders, fills, position deltas, watermarks."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from touchstone.kit.event_store_types import ExactDecimal, UtcTime, counted_key

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Make the tables."""
    create_events()
    create_orders()
    create_fills()
    create_positions()
    create_watermarks()
    op.create_table(
        "schema_versions",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("applied_at", UtcTime, nullable=False),
    )


def downgrade() -> None:
    """Remove everything."""
    op.drop_table("schema_versions", if_exists=True)
    for table in ("control_watermarks", "positions", "fills", "orders", "events"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION events_append_only()")


def create_events() -> None:
    """Make the events, which nobody may change or remove."""
    op.create_table(
        "events",
        sa.Column("sequence", counted_key(), primary_key=True, autoincrement=True),
        sa.Column("bot_id", sa.String(64), nullable=False),
        sa.Column("ts_event_ns", sa.BigInteger),
        sa.Column("recorded_at", UtcTime, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("symbol", sa.String(64)),
        sa.Column("client_order_id", sa.String(128)),
        sa.Column("payload", sa.JSON, nullable=False),
        # Without it SQLite may give a deleted row's number to a new one.
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_type", "events", ["type", "sequence"])
    op.create_index("ix_events_order", "events", ["client_order_id", "sequence"])
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER events_no_{verb.lower()} BEFORE {verb} ON events "
                "BEGIN SELECT RAISE(ABORT, 'events is append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'events is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()"
    )


def create_orders() -> None:
    """Make the orders of one bot."""
    op.create_table(
        "orders",
        sa.Column("client_order_id", sa.String(128), primary_key=True),
        sa.Column("bot_id", sa.String(64), nullable=False),
        sa.Column("venue_order_id", sa.String(128), nullable=False),
        sa.Column("symbol", sa.String(64), nullable=False),
        sa.Column("side", sa.String(4), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("time_in_force", sa.String(8), nullable=False),
        sa.Column("quantity", ExactDecimal, nullable=False),
        sa.Column("limit_price", ExactDecimal),
        sa.Column("post_only", sa.Boolean, nullable=False),
        sa.Column("reduce_only", sa.Boolean, nullable=False),
        sa.Column("filled_quantity", ExactDecimal, nullable=False),
        sa.Column("filled_value", ExactDecimal, nullable=False),
        sa.Column("fees", ExactDecimal, nullable=False),
        sa.Column("status", sa.String(24), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("cancel_wanted", sa.Boolean, nullable=False),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
        sa.Column("timestamp", UtcTime, nullable=False),
    )
    op.create_index("ix_orders_status", "orders", ["status"])
    op.create_index("ix_orders_timestamp", "orders", ["timestamp"])
    op.create_index("ix_orders_venue_order_id", "orders", ["venue_order_id"])


def create_fills() -> None:
    """Make the fills of one bot."""
    op.create_table(
        "fills",
        sa.Column("sequence", counted_key(), primary_key=True, autoincrement=True),
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
        sa.UniqueConstraint("venue_order_id", "trade_id"),
    )
    op.create_index("ix_fills_client_order_id", "fills", ["client_order_id"])


def create_positions() -> None:
    """Make the position deltas."""
    op.create_table(
        "positions",
        sa.Column("sequence", counted_key(), primary_key=True, autoincrement=True),
        sa.Column("bot_id", sa.String(64), nullable=False),
        sa.Column("symbol", sa.String(64), nullable=False),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("quantity", ExactDecimal, nullable=False),
        sa.Column("cost", ExactDecimal, nullable=False),
        sa.Column("realized_pnl", ExactDecimal, nullable=False),
        sa.Column("fees", ExactDecimal, nullable=False),
        sa.Column("funding_paid", ExactDecimal, nullable=False),
        sa.Column("timestamp", UtcTime, nullable=False),
    )
    op.create_index("ix_positions_symbol", "positions", ["symbol"])


def create_watermarks() -> None:
    """Make the watermarks of one bot."""
    op.create_table(
        "control_watermarks",
        sa.Column("scope", sa.String(128), primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("updated_at", UtcTime, nullable=False),
    )

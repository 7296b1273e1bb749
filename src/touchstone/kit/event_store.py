"""The gateway's journal and book-keeping in SQL: SQLite by default, PostgreSQL by DATABASE_URL.

What an order intends is durable before the order leaves (`journal_order` returns after the
commit: SQLite in WAL mode with `synchronous=FULL`, PostgreSQL with its own default). Events are
append-only, which the database itself enforces. Every call is bounded in time and raises only
faults.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import ColumnElement, RowMapping, event, insert, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from lob.errors import ConfigError, Conflict, DeadlineExceeded, Unavailable
from lob.types import OrderType, Side, TimeInForce
from touchstone.kit import event_store_schema as schema
from touchstone.kit.event_store_url import database_url
from touchstone.perps.orders import TERMINAL, Intent, Order, OrderState
from touchstone.perps.positions import Position, combine

ROWS_MAX: Final = 1_000
PAGE_ROWS: Final = 10_000

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One event to append; `payload` holds only what JSON can say (decimals as strings)."""

    type: str
    symbol: str | None = None
    client_order_id: str | None = None
    ts_event_ns: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One trade of one order, as the venue names it; `quantity` in coins."""

    venue_order_id: str
    trade_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    liquidity: str = ""
    ts_event_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Watermark:
    """The highest control generation ever applied to a scope, and the state it had."""

    generation: int
    state: str


def _utc_now() -> datetime:
    return datetime.now(UTC)


class EventStore:
    """Append events, keep orders and position deltas, remember control watermarks.

    Use it as an async context manager: entering creates the schema where it is missing and raises
    `Unavailable` when the database cannot be reached.
    """

    def __init__(
        self,
        url: URL,
        *,
        bot_id: str,
        deadline_seconds: float = 2.0,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.bot_id = bot_id
        self.shown_url = url.render_as_string(hide_password=True)
        self._deadline_seconds = deadline_seconds
        self._now = now
        self._engine = _create_engine(url, deadline_seconds)

    async def __aenter__(self) -> Self:
        try:
            await self._bounded("open", self._create_schema, seconds=4 * self._deadline_seconds)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, within the deadline."""
        with contextlib.suppress(TimeoutError, SQLAlchemyError, OSError):
            async with asyncio.timeout(self._deadline_seconds):
                await self._engine.dispose()

    async def check(self) -> str:
        """Return a readiness detail; raise a fault when the database does not answer."""

        async def ask(connection: AsyncConnection) -> None:
            await connection.execute(select(schema.schema_versions.c.version).limit(1))

        await self._bounded("check", ask)
        return self._engine.dialect.name

    async def append(self, *records: Record) -> None:
        """Append events, all or none."""

        async def write(connection: AsyncConnection) -> None:
            await self._append(connection, records)

        await self._bounded("append", write)

    async def journal_order(self, order: Order, record: Record) -> None:
        """Store a new order and its event durably; it may leave only after this returned.

        Raises:
            Conflict: the client order id is already in the journal.
        """

        async def write(connection: AsyncConnection) -> None:
            await connection.execute(insert(schema.orders).values(**self._order_row(order)))
            await self._append(connection, (record,))

        await self._bounded("journal_order", write)

    async def save_order(self, order: Order, *records: Record) -> None:
        """Store the present state of a journaled order together with the events behind it."""

        async def write(connection: AsyncConnection) -> None:
            await self._update_order(connection, order)
            await self._append(connection, records)

        await self._bounded("save_order", write)

    async def book_fill(self, fill: Fill, order: Order, delta: Position, record: Record) -> None:
        """Store a fill, the position delta it made and the order, in one transaction.

        Raises:
            Conflict: this fill is booked already; nothing is changed.
        """

        async def write(connection: AsyncConnection) -> None:
            now = self._now()
            await connection.execute(
                insert(schema.fills).values(
                    venue_order_id=fill.venue_order_id,
                    trade_id=fill.trade_id,
                    client_order_id=fill.client_order_id,
                    symbol=fill.symbol,
                    side=fill.side.value,
                    quantity=fill.quantity,
                    price=fill.price,
                    fee=fill.fee,
                    liquidity=fill.liquidity,
                    ts_event_ns=fill.ts_event_ns,
                    timestamp=now,
                ),
            )
            await self._insert_delta(connection, delta, "fill", now)
            await self._update_order(connection, order)
            await self._append(connection, (record,))

        await self._bounded("book_fill", write)

    async def adjust_position(self, delta: Position, cause: str, record: Record) -> None:
        """Store a position delta that no fill of ours explains (adopted from the venue)."""

        async def write(connection: AsyncConnection) -> None:
            await self._insert_delta(connection, delta, cause, self._now())
            await self._append(connection, (record,))

        await self._bounded("adjust_position", write)

    async def load_orders(
        self,
        *,
        working_only: bool = False,
        status: str | None = None,
        symbol: str | None = None,
        limit: int = ROWS_MAX,
    ) -> list[Order]:
        """Return orders, newest first; `working_only` returns all that are not over."""
        table = schema.orders
        query = select(table).order_by(table.c.created_ns.desc())
        conditions: list[ColumnElement[bool]] = []
        if working_only:
            conditions.append(table.c.status.not_in([state.value for state in TERMINAL]))
        else:
            query = query.limit(limit)
        if status is not None:
            conditions.append(table.c.status == status)
        if symbol is not None:
            conditions.append(table.c.symbol == symbol)
        rows = await self._rows("load_orders", query.where(*conditions))
        return [_order_from_row(row) for row in rows]

    async def load_order(self, client_order_id: str) -> Order | None:
        """Return one order, None when the journal has none of that id."""
        table = schema.orders
        rows = await self._rows(
            "load_order",
            select(table).where(table.c.client_order_id == client_order_id),
        )
        return _order_from_row(rows[0]) if rows else None

    async def load_fill_ids(self, venue_order_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return `(venue_order_id, trade_id)` of the fills booked for these orders."""
        table = schema.fills
        rows = await self._rows(
            "load_fill_ids",
            select(table.c.venue_order_id, table.c.trade_id).where(
                table.c.venue_order_id.in_(venue_order_ids),
            ),
        )
        return {(row["venue_order_id"], row["trade_id"]) for row in rows}

    async def load_positions(self) -> dict[str, Position]:
        """Return every symbol's position: the sum of its deltas, added up exactly."""
        found: dict[str, Position] = {}
        table = schema.positions
        names = ("quantity", "cost", "realized_pnl", "fees", "funding_paid")
        # Page by page: the journal grows for ever, and each call has the same short deadline.
        page = select(table).order_by(table.c.sequence).limit(PAGE_ROWS)
        rows = await self._rows("load_positions", page)
        while rows:
            for row in rows:
                symbol = row["symbol"]
                delta = Position(symbol=symbol, **{name: row[name] for name in names})
                found[symbol] = combine(found.get(symbol, Position(symbol=symbol)), delta)
            after = rows[-1]["sequence"]
            rows = await self._rows("load_positions", page.where(table.c.sequence > after))
        return found

    async def load_events(
        self,
        *,
        after: int = 0,
        limit: int = 100,
        event_type: str | None = None,
        client_order_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return events with a sequence above `after`, oldest first."""
        table = schema.events
        query = select(table).where(table.c.sequence > after)
        if event_type is not None:
            query = query.where(table.c.type == event_type)
        if client_order_id is not None:
            query = query.where(table.c.client_order_id == client_order_id)
        query = query.order_by(table.c.sequence).limit(min(limit, ROWS_MAX))
        return [dict(row) for row in await self._rows("load_events", query)]

    async def load_watermark(self, scope: str) -> Watermark | None:
        """Return the watermark of a control scope, None when none was ever applied."""
        table = schema.control_watermarks
        rows = await self._rows("load_watermark", select(table).where(table.c.scope == scope))
        return Watermark(rows[0]["generation"], rows[0]["state"]) if rows else None

    async def raise_watermark(self, scope: str, mark: Watermark) -> None:
        """Store a watermark; one that is not above the stored one changes nothing."""
        table = schema.control_watermarks
        values = {"generation": mark.generation, "state": mark.state}

        async def write(connection: AsyncConnection) -> None:
            found = await connection.execute(
                select(table.c.generation).where(table.c.scope == scope),
            )
            present = found.scalar_one_or_none()
            row = {**values, "updated_at": self._now()}
            if present is None:
                await connection.execute(insert(table).values(scope=scope, **row))
            elif present < mark.generation:
                await connection.execute(update(table).where(table.c.scope == scope).values(**row))

        await self._bounded("raise_watermark", write)

    async def _create_schema(self, connection: AsyncConnection) -> None:
        await connection.run_sync(schema.metadata.create_all)
        table = schema.schema_versions
        found = (await connection.execute(select(table.c.version))).scalars().all()
        if not found:
            row = {"version": schema.SCHEMA_VERSION, "applied_at": self._now()}
            await connection.execute(insert(table).values(**row))
        elif max(found) != schema.SCHEMA_VERSION:
            raise ConfigError(
                f"event store {self.shown_url}: schema version {max(found)}; "
                f"this build reads version {schema.SCHEMA_VERSION}",
            )

    async def _append(self, connection: AsyncConnection, records: Sequence[Record]) -> None:
        rows = [
            {
                "bot_id": self.bot_id,
                "ts_event_ns": record.ts_event_ns,
                "recorded_at": self._now(),
                "type": record.type,
                "symbol": record.symbol,
                "client_order_id": record.client_order_id,
                "payload": dict(record.payload),
            }
            for record in records
        ]
        if rows:
            await connection.execute(insert(schema.events), rows)

    async def _insert_delta(
        self, connection: AsyncConnection, delta: Position, cause: str, now: datetime
    ) -> None:
        await connection.execute(
            insert(schema.positions).values(
                bot_id=self.bot_id,
                symbol=delta.symbol,
                cause=cause,
                quantity=delta.quantity,
                cost=delta.cost,
                realized_pnl=delta.realized_pnl,
                fees=delta.fees,
                funding_paid=delta.funding_paid,
                timestamp=now,
            ),
        )

    async def _update_order(self, connection: AsyncConnection, order: Order) -> None:
        table = schema.orders
        row = self._order_row(order)
        key = row.pop("client_order_id")
        await connection.execute(update(table).where(table.c.client_order_id == key).values(**row))

    def _order_row(self, order: Order) -> dict[str, Any]:
        intent = order.intent
        return {
            "client_order_id": intent.client_order_id,
            "bot_id": self.bot_id,
            "venue_order_id": order.venue_order_id,
            "symbol": intent.symbol,
            "side": intent.side.value,
            "type": intent.order_type.value,
            "time_in_force": intent.time_in_force.value,
            "quantity": intent.quantity,
            "limit_price": intent.limit_price,
            "post_only": intent.post_only,
            "reduce_only": intent.reduce_only,
            "filled_quantity": order.filled_quantity,
            "filled_value": order.filled_value,
            "fees": order.fees,
            "status": order.state.value,
            "reason": order.reason,
            "cancel_wanted": order.cancel_wanted,
            "created_ns": order.created_ns,
            "updated_ns": order.updated_ns,
            "timestamp": datetime.fromtimestamp(order.created_ns / 1e9, UTC),
        }

    async def _rows(self, what: str, query: Any) -> Sequence[RowMapping]:
        async def read(connection: AsyncConnection) -> Sequence[RowMapping]:
            return (await connection.execute(query)).mappings().all()

        return await self._bounded(what, read)

    async def _bounded(
        self,
        what: str,
        run: Callable[[AsyncConnection], Awaitable[ResultT]],
        *,
        seconds: float | None = None,
    ) -> ResultT:
        """Run one transaction within the deadline; turn whatever goes wrong into a fault."""
        limit = seconds or self._deadline_seconds
        try:
            async with asyncio.timeout(limit), self._engine.begin() as connection:
                return await run(connection)
        except TimeoutError:
            raise DeadlineExceeded(
                f"event store: {what}: no answer within {limit:g} s",
            ) from None
        except IntegrityError as error:
            raise Conflict(f"event store: {what}: {error.orig}") from None
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise Unavailable(f"event store {self.shown_url}: {what}: {cause}") from None


def _create_engine(url: URL, deadline_seconds: float) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url,
            poolclass=AsyncAdaptedQueuePool,
            # SQLite has one writer: a second connection would only wait for the first.
            pool_size=1,
            max_overflow=0,
            pool_timeout=deadline_seconds,
            # Half: a lock is to be reported by SQLite itself before the deadline cuts the call.
            connect_args={"timeout": deadline_seconds / 2},
        )
        event.listen(engine.sync_engine, "connect", _configure_sqlite)
        return engine
    return create_async_engine(
        url,
        pool_size=5,
        max_overflow=0,
        pool_timeout=deadline_seconds,
        # A connection that died with the server is replaced before it is used.
        pool_pre_ping=True,
        connect_args={
            "timeout": deadline_seconds,
            "command_timeout": deadline_seconds,
            "server_settings": {"application_name": "touchstone", "timezone": "UTC"},
        },
    )


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: a commit survives the machine's crash, not only the process's.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _order_from_row(row: RowMapping) -> Order:
    return Order(
        intent=Intent(
            client_order_id=row["client_order_id"],
            symbol=row["symbol"],
            side=Side(row["side"]),
            quantity=row["quantity"],
            order_type=OrderType(row["type"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            limit_price=row["limit_price"],
            post_only=row["post_only"],
            reduce_only=row["reduce_only"],
        ),
        state=OrderState(row["status"]),
        venue_order_id=row["venue_order_id"],
        filled_quantity=row["filled_quantity"],
        filled_value=row["filled_value"],
        fees=row["fees"],
        reason=row["reason"],
        cancel_wanted=row["cancel_wanted"],
        created_ns=row["created_ns"],
        updated_ns=row["updated_ns"],
    )


@contextlib.asynccontextmanager
async def open_event_store(
    text: str | None, data_dir: Path, *, bot_id: str, deadline_seconds: float
) -> AsyncIterator[EventStore]:
    """Open the store that DATABASE_URL names, else `<data_dir>/gateway/events.db`."""
    path = data_dir / "gateway" / "events.db"
    url = database_url(text, path)
    if not text:
        path.parent.mkdir(parents=True, exist_ok=True)
    async with EventStore(url, bot_id=bot_id, deadline_seconds=deadline_seconds) as store:
        yield store

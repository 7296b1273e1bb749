"""The gateway's book-keeping in SQL: SQLite by default, PostgreSQL by DATABASE_URL.

It is written behind the journal, entry by entry and each once: every batch is one transaction with
its place in the journal. Events are append-only, which the database itself enforces. Every call is
bounded in time, raises only faults, and reads and writes what is of its own bot.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Engine, QueuePool, RowMapping, create_engine, event, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from lob.errors import ConfigError, Conflict, DeadlineExceeded, Unavailable
from lob.types import Side
from touchstone.kit import event_store_schema as schema
from touchstone.kit import migrations
from touchstone.kit.event_store_url import database_url
from touchstone.kit.event_store_writer import Batch, Batcher, write
from touchstone.kit.ledger_entries import DailyMetrics, Fill, Record, Watermark, order_from
from touchstone.perps.orders import Order
from touchstone.perps.positions import Position

__all__ = ["EventStore", "Fill", "Record", "Watermark", "open_event_store"]

ROWS_MAX: Final = 1_000
PAGE_ROWS: Final = 10_000
IDS_MAX: Final = 500
MIGRATION_SECONDS_MAX: Final = 600.0
WRITE_DEADLINES: Final = 5
"""A batch may take that many times the deadline of a question."""

ResultT = TypeVar("ResultT")


class EventStore:
    """Write entries behind the journal; read orders, fills, positions and events.

    Use it as an async context manager: entering brings the schema up to date and raises
    `Unavailable` when the database cannot be reached.
    """

    def __init__(
        self,
        url: URL,
        *,
        bot_id: str,
        deadline_seconds: float = 2.0,
        migrate: bool = True,
    ) -> None:
        """Name the store; without `migrate` it must have the newest schema already."""
        self.bot_id = bot_id
        self.shown_url = url.render_as_string(hide_password=True)
        self._url = url
        self._migrates = migrate
        self._deadline_seconds = deadline_seconds
        self._engine = _create_engine(url, deadline_seconds)
        self._writing = _create_writing_engine(url, deadline_seconds)

    async def __aenter__(self) -> Self:
        try:
            # First whether there is a database at all, which shows soon.
            await self._bounded("open", _ask_nothing, seconds=4 * self._deadline_seconds)
            if self._migrates:
                await self._faults("migrate", self._migrate, MIGRATION_SECONDS_MAX)
            else:
                await self._bounded("schema", self._require_newest)
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
                if self._writing is not None:
                    self._writing.dispose()
                await self._engine.dispose()

    async def check(self) -> str:
        """Return a readiness detail; raise a fault when the database does not answer."""

        async def ask(connection: AsyncConnection) -> None:
            await connection.execute(select(schema.journal_places.c.last_number).limit(1))

        await self._bounded("check", ask)
        return self._engine.dialect.name

    async def place(self, journal_id: str) -> int | None:
        """Return the number of the last entry of a journal that is here, None for none at all."""
        return (await self.places()).get(journal_id)

    async def places(self) -> dict[str, int]:
        """Return the place in each journal of this bot that was ever followed, the latest last."""
        table = schema.journal_places
        query = select(table).where(table.c.bot_id == self.bot_id).order_by(table.c.updated_at)
        rows = await self.rows("places", query)
        return {row["journal_id"]: int(row["last_number"]) for row in rows}

    async def checkpoint(self) -> None:
        """Have the disk know what was written; PostgreSQL does so with each commit."""
        if self._engine.dialect.name == "sqlite":

            async def run(connection: AsyncConnection) -> None:
                await connection.execute(text("PRAGMA wal_checkpoint(PASSIVE)"))

            await self._bounded("checkpoint", run)

    async def batcher(self, journal_id: str) -> Batcher:
        """Return what turns this journal's next entries into rows for this database."""
        place = await self.place(journal_id)
        totals = await self.load_positions()
        return Batcher(self.bot_id, journal_id, place, totals, self._engine.dialect.name)

    async def write(self, batch: Batch) -> None:
        """Store a batch and its place in the journal, all or nothing.

        Raises:
            Conflict: the journal's place here is not the one that the batch goes on from.
        """
        seconds = WRITE_DEADLINES * self._deadline_seconds
        writing = self._writing
        if writing is None:

            async def run(connection: AsyncConnection) -> None:
                await connection.run_sync(write, batch)

            await self._bounded("write", run, seconds=seconds)
            return

        def in_a_thread() -> None:
            with writing.begin() as connection:
                write(connection, batch)

        # One change of threads for the whole transaction instead of some for each statement.
        await self._faults("write", lambda: asyncio.to_thread(in_a_thread), seconds)

    async def load_orders(
        self,
        *,
        not_done: bool = False,
        status: str | None = None,
        symbol: str | None = None,
        limit: int = ROWS_MAX,
    ) -> list[Order]:
        """Return orders, newest first; `not_done` returns all of which something is left to do."""
        table = schema.orders
        query = select(table.c.document).where(table.c.bot_id == self.bot_id)
        if not_done:
            query = query.where(~table.c.done)
        else:
            query = query.order_by(table.c.created_ns.desc()).limit(limit)
        if status is not None:
            query = query.where(table.c.status == status)
        if symbol is not None:
            query = query.where(table.c.symbol == symbol)
        return [order_from(row["document"]) for row in await self.rows("load_orders", query)]

    async def load_last_changed(self, limit: int) -> list[Order]:
        """Return the orders that are over and changed last, the last first."""
        table = schema.orders
        query = select(table.c.document).where(table.c.bot_id == self.bot_id, table.c.done)
        query = query.order_by(table.c.updated_ns.desc()).limit(limit)
        return [order_from(row["document"]) for row in await self.rows("last_changed", query)]

    async def load_order(self, client_order_id: str) -> Order | None:
        """Return one order, None when there is none of that id."""
        table = schema.orders
        query = select(table.c.document).where(
            table.c.bot_id == self.bot_id, table.c.client_order_id == client_order_id
        )
        rows = await self.rows("load_order", query)
        return order_from(rows[0]["document"]) if rows else None

    async def load_ids(self) -> AsyncIterator[str]:
        """Yield every client order id that was ever used, page by page."""
        column = schema.orders.c.client_order_id
        query = select(column).where(schema.orders.c.bot_id == self.bot_id)
        query = query.order_by(column).limit(PAGE_ROWS)
        rows = await self.rows("load_ids", query)
        while rows:
            for row in rows:
                yield row["client_order_id"]
            rows = await self.rows("load_ids", query.where(column > rows[-1]["client_order_id"]))

    async def load_fill_ids(self, venue_order_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return `(venue_order_id, trade_id)` of the fills booked for these orders."""
        table = schema.fills
        query = select(table.c.venue_order_id, table.c.trade_id)
        query = query.where(table.c.bot_id == self.bot_id)
        found: set[tuple[str, str]] = set()
        for place in range(0, len(venue_order_ids), IDS_MAX):
            some = venue_order_ids[place : place + IDS_MAX]
            rows = await self.rows("fill_ids", query.where(table.c.venue_order_id.in_(some)))
            found.update((row["venue_order_id"], row["trade_id"]) for row in rows)
        return found

    async def load_fills(
        self, symbol: str | None = None, *, since_ns: int = 0, limit: int = ROWS_MAX
    ) -> list[Fill]:
        """Return fills of the venue's time `since_ns` or later, in the order they were booked."""
        table = schema.fills
        query = select(table).where(table.c.bot_id == self.bot_id, table.c.ts_event_ns >= since_ns)
        if symbol is not None:
            query = query.where(table.c.symbol == symbol)
        rows = await self.rows("load_fills", query.order_by(table.c.sequence).limit(limit))
        names = [item.name for item in fields(Fill) if item.name != "side"]
        return [Fill(side=Side(row["side"]), **{n: row[n] for n in names}) for row in rows]

    async def load_positions(self) -> dict[str, Position]:
        """Return every symbol's position: the sum of its deltas."""
        table = schema.position_totals
        rows = await self.rows("positions", select(table).where(table.c.bot_id == self.bot_id))
        names = [item.name for item in fields(Position)]
        return {row["symbol"]: Position(**{name: row[name] for name in names}) for row in rows}

    async def load_funding_times(self) -> set[tuple[str, int]]:
        """Return `(symbol, funding_time_ns)` of every funding payment that is booked."""
        table = schema.funding_payments
        query = select(table.c.symbol, table.c.funding_time_ns)
        rows = await self.rows("funding", query.where(table.c.bot_id == self.bot_id))
        return {(row["symbol"], row["funding_time_ns"]) for row in rows}

    async def load_days(self) -> list[DailyMetrics]:
        """Return the figures of every day, in order."""
        table = schema.daily_metrics
        query = select(table).where(table.c.bot_id == self.bot_id).order_by(table.c.day)
        names = [item.name for item in fields(DailyMetrics)]
        rows = await self.rows("days", query)
        return [DailyMetrics(**{name: row[name] for name in names}) for row in rows]

    async def load_watermarks(self) -> dict[str, Watermark]:
        """Return the watermark of each control scope that ever had one."""
        table = schema.control_watermarks
        rows = await self.rows("watermarks", select(table).where(table.c.bot_id == self.bot_id))
        return {row["scope"]: Watermark(row["generation"], row["state"]) for row in rows}

    async def load_events(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int = 100,
        event_type: str | None = None,
        client_order_id: str | None = None,
        newest_first: bool = False,
    ) -> list[dict[str, Any]]:
        """Return events with a sequence between `after` and `before`, both left out."""
        table = schema.events
        query = select(table).where(table.c.bot_id == self.bot_id, table.c.sequence > after)
        if before is not None:
            query = query.where(table.c.sequence < before)
        if event_type is not None:
            query = query.where(table.c.type == event_type)
        if client_order_id is not None:
            query = query.where(table.c.client_order_id == client_order_id)
        order = table.c.sequence.desc() if newest_first else table.c.sequence
        query = query.order_by(order).limit(min(limit, ROWS_MAX))
        return [dict(row) for row in await self.rows("load_events", query)]

    async def _require_newest(self, connection: AsyncConnection) -> None:
        found = await connection.run_sync(migrations.current)
        if found != migrations.NEWEST:
            raise ConfigError(
                f"event store {self.shown_url}: schema {found or 'none'}, and this reads "
                f"{migrations.NEWEST}: start the gateway, or python -m touchstone.kit.migrations up"
            )

    async def _migrate(self) -> None:
        """Bring the schema up to date: at most for as long as rewriting a large one takes."""
        async with migrating(self._url) as connection:
            await connection.run_sync(migrations.upgrade)

    async def rows(self, what: str, query: Any) -> Sequence[RowMapping]:
        """Return what a query of the schema's tables finds, within the deadline."""

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
        """Run one transaction within the deadline; raise only faults."""

        async def transact() -> ResultT:
            async with self._engine.begin() as connection:
                return await run(connection)

        return await self._faults(what, transact, seconds or self._deadline_seconds)

    async def _faults(
        self, what: str, run: Callable[[], Awaitable[ResultT]], seconds: float
    ) -> ResultT:
        """Run within so many seconds; turn whatever goes wrong into a fault."""
        try:
            async with asyncio.timeout(seconds):
                return await run()
        except TimeoutError:
            raise DeadlineExceeded(
                f"event store: {what}: no answer within {seconds:g} s",
            ) from None
        except IntegrityError as error:
            raise Conflict(f"event store: {what}: {error.orig}") from None
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise Unavailable(f"event store {self.shown_url}: {what}: {cause}") from None


async def _ask_nothing(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT 1"))


@contextlib.asynccontextmanager
async def migrating(url: URL) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction of its own, which may take its time."""
    engine = _create_engine(url, MIGRATION_SECONDS_MAX, connect_seconds=5)
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


def _create_engine(
    url: URL, deadline_seconds: float, *, connect_seconds: float | None = None
) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(
            url,
            poolclass=AsyncAdaptedQueuePool,
            pool_size=2,
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
            "timeout": connect_seconds or deadline_seconds,
            "command_timeout": deadline_seconds,
            "server_settings": {"application_name": "touchstone", "timezone": "UTC"},
        },
    )


def _create_writing_engine(url: URL, deadline_seconds: float) -> Engine | None:
    """Return what writes SQLite from a thread; None for a server, which is written like read."""
    if url.get_backend_name() != "sqlite":
        return None
    engine = create_engine(
        url.set(drivername="sqlite"),
        poolclass=QueuePool,
        # A write whose deadline has passed may still have the other.
        pool_size=2,
        max_overflow=0,
        pool_timeout=deadline_seconds,
        connect_args={"timeout": deadline_seconds / 2, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # A power cut may take the last commits, and with them their place in the journal, which has
    # them still: files of it are removed only after a checkpoint.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


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

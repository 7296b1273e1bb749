"""SQL as the books see it: entries in order, each once, durable with their place; or it is away.

Stands for `EventStore`; that a real database does the same is tested against real ones elsewhere.
The projector that fills it, and the start that reads it, are the gateway's own.
"""

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lob.errors import Conflict, DeadlineExceeded, Unavailable
from touchstone.kit.ledger_entries import Entry, Watermark
from touchstone.perps.orders import Order
from touchstone.perps.positions import Position

BOT: Final = "simulated"


@dataclass
class Tables:
    """What is committed."""

    places: dict[str, int] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    fills: dict[tuple[str, str], None] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    watermarks: dict[str, Watermark] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Do with one entry what its rows do."""
        self.entries.append(entry)
        if entry.order is not None:
            self.orders[entry.order.intent.client_order_id] = entry.order
        if entry.fill is not None:
            key = (entry.fill.venue_order_id, entry.fill.trade_id)
            if key in self.fills:
                raise Conflict(f"fills: {key}: there already")
            self.fills[key] = None
        if entry.position is not None:
            self.positions[entry.position.symbol] = entry.position
        if entry.watermark is not None:
            scope, mark = entry.watermark
            self.watermarks[scope] = mark


@dataclass
class Batch:
    """Entries to commit together, after the place `after`."""

    after: int | None
    last_number: int = -1
    entries: list[Entry] = field(default_factory=list)


class Batcher:
    """Stands for the real one: keep entries instead of making rows."""

    def __init__(self, place: int | None) -> None:
        self.place = place

    def begin(self) -> Batch:
        """Return an empty batch."""
        return Batch(self.place)

    def add(self, batch: Batch, number: int, entry: Entry) -> None:
        """Add an entry."""
        batch.last_number = number
        batch.entries.append(entry)

    def ending(self, batch: Batch) -> Iterator[None]:
        """End the batch, with a pause in between."""
        yield
        self.place = batch.last_number


class Database:
    """The server: what it holds outlives every process; `backup` is what it held once."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.backup: Tables | None = None
        self.away = False

    def back_up(self) -> None:
        """Remember the present."""
        self.backup = copy.copy(self.tables)
        for name in ("places", "orders", "fills", "positions", "watermarks"):
            setattr(self.backup, name, dict(getattr(self.tables, name)))
        self.backup.entries = list(self.tables.entries)

    def restore(self) -> None:
        """Go back to what was remembered."""
        if self.backup is not None:
            self.tables, self.backup = self.backup, None


class SimulatedStore:
    """One process's connection to the database."""

    bot_id = BOT

    def __init__(self, database: Database, rng: random.Random, alive: Callable[[], bool]) -> None:
        self._database = database
        self._rng = rng
        self._alive = alive
        self._journal_id = ""

    async def _reach(self) -> Tables:
        if self._database.away:
            await asyncio.sleep(self._rng.uniform(0.001, 0.3))
            raise Unavailable("event store: away")
        await asyncio.sleep(self._rng.uniform(0.0003, 0.004))
        return self._database.tables

    async def places(self) -> dict[str, int]:
        """Return the place in each journal."""
        return dict((await self._reach()).places)

    async def checkpoint(self) -> None:
        """Do nothing: what is committed is durable."""

    async def batcher(self, journal_id: str) -> Batcher:
        """Return what gathers entries."""
        self._journal_id = journal_id
        return Batcher((await self._reach()).places.get(journal_id))

    async def write(self, batch: Batch) -> None:
        """Commit a batch; the answer may be lost."""
        tables = await self._reach()
        if not self._alive():
            return
        if tables.places.get(self._journal_id) != batch.after:
            raise Conflict("event store: the place is not the one that the batch goes on from")
        for entry in batch.entries:
            tables.take(entry)
        tables.places[self._journal_id] = batch.last_number
        if self._rng.random() < 0.02:
            raise DeadlineExceeded("event store: write: no answer")
        await asyncio.sleep(self._rng.uniform(0, 0.003))

    async def load_last_changed(self, limit: int) -> list[Order]:
        """Return the orders that are over, the last changed first."""
        found = [order for order in (await self._reach()).orders.values() if order.is_done]
        return sorted(found, key=lambda order: order.updated_ns, reverse=True)[:limit]

    async def load_orders(
        self,
        *,
        not_done: bool = False,
        status: str | None = None,
        symbol: str | None = None,
        limit: int = 1_000,
    ) -> list[Order]:
        """Return orders, newest first."""
        found = [
            order
            for order in (await self._reach()).orders.values()
            if not (not_done and order.is_done)
            and status in (None, order.state.value)
            and symbol in (None, order.intent.symbol)
        ]
        return sorted(found, key=lambda order: order.created_ns, reverse=True)[:limit]

    async def load_order(self, client_order_id: str) -> Order | None:
        """Return one order."""
        return (await self._reach()).orders.get(client_order_id)

    async def load_ids(self) -> AsyncIterator[str]:
        """Yield every client id."""
        for key in list((await self._reach()).orders):
            yield key

    async def load_fill_ids(self, venue_order_ids: Sequence[str]) -> set[tuple[str, str]]:
        """Return which fills of these orders are booked."""
        wanted = set(venue_order_ids)
        return {key for key in (await self._reach()).fills if key[0] in wanted}

    async def load_positions(self) -> dict[str, Position]:
        """Return the positions."""
        return dict((await self._reach()).positions)

    async def load_funding_times(self) -> set[tuple[str, int]]:
        """Return nothing: no funding is simulated."""
        await self._reach()
        return set()

    async def load_watermarks(self) -> dict[str, Watermark]:
        """Return the watermarks."""
        return dict((await self._reach()).watermarks)

"""Write journal entries into SQL: one transaction for a batch and its place in the journal.

Entries say what stands after them, so that a batch needs the last word on each order only. Rows
are handed to the driver as it wants them, with statements compiled once: what a service of a
thousand orders a second spends here, it does not have for its orders.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Table, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg

from lob.errors import Conflict, InvariantViolation
from touchstone.kit import event_store_schema as schema
from touchstone.kit.ledger_entries import DailyMetrics, Entry, Fill, FundingPayment, encode_order
from touchstone.perps.orders import Order
from touchstone.perps.positions import Position, difference

Row = tuple[Any, ...]

SLICE_ORDERS: Final = 20
"""How many orders `ending` does in one go."""

_POSITION: Final = ("quantity", "cost", "realized_pnl", "fees", "funding_paid")
_FUNDING: Final = tuple(item.name for item in fields(FundingPayment))
_DAY: Final = tuple(item.name for item in fields(DailyMetrics))

_REPLACED: Final = frozenset(
    {
        schema.orders,
        schema.position_totals,
        schema.daily_metrics,
        schema.control_watermarks,
    }
)
"""Tables whose rows are replaced by later ones of the same key."""

_ONCE: Final = frozenset({schema.fills, schema.funding_payments})
"""Tables where the first row of a key stays: it was booked before."""

_payload_json: Final = msgspec.json.Encoder(decimal_format="string").encode


@dataclass(slots=True)
class Batch:
    """Entries turned into rows; `after` is the number of the last entry before them."""

    bot_id: str
    journal_id: str
    after: int | None
    last_number: int = -1
    rows: dict[Table, list[Row]] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    moved: dict[str, Any] = field(default_factory=dict)
    """By symbol, when its position changed last."""


class Batcher:
    """Turn entries into rows for one kind of database, in the order they came."""

    def __init__(
        self,
        bot_id: str,
        journal_id: str,
        place: int | None,
        totals: Mapping[str, Position],
        dialect: str,
    ) -> None:
        """Begin after the entry `place`, with the positions that SQL has (`totals`)."""
        self.place = place
        self._bot_id = bot_id
        self._journal_id = journal_id
        self._totals = dict(totals)
        self._as_text = dialect == "sqlite"
        self._decimal: Callable[[Decimal | None], Any] = _text if self._as_text else _same

    def begin(self) -> Batch:
        """Return an empty batch, to follow what was ended last."""
        return Batch(self._bot_id, self._journal_id, self.place)

    def add(self, batch: Batch, number: int, entry: Entry) -> None:
        """Add an entry's rows. O(1)."""
        moment = self._moment(entry.at_ns)
        batch.last_number = number
        self._add_records(batch, entry, moment)
        if entry.order is not None:
            batch.orders[entry.order.intent.client_order_id] = entry.order
        if entry.fill is not None:
            self._add(batch, schema.fills, *self._fill(entry.fill), moment)
        if entry.position is not None:
            self._add_position(batch, entry.position, entry, moment)
            batch.moved[entry.position.symbol] = moment
        self._add_rarer(batch, entry, moment)

    def end(self, batch: Batch) -> Batch:
        """Return the batch with the last word on each order and position."""
        for _ in self.ending(batch):
            pass
        return batch

    def ending(self, batch: Batch) -> Iterator[None]:
        """End a batch bit by bit, for who has more urgent things to do in between."""
        for symbol, moment in batch.moved.items():
            values = self._values(self._totals[symbol], _POSITION)
            self._add(batch, schema.position_totals, symbol, *values, moment)
        rows = batch.rows.setdefault(schema.orders, [])
        for order in batch.orders.values():
            rows.append(self._order_row(order))
            if len(rows) % SLICE_ORDERS == 0:
                yield
        self.place = batch.last_number

    def _add(self, made: Batch, table: Table, *values: Any) -> None:
        made.rows.setdefault(table, []).append((self._bot_id, *values))

    def _add_records(self, made: Batch, entry: Entry, moment: Any) -> None:
        rows = made.rows.setdefault(schema.events, [])
        for record in entry.records:
            payload = _payload_json(record.payload).decode()
            named = (record.type, record.symbol, record.client_order_id)
            rows.append((self._bot_id, record.ts_event_ns, moment, *named, payload))

    def _add_position(self, made: Batch, after: Position, entry: Entry, moment: Any) -> None:
        """Add the delta from what SQL has, so that the sum is right whatever was lost between."""
        before = self._totals.get(after.symbol) or Position(symbol=after.symbol)
        values = self._values(difference(after, before), _POSITION)
        ts_event_ns = entry.records[0].ts_event_ns if entry.records else None
        row = (after.symbol, entry.cause, *values, ts_event_ns, moment)
        self._add(made, schema.positions, *row)
        self._totals[after.symbol] = after

    def _add_rarer(self, made: Batch, entry: Entry, moment: Any) -> None:
        if entry.funding is not None:
            values = self._values(entry.funding, _FUNDING)
            self._add(made, schema.funding_payments, *values, moment)
        if entry.day is not None:
            self._add(made, schema.daily_metrics, *self._values(entry.day, _DAY), moment)
        if entry.watermark is not None:
            scope, mark = entry.watermark
            row = (scope, mark.generation, mark.state, moment)
            self._add(made, schema.control_watermarks, *row)

    def _fill(self, fill: Fill) -> Row:
        number = self._decimal
        return (
            fill.venue_order_id,
            fill.trade_id,
            fill.client_order_id,
            fill.symbol,
            fill.side.value,
            number(fill.quantity),
            number(fill.price),
            number(fill.fee),
            fill.liquidity[:16],
            fill.ts_event_ns,
        )

    def _values(self, of: Any, names: tuple[str, ...]) -> Row:
        values = [getattr(of, name) for name in names]
        if self._as_text:
            return tuple([format(v, "f") if type(v) is Decimal else v for v in values])
        return tuple(values)

    def _order_row(self, order: Order) -> Row:
        intent, attached, number = order.intent, order.intent.attached, self._decimal
        return (
            self._bot_id,
            intent.client_order_id,
            order.venue_order_id,
            intent.symbol,
            intent.side.value,
            intent.order_type.value,
            intent.time_in_force.value,
            number(intent.quantity),
            number(intent.limit_price),
            number(intent.stop_price),
            intent.post_only,
            intent.reduce_only,
            intent.expires_at_ns,
            number(attached.take_profit_price if attached else None),
            number(attached.stop_price if attached else None),
            # Whole in the document; a name too long for its column must not stop what follows.
            intent.strategy[:64],
            intent.replaces[:128],
            intent.parent[:128],
            number(order.filled_quantity),
            number(order.filled_value),
            number(order.fees),
            order.state.value,
            order.reason,
            order.cancel_wanted,
            order.is_done,
            order.created_ns,
            order.updated_ns,
            self._moment(order.created_ns),
            encode_order(order).decode(),
        )

    def _moment(self, at_ns: int) -> Any:
        seconds, rest_ns = divmod(at_ns, 1_000_000_000)
        if self._as_text:
            return f"{_second_as_text(seconds)}.{rest_ns // 1_000:06d}"
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1_000)


def write(connection: Connection, batch: Batch) -> None:
    """Write a batch in the connection's transaction.

    Raises:
        Conflict: the journal's place in the database is not the one before the batch.
    """
    # First: the row's lock makes a transaction wait that is still under way elsewhere.
    _move_place(connection, batch)
    for table, rows in batch.rows.items():
        if rows:
            connection.exec_driver_sql(_statement(table, connection.dialect.name), rows)


def _move_place(connection: Connection, batch: Batch) -> None:
    table = schema.journal_places
    key = {"bot_id": batch.bot_id, "journal_id": batch.journal_id}
    now = {"last_number": batch.last_number, "updated_at": datetime.now(UTC)}
    if batch.after is None:
        connection.execute(insert(table).values(**key, **now))
        return
    moved = connection.execute(
        update(table).filter_by(**key).where(table.c.last_number == batch.after).values(**now)
    )
    if moved.rowcount != 1:
        raise Conflict(f"event store: entry {batch.after} is not the last one that is here")


@cache
def _statement(table: Table, dialect_name: str) -> str:
    """Return the driver's statement for a row: all columns in order, but for a counted key."""
    names = [column.name for column in table.columns if column.name != "sequence"]
    kind: Any = sqlite if dialect_name == "sqlite" else postgresql
    dialect: Any = sqlite.dialect(paramstyle="qmark") if kind is sqlite else asyncpg.dialect()  # type: ignore[no-untyped-call]
    statement = kind.insert(table).values({name: bindparam(name) for name in names})
    if table in _REPLACED:
        key = [column.name for column in table.primary_key]
        rest = {name: statement.excluded[name] for name in names if name not in key}
        statement = statement.on_conflict_do_update(index_elements=key, set_=rest)
    elif table in _ONCE:
        statement = statement.on_conflict_do_nothing()
    compiled = statement.compile(dialect=dialect)
    if names != compiled.positiontup:
        raise InvariantViolation(f"{table.name}: columns {compiled.positiontup}; rows have {names}")
    return str(compiled)


@lru_cache(maxsize=16)
def _second_as_text(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")


def _same(value: Decimal | None) -> Decimal | None:
    return value

"""Orders and positions in memory, and each change of them in the journal, in one step.

No method here that changes anything awaits: between a change and its entry nothing can come. An
order's intent is on the disk when `kept` returns, and must not leave before; nothing else waits
(what a power cut takes, the next comparison with the venue finds again). Should the journal fail,
then no new order is taken, while what the venue says still counts in memory.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import msgspec
import structlog
from prometheus_client import Counter

from lob.errors import Fault, Unavailable
from services.order_gateway.ledger_parts import (
    Archive,
    EntryLog,
    NotOpen,
    changed,
    plain,
    record_of,
    terms_of,
    terms_of_fill,
)
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.used_ids import UsedIds
from services.order_gateway.venues.base import VenuePosition, VenueReport
from touchstone.kit.journal import JournalFailed
from touchstone.kit.ledger_entries import (
    VERSION,
    DailyMetrics,
    Entry,
    Fill,
    FundingPayment,
    Record,
    Watermark,
)
from touchstone.kit.trace import trace_id
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderState, transition
from touchstone.perps.positions import Position, apply_fill

FINISHED_ORDERS_MAX: Final = 10_000

# Which state counts as which outcome in gateway_orders_total.
OUTCOMES: Final = {
    OrderState.SUBMITTED: "accepted",
    OrderState.UNKNOWN: "unknown",
    OrderState.MISSING: "missing",
    OrderState.FILLED: "filled",
    OrderState.CANCELLED: "cancelled",
    OrderState.EXPIRED: "expired",
    OrderState.REJECTED: "rejected",
    OrderState.REFUSED: "refused",
}

_log = structlog.get_logger("touchstone.gateway.ledger")


class Ledger:
    """Hold what the gateway knows of its orders and positions."""

    def __init__(
        self,
        archive: Archive,
        metrics: GatewayMetrics,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.journal: EntryLog = NotOpen()
        """Where changes go; there is none while a start reads what was."""
        self._archive = archive
        self._metrics = metrics
        self.now_ns = now_ns
        self._working: dict[str, dict[str, Order]] = {}
        self._outstanding: dict[str, Order] = {}
        self._finished: OrderedDict[str, Order] = OrderedDict()
        self._by_venue_id: dict[str, str] = {}
        self._booked: dict[str, set[str]] = {}
        self._funded: dict[str, set[int]] = {}
        self._days: dict[str, DailyMetrics] = {}
        self._used = UsedIds()
        self._counters: dict[tuple[str, str], Counter] = {}
        self.watermarks: dict[str, Watermark] = {}
        self.positions: dict[str, Position] = {}

    # ---------------------------------------------------------------- a start

    def restore(
        self,
        *,
        orders: Iterable[Order] = (),
        positions: Mapping[str, Position] | None = None,
        fills: Iterable[tuple[str, str]] = (),
        funded: Iterable[tuple[str, int]] = (),
        watermarks: Mapping[str, Watermark] | None = None,
        used: Iterable[str] = (),
    ) -> None:
        """Begin with what SQL has: `fills` by venue order id and trade id, `funded` by symbol."""
        self._used = UsedIds(used)
        self.positions = dict(positions or {})
        self.watermarks = dict(watermarks or {})
        for order in orders:
            self._put(order)
        for venue_order_id, trade_id in fills:
            self._booked.setdefault(venue_order_id, set()).add(trade_id)
        for symbol, time_ns in funded:
            self._funded.setdefault(symbol, set()).add(time_ns)

    def replay(self, entry: Entry) -> None:
        """Take in an entry of the journal that SQL did not have; twice is as once."""
        if entry.order is not None:
            self._put(entry.order)
        if entry.fill is not None:
            self._booked.setdefault(entry.fill.venue_order_id, set()).add(entry.fill.trade_id)
        if entry.position is not None:
            self.positions[entry.position.symbol] = entry.position
        if entry.funding is not None:
            paid = entry.funding
            self._funded.setdefault(paid.symbol, set()).add(paid.funding_time_ns)
        if entry.watermark is not None:
            self._raise(*entry.watermark)

    def resume(self) -> None:
        """Say of what was under way at the end of the last run that nobody knows.

        A stop that was not triggered has never left: it waits on.
        """
        for order in self.working():
            if order.state is OrderState.PENDING_SUBMIT:
                waits = order.intent.held_here and not order.sent_ns
                event = OrderEvent.ARMED if waits else OrderEvent.TIMED_OUT
                self.apply(order, (event,), "found in the journal at start")

    # ---------------------------------------------------------------- questions

    @property
    def failure(self) -> str:
        """Return why the journal takes nothing any more; '' while it does."""
        return self.journal.failure

    def get(self, client_order_id: str) -> Order | None:
        """Return an order that is working or finished lately."""
        for symbol_orders in self._working.values():
            if client_order_id in symbol_orders:
                return symbol_orders[client_order_id]
        return self._outstanding.get(client_order_id) or self._finished.get(client_order_id)

    async def lookup(self, client_order_id: str) -> Order | None:
        """Return an order from memory, else from SQL; an id never used asks nobody.

        Raises:
            Fault: the id was used before, and SQL does not answer or does not have it yet.
        """
        order = self.get(client_order_id)
        if order is not None or client_order_id not in self._used:
            return order
        order = await self._archive.load_order(client_order_id)
        if order is None:
            raise Unavailable(
                f"client_order_id: {client_order_id!r}: was used, and its order cannot be read yet"
            )
        return order

    async def orders(
        self, *, status: str | None = None, symbol: str | None = None, limit: int = 100
    ) -> list[Order]:
        """Return orders, newest first: memory's, and older ones where SQL answers."""
        found = {o.intent.client_order_id: o for o in self.in_memory()}
        stored: list[Order] = []
        try:
            stored = await self._archive.load_orders(status=status, symbol=symbol, limit=limit)
        except Fault as fault:
            _log.warning("orders_not_read", why=str(fault))
        for order in stored:
            found.setdefault(order.intent.client_order_id, order)
        wanted = [
            o
            for o in found.values()
            if status in (None, o.state.value) and symbol in (None, o.intent.symbol)
        ]
        return sorted(wanted, key=lambda o: o.created_ns, reverse=True)[:limit]

    def current(self, order: Order) -> Order:
        """Return the order as it stands now."""
        return self.get(order.intent.client_order_id) or order

    def find(self, report: VenueReport) -> Order | None:
        """Return the order that a venue report is about, None when it is not one of ours."""
        return self.find_venue_order(report.venue_order_id) or self.get(report.client_order_id)

    def find_venue_order(self, venue_order_id: str) -> Order | None:
        """Return the order that the venue knows under this id."""
        known = self._by_venue_id.get(venue_order_id)
        return None if known is None else self.get(known)

    def working(self, symbol: str | None = None) -> list[Order]:
        """Return the orders that are not over, of one symbol or of all."""
        if symbol is not None:
            return list(self._working.get(symbol, {}).values())
        return [order for orders in self._working.values() for order in orders.values()]

    def outstanding(self) -> list[Order]:
        """Return the orders that are over while something is left to do: a replacement to send."""
        return list(self._outstanding.values())

    def in_memory(self) -> list[Order]:
        """Return every order that has not left memory, in no order."""
        return [*self.working(), *self._outstanding.values(), *self._finished.values()]

    def known(self, client_order_id: str) -> dict[str, Order]:
        """Return the order of this id as a mapping, empty when there is none."""
        order = self.get(client_order_id)
        return {} if order is None else {client_order_id: order}

    def position(self, symbol: str) -> Position:
        """Return the confirmed position of a symbol."""
        return self.positions.get(symbol) or Position(symbol=symbol)

    def is_booked(self, venue_order_id: str, trade_id: str) -> bool:
        """Return whether a fill is booked."""
        return trade_id in self._booked.get(venue_order_id, ())

    def was_used(self, client_order_id: str) -> bool:
        """Return whether an order of this id was ever taken in."""
        return client_order_id in self._used

    def last_funding_ns(self, symbol: str) -> int | None:
        """Return the newest funding time that is booked for a symbol."""
        return max(self._funded.get(symbol, ()), default=None)

    # ---------------------------------------------------------------- changes

    def place(self, intent: Intent) -> Order:
        """Put a new order in memory and in the journal; it may leave once `kept` returned.

        Raises:
            JournalFailed: it is in neither.
        """
        now = self.now_ns()
        order = Order(intent=intent, created_ns=now, updated_ns=now)
        terms, traced = terms_of(intent), trace_id()
        if traced:
            terms["trace_id"] = traced
        self.journal.append(self._entry(record_of(order, "order_intent", terms), order=order))
        self._put(order)
        return order

    async def kept(self) -> None:
        """Return when everything so far is on the disk.

        Raises:
            JournalFailed: the disk refused it.
        """
        await self.journal.kept()

    def keep(self) -> "asyncio.Future[None]":
        """Begin what `kept` waits for, and return what is done then.

        Raises:
            JournalFailed: as `kept`; later, the future has it.
        """
        return self.journal.keep()

    def change(self, order: Order, **fields: Any) -> Order:
        """Return the order with fields changed; event `order_changed`."""
        order = self.current(order)
        made = changed(order, fields)
        if made == order:
            return order
        payload = msgspec.to_builtins(fields, str_keys=True)
        self._keep(self._entry(record_of(made, "order_changed", payload), order=made))
        return self._put(made)

    def apply(
        self, order: Order, events: Iterable[OrderEvent], reason: str = "", **fields: Any
    ) -> Order:
        """Take events through the state table, and change fields with them, in one entry.

        A transition that the table does not have changes nothing and is reported as a defect.
        """
        reason = plain(reason)
        before = order = self.current(order)
        symbol, state, told = order.intent.symbol, order.state, reason or order.reason
        records = []
        for event in events:
            following = transition(state, event)
            payload = {"from": state.value, "event": event.value, "reason": reason}
            if following is None:
                self._metrics.defects.inc()
                _log.error(
                    "order_defect", client_order_id=order.intent.client_order_id, what=payload
                )
                records.append(record_of(order, "order_defect", payload))
                continue
            if following is not state and following in OUTCOMES:
                self._count(symbol, OUTCOMES[following])
            payload["to"] = following.value
            state = following
            fields |= {"state": state, "reason": told, "updated_ns": self.now_ns()}
            records.append(record_of(order, f"order_{event.value}", payload))
        if fields:
            order = changed(order, fields)
        if records or order != before:
            self._keep(self._entry(*records, order=order))
            self._put(order)
        return order

    def book(self, order: Order, fills: Iterable[Fill]) -> Order:
        """Book the fills that are not booked yet, each once."""
        order = self.current(order)
        for fill in fills:
            booked = self._booked.setdefault(fill.venue_order_id, set())
            if fill.trade_id in booked:
                continue
            position = apply_fill(
                self.position(fill.symbol), fill.side, fill.quantity, fill.price, fill.fee
            )
            order = order.with_fill(fill.quantity, fill.price, fill.fee)
            record = record_of(order, "fill", terms_of_fill(fill), fill.ts_event_ns)
            self._keep(self._entry(record, order=order, fill=fill, position=position, cause="fill"))
            booked.add(fill.trade_id)
            self.positions[fill.symbol] = position
            self._put(order)
        return order

    def book_funding(self, payment: FundingPayment) -> bool:
        """Book a funding payment once; return False where its symbol and time are booked."""
        funded = self._funded.setdefault(payment.symbol, set())
        if payment.funding_time_ns in funded:
            return False
        before = self.position(payment.symbol)
        after = replace(before, funding_paid=before.funding_paid + payment.amount)
        record = Record(
            type="funding",
            symbol=payment.symbol,
            ts_event_ns=payment.funding_time_ns,
            payload=msgspec.to_builtins(payment),
        )
        self._keep(self._entry(record, position=after, cause="funding", funding=payment))
        funded.add(payment.funding_time_ns)
        self.positions[payment.symbol] = after
        return True

    def book_day(self, day: DailyMetrics) -> None:
        """Keep the figures of a day of the venue's clock; later ones of that day replace them."""
        if self._days.get(day.day) == day:
            return
        record = Record(type="daily_metrics", payload=msgspec.to_builtins(day))
        self._keep(self._entry(record, day=day))
        # One is enough to tell a repetition.
        self._days = {day.day: day}

    def adopt_order(self, report: VenueReport, intent: Intent) -> Order:
        """Take in an order that is live at the venue and not in the journal."""
        now = self.now_ns()
        order = Order(
            intent=intent, venue_order_id=report.venue_order_id, created_ns=now, updated_ns=now
        )
        payload = {**terms_of(intent), "venue": report.venue_order_id}
        self._keep(self._entry(record_of(order, "order_adopted", payload), order=order))
        self._put(order)
        self._metrics.reconciliation_differences.labels("order_adopted").inc()
        return self.apply(order, (OrderEvent.RESPONDED,), "adopted from the venue")

    def adopt_position(self, symbol: str, venue: VenuePosition, mark: Decimal | None) -> None:
        """Make the venue's position ours where no fill explains the difference; book it as such."""
        before = self.position(symbol)
        entry_price = venue.entry_price or before.average_entry_price or mark or Decimal(0)
        after = replace(before, quantity=venue.quantity, cost=venue.quantity * entry_price)
        record = Record(
            type="position_adopted",
            symbol=symbol,
            payload={
                "journal_quantity": str(before.quantity),
                "venue_quantity": str(venue.quantity),
                "entry_price": str(entry_price),
            },
        )
        self._keep(self._entry(record, position=after, cause="adopted"))
        self.positions[symbol] = after
        self._metrics.reconciliation_differences.labels("position_adopted").inc()
        _log.warning("position_adopted", symbol=symbol, what=record.payload)

    def note(self, *records: Record) -> None:
        """Append events that change nothing else; a failure is only logged."""
        self._keep(self._entry(*records))

    async def append(self, record: Record) -> None:
        """Append an event.

        Raises:
            JournalFailed: it could not be written.
        """
        self.journal.append(self._entry(record))

    async def raise_watermark(self, scope: str, mark: Watermark) -> None:
        """Make a scope's watermark durable; one that is not above the present changes nothing.

        Raises:
            JournalFailed: it is not on the disk.
        """
        if self._is_above(scope, mark):
            self.journal.append(self._entry(watermark=(scope, mark)))
            self._raise(scope, mark)
        await self.journal.kept()

    # ---------------------------------------------------------------- inside

    def _entry(self, *records: Record, **parts: Any) -> Entry:
        return Entry(version=VERSION, at_ns=self.now_ns(), records=records, **parts)

    def _keep(self, entry: Entry) -> None:
        """Append what has happened whether or not it can be kept."""
        try:
            self.journal.append(entry)
        except JournalFailed as fault:
            names = [record.type for record in entry.records]
            _log.error("not_journaled", events=names, why=str(fault))

    def _count(self, symbol: str, outcome: str) -> None:
        counter = self._counters.get((symbol, outcome))
        if counter is None:
            counter = self._metrics.orders.labels(symbol, outcome)
            self._counters[symbol, outcome] = counter
        counter.inc()

    def _is_above(self, scope: str, mark: Watermark) -> bool:
        present = self.watermarks.get(scope)
        return present is None or mark.generation > present.generation

    def _raise(self, scope: str, mark: Watermark) -> None:
        if self._is_above(scope, mark):
            self.watermarks[scope] = mark

    def _put(self, order: Order) -> Order:
        key = order.intent.client_order_id
        if order.venue_order_id:
            self._by_venue_id[order.venue_order_id] = key
        working = self._working.setdefault(order.intent.symbol, {})
        before = len(working)
        if not order.state.is_terminal:
            if key not in working:
                self._used.add(key)
                self._outstanding.pop(key, None)
                self._finished.pop(key, None)
            working[key] = order
        else:
            working.pop(key, None)
            if order.is_done:
                self._outstanding.pop(key, None)
                self._finish(key, order)
            else:
                self._finished.pop(key, None)
                self._outstanding[key] = order
        if len(working) != before:
            self._metrics.working_orders.inc(len(working) - before)
        return order

    def _finish(self, key: str, order: Order) -> None:
        self._finished[key] = order
        self._finished.move_to_end(key)
        while len(self._finished) > FINISHED_ORDERS_MAX:
            _, oldest = self._finished.popitem(last=False)
            self._by_venue_id.pop(oldest.venue_order_id, None)
            self._booked.pop(oldest.venue_order_id, None)

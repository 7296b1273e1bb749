"""Orders and positions in memory, and every change of them in the store.

Memory leads for states (a prohibition must not wait for a disk), the store leads for fills: one is
booked only once it is durable, and until then its order counts as working, which is the careful
side. A state that could not be saved is saved again until it is.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import structlog

from lob.errors import Conflict, Fault
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.venues.base import VenuePosition, VenueReport
from touchstone.kit.event_store import EventStore, Fill, Record
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderState, transition
from touchstone.perps.positions import Position, apply_fill, difference

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
        store: EventStore,
        metrics: GatewayMetrics,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self.now_ns = now_ns
        self._working: dict[str, Order] = {}
        self._finished: OrderedDict[str, Order] = OrderedDict()
        self._by_venue_id: dict[str, str] = {}
        self._booked: dict[str, set[str]] = {}
        self._unsaved: dict[str, list[Record]] = {}
        self.positions: dict[str, Position] = {}
        # One write at a time, so that an older state never overwrites a newer one.
        self._writing = asyncio.Lock()

    async def load(self) -> None:
        """Read the journal: working orders and every position.

        An order that was journaled but has no answer may have left before a crash: it is unknown.
        """
        self.positions = await self._store.load_positions()
        for order in await self._store.load_orders(working_only=True):
            await self._remember_fills(order)
            self._put(order)
            if order.state is OrderState.PENDING_SUBMIT:
                await self.apply(order, (OrderEvent.TIMED_OUT,), "found in the journal at start")

    def get(self, client_order_id: str) -> Order | None:
        """Return an order that is working or finished lately."""
        return self._working.get(client_order_id) or self._finished.get(client_order_id)

    async def lookup(self, client_order_id: str) -> Order | None:
        """Return an order from memory, else from the store."""
        return self.get(client_order_id) or await self._store.load_order(client_order_id)

    def current(self, order: Order) -> Order:
        """Return the order as it stands now."""
        return self.get(order.intent.client_order_id) or order

    def find(self, report: VenueReport) -> Order | None:
        """Return the order that a venue report is about, None when it is not one of ours."""
        known = self._by_venue_id.get(report.venue_order_id)
        return self.get(known or report.client_order_id)

    def working(self, symbol: str | None = None) -> list[Order]:
        """Return the orders that are not over, of one symbol or of all."""
        return [o for o in self._working.values() if symbol in (None, o.intent.symbol)]

    def known(self, client_order_id: str) -> dict[str, Order]:
        """Return the order of this id as a mapping, empty when there is none."""
        order = self.get(client_order_id)
        return {} if order is None else {client_order_id: order}

    def position(self, symbol: str) -> Position:
        """Return the confirmed position of a symbol."""
        return self.positions.get(symbol) or Position(symbol=symbol)

    def reserve(self, intent: Intent) -> Order:
        """Put a new order in place, so that every later check counts it; not yet journaled."""
        now = self.now_ns()
        order = Order(intent=intent, created_ns=now, updated_ns=now)
        self._put(order)
        return order

    async def journal(self, order: Order) -> None:
        """Make the order's intent durable; faults as in `EventStore.journal_order`."""
        await self._store.journal_order(order, _record(order, "order_intent", _terms(order.intent)))

    def forget(self, order: Order) -> None:
        """Take back a reservation whose id turned out to be in the journal already."""
        self._working.pop(order.intent.client_order_id, None)

    def change(self, order: Order, **fields: Any) -> Order:
        """Return the order with fields changed, in memory only; `apply` or `save` stores them."""
        changed = replace(self.current(order), **fields)
        if changed.venue_order_id:
            self._by_venue_id[changed.venue_order_id] = changed.intent.client_order_id
        self._put(changed)
        return changed

    async def apply(self, order: Order, events: Iterable[OrderEvent], reason: str = "") -> Order:
        """Take events through the state table, in memory at once, then in the store.

        A transition that the table does not have changes nothing and is reported as a defect.
        """
        order = self.current(order)
        records = []
        for event in events:
            state = transition(order.state, event)
            payload = {"from": order.state.value, "event": event.value, "reason": reason}
            if state is None:
                self._metrics.defects.inc()
                _log.error(
                    "order_defect", client_order_id=order.intent.client_order_id, what=payload
                )
                records.append(_record(order, "order_defect", payload))
                continue
            if state is not order.state and state in OUTCOMES:
                self._metrics.orders.labels(order.intent.symbol, OUTCOMES[state]).inc()
            payload["to"] = state.value
            told = reason or order.reason
            order = replace(order, state=state, reason=told, updated_ns=self.now_ns())
            records.append(_record(order, f"order_{event.value}", payload))
        self._put(order)
        if records:
            await self.save(order, *records)
        return order

    async def save(self, order: Order, *records: Record) -> None:
        """Store the order's present state; what cannot be saved now is saved later."""
        key = order.intent.client_order_id
        async with self._writing:
            waiting = [*self._unsaved.get(key, []), *records]
            self._unsaved[key] = waiting
            try:
                await self._store.save_order(self.current(order), *waiting)
            except Fault as fault:
                _log.warning("order_unsaved", client_order_id=key, why=str(fault))
            else:
                # Only now: a write that is cancelled half-way is to be done again, too.
                del self._unsaved[key]

    async def flush(self) -> None:
        """Wait for the writes that are under way, then store what could not be stored."""
        async with self._writing:
            pass
        await self.save_unsaved()

    async def save_unsaved(self) -> None:
        """Try again to store what could not be stored."""
        for key in list(self._unsaved):
            order = self.get(key)
            if order is None:
                del self._unsaved[key]
            else:
                await self.save(order)

    async def book(self, order: Order, fills: Iterable[Fill]) -> Order:
        """Book the fills that are not booked yet, each once, in one transaction each.

        Raises:
            Fault: the store did not take one; nothing of that fill counts until it does.
        """
        for fill in fills:
            async with self._writing:
                await self._book_one(self.current(order), fill)
        return self.current(order)

    async def adopt_order(self, report: VenueReport, intent: Intent) -> Order:
        """Take in an order that is live at the venue and not in the journal."""
        order = replace(self.reserve(intent), venue_order_id=report.venue_order_id)
        self._put(order)
        await self._store.journal_order(
            order,
            _record(order, "order_adopted", {**_terms(intent), "venue": report.venue_order_id}),
        )
        self._by_venue_id[report.venue_order_id] = intent.client_order_id
        self._metrics.reconciliation_differences.labels("order_adopted").inc()
        return await self.apply(order, (OrderEvent.RESPONDED,), "adopted from the venue")

    async def adopt_position(self, symbol: str, venue: VenuePosition, mark: Decimal | None) -> None:
        """Make the venue's position ours where no fill explains the difference; book it as such."""
        before = self.position(symbol)
        entry = venue.entry_price or before.average_entry_price or mark or Decimal(0)
        after = replace(before, quantity=venue.quantity, cost=venue.quantity * entry)
        record = Record(
            type="position_adopted",
            symbol=symbol,
            payload={
                "journal_quantity": str(before.quantity),
                "venue_quantity": str(venue.quantity),
                "entry_price": str(entry),
            },
        )
        await self._store.adjust_position(difference(after, before), "adopted", record)
        self.positions[symbol] = after
        self._metrics.reconciliation_differences.labels("position_adopted").inc()
        _log.warning("position_adopted", symbol=symbol, what=record.payload)

    async def note(self, record: Record) -> None:
        """Append an event that must not hold anything up; a failure is only logged."""
        try:
            await self._store.append(record)
        except Fault as fault:
            _log.warning("event_lost", type=record.type, why=str(fault))

    async def _book_one(self, order: Order, fill: Fill) -> None:
        booked = self._booked.setdefault(fill.venue_order_id, set())
        if fill.trade_id in booked:
            return
        before = self.position(fill.symbol)
        after = apply_fill(before, fill.side, fill.quantity, fill.price, fill.fee)
        filled = order.with_fill(fill.quantity, fill.price, fill.fee)
        record = _record(order, "fill", _fill_payload(fill), fill.ts_event_ns)
        try:
            await self._store.book_fill(fill, filled, difference(after, before), record)
        except Conflict:
            # An earlier attempt did commit although its answer was lost: the store leads.
            await self._reload(order)
        else:
            self.positions[fill.symbol] = after
            fields = ("filled_quantity", "filled_value", "fees")
            self.change(order, **{name: getattr(filled, name) for name in fields})
        booked.add(fill.trade_id)

    async def _reload(self, order: Order) -> None:
        self.positions = await self._store.load_positions()
        stored = await self._store.load_order(order.intent.client_order_id)
        if stored is not None:
            fields = ("filled_quantity", "filled_value", "fees")
            self.change(order, **{name: getattr(stored, name) for name in fields})

    async def _remember_fills(self, order: Order) -> None:
        if order.venue_order_id:
            self._by_venue_id[order.venue_order_id] = order.intent.client_order_id
            for venue_order_id, trade_id in await self._store.load_fill_ids([order.venue_order_id]):
                self._booked.setdefault(venue_order_id, set()).add(trade_id)

    def _put(self, order: Order) -> None:
        key = order.intent.client_order_id
        if order.state.is_terminal:
            self._working.pop(key, None)
            self._finished[key] = order
            self._finished.move_to_end(key)
            while len(self._finished) > FINISHED_ORDERS_MAX:
                _, oldest = self._finished.popitem(last=False)
                self._by_venue_id.pop(oldest.venue_order_id, None)
                self._booked.pop(oldest.venue_order_id, None)
        else:
            self._finished.pop(key, None)
            self._working[key] = order
        self._metrics.working_orders.set(len(self._working))


def _record(
    order: Order, event_type: str, payload: dict[str, Any], ts_event_ns: int | None = None
) -> Record:
    return Record(
        type=event_type,
        symbol=order.intent.symbol,
        client_order_id=order.intent.client_order_id,
        ts_event_ns=ts_event_ns,
        payload=payload,
    )


def _terms(intent: Intent) -> dict[str, Any]:
    price = intent.limit_price
    return {
        "side": intent.side.value,
        "quantity": str(intent.quantity),
        "type": intent.order_type.value,
        "limit_price": None if price is None else str(price),
        "time_in_force": intent.time_in_force.value,
        "post_only": intent.post_only,
        "reduce_only": intent.reduce_only,
    }


def _fill_payload(fill: Fill) -> dict[str, Any]:
    return {
        "venue_order_id": fill.venue_order_id,
        "trade_id": fill.trade_id,
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "fee": str(fill.fee),
        "liquidity": fill.liquidity,
    }

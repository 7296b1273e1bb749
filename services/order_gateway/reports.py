"""What the venue tells of orders: reports as they come, and the fills behind them.

A report changes an order at once and waits for nobody. Where it tells of more fills than are
booked, those are fetched by one task, for many orders in a request, and the order's end is believed
only with all of them. An order that ended with a part unfilled is looked at once more a little
later: a venue may tell the end before the last fill.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Protocol

import structlog

from lob.errors import Fault, NotFound
from services.order_gateway.ledger import Ledger
from services.order_gateway.ledger_parts import changed
from services.order_gateway.unsettled import Unsettled, loop_seconds
from services.order_gateway.venues.base import Venue, VenueReport
from touchstone.kit.ledger_entries import Fill
from touchstone.perps.orders import (
    Intent,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    VenueStatus,
    observe,
)

LATE_FILL_SECONDS: Final = 3.0
"""How long after an order's end a fill of it may still turn up."""
GATHER_SECONDS: Final = 0.005
APART_SECONDS: Final = 0.02
"""How far requests for fills begin apart: alone nobody waits, and many share one request."""
RETRY_SECONDS: Final = 0.25
RETRY_SECONDS_MAX: Final = 5.0
ORDERS_MAX: Final = 100
"""How many orders one request for fills names."""
LOOK_UP_SECONDS: Final = 1.0

_ENDED_EARLY: Final = frozenset(
    {OrderState.CANCELLED, OrderState.EXPIRED, OrderState.REJECTED, OrderState.MISSING}
)

_log = structlog.get_logger("touchstone.gateway.reports")


class Apply(Protocol):
    """How a change of an order's state is made."""

    def __call__(
        self, order: Order, events: Iterable[OrderEvent], reason: str = "", **fields: Any
    ) -> Order:
        """Take events through the state table and return the order after them."""
        ...


class Reports:
    """Apply reports, fetch fills, and remember whose end is not certain yet."""

    def __init__(
        self,
        venue: Venue,
        ledger: Ledger,
        unsettled: Unsettled,
        apply: Apply,
        *,
        monotonic: Callable[[], float] = loop_seconds,
    ) -> None:
        self._venue = venue
        self._ledger = ledger
        self._unsettled = unsettled
        self._apply = apply
        self._monotonic = monotonic
        self._told: dict[str, VenueReport] = {}
        self._missing: dict[str, float] = {}
        self._late: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._exits_untold: set[str] = set()
        self._wake = asyncio.Event()
        self.on_fill: Callable[[str], None] = lambda _symbol: None
        """Called with the symbol whose position just changed."""

    # ---------------------------------------------------------------- reports

    def take(self, report: VenueReport) -> Order:
        """Apply a report as far as it can be believed now; return the order.

        Raises:
            NotFound: the order is not one of ours.
        """
        order = self._ledger.find(report) or self._adopt_exit(report)
        if order is None or order.venue_order_id not in ("", report.venue_order_id):
            raise NotFound(f"venue order {report.venue_order_id}: not in the journal")
        key = order.intent.client_order_id
        told = self._told[key] = _together(self._told.get(key), report)
        fields = _news(order, report)
        if told.filled_quantity > order.filled_quantity:
            self._want(report.venue_order_id)
            self._unsettled.add(key, LOOK_UP_SECONDS)
        order = self._observe(order, told, order.filled_quantity, fields)
        if order.attached_order_id:
            self.adopt_attached(order)
        return order

    def adopt_attached(self, entry: Order) -> Order | None:
        """Take in the exit that the venue made for an entry, as `<entry>.x`; None if there is."""
        self._exits_untold.discard(entry.intent.client_order_id)
        venue_order_id = entry.attached_order_id
        known = self._ledger.find_venue_order(venue_order_id)
        intent = _exit_of(entry, entry.intent.quantity)
        key = exit_id(entry.intent.client_order_id)
        if intent is None or known is not None or self._ledger.get(key) is not None:
            return None
        made = VenueReport(
            venue_order_id=venue_order_id,
            client_order_id="",
            symbol=entry.intent.symbol,
            side=entry.intent.side.opposite,
            status=VenueStatus.LIVE,
            filled_quantity=Decimal(0),
        )
        self._unsettled.add(key, LOOK_UP_SECONDS)
        return self._ledger.adopt_order(made, intent)

    def _adopt_exit(self, report: VenueReport) -> Order | None:
        """Return the order of a report about an exit whose entry is ours."""
        if not report.originating_order_id:
            return None
        entry = self._ledger.find_venue_order(report.originating_order_id)
        if entry is None or entry.intent.attached is None:
            return None
        if not entry.attached_order_id:
            entry = self._ledger.change(entry, attached_order_id=report.venue_order_id)
        return self.adopt_attached(entry)

    def _observe(
        self, order: Order, told: VenueReport, before: Decimal, fields: dict[str, Any]
    ) -> Order:
        present = changed(order, fields) if fields else order
        events = observe(present, told.status, told.filled_quantity, before)
        if events or fields:
            order = self._apply(order, events, told.reason, **fields)
        key = order.intent.client_order_id
        if order.filled_quantity >= told.filled_quantity:
            self._told.pop(key, None)
            if order.state.is_terminal or not order.cancel_wanted:
                self._unsettled.discard(key)
        return order

    # ---------------------------------------------------------------- fills

    def watch_end(self, order: Order) -> None:
        """Look at an order that has just ended once more, if a part of it did not fill."""
        unfilled = order.quantity_at_venue > order.filled_quantity
        if order.venue_order_id and unfilled and order.state in _ENDED_EARLY:
            self._late[order.venue_order_id] = self._monotonic() + LATE_FILL_SECONDS
            self._wake.set()

    def uncertain(self, symbol: str) -> list[Order]:
        """Return what may fill though no working order says so, as if it worked.

        That is orders that are over, of which a fill may still turn up, and the exits of entries
        whose fills were told before the exit was.
        """
        if not self._late and not self._exits_untold:
            return []
        ends = (self._ledger.find_venue_order(key) for key in self._late)
        entries = (self._ledger.get(key) for key in self._exits_untold)
        exits = (_exit_of(entry, entry.filled_quantity) for entry in entries if entry is not None)
        return [
            *(
                replace(order, state=OrderState.UNKNOWN)
                for order in ends
                if order is not None and order.state.is_terminal and order.intent.symbol == symbol
            ),
            *(
                Order(intent=intent, state=OrderState.UNKNOWN)
                for intent in exits
                if intent is not None and intent.symbol == symbol
            ),
        ]

    def exits_untold(self) -> frozenset[str]:
        """Return the client ids of entries with fills, of whose exits nobody has told."""
        return frozenset(self._exits_untold)

    def made_none(self, entries: frozenset[str]) -> None:
        """Believe that the venue made no exits for these: it shows none."""
        self._exits_untold -= entries

    def is_certain(self, order: Order) -> bool:
        """Return whether an order is over and no fill of it is awaited any more."""
        return order.state.is_terminal and order.venue_order_id not in self._late

    def awaits_fills(self, symbol: str) -> bool:
        """Return whether fills of a symbol's orders were told that are not booked yet."""
        found = (self._ledger.find_venue_order(key) for key in self._missing)
        return any(order is not None and order.intent.symbol == symbol for order in found)

    async def run(self) -> None:
        """Fetch the fills that are missing, many orders at a time, until cancelled."""
        while True:
            pause = self._next_due() - self._monotonic()
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if pause == float("inf") else pause):
                        await self._wake.wait()
                        await asyncio.sleep(GATHER_SECONDS)
                self._wake.clear()
                continue
            wanted, began = self._due(), self._monotonic()
            try:
                await self.fetch(wanted)
            except Fault as fault:
                _log.info("fills_not_fetched", orders=len(wanted), why=str(fault))
                self._put_off(wanted)
            await asyncio.sleep(max(0.0, began + APART_SECONDS - self._monotonic()))

    async def fetch(self, venue_order_ids: Sequence[str]) -> None:
        """Fetch and book the fills of these orders, a hundred a request.

        Raises:
            Fault: the venue did not answer.
        """
        for start in range(0, len(venue_order_ids), ORDERS_MAX):
            wanted = venue_order_ids[start : start + ORDERS_MAX]
            asked_at = self._monotonic()
            fills = await self._venue.fills_of(wanted)
            by_order: dict[str, list[Fill]] = {key: [] for key in wanted}
            for fill in fills:
                by_order.setdefault(fill.venue_order_id, []).append(fill)
            for venue_order_id, found in by_order.items():
                self._book(venue_order_id, found)
                if self._late.get(venue_order_id, float("inf")) <= asked_at:
                    del self._late[venue_order_id]

    def _book(self, venue_order_id: str, fills: Sequence[Fill]) -> None:
        order = self._ledger.find_venue_order(venue_order_id)
        if order is None:
            self._missing.pop(venue_order_id, None)
            return
        key, before = order.intent.client_order_id, order.filled_quantity
        # A request for many orders does not say whose client id a fill has.
        order = self._ledger.book(order, [replace(fill, client_order_id=key) for fill in fills])
        told = self._told.get(key)
        if order.filled_quantity > before:
            if order.intent.attached is not None and not order.attached_order_id:
                self._exits_untold.add(key)
            was_over = order.state.is_terminal
            status = VenueStatus.LIVE if told is None else told.status
            seen = order.filled_quantity if told is None else told.filled_quantity
            events = observe(order, status, seen, before)
            order = self._apply(order, events, "" if told is None else told.reason)
            if was_over and not order.state.is_terminal:
                self._unsettled.add(key)
            self.on_fill(order.intent.symbol)
        if told is None or order.filled_quantity >= told.filled_quantity:
            self._missing.pop(venue_order_id, None)
            self._pauses.pop(venue_order_id, None)
            if told is not None:
                self._observe(order, told, order.filled_quantity, {})
        else:
            self._put_off([venue_order_id])

    def _want(self, venue_order_id: str) -> None:
        if venue_order_id not in self._missing:
            self._missing[venue_order_id] = self._monotonic()
            self._wake.set()

    def _put_off(self, venue_order_ids: Iterable[str]) -> None:
        """Ask again a little later, and each time later than before."""
        now = self._monotonic()
        for key in venue_order_ids:
            pause = self._pauses.get(key, RETRY_SECONDS)
            self._pauses[key] = min(2 * pause, RETRY_SECONDS_MAX)
            if key in self._missing:
                self._missing[key] = now + pause
            if self._late.get(key, float("inf")) <= now:
                self._late[key] = now + pause

    def _next_due(self) -> float:
        dues = [*self._missing.values(), *self._late.values()]
        return min(dues, default=float("inf"))

    def _due(self) -> list[str]:
        now = self._monotonic()
        dues = {**self._late, **self._missing}
        return [key for key, at in dues.items() if at <= now][:ORDERS_MAX]


def exit_id(client_order_id: str) -> str:
    """Return the client id under which the venue's exit of an entry is kept."""
    return f"{client_order_id}.x"


def _exit_of(entry: Order, quantity: Decimal) -> Intent | None:
    """Return what the venue makes of the exit that an entry brings along; None without one."""
    attached = entry.intent.attached
    if attached is None:
        return None
    return Intent(
        client_order_id=exit_id(entry.intent.client_order_id),
        symbol=entry.intent.symbol,
        side=entry.intent.side.opposite,
        quantity=quantity,
        order_type=OrderType.BRACKET,
        limit_price=attached.take_profit_price,
        stop_price=attached.stop_price,
        reduce_only=True,
        strategy=entry.intent.strategy,
        parent=entry.intent.client_order_id,
    )


def _together(before: VenueReport | None, report: VenueReport) -> VenueReport:
    """Return what two reports say together: an end stays an end, and fills only grow."""
    if before is None:
        return report
    filled = max(before.filled_quantity, report.filled_quantity)
    if report.status is VenueStatus.LIVE and before.status is not VenueStatus.LIVE:
        report = before
    return replace(report, filled_quantity=filled)


def _news(order: Order, report: VenueReport) -> dict[str, Any]:
    """Return the fields of an order that a report knows better."""
    fields: dict[str, Any] = {}
    if not order.venue_order_id:
        fields["venue_order_id"] = report.venue_order_id
    intent = order.intent
    if report.attached_order_id and intent.attached and not order.attached_order_id:
        fields["attached_order_id"] = report.attached_order_id
    # The exit that the venue made grows with the fills of its entry.
    if intent.is_exit and report.quantity is not None and report.quantity > intent.quantity:
        fields["intent"] = replace(intent, quantity=report.quantity)
    return fields

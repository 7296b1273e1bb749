"""Keep journal and venue in step: at start, after each reconnection, and at intervals.

Every difference is explained: adopted, repaired, or declared missing. A failed fetch leaves
everything as it is: an answer that did not come is unknown, never flat.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import structlog

from lob.errors import Fault, NotFound, Overloaded, Unavailable
from lob.types import OrderType, TimeInForce
from services.order_gateway.engine import Engine
from services.order_gateway.venues.base import VenuePosition, VenueReport
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderState

SWEEP_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
REPORTS_MAX: Final = 10_000
FLAT: Final = VenuePosition(Decimal(0), None)

_log = structlog.get_logger("touchstone.gateway.recovery")


@dataclass(frozen=True, slots=True)
class RecoveryTimes:
    """How often to look, and how long an unknown order may still turn up at the venue."""

    orders_seconds: float
    positions_seconds: float
    late_arrival_seconds: float
    """A lost order cannot be accepted later than its JWT expires, plus leeway and delay."""


class Recovery:
    """Run the loops that settle orders and reconcile them and the positions."""

    def __init__(
        self,
        engine: Engine,
        times: RecoveryTimes,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._ledger = engine.ledger
        self._times = times
        self._monotonic = monotonic
        self._reports: asyncio.Queue[VenueReport] = asyncio.Queue(maxsize=REPORTS_MAX)
        self._resync = asyncio.Event()
        self._suspects: dict[str, Decimal] = {}
        self.rules_loaded = asyncio.Event()
        self.problem = "not reconciled yet"

    def offer(self, report: VenueReport) -> None:
        """Take a report of the feed; never waits. When too many wait, all orders are looked up."""
        try:
            self._reports.put_nowait(report)
        except asyncio.QueueFull:
            self.request_resync()

    def request_resync(self) -> None:
        """Have orders and positions reconciled soon."""
        self._resync.set()

    async def check(self) -> str:
        """Return a readiness detail; `Unavailable` while the venue is not in step."""
        if self.problem or not self._engine.reconciled:
            raise Unavailable(self.problem)
        return "reconciled"

    async def apply_reports(self) -> None:
        """Apply the feed's reports one after the other, until cancelled."""
        while True:
            report = await self._reports.get()
            try:
                await self._engine.apply_report(report)
            except NotFound:
                # Our own order whose answer is still on its way has its client id; this is not.
                self.request_resync()
            except Fault as fault:
                _log.warning("report_unsettled", order=report.venue_order_id, why=str(fault))

    async def sweep(self) -> None:
        """Settle what is unsettled and save what is unsaved, again and again, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self._ledger.save_unsaved()
            for key in list(self._engine.unsettled):
                order = self._ledger.get(key)
                if order is None:
                    self._engine.unsettled.discard(key)
                    continue
                try:
                    await self._settle(order)
                except Overloaded:
                    # The venue's rate limit is for orders first: go on at the next sweep.
                    break
                except Fault as fault:
                    _log.debug("order_unsettled", client_order_id=key, why=str(fault))

    async def reconcile_forever(self) -> None:
        """Load the rules, reconcile now, after each resync and at intervals, until cancelled."""
        orders_due = positions_due = 0.0
        while True:
            try:
                now = self._monotonic()
                if now >= orders_due:
                    await self._load_rules()
                asked = self._resync.is_set() or not self._engine.reconciled
                self._resync.clear()
                if asked or now >= orders_due:
                    await self.reconcile_orders()
                    orders_due = now + self._times.orders_seconds
                if asked or now >= positions_due:
                    await self.reconcile_positions(at_once=not self._engine.reconciled)
                    positions_due = now + self._times.positions_seconds
                if not self._engine.reconciled:
                    _log.info("reconciled", working=len(self._ledger.working()))
                self._engine.reconciled = True
                self.problem = ""
                gate = self._engine.kill_switch.gate()
                if gate.known and gate.state is not TradingState.ACTIVE:
                    # What was found or adopted just now must obey a state that came before it, and
                    # what reduced a position that is gone since is an entry.
                    await self._engine.cancel_entries()
                pause = min(orders_due, positions_due) - self._monotonic()
            except Fault as fault:
                self.problem = str(fault)
                self._resync.set()
                _log.warning("not_reconciled", why=self.problem)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                async with asyncio.timeout(max(pause, 0)):
                    await self._resync.wait()
            except TimeoutError:
                continue

    async def reconcile_orders(self) -> None:
        """Compare the working orders of the journal with the venue's, symbol by symbol."""
        for symbol in self._engine.symbols:
            journal = self._ledger.working(symbol)
            reports = await self._engine.venue.orders(symbol, working_only=True)
            for report in reports:
                if self._ledger.find(report) is None:
                    await self._adopt(report)
                order = await self._engine.apply_report(report)
                if order.cancel_wanted and not order.state.is_terminal:
                    await self._engine.send_cancel(order)
            reported = {report.venue_order_id for report in reports}
            for order in journal:
                order = self._ledger.current(order)  # noqa: PLW2901 - as it stands now
                if order.state.is_terminal or order.venue_order_id in reported:
                    continue
                await self._settle(order)

    async def reconcile_positions(self, *, at_once: bool) -> None:
        """Compare positions; adopt the venue's where a difference stays and no order explains it.

        A fill that is on its way looks like a difference. So a difference counts at the second
        look, except at start (`at_once`), when nothing is on its way.
        """
        found = await self._engine.venue.positions()
        for symbol in self._engine.symbols:
            ours = self._ledger.position(symbol).quantity
            venue = found.get(symbol)
            theirs = venue.quantity if venue is not None else Decimal(0)
            difference = theirs - ours
            if not difference:
                self._suspects.pop(symbol, None)
                continue
            busy = any(
                o.intent.client_order_id in self._engine.unsettled
                for o in self._ledger.working(symbol)
            )
            if busy and at_once:
                raise Unavailable(
                    f"{symbol}: position {ours} here, {theirs} at the venue, and orders unsettled",
                )
            seen_before = self._suspects.get(symbol) == difference
            if busy or not (at_once or seen_before):
                self._suspects[symbol] = difference
                continue
            self._suspects.pop(symbol, None)
            position = venue or FLAT
            await self._ledger.adopt_position(symbol, position, self._engine.quotes.mark(symbol))

    async def _load_rules(self) -> None:
        """Load what the venue allows: a trading halt ends, increments change.

        Rules that are known stay in force while newer ones cannot be had.
        """
        try:
            self._engine.rules = dict(await self._engine.venue.rules())
        except Fault as fault:
            if not self.rules_loaded.is_set():
                raise
            _log.warning("rules_not_refreshed", why=str(fault))
        self.rules_loaded.set()

    async def _settle(self, order: Order) -> None:
        """Find out what became of one order, and send the cancel it wants."""
        engine = self._engine
        order = self._ledger.current(order)
        if order.state is OrderState.PENDING_SUBMIT:
            return
        if not order.venue_order_id:
            order = await self._find_unknown(order)
        else:
            order = await engine.refresh(order)
        if order.state.is_terminal:
            engine.unsettled.discard(order.intent.client_order_id)
        elif order.cancel_wanted and order.venue_order_id:
            await engine.send_cancel(order)

    async def _find_unknown(self, order: Order) -> Order:
        """Look for an order of unknown outcome among the venue's newest; never send it again.

        The venue has no filter by client id, so its orders of the symbol are gone through.
        """
        key = order.intent.client_order_id
        self._engine.unsettled.add(key)
        sent_ns = order.created_ns
        for report in await self._engine.venue.orders(order.intent.symbol, working_only=False):
            if report.client_order_id == key:
                return await self._engine.apply_report(report)
        age_seconds = (self._ledger.now_ns() - sent_ns) / 1e9
        if age_seconds < self._times.late_arrival_seconds:
            return order
        self._engine.metrics.reconciliation_differences.labels("order_missing").inc()
        reason = f"not at the venue {age_seconds:.0f} s after it was sent, and its JWT has expired"
        return await self._ledger.apply(order, (OrderEvent.NOT_FOUND,), reason)

    async def _adopt(self, report: VenueReport) -> None:
        quantity = report.quantity or report.filled_quantity
        if quantity <= 0:
            raise Unavailable(f"venue order {report.venue_order_id}: no quantity to adopt")
        intent = Intent(
            client_order_id=report.client_order_id or f"venue:{report.venue_order_id}",
            symbol=report.symbol,
            side=report.side,
            quantity=quantity,
            order_type=OrderType.MARKET if report.limit_price is None else OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            limit_price=report.limit_price,
        )
        await self._ledger.adopt_order(report, intent)

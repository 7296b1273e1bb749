"""The way of an order: checks, journal, last gate, venue; and what the venue says of it later.

One event loop owns everything here. The checks and the reservation of an order run without an
await between them, so that two requests can never both use up the same room in a position.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from lob.errors import Conflict, Fault, NotFound, Unavailable
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    OutcomeUnknown,
    Passage,
    Rejected,
    Venue,
    VenueReport,
)
from touchstone.kit.event_store import Record
from touchstone.kit.leases import SendGate
from touchstone.perps.checks import (
    RATE_WINDOW_NS,
    Context,
    Limits,
    Refusal,
    RefusalReason,
    evaluate,
    last_gate,
    reduces,
    risk_increasing,
)
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderState, observe
from touchstone.perps.products import ProductRules

_log = structlog.get_logger("touchstone.gateway.engine")

E = OrderEvent
DRAIN_POLL_SECONDS: Final = 0.1
# A venue may show an order a little later than it takes it.
VISIBLE_AFTER_SECONDS: Final = 10
CANCELLABLE: Final = frozenset({OrderState.SUBMITTED, OrderState.OPEN, OrderState.PARTIALLY_FILLED})
NOT_CANCELLABLE_YET: Final = frozenset({OrderState.PENDING_SUBMIT, OrderState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Submitted:
    """An order that is in the journal, and whether it was there before this request.

    `refusal` says why it never left, where that is so.
    """

    order: Order
    repeated: bool = False
    refusal: Refusal | None = None


class Engine:
    """Take orders and cancels, and apply what the venue reports."""

    def __init__(
        self,
        venue: Venue,
        ledger: Ledger,
        kill_switch: KillSwitch,
        quotes: Quotes,
        metrics: GatewayMetrics,
        *,
        symbols: Mapping[str, str],
        limits: Limits,
        send_gate: SendGate | None = None,
    ) -> None:
        self.venue = venue
        self.ledger = ledger
        self.kill_switch = kill_switch
        self.quotes = quotes
        self.metrics = metrics
        self.symbols = symbols
        self.rules: dict[str, ProductRules] = {}
        self.reconciled = False
        self.draining = False
        self.unsettled: set[str] = set()
        """Client ids whose state at the venue has to be looked up again."""
        self._send_gate = send_gate or SendGate()
        self._limits = limits
        self._entry_times_ns: deque[int] = deque(maxlen=limits.max_orders_per_minute)
        self._locks: dict[str, asyncio.Lock] = {}
        self._sending: set[asyncio.Task[Submitted]] = set()

    async def submit(self, intent: Intent) -> Submitted | Refusal:
        """Check, journal and send an order; return what became of it.

        A repeat of a known client id returns that order, if it has the same terms.
        """
        arrived = time.perf_counter()
        if intent.symbol not in self.symbols:
            known = ", ".join(sorted(self.symbols))
            text = f"symbol: {intent.symbol!r}: unknown; allowed: {known}"
            return await self._refuse(intent, Refusal(RefusalReason.UNKNOWN_SYMBOL, text))
        original = await self.ledger.lookup(intent.client_order_id)
        # Looked up with an await: whoever reserved the id meanwhile comes first.
        original = self.ledger.get(intent.client_order_id) or original
        if original is not None and self._same_terms(original.intent, intent):
            return Submitted(original, repeated=True)
        context = self._context(intent)
        if original is not None:
            context = replace(context, known={intent.client_order_id: original})
        outcome = evaluate(intent, context)
        if isinstance(outcome, Refusal):
            return await self._refuse(intent, outcome)
        if not reduces(outcome, context.position, context.working):
            self._entry_times_ns.append(context.now_ns)
        order = self.ledger.reserve(outcome)
        # A caller that goes away must not leave an order half sent.
        task = asyncio.create_task(self._journal_and_send(order))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        submitted = await asyncio.shield(task)
        self.metrics.latency.observe(time.perf_counter() - arrived)
        return submitted

    async def cancel(self, client_order_id: str) -> Order:
        """Ask the venue to cancel; return the order as it then stands.

        An order whose outcome is unknown is cancelled as soon as it is found. No kill state stops
        a cancel.

        Raises:
            NotFound: no such order.
            Conflict: it is over already, or the venue refused.
            Unavailable: the venue did not answer; the cancel is repeated until it does.
        """
        order = await self.ledger.lookup(client_order_id)
        if order is None:
            raise NotFound(f"client_order_id: {client_order_id!r}: no such order")
        if order.state.is_terminal:
            raise Conflict(
                f"client_order_id: {client_order_id}: the order is {order.state} already"
            )
        order = self.ledger.change(order, cancel_wanted=True)
        await self.ledger.save(order)
        return await self.send_cancel(order)

    async def send_cancel(self, order: Order) -> Order:
        """Send the cancel that an order wants, and look at what it came to."""
        key = order.intent.client_order_id
        self.unsettled.add(key)
        order = self.ledger.current(order)
        if order.state in NOT_CANCELLABLE_YET or not order.venue_order_id:
            return order
        answers = await self.venue.cancel([order.venue_order_id])
        reason = answers.get(order.venue_order_id)
        if reason is None:
            raise Unavailable(f"venue: cancel of {key}: the answer does not mention it")
        order = self.ledger.current(order)
        if order.state.is_terminal:
            return order
        if not reason and order.state is not OrderState.PENDING_CANCEL:
            order = await self.ledger.apply(order, (E.CANCEL_REQUESTED,))
        order = await self.refresh(order)
        if reason and not order.state.is_terminal and "DUPLICATE" not in reason:
            await self.ledger.apply(order, (E.CANCEL_REFUSED,), reason)
            raise Conflict(f"client_order_id: {key}: the venue refused the cancel: {reason}")
        return order

    async def cancel_entries(self) -> int:
        """Cancel what could increase risk and keep what reduces it; return how many.

        All of them go in one request (the venue's rate limit must not stand in the way of a kill);
        what is not over after it is cancelled again, one by one, until it is.
        """
        wanted = [
            self.ledger.change(order, cancel_wanted=True)
            for symbol in self.symbols
            for order in risk_increasing(
                self.ledger.working(symbol), self.ledger.position(symbol).quantity
            )
        ]
        self.unsettled.update(order.intent.client_order_id for order in wanted)
        by_id = {o.venue_order_id: o for o in wanted if o.venue_order_id}
        try:
            answers = await self.venue.cancel(list(by_id)) if by_id else {}
        except Fault as fault:
            _log.warning("entries_not_cancelled", count=len(wanted), why=str(fault))
            return len(wanted)
        for venue_order_id, order in by_id.items():
            order = self.ledger.current(order)  # noqa: PLW2901 - as it stands now
            if answers.get(venue_order_id) == "" and order.state in CANCELLABLE:
                await self.ledger.apply(order, (E.CANCEL_REQUESTED,))
        if wanted:
            _log.warning("entries_cancel_requested", count=len(wanted), taken=len(answers))
        return len(wanted)

    async def refresh(self, order: Order) -> Order:
        """Ask the venue for the order's state and apply it; an order without venue id is unsettled.

        Raises:
            Fault: the venue or the store did not answer; the order stays unsettled.
        """
        self.unsettled.add(order.intent.client_order_id)
        if not order.venue_order_id:
            return self.ledger.current(order)
        report = await self.venue.order(order.venue_order_id)
        if report is None:
            order = self.ledger.current(order)
            if order.state.is_terminal:
                self.unsettled.discard(order.intent.client_order_id)
                return order
            age_seconds = (self.ledger.now_ns() - order.created_ns) / 1e9
            if order.state is OrderState.SUBMITTED and age_seconds < VISIBLE_AFTER_SECONDS:
                return order
            self.metrics.reconciliation_differences.labels("order_missing").inc()
            return await self.ledger.apply(order, (E.NOT_FOUND,), "the venue has no such order")
        await self._compare_terms(order, report)
        return await self.apply_report(report)

    async def apply_report(self, report: VenueReport) -> Order:
        """Apply a venue report: first its fills, booked one by one, then its state.

        Raises:
            NotFound: the order is not one of ours.
            Fault: the fills could not be fetched or booked; the order stays unsettled.
        """
        order = self.ledger.find(report)
        if order is None:
            raise NotFound(f"venue order {report.venue_order_id}: not in the journal")
        key = order.intent.client_order_id
        async with self._locks.setdefault(key, asyncio.Lock()):
            order = self.ledger.current(order)
            if not order.venue_order_id:
                order = self.ledger.change(order, venue_order_id=report.venue_order_id)
            before = order.filled_quantity
            if report.filled_quantity > before:
                self.unsettled.add(key)
                fills = await self.venue.fills(report.venue_order_id, key)
                order = await self.ledger.book(order, fills)
            events = observe(order, report.status, report.filled_quantity, before)
            order = await self.ledger.apply(order, events, report.reason)
            settled = order.filled_quantity >= report.filled_quantity
            if settled and (order.state.is_terminal or not order.cancel_wanted):
                self.unsettled.discard(key)
        if order.state.is_terminal:
            self._locks.pop(key, None)
        return order

    async def drain(self) -> None:
        """Take no more orders, wait for what is being sent, cancel the entries."""
        self.draining = True
        if self._sending:
            await asyncio.wait(set(self._sending))
        await self.cancel_entries()
        await self._wait_for_cancels()
        await self.ledger.flush()

    async def _wait_for_cancels(self) -> None:
        """Wait until no order wants a cancel any more; the caller bounds the time."""
        while any(order.cancel_wanted for order in self.ledger.working()):
            for order in self.ledger.working():
                if order.cancel_wanted and order.venue_order_id:
                    try:
                        await self.refresh(order)
                    except Fault as fault:
                        key = order.intent.client_order_id
                        _log.warning("order_unsettled", client_order_id=key, why=str(fault))
            await asyncio.sleep(DRAIN_POLL_SECONDS)

    async def _journal_and_send(self, order: Order) -> Submitted:
        journaled = False
        started = time.perf_counter()
        try:
            await self.ledger.journal(order)
            journaled = True
        except Conflict:
            # Another process of this bot took the id between our look-up and now.
            self.ledger.forget(order)
            text = f"client_order_id: {order.intent.client_order_id}: exists already"
            return Submitted(order, refusal=Refusal(RefusalReason.DUPLICATE_CLIENT_ORDER_ID, text))
        except Fault as fault:
            refusal = Refusal(RefusalReason.JOURNAL_UNAVAILABLE, f"not sent: {fault}")
            return await self._not_sent(order, refusal)
        finally:
            if journaled:
                self.metrics.journal_latency.observe(time.perf_counter() - started)
        return await self._send(order)

    async def _send(self, order: Order) -> Submitted:
        intent = order.intent

        def gate() -> Refusal | None:
            return last_gate(intent, self._context(intent))

        refusal = gate()
        if refusal is not None:
            return await self._not_sent(order, refusal)
        passage = Passage(self._send_gate, gate)
        try:
            outcome = await self.venue.submit(intent, self.rules[intent.symbol], passage)
        except GateClosed as closed:
            return await self._not_sent(order, closed.refusal)
        except NotSent as fault:
            return await self._not_sent(order, Refusal(RefusalReason.VENUE_UNAVAILABLE, str(fault)))
        except OutcomeUnknown as fault:
            self.unsettled.add(intent.client_order_id)
            order = await self.ledger.apply(order, (E.TIMED_OUT,), str(fault))
            return Submitted(await self._settle(order))
        finally:
            passage.handed_over()
        if isinstance(outcome, Rejected):
            return await self._rejected(order, outcome)
        return Submitted(await self._accepted(order, outcome))

    async def _accepted(self, order: Order, outcome: Accepted) -> Order:
        order = self.ledger.change(order, venue_order_id=outcome.venue_order_id)
        order = await self.ledger.apply(order, (E.RESPONDED,))
        return await self._settle(order)

    async def _compare_terms(self, order: Order, report: VenueReport) -> None:
        """Report an order that is not what was asked for (a client id used before, elsewhere)."""
        intent = order.intent
        found = (report.side, report.quantity, report.limit_price)
        meant = (intent.side, intent.quantity, intent.limit_price)
        if order.state is not OrderState.SUBMITTED or report.quantity is None or found == meant:
            return
        self.metrics.defects.inc()
        payload = {"meant": [str(term) for term in meant], "found": [str(term) for term in found]}
        _log.error("order_terms_differ", client_order_id=intent.client_order_id, what=payload)
        await self.ledger.note(
            Record(
                type="order_terms_differ",
                symbol=intent.symbol,
                client_order_id=intent.client_order_id,
                payload=payload,
            ),
        )

    async def _settle(self, order: Order) -> Order:
        """Look at once at what the venue has; if that fails, the sweep looks again."""
        try:
            order = await self.refresh(order)
            if order.cancel_wanted and not order.state.is_terminal:
                order = await self.send_cancel(order)
        except Fault as fault:
            key = order.intent.client_order_id
            _log.warning("order_unsettled", client_order_id=key, why=str(fault))
        return self.ledger.current(order)

    async def _rejected(self, order: Order, outcome: Rejected) -> Submitted:
        if outcome.rate_limited:
            refusal = Refusal(RefusalReason.VENUE_RATE_LIMITED, outcome.reason)
            return await self._not_sent(order, refusal)
        return Submitted(await self.ledger.apply(order, (E.REJECTED,), outcome.reason))

    async def _not_sent(self, order: Order, refusal: Refusal) -> Submitted:
        self.metrics.refusals.labels(refusal.reason.value).inc()
        reason = f"{refusal.reason}: {refusal.message}"
        order = await self.ledger.apply(order, (E.NOT_SENT,), reason)
        return Submitted(order, refusal=refusal)

    async def _refuse(self, intent: Intent, refusal: Refusal) -> Refusal:
        """Count and record an order that was turned down before it was journaled."""
        self.metrics.refusals.labels(refusal.reason.value).inc()
        symbol = intent.symbol if intent.symbol in self.symbols else None
        if symbol is not None:
            self.metrics.orders.labels(symbol, "refused").inc()
        await self.ledger.note(
            Record(
                type="order_refused",
                symbol=symbol,
                client_order_id=intent.client_order_id,
                payload={"reason": refusal.reason.value, "message": refusal.message},
            ),
        )
        return refusal

    def _context(self, intent: Intent) -> Context:
        now_ns = self.ledger.now_ns()
        while self._entry_times_ns and self._entry_times_ns[0] <= now_ns - RATE_WINDOW_NS:
            self._entry_times_ns.popleft()
        return Context(
            gate=self.kill_switch.gate(),
            limits=self._limits,
            now_ns=now_ns,
            rules=self.rules.get(intent.symbol),
            quote=self.quotes.quote(intent.symbol),
            position=self.ledger.position(intent.symbol).quantity,
            reconciled=self.reconciled,
            known=self.ledger.known(intent.client_order_id),
            working=self.ledger.working(intent.symbol),
            entry_times_ns=tuple(self._entry_times_ns),
            draining=self.draining,
        )

    def _same_terms(self, original: Intent, repeat: Intent) -> bool:
        """Compare after rounding: the original may have been put on the tick."""
        rules = self.rules.get(repeat.symbol)
        if repeat.limit_price is not None and rules is not None:
            price = rules.round_price(repeat.limit_price, repeat.side)
            repeat = replace(repeat, limit_price=price)
        return original == repeat

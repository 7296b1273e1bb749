"""The way of an order: checks, journal, last gate, venue; and what the venue says of it later.

One event loop owns everything here. The checks and the reservation of an order run without an
await between them, so that two requests can never both use up the same room in a position.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import structlog

from lob.errors import Fault, InvalidInput, NotSupported
from services.order_gateway.cancelling import Cancelling
from services.order_gateway.closing import CLOSE_SECONDS, Closed, Closing
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.ledger import Ledger
from services.order_gateway.looking_up import LookUps
from services.order_gateway.market import Quotes
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.outcomes import NoObserver, OrderObserver
from services.order_gateway.replacing import Replaced, Replacing, Terms
from services.order_gateway.reports import LOOK_UP_SECONDS, Reports
from services.order_gateway.stops import Stops
from services.order_gateway.surroundings import Surroundings
from services.order_gateway.unsettled import Unsettled, loop_seconds
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    Passage,
    Rejected,
    Venue,
    VenueReport,
    not_kept,
)
from touchstone.kit.journal import JournalFailed
from touchstone.kit.leases import SendGate
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import (
    Context,
    EntryRule,
    Limits,
    Refusal,
    RefusalReason,
    evaluate,
    last_gate,
    reduces,
)
from touchstone.perps.orders import Intent, Order, OrderEvent, OrderState, transition
from touchstone.perps.products import ProductRules

_log = structlog.get_logger("touchstone.gateway.engine")

E = OrderEvent
MAX_SLIPPAGE_BPS: Final = Decimal(15)


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
        max_slippage_bps: Decimal = MAX_SLIPPAGE_BPS,
        patience_seconds: float = LOOK_UP_SECONDS,
        venue_keeps_reduce_only: bool = False,
        monotonic: Callable[[], float] = loop_seconds,
    ) -> None:
        """Make an engine; nothing runs yet.

        Args:
            venue: where orders go.
            ledger: what is known of orders and positions.
            kill_switch: what may be done at all.
            quotes: the market; the engine listens to its changes.
            metrics: what is counted.
            symbols: product ids by symbol.
            limits: of risk.
            send_gate: what orders pass between their last check and the socket.
            max_slippage_bps: how far beyond the touch a triggered stop may trade.
            patience_seconds: how long the user channel may take to tell of an order.
            venue_keeps_reduce_only: whether the venue itself never lets a reduce-only order flip a
                position; else ends that are not certain count as if they could still fill.
            monotonic: local seconds.
        """
        self.venue = venue
        self.ledger = ledger
        self.kill_switch = kill_switch
        self.quotes = quotes
        self.metrics = metrics
        self.symbols = symbols
        self.limits = limits
        self.rules: dict[str, ProductRules] = {}
        self.reconciled = False
        self.draining = False
        self.unsettled = Unsettled(monotonic)
        """Client ids whose state at the venue has to be looked up again."""
        self.observer: OrderObserver = NoObserver()
        self.venue_now_ns: Callable[[], int | None] = lambda: None
        self.equity: Callable[[], Decimal | None] = lambda: None
        self.entry_rules: Callable[[str], Sequence[EntryRule]] = lambda _symbol: ()
        self.reports = Reports(venue, ledger, self.unsettled, self.apply, monotonic=monotonic)
        self.stops = Stops(self, max_slippage_bps=max_slippage_bps, monotonic=monotonic)
        self.surroundings = Surroundings(self)
        self.cancelling = Cancelling(self)
        self.look_ups = LookUps(self)
        self.replacing = Replacing(self)
        self.closing = Closing(self, monotonic=monotonic)
        self.venue_keeps_reduce_only = venue_keeps_reduce_only
        self.patience_seconds = patience_seconds
        self._send_gate = send_gate or SendGate()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._sending: set[asyncio.Task[Submitted]] = set()
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._arrived: dict[str, float] = {}
        quotes.on_change = self.stops.notice
        self.reports.on_fill = self.stops.position_changed

    # ---------------------------------------------------------------- submit

    async def submit(self, intent: Intent) -> Submitted | Refusal:
        """Check, journal and send an order; return what became of it.

        A repeat of a known client id returns that order, if it has the same terms. A stop that is
        held here is only journaled.
        """
        arrived = time.perf_counter()
        self.observer.arrived(intent)
        if intent.symbol not in self.symbols:
            known = ", ".join(sorted(self.symbols))
            text = f"symbol: {intent.symbol!r}: unknown; allowed: {known}"
            return self._refuse(intent, Refusal(RefusalReason.UNKNOWN_SYMBOL, text))
        try:
            original = await self.ledger.lookup(intent.client_order_id)
        except Fault as fault:
            return self._refuse(intent, not_kept(fault))
        # Looked up with an await: whoever reserved the id meanwhile comes first.
        original = self.ledger.get(intent.client_order_id) or original
        if original is not None and self.surroundings.same_terms(original.intent, intent):
            return Submitted(original, repeated=True)
        context = self.context(intent)
        if original is not None:
            context = replace(context, known={intent.client_order_id: original})
        outcome = evaluate(intent, context)
        if isinstance(outcome, Refusal):
            return self._refuse(intent, outcome)
        try:
            order = self.ledger.place(outcome)
        except JournalFailed as fault:
            return self._refuse(intent, not_kept(fault))
        # From here on the disk is at work beside everything else.
        keeping = self._keep()
        if not reduces(outcome, context.position, context.working):
            self.surroundings.entered(context.now_ns)
        self.surroundings.note_sizing(intent, outcome, context)
        self._arrived[intent.client_order_id] = arrived
        # A caller that goes away must not leave an order half sent.
        submitted = await asyncio.shield(self._start(self._hold_or_send(order, keeping)))
        self._arrived.pop(intent.client_order_id, None)
        self.metrics.latency.observe(time.perf_counter() - arrived)
        return submitted

    def send_soon(self, order: Order) -> None:
        """Send an order that is in the journal, without waiting for what becomes of it."""
        self._start(self._send(order, self._keep()))

    def _keep(self) -> "asyncio.Future[None]":
        """Begin to have the disk know the journal; where that fails, the future says so."""
        started = time.perf_counter()
        try:
            keeping = self.ledger.keep()
        except JournalFailed as fault:
            keeping = asyncio.get_running_loop().create_future()
            keeping.set_exception(fault)
            keeping.exception()
            return keeping
        keeping.add_done_callback(
            lambda _: self.metrics.journal_latency.observe(time.perf_counter() - started)
        )
        return keeping

    async def _hold_or_send(self, order: Order, keeping: "asyncio.Future[None]") -> Submitted:
        if not order.intent.held_here:
            return await self._send(order, keeping)
        try:
            await keeping
        except JournalFailed as fault:
            return self._not_sent(order, not_kept(fault))
        order = self.ledger.current(order)
        refusal_now = last_gate(order.intent, self.context(order.intent))
        if refusal_now is not None:
            return self._not_sent(order, refusal_now)
        return Submitted(self.stops.arm(order))

    async def _send(self, order: Order, keeping: "asyncio.Future[None]") -> Submitted:
        intent = order.as_sent()

        def gate() -> Refusal | None:
            return last_gate(intent, self.surroundings.for_last_gate(intent))

        if self.limits.dry_run and (refusal := gate()) is not None:
            # It does not even take a key.
            return self._not_sent(order, refusal)
        passage = Passage(self._send_gate, gate, keeping)
        try:
            outcome = await self.venue.submit(intent, self.rules[intent.symbol], passage)
        except Fault as fault:
            return self._without_answer(order, fault)
        except BaseException as error:
            # Whatever went wrong here, the order may have left.
            self._unknown(order, repr(error))
            raise
        finally:
            passage.handed_over()
        if isinstance(outcome, Rejected):
            return self._rejected(order, outcome)
        return Submitted(self._accepted(order, outcome))

    def _without_answer(self, order: Order, fault: Fault) -> Submitted:
        """Tell what certainly did not leave from what may have."""
        if isinstance(fault, GateClosed):
            return self._not_sent(order, fault.refusal)
        if isinstance(fault, NotSent):
            return self._not_sent(order, Refusal(RefusalReason.VENUE_UNAVAILABLE, str(fault)))
        if isinstance(fault, NotSupported | InvalidInput):
            # The adapter has no words for it: nothing was written.
            return self._not_sent(order, Refusal(RefusalReason.UNSUPPORTED, str(fault)))
        return Submitted(self._unknown(order, str(fault)))

    def _unknown(self, order: Order, why: str) -> Order:
        self.unsettled.add(order.intent.client_order_id)
        # From now on counts how late the order may still be taken.
        order = self.apply(order, (E.TIMED_OUT,), why, sent_ns=self.ledger.now_ns())
        self._answered(order)
        return order

    def _accepted(self, order: Order, outcome: Accepted) -> Order:
        key = order.intent.client_order_id
        # The user channel tells what becomes of it; who it does not tell of is looked up.
        if not self.ledger.current(order).state.is_terminal:
            self.unsettled.add(key, self.patience_seconds)
        order = self.apply(
            order,
            (E.RESPONDED,),
            venue_order_id=outcome.venue_order_id,
            attached_order_id=outcome.attached_order_id or order.attached_order_id,
        )
        if order.intent.post_only:
            self.metrics.post_only.labels("accepted").inc()
        if order.attached_order_id:
            self.reports.adopt_attached(order)
        if order.cancel_wanted and not order.state.is_terminal:
            self._spawn(self._cancel_at_last(order))
        self._answered(order)
        return order

    async def _cancel_at_last(self, order: Order) -> None:
        """Send the cancel that was wanted while the order was on its way; it is repeated."""
        try:
            await self.send_cancel(order)
        except Fault as fault:
            key = order.intent.client_order_id
            _log.info("cancel_repeated_later", client_order_id=key, why=str(fault))

    def _rejected(self, order: Order, outcome: Rejected) -> Submitted:
        if outcome.rate_limited:
            refusal = Refusal(RefusalReason.VENUE_RATE_LIMITED, outcome.reason)
            return self._not_sent(order, refusal)
        if order.intent.post_only:
            self.metrics.post_only.labels("rejected").inc()
        order = self.apply(order, (E.REJECTED,), outcome.reason)
        self._answered(order)
        return Submitted(order)

    def _not_sent(self, order: Order, refusal: Refusal) -> Submitted:
        order = self.ledger.current(order)
        self.count_refusal(order, refusal)
        if order.intent.held_here and order.sent_ns:
            waiting = self.stops.not_sent(order, refusal)
            if waiting is not None:
                return Submitted(waiting, refusal=refusal)
        order = self.apply(order, (E.NOT_SENT,), f"{refusal.reason}: {refusal.message}")
        return Submitted(order, refusal=refusal)

    def _refuse(self, intent: Intent, refusal: Refusal) -> Refusal:
        """Count and record an order that was turned down before it was journaled."""
        self.metrics.refusals.labels(refusal.reason.value).inc()
        self.observer.refused(intent, refusal)
        symbol = intent.symbol if intent.symbol in self.symbols else None
        if symbol is not None:
            self.metrics.orders.labels(symbol, "refused").inc()
        self.ledger.note(
            Record(
                type="order_refused",
                symbol=symbol,
                client_order_id=intent.client_order_id,
                payload={"reason": refusal.reason.value, "message": refusal.message},
            ),
        )
        return refusal

    def count_refusal(self, order: Order, refusal: Refusal) -> None:
        """Count an order that is in the journal and was not sent."""
        self.metrics.refusals.labels(refusal.reason.value).inc()
        self.observer.refused(order.intent, refusal)

    # ---------------------------------------------------------------- cancel, replace, close

    async def cancel(self, client_order_id: str) -> Order:
        """Ask the venue to cancel; return the order as it then stands; see `Cancelling.cancel`."""
        return await self.cancelling.cancel(client_order_id)

    async def replace(self, client_order_id: str, terms: Terms) -> Replaced | Refusal:
        """Have other terms in an order's place; see `Replacing.replace`."""
        return await self.replacing.replace(client_order_id, terms)

    async def send_cancel(self, order: Order) -> Order:
        """Send the cancel that an order wants; see `Cancelling.send_cancel`."""
        return await self.cancelling.send_cancel(order)

    async def cancel_entries(self, *, only_closed: bool = False) -> int:
        """Cancel what could increase risk; see `Cancelling.cancel_entries`."""
        return await self.cancelling.cancel_entries(only_closed=only_closed)

    async def cancel_orders(self, orders: Iterable[Order]) -> int:
        """Have working orders cancelled; see `Cancelling.cancel_orders`."""
        return await self.cancelling.cancel_orders(orders)

    async def close(
        self, symbol: str, request_id: str, *, seconds: float = CLOSE_SECONDS
    ) -> Closed:
        """Cancel a symbol's orders and close its position; see `Closing.close`."""
        return await self.closing.close(symbol, request_id, seconds=seconds)

    async def close_all(self, request_id: str, *, seconds: float = CLOSE_SECONDS) -> list[Closed]:
        """Close every position; see `Closing.close_all`."""
        return await self.closing.close_all(request_id, seconds=seconds)

    # ---------------------------------------------------------------- what the venue says

    def apply(
        self, order: Order, events: Iterable[OrderEvent], reason: str = "", **fields: Any
    ) -> Order:
        """Take events through the state table; an order that ends brings about what follows.

        The rest of a stop is in the journal before its end is: a crash in between loses neither.
        """
        events = tuple(events)
        before = self.ledger.current(order)
        end = _end_of(before.state, events)
        if end is not None:
            self.stops.take_up_rest(before, end)
        order = self.ledger.apply(order, events, reason, **fields)
        if order.state.is_terminal and not before.state.is_terminal:
            self._over(order)
        return order

    async def apply_report(self, report: VenueReport) -> Order:
        """Apply a venue report with the fills that it tells of; wait for these.

        Raises:
            NotFound: the order is not one of ours.
            Fault: the fills could not be fetched; the order stays unsettled.
        """
        order = self.reports.take(report)
        if report.filled_quantity > order.filled_quantity:
            await self.reports.fetch([report.venue_order_id])
        return self.ledger.current(order)

    async def refresh(self, order: Order) -> Order:
        """Ask the venue for the order's state and apply it; see `LookUps.refresh`."""
        return await self.look_ups.refresh(order)

    def _over(self, order: Order) -> None:
        key = order.intent.client_order_id
        self.reports.watch_end(order)
        self.look_ups.forget(key)
        for future in self._waiting.pop(key, ()):
            if not future.done():
                future.set_result(None)
        if order.state is not OrderState.MISSING or not order.cancel_wanted:
            self.unsettled.discard(key)
        if order.attached_order_id:
            # The venue ends the exit of an entry that never filled; another is as large as that.
            child = self.ledger.find_venue_order(order.attached_order_id)
            if child is not None and not child.state.is_terminal:
                if 0 < order.filled_quantity < child.intent.quantity:
                    fitting = replace(child.intent, quantity=order.filled_quantity)
                    self.ledger.change(child, intent=fitting)
                self.unsettled.add(child.intent.client_order_id, self.patience_seconds)
        if not order.is_done:
            self._spawn(self.replacing.carry_out(order))
        self.observer.over(order)

    async def wait_over(self, client_order_id: str, seconds: float) -> bool:
        """Wait until an order is over, so long at most; return whether it is."""
        order = self.ledger.get(client_order_id)
        if order is None or order.state.is_terminal:
            return True
        if seconds <= 0:
            return False
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client_order_id, []).append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            waiting = self._waiting.get(client_order_id, [])
            if future in waiting:
                waiting.remove(future)
        return True

    # ---------------------------------------------------------------- the end of the process

    async def drain(self) -> None:
        """Take no more orders, wait for what is being sent, cancel the entries."""
        self.draining = True
        if self._sending:
            await asyncio.wait(set(self._sending))
        await self.cancel_entries()
        await self.cancelling.wait_for_cancels()

    # ---------------------------------------------------------------- inside

    def context(self, intent: Intent) -> Context:
        """Gather what the checks of an order look at, as it is at this moment."""
        return self.surroundings.context(intent)

    def _answered(self, order: Order) -> None:
        arrived = self._arrived.get(order.intent.client_order_id)
        if arrived is not None:
            self.observer.answered(order, time.perf_counter() - arrived)

    def _start(self, sending: Coroutine[Any, Any, Submitted]) -> asyncio.Task[Submitted]:
        task = asyncio.create_task(sending)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _end_of(state: OrderState, events: Iterable[OrderEvent]) -> OrderState | None:
    """Return the end that events lead to from a state that is none; None where there is none."""
    if state.is_terminal:
        return None
    for event in events:
        state = transition(state, event) or state
    return state if state.is_terminal else None

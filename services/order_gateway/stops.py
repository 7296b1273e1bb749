"""Stops that the gateway holds: watch their price, send them, and take up what did not fill.

A triggered stop leaves under its own client id as an immediate order with a limit. What of it does
not fill waits again as `<id>.s<n>`, set off already, and tries anew. A stop that only reduces is
fitted to the room that there is when it leaves, waits while there is none, and ends when the
position that it protects is gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from services.order_gateway.unsettled import loop_seconds
from touchstone.kit.journal import JournalFailed
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import Context, Refusal, RefusalReason, evaluate, last_gate
from touchstone.perps.orders import Order, OrderEvent, OrderState
from touchstone.perps.stops import (
    ALARM_ATTEMPTS,
    RESTS,
    backoff_seconds,
    capped_price,
    is_reached,
    quantity_to_send,
    rest_id,
    trigger_price,
)

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

FINAL_REFUSALS: Final = frozenset({RefusalReason.DRY_RUN})
"""Refusals after which even a protective stop does not wait for a better moment."""
PASSING_REFUSALS: Final = frozenset(
    {
        RefusalReason.JOURNAL_UNAVAILABLE,
        RefusalReason.VENUE_UNAVAILABLE,
        RefusalReason.VENUE_RATE_LIMITED,
        RefusalReason.NOT_RECONCILED,
        RefusalReason.NO_QUOTE,
        RefusalReason.CONTROL_STATE_UNKNOWN,
    }
)
"""Refusals after which an entry's stop waits, too."""

_log = structlog.get_logger("touchstone.gateway.stops")


class Stops:
    """Hold the stops of an engine."""

    def __init__(
        self,
        engine: "Engine",
        *,
        max_slippage_bps: Decimal,
        monotonic: Callable[[], float] = loop_seconds,
    ) -> None:
        self._engine = engine
        self._max_slippage_bps = max_slippage_bps
        self._monotonic = monotonic
        self._not_before: dict[str, float] = {}
        self._held_told: set[str] = set()
        self._armed: dict[str, set[str]] = {}

    def armed(self, symbol: str) -> list[Order]:
        """Return the stops of a symbol that wait here."""
        return [
            order
            for order in self._engine.ledger.working(symbol)
            if order.state is OrderState.ARMED
        ]

    def notice(self, symbol: str) -> None:
        """Look at a symbol's stops: its book or its last trade changed."""
        if self._armed.get(symbol):
            self._look(symbol)

    def tick(self) -> None:
        """Look at every stop: times run out, attempts are repeated, a start finds old ones."""
        count = 0
        for symbol in self._engine.symbols:
            held = self.armed(symbol)
            self._armed[symbol] = {order.intent.client_order_id for order in held}
            count += len(held)
            if held:
                self._look(symbol)
        self._engine.metrics.safety.stops_armed.set(count)

    def arm(self, order: Order) -> Order:
        """Have an order that is in the journal wait for its price."""
        order = self._engine.apply(order, (OrderEvent.ARMED,))
        self._armed.setdefault(order.intent.symbol, set()).add(order.intent.client_order_id)
        self.notice(order.intent.symbol)
        return self._engine.ledger.current(order)

    def not_sent(self, order: Order, refusal: Refusal) -> Order | None:
        """Have a triggered stop wait again that certainly did not leave; None where it is over."""
        reason = refusal.reason
        waits = (
            reason not in FINAL_REFUSALS
            if order.intent.reduce_only
            else (reason in PASSING_REFUSALS)
        )
        if not waits or order.cancel_wanted:
            return None
        self._wait(order.intent.client_order_id, order.attempt)
        text = f"waits again: {reason}: {refusal.message}"
        order = self._engine.apply(
            order, (OrderEvent.ARMED,), text, sent_quantity=None, sent_price=None, sent_ns=0
        )
        self._armed.setdefault(order.intent.symbol, set()).add(order.intent.client_order_id)
        return order

    def take_up_rest(self, order: Order, end: OrderState) -> None:
        """Have what did not fill of a sent stop wait, before the stop itself is over.

        In that order, so that a crash in between loses neither: the rest has a client id of its own
        that is never used twice.
        """
        intent = order.intent
        rest = intent.quantity - order.filled_quantity
        ends = end in RESTS or (end is OrderState.REJECTED and intent.reduce_only)
        if not (intent.held_here and order.sent_ns and ends) or rest <= 0:
            return
        if order.cancel_wanted or order.replacement is not None or self._is_pointless(order):
            return
        key, ledger = rest_id(intent.client_order_id), self._engine.ledger
        while ledger.was_used(key):
            known = ledger.get(key)
            if known is not None and known.intent.parent == intent.client_order_id:
                return
            # Somebody else's order has that id.
            key = rest_id(key)
        wanted = replace(
            intent,
            client_order_id=key,
            quantity=rest,
            parent=intent.client_order_id,
            replaces="",
            asked_quantity=None,
        )
        try:
            made = ledger.place(wanted)
        except JournalFailed as fault:
            _log.error("stop_rest_lost", client_order_id=key, why=str(fault))
            return
        self._wait(key, order.attempt)
        self._engine.metrics.safety.stop_retries.inc()
        self._engine.apply(
            made,
            (OrderEvent.ARMED,),
            f"the rest of {intent.client_order_id}",
            triggered_ns=order.triggered_ns or ledger.now_ns(),
            attempt=order.attempt,
        )
        self._armed.setdefault(intent.symbol, set()).add(key)
        if order.attempt >= ALARM_ATTEMPTS:
            self._alarm(made, order.attempt)

    def position_changed(self, symbol: str) -> None:
        """End the protective stops of a position that is gone; look at the others."""
        if self._armed.get(symbol):
            for order in self.armed(symbol):
                self._end_pointless(order)
            self._look(symbol)

    # ---------------------------------------------------------------- inside

    def _look(self, symbol: str) -> None:
        engine = self._engine
        quote, last = engine.quotes.quote(symbol), engine.quotes.last_trade(symbol)
        now, venue_now_ns = self._monotonic(), engine.venue_now_ns()
        for key in sorted(self._armed.get(symbol, ())):
            order = engine.ledger.get(key)
            if order is None or order.state is not OrderState.ARMED:
                self._forget(symbol, key)
                continue
            expires = order.intent.expires_at_ns
            if expires is not None and venue_now_ns is not None and expires <= venue_now_ns:
                engine.apply(order, (OrderEvent.EXPIRED,), "its time was up before its price came")
                self._forget(symbol, key)
                continue
            price = trigger_price(order.intent.side, last, quote)
            due = now >= self._not_before.get(key, 0.0)
            if due and (order.triggered_ns or is_reached(order.intent, price)):
                self._set_off(order, price)

    def _set_off(self, order: Order, price: Decimal | None) -> None:
        """Send a stop whose price was reached, if it may leave now; else it stays set off."""
        engine, intent = self._engine, order.intent
        if not order.triggered_ns:
            engine.metrics.safety.stop_triggers.inc()
            order = engine.ledger.change(
                order, triggered_ns=engine.ledger.now_ns(), reason=f"set off at {price}"
            )
        if self._end_pointless(order):
            return
        wanted = self._to_send(order)
        if isinstance(wanted, str):
            if not engine.ledger.current(order).state.is_terminal:
                self._hold(order, wanted)
            return
        self._held_told.discard(intent.client_order_id)
        self._forget(intent.symbol, intent.client_order_id)
        order = engine.apply(
            order,
            (OrderEvent.TRIGGERED,),
            sent_quantity=wanted[0],
            sent_price=wanted[1],
            sent_ns=engine.ledger.now_ns(),
            attempt=order.attempt + 1,
        )
        engine.send_soon(order)

    def _to_send(self, order: Order) -> tuple[Decimal, Decimal] | str:
        """Return quantity and limit price of a triggered stop, or why it has to wait."""
        intent, context = order.intent, self._engine.context(order.intent)
        rules, quote = context.rules, context.quote
        if rules is None:
            return "the venue's rules are not known yet"
        if quote is None or quote.age_seconds > context.limits.quote_stale_after_seconds:
            return "no fresh quote"
        limit = capped_price(intent.side, quote, self._max_slippage_bps, rules)
        if limit is None or limit <= 0:
            return "nothing to trade with on the other side of the book"
        quantity = quantity_to_send(order, context.position, context.working, rules)
        if quantity <= 0 or (rules.min_quantity is not None and quantity < rules.min_quantity):
            return f"other reducing orders leave room for {quantity}"
        return self._checked(order, quantity, limit, context)

    def _checked(
        self, order: Order, quantity: Decimal, limit: Decimal, context: Context
    ) -> tuple[Decimal, Decimal] | str:
        told = replace(order, sent_quantity=quantity, sent_price=limit).as_sent()
        if order.intent.reduce_only:
            wet = replace(context.limits, dry_run=False)
            refusal = last_gate(told, replace(context, limits=wet))
            return refusal.message if refusal else (quantity, limit)
        outcome = evaluate(told, replace(context, known={}, working=_but(context.working, order)))
        if not isinstance(outcome, Refusal):
            return outcome.quantity, limit
        if outcome.reason not in PASSING_REFUSALS:
            # An entry that may not be made when its moment comes is not made.
            self._engine.apply(
                order,
                (OrderEvent.TRIGGERED, OrderEvent.NOT_SENT),
                f"{outcome.reason}: {outcome.message}",
            )
            self._engine.count_refusal(order, outcome)
        return outcome.message

    def _hold(self, order: Order, why: str) -> None:
        """Note once that a stop is set off and cannot leave."""
        key = order.intent.client_order_id
        self._wait(key, 1)
        if key not in self._held_told:
            self._held_told.add(key)
            _log.warning("stop_held", client_order_id=key, why=why)
            self._note(order, "stop_held", {"why": why})

    def _is_pointless(self, order: Order) -> bool:
        intent, engine = order.intent, self._engine
        position = engine.ledger.position(intent.symbol).quantity
        return intent.reduce_only and engine.reconciled and position * intent.side.sign >= 0

    def _end_pointless(self, order: Order) -> bool:
        if order.state is not OrderState.ARMED or not self._is_pointless(order):
            return False
        self._engine.apply(order, (OrderEvent.CANCELLED,), "the position that it protects is gone")
        self._forget(order.intent.symbol, order.intent.client_order_id)
        return True

    def _alarm(self, order: Order, attempts: int) -> None:
        _log.error("stop_not_filled", client_order_id=order.intent.client_order_id, n=attempts)
        self._note(order, "stop_alarm", {"attempts": attempts, "rest": str(order.leaves)})

    def _note(self, order: Order, event_type: str, payload: dict[str, object]) -> None:
        self._engine.ledger.note(
            Record(
                type=event_type,
                symbol=order.intent.symbol,
                client_order_id=order.intent.client_order_id,
                payload=payload,
            )
        )

    def _wait(self, key: str, attempt: int) -> None:
        self._not_before[key] = self._monotonic() + backoff_seconds(attempt)

    def _forget(self, symbol: str, key: str) -> None:
        self._armed.get(symbol, set()).discard(key)
        self._not_before.pop(key, None)


def _but(orders: Sequence[Order], order: Order) -> list[Order]:
    key = order.intent.client_order_id
    return [one for one in orders if one.intent.client_order_id != key]

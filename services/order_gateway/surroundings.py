"""What surrounds an order at one moment: market, account, limits, and the other orders."""

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import structlog

from lob.types import Side
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import (
    RATE_WINDOW_NS,
    Context,
    Refusal,
    evaluate,
    on_tick,
)
from touchstone.perps.exposure import worst_position
from touchstone.perps.kill import Action, Gate
from touchstone.perps.orders import Intent, Order

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

_log = structlog.get_logger("touchstone.gateway.surroundings")


class Surroundings:
    """Gather what the checks look at, from an engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._entry_times_ns: deque[int] = deque(maxlen=engine.limits.max_orders_per_minute)

    def entered(self, now_ns: int) -> None:
        """Count one order that may increase risk."""
        self._entry_times_ns.append(now_ns)

    def context(self, intent: Intent) -> Context:
        """Gather what the checks of an order look at, as it is at this moment."""
        now_ns, symbol = self._engine.ledger.now_ns(), intent.symbol
        while self._entry_times_ns and self._entry_times_ns[0] <= now_ns - RATE_WINDOW_NS:
            self._entry_times_ns.popleft()
        limits = self._engine.limits
        valued = limits.max_total_notional is not None or limits.max_leverage is not None
        gate = self._engine.kill_switch.gate(symbol, intent.strategy)
        return Context(
            gate=gate,
            limits=limits,
            now_ns=now_ns,
            rules=self._engine.rules.get(symbol),
            quote=self._engine.quotes.quote(symbol),
            position=self._engine.ledger.position(symbol).quantity,
            reconciled=self._engine.reconciled,
            known=self._engine.ledger.known(intent.client_order_id),
            working=self._may_fill(intent, gate),
            entries_last_minute=len(self._entry_times_ns),
            draining=self._engine.draining,
            capabilities=self._engine.venue.capabilities,
            depth=None if limits.sizing is None else self._engine.quotes.depth(symbol, intent.side),
            other_exposure=self._other_exposure(symbol) if valued else None,
            equity=self._engine.equity() if limits.max_leverage is not None else None,
            venue_now_ns=self._engine.venue_now_ns(),
            entry_rules=self._engine.entry_rules(symbol),
        )

    def for_last_gate(self, intent: Intent) -> Context:
        """Gather what the last gate looks at: the state, the position, the other orders."""
        engine, symbol = self._engine, intent.symbol
        gate = engine.kill_switch.gate(symbol, intent.strategy)
        return Context(
            gate=gate,
            limits=engine.limits,
            now_ns=0,
            rules=None,
            quote=None,
            position=engine.ledger.position(symbol).quantity,
            reconciled=engine.reconciled,
            working=self._may_fill(intent, gate),
            draining=engine.draining,
        )

    def _may_fill(self, intent: Intent, gate: Gate) -> list[Order]:
        working = [
            # Few orders have another one behind them: what most cost here counts.
            self._so_far(order) if order.intent.parent else order
            for order in self._engine.ledger.working(intent.symbol)
        ]
        # The venue bounds what has the flag; without it, an order has to fit for certain.
        unbounded = not intent.reduce_only and not gate.permits(Action.INCREASE)
        if unbounded or not self._engine.venue_keeps_reduce_only:
            working += self._engine.reports.uncertain(intent.symbol)
        return working

    def _so_far(self, order: Order) -> Order:
        """Return an exit as large as what its entry has filled, which the position has as well."""
        if not order.intent.is_exit:
            return order
        entry = self._engine.ledger.get(order.intent.parent)
        if entry is None or entry.state.is_terminal:
            return order
        return replace(order, intent=replace(order.intent, quantity=entry.filled_quantity))

    def judge_replacement(self, original: Order, wanted: Intent) -> Refusal | None:
        """Return why `wanted` could not take an entry's place if that were over now."""
        left = wanted.quantity - original.filled_quantity
        if left <= 0:
            return None
        context = self.context(wanted)
        key = original.intent.client_order_id
        others = [order for order in context.working if order.intent.client_order_id != key]
        outcome = evaluate(
            replace(wanted, quantity=left), replace(context, working=others, known={})
        )
        return outcome if isinstance(outcome, Refusal) else None

    def _other_exposure(self, symbol: str) -> Decimal | None:
        """Return what all other symbols may come to; None where one cannot be valued."""
        total = Decimal(0)
        for other in self._engine.symbols:
            working = self._engine.ledger.working(other)
            held = self._engine.ledger.position(other).quantity
            if other == symbol or (not held and not working):
                continue
            mark = self._engine.quotes.mark(other)
            if mark is None:
                return None
            total += max(worst_position(side, Decimal(0), held, working) for side in Side) * mark
        return total

    def note_sizing(self, asked: Intent, sized: Intent, context: Context) -> None:
        """Log and record what sizing made of an order, original and adjusted notional."""
        if sized.asked_quantity is None:
            return
        quote = context.quote
        touch = None if quote is None else (quote.ask if asked.side is Side.BUY else quote.bid)
        price = sized.limit_price or sized.stop_price or touch or Decimal(0)
        payload = {
            "original_quantity": str(asked.quantity),
            "adjusted_quantity": str(sized.quantity),
            "original_notional": str(asked.quantity * price),
            "adjusted_notional": str(sized.quantity * price),
            "depth_l1": None if context.depth is None else str(context.depth.l1),
            "depth_l10": None if context.depth is None else str(context.depth.l10),
        }
        _log.info("order_sized", client_order_id=asked.client_order_id, **payload)
        self._engine.ledger.note(
            Record(
                type="order_sized",
                symbol=asked.symbol,
                client_order_id=asked.client_order_id,
                payload=payload,
            )
        )

    def same_terms(self, original: Intent, repeat: Intent) -> bool:
        """Compare as it was asked: the original may be on the tick, and smaller by sizing."""
        rules = self._engine.rules.get(repeat.symbol)
        if rules is not None:
            repeat = on_tick(repeat, rules)
        if original.asked_quantity is not None:
            repeat = replace(repeat, asked_quantity=repeat.quantity, quantity=original.quantity)
        return original == repeat

"""Cancel/replace: end an order for certain, then put another in its place.

The wish is in the journal with the original before its cancel leaves. Once the original is over,
with all its fills booked and confirmed by the venue, an order `<original>.r<n>` over what is left
goes the way of every order. A start goes on with what a crash interrupted; asking again for the
same finds the same order.
"""

import asyncio
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from lob.errors import Conflict, Fault, InvalidInput, NotFound
from touchstone.kit.ledger_entries import Record
from touchstone.perps.checks import (
    Refusal,
    RefusalReason,
    check_capabilities,
    check_product,
    check_stop_relation,
    evaluate,
    on_tick,
)
from touchstone.perps.orders import Intent, Order, OrderState, OrderType, Replacement
from touchstone.perps.stops import numbered

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

WAIT_SECONDS: Final = 2.0
"""How long a request waits for the original's end; the replacement goes on without it."""
REFUSALS_MAX: Final = 1_000
"""How many refused replacements are remembered for who asks again."""
LATER: Final = frozenset(
    {
        RefusalReason.NOT_RECONCILED,
        RefusalReason.CONTROL_STATE_UNKNOWN,
        RefusalReason.JOURNAL_UNAVAILABLE,
        RefusalReason.VENUE_UNAVAILABLE,
        RefusalReason.VENUE_RATE_LIMITED,
    }
)
"""Refusals after which a replacement is tried again; before it was journaled, that is."""
PROTECTION_LATER: Final = LATER | {
    RefusalReason.DRAINING,
    RefusalReason.REDUCE_ONLY_WOULD_INCREASE,
    RefusalReason.CANCEL_ONLY,
    RefusalReason.HALTED,
}
"""What replaces a reducing order waits longer: a position must not be left without."""

_log = structlog.get_logger("touchstone.gateway.replacing")


@dataclass(frozen=True, slots=True)
class Terms:
    """New terms; None leaves one as it is. `quantity` is the new whole, filled part included."""

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """How a replacement stands: `child` is None while the original is not over."""

    original: Order
    child: Order | None = None
    refusal: Refusal | None = None


class Replacing:
    """Replace the orders of an engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._locks: dict[str, asyncio.Lock] = {}
        self._refusals: dict[str, Refusal] = {}

    async def replace(self, client_order_id: str, terms: Terms) -> Replaced | Refusal:
        """Have other terms in an order's place; return how far it came.

        Raises:
            NotFound: no such order.
            InvalidInput: the order's type has no such price, or nothing would change.
            Conflict: the order is over, or other terms are already wanted.
            Unavailable: the venue did not take the cancel; it is repeated, and the wish stays.
        """
        ledger = self._engine.ledger
        order = await ledger.lookup(client_order_id)
        if order is None:
            raise NotFound(f"client_order_id: {client_order_id!r}: no such order")
        wanted = self._candidate(order, terms)
        wish = Replacement(
            client_order_id=wanted.client_order_id,
            quantity=wanted.quantity,
            limit_price=wanted.limit_price,
            stop_price=wanted.stop_price,
        )
        known = order.replacement
        if known is not None and replace(known, carried_out=False) == wish:
            await self._engine.wait_over(client_order_id, WAIT_SECONDS)
            return await self._how_it_stands(ledger.current(order))
        if known is not None:
            raise Conflict(
                f"client_order_id: {client_order_id}: {known.client_order_id} replaces it already"
            )
        if order.state.is_terminal:
            raise Conflict(f"client_order_id: {client_order_id}: the order is {order.state}")
        if order.cancel_wanted:
            raise Conflict(f"client_order_id: {client_order_id}: it is being cancelled")
        if ledger.was_used(wish.client_order_id):
            raise Conflict(
                f"client_order_id: {client_order_id}: its replacement would be "
                f"{wish.client_order_id}, which is another order's id"
            )
        refusal = self._impossible(order, wanted) or self._not_now(order, wanted)
        if refusal is not None:
            return refusal
        self._engine.cancelling.check_not_dry()
        order = ledger.change(order, replacement=wish, cancel_wanted=True)
        await ledger.kept()
        await self._engine.cancelling.end(order)
        await self._engine.wait_over(client_order_id, WAIT_SECONDS)
        return await self._how_it_stands(ledger.current(order))

    def give_up(self, order: Order, why: str) -> Order:
        """Drop a wish that was not carried out."""
        wish = order.replacement
        if wish is None or wish.carried_out:
            return order
        self._note(order, "replacement_dropped", {"why": why})
        return self._engine.ledger.change(order, replacement=replace(wish, carried_out=True))

    async def resume(self) -> None:
        """Carry out what is left to do of orders that are over; faults leave it for later."""
        for order in self._engine.ledger.outstanding():
            await self.carry_out(order)

    async def carry_out(self, order: Order) -> None:
        """Make the order that takes a finished one's place, once it certainly is over."""
        engine, key = self._engine, order.intent.client_order_id
        async with self._locks.setdefault(key, asyncio.Lock()):
            order = engine.ledger.current(order)
            wish = order.replacement
            if wish is None or wish.carried_out or not order.state.is_terminal:
                return
            if self._still_refused(order, wish):
                return
            try:
                order = await self._confirmed(order)
                wish = order.replacement
                # Meanwhile the wish may have been given up.
                if wish is None or wish.carried_out or not order.state.is_terminal:
                    return
                await self._make(order, wish)
            except Fault as fault:
                _log.info("replacement_waits", client_order_id=key, why=str(fault))
        if engine.ledger.current(order).is_done:
            self._locks.pop(key, None)

    # ---------------------------------------------------------------- inside

    async def _make(self, order: Order, wish: Replacement) -> None:
        intent = _child(order, wish)
        if intent.quantity <= 0:
            self._done(order, wish, {"left": "0"})
            return
        if self._is_pointless(intent):
            self.give_up(order, "the position that it reduces is gone")
            return
        outcome = await self._engine.submit(intent)
        refusal = outcome if isinstance(outcome, Refusal) else outcome.refusal
        if isinstance(outcome, Refusal):
            self._refusals[wish.client_order_id] = outcome
            if len(self._refusals) > REFUSALS_MAX:
                del self._refusals[next(iter(self._refusals))]
            if outcome.reason in (PROTECTION_LATER if intent.reduce_only else LATER):
                return
        payload: dict[str, object] = {
            "left": str(intent.quantity),
            "refused": refusal and refusal.reason.value,
        }
        self._done(order, wish, payload)

    def _is_pointless(self, intent: Intent) -> bool:
        position = self._engine.ledger.position(intent.symbol).quantity
        return intent.reduce_only and position * intent.side.sign >= 0

    def _still_refused(self, order: Order, wish: Replacement) -> bool:
        """Return whether what stood against the child the last time still does.

        Then neither the venue is asked nor the refusal told again.
        """
        told, intent = self._refusals.get(wish.client_order_id), _child(order, wish)
        if told is None or intent.quantity <= 0 or self._is_pointless(intent):
            return False
        outcome = evaluate(intent, self._engine.context(intent))
        return isinstance(outcome, Refusal) and outcome.reason is told.reason

    def _done(self, order: Order, wish: Replacement, payload: dict[str, object]) -> None:
        order = self._engine.ledger.current(order)
        self._engine.ledger.change(order, replacement=replace(wish, carried_out=True))
        self._note(order, "order_replaced", {"by": wish.client_order_id, **payload})

    async def _confirmed(self, order: Order) -> Order:
        """Return the order as the venue itself has it now, all fills booked."""
        engine = self._engine
        was_at_venue = order.venue_order_id and order.state in (
            OrderState.CANCELLED,
            OrderState.EXPIRED,
            OrderState.FILLED,
        )
        return await engine.refresh(order) if was_at_venue else order

    async def _how_it_stands(self, order: Order) -> Replaced:
        engine, wish = self._engine, order.replacement
        if wish is None:
            return Replaced(order)
        if order.state.is_terminal and not wish.carried_out:
            await self.carry_out(order)
            order = engine.ledger.current(order)
        child = await engine.ledger.lookup(wish.client_order_id)
        return Replaced(order, child, self._refusals.get(wish.client_order_id))

    def _candidate(self, order: Order, terms: Terms) -> Intent:
        """Return the terms that are wanted, on the tick.

        Raises:
            InvalidInput: the order's type has no such price, or does not rest.
        """
        intent = order.intent
        if intent.order_type is OrderType.MARKET:
            raise InvalidInput("type: MARKET: it does not rest; allowed: orders that do")
        for name, price, has in (
            ("limit_price", terms.limit_price, intent.order_type.has_limit),
            ("stop_price", terms.stop_price, intent.order_type.has_stop),
        ):
            if price is not None and not has:
                raise InvalidInput(f"{name}: {price}; a {intent.order_type} order has none")
        wanted = replace(
            intent,
            client_order_id=numbered(intent.client_order_id, "r"),
            quantity=terms.quantity or intent.quantity,
            limit_price=terms.limit_price or intent.limit_price,
            stop_price=terms.stop_price or intent.stop_price,
        )
        rules = self._engine.rules.get(intent.symbol)
        return wanted if rules is None else on_tick(wanted, rules)

    def _impossible(self, order: Order, wanted: Intent) -> Refusal | None:
        """Return why the terms could never be had: the order stays as it is then.

        Raises:
            InvalidInput: they are the order's own.
        """
        if replace(wanted, client_order_id=order.intent.client_order_id) == order.intent:
            raise InvalidInput("quantity, limit_price, stop_price: nothing would change")
        context = self._engine.context(wanted)
        for check in (check_capabilities, check_product, check_stop_relation):
            outcome = check(wanted, context)
            if isinstance(outcome, Refusal):
                return outcome
        return None

    def _not_now(self, order: Order, wanted: Intent) -> Refusal | None:
        """Return why the order should rather stay: its replacement would be refused."""
        engine = self._engine
        if engine.ledger.failure:
            text = f"not replaced: journal: {engine.ledger.failure}"
            return Refusal(RefusalReason.JOURNAL_UNAVAILABLE, text)
        if not order.intent.reduce_only:
            return engine.surroundings.judge_replacement(order, wanted)
        if engine.draining:
            return Refusal(RefusalReason.DRAINING, "the gateway is stopping: no new orders")
        return None

    def _note(self, order: Order, event_type: str, payload: dict[str, object]) -> None:
        self._engine.ledger.note(
            Record(
                type=event_type,
                symbol=order.intent.symbol,
                client_order_id=order.intent.client_order_id,
                payload=payload,
            )
        )


def _child(order: Order, wish: Replacement) -> Intent:
    """Return what takes an order's place: its terms but for those wished, over what is left."""
    return replace(
        order.intent,
        client_order_id=wish.client_order_id,
        quantity=wish.quantity - order.filled_quantity,
        limit_price=wish.limit_price,
        stop_price=wish.stop_price,
        replaces=order.intent.client_order_id,
        parent="",
        asked_quantity=None,
    )

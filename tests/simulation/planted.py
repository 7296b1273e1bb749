"""Defects on purpose: what a simulation is worth shows in how soon it finds them.

Each is a mistake that a gateway could well have, put into the real code while a run lasts.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from services.order_gateway.cancelling import Cancelling
from services.order_gateway.ledger import Ledger
from services.order_gateway.used_ids import UsedIds
from services.order_gateway.venues.base import OutcomeUnknown, Passage
from services.order_gateway.venues.coinbase_rest import CoinbaseRest
from touchstone.kit.leases import SendGate
from touchstone.kit.ledger_entries import Fill
from touchstone.perps import checks
from touchstone.perps.orders import Intent, Order, OrderEvent

Undo = Callable[[], None]


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Undo:
    before = getattr(owner, name)
    setattr(owner, name, make(before))
    return lambda: setattr(owner, name, before)


def _resends() -> Undo:
    """Send an order again whose answer did not come in time."""

    def make(submit: Any) -> Any:
        async def again(self: CoinbaseRest, *arguments: Any) -> Any:
            try:
                return await submit(self, *arguments)
            except OutcomeUnknown:
                return await submit(self, *arguments)

        return again

    return _replace(CoinbaseRest, "submit", make)


def _books_twice() -> Undo:
    """Forget which fills are booked, so that the next look at an order books them again."""

    def make(book: Any) -> Any:
        def forgetful(self: Ledger, order: Order, fills: Sequence[Fill]) -> Order:
            order = book(self, order, fills)
            self._booked.pop(order.venue_order_id, None)
            return order

        return forgetful

    return _replace(Ledger, "book", make)


def _asks_the_gate_early() -> Undo:
    """Ask the last gate, wait for something, and send without asking again."""

    def make(submit: Any) -> Any:
        async def early(self: CoinbaseRest, intent: Intent, rules: Any, passage: Passage) -> Any:
            if passage() is None:
                await asyncio.sleep(0.02)
                passage.handed_over()
                passage = Passage(SendGate(), lambda: None)
            return await submit(self, intent, rules, passage)

        return early

    return _replace(CoinbaseRest, "submit", make)


def _believes_cancels() -> Undo:
    """Take a cancel that was accepted for the end of the order."""

    def make(send_cancel: Any) -> Any:
        async def believe(self: Cancelling, order: Order) -> Order:
            order = self._engine.ledger.current(order)
            if order.venue_order_id and not order.state.is_terminal:
                answers = await self._engine.venue.cancel([order.venue_order_id])
                order = self._engine.ledger.current(order)
                if order.venue_order_id in answers and not order.state.is_terminal:
                    return self._engine.ledger.apply(order, (OrderEvent.CANCELLED,))
            result: Order = await send_cancel(self, order)
            return result

        return believe

    return _replace(Cancelling, "send_cancel", make)


def _does_not_wait_for_the_disk() -> Undo:
    """Let an order leave before its intent is on the disk."""

    def at_once(_self: Ledger) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    return _replace(Ledger, "keep", lambda _keep: at_once)


def _forgets_ids() -> Undo:
    """Begin each start without the ids of orders that are over."""

    def make(restore: Any) -> Any:
        def forgetful(self: Ledger, *, orders: Any = (), used: Any = (), **rest: Any) -> None:
            del used
            restore(self, orders=[o for o in orders if not o.state.is_terminal], **rest)

        return forgetful

    first = _replace(Ledger, "restore", make)
    second = _replace(UsedIds, "__contains__", lambda _contains: lambda _self, _key: False)

    def undo() -> None:
        first()
        second()

    return undo


def _forgets_pending_exits() -> Undo:
    """Compare a reduce-only order with the position alone, not with what works already."""

    def alone(intent: Intent, position: Any, working: Any) -> bool:
        reducing: bool = position * intent.side.sign < 0 and intent.quantity <= abs(position)
        return reducing

    return _replace(checks, "reduces", lambda _reduces: alone)


def _loses_a_state() -> Undo:
    """Change an order in memory and leave one kind of change out of the journal."""

    def make(apply: Any) -> Any:
        def careless(self: Ledger, order: Order, events: Any, *rest: Any, **fields: Any) -> Order:
            events = tuple(events)
            journal = self.journal
            if OrderEvent.CANCELLED in events:
                self.journal = _Deaf()
            try:
                changed: Order = apply(self, order, events, *rest, **fields)
            finally:
                self.journal = journal
            return changed

        return careless

    return _replace(Ledger, "apply", make)


def _replaces_too_soon() -> Undo:
    """Put the replacement in place before the original is over."""

    def make(end: Any) -> Any:
        async def too_soon(self: Cancelling, order: Order) -> Order:
            wish = self._engine.ledger.current(order).replacement
            if wish is not None and not wish.carried_out and not order.intent.held_here:
                await self._engine.replacing._make(order, wish)
            result: Order = await end(self, order)
            return result

        return too_soon

    return _replace(Cancelling, "end", make)


class _Deaf:
    """A journal that writes nothing."""

    failure = ""

    def append(self, _entry: Any) -> int:
        """Forget the entry."""
        return 0

    async def kept(self) -> None:
        """Keep nothing."""

    def keep(self) -> asyncio.Future[None]:
        """Keep nothing."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


PLANTED: Final[dict[str, Callable[[], Undo]]] = {
    "resends": _resends,
    "books-twice": _books_twice,
    "gate-early": _asks_the_gate_early,
    "believes-cancels": _believes_cancels,
    "no-sync": _does_not_wait_for_the_disk,
    "forgets-ids": _forgets_ids,
    "forgets-exits": _forgets_pending_exits,
    "loses-a-state": _loses_a_state,
    "replaces-too-soon": _replaces_too_soon,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have the gateway make one mistake for a while; '' for none."""
    undo = PLANTED[name]() if name else lambda: None
    try:
        yield
    finally:
        undo()

"""Cancels: of one order, of everything that could increase risk, of all; repeated until they hold.

No state of the kill switch stops a cancel. An accepted cancel is a request only: an order is over
when the venue says so.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import structlog

from lob.errors import Conflict, Fault, NotFound, Unavailable
from touchstone.kit.journal import JournalFailed
from touchstone.perps.checks import risk_increasing
from touchstone.perps.orders import Order, OrderEvent, OrderState

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

E = OrderEvent
DRAIN_POLL_SECONDS: Final = 0.1
CANCELLABLE: Final = frozenset({OrderState.SUBMITTED, OrderState.OPEN, OrderState.PARTIALLY_FILLED})
NOT_CANCELLABLE_YET: Final = frozenset({OrderState.PENDING_SUBMIT, OrderState.UNKNOWN})

_log = structlog.get_logger("touchstone.gateway.cancelling")


class Cancelling:
    """Cancel the orders of an engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    async def cancel(self, client_order_id: str) -> Order:
        """Ask the venue to cancel; return the order as it then stands.

        An order whose outcome is unknown is cancelled as soon as it is found, and a stop that is
        held here at once. No kill state stops a cancel.

        Raises:
            NotFound: no such order.
            Conflict: it is over already, or the venue refused.
            Unavailable: the venue did not answer; the cancel is repeated until it does. Or the
                order was held here, is over, and the disk does not know.
        """
        order = await self._engine.ledger.lookup(client_order_id)
        if order is None:
            raise NotFound(f"client_order_id: {client_order_id!r}: no such order")
        if order.state.is_terminal:
            raise Conflict(
                f"client_order_id: {client_order_id}: the order is {order.state} already"
            )
        self.check_not_dry()
        order = self._engine.ledger.change(order, cancel_wanted=True)
        self._engine.replacing.give_up(order, "the order was cancelled")
        return await self.end(order)

    async def end(self, order: Order) -> Order:
        """End one order for good: here, where it is held, else at the venue.

        Raises:
            Unavailable: it was held here and is over, but the disk does not know; or as `cancel`.
        """
        order = self._engine.ledger.current(order)
        if order.state is not OrderState.ARMED:
            return await self.send_cancel(order)
        order = self._engine.apply(order, (E.CANCELLED,), "cancelled while it waited here")
        try:
            # Nobody but the journal knows of it: what a start does not find, it arms again.
            await self._engine.ledger.kept()
        except JournalFailed as fault:
            raise Unavailable(
                f"client_order_id: {order.intent.client_order_id}: cancelled, but that is not kept "
                f"({fault}): the stop is armed again at the next start; cancel it then"
            ) from None
        return order

    async def send_cancel(self, order: Order) -> Order:
        """Send the cancel that an order wants, and look at what it came to."""
        key = order.intent.client_order_id
        self._engine.unsettled.add(key)
        order = self._engine.ledger.current(order)
        if order.state in NOT_CANCELLABLE_YET or not order.venue_order_id:
            return order
        self.check_not_dry()
        answers = await self._engine.venue.cancel([order.venue_order_id])
        reason = answers.get(order.venue_order_id)
        if reason is None:
            raise Unavailable(f"venue: cancel of {key}: the answer does not mention it")
        order = self._engine.ledger.current(order)
        if order.state.is_terminal:
            return order
        if not reason:
            if order.state is not OrderState.PENDING_CANCEL:
                order = self._engine.apply(order, (E.CANCEL_REQUESTED,))
            await self._engine.wait_over(key, self._engine.patience_seconds / 4)
            order = self._engine.ledger.current(order)
        if not order.state.is_terminal:
            order = await self._engine.refresh(order)
        if reason and not order.state.is_terminal and "DUPLICATE" not in reason:
            self._engine.apply(order, (E.CANCEL_REFUSED,), reason)
            raise Conflict(f"client_order_id: {key}: the venue refused the cancel: {reason}")
        return order

    async def cancel_entries(self, *, only_closed: bool = False) -> int:
        """Cancel what could increase risk and keep what reduces it; return how many.

        `only_closed` leaves alone what no scope of the kill switch has closed. Stops that only
        reduce stay, those at the venue as well as those that are held here.
        """
        wanted = [
            order
            for symbol in self._engine.symbols
            for order in risk_increasing(
                self._engine.ledger.working(symbol), self._engine.ledger.position(symbol).quantity
            )
            if not only_closed or self._engine.kill_switch.closes(symbol, order.intent.strategy)
        ]
        for order in wanted:
            self._engine.replacing.give_up(order, "entries were cancelled")
        return await self.cancel_orders(wanted)

    async def cancel_orders(self, orders: Iterable[Order]) -> int:
        """Have working orders cancelled, whatever they are for, until they are; return how many."""
        wanted = list(orders)
        try:
            taken = await self.end_all(wanted)
        except Fault as fault:
            _log.warning("orders_not_cancelled", count=len(wanted), why=str(fault))
            return len(wanted)
        if wanted:
            _log.warning("cancels_requested", count=len(wanted), taken=taken)
        return len(wanted)

    async def end_all(self, orders: Iterable[Order]) -> int:
        """Have orders cancelled, all in one request; return how many cancels were taken.

        The venue's rate limit must not stand in the way of a kill. What is not over afterwards is
        cancelled again, one by one, until it is.

        Raises:
            Fault: the venue did not answer; the cancels are repeated.
        """
        wanted_ends = list(orders)
        if wanted_ends:
            self.check_not_dry()
        at_venue: dict[str, Order] = {}
        for order in wanted_ends:
            wanted = self._engine.ledger.change(order, cancel_wanted=True)
            if wanted.state is OrderState.ARMED:
                self._engine.apply(wanted, (E.CANCELLED,), "cancelled while it waited here")
                continue
            self._engine.unsettled.add(wanted.intent.client_order_id)
            if wanted.venue_order_id and not wanted.state.is_terminal:
                at_venue[wanted.venue_order_id] = wanted
        if not at_venue:
            return 0
        answers = await self._engine.venue.cancel(list(at_venue))
        for venue_order_id, order in at_venue.items():
            order = self._engine.ledger.current(order)  # noqa: PLW2901 - as it stands now
            if answers.get(venue_order_id) == "" and order.state in CANCELLABLE:
                self._engine.apply(order, (E.CANCEL_REQUESTED,))
        return sum(1 for reason in answers.values() if not reason)

    def check_not_dry(self) -> None:
        """Let nothing be cancelled in a dry run.

        Raises:
            Unavailable: it is one.
        """
        if self._engine.limits.dry_run:
            raise Unavailable("dry run: nothing is sent to the venue")

    async def wait_for_cancels(self) -> None:
        """Wait until no order wants a cancel any more; the caller bounds the time."""
        while any(order.cancel_wanted for order in self._engine.ledger.working()):
            for order in self._engine.ledger.working():
                if order.cancel_wanted and order.venue_order_id:
                    try:
                        await self._engine.refresh(order)
                    except Fault as fault:
                        key = order.intent.client_order_id
                        _log.warning("order_unsettled", client_order_id=key, why=str(fault))
            await asyncio.sleep(DRAIN_POLL_SECONDS)

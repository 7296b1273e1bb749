"""Ask the venue for one order: what it has, that it has none, or that it has another one."""

from typing import TYPE_CHECKING, Final

import structlog

from services.order_gateway.venues.base import VenueReport
from touchstone.kit.ledger_entries import Record
from touchstone.perps.orders import Order, OrderEvent, OrderState

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

# A venue may show an order a little later than it takes it, and lose sight of one.
VISIBLE_AFTER_SECONDS: Final = 10

_log = structlog.get_logger("touchstone.gateway.looking_up")


class LookUps:
    """Look up the orders of an engine."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._absent_since_ns: dict[str, int] = {}

    def forget(self, client_order_id: str) -> None:
        """Forget since when an order was not there: it is over."""
        self._absent_since_ns.pop(client_order_id, None)

    async def refresh(self, order: Order) -> Order:
        """Ask the venue for the order's state and apply it; an order without venue id is unsettled.

        Raises:
            Fault: the venue did not answer; the order stays unsettled.
        """
        key = order.intent.client_order_id
        if not order.state.is_terminal:
            self._engine.unsettled.add(key)
        if not order.venue_order_id:
            return self._engine.ledger.current(order)
        report = await self._engine.venue.order(order.venue_order_id)
        if report is None:
            return self._not_at_venue(self._engine.ledger.current(order))
        self._absent_since_ns.pop(key, None)
        self._compare_terms(self._engine.ledger.current(order), report)
        return await self._engine.apply_report(report)

    def _not_at_venue(self, order: Order) -> Order:
        if order.state.is_terminal:
            self._engine.unsettled.discard(order.intent.client_order_id)
            return order
        key, now_ns = order.intent.client_order_id, self._engine.ledger.now_ns()
        absent_ns = now_ns - self._absent_since_ns.setdefault(key, now_ns)
        if absent_ns < VISIBLE_AFTER_SECONDS * 1_000_000_000:
            self._engine.unsettled.add(key)
            return order
        self._absent_since_ns.pop(key, None)
        self._engine.metrics.reconciliation_differences.labels("order_missing").inc()
        return self._engine.apply(order, (OrderEvent.NOT_FOUND,), "the venue has no such order")

    def _compare_terms(self, order: Order, report: VenueReport) -> None:
        """Report an order that is not what was asked for (a client id used before, elsewhere)."""
        intent = order.as_sent()
        found = (report.side, report.quantity, report.limit_price)
        meant = (intent.side, intent.quantity, intent.limit_price)
        known = order.state is not OrderState.SUBMITTED or intent.parent != ""
        if known or report.quantity is None or found == meant:
            return
        self._engine.metrics.defects.inc()
        payload = {"meant": [str(term) for term in meant], "found": [str(term) for term in found]}
        _log.error("order_terms_differ", client_order_id=intent.client_order_id, what=payload)
        self._engine.ledger.note(
            Record(
                type="order_terms_differ",
                symbol=intent.symbol,
                client_order_id=intent.client_order_id,
                payload=payload,
            ),
        )

"""Explain what is at the venue and not in the journal: orders of others, fills that nobody told.

What was made after the journal began is taken in with its fills, so that the position follows from
trades; what is older is left to the position itself.
"""

from typing import TYPE_CHECKING, Final

import structlog

from lob.errors import NotFound
from lob.types import TimeInForce
from services.order_gateway.venues.base import VenueReport
from touchstone.kit.ledger_entries import Record
from touchstone.perps.orders import Intent, Order, OrderType, VenueStatus

if TYPE_CHECKING:
    from services.order_gateway.engine import Engine

FOREIGN_PREFIX: Final = "venue:"

_log = structlog.get_logger("touchstone.gateway.explaining")


class Explaining:
    """Take in what an engine's venue has and its journal has not."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._ledger = engine.ledger

    async def take_working(self, report: VenueReport) -> None:
        """Apply the report of an order that works at the venue; adopt it where it is not ours."""
        try:
            order = await self._engine.apply_report(report)
        except NotFound:
            if self._may_be_an_exit_of_ours(report):
                return
            if (adopted := self._adopt(report)) is None:
                return
            order = adopted
            await self._engine.apply_report(report)
        if order.cancel_wanted and not order.state.is_terminal:
            self._engine.unsettled.add(order.intent.client_order_id)

    async def explain(self, symbol: str) -> None:
        """Book the fills of a symbol's newest orders that are not booked yet.

        Orders that are unknown here are taken in where they are newer than the oldest of ours that
        the venue shows, and liquidations always: only what happened since the journal began can
        make a position differ from it.

        Raises:
            Fault: the venue did not answer; nothing is certain then.
        """
        reports = await self._engine.venue.orders(symbol, working_only=False)
        ours = [n for n, report in enumerate(reports) if self._is_known(report)]
        oldest = ours[-1] if ours else -1
        short = []
        for number, report in reversed(list(enumerate(reports))):
            order = self._ledger.find(report)
            is_recent = number < oldest or report.is_liquidation
            if order is None and is_recent and not self._is_known(report):
                order = self._adopt(report) if report.filled_quantity > 0 else None
            if order is not None and report.filled_quantity > order.filled_quantity:
                self._engine.reports.take(report)
                short.append(report.venue_order_id)
        if short:
            _log.info("fills_explain", symbol=symbol, orders=len(short))
            self._engine.metrics.reconciliation_differences.labels("fills_found").inc(len(short))
            await self._engine.reports.fetch(short)

    def _adopt(self, report: VenueReport) -> Order | None:
        """Return the order that a report of somebody else's becomes; None where it says too little.

        An order without any quantity is told, and left alone.
        """
        quantity = report.quantity or report.filled_quantity
        if quantity <= 0:
            self._ledger.note(
                Record(
                    type="order_not_adopted",
                    symbol=report.symbol,
                    payload={"venue": report.venue_order_id, "why": "no quantity yet"},
                )
            )
            return None
        guessed = OrderType.MARKET if report.limit_price is None else OrderType.LIMIT
        intent = Intent(
            client_order_id=self._client_id(report),
            symbol=report.symbol,
            side=report.side,
            quantity=quantity,
            order_type=report.order_type or guessed,
            time_in_force=report.time_in_force or TimeInForce.GTC,
            limit_price=report.limit_price,
            stop_price=report.stop_price,
            post_only=bool(report.post_only),
            reduce_only=bool(report.reduce_only) or report.order_type is OrderType.BRACKET,
        )
        _log.warning(
            "order_adopted",
            venue_order_id=report.venue_order_id,
            side=report.side.value,
            quantity=str(quantity),
            live=report.status is VenueStatus.LIVE,
        )
        return self._ledger.adopt_order(report, intent)

    def _may_be_an_exit_of_ours(self, report: VenueReport) -> bool:
        """Return whether the entry that it belongs to may be one whose answer was lost."""
        return bool(report.originating_order_id) and any(
            order.intent.attached is not None and not order.venue_order_id
            for order in self._ledger.working(report.symbol)
        )

    def _client_id(self, report: VenueReport) -> str:
        """Return the id to keep it under: its own, unless that is another order's."""
        own = report.client_order_id
        if own and not self._ledger.was_used(own):
            return own
        return f"{FOREIGN_PREFIX}{report.venue_order_id}"

    def _is_known(self, report: VenueReport) -> bool:
        """Return whether the journal has, or once had, the order of a report."""
        if self._ledger.find(report) is not None:
            return True
        names = (report.client_order_id, f"{FOREIGN_PREFIX}{report.venue_order_id}")
        return any(name and self._ledger.was_used(name) for name in names)

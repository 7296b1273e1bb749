"""A venue in memory that fails on demand: before taking an order, after it, or never answering."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from lob.errors import Unavailable
from lob.types import TimeInForce
from services.order_gateway.venues.base import (
    Accepted,
    GateClosed,
    NotSent,
    OutcomeUnknown,
    Passage,
    Rejected,
    VenuePosition,
    VenueReport,
)
from touchstone.kit.event_store import Fill
from touchstone.perps.capabilities import ASSUMED, Capability
from touchstone.perps.orders import Attached, Intent, OrderType, VenueStatus
from touchstone.perps.products import ProductRules


class Failure(StrEnum):
    """How the next submit goes wrong."""

    NOT_SENT = "NOT_SENT"
    LOST_REQUEST = "LOST_REQUEST"
    LOST_ANSWER = "LOST_ANSWER"
    REJECTED = "REJECTED"


@dataclass
class FakeVenue:
    """Implements `Venue`; tests look into it and push reports out of it."""

    fail_next: Failure | None = None
    down: bool = False
    pause: asyncio.Event | None = None
    on_arrival: Callable[[Intent], None] | None = None
    by_id: dict[str, VenueReport] = field(default_factory=dict)
    fills_by_id: dict[str, list[Fill]] = field(default_factory=dict)
    held: dict[str, VenuePosition] = field(default_factory=dict)
    capabilities: frozenset[Capability] = ASSUMED
    sent: list[Intent] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    fill_requests: list[tuple[str, ...]] = field(default_factory=list)
    fill_all_at: Decimal | None = None
    """Where set, every immediate order trades wholly at this price before its answer leaves."""
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def rules(self) -> Mapping[str, ProductRules]:
        """Return rules for the one symbol."""
        self._answer()
        rules = ProductRules(
            symbol="BTC-PERP",
            product_id="BIP",
            price_increment=Decimal(5),
            size_increment=Decimal("0.01"),
            contract_size=Decimal("0.01"),
        )
        return {"BTC-PERP": rules}

    async def submit(
        self,
        intent: Intent,
        rules: ProductRules,  # noqa: ARG002 - the protocol's signature
        passage: Passage,
    ) -> Accepted | Rejected:
        """Take, lose or refuse an order as `fail_next` says."""
        if self.pause is not None:
            await self.pause.wait()
        await passage.kept()
        refusal = passage()
        if refusal is not None:
            raise GateClosed(refusal)
        failure, self.fail_next = self.fail_next, None
        if self.down or failure is Failure.NOT_SENT:
            raise NotSent("venue: create order: not sent: refused")
        self.sent.append(intent)
        if self.on_arrival is not None:
            self.on_arrival(intent)
        if failure is Failure.LOST_REQUEST:
            raise OutcomeUnknown("venue: create order: time-out; outcome unknown")
        if failure is Failure.REJECTED:
            return Rejected("INSUFFICIENT_FUND: no")
        report = self.accept(intent)
        if self.fill_all_at is not None and intent.time_in_force is TimeInForce.IOC:
            self.fill(report.venue_order_id, str(intent.quantity), str(self.fill_all_at))
        if failure is Failure.LOST_ANSWER:
            raise OutcomeUnknown("venue: create order: time-out; outcome unknown")
        return Accepted(report.venue_order_id, report.attached_order_id)

    def accept(self, intent: Intent) -> VenueReport:
        """Put an order on the venue's books."""
        report = VenueReport(
            venue_order_id=f"v{next(self.numbers)}",
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side,
            status=VenueStatus.LIVE,
            filled_quantity=Decimal(0),
            quantity=intent.quantity,
            limit_price=intent.limit_price,
            stop_price=intent.stop_price,
            order_type=intent.order_type,
        )
        if intent.attached is not None:
            report = self._attach(report, intent.attached)
        self.by_id[report.venue_order_id] = report
        return report

    def _attach(self, entry: VenueReport, attached: Attached) -> VenueReport:
        """Make the exit of an entry: pending, and of no size yet."""
        child = VenueReport(
            venue_order_id=f"v{next(self.numbers)}",
            client_order_id="",
            symbol=entry.symbol,
            side=entry.side.opposite,
            status=VenueStatus.LIVE,
            filled_quantity=Decimal(0),
            quantity=Decimal(0),
            limit_price=attached.take_profit_price,
            stop_price=attached.stop_price,
            order_type=OrderType.BRACKET,
            originating_order_id=entry.venue_order_id,
        )
        self.by_id[child.venue_order_id] = child
        return replace(entry, attached_order_id=child.venue_order_id)

    def end(self, venue_order_id: str, status: VenueStatus = VenueStatus.CANCELLED) -> VenueReport:
        """End an order for a reason of the venue's, and return the report."""
        report = replace(self.by_id[venue_order_id], status=status)
        self.by_id[venue_order_id] = report
        return report

    def fill(self, venue_order_id: str, quantity: str, price: str = "60000") -> VenueReport:
        """Trade part of an order, whatever its status, and return the report."""
        report = self.by_id[venue_order_id]
        fills = self.fills_by_id.setdefault(venue_order_id, [])
        fills.append(
            Fill(
                venue_order_id=venue_order_id,
                trade_id=f"t{next(self.numbers)}",
                client_order_id=report.client_order_id,
                symbol=report.symbol,
                side=report.side,
                quantity=Decimal(quantity),
                price=Decimal(price),
                fee=Decimal(0),
            ),
        )
        filled = report.filled_quantity + Decimal(quantity)
        whole = filled == report.quantity
        report = replace(
            report,
            filled_quantity=filled,
            status=VenueStatus.FILLED if whole else report.status,
        )
        self.by_id[venue_order_id] = report
        before = self.held.get(report.symbol, VenuePosition(Decimal(0), None)).quantity
        after = before + report.side.sign * Decimal(quantity)
        self.held[report.symbol] = VenuePosition(after, Decimal(price))
        return report

    async def cancel(self, venue_order_ids: Sequence[str]) -> Mapping[str, str]:
        """Cancel at once; refuse what is over."""
        self._answer()
        self.cancels.extend(venue_order_ids)
        return {key: self._cancel(key) for key in venue_order_ids}

    def _cancel(self, venue_order_id: str) -> str:
        report = self.by_id.get(venue_order_id)
        if report is None:
            return "UNKNOWN_CANCEL_ORDER"
        if report.status is not VenueStatus.LIVE:
            return "ORDER_IS_FULLY_FILLED"
        self.by_id[venue_order_id] = replace(report, status=VenueStatus.CANCELLED)
        return ""

    async def order(self, venue_order_id: str) -> VenueReport | None:
        """Return an order."""
        self._answer()
        return self.by_id.get(venue_order_id)

    async def orders(self, symbol: str, *, working_only: bool) -> list[VenueReport]:
        """Return the orders, newest first."""
        self._answer()
        return [
            report
            for report in reversed(self.by_id.values())
            if report.symbol == symbol and (report.status is VenueStatus.LIVE or not working_only)
        ]

    async def fills_of(self, venue_order_ids: Sequence[str]) -> list[Fill]:
        """Return the fills of many orders, without their client ids."""
        self._answer()
        self.fill_requests.append(tuple(venue_order_ids))
        found = [fill for key in venue_order_ids for fill in self.fills_by_id.get(key, [])]
        return [replace(fill, client_order_id="") for fill in found]

    async def positions(self) -> Mapping[str, VenuePosition]:
        """Return the open positions."""
        self._answer()
        return {symbol: held for symbol, held in self.held.items() if held.quantity}

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("venue: down")

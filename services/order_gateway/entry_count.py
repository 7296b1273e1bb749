"""How many orders were placed on the venue's day, and the rule that ends entries at the limit."""

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal

from touchstone.kit.ledger_entries import Entry
from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import Intent, Order
from touchstone.perps.performance import venue_day


class EntryCount:
    """Count the orders of the day that are not flagged reduce-only; `limit` of None is no limit."""

    def __init__(self, venue_now_ns: Callable[[], int | None], limit: int | None = None) -> None:
        self._venue_now_ns = venue_now_ns
        self._limit = limit
        self._day: date | None = None
        self._count = 0

    def start(self, orders: Iterable[Order]) -> None:
        """Go on from the orders that are stored; their local time stands for the venue's."""
        for order in orders:
            self._take(order.intent, venue_day(order.created_ns))

    def offer(self, _number: int, entry: Entry) -> None:
        """Take one entry of the journal: a new order counts."""
        if entry.order is None:
            return
        if any(record.type == "order_intent" for record in entry.records):
            now_ns = self._venue_now_ns()
            self._take(entry.order.intent, venue_day(now_ns or entry.at_ns))

    def rule(self, intent: Intent, _price: Decimal) -> Refusal | None:
        """Refuse an entry beyond the day's limit."""
        now_ns = self._venue_now_ns()
        if self._limit is None or self._day is None:
            return None
        is_same_day = now_ns is None or venue_day(now_ns) == self._day
        if not is_same_day or self._count < self._limit:
            return None
        return Refusal(
            RefusalReason.ORDER_RATE,
            f"symbol: {intent.symbol}: {self._count} orders today; allowed: {self._limit}",
        )

    def _take(self, intent: Intent, day: date) -> None:
        if intent.reduce_only:
            return
        if self._day is None or day > self._day:
            self._day, self._count = day, 0
        if day == self._day:
            self._count += 1

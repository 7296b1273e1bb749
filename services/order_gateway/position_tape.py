"""What each position was at a past moment of the venue's clock, from the entries of the journal."""

from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

from touchstone.kit.ledger_entries import Entry, Fill
from touchstone.perps.funding import positions_at

CHANGES_MAX: Final = 200_000
"""Changes kept for each symbol: hours of the busiest trading."""

_ZERO: Final = Decimal(0)


class PositionTape:
    """Keep when each position changed, by the venue's time of its fills.

    `venue_now_ns` dates what has no venue time of its own: a position that was adopted.
    """

    def __init__(self, venue_now_ns: Callable[[], int | None]) -> None:
        self._venue_now_ns = venue_now_ns
        self._changes: dict[str, deque[tuple[int, Decimal]]] = {}
        self._seen: set[tuple[str, str]] = set()
        self._quantities: dict[str, Decimal] = {}

    def start(self, quantities: dict[str, Decimal], fills: Iterable[Fill]) -> None:
        """Begin with the present positions, and with the fills of the time that is asked about."""
        self._quantities = dict(quantities)
        for fill in fills:
            self._take_fill(fill)

    def offer(self, _number: int, entry: Entry) -> None:
        """Take one entry of the journal: a fill, or a position that was adopted."""
        position = entry.position
        if position is None:
            return
        if entry.fill is not None:
            self._take_fill(entry.fill)
        elif position.quantity != self._quantities.get(position.symbol, _ZERO):
            moved = position.quantity - self._quantities.get(position.symbol, _ZERO)
            self._add(position.symbol, self._venue_now_ns() or 0, moved)
        self._quantities[position.symbol] = position.quantity

    def positions_at(self, symbol: str, time_ns: int, now: Decimal) -> tuple[Decimal, ...]:
        """Return the signed positions of a moment, from what it is `now`. O(changes kept)."""
        return positions_at(time_ns, now, self._changes.get(symbol, ()))

    def _take_fill(self, fill: Fill) -> None:
        key = (fill.venue_order_id, fill.trade_id)
        if key in self._seen:
            return
        self._seen.add(key)
        if len(self._seen) > 2 * CHANGES_MAX:
            # What was seen so long ago is told again by nobody.
            self._seen.clear()
        at_ns = fill.ts_event_ns or self._venue_now_ns() or 0
        self._add(fill.symbol, at_ns, fill.quantity * fill.side.sign)

    def _add(self, symbol: str, at_ns: int, moved: Decimal) -> None:
        changes = self._changes.setdefault(symbol, deque(maxlen=CHANGES_MAX))
        changes.append((at_ns, moved))

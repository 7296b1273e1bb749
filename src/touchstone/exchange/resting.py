"""The lots that one account has resting in one book, and which of them may only reduce."""

from lob.types import Side
from touchstone.exchange.orders import Order


class RestingLots:
    """Add up resting orders as they come, change and go."""

    def __init__(self) -> None:
        self._lots: dict[int, tuple[Side, int]] = {}
        self._total = {Side.BUY: 0, Side.SELL: 0}
        self._reducing: dict[int, Side] = {}

    def note(self, order: Order) -> None:
        """Take in an order's present state. O(1)."""
        number = order.number
        before = self._lots.pop(number, None)
        if before is not None:
            self._total[before[0]] -= before[1]
        if not order.in_book:
            self._reducing.pop(number, None)
            return
        side = order.side
        self._lots[number] = (side, order.leaves_lots)
        self._total[side] += order.leaves_lots
        if order.request.reduce_only:
            self._reducing[number] = side

    def lots(self, side: Side) -> int:
        """Return the lots that rest on one side."""
        return self._total[side]

    def reducing(self, side: Side) -> list[int]:
        """Return the numbers of the reduce-only orders on one side, newest first."""
        if not self._reducing:
            return []
        return sorted((n for n, held in self._reducing.items() if held is side), reverse=True)

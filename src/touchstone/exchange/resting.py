"""The lots that one account may still trade of one product: those in the book, and all of them."""

from lob.types import Side
from touchstone.exchange.orders import Order
from touchstone.exchange.requests import OrderKind


class RestingLots:
    """Add up orders as they come, change and go."""

    def __init__(self) -> None:
        self._resting: dict[int, tuple[Side, int]] = {}
        self._waiting: dict[int, tuple[Side, int]] = {}
        self._lots = {Side.BUY: 0, Side.SELL: 0}
        self._waiting_lots = {Side.BUY: 0, Side.SELL: 0}
        self._reducing: dict[int, Side] = {}

    def note(self, order: Order) -> None:
        """Take in an order's present state. O(1)."""
        number, side, lots = order.number, order.side, order.leaves_lots
        before = self._resting.pop(number, None)
        if before is not None:
            self._lots[before[0]] -= before[1]
        waited = self._waiting.pop(number, None)
        if waited is not None:
            self._waiting_lots[waited[0]] -= waited[1]
        if order.in_book:
            self._resting[number] = (side, lots)
            self._lots[side] += lots
            if order.request.reduce_only:
                self._reducing[number] = side
            return
        self._reducing.pop(number, None)
        # What a scaled order asks for is asked for by its children.
        if lots and order.live and order.kind is not OrderKind.SCALED:
            self._waiting[number] = (side, lots)
            self._waiting_lots[side] += lots

    def lots(self, side: Side) -> int:
        """Return the lots that rest in the book on one side."""
        return self._lots[side]

    def working_lots(self, side: Side) -> int:
        """Return the lots of one side that may still trade, those that wait for their turn too."""
        return self._lots[side] + self._waiting_lots[side]

    def reducing(self, side: Side) -> list[int]:
        """Return the numbers of the reduce-only orders on one side of the book, newest first."""
        if not self._reducing:
            return []
        return sorted((n for n, held in self._reducing.items() if held is side), reverse=True)

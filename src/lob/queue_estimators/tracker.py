"""Follow many orders through level-only data, each with an estimator of its own.

The tracker takes what a market-by-price feed says (trades, and the lots displayed at a price) and
hands it to the orders at that price. An order is filled when its estimator says so, and where the
market goes through its price: a trade at a worse price of its side, or lots of the other side that
come to be displayed at its price or through it. (A feed that sends both sides of one moment apart
should send what goes before what comes.)

Memory is bounded: of more than `max_tracked_orders` orders the one followed longest is given up,
and of more than `max_levels` prices the one that has been still for longest, if nobody waits there.
"""

from collections.abc import Callable, Sequence
from typing import Final

from lob.bounds import not_negative, whole
from lob.errors import Conflict, InvalidInput
from lob.queue_estimators.base import QueueEstimator
from lob.queue_estimators.inferred import InferredLevel
from lob.types import INT64_MAX, Side
from lob.waiting_prices import WaitingPrices

__all__ = ["EstimatorFactory", "QueueTracker"]

EstimatorFactory = Callable[[float, Sequence[float]], QueueEstimator]
"""What makes an estimator: of the lots ahead, and the sizes seen to come among them."""

MAX_TRACKED_ORDERS: Final = 10_000
MAX_LEVELS: Final = 10_000


class _Level:
    """One price of one side: the lots displayed there, and the orders that are followed there."""

    __slots__ = ("history", "lots", "orders")

    def __init__(self, history: InferredLevel | None) -> None:
        self.lots = 0.0
        self.history = history
        self.orders: dict[int, QueueEstimator] = {}


class QueueTracker:
    """Estimate the queue positions of orders of no size from trades and displayed lots.

    `evicted_count` says how many were given up for others.

    >>> from lob.queue_estimators.families import RiskAverseQueue
    >>> tracker = QueueTracker(RiskAverseQueue)
    >>> tracker.on_depth(Side.BUY, 100, 5)
    ()
    >>> tracker.join(7, Side.BUY, 100).ahead
    5.0
    >>> tracker.on_trade(Side.BUY, 100, 6)
    (7,)
    """

    def __init__(
        self,
        estimator: EstimatorFactory,
        *,
        sizes: bool = False,
        max_tracked_orders: int = MAX_TRACKED_ORDERS,
        max_levels: int = MAX_LEVELS,
    ) -> None:
        """Make a tracker whose orders each have an `estimator` of their own.

        With `sizes` every level remembers what came there, for estimators that make use of it.

        Raises:
            InvalidInput: a bound is below 1.
        """
        self._make = estimator
        self._sizes = sizes
        self._max_orders = whole("max_tracked_orders", max_tracked_orders, 1)
        self._max_levels = whole("max_levels", max_levels, 1)
        self._levels: dict[tuple[int, int], _Level] = {}
        self._orders: dict[int, tuple[int, int]] = {}
        self._waiting = {side.sign: WaitingPrices(side.sign) for side in Side}
        self.evicted_count = 0

    def __len__(self) -> int:
        """Return how many orders are followed."""
        return len(self._orders)

    def __contains__(self, order_id: object) -> bool:
        """Say whether an order is followed; a filled or evicted one is not."""
        return order_id in self._orders

    def join(self, order_id: int, side: Side, price_ticks: int) -> QueueEstimator:
        """Follow an order that joins behind all that is displayed at its price.

        The order followed longest is given up where there are too many. O(1), and O(orders that
        came there) for estimators of sizes.

        Raises:
            Conflict: an order of this id is followed.
            InvalidInput: the price is none.
        """
        if order_id in self._orders:
            raise Conflict(f"order_id: {order_id} is followed already; allowed: another")
        sign, price = side.sign, whole("price_ticks", price_ticks, 1, INT64_MAX)
        if len(self._orders) >= self._max_orders:
            self.drop(next(iter(self._orders)))
            self.evicted_count += 1
        level = self._level(sign, price)
        self._waiting[sign].add(price)
        known = level.history.known_sizes() if level.history is not None else ()
        found = level.orders[order_id] = self._make(level.lots, known)
        self._orders[order_id] = (sign, price)
        return found

    def drop(self, order_id: int) -> None:
        """Follow an order no longer; one that is not followed is no fault."""
        place = self._orders.pop(order_id, None)
        if place is not None:
            level = self._levels[place]
            del level.orders[order_id]
            if not level.orders:
                self._waiting[place[0]].discard(place[1])
                if not level.lots:
                    del self._levels[place]

    def estimator(self, order_id: int) -> QueueEstimator:
        """Return the estimator of an order that is followed.

        Raises:
            InvalidInput: none of this id is.
        """
        place = self._orders.get(order_id)
        if place is None:
            raise InvalidInput(f"order_id: {order_id}; allowed: one that is followed")
        return self._levels[place].orders[order_id]

    def on_trade(self, side: Side, price_ticks: int, quantity_lots: float) -> tuple[int, ...]:
        """Take notice of a trade with a displayed order of this side; return the orders it fills.

        What is displayed afterwards is to be told with `on_depth`.

        Raises:
            InvalidInput: the quantity is below 0.
        """
        quantity = not_negative("quantity_lots", quantity_lots)
        filled = self._through(side.sign, price_ticks)
        level = self._levels.get((side.sign, price_ticks))
        if level is None:
            return filled
        if level.history is not None:
            level.history.on_trade(quantity)
        for estimator in level.orders.values():
            estimator.on_trade(quantity)
        return filled + self._filled(level)

    def on_hidden_trade(self, side: Side, price_ticks: float) -> tuple[int, ...]:
        """Take notice of a trade with a hidden order of this side; return the orders it fills.

        It stood in no displayed queue, and its price may lie between ticks: what it went through
        is all that it says.
        """
        return self._through(side.sign, price_ticks)

    def on_depth(self, side: Side, price_ticks: int, new_lots: float) -> tuple[int, ...]:
        """Take notice of the lots now displayed at a price; return the orders that this fills.

        Raises:
            InvalidInput: the lots are below 0.
        """
        sign, new_lots = side.sign, not_negative("new_lots", new_lots)
        level = self._level(sign, price_ticks)
        old_lots, level.lots = level.lots, new_lots
        filled = self._through(-sign, price_ticks + sign) if new_lots > old_lots else ()
        if level.history is not None:
            level.history.on_depth(old_lots, new_lots)
        for estimator in level.orders.values():
            estimator.on_depth(old_lots, new_lots)
        if not new_lots and not level.orders:
            del self._levels[sign, price_ticks]
        return filled

    def lots(self, side: Side, price_ticks: int) -> float:
        """Return the lots displayed at a price, as last told."""
        level = self._levels.get((side.sign, price_ticks))
        return 0.0 if level is None else level.lots

    def _through(self, sign: int, price: float) -> tuple[int, ...]:
        """Fill the orders of a side at better prices than this one."""
        filled: tuple[int, ...] = ()
        for better in self._waiting[sign].better_than(price):
            level = self._levels[sign, better]
            for estimator in level.orders.values():
                estimator.on_through()
            filled += self._filled(level)
        return filled

    def _filled(self, level: _Level) -> tuple[int, ...]:
        """Let go of the orders of a level that are filled, and return them."""
        filled = tuple(order_id for order_id, one in level.orders.items() if one.filled)
        for order_id in filled:
            self.drop(order_id)
        return filled

    def _level(self, sign: int, price: int) -> _Level:
        """Return a level, which is now the one that changed last, and let go of still ones."""
        levels = self._levels
        level = levels.pop((sign, price), None)
        if level is None:
            level = _Level(InferredLevel() if self._sizes else None)
            if len(levels) >= self._max_levels:
                still = next((place for place in levels if not levels[place].orders), None)
                if still is not None:
                    del levels[still]
        levels[sign, price] = level
        return level

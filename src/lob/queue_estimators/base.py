"""What an estimator of a queue position is: told of trades and depth at one price, it has `ahead`.

Level-only data (market by price) says how many lots are displayed at a price and what trades there.
It does not say which order is cancelled, so what is left before an order must be estimated. An
order joins behind all that is displayed; a trade takes from the front; an increase comes behind.
Only decreases without a trade are in doubt: each estimator is a rule for those.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from lob.bounds import not_negative

__all__ = ["ROUNDING_LOTS", "QueueEstimator"]

ROUNDING_LOTS: Final = 0.5
"""How far a trade must go beyond the estimate to fill: estimates are rounded to whole lots."""


class QueueEstimator(ABC):
    """Estimate how many lots stand before one order at its price.

    `ahead` is the estimate in lots; `filled` says that a trade has come to the order: one of more
    lots than stood before it, by half a lot or more. The order itself takes no lots of a trade.
    """

    uses_sizes: ClassVar[bool] = False
    """Whether an estimator of this kind makes use of the sizes that it is told at the start."""

    __slots__ = ("_traded", "ahead", "filled")

    def __init__(self, ahead: float, sizes: Sequence[float] = ()) -> None:  # noqa: ARG002 - some do
        """Join behind `ahead` displayed lots.

        `sizes` are lots that came one by one and are taken to be left of those, front first.

        Raises:
            InvalidInput: `ahead` is below 0 or not finite.
        """
        self.ahead = not_negative("ahead", ahead)
        self.filled = False
        self._traded = 0.0

    def on_trade(self, quantity_lots: float) -> None:
        """Take notice of a trade at the price; the depth that it leaves comes with `on_depth`."""
        if quantity_lots - self.ahead >= ROUNDING_LOTS:
            self.filled = True
        self._traded += quantity_lots
        self.ahead = max(0.0, self.ahead - quantity_lots)

    def on_depth(self, old_lots: float, new_lots: float) -> None:
        """Take notice of the lots displayed at the price before and after a change.

        What has traded since the last change is no cancel: it is taken off the decrease.
        """
        left = old_lots - self._traded
        self._traded = 0.0
        if left > new_lots:
            self.ahead = self._after(left - new_lots, max(0.0, left - self.ahead))
        self.ahead = max(0.0, min(self.ahead, new_lots))

    def on_through(self) -> None:
        """Take notice that the market has gone through the price: the order is filled."""
        self.filled = True
        self.ahead = 0.0

    @abstractmethod
    def _after(self, gone: float, back: float) -> float:
        """Return what is ahead once lots have gone, where `back` lots stood behind the order."""

"""Our estimator: rebuild the queue from the sizes of what came, and find cancels by their size.

An increase of a level is an order that came, and its size is known. A cancel takes away one order,
so a decrease of as many lots as one of them has was most likely that one; of several, the one that
came last: resting orders that are cancelled are mostly young (J. Hasbrouck and G. Saar, "Technology
and liquidity provision: the blurring of traditional definitions", Journal of Financial Markets 12,
2009). What came before anybody looked is one block without sizes, at the front. A decrease that
fits no order is shared out in proportion to the lots there.
"""

from collections.abc import Sequence
from typing import ClassVar

from lob.queue_estimators.base import QueueEstimator

__all__ = ["InferredLevel", "InferredQueue"]

_SAME_LOTS = 1e-6
"""How near two sizes must be to be one."""


class InferredLevel:
    """The queue of one price as its level-only data suggest it: sizes, front first.

    `known` says of each whether it is an order that was seen to come, or lots of unknown orders.
    """

    __slots__ = ("_traded", "known", "sizes")

    def __init__(self, sizes: Sequence[float] = (), *, unknown_lots: float = 0.0) -> None:
        self.sizes: list[float] = list(sizes)
        self.known: list[bool] = [True] * len(self.sizes)
        if unknown_lots > 0:
            self.sizes.insert(0, unknown_lots)
            self.known.insert(0, False)
        self._traded = 0.0

    def known_sizes(self) -> list[float]:
        """Return what is left of the orders that were seen to come, front first."""
        return [size for size, known in zip(self.sizes, self.known, strict=True) if known]

    def on_trade(self, quantity_lots: float) -> int:
        """Take a trade from the front; return how many orders it took whole."""
        self._traded += quantity_lots
        sizes, gone = self.sizes, 0
        for size in sizes:
            if size > quantity_lots + _SAME_LOTS:
                break
            quantity_lots -= size
            gone += 1
        del sizes[:gone], self.known[:gone]
        if sizes and quantity_lots > 0:
            sizes[0] -= quantity_lots
        return gone

    def on_depth(self, old_lots: float, new_lots: float) -> int:
        """Take notice of a change; return the place of the order that left, else -1."""
        change = new_lots - (old_lots - self._traded)
        self._traded = 0.0
        if change > _SAME_LOTS:
            self.sizes.append(change)
            self.known.append(True)
        elif change < -_SAME_LOTS:
            return self._cancel(-change)
        return -1

    def _cancel(self, gone: float) -> int:
        sizes, known = self.sizes, self.known
        for place in range(len(sizes) - 1, -1, -1):
            if known[place] and abs(sizes[place] - gone) <= _SAME_LOTS:
                del sizes[place], known[place]
                return place
        if sizes and not known[0] and sizes[0] > gone + _SAME_LOTS:
            sizes[0] -= gone
            return -1
        total = sum(sizes)
        left = max(0.0, 1 - gone / total) if total > 0 else 0.0
        for place, size in enumerate(sizes):
            sizes[place] = size * left
        return -1


class InferredQueue(QueueEstimator):
    """Estimate a place in the queue that the sizes of its level's changes suggest."""

    uses_sizes: ClassVar[bool] = True

    __slots__ = ("_level", "_place")

    def __init__(self, ahead: float, sizes: Sequence[float] = ()) -> None:
        """Join behind `ahead` lots; `sizes` are the orders among them, front first.

        Raises:
            InvalidInput: `ahead` is below 0 or not finite.
        """
        super().__init__(ahead, sizes)
        self._level = InferredLevel(sizes, unknown_lots=self.ahead - sum(sizes))
        self._place = len(self._level.sizes)

    def on_trade(self, quantity_lots: float) -> None:
        """Take notice of a trade at the price: it takes orders from the front."""
        super().on_trade(quantity_lots)
        self._place = max(0, self._place - self._level.on_trade(quantity_lots))
        self.ahead = sum(self._level.sizes[: self._place])

    def on_depth(self, old_lots: float, new_lots: float) -> None:
        """Take notice of a change of the lots displayed: an order that came, or one that left."""
        place = self._level.on_depth(old_lots, new_lots)
        if 0 <= place < self._place:
            self._place -= 1
        self.ahead = min(new_lots, sum(self._level.sizes[: self._place]))

    def _after(self, gone: float, back: float) -> float:  # noqa: ARG002 - the level knows
        return self.ahead

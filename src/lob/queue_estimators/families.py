"""The known rules for what a cancel takes: the two extremes, and shares by a power or a logarithm.

Of a decrease without a trade, a share q is taken to have been behind the order, where `front` lots
stand before it and `back` lots behind it, and f is x**n or log(1 + x):

1. q = f(back) / (f(front) + f(back));
2. q = f(back) / f(front + back);
3. q = 1 - f(front / (front + back)).

What the back does not have comes from the front. Sources: E. Rigtorp, "Estimating order queue
position" (2013), for the first; hftbacktest's documentation, "Order Fill" and "Queue Models", for
all three, the risk-averse rule, and their names there (`RiskAdverseQueueModel`,
`PowerProbQueueFunc`, `...2`, `...3`, `LogProbQueueFunc`, `...2`).
"""

import math
from abc import abstractmethod
from collections.abc import Sequence

from lob.bounds import positive
from lob.queue_estimators.base import QueueEstimator

__all__ = [
    "LogQueue",
    "LogQueue2",
    "OptimisticQueue",
    "PowerQueue",
    "PowerQueue2",
    "PowerQueue3",
    "RiskAverseQueue",
]


class RiskAverseQueue(QueueEstimator):
    """Take every cancel to have been behind, as far as there is anything behind."""

    __slots__ = ()

    def _after(self, gone: float, back: float) -> float:
        return self.ahead - max(0.0, gone - back)


class OptimisticQueue(QueueEstimator):
    """Take every cancel to have been ahead, as far as there is anything ahead."""

    __slots__ = ()

    def _after(self, gone: float, back: float) -> float:  # noqa: ARG002 - the others look at it
        return self.ahead - gone


class _ShareQueue(QueueEstimator):
    """Share every cancel out between front and back."""

    __slots__ = ()

    def _after(self, gone: float, back: float) -> float:
        if not back:
            return self.ahead - gone
        behind = gone * self._share_behind(self.ahead, back)
        return self.ahead - (gone - behind) - max(0.0, behind - back)

    @abstractmethod
    def _share_behind(self, front: float, back: float) -> float:
        """Return the share of a decrease that was behind the order; `back` is above 0."""


class _PowerQueue(_ShareQueue):
    __slots__ = ("_power",)

    def __init__(self, ahead: float, sizes: Sequence[float] = (), *, power: float = 1.0) -> None:
        """Join behind `ahead` lots; `power` is above 0, 1 shares in proportion.

        Raises:
            InvalidInput: `ahead` or `power` is out of range.
        """
        super().__init__(ahead, sizes)
        self._power = positive("power", power)


class PowerQueue(_PowerQueue):
    """Share by powers: the back has b**n / (f**n + b**n)."""

    __slots__ = ()

    def _share_behind(self, front: float, back: float) -> float:
        # Of shares of the whole: no power of them overflows, and they are never both small.
        whole = front + back
        ahead, behind = math.pow(front / whole, self._power), math.pow(back / whole, self._power)
        return behind / (ahead + behind)


class PowerQueue2(_PowerQueue):
    """Share by a power of the shares: the back has (b / (f + b))**n, the front all the rest."""

    __slots__ = ()

    def _share_behind(self, front: float, back: float) -> float:
        return math.pow(back / (front + back), self._power)


class PowerQueue3(_PowerQueue):
    """Share by a power of the shares: the front has (f / (f + b))**n, the back all the rest."""

    __slots__ = ()

    def _share_behind(self, front: float, back: float) -> float:
        return 1 - math.pow(front / (front + back), self._power)


class LogQueue(_ShareQueue):
    """Share by logarithms: the back has log(1 + b) / (log(1 + f) + log(1 + b))."""

    __slots__ = ()

    def _share_behind(self, front: float, back: float) -> float:
        return math.log1p(back) / (math.log1p(front) + math.log1p(back))


class LogQueue2(_ShareQueue):
    """Share by logarithms: the back has log(1 + b) / log(1 + f + b)."""

    __slots__ = ()

    def _share_behind(self, front: float, back: float) -> float:
        return math.log1p(back) / math.log1p(front + back)

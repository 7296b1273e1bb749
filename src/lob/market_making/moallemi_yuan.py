"""The value of a place in the queue in closed form, for exponential trade sizes.

C. Moallemi and K. Yuan, "A model for queue position valuation in a limit order book" (2016): the
value is V(q, delta) = alpha(q) delta - beta(q). Trades against the queue come at `trade_rate` and
each moves the efficient price by `impact` a unit against the order; other trades come at
`opposite_trade_rate`, of the same mean size, and move it in favour; the quote moves away at
`away_rate`, which ends the order unfilled. Sizes are exponential with `mean_trade_size`, cancels
ahead none. The closed forms are ours, from the paper's assumptions: the trades it takes to reach
the order are 1 + Poisson(q / mean size), and what the last one takes beyond is again exponential.
`QueueValueModel` has any sizes in whole lots, and cancels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, not_negative, number, numbers, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class MoallemiYuan:
    """Hold the rates (a second), the mean size, and the impact in units of price a unit of size.

    >>> model = MoallemiYuan(trade_rate=1.0, mean_trade_size=2.0, impact=0.1, away_rate=1.0)
    >>> round(float(model.alpha(0.0)), 6), round(float(model.beta(0.0)), 6)
    (0.5, 0.1)
    """

    trade_rate: float
    mean_trade_size: float
    impact: float = 0.0
    opposite_trade_rate: float = 0.0
    away_rate: float = 0.0

    def __post_init__(self) -> None:
        positive("trade_rate", self.trade_rate)
        positive("mean_trade_size", self.mean_trade_size)
        for name in ("impact", "opposite_trade_rate", "away_rate"):
            not_negative(name, getattr(self, name))

    def alpha(self, q: ArrayLike) -> Floats:
        """Return P(a fill before the quote moves away) with q ahead; the shape of q.

        r exp(-(1 - r) q / s) with r = trade_rate / (trade_rate + away_rate) and s the mean size.
        """
        ahead = numbers("q", q, low=0)
        share = self._share
        return as_given(share * np.exp(-(1 - share) * ahead / self.mean_trade_size))

    def beta(self, q: ArrayLike) -> Floats:
        """Return the cost of adverse selection, in units of price; the shape of q.

        alpha(q) times impact x (q + s) - what the other side's trades win back until the fill:
        opposite_trade_rate x impact x s x (1 + r q / s) / (trade_rate + away_rate).
        """
        ahead = numbers("q", q, low=0)
        return as_given(
            self.alpha(q)
            * self.impact
            * (
                ahead
                + self.mean_trade_size
                - self.opposite_trade_rate * self.mean_trade_size * self._wait(ahead)
            )
        )

    def value(self, q: ArrayLike, delta: float) -> Floats:
        """Return V(q, delta) = alpha(q) delta - beta(q); the shape of q."""
        return as_given(self.alpha(q) * number("delta", delta) - self.beta(q))

    def queue_value(self, q: ArrayLike, delta: float) -> Floats:
        """Return V(0, delta) - V(q, delta): what the front of the queue is worth more than q."""
        return as_given(self.value(0.0, delta) - self.value(q, delta))

    def break_even_delta(self, q: ArrayLike) -> Floats:
        """Return the distance at which the place is worth nothing: beta(q) / alpha(q)."""
        return as_given(self.beta(q) / self.alpha(q))

    @property
    def _share(self) -> float:
        return self.trade_rate / (self.trade_rate + self.away_rate)

    def _wait(self, ahead: Floats) -> Floats:
        """Return the mean time to the fill, given that it comes."""
        trades = 1 + self._share * ahead / self.mean_trade_size
        return as_given(trades / (self.trade_rate + self.away_rate))

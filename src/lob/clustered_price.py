"""The price that a clustered flow follows and does not show, and the signs of its market orders."""

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from lob.clustered_profile import ClusteredProfile

_NEWS_DEVIATION: Final = math.sqrt(24)
"""Of the square of an exponential draw."""

_HALF: Final = 0.5


class Anchor:
    """A price that moves with news and with what is new in the sign of a market order.

    `twice_mid` is the last mid seen, doubled; `run_sign` that of the present run of market orders.
    """

    __slots__ = (
        "_goes_on",
        "_profile",
        "_run_bounds",
        "_uniform",
        "run_sign",
        "ticks",
        "twice_mid",
    )

    def __init__(
        self, profile: ClusteredProfile, uniform: Callable[[], float], mid_ticks: int
    ) -> None:
        self._profile = profile
        self._uniform = uniform
        total, bounds = 0.0, []
        for weight, _ in profile.sign_runs:
            total += weight
            bounds.append(total)
        self._run_bounds = [bound / total for bound in bounds[:-1]]
        self._goes_on = 0.0
        self.run_sign = 1
        self.start(mid_ticks)

    def start(self, mid_ticks: int) -> None:
        """Stand at a mid."""
        self.ticks, self.twice_mid = float(mid_ticks), 2 * mid_ticks

    def shift(self, ticks: int) -> None:
        """Move with all prices."""
        self.ticks += ticks
        self.twice_mid += 2 * ticks

    def follow(self, moved_ticks: float, price_ticks: float, lean: float) -> None:
        """Move with a price that is seen by all, and towards it by a share of the way."""
        self.ticks += moved_ticks
        self.ticks += lean * (price_ticks - self.ticks)

    def off(self, twice_mid: int) -> float:
        """Note the mid; return how far the anchor is above it, as a share of its reach in -1..1."""
        self.twice_mid = twice_mid
        off = (self.ticks - twice_mid / 2) / self._profile.anchor_reach_ticks
        return max(-1.0, min(1.0, off))

    def hear_news(self) -> None:
        """Step up or down by the square of an exponential draw: rarely far."""
        size = math.log1p(-self._uniform()) ** 2 / _NEWS_DEVIATION
        sign = 1 if self._uniform() < _HALF else -1
        self.ticks += sign * size * self._profile.anchor_news_ticks

    def next_sign(self) -> int:
        """Return the sign of the next market order: that of the run, or of a new one.

        What is new in it moves the anchor (Madhavan, Richardson and Roomans, Review of Financial
        Studies 10, 1997): what the run foretold does not, so that the price has no trend.
        """
        profile = self._profile
        off = 2 * self.ticks - self.twice_mid
        towards = profile.informed * ((off > 0) - (off < 0))
        goes_on = self._goes_on
        expected = goes_on * self.run_sign + (1 - goes_on) * towards
        if self._uniform() >= goes_on:
            runs = profile.sign_runs
            self._goes_on = runs[bisect_right(self._run_bounds, self._uniform())][1]
            self.run_sign = 1 if 2 * self._uniform() < 1 + towards else -1
        self.ticks += profile.anchor_trade_ticks * (self.run_sign - expected)
        return self.run_sign

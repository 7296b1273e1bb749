"""Confidence intervals for one look: of a share, of a mean, of a quantile, of a value known whole.

Unlike `touchstone.rollout.confidence` these hold at one time. The go/no-go matrix reads them once a
verdict and asks for a dwell time on top.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

Z_95: Final = 1.959963984540054


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


def wilson(part: int, whole: int, z: float = Z_95) -> Interval:
    """Return the score interval of a share (Wilson, JASA 22, 1927); `whole` is above 0.

    >>> [round(x, 4) for x in wilson(0, 100)]
    [0.0, 0.0, 0.037]
    """
    share = part / whole
    centre = share + z * z / (2 * whole)
    half = z * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    scale = 1 + z * z / whole
    low = 0.0 if part == 0 else (centre - half) / scale
    high = 1.0 if part == whole else (centre + half) / scale
    return Interval(share, low, high)


def mean_interval(n: int, total: float, squares: float, z: float = Z_95) -> Interval:
    """Return the normal interval of a mean, by the central limit theorem; `n` is 2 or more."""
    mean = total / n
    variance = max(squares - total * mean, 0.0) / (n - 1)
    half = z * math.sqrt(variance / n)
    return Interval(mean, mean - half, mean + half)


def quantile_interval(ordered: Sequence[float], share: float, z: float = Z_95) -> Interval:
    """Return the interval of a quantile between two of the ordered values, free of distribution.

    The ranks are those of the normal approximation to the binomial (Conover, Practical
    Nonparametric Statistics, section 3.2), rounded outwards. Where a rank lies beyond the sample,
    that end is infinite.
    """
    n = len(ordered)
    centre, half = n * share, z * math.sqrt(n * share * (1 - share))
    low, high = math.floor(centre - half), math.ceil(centre + half) + 1
    return Interval(
        ordered[min(n, max(1, math.ceil(centre))) - 1],
        ordered[low - 1] if low >= 1 else -math.inf,
        ordered[high - 1] if high <= n else math.inf,
    )


def exact(value: float) -> Interval:
    """Return a value that is known whole, not sampled, as its own interval."""
    return Interval(value, value, value)

"""Tests of how well a fitted model met its data."""

import math

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, flags, not_negative, row, same_length
from lob.errors import InvalidInput
from lob.fill_probability.interface import GoodnessOfFit
from lob.queueing.special import gamma_p


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """Return P(a chi-squared variable of `freedom` degrees is at least `statistic`).

    >>> round(chi_squared_tail(3.841459, 1), 6)
    0.05
    """
    return 1.0 - float(gamma_p(freedom / 2, not_negative("statistic", statistic) / 2))


def kolmogorov_tail(statistic: float, observations: int) -> float:
    """Return P(the largest distance of the empirical law is at least `statistic`), large samples.

    2 sum of (-1)^(k-1) exp(-2 k^2 x^2) with Stephens' x = D (sqrt n + .12 + .11 / sqrt n) (Journal
    of the Royal Statistical Society B 32, 1970).

    >>> round(kolmogorov_tail(0.134, 100), 2)
    0.05
    """
    root = math.sqrt(observations)
    x = not_negative("statistic", statistic) * (root + 0.12 + 0.11 / root)
    if x < 0.2:  # noqa: PLR2004 - the tail is 1 to fifteen places, and the sum slow
        return 1.0
    signs = (1.0, -1.0)
    tail = 2 * sum(signs[k % 2] * math.exp(-2 * ((k + 1) * x) ** 2) for k in range(100))
    return min(1.0, max(0.0, tail))


def kolmogorov_exponential(rescaled: ArrayLike, ended: ArrayLike) -> GoodnessOfFit | None:
    """Return Kolmogorov's test that waits, in units of their mean, are exponential; None if none.

    `rescaled[i]` is the integrated rate over interval i; one that ends without an event is put to
    the next (the time-rescaling theorem; Brown et al., Neural Computation 14, 2002).
    """
    spans, events = row("rescaled", rescaled, low=0), flags("events", ended)
    same_length(rescaled=spans, events=events)
    at = np.flatnonzero(events)
    if not len(at):
        return None
    clock = np.cumsum(spans)[at]
    uniform = -np.expm1(-np.diff(clock, prepend=0.0))
    statistic = uniform_distance(as_given(uniform))
    return GoodnessOfFit(
        observations=len(at),
        test="kolmogorov",
        statistic=statistic,
        p_value=kolmogorov_tail(statistic, len(at)),
    )


def uniform_distance(values: Floats) -> float:
    """Return the largest distance between the empirical law of values and the uniform one."""
    if not len(values):
        raise InvalidInput("values: none; allowed: one or more")
    ordered, count = np.sort(values), len(values)
    above = np.arange(1, count + 1) / count - ordered
    below = ordered - np.arange(count) / count
    return float(max(above.max(), below.max()))

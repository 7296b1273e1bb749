"""Does the model explain the times? Rescaled by it, they are a Poisson process of rate 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, row
from lob.hawkes.process import HawkesProcess, decayed_sums

_TERMS = 100


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """The largest gap between two distribution functions, its p-value, and the sample's size."""

    statistic: float
    p_value: float
    count: int


def residuals(
    process: HawkesProcess, events: Sequence[ArrayLike], horizon: float
) -> tuple[Floats, ...]:
    """Return the compensator's growth between events of each component: i.i.d. Exp(1) if it holds.

    Time change of Papangelou and Meyer, as Ogata uses it ("Statistical models for earthquake
    occurrences", JASA 83, 1988). The stretch from the last event to the horizon is censored and
    left out. O(events of all) for each component.
    """
    streams = process.checked_events(events, horizon)
    rescaled = []
    for i, own in enumerate(streams):
        totals = process.mu[i] * own
        for j, other in enumerate(streams):
            totals = totals + _grown(own, other, process.alpha[i][j], process.beta[i][j])
        rescaled.append(np.diff(totals, prepend=0.0))
    return tuple(rescaled)


def residual_test(
    process: HawkesProcess, events: Sequence[ArrayLike], horizon: float
) -> tuple[KolmogorovSmirnov, ...]:
    """Return, for each component, the Kolmogorov-Smirnov test of its residuals against Exp(1).

    The p-value is for a process known beforehand; with parameters fitted to the same events it is
    too large (Lilliefors), so that a small one still condemns.
    """
    return tuple(
        kolmogorov_smirnov_exponential(sample) for sample in residuals(process, events, horizon)
    )


def kolmogorov_smirnov_exponential(sample: ArrayLike, rate: float = 1.0) -> KolmogorovSmirnov:
    """Return the two-sided Kolmogorov-Smirnov test of a sample against an exponential law.

    The p-value is Kolmogorov's limit at D (sqrt n + 0.12 + 0.11 / sqrt n) (Stephens 1970), good to
    about 0.01 from 5 observations on; an empty sample has statistic 0 and p-value 1.
    """
    values = np.sort(row("sample", sample, low=0, at_least=0))
    count = len(values)
    if not count:
        return KolmogorovSmirnov(0.0, 1.0, 0)
    expected = -np.expm1(-rate * values)
    steps = np.arange(count + 1) / count
    gap = float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))
    root = math.sqrt(count)
    return KolmogorovSmirnov(gap, kolmogorov_tail(gap * (root + 0.12 + 0.11 / root)), count)


def kolmogorov_tail(x: float) -> float:
    """Return P(K > x) of Kolmogorov's distribution, to 1e-12.

    2 sum (-1)^(k-1) exp(-2 k^2 x^2); below x = 1 the theta-transformed series, which converges
    there.

    >>> round(kolmogorov_tail(1.3581), 4)
    0.05
    """
    if x <= 0:
        return 1.0
    if x < 1:
        terms = (math.exp(-(((2 * k - 1) * math.pi / x) ** 2) / 8) for k in range(1, _TERMS))
        return 1 - math.sqrt(2 * math.pi) / x * math.fsum(terms)
    signed = ((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, _TERMS))
    return min(1.0, 2 * math.fsum(signed))


def _grown(at: Floats, events: Floats, alpha: float, beta: float) -> Floats:
    """Return what events of one component added to the compensator of another by each time."""
    counts = np.searchsorted(events, at, side="left")
    return np.asarray(alpha / beta * (counts - decayed_sums(at, events, beta)))

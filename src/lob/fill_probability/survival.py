"""Survival curves from orders that filled and orders that were censored.

Kaplan and Meier, "Nonparametric Estimation from Incomplete Observations" (Journal of the American
Statistical Association 53, 1958); Nelson (1972) and Aalen (1978) for the cumulative hazard;
Greenwood (1926) for the variance. An observation is a duration (or a quantity) and whether the
event was seen there; without it the observation is censored (cancelled, or still resting). At ties
events come before censorings, as in the paper. Exact up to rounding.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import (
    Floats,
    as_given,
    flags,
    increasing,
    not_negative,
    number,
    numbers,
    row,
    share,
)
from lob.errors import InvalidInput
from lob.queueing.special import normal_quantile


@dataclass(frozen=True, slots=True, eq=False)
class KaplanMeier:
    """Hold the curve: at each distinct time, who was at risk, who had the event, and survival.

    `survival[i]` is S(t) from `times[i]` up to the next time; before the first it is 1.
    `variance` is Greenwood's S(t)^2 sum d / (n (n - d)), 0 where the curve has come to 0.
    """

    times: Floats
    at_risk: Floats
    events: Floats
    survival: Floats
    variance: Floats

    def survival_at(self, t: ArrayLike) -> Floats:
        """Return S(t) = P(T > t), of the shape of `t`; beyond the last time its last value."""
        return self._step(self.survival, t, before=1.0)

    def cdf_at(self, t: ArrayLike) -> Floats:
        """Return P(T <= t), the probability of a fill within t; the shape of `t`."""
        return as_given(1 - self.survival_at(t))

    def tail_at_least(self, t: ArrayLike) -> Floats:
        """Return P(T >= t), the limit of S from the left; the shape of `t`.

        What Ganchev et al. (2010) allocate by: the chance that a venue has at least t shares.
        """
        values = numbers("t", t, low=0)
        at = np.searchsorted(self.times, values, side="left")
        return as_given(np.concatenate([[1.0], self.survival])[at])

    def variance_at(self, t: ArrayLike) -> Floats:
        """Return Greenwood's variance of S(t); the shape of `t`."""
        return self._step(self.variance, t, before=0.0)

    def quantile(self, p: float) -> float:
        """Return the first time by which at least a share p has had the event; else infinity."""
        p = share("p", p)
        reached = np.nonzero(1 - self.survival >= p - 1e-12)[0]
        return float(self.times[reached[0]]) if len(reached) else math.inf

    def median(self) -> float:
        """Return the quantile 1/2."""
        return self.quantile(0.5)

    def confidence_at(
        self, t: ArrayLike, *, level: float = 0.95, transform: str = "log-log"
    ) -> tuple[Floats, Floats]:
        """Return the pointwise bounds of S(t): "plain" (clipped) or "log-log" (within 0..1).

        S +- z sd; or S^exp(+-z sd / (S log S)) (Kalbfleisch and Prentice, section 1.4). Where S
        is 1 or 0 both bounds are S.
        """
        level = number("level", level, above=0, below=1)
        if transform not in {"plain", "log-log"}:
            raise InvalidInput(f"transform: {transform!r}; allowed: plain, log-log")
        z = normal_quantile((1 + level) / 2)
        s = np.asarray(self.survival_at(t))
        sd = np.sqrt(np.asarray(self.variance_at(t)))
        if transform == "plain":
            return as_given(np.maximum(s - z * sd, 0)), as_given(np.minimum(s + z * sd, 1))
        inside = (s > 0) & (s < 1)
        safe = np.where(inside, s, 0.5)
        width = z * sd / (safe * -np.log(safe))
        low, high = safe ** np.exp(width), safe ** np.exp(-width)
        return as_given(np.where(inside, low, s)), as_given(np.where(inside, high, s))

    def restricted_mean(self, horizon: float) -> float:
        """Return the mean of min(T, horizon): the area under S up to `horizon`."""
        end = not_negative("horizon", horizon)
        edges = np.concatenate([[0.0], np.minimum(self.times, end), [end]])
        heights = np.concatenate([[1.0], self.survival])
        return float(np.sum(np.diff(edges) * heights))

    def _step(self, values: Floats, t: ArrayLike, *, before: float) -> Floats:
        at = np.searchsorted(self.times, numbers("t", t, low=0, infinite=True), side="right")
        return as_given(np.concatenate([[before], values])[at])


def kaplan_meier(durations: ArrayLike, events: ArrayLike) -> KaplanMeier:
    """Return the product-limit curve; `events[i]` is 1 where seen and 0 where censored. O(n log n).

    >>> curve = kaplan_meier([1, 2, 2, 3, 3, 5, 6, 8], [1, 0, 1, 1, 0, 1, 0, 1])
    >>> [round(float(s), 3) for s in curve.survival_at([1, 2, 3, 5, 6, 8])]
    [0.875, 0.75, 0.6, 0.4, 0.4, 0.0]
    """
    times, risk, seen = _table(durations, events)
    survival = np.cumprod((risk - seen) / risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.cumsum(seen / (risk * (risk - seen)))
        variance = np.where(survival > 0, survival**2 * terms, 0.0)
    return KaplanMeier(times, risk, seen, as_given(survival), as_given(variance))


@dataclass(frozen=True, slots=True, eq=False)
class NelsonAalen:
    """Hold the cumulative hazard, the sum of d / n by each distinct time; its variance d / n^2."""

    times: Floats
    cumulative_hazard: Floats
    variance: Floats

    def hazard_at(self, t: ArrayLike) -> Floats:
        """Return the cumulative hazard by t; the shape of `t`."""
        at = np.searchsorted(self.times, numbers("t", t, low=0, infinite=True), side="right")
        return as_given(np.concatenate([[0.0], self.cumulative_hazard])[at])

    def survival_at(self, t: ArrayLike) -> Floats:
        """Return exp(-cumulative hazard), the Fleming-Harrington estimate of survival."""
        return as_given(np.exp(-self.hazard_at(t)))


def nelson_aalen(durations: ArrayLike, events: ArrayLike) -> NelsonAalen:
    """Return the cumulative hazard of what filled among what was at risk.

    >>> [round(float(h), 3) for h in nelson_aalen([1, 2, 3], [1, 0, 1]).hazard_at([1, 2, 3])]
    [0.333, 0.333, 1.333]
    """
    times, risk, seen = _table(durations, events)
    return NelsonAalen(times, np.cumsum(seen / risk), np.cumsum(seen / risk**2))


def piecewise_hazard(durations: ArrayLike, events: ArrayLike, *, edges: ArrayLike) -> Floats:
    """Return events over time at risk between consecutive edges: a rate in 1 / time, NaN if none.

    The maximum likelihood estimate of a hazard that is constant between edges, with no covariates.

    >>> piecewise_hazard([1.0, 2.0, 4.0], [1, 1, 0], edges=[0.0, 2.0, 4.0]).tolist()
    [0.4, 0.0]
    """
    spans, seen = _observations(durations, events)
    cuts = increasing("edges", edges, low=0, at_least=2)
    low, high = cuts[:-1, None], cuts[1:, None]
    exposed = np.clip(spans - low, 0, high - low).sum(axis=1)
    # An event at an edge ends the interval before it, where its time was spent.
    inside = (spans > low) & (spans <= high) | ((spans == 0) & (low == 0))
    counts = (inside * seen).sum(axis=1)
    return as_given(np.divide(counts, exposed, out=np.full(len(low), np.nan), where=exposed > 0))


def _observations(durations: ArrayLike, events: ArrayLike) -> tuple[Floats, Floats]:
    spans, seen = row("durations", durations, low=0), flags("events", events)
    if len(spans) != len(seen):
        raise InvalidInput(f"events: {len(seen)}; allowed: as many as durations ({len(spans)})")
    return spans, seen


def _table(durations: ArrayLike, events: ArrayLike) -> tuple[Floats, Floats, Floats]:
    spans, seen = _observations(durations, events)
    times, at, counts = np.unique(spans, return_inverse=True, return_counts=True)
    died = np.bincount(at, weights=seen)
    risk = len(spans) - np.concatenate([[0], np.cumsum(counts)[:-1]])
    return times, as_given(risk), as_given(died)

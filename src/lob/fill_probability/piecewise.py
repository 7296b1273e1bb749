"""Rates that are constant between times: what survives them, and fits of them.

Holford, "The Analysis of Rates and of Survivorship Using Log-Linear Models" (Biometrics 36, 1980):
a hazard that is constant between `edges_s` has the likelihood of Poisson counts with the time at
risk as exposure, also with proportional covariates. Beyond the last edge the last rate goes on.
"""

import math
from typing import Any, Final

import numpy as np

from lob.bounds import Floats, as_given
from lob.errors import InvalidInput

_NEWTON: Final = 50
_HALVINGS: Final = 20


def spans_until(edges_s: Floats, until_s: float) -> Floats:
    """Return the time spent in each interval by `until_s`; `edges_s` starts at 0."""
    upper = np.append(edges_s[1:-1], np.inf)
    return as_given(np.clip(until_s - edges_s[:-1], 0.0, upper - edges_s[:-1]))


def exposures(edges_s: Floats, observed_s: Floats) -> Floats:
    """Return each order's time at risk in each interval; row: order. The last edge ends it."""
    lengths = np.diff(edges_s)
    return as_given(np.clip(observed_s[:, None] - edges_s[:-1], 0.0, lengths))


def event_counts(edges_s: Floats, event_s: Floats) -> Floats:
    """Return 1 in the interval in which an order's event came; row: order. Later ones are none."""
    at = np.clip(np.searchsorted(edges_s, event_s, side="left") - 1, 0, None)
    found = np.zeros((len(event_s), len(edges_s) - 1))
    inside = np.flatnonzero(event_s <= edges_s[-1])
    found[inside, at[inside]] = 1.0
    return found


def capped_mean(edges_s: Floats, rates: Floats, from_s: float, horizon_s: float) -> float:
    """Return E min(T - from, horizon), given T beyond `from_s`, of the piecewise hazard."""
    upper = np.append(edges_s[1:-1], np.inf)
    low = np.clip(edges_s[:-1], from_s, from_s + horizon_s)
    high = np.clip(upper, from_s, from_s + horizon_s)
    survival, total = 1.0, 0.0
    for start, end, rate in zip(low.tolist(), high.tolist(), rates.tolist(), strict=True):
        length = end - start
        if length <= 0:
            continue
        if math.isinf(length):
            return total + (survival / rate if rate else math.inf if survival else 0.0)
        total += survival * (-math.expm1(-rate * length) / rate if rate else length)
        survival *= math.exp(-rate * length)
    return total


def fit_proportional(
    features: Floats, counts: Floats, exposed: Floats, *, ridge: float, negative: Any
) -> tuple[Floats, Floats, Floats]:
    """Return the rates, the coefficients, and the covariance of (log rates, coefficients).

    Newton's method on the Poisson likelihood of `counts` with means exposed x rate x exp(features
    x coefficients), less ridge / 2 x the coefficients' squares. Coefficients at `negative` (True)
    are kept at 0 or below: one that would rise above is held at 0. An interval in which nothing
    came has half an event, so that its rate is above 0.
    """
    seen, risk = counts.sum(axis=0), exposed.sum(axis=0)
    if not np.all(risk > 0):
        raise InvalidInput("edges_s: an interval nobody was watched in; allowed: earlier edges")
    seen_at_all = np.maximum(seen, 0.5)
    held = np.zeros(features.shape[1], dtype=bool)
    while True:
        slopes, hessian = _newton(features, counts, exposed, seen_at_all, ridge, held)
        rising = negative & (slopes > 0) & ~held
        if not rising.any():
            break
        held |= rising
    weights = np.exp(features @ slopes)
    rates = seen_at_all / (weights @ exposed)
    return as_given(rates), slopes, hessian


def _newton(
    features: Floats, counts: Floats, exposed: Floats, seen: Floats, ridge: float, held: Any
) -> tuple[Floats, Floats]:
    slopes = np.zeros(features.shape[1])
    free = ~held
    events = counts.sum(axis=1)

    def loss(tried: Floats) -> float:
        log_weights = features @ tried
        risk = np.exp(np.minimum(log_weights, 500.0)) @ exposed
        return float(seen @ np.log(risk) - events @ log_weights + ridge / 2 * tried @ tried)

    at = loss(slopes)
    for _ in range(_NEWTON):
        gradient, bend = _slopes(features, events, exposed, seen, slopes)
        gradient, bend = gradient + ridge * slopes, bend + ridge * np.eye(len(slopes))
        step = np.zeros(len(slopes))
        if free.any():
            step[free] = np.linalg.solve(bend[np.ix_(free, free)], gradient[free])
        scale = 1.0
        for _ in range(_HALVINGS):
            tried = slopes - scale * step
            if (now := loss(as_given(tried))) <= at:
                break
            scale /= 2
        else:
            break
        gained, at, slopes = at - now, now, tried
        if gained < 1e-10 * (1 + abs(at)):
            break
    return as_given(slopes), _covariance(features, exposed, seen, slopes, ridge, held)


def _slopes(
    features: Floats, events: Floats, exposed: Floats, seen: Floats, slopes: Floats
) -> tuple[Floats, Floats]:
    """Return the profile likelihood's gradient and Hessian, the rates being at their best."""
    weights = np.exp(np.minimum(features @ slopes, 500.0))
    risk = weights @ exposed
    first = (exposed * weights[:, None]).T @ features / risk[:, None]
    share = exposed @ (seen / risk) * weights
    gradient = seen @ first - events @ features
    bend = (features * share[:, None]).T @ features - (first * seen[:, None]).T @ first
    return as_given(gradient), as_given(bend)


def _covariance(
    features: Floats, exposed: Floats, seen: Floats, slopes: Floats, ridge: float, held: Any
) -> Floats:
    weights = np.exp(np.minimum(features @ slopes, 500.0))
    rates = seen / (weights @ exposed)
    means = exposed * weights[:, None] * rates
    intervals, count = len(seen), features.shape[1]
    information = np.zeros((intervals + count, intervals + count))
    information[:intervals, :intervals] = np.diag(means.sum(axis=0))
    information[:intervals, intervals:] = means.T @ features
    information[intervals:, :intervals] = information[:intervals, intervals:].T
    information[intervals:, intervals:] = (features * means.sum(axis=1)[:, None]).T @ features
    information[intervals:, intervals:] += ridge * np.eye(count)
    kept = np.concatenate([np.ones(intervals, dtype=bool), ~held])
    found = np.zeros_like(information)
    found[np.ix_(kept, kept)] = np.linalg.inv(information[np.ix_(kept, kept)])
    return found

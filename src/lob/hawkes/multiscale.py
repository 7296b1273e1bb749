"""Excitation on several time scales at once: kernels that are sums of given exponentials.

The rate of one kind of event, given the events of several sources j, is

    lambda(t) = mu + sum_j sum_k n_jk sum over t_js < t of beta_k exp(-beta_k (t - t_js)),

so that `n_jk` is how many events one event of source j brings about on the time scale 1/beta_k.
With the decays given the log-likelihood is concave, and the estimate is unique; markets need decays
from microseconds to minutes (Bacry, Mastromatteo and Muzy, "Hawkes Processes in Finance", Market
Microstructure and Liquidity 1, 2015, section 2.3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, increasing, positive, row, whole
from lob.errors import InvalidInput
from lob.hawkes.goodness import KolmogorovSmirnov, kolmogorov_smirnov_exponential

_MIN_EVENTS = 3
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class MultiscaleFit:
    """Maximum-likelihood excitation of one kind of event by several sources.

    `mu` in 1/s; `offspring[j][k]` events by event of source j at decay k; `mu_error` and
    `offspring_errors` their standard errors, from the observed information.
    `poisson_log_likelihood` is that of a constant rate; `residual_test` holds the time-rescaled
    intervals against Exp(1).
    """

    decays: tuple[float, ...]
    mu: float
    offspring: tuple[tuple[float, ...], ...]
    mu_error: float
    offspring_errors: tuple[tuple[float, ...], ...]
    log_likelihood: float
    poisson_log_likelihood: float
    residual_test: KolmogorovSmirnov
    events: int
    iterations: int
    converged: bool


def fit_multiscale(
    own: ArrayLike,
    sources: Sequence[ArrayLike],
    decays: ArrayLike,
    horizon: float,
    *,
    mirrored: tuple[ArrayLike, Sequence[ArrayLike]] | None = None,
    max_iterations: int = 300,
    tolerance: float = 1e-7,
) -> MultiscaleFit:
    """Return the excitation that makes the events `own` on [0, horizon] most likely.

    `own` and each of `sources` are times in seconds, not decreasing, at most `horizon`; `own` may
    be one of the sources. Events of one time do not excite one another. `mirrored` is a second pair
    of own and sources, over the same time, that obeys the same law: where bids are to asks as asks
    to bids, one fit is of both sides, and `mu` is each side's. Expectation-maximisation (Veen and
    Schoenberg 2008), which never leaves the allowed range, until the log-likelihood grows by less
    than `tolerance` an event. O(events x sources x decays) an iteration.

    Raises:
        InvalidInput: fewer than 3 events of `own`, times out of order or beyond the horizon, or
            decays that do not grow from above 0.
    """
    until = positive("horizon", horizon)
    rates = increasing("decays", decays, low=0, at_least=1)
    positive("decays", float(rates[0]))
    whole("max_iterations", max_iterations, 1)
    parts = [(own, sources)] if mirrored is None else [(own, sources), mirrored]
    if len({len(part[1]) for part in parts}) != 1 or not len(sources):
        raise InvalidInput(f"sources: {len(sources)}; allowed: 1 or more, as many when mirrored")
    events = [_times("own", part[0], until) for part in parts]
    count = sum(map(len, events))
    if min(map(len, events)) < _MIN_EVENTS:
        raise InvalidInput(f"own: {count} events; allowed: {_MIN_EVENTS} or more (of each side)")
    designs = [
        _design(times, [_times("sources", stream, until) for stream in part[1]], rates, until)
        for times, part in zip(events, parts, strict=True)
    ]
    density = np.concatenate([design[0] for design in designs])
    total = np.add.reduce([design[1] for design in designs])
    start = np.zeros(density.shape[1])
    start[0] = count / total[0] / 2
    start[1:] = np.where(total[1:] > _FLOOR, count / 2 / np.maximum(total[1:], 1) / len(start), 0.0)
    values, iterations, converged = _maximise(
        density, total, start, max_iterations, tolerance * count
    )
    intensity = density @ values
    weighted = density / intensity[:, None]
    errors = np.sqrt(np.clip(np.diag(np.linalg.pinv(weighted.T @ weighted)), 0, None))
    shape = (len(sources), len(rates))
    waits = np.concatenate([np.diff(design[2] @ values) for design in designs])
    return MultiscaleFit(
        decays=tuple(map(float, rates)),
        mu=float(values[0]),
        offspring=_as_rows(values[1:].reshape(shape)),
        mu_error=float(errors[0]),
        offspring_errors=_as_rows(errors[1:].reshape(shape)),
        log_likelihood=float(np.log(intensity).sum() - total @ values),
        poisson_log_likelihood=float(count * np.log(count / total[0]) - count),
        residual_test=kolmogorov_smirnov_exponential(np.maximum(waits, 0.0)),
        events=count,
        iterations=iterations,
        converged=converged,
    )


def _times(name: str, values: ArrayLike, horizon: float) -> Floats:
    found = row(name, values, low=0, high=horizon, at_least=0)
    if (np.diff(found) < 0).any():
        raise InvalidInput(f"{name}: a time below the one before; allowed: not decreasing")
    return found


def _design(
    own: Floats, streams: list[Floats], decays: Floats, horizon: float
) -> tuple[Floats, Floats, Floats]:
    """Return what each parameter adds to the rate at each own event, and to its integrals.

    [events, 1 + sources x decays] of densities at the events, the integrals to the horizon, and the
    integrals to each event. The first column is of mu.
    """
    count = len(decays)
    density = np.ones((len(own), 1 + len(streams) * count))
    grown = np.empty_like(density)
    grown[:, 0] = own
    total = np.empty(density.shape[1])
    total[0] = horizon
    for place, stream in enumerate(streams):
        columns = slice(1 + place * count, 1 + (place + 1) * count)
        sums = _decayed(own, stream, decays)
        earlier = np.searchsorted(stream, own, side="left")
        density[:, columns] = sums * decays
        grown[:, columns] = earlier[:, None] - sums
        total[columns] = -np.expm1(-decays * (horizon - stream)[:, None]).sum(axis=0)
    return density, total, grown


def _decayed(at: Floats, events: Floats, decays: Floats) -> Floats:
    """Return [times, decays]: the sum of exp(-beta age) over strictly earlier events, at each time.

    One pass over the events; what each leaves at the times after it follows at once.
    """
    if not len(events):
        return np.zeros((len(at), len(decays)))
    fades = np.exp(-np.diff(events, prepend=events[0])[:, None] * decays)
    # after[i]: just after event i, itself included
    after = np.empty((len(events), len(decays)))
    state = np.zeros(len(decays))
    for place in range(len(events)):
        state = state * fades[place] + 1.0
        after[place] = state
    seen = np.searchsorted(events, at, side="left") - 1
    last = np.maximum(seen, 0)
    found = after[last] * np.exp(-np.maximum(at - events[last], 0)[:, None] * decays)
    found[seen < 0] = 0.0
    return np.asarray(found)


def _maximise(
    density: Floats, total: Floats, start: Floats, max_iterations: int, tolerance: float
) -> tuple[Floats, int, bool]:
    values, before = start, -np.inf
    for iteration in range(1, max_iterations + 1):
        intensity = density @ values
        likelihood = float(np.log(intensity).sum() - total @ values)
        if likelihood - before < tolerance:
            return values, iteration, True
        before = likelihood
        values = values * (density.T @ (1 / intensity)) / np.maximum(total, _FLOOR)
    return values, max_iterations, False


def _as_rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, line)) for line in matrix)

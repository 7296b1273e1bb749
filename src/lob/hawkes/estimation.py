"""Maximum likelihood, component by component: the likelihood is a sum over them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, positive, row, whole
from lob.errors import InvalidInput
from lob.hawkes.process import HawkesProcess, decayed_moments

MIN_EVENTS = 3
_TOLERANCE = 1e-6
_ARMIJO = 1e-4
_MAX_STEP = 1.5
_MIN_STEP = 1e-12
_FLOOR = -30.0  # of the logarithm of a parameter: alpha of 1e-13 is none
_CEILING = 30.0

Objective = Callable[[Floats], tuple[float, Floats]]


@dataclass(frozen=True, slots=True)
class HawkesFit:
    """The fitted process, its log-likelihood, and whether every search came to rest.

    `iterations` counts those of all components.
    """

    process: HawkesProcess
    log_likelihood: float
    converged: bool
    iterations: int

    @property
    def aic(self) -> float:
        """Return Akaike's criterion: 2 parameters - 2 log-likelihood; smaller is better."""
        size = self.process.dimension
        return 2 * (size + 2 * size * size) - 2 * self.log_likelihood


def fit_univariate(
    events: ArrayLike, horizon: float, *, beta: float | None = None, max_iterations: int = 200
) -> HawkesFit:
    """Return the maximum-likelihood process of one component; see `fit`."""
    return fit([events], horizon, beta=beta, max_iterations=max_iterations)


def fit(
    events: Sequence[ArrayLike],
    horizon: float,
    *,
    beta: float | None = None,
    max_iterations: int = 200,
) -> HawkesFit:
    """Return the process that makes the events on [0, horizon] most likely (Ozaki 1979).

    Quasi-Newton (BFGS) in the logarithms of mu_i, alpha_ij, beta_ij, with the exact gradient in one
    pass over the events. With `beta` given all decays are that, and the likelihood is concave in
    the rest; without, there may be several maxima, and the search starts from a branching ratio of
    a half at decays of twice the mean rate. `InvalidInput` below 3 events of a component.
    """
    horizon = positive("horizon", horizon)
    whole("max_iterations", max_iterations, 1)
    if beta is not None:
        beta = positive("beta", beta)
    size = len(events)
    if not size:
        raise InvalidInput("events: no lists; allowed: one for each component")
    blank = ((1.0,) * size,) * size
    streams = HawkesProcess((1.0,) * size, blank, blank).checked_events(events, horizon)
    for stream in streams:
        row("events", stream, at_least=MIN_EVENTS)
    rows = [_fit_row(i, streams, horizon, beta, max_iterations) for i in range(size)]
    process = HawkesProcess(
        tuple(float(row[0][0]) for row in rows),
        tuple(tuple(map(float, row[0][1 : 1 + size])) for row in rows),
        tuple(tuple(map(float, row[0][1 + size :])) for row in rows),
    )
    return HawkesFit(
        process,
        process.log_likelihood(streams, horizon),
        all(row[1] for row in rows),
        sum(row[2] for row in rows),
    )


def _fit_row(
    i: int, streams: list[Floats], horizon: float, beta: float | None, max_iterations: int
) -> tuple[Floats, bool, int]:
    """Return mu_i, the alpha_ij and the beta_ij of one component, and how the search ended."""
    size = len(streams)
    rate = len(streams[i]) / horizon
    decay = beta if beta is not None else 2 * sum(map(len, streams)) / horizon
    rates = np.array([len(stream) / horizon for stream in streams])
    alphas = decay * rate / (2 * size * rates)
    free = np.log(np.concatenate(([rate / 2], alphas, np.full(size, decay))))
    fixed = size if beta is not None else 0
    start = free[: len(free) - fixed]

    def objective(logs: Floats) -> tuple[float, Floats]:
        values = np.exp(np.concatenate((logs, free[len(logs) :])))
        value, gradient = _negative_log_likelihood(i, streams, horizon, values)
        return value, (gradient * values)[: len(logs)]

    found, converged, iterations = _minimise(objective, start, max_iterations, len(streams[i]))
    return np.exp(np.concatenate((found, free[len(found) :]))), converged, iterations


def _negative_log_likelihood(
    i: int, streams: list[Floats], horizon: float, values: Floats
) -> tuple[float, Floats]:
    """Return minus the log-likelihood of component i, and its gradient in the parameters."""
    size, own = len(streams), streams[i]
    mu, alphas, betas = values[0], values[1 : 1 + size], values[1 + size :]
    moments = [
        decayed_moments(own, stream, float(decay))
        for stream, decay in zip(streams, betas, strict=True)
    ]
    rates = mu + sum(alpha * sums for alpha, (sums, _) in zip(alphas, moments, strict=True))
    total = mu * horizon - float(np.log(rates).sum())
    gradient = np.empty(len(values))
    gradient[0] = horizon - float((1 / rates).sum())
    for j, (stream, (sums, aged)) in enumerate(zip(streams, moments, strict=True)):
        left = horizon - stream
        grown = float(-np.expm1(-betas[j] * left).sum())
        faded = float((left * np.exp(-betas[j] * left)).sum())
        total += alphas[j] / betas[j] * grown
        gradient[1 + j] = grown / betas[j] - float((sums / rates).sum())
        slope = faded / betas[j] - grown / betas[j] ** 2
        gradient[1 + size + j] = alphas[j] * (slope + float((aged / rates).sum()))
    return total, gradient


def _minimise(
    objective: Objective, start: Floats, max_iterations: int, scale: int
) -> tuple[Floats, bool, int]:
    """Return where BFGS with backtracking ends, whether at rest, and after how many steps."""
    at = start.copy()
    value, gradient = objective(at)
    inverse = np.eye(len(at)) / scale
    for iteration in range(max_iterations):
        if float(np.abs(gradient).max()) <= _TOLERANCE * scale:
            return at, True, iteration
        step = -inverse @ gradient
        if float(step @ gradient) >= 0:
            inverse = np.eye(len(at)) / scale
            step = -inverse @ gradient
        step *= min(1.0, _MAX_STEP / float(np.abs(step).max()))
        length = 1.0
        while True:
            there = np.clip(at + length * step, _FLOOR, _CEILING)
            next_value, next_gradient = objective(there)
            enough = value + _ARMIJO * float(gradient @ (there - at))
            if math.isfinite(next_value) and next_value <= enough:
                break
            length /= 2
            if length < _MIN_STEP:
                # no descent left at the precision of floats
                return at, float(np.abs(gradient).max()) <= math.sqrt(_TOLERANCE) * scale, iteration
        moved, turned = there - at, next_gradient - gradient
        inverse = _updated(inverse, moved, turned)
        if value - next_value <= _TOLERANCE**2 * abs(value) and length == 1.0:
            return there, True, iteration + 1
        at, value, gradient = there, next_value, next_gradient
    return at, False, max_iterations


def _updated(inverse: Floats, moved: Floats, turned: Floats) -> Floats:
    """Return the inverse Hessian after one step (Broyden, Fletcher, Goldfarb, Shanno)."""
    curvature = float(moved @ turned)
    if curvature <= 0:
        return inverse
    identity = np.eye(len(moved))
    left = identity - np.outer(moved, turned) / curvature
    return np.asarray(left @ inverse @ left.T + np.outer(moved, moved) / curvature)

"""Rates, clustering and likelihood straight from mu, alpha and beta, as papers print them.

A. G. Hawkes, "Spectra of some self-exciting and mutually exciting point processes" (Biometrika 58,
1971), and T. Ozaki, "Maximum likelihood estimation of Hawkes' self-exciting point processes"
(Annals of the Institute of Statistical Mathematics 31, 1979). `mu` is one rate or a row of them
(1/s), `alpha` what an event adds to a rate at once (1/s; row: who is excited, column: by whom) and
`beta` how fast that decays (1/s). One number for `alpha` or `beta` is that of every pair.

The covariances solve the linear equations of the kernel's moments: with y_ij what component j has
added to the rate of i, dy_ij = -beta_ij y_ij dt + alpha_ij dN_j. O(components^6).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, numbers, whole
from lob.errors import InvalidInput
from lob.hawkes.process import HawkesProcess
from lob.in_floats import in_floats
from lob.queueing.special import matrix_exponential

_COMPONENTS_MAX = 6


@in_floats
def hawkes_process(mu: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> HawkesProcess:
    """Return the process of these rates, jumps and decays, numbers or arrays.

    >>> hawkes_process(0.5, 0.8, 1.6).stationary_rates()
    (1.0,)
    """
    base = np.atleast_1d(numbers("mu", mu, low=0))
    if base.ndim != 1:
        raise InvalidInput(f"mu: {base.ndim} dimensions; allowed: one number, or a row")
    jumps, decays = (_matrix(name, v, base.size) for name, v in (("alpha", alpha), ("beta", beta)))
    return HawkesProcess(
        tuple(base.tolist()),
        tuple(map(tuple, jumps.tolist())),
        tuple(map(tuple, decays.tolist())),
    )


@in_floats
def hawkes_branching_ratio(alpha: ArrayLike, beta: ArrayLike) -> float:
    """Return n, the spectral radius of alpha_ij / beta_ij: the share of events that others brought.

    Below 1 the process is stationary.

    >>> hawkes_branching_ratio(alpha=0.8, beta=1.6)
    0.5
    """
    size = max(np.atleast_2d(numbers(n, v)).shape[0] for n, v in (("alpha", alpha), ("beta", beta)))
    return hawkes_process(np.zeros(size), alpha, beta).branching_ratio


@in_floats
def hawkes_stationary_rates(mu: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> Floats:
    """Return the mean rates (I - alpha / beta)^-1 mu in 1/s; mu / (1 - n) for one component.

    The shape of `mu`. `InvalidInput` where the process is not stationary.

    >>> float(hawkes_stationary_rates(mu=0.5, alpha=0.8, beta=1.6))
    1.0
    >>> hawkes_stationary_rates([1, 1], [[0, 1], [2, 0]], beta=4).round(4).tolist()
    [1.4286, 1.7143]
    """
    rates = hawkes_process(mu, alpha, beta).stationary_rates()
    return as_given(np.reshape(rates, np.shape(mu)))


@in_floats
def hawkes_intensity(
    t: ArrayLike, events: Sequence[ArrayLike], *, mu: ArrayLike, alpha: ArrayLike, beta: ArrayLike
) -> Floats:
    """Return lambda(t) of each component in 1/s, just before t: shape (components,) + t's.

    `events` has one increasing list of seconds for each component, or is that list where `mu` is
    one number; lambda_i(t) = mu_i + the sum over j and over t_jk < t of alpha_ij exp(-beta_ij (t -
    t_jk)).

    >>> hawkes_intensity(2.0, [1.0, 2.0], mu=1.0, alpha=0.5, beta=0.0001).round(3).tolist()
    [1.5]
    """
    return hawkes_process(mu, alpha, beta).intensity(t, _streams(events, mu))


@in_floats
def hawkes_log_likelihood(
    events: Sequence[ArrayLike],
    horizon: float,
    *,
    mu: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> float:
    """Return the log-likelihood of the events of 0..horizon seconds, by Ozaki's recursion.

    The sum over i of the logarithms of lambda_i at its own events, less the integral of lambda_i.
    `events` as for `hawkes_intensity`.

    >>> round(hawkes_log_likelihood([1.0, 2.0], 3.0, mu=2.0, alpha=0.0, beta=1.0), 4)
    -4.6137
    """
    return hawkes_process(mu, alpha, beta).log_likelihood(_streams(events, mu), horizon)


@in_floats
def hawkes_covariance_density(
    lag: ArrayLike, *, mu: ArrayLike, alpha: ArrayLike, beta: ArrayLike
) -> Floats:
    """Return Cov(dN_i(t + lag), dN_j(t)) / dt^2 in 1/s^2, for lags above 0 (Hawkes 1971).

    Of the shape lag's + (components, components), or lag's where `mu` is one number, for which it
    is alpha Lambda (2 beta - alpha) / (2 (beta - alpha)) exp(-(beta - alpha) lag). At a lag of 0
    there is besides the rate itself, as a point mass. `InvalidInput` where not stationary.

    >>> round(float(hawkes_covariance_density(1.0, mu=0.5, alpha=0.8, beta=1.6)), 6)
    0.539195
    """
    drift, start, observed = _moments(hawkes_process(mu, alpha, beta))
    lags = numbers("lag", lag, low=0)
    found = [observed @ matrix_exponential(as_given(drift * at)) @ start for at in lags.ravel()]
    size = observed.shape[0]
    return _shaped(np.reshape(found, (*lags.shape, size, size)), mu)


@in_floats
def hawkes_count_covariance(
    window: ArrayLike, *, mu: ArrayLike, alpha: ArrayLike, beta: ArrayLike
) -> Floats:
    """Return Cov(N_i, N_j) of the counts in a window of so many seconds; shapes as above.

    Lambda T + int over 0..T of (T - s) (C(s) + C(s)') ds of the covariance density C: by the mean
    it is the Fano factor, near 1 in short windows and 1 / (1 - n)^2 in long ones.

    >>> fano = [float(hawkes_count_covariance(T, mu=0.5, alpha=0.8, beta=1.6)) / T
    ...         for T in (1e-6, 1e6)]
    >>> [round(ratio, 3) for ratio in fano]
    [1.0, 4.0]
    """
    process = hawkes_process(mu, alpha, beta)
    drift, start, observed = _moments(process)
    windows = numbers("window", window, low=0)
    size, rates = process.dimension, np.diag(process.stationary_rates())
    found = []
    for at in windows.ravel().tolist():
        summed = observed @ _twice_integrated(drift, at) @ start
        found.append(rates * at + summed + summed.T)
    return _shaped(np.reshape(found, (*windows.shape, size, size)), mu)


def _moments(process: HawkesProcess) -> tuple[Floats, Floats, Floats]:
    """Return F, M and L with the covariance density L e^(F lag) M."""
    size = whole("components", process.dimension, 1, _COMPONENTS_MAX)
    rates = np.array(process.stationary_rates())
    jump, observed = np.zeros((size * size, size)), np.zeros((size, size * size))
    for i in range(size):
        for j in range(size):
            jump[i * size + j, j] = process.alpha[i][j]
            observed[i, i * size + j] = 1.0
    drift = jump @ observed - np.diag(np.ravel(process.beta))
    # F P + P F' + B diag(Lambda) B' = 0 for P, the covariance of the y at one time.
    one = np.eye(len(drift))
    shocks = jump @ np.diag(rates) @ jump.T
    spread = np.linalg.solve(np.kron(drift, one) + np.kron(one, drift), -shocks.ravel())
    start = spread.reshape(drift.shape) @ observed.T + jump @ np.diag(rates)
    return as_given(drift), as_given(start), observed


def _twice_integrated(drift: Floats, span: float) -> Floats:
    """Return int over 0..span of (span - s) e^(F s) ds."""
    reach = as_given(drift * span)
    if np.abs(reach).sum(axis=1).max() > 1:
        # F^-2 (e^(F T) - 1 - F T): F is stable, and has an inverse.
        inverse = np.linalg.inv(drift)
        return as_given(
            inverse @ inverse @ (matrix_exponential(reach) - np.eye(len(reach)) - reach)
        )
    # Its series, where that would cancel.
    term = np.eye(len(reach)) * span**2 / 2
    total = term
    for step in range(3, 24):
        term = term @ reach / step
        total = total + term
    return as_given(total)


def _streams(events: Sequence[ArrayLike], mu: ArrayLike) -> Sequence[ArrayLike]:
    """Return the lists of events, one for each component."""
    if not isinstance(events, Sequence | np.ndarray):
        raise InvalidInput(f"events: {type(events).__name__}; allowed: a list for each component")
    flat = all(np.ndim(event) == 0 for event in events)
    return [np.asarray(events)] if flat and np.ndim(mu) == 0 else events


def _matrix(name: str, values: ArrayLike, size: int) -> Floats:
    found = numbers(name, values, low=0)
    if found.ndim == 0:
        return np.full((size, size), float(found))
    if found.shape != (size, size):
        shape = "x".join(str(length) for length in found.shape)
        raise InvalidInput(f"{name}: {shape}; allowed: one number, or {size}x{size} as mu has")
    return found


def _shaped(found: Floats, mu: ArrayLike) -> Floats:
    return as_given(found if np.ndim(mu) else found[..., 0, 0])

"""The process itself: rates, intensities, compensators and likelihoods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, numbers, positive, row, whole
from lob.errors import InvalidInput

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class HawkesProcess:
    """Exogenous rates `mu` (1/s), jumps `alpha` (1/s) and decays `beta` (1/s), as tuples.

    `alpha[i][j]` and `beta[i][j]` are of what component j does to component i. All methods take
    event times in seconds from 0, one increasing list for each component.

    >>> process = HawkesProcess.univariate(mu=0.5, alpha=0.8, beta=1.6)
    >>> process.branching_ratio, process.stationary_rates()
    (0.5, (1.0,))
    """

    mu: tuple[float, ...]
    alpha: Matrix
    beta: Matrix

    def __post_init__(self) -> None:
        mu = row("mu", self.mu, low=0)
        size = len(mu)
        for name in ("alpha", "beta"):
            matrix = numbers(name, getattr(self, name), low=0)
            if matrix.shape != (size, size):
                shape = "x".join(str(length) for length in matrix.shape)
                raise InvalidInput(f"{name}: {shape}; allowed: {size}x{size}, as mu has {size}")
            as_tuples = tuple(tuple(float(value) for value in row) for row in matrix)
            object.__setattr__(self, name, as_tuples)
        for decays in self.beta:
            for value in decays:
                positive("beta", value)
        object.__setattr__(self, "mu", tuple(float(rate) for rate in mu))

    @classmethod
    def univariate(cls, mu: float, alpha: float, beta: float) -> "HawkesProcess":
        """Return the process of one component: mu + sum of alpha exp(-beta age)."""
        return cls((mu,), ((alpha,),), ((beta,),))

    @property
    def dimension(self) -> int:
        """Return the number of components."""
        return len(self.mu)

    def kernel_norms(self) -> Floats:
        """Return the matrix of alpha_ij / beta_ij: direct offspring in i of one event in j."""
        return np.asarray(np.array(self.alpha) / np.array(self.beta), dtype=np.float64)

    @property
    def branching_ratio(self) -> float:
        """Return the spectral radius of the kernel norms; below 1 the process is stationary."""
        return float(np.abs(np.linalg.eigvals(self.kernel_norms())).max())

    @property
    def is_stationary(self) -> bool:
        """Say whether rates stay bounded: branching ratio below 1 (Hawkes 1971)."""
        return self.branching_ratio < 1

    def stationary_rates(self) -> tuple[float, ...]:
        """Return the mean rates (I - alpha/beta)^-1 mu in 1/s; `InvalidInput` if not stationary.

        >>> buys_bring_sells = HawkesProcess((1.0, 1.0), ((0.0, 1.0), (2.0, 0.0)),
        ...                                  ((4.0, 4.0), (4.0, 4.0)))
        >>> [round(rate, 4) for rate in buys_bring_sells.stationary_rates()]
        [1.4286, 1.7143]
        """
        if not self.is_stationary:
            ratio = self.branching_ratio
            raise InvalidInput(f"branching ratio: {ratio:.6g}; allowed: below 1 (stationary)")
        identity = np.eye(self.dimension)
        return tuple(map(float, np.linalg.solve(identity - self.kernel_norms(), self.mu)))

    def expected_rate(self, time: ArrayLike) -> Floats:
        """Return E[lambda(t)] of one component started without a past, in 1/s, at each time.

        Solves m' = beta mu - (beta - alpha) m from m(0) = mu: for alpha below beta it rises from mu
        to the stationary rate; at alpha = beta it grows as mu (1 + beta t).
        """
        self._require_univariate()
        mu, alpha, beta = self.mu[0], self.alpha[0][0], self.beta[0][0]
        times = numbers("time", time, low=0)
        gap = beta - alpha
        # (1 - exp(-gap t)) / gap, which is t where there is no gap
        grown = times if gap == 0 else -np.expm1(-gap * times) / gap
        return np.asarray(mu * (1 + alpha * grown))

    def count_variance_ratio(self) -> float:
        """Return the limit of Var N(t) / E N(t) of one component: 1 / (1 - alpha/beta)^2.

        The Fano factor of clustering; 1 is Poisson (Hawkes 1971, from the spectrum at 0).
        """
        self._require_univariate()
        self.stationary_rates()
        return float((1 - self.branching_ratio) ** -2)

    def covariance_density(self, lag: ArrayLike) -> Floats:
        """Return the covariance density of one component at positive lags (Hawkes 1971).

        alpha Lambda (2 beta - alpha) / (2 (beta - alpha)) exp(-(beta - alpha) lag).
        """
        self._require_univariate()
        rate = self.stationary_rates()[0]
        alpha, beta = self.alpha[0][0], self.beta[0][0]
        lags = numbers("lag", lag, low=0)
        scale = alpha * rate * (2 * beta - alpha) / (2 * (beta - alpha))
        return np.asarray(scale * np.exp(-(beta - alpha) * lags))

    def intensity(self, time: ArrayLike, events: Sequence[ArrayLike]) -> Floats:
        """Return the intensities in 1/s just before each time: shape (components,) + time's.

        An event at the very time asked for does not count yet (left limit).
        """
        times = numbers("time", time)
        streams = self.checked_events(events)
        rates = np.empty((self.dimension, *times.shape))
        for i, base in enumerate(self.mu):
            rates[i] = base
            for j, stream in enumerate(streams):
                age = times[..., None] - stream
                weights = np.exp(-self.beta[i][j] * np.where(age > 0, age, np.inf))
                rates[i] += self.alpha[i][j] * weights.sum(axis=-1)
        return rates

    def compensator(self, time: ArrayLike, events: Sequence[ArrayLike]) -> Floats:
        """Return the integral of each intensity from 0 to each time, in expected events.

        mu_i t + sum_j (alpha_ij / beta_ij) sum over t_jk < t of (1 - exp(-beta_ij (t - t_jk))).
        """
        times = numbers("time", time, low=0)
        streams = self.checked_events(events)
        totals = np.empty((self.dimension, *times.shape))
        for i, base in enumerate(self.mu):
            totals[i] = base * times
            for j, stream in enumerate(streams):
                age = np.maximum(times[..., None] - stream, 0.0)
                grown = -np.expm1(-self.beta[i][j] * age).sum(axis=-1)
                totals[i] += self.alpha[i][j] / self.beta[i][j] * grown
        return totals

    def log_likelihood(self, events: Sequence[ArrayLike], horizon: float) -> float:
        """Return the log-likelihood of events on [0, horizon] (Ozaki 1979), in O(events).

        sum_i (sum_k log lambda_i(t_ik) - integral of lambda_i). Minus infinity where an event falls
        when its component cannot have one.
        """
        horizon = positive("horizon", horizon)
        streams = self.checked_events(events, horizon)
        total = -math.fsum(self.compensator(horizon, streams))
        for i, own in enumerate(streams):
            rates = np.full(len(own), self.mu[i])
            for j, other in enumerate(streams):
                rates += self.alpha[i][j] * decayed_sums(own, other, self.beta[i][j])
            if len(own) and rates.min() <= 0:
                return -math.inf
            total += float(np.log(rates).sum())
        return total

    def checked_events(
        self, events: Sequence[ArrayLike], horizon: float = math.inf
    ) -> list[Floats]:
        """Return the event lists as arrays; `InvalidInput` unless increasing within 0..horizon."""
        if len(events) != self.dimension:
            allowed = f"{self.dimension}, one for each component"
            raise InvalidInput(f"events: {len(events)} lists; allowed: {allowed}")
        streams = [row("events", stream, low=0, at_least=0) for stream in events]
        for stream in streams:
            if (np.diff(stream) <= 0).any():
                place = int(np.argmax(np.diff(stream) <= 0)) + 1
                raise InvalidInput(
                    f"events: {float(stream[place])!r} at place {place}; allowed: later than the "
                    "one before"
                )
            if len(stream) and stream[-1] > horizon:
                raise InvalidInput(f"events: {float(stream[-1])!r}; allowed: at most {horizon!r}")
        return streams

    def _require_univariate(self) -> None:
        whole("components", self.dimension, 1, 1)


def decayed_sums(at: Floats, events: Floats, beta: float) -> Floats:
    """Return at each time the sum of exp(-beta age) over earlier events, in one pass (O(n + m)).

    `at` and `events` increase; an event at the very time does not count.
    """
    return decayed_moments(at, events, beta)[0]


def decayed_moments(at: Floats, events: Floats, beta: float) -> tuple[Floats, Floats]:
    """Return the sums of exp(-beta age) and of age exp(-beta age) over earlier events."""
    sums, aged = np.zeros(len(at)), np.zeros(len(at))
    counts = np.searchsorted(events, at, side="left")
    times = events.tolist()
    total, total_aged, last, seen = 0.0, 0.0, 0.0, 0
    for place, (time, count) in enumerate(zip(at.tolist(), counts.tolist(), strict=True)):
        elapsed = time - last
        fade = math.exp(-beta * elapsed)
        total_aged = fade * (total_aged + elapsed * total)
        total *= fade
        for event in times[seen:count]:
            weight = math.exp(-beta * (time - event))
            total += weight
            total_aged += (time - event) * weight
        last, seen = time, count
        sums[place], aged[place] = total, total_aged
    return sums, aged

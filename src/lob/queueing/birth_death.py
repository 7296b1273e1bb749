"""A queue whose rates depend on its size: first passage, moments, and where it settles.

`birth(n)` and `death(n)` are the rates, a second, at which a queue of n unit orders gets one more
and one less. They are given as one number, as a row (`row[n]`, the last entry holding for every
longer queue) or as a function of n.

Sources: Abate and Whitt, "Computing Laplace Transforms for Numerical Inversion via Continued
Fractions" (INFORMS Journal on Computing 11, 1999) and Cont, Stoikov and Talreja (Operations
Research 58, 2010), section 3, for first passage; Huang, Lehalle and Rosenbaum (Journal of the
American Statistical Association 110, 2015), section 2.3, for the stationary law.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, not_negative, numbers, row, whole
from lob.errors import InvalidInput
from lob.queueing.laplace import ComplexArray
from lob.queueing.special import poisson_window

Rate = float | Sequence[float] | Floats | Callable[[int], float]

STEPS_MAX: Final = 5_000_000
LEVELS_MAX: Final = 20_000
_ACCURACY: Final = 1e-12


def rate_row(name: str, rate: Rate, levels: int) -> Floats:
    """Return the rates of queues of 0..levels orders; `InvalidInput` for one below 0."""
    if callable(rate):
        return row(name, [float(rate(n)) for n in range(levels + 1)], low=0)
    given = row(name, np.atleast_1d(numbers(name, rate, low=0)))
    return given[np.minimum(np.arange(levels + 1), len(given) - 1)]


def linear_death(mu: float, theta: float) -> Callable[[int], float]:
    """Return the death rate mu + n theta: market orders at mu, each order cancelled at theta."""
    mu, theta = not_negative("mu", mu), not_negative("theta", theta)
    return lambda n: mu + n * theta


@dataclass(frozen=True, slots=True)
class BirthDeath:
    """Hold the rates of one queue; `target` levels below the start are passed one by one.

    >>> queue = BirthDeath(birth=12.0, death=13.0)
    >>> round(float(queue.first_passage_cdf(1.0, start=5)), 6)
    0.383377
    """

    birth: Rate
    death: Rate

    def first_passage_cdf(self, t: ArrayLike, *, start: int, target: int = 0) -> Floats:
        """Return P(the queue has come down to `target` by t); the same shape as `t`, seconds.

        Uniformisation on the levels that can be reached but for a probability below 1e-12: sums
        of positive terms, absolute accuracy about 1e-11. O(levels x rate x t).
        """
        start, target, times = _passage(t, start, target)
        if not times.size or not float(times.max()):
            return np.zeros_like(times)[()]
        levels = self._levels_reached(start, target, float(times.max()))
        births = rate_row("birth", self.birth, levels)[target + 1 :].copy()
        deaths = rate_row("death", self.death, levels)[target + 1 :]
        births[-1] = 0.0
        return _absorbed(births, deaths, start - target - 1, times)

    def first_passage_pdf(self, t: ArrayLike, *, start: int, target: int = 0) -> Floats:
        """Return the density, a second, of the first time at `target`; accuracy as of the cdf."""
        start, target, times = _passage(t, start, target)
        levels = self._levels_reached(start, target, float(times.max(initial=1.0)))
        births = rate_row("birth", self.birth, levels)[target + 1 :].copy()
        deaths = rate_row("death", self.death, levels)[target + 1 :]
        births[-1] = 0.0
        occupied = _uniformised(births, deaths, start - target - 1, times, of=0)
        return np.asarray(occupied * deaths[0])[()]

    def first_passage_laplace(
        self, s: ComplexArray | complex, *, start: int, target: int = 0
    ) -> ComplexArray:
        """Return E[exp(-s T)] for the time T from `start` down to `target`; Re s of 0 or more.

        Each level is passed with the continued fraction of Cont, Stoikov and Talreja 2010, eq.
        (11): phi_n = d_n / (b_n + d_n + s - b_n phi_(n+1)), begun so far up that going on changes
        nothing beyond 1e-13.
        """
        start, target = _ends(start, target)
        at = np.asarray(s, dtype=np.complex128)
        if not np.all(np.isfinite(at)) or np.any(at.real < 0):
            raise InvalidInput("s: not finite or of negative real part; allowed: Re s of 0 or more")
        levels, before = start + 32, np.full(at.shape, np.nan, dtype=np.complex128)
        while True:
            births = rate_row("birth", self.birth, levels)
            deaths = rate_row("death", self.death, levels)
            phi = np.zeros(at.shape, dtype=np.complex128)
            product = np.ones(at.shape, dtype=np.complex128)
            for n in range(levels, target, -1):
                below = births[n] + deaths[n] + at - births[n] * phi
                phi = np.divide(deaths[n], below, out=np.ones_like(phi), where=below != 0)
                if n <= start:
                    product *= phi
            if np.all(np.abs(product - before) < 1e-13) or levels > LEVELS_MAX:  # noqa: PLR2004
                return product
            before, levels = product, 2 * levels

    def first_passage_mean(self, *, start: int, target: int = 0) -> float:
        """Return the mean time in seconds from `start` down to `target`; may be infinite."""
        return self._moments(*_ends(start, target))[0]

    def first_passage_variance(self, *, start: int, target: int = 0) -> float:
        """Return the variance, in seconds squared, of that time; may be infinite."""
        return self._moments(*_ends(start, target))[1]

    def up_before_down(self, *, start: int, up: int, down: int = 0) -> float:
        """Return the probability of coming to `up` before `down` (Karlin and Taylor I, 4.7).

        >>> BirthDeath(birth=1.0, death=1.0).up_before_down(start=3, up=10)
        0.3
        """
        down, up = whole("down", down, 0, COUNT_MAX), whole("up", up, 0, LEVELS_MAX)
        start = whole("start", start, 0, COUNT_MAX)
        if not down <= start <= up or down == up:
            raise InvalidInput(f"start: {start}; allowed: {down}..{up} (down..up, down below up)")
        births = rate_row("birth", self.birth, up)[down + 1 : up]
        deaths = rate_row("death", self.death, up)[down + 1 : up]
        if np.any(births == 0):
            return float(start == up) if not np.all(births[start - down - 1 :] > 0) else 1.0
        with np.errstate(divide="ignore"):
            logs = np.concatenate([[0.0], np.cumsum(np.log(deaths) - np.log(births))])
        weights = np.exp(logs - logs.max())
        return float(weights[: start - down].sum() / weights.sum())

    def stationary_law(self, levels: int | None = None) -> Floats:
        """Return the long-run probabilities of 0, 1, ... orders (the detailed balance).

        pi(n) = pi(0) x product of birth(j - 1) / death(j). Without `levels`, as many as hold all
        but 1e-14; `InvalidInput` where the sum does not converge. With `levels`, the law of the
        queue that takes no order beyond it.
        """
        count = 64 if levels is None else whole("levels", levels, 0, LEVELS_MAX)
        while True:
            births = rate_row("birth", self.birth, count)
            deaths = rate_row("death", self.death, count)
            if np.any((deaths[1:] == 0) & (births[:-1] > 0)):
                raise InvalidInput("death: 0 above a queue that grows; allowed: above 0")
            with np.errstate(divide="ignore", invalid="ignore"):
                steps = np.log(births[:-1]) - np.log(deaths[1:])
            steps[births[:-1] == 0] = -np.inf
            logs = np.concatenate([[0.0], np.cumsum(steps)])
            law: Floats = np.exp(logs - logs.max())
            law /= law.sum()
            ratio = births[-1] / deaths[-1] if deaths[-1] > 0 else math.inf
            left = law[-1] * ratio / (1 - ratio) if ratio < 1 else math.inf
            if levels is not None or left < 1e-14 or law[-1] == 0:  # noqa: PLR2004
                return law
            if count >= LEVELS_MAX:
                raise InvalidInput(
                    f"birth: no stationary law within {LEVELS_MAX} orders; allowed: rates that "
                    "fall below the death rates as the queue grows"
                )
            count *= 2

    def _levels_reached(self, start: int, target: int, t: float) -> int:
        """Return the level that is reached by t with a probability below the accuracy."""
        levels = start + 16
        while True:
            births = rate_row("birth", self.birth, levels)
            deaths = rate_row("death", self.death, levels)
            climb = births[start:]
            if np.any(climb == 0):
                return start + int(np.argmax(climb == 0)) + 1
            # Chernoff on a pure birth chain no slower than this one, and the chain's own climb.
            window = _count_bound(float(climb.max()) * t)
            if levels - start >= window:
                return levels
            fall, rise = deaths[target + 1 :], births[target + 1 :]
            ups = np.log(np.maximum(fall, 1e-300)) - np.log(rise)
            logs = np.concatenate([[0.0], np.cumsum(ups)])
            at_start = np.logaddexp.reduce(logs[: start - target])
            chance = at_start - np.logaddexp.reduce(logs)
            if chance < math.log(_ACCURACY):
                return levels
            if levels > LEVELS_MAX:
                raise InvalidInput(
                    f"t: {t}; allowed: a time in which the queue stays below {LEVELS_MAX} orders"
                )
            levels *= 2

    def _moments(self, start: int, target: int) -> tuple[float, float]:
        levels, before = start + 32, (math.nan, math.nan)
        while True:
            births = rate_row("birth", self.birth, levels)
            deaths = rate_row("death", self.death, levels)
            births[-1] = 0.0
            mean = square = total = variance = 0.0
            for n in range(levels, target, -1):
                if deaths[n] == 0:
                    mean = square = math.inf
                else:
                    # One step at a time: T_n = wait + (up) T_(n+1) + T_n again.
                    b, d = births[n], deaths[n]
                    up, up_square = (mean, square) if b else (0.0, 0.0)
                    mean = (1 + b * up) / d
                    square = (2 * mean + b * (up_square + 2 * up * mean)) / d
                if n <= start:
                    total += mean
                    variance += square - mean * mean
            found = (total, variance)
            if any(math.isnan(v) or math.isinf(v) for v in found):
                return (math.inf if math.isnan(total) else total, math.inf)
            if all(abs(a - b) <= _ACCURACY * abs(a) for a, b in zip(found, before, strict=True)):
                return found
            if levels > LEVELS_MAX:
                settled = abs(total - before[0]) <= 1e-6 * total
                return (total if settled else math.inf, math.inf)
            before, levels = found, 2 * levels


def _ends(start: int, target: int) -> tuple[int, int]:
    target = whole("target", target, 0, LEVELS_MAX)
    start = whole("start", start, 0, LEVELS_MAX)
    if start <= target:
        raise InvalidInput(f"start: {start}; allowed: above target ({target})")
    return start, target


def _passage(t: ArrayLike, start: int, target: int) -> tuple[int, int, Floats]:
    return *_ends(start, target), numbers("t", t, low=0)


def _count_bound(mean: float) -> int:
    """Return a count that a Poisson variable exceeds with a probability below 1e-13."""
    return int(mean + 8 * math.sqrt(mean) + 40)


def _absorbed(births: Floats, deaths: Floats, start: int, times: Floats) -> Floats:
    return np.clip(_uniformised(births, deaths, start, times, of=None), 0.0, 1.0)[()]


def _uniformised(
    births: Floats, deaths: Floats, start: int, times: Floats, *, of: int | None
) -> Floats:
    """Return P(level `of` at t), or P(absorbed below level 0 by t) where `of` is None."""
    rate = float((births + deaths).max())
    if rate == 0:
        return np.full(times.shape, float(of == start))
    flat = times.ravel()
    steps = int(_count_bound(rate * float(flat.max())))
    if steps > STEPS_MAX:
        raise InvalidInput(f"t: {steps} events by then; allowed: at most {STEPS_MAX}")
    up, down = births / rate, deaths / rate
    stay = 1 - up - down
    at = np.zeros(len(births))
    at[start] = 1.0
    absorbed, curve = 0.0, np.empty(steps + 1)
    for step in range(steps + 1):
        curve[step] = absorbed if of is None else at[of]
        absorbed += down[0] * at[0]
        moved = at * stay
        moved[1:] += at[:-1] * up[:-1]
        moved[:-1] += at[1:] * down[1:]
        at = moved
    answers = []
    for t in flat:
        first, weights = poisson_window(rate * float(t))
        kept = weights[: max(0, len(curve) - first)]
        answers.append(float(kept @ curve[first : first + len(kept)]))
    return np.array(answers).reshape(times.shape)

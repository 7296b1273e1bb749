"""A queue with constant rates: when does it first run dry?

The queue of unit orders grows at rate `lam` and shrinks at rate `delta` (Cont and de Larrard's
lambda and mu + theta). The first time it is depleted is the busy period of an M/M/1 queue that
starts with x customers: Cont and de Larrard, "Price Dynamics in a Markovian Limit Order Market"
(SIAM Journal on Financial Mathematics 4, 2013), section 3.1; Feller II, section XIV.6. Times are
seconds and rates are a second.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, as_given, not_negative, numbers, positive, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats
from lob.queueing.laplace import ComplexArray
from lob.queueing.special import gamma_p, log_bessel_i

_ORDERS_MAX: Final = 2_000_000


def _queue(x: int, lam: float, delta: float) -> tuple[int, float, float]:
    return whole("x", x, 1, COUNT_MAX), not_negative("lam", lam), not_negative("delta", delta)


@in_floats
def mm1_first_passage_pdf(t: ArrayLike, *, x: int, lam: float, delta: float) -> Floats:
    """Return the density, a second, of the time t at which a queue of x orders is depleted.

    (x / t) (delta / lam)^(x/2) I_x(2 t sqrt(lam delta)) exp(-t (lam + delta)). It integrates to
    min(1, (delta / lam)^x). Relative accuracy about 1e-12; the same shape as `t`, which is above 0.
    """
    x, lam, delta = _queue(x, lam, delta)
    times = numbers("t", t, above=0)
    if delta == 0:
        return np.zeros_like(times)[()]
    if lam == 0:
        logs = x * np.log(delta * times) - delta * times - math.lgamma(x) - np.log(times)
        return as_given(np.exp(logs))
    z = 2 * times * math.sqrt(lam * delta)
    _require_orders(float(z.max(initial=0)))
    logs = np.log(x / times) + x / 2 * math.log(delta / lam) + log_bessel_i(x, z)[x]
    return as_given(np.exp(logs - times * (math.sqrt(lam) - math.sqrt(delta)) ** 2))


@in_floats
def mm1_first_passage_cdf(t: ArrayLike, *, x: int, lam: float, delta: float) -> Floats:
    """Return the probability that a queue of x orders is depleted by t; the same shape as `t`.

    By reflection, with K the difference of two Poisson counts of means `lam t` and `delta t`
    (Skellam): P(K <= -x) + (delta / lam)^x P(K > x), sums of positive terms. Absolute accuracy
    about 1e-12. O(|lam - delta| t + sqrt(lam delta) t); t may be 0 or infinite.

    >>> [round(float(p), 6) for p in mm1_first_passage_cdf([0.5, 1, 5], x=5, lam=12, delta=13)]
    [0.1925, 0.383377, 0.776648]
    """
    x, lam, delta = _queue(x, lam, delta)
    times = numbers("t", t, low=0, infinite=True)
    ever = mm1_depletion_probability(x=x, lam=lam, delta=delta)
    if delta == 0:
        return np.zeros_like(times)[()]
    if lam == 0:
        return gamma_p(float(x), delta * times)
    answers = [
        ever if math.isinf(at) else _cdf(x, lam, delta, float(at)) if at else 0.0
        for at in times.ravel()
    ]
    return as_given(np.minimum(np.array(answers).reshape(times.shape), ever))


def _cdf(x: int, lam: float, delta: float, t: float) -> float:
    spread = 10 * math.sqrt((lam + delta) * t) + 60
    last = x + int(abs(lam - delta) * t + spread)
    _require_orders(last)
    logs = log_bessel_i(last, 2 * t * math.sqrt(lam * delta))
    base = -t * (math.sqrt(lam) - math.sqrt(delta)) ** 2
    k = np.arange(last + 1)
    ratio = math.log(delta / lam)
    below = np.exp(logs[x:] + base + k[x:] / 2 * ratio).sum()
    above = np.exp(logs[x + 1 :] + base + (x - k[x + 1 :] / 2) * ratio).sum()
    return float(below + above)


def _require_orders(orders: float) -> None:
    if orders > _ORDERS_MAX:
        raise InvalidInput(
            f"t: {orders:.3g} events by then; allowed: at most {_ORDERS_MAX} (use an infinite t)"
        )


@in_floats
def mm1_depletion_probability(*, x: int, lam: float, delta: float) -> float:
    """Return the probability that the queue is ever depleted: min(1, (delta / lam)^x).

    >>> mm1_depletion_probability(x=2, lam=2.0, delta=1.0)
    0.25
    """
    x, lam, delta = _queue(x, lam, delta)
    return 1.0 if delta >= lam and delta > 0 else 0.0 if delta == 0 else (delta / lam) ** x


@in_floats
def mm1_first_passage_laplace(s: ComplexArray, *, x: int, lam: float, delta: float) -> ComplexArray:
    """Return E[exp(-s T)] of the depletion time, at complex s of real part 0 or more.

    ((lam + delta + s - sqrt((lam + delta + s)^2 - 4 lam delta)) / (2 lam))^x, written as
    2 delta / (... + sqrt(...)) so that nothing cancels.

    >>> mm1_first_passage_laplace(0.0, x=3, lam=1.0, delta=2.0).real.item()
    1.0
    """
    x, lam, delta = _queue(x, lam, delta)
    at = np.asarray(s, dtype=np.complex128)
    if not np.all(np.isfinite(at)) or np.any(at.real < 0):
        raise InvalidInput("s: a value that is not finite or of negative real part; allowed: Re 0+")
    total = lam + delta + at
    # (total - 2 sqrt(lam delta)) may be tiny: the product form keeps it.
    middle = 2 * math.sqrt(lam * delta)
    gap = at + (math.sqrt(lam) - math.sqrt(delta)) ** 2
    root = np.sqrt(gap) * np.sqrt(total + middle)
    return np.asarray((2 * delta / (total + root)) ** x)


@in_floats
def mm1_first_passage_mean(*, x: int, lam: float, delta: float) -> float:
    """Return the mean depletion time in seconds: x / (delta - lam), infinite for lam >= delta.

    >>> mm1_first_passage_mean(x=5, lam=12, delta=13)
    5.0
    """
    x, lam, delta = _queue(x, lam, delta)
    return x / (delta - lam) if delta > lam else math.inf


@in_floats
def mm1_first_passage_variance(*, x: int, lam: float, delta: float) -> float:
    """Return the variance in seconds squared: x (lam + delta) / (delta - lam)^3, or infinity."""
    x, lam, delta = _queue(x, lam, delta)
    return x * (lam + delta) / (delta - lam) ** 3 if delta > lam else math.inf


@in_floats
def mm1_survival_tail(t: ArrayLike, *, x: int, lam: float) -> Floats:
    """Return the tail of the balanced queue (delta = lam): P(T > t) ~ x / sqrt(pi lam t).

    Cont and de Larrard 2013: the mean is infinite; each side has tail index 1/2.
    """
    x, lam = whole("x", x, 1, COUNT_MAX), positive("lam", lam)
    return np.asarray(x / np.sqrt(math.pi * lam * numbers("t", t, above=0)))[()]


@in_floats
def mm1_stationary_law(levels: int, *, lam: float, delta: float) -> Floats:
    """Return the long-run probabilities of 0..levels orders: (1 - rho) rho^n, rho = lam / delta.

    `InvalidInput` for rho of 1 or more, where there is no such law.
    """
    levels = whole("levels", levels, 0, COUNT_MAX)
    lam, delta = not_negative("lam", lam), positive("delta", delta)
    if lam >= delta:
        raise InvalidInput(f"lam: {lam}; allowed: below delta ({delta})")
    return as_given((1 - lam / delta) * (lam / delta) ** np.arange(levels + 1))

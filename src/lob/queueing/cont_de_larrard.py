"""Price moves of the Markovian book of Cont and de Larrard, with constant rates at the touch.

Cont and de Larrard, "Price Dynamics in a Markovian Limit Order Market" (SIAM Journal on Financial
Mathematics 4(1), 2013; arXiv 1104.4596). Unit limit orders arrive at each best quote at the rate
lam, market orders at mu, cancels at theta (whatever the queue's size). The price moves by one tick
when a queue is depleted, and both queues are then drawn anew from f. `n` stands at the bid and `p`
at the ask. Rates are a second, times seconds.

`lam = mu + theta` is the paper's balanced case, near to what liquid stocks show.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, as_given, not_negative, numbers, positive, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats
from lob.queueing.laplace import ComplexArray, first_of_two
from lob.queueing.mm1 import (
    mm1_depletion_probability,
    mm1_first_passage_cdf,
    mm1_first_passage_laplace,
)
from lob.queueing.race import mean_first_depletion
from lob.queueing.special import panels_between

_AMPLIFICATION_MAX: Final = 1e3
_BALANCED: Final = 1e-12


@in_floats
def cont_de_larrard_up_probability(
    n: ArrayLike, p: ArrayLike, *, lam: float = 1.0, mu: float = 1.0, theta: float = 0.0
) -> Floats:
    """Return P(the price's next move is up | n at the bid, p at the ask); their common shape.

    In the balanced case, whatever the rates:
    (1/pi) int_0^pi (2 - cos t - sqrt((2 - cos t)^2 - 1))^p sin(n t) cos(t/2) / sin(t/2) dt.
    For other rates the same sine transform of the bid queue's survival; where lam > mu + theta
    the price may never move, and up and down do not sum to 1. Absolute accuracy about 1e-10 (1e-8
    for long queues that fall fast).

    >>> table = cont_de_larrard_up_probability([[1], [2]], [[1, 2]])
    >>> table.round(5).tolist()
    [[0.5, 0.30235], [0.69765, 0.5]]
    """
    lam, delta = _rates(lam, mu, theta)
    bids, asks = np.broadcast_arrays(_queues("n", n), _queues("p", p))
    answers = [
        _up(int(bid), int(ask), lam, delta) for bid, ask in zip(bids.flat, asks.flat, strict=True)
    ]
    return as_given(np.clip(np.array(answers).reshape(bids.shape), 0.0, 1.0))


@in_floats
def cont_de_larrard_duration_survival(
    t: ArrayLike, *, n: int, p: int, lam: float, mu: float, theta: float
) -> Floats:
    """Return P(tau > t): that the price has not moved by t; the shape of `t`.

    The product of the two queues' survivals, each the M/M/1 busy period's.
    """
    lam, delta = _rates(lam, mu, theta)
    bid = mm1_first_passage_cdf(t, x=n, lam=lam, delta=delta)
    ask = mm1_first_passage_cdf(t, x=p, lam=lam, delta=delta)
    return as_given((1 - bid) * (1 - ask))


@in_floats
def cont_de_larrard_duration_tail(t: ArrayLike, *, n: int, p: int, lam: float) -> Floats:
    """Return the tail of the balanced duration: P(tau > t) ~ n p / (pi lam t), of infinite mean.

    The product of two tails x / sqrt(pi lam t).
    """
    n, p = whole("n", n, 1, COUNT_MAX), whole("p", p, 1, COUNT_MAX)
    lam = positive("lam", lam)
    return as_given(n * p / (math.pi * lam * numbers("t", t, above=0)))


@in_floats
def cont_de_larrard_mean_duration(n: int, p: int, *, lam: float, mu: float, theta: float) -> float:
    """Return the mean time in seconds to the price's next move; infinite for lam >= mu + theta.

    >>> cont_de_larrard_mean_duration(1, 1, lam=0.0, mu=1.0, theta=1.0)
    0.25
    """
    n, p = whole("n", n, 1, COUNT_MAX), whole("p", p, 1, COUNT_MAX)
    lam, delta = _rates(lam, mu, theta)
    if lam >= delta:
        return math.inf
    n, p = min(n, p), max(n, p)
    if lam == 0 or (delta / lam) ** (n / 2) > _AMPLIFICATION_MAX:
        return float(mean_first_depletion((lam, lam), (delta, delta), sizes=(n, p))[-1, -1])

    def survived(s: Floats) -> Floats:
        passed = _passed(s, p, lam, delta)
        return (1 - passed) / s

    return _sine_transform(n, p, lam, delta, survived)


@in_floats
def cont_de_larrard_depth_moment(f: ArrayLike) -> float:
    """Return D(f), the sum of n p f(n, p): the mean of the product of the queues after a move.

    `f[n - 1, p - 1]` is the probability of n at the bid and p at the ask; it sums to 1.

    >>> cont_de_larrard_depth_moment([[0.5, 0.0], [0.0, 0.5]])
    2.5
    """
    law = _law(f)
    n, p = (np.arange(1, size + 1) for size in law.shape)
    return float(n @ law @ p)


@in_floats
def cont_de_larrard_continuation_probability(
    f: ArrayLike, *, lam: float = 1.0, mu: float = 1.0, theta: float = 0.0
) -> float:
    """Return p_cont: that an up move is followed by another.

    `f` is the law of (bid, ask) after an up move. The correlation of successive moves is
    2 p_cont - 1: negative where f puts less on the bid than on the ask.

    >>> round(cont_de_larrard_continuation_probability([[0.0, 1.0]]), 5)
    0.30235
    """
    law = _law(f)
    n, p = np.nonzero(law)
    up = cont_de_larrard_up_probability(n + 1.0, p + 1.0, lam=lam, mu=mu, theta=theta)
    return float(np.sum(up * law[n, p]))


@in_floats
def cont_de_larrard_volatility(
    f: ArrayLike, *, tick: float, lam: float, mu: float, theta: float
) -> float:
    """Return the diffusion limit's standard deviation, of the price over one second.

    For lam < mu + theta it is tick / sqrt(m), m the mean duration under f: the price
    over n t seconds is near sqrt(n) times a Brownian motion of this deviation. `f` is symmetric.
    The balanced case has another scale: `cont_de_larrard_balanced_volatility`.
    """
    law = _symmetric(f)
    tick = positive("tick", tick)
    if lam >= mu + theta:
        raise InvalidInput(f"lam: {lam}; allowed: below mu + theta ({mu + theta})")
    n, p = np.nonzero(law)
    mean = sum(
        weight * cont_de_larrard_mean_duration(int(i), int(j), lam=lam, mu=mu, theta=theta)
        for i, j, weight in zip(n + 1, p + 1, law[n, p], strict=True)
    )
    return tick / math.sqrt(float(mean))


@in_floats
def cont_de_larrard_balanced_volatility(f: ArrayLike, *, tick: float, lam: float) -> float:
    """Return sigma = tick sqrt(pi lam / D(f)) of the balanced book.

    The price over n log(n) t seconds is near sqrt(n) sigma times a Brownian motion: volatility
    grows with the rate of orders and falls with the depth D(f). `f` is symmetric.

    >>> round(cont_de_larrard_balanced_volatility([[1.0]], tick=1.0, lam=1.0), 6)
    1.772454
    """
    law = _symmetric(f)
    tick, lam = positive("tick", tick), positive("lam", lam)
    return tick * math.sqrt(math.pi * lam / cont_de_larrard_depth_moment(law))


def _rates(lam: float, mu: float, theta: float) -> tuple[float, float]:
    lam = not_negative("lam", lam)
    delta = not_negative("mu", mu) + not_negative("theta", theta)
    if not delta:
        raise InvalidInput("mu: 0 with theta 0; allowed: one of them above 0")
    # Sums such as 0.1 + 0.2 are meant to balance 0.3.
    return (lam, delta) if abs(lam - delta) > _BALANCED * delta else (delta, delta)


def _queues(name: str, values: ArrayLike) -> Floats:
    found = numbers(name, values, low=1, high=100_000)
    if np.any(found != np.floor(found)):
        raise InvalidInput(f"{name}: {values!r}; allowed: whole numbers of 1 or more")
    return found


def _law(f: ArrayLike) -> Floats:
    law = numbers("f", f, low=0, high=1)
    if law.ndim != 2 or abs(float(law.sum()) - 1) > 1e-9:  # noqa: PLR2004 - bids by asks
        raise InvalidInput(
            f"f: shape {law.shape}, sum {float(law.sum()):g}; allowed: bids by asks, of sum 1"
        )
    return law


def _symmetric(f: ArrayLike) -> Floats:
    law = _law(f)
    if law.shape[0] != law.shape[1] or not np.allclose(law, law.T, atol=1e-12):
        raise InvalidInput("f: not symmetric; allowed: f(n, p) = f(p, n), as the theorem asks")
    return law


def _passed(s: Floats, queue: int, lam: float, delta: float) -> Floats:
    """Return E[exp(-s T)] of a queue, at real s."""
    at = s.astype(np.complex128)
    return as_given(mm1_first_passage_laplace(at, x=queue, lam=lam, delta=delta).real)


def _up(bid: int, ask: int, lam: float, delta: float) -> float:
    if lam == 0 or (lam < delta and (delta / lam) ** (bid / 2) > _AMPLIFICATION_MAX):
        # The sine transform would cancel; both queues are depleted for sure.
        def first(queue: int) -> Callable[[ComplexArray], ComplexArray]:
            return lambda s: mm1_first_passage_laplace(s, x=queue, lam=lam, delta=delta)

        return first_of_two(first(ask), first(bid), lam + delta)
    never = 1 - mm1_depletion_probability(x=bid, lam=lam, delta=delta)
    ever = mm1_depletion_probability(x=ask, lam=lam, delta=delta)
    transform = _sine_transform(bid, ask, lam, delta, lambda s: _passed(s, ask, lam, delta))
    return never * ever + transform


def _sine_transform(
    bid: int,
    ask: int,
    lam: float,
    delta: float,
    other: Callable[[Floats], Floats],
) -> float:
    """Return the integral over t of the bid queue's survival against what `other` transforms.

    P(T > t) of the M/M/1 queue is its value at infinity plus (2/pi) sqrt(lam delta)
    (delta / lam)^(n/2) int_0^pi sin(n u) sin(u) exp(-s(u) t) / s(u) du,
    s(u) = lam + delta - 2 sqrt(lam delta) cos u, from I_(n-1)(z) - I_(n+1)(z) = 2 n I_n(z) / z.
    """
    gap = (math.sqrt(lam) - math.sqrt(delta)) ** 2
    # Panels narrow towards 0, where nearly balanced rates bend fast.
    edges = np.union1d(
        np.linspace(0, math.pi, 3 + (bid + ask) // 8), math.pi * 0.5 ** np.arange(40.0)
    )
    u, weights = panels_between(edges)
    s = gap + 4 * math.sqrt(lam * delta) * np.sin(u / 2) ** 2
    values = np.sin(bid * u) * np.sin(u) / s * other(s)
    front = 2 / math.pi * math.sqrt(lam * delta) * (delta / lam) ** (bid / 2)
    return float(front * np.sum(weights * values))

"""The two best queues as one correlated Brownian motion in a quadrant.

Cont and de Larrard, "Order Book Dynamics in Liquid Markets: Limit Theorems and Diffusion
Approximations" (2012, arXiv 1202.6412): with many small orders the bid queue x and the ask queue y
move like a Brownian motion without drift, of deviations sigma_b and sigma_a (orders per square root
of a second) and correlation rho (-1 < rho < 1, negative in data). The price goes up when y, down
when x first touches zero.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, not_negative, number, numbers, positive
from lob.errors import InvalidInput
from lob.in_floats import in_floats
from lob.queueing.special import scaled_bessel_i

_TERMS_MAX: Final = 400
_SMALLEST: Final = 1e-15


@in_floats
def heavy_traffic_up_probability(
    x: ArrayLike, y: ArrayLike, *, rho: float = 0.0, sigma_b: float = 1.0, sigma_a: float = 1.0
) -> Floats:
    """Return P(the next move is up | x at the bid, y at the ask); the shape of both.

    1/2 - arctan(c (y/sigma_a - x/sigma_b) / (y/sigma_a + x/sigma_b)) / (2 arctan c), with
    c = sqrt((1 + rho) / (1 - rho)). For rho = 0 and equal
    deviations this is (2/pi) arctan(x / y); for rho = -1 it is x / (x + y).

    >>> round(float(heavy_traffic_up_probability(2.0, 1.0)), 6)
    0.704833
    >>> heavy_traffic_up_probability(3.0, 1.0, rho=-1.0)
    np.float64(0.75)
    """
    bids, asks = _scaled(x, y, sigma_b, sigma_a)
    rho = _correlation(rho)
    imbalance = (asks - bids) / (asks + bids)
    if rho == -1:
        return as_given((1 - imbalance) / 2)
    c = math.sqrt((1 + rho) / (1 - rho))
    return as_given(0.5 - np.arctan(c * imbalance) / (2 * math.atan(c)))


@in_floats
def heavy_traffic_duration_survival(
    t: ArrayLike,
    *,
    x: float,
    y: float,
    rho: float = 0.0,
    sigma_b: float = 1.0,
    sigma_a: float = 1.0,
) -> Floats:
    """Return P(tau > t): that neither queue has touched zero by t; the shape of `t`, seconds.

    sqrt(2 U / (pi t)) exp(-U / (4 t)) sum over odd n of sin(n pi theta0 / alpha) / n
    (I_((nu - 1)/2)(U / 4t) + I_((nu + 1)/2)(U / 4t)), nu = n pi / alpha, cos alpha = -rho
    (Iyengar, SIAM Journal on Applied Mathematics 45, 1985; Metzler 2010).
    Absolute accuracy about 1e-9.

    >>> root = 0.6826894921370859
    >>> round(float(heavy_traffic_duration_survival(1.0, x=1.0, y=1.0)) - root**2, 9)
    0.0
    """
    bids, asks = _scaled(x, y, sigma_b, sigma_a)
    if bids.ndim:
        raise InvalidInput(f"x: shape {bids.shape}; allowed: one number")
    rho = _correlation(rho, closed=False)
    times = numbers("t", t, low=0)
    alpha = math.acos(-rho)
    radius = float((bids**2 + asks**2 - 2 * rho * bids * asks) / (1 - rho * rho))
    angle = math.atan2(float(asks) * math.sqrt(1 - rho * rho), float(bids - rho * asks))
    answers = [_survival(float(at), radius, angle, alpha) for at in times.ravel()]
    return as_given(np.clip(np.array(answers).reshape(times.shape), 0.0, 1.0))


@in_floats
def heavy_traffic_tail_index(rho: float) -> float:
    """Return the exponent k of P(tau > t) ~ t^-k: pi / (2 arccos(-rho)).

    1 for rho = 0 (an infinite mean), above 1 for a negative rho.

    >>> heavy_traffic_tail_index(0.0)
    1.0
    """
    return math.pi / (2 * math.acos(-_correlation(rho, closed=False)))


@in_floats
def heavy_traffic_mean_duration(
    x: float, y: float, *, rho: float, sigma_b: float = 1.0, sigma_a: float = 1.0
) -> float:
    """Return the mean time to the next move: -x y / (rho sigma_b sigma_a) for rho < 0, or infinity.

    x y - rho sigma_b sigma_a t is a martingale, and x y is 0 when the price moves.

    >>> heavy_traffic_mean_duration(2.0, 3.0, rho=-0.5)
    12.0
    """
    bids, asks = _scaled(x, y, sigma_b, sigma_a)
    rho = _correlation(rho)
    return -float(bids * asks) / rho if rho < 0 else math.inf


@in_floats
def queue_deviation(*, lam: float, mu: float, theta: float, order_size: float = 1.0) -> float:
    """Return the deviation, per square root of a second, of a queue of Poisson events of one size.

    order_size sqrt(lam + mu + theta): what turns the Markovian book's rates into sigma_b, sigma_a.
    """
    rates = (not_negative("lam", lam), not_negative("mu", mu), not_negative("theta", theta))
    return positive("order_size", order_size) * math.sqrt(sum(rates))


def _scaled(x: ArrayLike, y: ArrayLike, sigma_b: float, sigma_a: float) -> tuple[Floats, Floats]:
    bids = numbers("x", x, above=0) / positive("sigma_b", sigma_b)
    asks = numbers("y", y, above=0) / positive("sigma_a", sigma_a)
    try:
        np.broadcast_shapes(bids.shape, asks.shape)
    except ValueError:
        raise InvalidInput(
            f"x: shape {bids.shape} beside y's {asks.shape}; allowed: shapes that go together"
        ) from None
    return bids, asks


def _correlation(rho: float, *, closed: bool = True) -> float:
    found = number("rho", rho, low=-1.0, high=1.0)
    if found == 1 or (found == -1 and not closed):
        raise InvalidInput(f"rho: {rho!r}; allowed: {'from' if closed else 'above'} -1, below 1")
    return found


def _survival(t: float, radius: float, angle: float, alpha: float) -> float:
    if t == 0:
        return 1.0
    z = radius / (4 * t)
    total = 0.0
    for n in range(1, 2 * _TERMS_MAX, 2):
        nu = n * math.pi / alpha
        size = scaled_bessel_i((nu - 1) / 2, z) + scaled_bessel_i((nu + 1) / 2, z)
        total += math.sin(nu * angle) / n * size
        if size / n < _SMALLEST:
            break
    return math.sqrt(2 * radius / (math.pi * t)) * total

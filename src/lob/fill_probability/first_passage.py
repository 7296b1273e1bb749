"""P(a limit order's price is touched within T) by a mid that diffuses.

Lo, MacKinlay and Zhang, "Econometric Models of Limit-Order Executions" (Journal of Financial
Economics 65, 2002), section 3: a limit order executes when the price first reaches its limit;
Harrison, "Brownian Motion and Stochastic Flow Systems" (1985), section 1.8, for the laws. The mid
is x + drift t + sigma W (arithmetic, in any one unit of price) or a geometric Brownian motion.
`distance` is how far below the mid a bid stands (for an ask: above, with the drift's sign turned).
Times in one unit, which `drift` and `sigma` (per its square root) share. Accuracy about 1e-12.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, as_given, not_negative, number, numbers, positive, share
from lob.errors import InvalidInput
from lob.in_floats import in_floats
from lob.queueing.special import log_normal_cdf, normal_cdf, normal_quantile, panels


@in_floats
def first_passage_fill_probability(
    t: ArrayLike, *, distance: ArrayLike, sigma: float, drift: float = 0.0
) -> Floats:
    """Return P(the mid falls by `distance` within t); the common shape of `t` and `distance`.

    Phi((-d - m t) / (s sqrt t)) + exp(-2 m d / s^2) Phi((-d + m t) / (s sqrt t)); without drift
    2 Phi(-d / (s sqrt t)). `t` may be 0 (then only a distance of 0 fills) or infinite.

    >>> round(float(first_passage_fill_probability(1.0, distance=1.0, sigma=1.0)), 6)
    0.317311
    """
    times, away = _both(t, distance)
    sigma, drift = positive("sigma", sigma), number("drift", drift)
    spread = sigma * np.sqrt(np.where(np.isfinite(times) & (times > 0), times, 1.0))
    moved = drift * np.where(np.isfinite(times), times, 1.0)
    tilt = -2 * drift * away / sigma**2
    within = normal_cdf((-away - moved) / spread) + np.exp(
        np.minimum(tilt + log_normal_cdf((-away + moved) / spread), 0.0)
    )
    ever = first_passage_ever(distance=away, sigma=sigma, drift=drift)
    found = np.where(np.isinf(times), ever, np.where(times == 0, 0.0, within))
    return as_given(np.where(away == 0, 1.0, np.clip(found, 0.0, 1.0)))


@in_floats
def first_passage_density(
    t: ArrayLike, *, distance: ArrayLike, sigma: float, drift: float = 0.0
) -> Floats:
    """Return the density of the first touch at t: d / (s sqrt(2 pi t^3)) exp(-(d + m t)^2 / 2s^2t).

    The inverse Gaussian law; `t` and `distance` are above 0.
    """
    times = numbers("t", t, above=0)
    away = numbers("distance", distance, above=0)
    sigma, drift = positive("sigma", sigma), number("drift", drift)
    exponent = -((away + drift * times) ** 2) / (2 * sigma**2 * times)
    return as_given(away / (sigma * np.sqrt(2 * math.pi * times**3)) * np.exp(exponent))


@in_floats
def first_passage_ever(*, distance: ArrayLike, sigma: float, drift: float = 0.0) -> Floats:
    """Return P(the mid ever falls by `distance`): min(1, exp(-2 drift distance / sigma^2)).

    >>> round(float(first_passage_ever(distance=1.0, sigma=1.0, drift=0.5)), 6)
    0.367879
    """
    sigma, drift = positive("sigma", sigma), number("drift", drift)
    away = numbers("distance", distance, low=0)
    return as_given(np.exp(np.minimum(0.0, -2 * drift * away / sigma**2)))


@in_floats
def first_passage_mean(*, distance: float, sigma: float, drift: float = 0.0) -> float:
    """Return the mean time to the touch: distance / -drift for a falling mid, else infinite."""
    away = not_negative("distance", distance)
    positive("sigma", sigma)
    drift = number("drift", drift)
    return 0.0 if away == 0 else away / -drift if drift < 0 else math.inf


@in_floats
def first_passage_variance(*, distance: float, sigma: float, drift: float = 0.0) -> float:
    """Return the variance of the time to the touch: d s^2 / |drift|^3 for a falling mid."""
    away, sigma = not_negative("distance", distance), positive("sigma", sigma)
    drift = number("drift", drift)
    return 0.0 if away == 0 else away * sigma**2 / -(drift**3) if drift < 0 else math.inf


@in_floats
def first_passage_quantile(p: float, *, distance: float, sigma: float) -> float:
    """Return the time within which the touch comes with probability p, without drift.

    (d / (s Phi^-1(1 - p / 2)))^2.

    >>> round(first_passage_quantile(0.5, distance=1.0, sigma=1.0), 4)
    2.1981
    """
    away, sigma = not_negative("distance", distance), positive("sigma", sigma)
    p = share("p", p)
    if p in {0.0, 1.0}:
        return math.inf if p and away else 0.0
    return (away / (sigma * normal_quantile(p / 2))) ** 2


@in_floats
def geometric_fill_probability(
    t: ArrayLike, *, price: float, limit: ArrayLike, sigma: float, drift: float = 0.0
) -> Floats:
    """Return P(a geometric Brownian price comes to `limit` within t); the shape of t and limit.

    dP = drift P dt + sigma P dW from `price`: the logarithm has the drift drift - sigma^2 / 2 (Lo,
    MacKinlay and Zhang 2002, equations 3 and 4). A limit below the price is a bid's, above an
    ask's; at the price it fills at once.

    >>> round(float(geometric_fill_probability(1.0, price=100, limit=98, sigma=0.02)), 4)
    0.3156
    """
    price, sigma = positive("price", price), positive("sigma", sigma)
    limits = numbers("limit", limit, above=0)
    drift = number("drift", drift) - sigma**2 / 2
    away = np.log(price / limits)
    down = first_passage_fill_probability(t, distance=np.maximum(away, 0), sigma=sigma, drift=drift)
    up = first_passage_fill_probability(t, distance=np.maximum(-away, 0), sigma=sigma, drift=-drift)
    return as_given(np.where(away >= 0, down, up))


@in_floats
def lower_before_upper(
    *, below: ArrayLike, above: ArrayLike, sigma: float, drift: float = 0.0
) -> Floats:
    """Return P(the mid falls by `below` before it rises by `above`); their common shape.

    (1 - exp(-2 m u / s^2)) / (exp(2 m l / s^2) - exp(-2 m u / s^2)), which is u / (l + u) without
    drift: a resting bid filled before the price runs away.

    >>> float(lower_before_upper(below=1.0, above=3.0, sigma=1.0))
    0.75
    """
    low, high = numbers("below", below, low=0), numbers("above", above, above=0)
    sigma, drift = positive("sigma", sigma), number("drift", drift)
    if drift == 0:
        return as_given(high / (low + high))
    rate = 2 * drift / sigma**2
    if drift > 0:
        # Times exp(-rate low): no exponent is positive.
        top = np.exp(-rate * low) * -np.expm1(-rate * high)
        return as_given(top / -np.expm1(-rate * (low + high)))
    return as_given(np.expm1(rate * high) / np.expm1(rate * (low + high)))


@in_floats
def queue_and_price_fill_probability(
    t: float, *, distance: float, sigma: float, hit_rate: float, drift: float = 0.0
) -> float:
    """Return P(fill within t) where a touched order is also taken at `hit_rate` from then on.

    The touch at u and an exponential wait in the queue after it: int_0^t of the density of u times
    1 - exp(-hit_rate (t - u)), by quadrature; about 1e-9. An infinite wait is `hit_rate` 0.

    >>> queue_and_price_fill_probability(1.0, distance=1.0, sigma=1.0, hit_rate=0.0)
    0.0
    """
    t, rate = not_negative("t", t), not_negative("hit_rate", hit_rate)
    if t == 0 or rate == 0:
        return 0.0
    away = not_negative("distance", distance)
    if away == 0:
        return -math.expm1(-rate * t)
    # By parts: the touched share, less what still waits; both factors are bounded.
    nodes, weights = panels(0.0, math.sqrt(t), 40)
    touched = first_passage_fill_probability(nodes**2, distance=away, sigma=sigma, drift=drift)
    kernel = rate * np.exp(-rate * (t - nodes**2)) * 2 * nodes
    found = float(np.sum(weights * kernel * touched))
    return min(1.0, max(0.0, found))


def _both(t: ArrayLike, distance: ArrayLike) -> tuple[Floats, Floats]:
    times = numbers("t", t, low=0, infinite=True)
    away = numbers("distance", distance, low=0)
    try:
        one, other = np.broadcast_arrays(times, away)
    except ValueError:
        raise InvalidInput(
            f"t: shape {times.shape} beside distance's {away.shape}; allowed: shapes that go "
            "together"
        ) from None
    return one, other

"""Special functions of the closed forms, in numpy and the standard library alone.

Relative accuracy is about 1e-12 unless a function says otherwise.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import (
    COUNT_MAX,
    Floats,
    as_given,
    not_negative,
    number,
    numbers,
    positive,
    whole,
)
from lob.errors import InvalidInput

_TINY = 1e-300
_EPSILON = 1e-16
_ITERATIONS = 100_000
_TAIL_SIGMAS = 9.0
_ASYMPTOTIC_BELOW = -30.0

_erfc = np.vectorize(math.erfc, otypes=[np.float64])
_lgamma = np.vectorize(math.lgamma, otypes=[np.float64])


def normal_cdf(x: ArrayLike) -> Floats:
    """Return the standard normal distribution function; the same shape as `x`.

    >>> round(float(normal_cdf(1.96)), 6)
    0.975002
    """
    return np.asarray(0.5 * _erfc(-np.asarray(x, dtype=np.float64) / math.sqrt(2)))[()]


def log_normal_cdf(x: ArrayLike) -> Floats:
    """Return the logarithm of `normal_cdf`, also where that underflows (Mills' ratio)."""
    values = np.asarray(x, dtype=np.float64)
    far = np.minimum(values, _ASYMPTOTIC_BELOW)
    inverse = 1.0 / (far * far)
    series = 1 - inverse * (1 - 3 * inverse * (1 - 5 * inverse * (1 - 7 * inverse)))
    tail = -far * far / 2 - np.log(-far * math.sqrt(2 * math.pi)) + np.log(series)
    near = np.log(0.5 * _erfc(-np.maximum(values, _ASYMPTOTIC_BELOW) / math.sqrt(2)))
    return np.asarray(np.where(values < _ASYMPTOTIC_BELOW, tail, near))[()]


def normal_quantile(p: float) -> float:
    """Return the x of which `normal_cdf(x)` is `p`, above 0 and below 1, by bisection.

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    p = number("p", p, above=0, below=1)
    if p > 0.5:  # noqa: PLR2004 - symmetry: the lower tail keeps its relative accuracy
        return -normal_quantile(1 - p)
    low, high = -40.0, 0.0
    for _ in range(80):
        middle = (low + high) / 2
        if 0.5 * math.erfc(-middle / math.sqrt(2)) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def poisson_window(mean: float) -> tuple[int, Floats]:
    """Return the first count and the Poisson probabilities from it on; at most 1e-17 is left out.

    The logarithm of each is taken apart, so that no mean under- or overflows.
    """
    mean = not_negative("mean", mean)
    if mean == 0:
        return 0, np.ones(1)
    reach = _TAIL_SIGMAS * math.sqrt(mean) + 40
    first, last = max(0, int(mean - reach)), int(mean + reach)
    mode = max(first, int(mean))
    at_mode = mode * math.log(mean) - mean - math.lgamma(mode + 1)
    up = np.cumsum(math.log(mean) - np.log(np.arange(mode + 1, last + 1)))
    down = np.cumsum(np.log(np.arange(mode, first, -1)) - math.log(mean))
    logs = np.concatenate([down[::-1], [0.0], up]) + at_mode
    return first, np.exp(logs)


def poisson_tail(n: int, mean: ArrayLike) -> Floats:
    """Return P(N >= n) of a Poisson variable: the Erlang distribution of n stages at rate 1.

    A sum of positive terms on the smaller side, so that small tails keep their relative accuracy.

    >>> round(float(poisson_tail(4, 2.0)), 6)
    0.142877
    """
    n = whole("n", n, 0, COUNT_MAX)
    return np.asarray(gamma_p(float(n), mean) if n else np.ones_like(numbers("mean", mean, low=0)))[
        ()
    ]


def gamma_p(a: float, x: ArrayLike) -> Floats:
    """Return the regularised lower incomplete gamma function P(a, x); the same shape as `x`.

    Series below a + 1, Lentz's continued fraction above (Numerical Recipes, section 6.2).
    """
    a = positive("a", a)
    values = numbers("x", x, low=0, infinite=True)
    answers = [_gamma_p(a, float(value)) for value in values.ravel()]
    return np.array(answers).reshape(values.shape)[()]


def _gamma_p(a: float, x: float) -> float:
    if x == 0:
        return 0.0
    if math.isinf(x):
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, _ITERATIONS):
            term *= x / (a + step)
            total += term
            if term < total * _EPSILON:
                break
        return front * total
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    fraction = d
    for step in range(1, _ITERATIONS):
        numerator = -step * (step - a)
        b += 2
        d = 1 / (_nonzero(numerator * d + b))
        c = _nonzero(b + numerator / c)
        fraction *= d * c
        if abs(d * c - 1) < _EPSILON * 10:
            break
    return 1 - front * fraction


def beta_p(a: float, b: float, x: ArrayLike, *, rest: ArrayLike | None = None) -> Floats:
    """Return the regularised incomplete beta function I_x(a, b); the same shape as `x`.

    Lentz's continued fraction on the side where it converges fast (Numerical Recipes, 6.4). `rest`
    is 1 - x where the caller knows it better than a subtraction does.
    """
    a, b = positive("a", a), positive("b", b)
    values = numbers("x", x, low=0, high=1)
    rests = 1 - values if rest is None else numbers("rest", rest, low=0, high=1)
    pairs = zip(values.ravel(), rests.ravel(), strict=True)
    answers = [_beta_p(a, b, float(value), float(other)) for value, other in pairs]
    return as_given(np.array(answers).reshape(values.shape))


def _beta_p(a: float, b: float, x: float, rest: float) -> float:
    if x == 0 or rest == 0:
        return float(rest == 0)
    logs = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(logs + a * math.log(x) + b * math.log(rest))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, rest) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    fraction = d
    for step in range(1, _ITERATIONS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for numerator in (even, odd):
            d = 1 / _nonzero(1 + numerator * d)
            c = _nonzero(1 + numerator / c)
            fraction *= d * c
        if abs(d * c - 1) < _EPSILON * 10:
            break
    return fraction


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def log_bessel_i(orders: int, z: ArrayLike) -> Floats:
    """Return log(exp(-z) I_k(z)) for k = 0..orders; shape `(orders + 1, *z.shape)`.

    The ratios I_k / I_(k-1) by downward recurrence from where they are negligible (Miller; DLMF
    3.6), normalised by e^z = I_0 + 2 (I_1 + I_2 + ...). Logarithms, so that no order underflows.
    O(orders + sqrt(z)).
    """
    orders = whole("orders", orders, 0, 10_000_000)
    values = numbers("z", z, low=0)
    start = orders + 60 + int(_TAIL_SIGMAS * math.sqrt(max(float(values.max(initial=0)), 1.0)))
    logs = np.zeros((orders + 1, *values.shape))
    ratio, total = np.zeros(values.shape), np.zeros(values.shape)
    with np.errstate(divide="ignore"):
        for k in range(start, 0, -1):
            ratio = values / (2 * k + values * ratio)
            total = ratio * (1 + total)
            if k <= orders:
                logs[k] = np.log(ratio)
        logs[0] = -np.log1p(2 * total)
    result: Floats = np.cumsum(logs, axis=0)
    return result


def scaled_bessel_i(order: float, z: float) -> float:
    """Return exp(-z) I_order(z) for a real order of 0 or more, or -1/2; accuracy about 1e-12.

    (1/pi) int_0^pi e^(z (cos u - 1)) cos(order u) du
    - (sin(order pi)/pi) int_0^inf e^(-z (cosh u + 1) - order u) du (DLMF 10.32.4).
    The power series where z is small against the order.
    """
    order = number("order", order, low=-0.5)
    z = not_negative("z", z)
    if z == 0:
        return 1.0 if order == 0 else 0.0 if order > 0 else math.inf
    if z * z < 4 * (order + 1) * 30 and z < 30:  # noqa: PLR2004 - where few terms are enough
        log_first = order * math.log(z / 2) - math.lgamma(order + 1) - z
        term = total = 1.0
        for step in range(1, 500):
            term *= (z / 2) ** 2 / (step * (step + order))
            total += term
            if term < total * _EPSILON:
                break
        return math.exp(log_first) * total
    width = min(math.pi, 12 / math.sqrt(z) + 40 / z)
    nodes, weights = panels(0.0, width, max(4, int(order * width / 4)))
    first = float(np.sum(weights * np.exp(z * (np.cos(nodes) - 1)) * np.cos(order * nodes)))
    nodes, weights = panels(0.0, math.acosh(1 + 745 / z), 8)
    second = float(np.sum(weights * np.exp(-z * (np.cosh(nodes) + 1) - order * nodes)))
    return (first - math.sin(order * math.pi) * second) / math.pi


@lru_cache(maxsize=8)
def _legendre(count: int) -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return np.asarray(nodes, dtype=np.float64), np.asarray(weights, dtype=np.float64)


def panels(low: float, high: float, count: int) -> tuple[Floats, Floats]:
    """Return nodes and weights of 32-point Gauss-Legendre on `count` equal panels."""
    return panels_between(np.linspace(low, high, count + 1))


def panels_between(edges: Floats) -> tuple[Floats, Floats]:
    """Return nodes and weights of 32-point Gauss-Legendre between consecutive edges."""
    nodes, weights = _legendre(32)
    half = np.diff(edges)[:, None] / 2
    middle = (edges[:-1] + edges[1:])[:, None] / 2
    return (middle + half * nodes).ravel(), (half * weights).ravel()


def matrix_exponential(matrix: Floats) -> Floats:
    """Return exp(matrix) of a small square matrix by scaling, a Taylor sum, and squaring.

    Absolute accuracy about 1e-13 for generators of Markov chains (rows that sum to 0 or less).

    >>> [round(float(v), 6) for v in matrix_exponential(np.array([[-2.0, 2.0], [0.0, 0.0]]))[0]]
    [0.135335, 0.864665]
    """
    square = np.asarray(matrix, dtype=np.float64)
    if square.ndim != 2 or square.shape[0] != square.shape[1] or not np.all(np.isfinite(square)):  # noqa: PLR2004
        raise InvalidInput(f"matrix: shape {square.shape}; allowed: square, of finite numbers")
    norm = float(np.abs(square).sum(axis=1).max(initial=0))
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 else 0
    scaled = square / 2.0**squarings
    result = np.eye(len(square))
    term = np.eye(len(square))
    for step in range(1, 20):
        term = term @ scaled / step
        result = result + term
    for _ in range(squarings):
        result = result @ result
    return result

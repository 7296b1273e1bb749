"""The regularised incomplete gamma function and its inverse, in numpy alone."""

import math
from typing import Final

import numpy as np

from lob.bounds import Floats
from lob.errors import InvalidInput

_TOLERANCE: Final = 2e-15
_MAX_TERMS: Final = 100_000
_TINY: Final = 1e-300
_NEWTON_STEPS: Final = 200
_QUANTILE_TOLERANCE: Final = 1e-13


def regularised_gamma(shape: float, x: Floats) -> Floats:
    """Return P(shape, x), the distribution function of a gamma law of scale 1, to 1e-12.

    The series below x = shape + 1, Lentz's continued fraction of the complement above it
    (Abramowitz and Stegun 6.5.29 and 6.5.31). O(sqrt(shape)) terms.
    """
    if not (shape > 0 and math.isfinite(shape)):
        raise InvalidInput(f"shape: {shape}; allowed: a finite number above 0")
    values = np.asarray(x, dtype=np.float64)
    if not (values >= 0).all():
        raise InvalidInput(f"x: {values[~(values >= 0)].flat[0]}; allowed: 0 or more")
    flat = values.ravel()
    result = np.where(np.isinf(flat), 1.0, 0.0)
    low = (flat > 0) & (flat < shape + 1)
    high = (flat >= shape + 1) & np.isfinite(flat)
    result[low] = _series(shape, flat[low])
    result[high] = 1 - _fraction(shape, flat[high])
    return result.reshape(values.shape)


def gamma_quantile(shape: float, level: float) -> float:
    """Return x with P(shape, x) = level, to 1e-10 relative; 0 and infinity at levels 0 and 1.

    Newton's method within a bracket that always holds the root, halved where a step would leave it.

    >>> round(gamma_quantile(1.0, 1 - 1 / 2.718281828459045), 9)
    1.0
    """
    if not 0 < level < 1:
        return math.inf if level else 0.0
    low, high = 0.0, max(1.0, 2 * shape)
    while _at(shape, high) < level:
        low, high = high, 2 * high
    # where x is far below 1 the law is x^shape / Gamma(shape + 1)
    small = math.exp(min(0.0, (math.log(level) + math.lgamma(shape + 1)) / shape))
    guess = small if low < small < high else (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        gap = _at(shape, guess) - level
        if gap > 0:
            high = guess
        else:
            low = guess
        log_density = (shape - 1) * math.log(guess) - guess - math.lgamma(shape)
        density = math.exp(log_density) if log_density > math.log(_TINY) else 0.0
        following = guess - gap / density if density else low
        if not low < following < high:
            following = (low + high) / 2 if low else high / 2
        if abs(following - guess) <= _QUANTILE_TOLERANCE * guess:
            return following
        guess = following
    return guess


def _at(shape: float, x: float) -> float:
    return float(regularised_gamma(shape, np.array([x]))[0])


def _scaled(shape: float, x: Floats) -> Floats:
    """Return x^shape exp(-x) / Gamma(shape)."""
    return np.asarray(np.exp(shape * np.log(x) - x - math.lgamma(shape)))


def _series(shape: float, x: Floats) -> Floats:
    term = np.full(len(x), 1 / shape)
    total = term.copy()
    for count in range(1, _MAX_TERMS):
        term = term * (x / (shape + count))
        total += term
        if not len(x) or float((term / total).max()) < _TOLERANCE:
            break
    return total * _scaled(shape, x)


def _fraction(shape: float, x: Floats) -> Floats:
    b = x + 1 - shape
    c = np.full(len(x), 1 / _TINY)
    d = 1 / b
    h = d.copy()
    for count in range(1, _MAX_TERMS):
        a = -count * (count - shape)
        b = b + 2
        d = a * d + b
        d = 1 / np.where(np.abs(d) < _TINY, _TINY, d)
        c = b + a / c
        c = np.where(np.abs(c) < _TINY, _TINY, c)
        change = c * d
        h = h * change
        if not len(x) or float(np.abs(change - 1).max()) < _TOLERANCE:
            break
    return h * _scaled(shape, x)

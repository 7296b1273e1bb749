"""Bound a mean at every moment at once: a self-normalised one-sided confidence sequence.

For observations `x_1, x_2, ...` and a hypothesis "the mean is at most m", let `S = sum(x - m)` and
`V = sum((x - m)^2)`. If each `x - m` is symmetric about zero given the past, then for every `a`

    exp(a S - a^2 V / 2)

is a supermartingale, whatever the tails, because `cosh(u) <= exp(u^2 / 2)` (de la Pena, Ann.
Probab. 27, 1999; Howard, Ramdas, McAuliffe, Sekhon, Probab. Surveys 17, 2020, table 3). Averaged
over a half-normal `a` with variance `1 / mixture` it becomes, with `y = V + mixture`,

    2 sqrt(mixture / y) exp(S^2 / 2y) Phi(S / sqrt(y))  >=  sqrt(mixture / y) (2 exp(S^2 / 2y) - 1)

for `S >= 0` (the one-sided normal mixture of Howard et al., Ann. Statist. 49, 2021, with
`1 - Phi(z) <= exp(-z^2 / 2) / 2`). By Ville's inequality it ever reaches `1 / alpha` with
probability `alpha` at most, however often somebody looks. Without symmetry the same bound is an
asymptotic confidence sequence: it differs from the one of Waudby-Smith, Arbour, Sinha, Kennedy and
Ramdas (Ann. Statist. 52, 2024, appendix on one-sided bounds) only by measuring the variance about
`m`, which makes it wider while there is little data.

What dependence between observations remains is met by multiplying V by `inflation`, the variance
ratio of an AR(1) process with the correlation seen; it is never below 1, so that it can only widen
the bound.

Every function takes numbers, or arrays of one shape, and costs O(1) an element.
"""

from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Number: TypeAlias = float | npt.NDArray[np.float64]
Truth: TypeAlias = np.bool_ | npt.NDArray[np.bool_]

CORRELATION_MAX: Final = 0.95
_ITERATIONS_MAX: Final = 200
_RELATIVE_CHANGE: Final = 1e-12


class Sums(NamedTuple):
    """What the bounds need to know of the observations: all of them O(1) to keep up to date.

    Attributes:
        n: how many.
        total: their sum.
        squares: the sum of their squares.
        inflation: what their dependence multiplies the variance by, 1 or more.
    """

    n: Number
    total: Number
    squares: Number
    inflation: Number = 1.0


class LagSums(NamedTuple):
    """Sums over pairs of neighbouring observations, for their correlation.

    Attributes:
        n: how many pairs.
        products: the sum of their products.
        totals: the sum of all first and second members.
    """

    n: Number
    products: Number
    totals: Number


def correlation(n: Number, total: Number, squares: Number, lags: LagSums) -> Number:
    """Return the correlation of neighbours about the common mean; 0 where there is no spread."""
    mean = total / n
    spread = squares / n - mean * mean
    joint = (lags.products - mean * lags.totals) / np.maximum(lags.n, 1) + mean * mean
    usable = (spread > 0) & (np.asarray(lags.n) > 0)
    return np.asarray(np.where(usable, joint / np.where(usable, spread, 1.0), 0.0))


def inflation(correlated: Number) -> Number:
    """Return the factor of an AR(1) process on the variance of a sum: (1 + r) / (1 - r), >= 1."""
    r = np.clip(np.asarray(correlated, dtype=np.float64), 0.0, CORRELATION_MAX)
    return np.asarray((1 + r) / (1 - r))


def proven_above(sums: Sums, threshold: float, *, alpha: float, mixture: float) -> Truth:
    """Return whether the mean is proven to lie above `threshold`, at level `alpha`.

    Args:
        sums: of the observations so far.
        threshold: in the observations' unit.
        alpha: the share of false proofs that is accepted over all looks together.
        mixture: the variance, in the observations' unit squared, that steers where the bound is
            tight: at a total variance of about six times as much. It is valid for any value that
            is chosen beforehand.
    """
    n, total, squares, factor = sums
    deviation = total - n * threshold
    # Rounding may leave a hair less than nothing.
    variance = np.maximum(squares - 2 * threshold * total + n * threshold**2, 0.0)
    y = factor * variance + mixture
    return deviation >= np.sqrt(2 * y * _penalty(y, alpha, mixture))


def proven_below(sums: Sums, threshold: float, *, alpha: float, mixture: float) -> Truth:
    """Return whether the mean is proven to lie below `threshold`: the mirror image."""
    return proven_above(_mirrored(sums), -threshold, alpha=alpha, mixture=mixture)


def lower_bound(sums: Sums, *, alpha: float, mixture: float) -> float:
    """Return the largest mean that is proven to be too small; minus infinity with too little data.

    The bound lies `x` below the sample's mean where `n^2 x^2 = 2 y L(y)` and
    `y = inflation (spread + n x^2) + mixture`, that is at the smallest fixed point of
    `y = (inflation spread + mixture) n / (n - 2 inflation L(y))`.
    """
    n, total, squares, factor = (float(value) for value in sums)
    if n == 0:
        return -np.inf
    mean = total / n
    start = factor * max(squares - total * mean, 0.0) + mixture
    y = start
    for _ in range(_ITERATIONS_MAX):
        room = n - 2 * factor * float(_penalty(y, alpha, mixture))
        if room <= 0:
            return -np.inf
        wider = start * n / room
        if wider - y <= _RELATIVE_CHANGE * y:
            break
        y = wider
    return float(mean - np.sqrt((y - start) / (factor * n)))


def upper_bound(sums: Sums, *, alpha: float, mixture: float) -> float:
    """Return the smallest mean that is proven to be too large; infinity with too little data."""
    return -lower_bound(_mirrored(sums), alpha=alpha, mixture=mixture)


def _mirrored(sums: Sums) -> Sums:
    return sums._replace(total=-sums.total)


def _penalty(y: Number, alpha: float, mixture: float) -> Number:
    return np.log(0.5 + np.sqrt(y / mixture) / (2 * alpha))

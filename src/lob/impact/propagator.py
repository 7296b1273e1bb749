"""Transient impact trade by trade, and what the market's reaction says about it.

Bouchaud, Gefen, Potters and Wyart, "Fluctuations and Response in Financial Markets" (Quantitative
Finance 4, 2004): p_n = sum over n' < n of G(n - n') s_n' + noise, where s is a trade's sign times a
function of its size (the paper: log V), and G(l) the propagator at l trades' distance, l = 1, 2, ..
Lists of G and of R start at l = 1, lists of the signs' autocorrelation C at l = 0 with C(0).
"""
# ruff: noqa: N803 - the names are the paper's

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, not_negative, number, positive, row, whole
from lob.errors import InvalidInput
from lob.in_floats import in_floats

_LAGS_MAX = 2_000


class Response(NamedTuple):
    """The measured response R(l), l = 1.., and autocorrelation C(l), l = 0.., of signed trades."""

    R: Floats
    C: Floats


@in_floats
def propagator_kernel(lags: int, beta: float, l0: float = 20.0, G0: float = 1.0) -> Floats:
    """Return G(l) = G0 l0^beta / (l0 + l)^beta for l = 1..lags (their eq. for the bare impact)."""
    ages = np.arange(1, whole("lags", lags, 1, COUNT_MAX) + 1)
    start, power = positive("l0", l0), not_negative("beta", beta)
    return np.asarray(not_negative("G0", G0) * (start / (start + ages)) ** power)


@in_floats
def critical_beta(gamma: float) -> float:
    """Return beta_c = (1 - gamma) / 2, at which long-memory signs leave the price diffusive.

    `gamma`, above 0 and below 1, is the exponent of the signs' autocorrelation C(l) ~ l^(-gamma).
    Faster decay makes the price revert, slower makes it trend.

    >>> critical_beta(0.5)
    0.25
    """
    return (1 - number("gamma", gamma, above=0, below=1)) / 2


@in_floats
def propagator_prices(signed_volumes: ArrayLike, G: ArrayLike) -> Floats:
    """Return the prices that trades make, from 0 before the first to after the last.

    Entry n is before trade n, so there is one more than trades. G of a distance beyond the list is
    its last entry's. O(trades x len(G)).
    """
    signs, kernel = row("signed_volumes", signed_volumes), row("G", G)
    steps = np.diff(kernel, prepend=0.0)
    # A trade adds G(1) at once and G(l) - G(l - 1) at each distance l that it comes to.
    return np.concatenate([[0.0], np.cumsum(np.convolve(signs, steps)[: signs.size])])


@in_floats
def response_from_propagator(G: ArrayLike, C: ArrayLike, lags: int) -> Floats:
    """Return R(l) = E[(p_{n+l} - p_n) s_n] for l = 1..lags.

    R(l) = G(l) C(0) + sum_{0<j<l} G(l - j) C(j) + sum_{j>0} [G(l + j) - G(j)] C(j). The last sum
    ends with the list C; G beyond its list is its last entry's.
    """
    kernel = row("G", G)
    furthest = whole("lags", lags, 1, _LAGS_MAX)
    return np.asarray(_response_matrix(row("C", C), furthest, kernel.size) @ kernel)


@in_floats
def fit_propagator(R: ArrayLike, C: ArrayLike) -> Floats:
    """Return G(1..L) from the response R(1..L): the linear system of the formula above, solved.

    C needs L entries or more; those from C(L) on do not matter, as G is flat from L on. O(L^3), L
    at most 2,000.
    """
    response = row("R", R)
    if response.size > _LAGS_MAX:
        raise InvalidInput(f"R: {response.size} lags; allowed: {_LAGS_MAX} or fewer")
    correlation = row("C", C)
    if correlation.size < response.size:
        raise InvalidInput(f"C: {correlation.size} lags; allowed: {response.size} or more")
    matrix = _response_matrix(correlation, response.size, response.size)
    try:
        return np.asarray(np.linalg.solve(matrix, response), dtype=np.float64)
    except np.linalg.LinAlgError:
        raise InvalidInput("C: signs that leave the propagator open; allowed: others") from None


@in_floats
def measure_response(signed_volumes: ArrayLike, prices: ArrayLike, lags: int) -> Response:
    """Return the averages R(1..lags) and C(0..lags) over a series of trades.

    `prices[n]` is the mid before trade n: as many as trades, or one more. Needs more trades than
    lags. O(trades x lags).
    """
    signs, mids = row("signed_volumes", signed_volumes), row("prices", prices)
    furthest = whole("lags", lags, 1, _LAGS_MAX)
    if mids.size not in (signs.size, signs.size + 1):
        raise InvalidInput(
            f"prices: {mids.size}; allowed: as many as trades ({signs.size}), or one more"
        )
    if signs.size <= furthest:
        raise InvalidInput(f"lags: {furthest}; allowed: fewer than trades ({signs.size})")
    distances = range(1, furthest + 1)
    response = [
        float(np.mean((mids[lag:] - mids[:-lag]) * signs[: mids.size - lag])) for lag in distances
    ]
    alike = [float(np.mean(signs[lag:] * signs[: signs.size - lag])) for lag in (0, *distances)]
    return Response(np.array(response), np.array(alike))


def _response_matrix(correlation: Floats, lags: int, known: int) -> Floats:
    """Return M with R = M G, for the G(1..known) of a list whose last entry goes on."""
    furthest = correlation.size - 1
    matrix = np.zeros((lags, known))
    later = np.arange(1, furthest + 1)
    for lag in range(1, lags + 1):
        row = matrix[lag - 1]
        for j in range(min(lag, furthest + 1)):
            row[min(lag - j, known) - 1] += correlation[j]
        np.add.at(row, np.minimum(lag + later, known) - 1, correlation[1:])
        np.add.at(row, np.minimum(later, known) - 1, -correlation[1:])
    return matrix

"""How the best quotes' order flow moves the price.

Cont, Kukanov and Stoikov, "The Price Impact of Order Book Events" (Journal of Financial
Econometrics 12, 2014): over an interval the mid moves by beta OFI + noise, where OFI counts what
was added to the best bid and taken off the best ask, less the opposite, and beta = c / AD^lambda
with AD the average depth at the best quotes (stylised book: lambda 1, c 1/2).
"""
# ruff: noqa: N803 - the names are the paper's

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, increasing, numbers, positive, row, same_length
from lob.errors import InvalidInput
from lob.in_floats import in_floats


class Regression(NamedTuple):
    """Ordinary least squares of one variable: y = alpha + beta x + noise.

    `t_alpha` and `t_beta` are the estimates by their standard errors, `r2` the share of the
    variance that x explains, `n` the number of observations. Errors are White's,
    right under uneven noise, or plain ones where `robust` was off.
    """

    alpha: float
    beta: float
    t_alpha: float
    t_beta: float
    r2: float
    n: int

    def predict(self, x: ArrayLike) -> Floats:
        """Return alpha + beta x."""
        return np.asarray(self.alpha + self.beta * numbers("x", x))


class DepthLaw(NamedTuple):
    """beta = c / AD^lam, fitted on logarithms; `r2` is of that fit."""

    c: float
    lam: float
    r2: float

    def beta(self, AD: ArrayLike) -> Floats:
        """Return the price impact coefficient at average depths AD."""
        return np.asarray(self.c / numbers("AD", AD, above=0) ** self.lam)


@in_floats
def ofi_contributions(
    bid_price: ArrayLike, bid_size: ArrayLike, ask_price: ArrayLike, ask_size: ArrayLike
) -> Floats:
    """Return e_n of each change of the best quotes: one fewer than quotes given.

    e_n = q^B_n [P^B_n >= P^B_{n-1}] - q^B_{n-1} [P^B_n <= P^B_{n-1}]
    - q^A_n [P^A_n <= P^A_{n-1}] + q^A_{n-1} [P^A_n >= P^A_{n-1}]. Prices in any unit, sizes in the
    unit of the answer. An empty side is a size of 0 at any price. O(n).

    >>> ofi_contributions([100, 100, 101], [5, 8, 2], [102, 102, 102], [4, 4, 1]).tolist()
    [3.0, 5.0]
    """
    bids, asks = row("bid_price", bid_price), row("ask_price", ask_price)
    bid = row("bid_size", bid_size, low=0)
    ask = row("ask_size", ask_size, low=0)
    same_length(bid_price=bids, bid_size=bid, ask_price=asks, ask_size=ask)
    bid_move, ask_move = np.diff(bids), np.diff(asks)
    return np.asarray(
        bid[1:] * (bid_move >= 0)
        - bid[:-1] * (bid_move <= 0)
        - ask[1:] * (ask_move <= 0)
        + ask[:-1] * (ask_move >= 0)
    )


@in_floats
def order_flow_imbalance(
    times: ArrayLike,
    bid_price: ArrayLike,
    bid_size: ArrayLike,
    ask_price: ArrayLike,
    ask_size: ArrayLike,
    edges: ArrayLike,
) -> Floats:
    """Return OFI_k, the sum of e_n over t_{k-1} < time <= t_k, between the `edges` t_0 < .. < t_K.

    `times` are of the quotes, not decreasing. O(n + K log n).
    """
    at, bins = row("times", times), increasing("edges", edges, at_least=2)
    if (np.diff(at) < 0).any():
        raise InvalidInput("times: one below the one before; allowed: not decreasing")
    events = ofi_contributions(bid_price, bid_size, ask_price, ask_size)
    if events.size != at.size - 1:
        raise InvalidInput(f"times: {at.size}; allowed: as many as quotes ({events.size + 1})")
    # Sums of integers this way are exact to 2^53.
    summed = np.concatenate([[0.0], np.cumsum(events)])
    return np.diff(summed[np.searchsorted(at[1:], bins, side="right")])


@in_floats
def ofi_from_flows(
    Lb: ArrayLike, Cb: ArrayLike, Ms: ArrayLike, Ls: ArrayLike, Cs: ArrayLike, Mb: ArrayLike
) -> Floats:
    """Return OFI = (Lb - Cb - Ms) - (Ls - Cs - Mb) of volumes at the best quotes (section 2).

    Limit orders L, cancels C and market orders M of buyers (b) and sellers (s), in shares.

    >>> float(ofi_from_flows(Lb=10, Cb=2, Ms=3, Ls=4, Cs=1, Mb=5))
    7.0
    """
    flows = [
        numbers(name, values, low=0)
        for name, values in (("Lb", Lb), ("Cb", Cb), ("Ms", Ms), ("Ls", Ls), ("Cs", Cs), ("Mb", Mb))
    ]
    return np.asarray(flows[0] - flows[1] - flows[2] - flows[3] + flows[4] + flows[5])


@in_floats
def trade_imbalance(Mb: ArrayLike, Ms: ArrayLike) -> Floats:
    """Return TI = Mb - Ms: buyers' market orders less sellers'."""
    return np.asarray(numbers("Mb", Mb, low=0) - numbers("Ms", Ms, low=0))


@in_floats
def stylized_price_change(OFI: ArrayLike, D: float, tick: float = 1.0) -> Floats:
    """Return the mid's move in a book of D shares a level on every tick.

    tick OFI / (2 D): linear in OFI, whatever events make it up.

    >>> float(stylized_price_change(OFI=300, D=150, tick=0.01))
    0.01
    """
    return np.asarray(positive("tick", tick) * numbers("OFI", OFI) / (2 * positive("D", D)))


@in_floats
def ofi_impact_coefficient(AD: ArrayLike, c: float = 0.5, lam: float = 1.0) -> Floats:
    """Return beta = c / AD^lam, in ticks by share; the defaults are the stylised book's."""
    return np.asarray(positive("c", c) / numbers("AD", AD, above=0) ** positive("lam", lam))


@in_floats
def fit_price_impact(dP: ArrayLike, OFI: ArrayLike, *, robust: bool = True) -> Regression:
    """Return the regression dP_k = alpha + beta OFI_k + noise; 3 or more intervals.

    Raises:
        InvalidInput: the lists do not go together, or OFI is all of one value.
    """
    y, x = row("dP", dP, at_least=3), row("OFI", OFI, at_least=3)
    same_length(dP=y, OFI=x)
    return _least_squares(y, x, "OFI", robust=robust)


@in_floats
def fit_depth_law(beta: ArrayLike, AD: ArrayLike) -> DepthLaw:
    """Return c and lambda of beta_i = c / AD_i^lambda, by log beta_i = log c - lambda log AD_i.

    One pair for each period (the paper: half an hour, beta by `fit_price_impact`), 3 or more.
    """
    slopes = row("beta", beta, above=0, at_least=3)
    depth = row("AD", AD, above=0, at_least=3)
    same_length(beta=slopes, AD=depth)
    fit = _least_squares(np.log(slopes), np.log(depth), "AD", robust=False)
    return DepthLaw(math.exp(fit.alpha), -fit.beta, fit.r2)


def _least_squares(y: Floats, x: Floats, name: str, *, robust: bool) -> Regression:
    # Differences from the middle keep the digits that a large mean would take.
    dx, dy = x - x.mean(), y - y.mean()
    sxx = float(dx @ dx)
    if sxx == 0 or np.ptp(x) == 0:
        raise InvalidInput(f"{name}: {x[0]} all along; allowed: values that differ")
    beta = float(dx @ dy) / sxx
    alpha = float(y.mean() - beta * x.mean())
    residual = dy - beta * dx
    total = float(dy @ dy)
    by_alpha = 1 / y.size - x.mean() * dx / sxx
    by_beta = dx / sxx
    noise = residual**2 if robust else np.full(y.size, float(residual @ residual) / (y.size - 2))
    return Regression(
        alpha=alpha,
        beta=beta,
        t_alpha=_t(alpha, float(by_alpha**2 @ noise)),
        t_beta=_t(beta, float(by_beta**2 @ noise)),
        r2=1 - float(residual @ residual) / total if total > 0 else 1.0,
        n=y.size,
    )


def _t(estimate: float, variance: float) -> float:
    if variance > 0:
        return estimate / math.sqrt(variance)
    return math.copysign(math.inf, estimate) if estimate else 0.0

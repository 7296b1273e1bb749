"""Optimal liquidation without a deadline where temporary impact is a power of the rate.

Almgren, "Optimal Execution with Nonlinear Impact Functions and Trading-Enhanced Risk" (Applied
Mathematical Finance 10, 2003). Trading at rate v moves the price by eta v^k; lambda_u is the risk
aversion in 1/currency, sigma the volatility in currency by square root of time, X the shares.
"""
# ruff: noqa: N803 - the names are the paper's

import math

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, number, numbers, positive
from lob.in_floats import in_floats


@in_floats
def almgren2003_time(X: float, k: float, eta: float, lambda_u: float, sigma: float) -> float:
    """Return T* = (k eta X^(k-1) / (lambda_u sigma^2))^(1 / (k+1)), the trade's own time.

    What the initial rate X / T* would need for it all. With k = 1, 1 / kappa of Almgren and Chriss:

    >>> round(almgren2003_time(X=1e6, k=1, eta=2.5e-6, lambda_u=1e-6, sigma=0.95), 4)
    1.6644
    """
    power, shares = positive("k", k), positive("X", X)
    logs = (
        math.log(power)
        + math.log(positive("eta", eta))
        + (power - 1) * math.log(shares)
        - math.log(positive("lambda_u", lambda_u))
        - 2 * math.log(positive("sigma", sigma))
    )
    return math.exp(logs / (power + 1))


@in_floats
def almgren2003_holdings(
    t: ArrayLike, X: float, k: float, eta: float, lambda_u: float, sigma: float
) -> Floats:
    """Return x(t) = X (1 - (k-1) / (k+1) t / T*)^((k+1) / (k-1)) of the optimal trajectory.

    An exponential for k = 1; for k above 1 it ends, at (k + 1) / (k - 1) T*, and is 0 from there.
    """
    times, power = numbers("t", t, low=0), positive("k", k)
    age = times / almgren2003_time(X, k, eta, lambda_u, sigma)
    shape = (power - 1) / (power + 1)
    if shape == 0:
        return np.asarray(number("X", X) * np.exp(-age))
    with np.errstate(divide="ignore"):
        log = np.log1p(np.maximum(-shape * age, -1))
    return np.asarray(number("X", X) * np.exp(log / shape))

"""What a trade costs by size, turnover, volatility and duration, as fitted on US equities.

Almgren, Thum, Hauptmann and Li, "Equity Market Impact" (Risk, July 2005; as a paper "Direct
Estimation of Equity Market Impact"). X is the trade in shares (below 0: a sale), V the average
daily volume and Theta the shares outstanding, sigma the daily volatility as a fraction, T the
duration in days of volume time. Costs are fractions of the price (x 10,000: basis points),
signed as X is.
"""
# ruff: noqa: N803 - the names are the paper's

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, number, numbers
from lob.in_floats import in_floats

# Their section 4.2 (table 2's estimates with the exponents rounded as they are used).
GAMMA_2005: Final = 0.314
ETA_2005: Final = 0.142
ALPHA_2005: Final = 1.0
BETA_2005: Final = 0.6
DELTA_2005: Final = 0.25


class TradeCost(NamedTuple):
    """Permanent impact I, temporary impact K and the trade's mean realised cost J = I / 2 + K."""

    I: Floats  # noqa: E741 - the paper's letter
    K: Floats
    J: Floats


@in_floats
def almgren2005_cost(
    X: ArrayLike,
    V: ArrayLike,
    Theta: ArrayLike,
    sigma: ArrayLike,
    T: ArrayLike,
    *,
    gamma: float = GAMMA_2005,
    eta: float = ETA_2005,
    alpha: float = ALPHA_2005,
    beta: float = BETA_2005,
    delta: float = DELTA_2005,
) -> TradeCost:
    """Return the mean cost of a trade and its two parts.

    I = gamma sigma (X/V)^alpha (Theta/V)^delta, K = eta sigma |X/(V T)|^beta, J = I/2 + K, I and K
    with the sign of X. Arguments broadcast.

    IBM, a tenth of a day's volume over half a day (their table 3):

    >>> cost = almgren2005_cost(X=0.1 * 6.561, V=6.561, Theta=1728, sigma=0.0157, T=0.5)
    >>> [round(10_000 * float(part)) for part in cost]
    [20, 8, 18]
    """
    trade, volume = numbers("X", X), numbers("V", V, above=0)
    shares, days = numbers("Theta", Theta, above=0), numbers("T", T, above=0)
    volatility = numbers("sigma", sigma, low=0)
    size, side = np.abs(trade) / volume, np.sign(trade)
    permanent = (
        number("gamma", gamma)
        * volatility
        * side
        * size ** number("alpha", alpha)
        * (shares / volume) ** number("delta", delta)
    )
    temporary = number("eta", eta) * volatility * side * (size / days) ** number("beta", beta)
    return TradeCost(
        np.asarray(permanent), np.asarray(temporary), np.asarray(permanent / 2 + temporary)
    )

"""Fit the coefficients of the basis-point models to what trades cost."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, number, row, same_length
from lob.errors import InvalidInput
from lob.in_floats import in_floats

DELTA_RANGE: Final = (0.05, 2.0)
_GOLDEN: Final = (5**0.5 - 1) / 2


class PowerFit(NamedTuple):
    """cost = eta sigma size^delta, fitted to n trades.

    `r2` is the share of the costs' square (not variance: the curve goes through 0) that it
    explains; `rmse` is in the unit of the costs.
    """

    eta: float
    delta: float
    r2: float
    rmse: float
    n: int


@in_floats
def fit_power_impact(
    cost: ArrayLike, size: ArrayLike, sigma: ArrayLike, *, delta: float | None = None
) -> PowerFit:
    """Return the eta and delta of least squared error, as Almgren and others (2005) fit theirs.

    `cost` of each trade, of either sign (costs are noisy), `size` its Q/ADV and `sigma` the
    volatility in the unit of the costs, 3 or more of each. `delta` fixes the exponent; else it is
    looked for from .05 to 2. Costs in bps need sigma in bps. O(n).

    >>> size = [1e-4, 1e-3, 1e-2]
    >>> fit = fit_power_impact([0.05 * 0.02 * q**0.5 for q in size], size, [0.02] * 3)
    >>> round(fit.eta, 6), round(fit.delta, 6)
    (0.05, 0.5)
    """
    paid = row("cost", cost, at_least=3)
    sizes = row("size", size, low=0, at_least=3)
    volatility = row("sigma", sigma, above=0, at_least=3)
    same_length(cost=paid, size=sizes, sigma=volatility)
    if not (sizes > 0).any():
        raise InvalidInput("size: 0 all along; allowed: one or more above 0")
    if delta is None:
        power = _best_power(paid, sizes, volatility)
    else:
        power = number("delta", delta, above=0, below=10)
    eta, error = _profile(paid, sizes, volatility, power)
    total = float(paid @ paid)
    return PowerFit(
        eta=eta,
        delta=power,
        r2=1 - error / total if total > 0 else 1.0,
        rmse=float(np.sqrt(error / paid.size)),
        n=paid.size,
    )


def _profile(paid: Floats, sizes: Floats, volatility: Floats, power: float) -> tuple[float, float]:
    """Return the best eta for an exponent, and the squared error it leaves."""
    shape = volatility * sizes**power
    eta = float(shape @ paid) / float(shape @ shape)
    residual = paid - eta * shape
    return eta, float(residual @ residual)


def _best_power(paid: Floats, sizes: Floats, volatility: Floats) -> float:
    def error(power: float) -> float:
        return _profile(paid, sizes, volatility, power)[1]

    # The error may have more than one valley: a grid finds the deepest, a golden section its floor.
    grid = np.linspace(*DELTA_RANGE, 40).tolist()
    least = min(range(len(grid)), key=lambda place: error(grid[place]))
    low, high = grid[max(least - 1, 0)], grid[min(least + 1, len(grid) - 1)]
    for _ in range(80):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if error(left) <= error(right):
            high = right
        else:
            low = left
    return float((low + high) / 2)

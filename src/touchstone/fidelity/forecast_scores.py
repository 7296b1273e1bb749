"""Scores of prequential forecasts, their figures, and whether one is better than another.

Losses of neighbours in time go together, so differences are resampled by whole blocks of 60 s.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats, as_given
from lob.errors import InvalidInput
from lob.fill_probability.scores import (
    Interval,
    auc,
    brier_score,
    expected_calibration_error,
    log_loss,
    reliability_table,
)
from touchstone.fidelity.evidence import Series

__all__ = [
    "ForecastScore",
    "block_difference",
    "reliability_series",
    "score_forecast",
    "skill_over_time",
]

BLOCK_S: Final = 60.0
RESAMPLES: Final = 2_000
_LEVEL: Final = 0.95
_LOG_LOSS_CLIP: Final = 1e-6


@dataclass(frozen=True, slots=True)
class ForecastScore:
    """How good forecasts were; NaN where a score has no meaning (all outcomes alike).

    `skill` is 1 - Brier / Brier of the base rate known when each forecast was made; `hindsight` the
    same against the share that came of the very cases scored, which nobody could have known.
    """

    cases: int
    base_rate: float
    brier: float
    skill: float
    hindsight: float
    log_loss: float
    auc: float
    ece: float


def score_forecast(p: Floats, came: NDArray[np.bool_], running: Floats) -> ForecastScore:
    """Return the scores of forecasts; `running` is the base rate known at each of them.

    Raises:
        InvalidInput: no forecasts.
    """
    y = as_given(came)
    brier = brier_score(p, y)
    share = float(y.mean())
    both = 0 < share < 1
    return ForecastScore(
        len(y),
        share,
        brier,
        1 - brier / brier_score(running, y),
        1 - brier / (share * (1 - share)) if both else float("nan"),
        log_loss(p, y, clip=_LOG_LOSS_CLIP),
        auc(p, y) if both else float("nan"),
        expected_calibration_error(p, y),
    )


def block_difference(
    p: Floats,
    other: Floats,
    came: NDArray[np.bool_],
    arrival_s: Floats,
    *,
    seed: int,
    block_s: float = BLOCK_S,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the Brier score of `p` less that of `other`, with its 95 % interval.

    Blocks of `block_s` seconds are drawn with replacement, as many as there are (Künsch 1989), and
    weigh as many cases as they have. Below zero: `p` is better.

    Raises:
        InvalidInput: no cases.
    """
    if not len(p):
        raise InvalidInput("p: no forecasts; allowed: at least one")
    loss = (p - came) ** 2 - (other - came) ** 2
    _, block = np.unique(np.floor(arrival_s / block_s), return_inverse=True)
    sums, counts = np.bincount(block, loss), np.bincount(block)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(loss.mean()), float(low), float(high))


def reliability_series(name: str, p: Floats, came: NDArray[np.bool_]) -> Series:
    """Return observed shares over mean forecasts of ten bins of equal count.

    The band is Wilson's (1927) 95 % interval of each share, as if cases were independent.
    """
    bins = reliability_table(p, as_given(came), bins=10, equal="count")
    shares = np.array([one.observed_share for one in bins])
    counts = np.array([one.count for one in bins], np.float64)
    z2 = 1.959963984540054**2
    middle = (shares + z2 / (2 * counts)) / (1 + z2 / counts)
    reach = np.sqrt(z2 * (shares * (1 - shares) / counts + z2 / (4 * counts**2)))
    reach /= 1 + z2 / counts
    return Series(
        name,
        tuple(one.mean_forecast for one in bins),
        tuple(shares.tolist()),
        tuple((middle - reach).tolist()),
        tuple((middle + reach).tolist()),
    )


def skill_over_time(
    name: str,
    p: Floats,
    came: NDArray[np.bool_],
    running: Floats,
    arrival_s: Floats,
    every_s: float,
) -> Series:
    """Return the Brier skill of each stretch of `every_s` seconds, over minutes from the start."""
    block = np.floor(arrival_s / every_s).astype(np.int64)
    x, y = [], []
    for one in np.unique(block):
        rows = block == one
        base = float(np.mean((running[rows] - came[rows]) ** 2))
        if base > 0:
            x.append((float(one) + 0.5) * every_s / 60)
            y.append(1 - float(np.mean((p[rows] - came[rows]) ** 2)) / base)
    return Series(name, tuple(x), tuple(y))

"""Scores of probability forecasts: p said, y (0 or 1) came.

Brier (Monthly Weather Review 78, 1950); Murphy (1973) for the skill; AUC as the Mann-Whitney
statistic (Hanley and McNeil 1982); expected calibration error as in Naeini et al. (AAAI 2015);
moving blocks as in Künsch (Annals of Statistics 17, 1989). Inputs are rows of one length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import COUNT_MAX, Floats, as_given, flags, number, row, whole
from lob.errors import InvalidInput

LOG_LOSS_CLIP: Final = 1e-15
_RESAMPLES_MAX: Final = 100_000

Score = Callable[[Floats, Floats], float]


def brier_score(p: ArrayLike, y: ArrayLike) -> float:
    """Return the mean of (p - y)^2: 0 is perfect, 1/4 is what 1/2 always scores.

    >>> round(brier_score([0.9, 0.2], [1, 0]), 6)
    0.025
    """
    said, came = _forecasts(p, y)
    return float(np.mean((said - came) ** 2))


def brier_skill_score(p: ArrayLike, y: ArrayLike, *, reference: ArrayLike | None = None) -> float:
    """Return 1 - Brier / Brier of the reference, which is the mean of y unless given.

    `InvalidInput` where the reference is perfect, and skill has no meaning.
    """
    said, came = _forecasts(p, y)
    base = (
        np.full(len(came), came.mean()) if reference is None else row("reference", reference, low=0)
    )
    baseline = brier_score(base, came)
    if baseline == 0:
        raise InvalidInput("reference: a Brier score of 0; allowed: a reference that errs")
    return 1 - brier_score(said, came) / baseline


def log_loss(p: ArrayLike, y: ArrayLike, *, clip: float = LOG_LOSS_CLIP) -> float:
    """Return the mean of -log of the probability of what came, p clipped to clip..1 - clip (nats).

    >>> round(log_loss([0.5, 0.5], [1, 0]), 6)
    0.693147
    """
    said, came = _forecasts(p, y)
    clip = number("clip", clip, above=0, high=0.5)
    kept = np.clip(said, clip, 1 - clip)
    return float(-np.mean(came * np.log(kept) + (1 - came) * np.log1p(-kept)))


def auc(p: ArrayLike, y: ArrayLike) -> float:
    """Return P(a random 1 was given more than a random 0), ties half. O(n log n).

    `InvalidInput` where all outcomes are alike.

    >>> auc([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    0.875
    """
    said, came = _forecasts(p, y)
    ones = float(came.sum())
    if ones in {0.0, float(len(came))}:
        raise InvalidInput("y: all outcomes alike; allowed: both 0 and 1")
    _, at, counts = np.unique(said, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts - 1) / 2
    ranks = middle[at][came == 1].sum()
    return float((ranks - ones * (ones + 1) / 2) / (ones * (len(came) - ones)))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bin of forecasts: its bounds, how many, their mean, and the share that came."""

    low: float
    high: float
    count: int
    mean_forecast: float
    observed_share: float


def reliability_table(
    p: ArrayLike, y: ArrayLike, *, bins: int = 10, equal: str = "width"
) -> tuple[ReliabilityBin, ...]:
    """Return the bins that have forecasts, lowest first.

    `equal="width"`: bins of one width on 0..1, [low, high), the last one closed. `equal="count"`:
    forecasts in order, cut into shares of one size (ties may be parted, in the order given).
    """
    said, came = _forecasts(p, y)
    bins = whole("bins", bins, 1, COUNT_MAX)
    if equal not in {"width", "count"}:
        raise InvalidInput(f"equal: {equal!r}; allowed: width, count")
    order = np.argsort(said, kind="stable")
    said, came = said[order], came[order]
    if equal == "width":
        # The edges are divided, not the forecasts multiplied: 0.29 * 100 is below 29.
        edges = np.arange(1, bins) / bins
        parts = np.split(np.arange(len(said)), np.searchsorted(said, edges, side="left"))
        bounds = [(k / bins, (k + 1) / bins) for k in range(bins)]
    else:
        parts = np.array_split(np.arange(len(said)), bins)
        bounds = [(float(said[x[0]]), float(said[x[-1]])) if len(x) else (0, 0) for x in parts]
    return tuple(
        ReliabilityBin(low, high, len(x), float(said[x].mean()), float(came[x].mean()))
        for (low, high), x in zip(bounds, parts, strict=True)
        if len(x)
    )


def expected_calibration_error(
    p: ArrayLike, y: ArrayLike, *, bins: int = 10, equal: str = "width"
) -> float:
    """Return the mean, over forecasts, of |mean forecast - observed share| of their bin.

    Bins as of `reliability_table`.

    >>> round(expected_calibration_error([0.95, 0.95, 0.15], [1, 0, 0]), 6)
    0.35
    """
    table = reliability_table(p, y, bins=bins, equal=equal)
    total = sum(x.count for x in table)
    return sum(x.count * abs(x.mean_forecast - x.observed_share) for x in table) / total


@dataclass(frozen=True, slots=True)
class Interval:
    """A score, and the bounds between which resamples of the data put it."""

    value: float
    low: float
    high: float


def block_bootstrap_interval(
    score: Score,
    p: ArrayLike,
    y: ArrayLike,
    *,
    seed: int,
    block: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the percentile interval of `score(p, y)` from resampled runs of `block` neighbours.

    Runs start anywhere and go round the end (the circular block bootstrap, Politis and Romano
    1992), so that each observation is as likely; with `block` 1 it is Efron's bootstrap. Resamples
    that the score refuses (`InvalidInput`) are left out; it is an error where none is left.
    """
    said, came = _forecasts(p, y)
    count = len(said)
    block = whole("block", block, 1, count)
    resamples = whole("resamples", resamples, 1, _RESAMPLES_MAX)
    level = number("level", level, above=0, below=1)
    rng = np.random.default_rng(whole("seed", seed, 0, 2**53))
    found = []
    for _ in range(resamples):
        starts = rng.integers(0, count, size=-(-count // block))
        at = ((starts[:, None] + np.arange(block)) % count).ravel()[:count]
        try:
            found.append(score(said[at], came[at]))
        except InvalidInput:
            continue
    if not found:
        raise InvalidInput("score: refused every resample; allowed: one that some resample has")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(score(said, came)), float(low), float(high))


def _forecasts(p: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    said, came = row("p", p, low=0, high=1), flags("y", y)
    if len(said) != len(came):
        raise InvalidInput(f"y: {len(came)} outcomes; allowed: as many as forecasts ({len(said)})")
    return as_given(said), as_given(came)

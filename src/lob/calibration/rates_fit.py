"""Intensities of arrivals, cancels and trades, sizes and places: what `lob_data` says of a market.

Each rate comes with the test of what the simplest model makes of it: a Poisson process has
exponential waits and as much variance as mean in its counts. Markets have neither, and the figures
say by how much.
"""

import math
from typing import NamedTuple

import numpy as np

from lob.bounds import Floats
from lob.calibration.measures import aggressors, fano
from lob.calibration.tape import Kind, Tape
from lob.errors import InvalidInput
from lob.hawkes.goodness import KolmogorovSmirnov, kolmogorov_smirnov_exponential


class Rate(NamedTuple):
    """Events a second, with the standard error by 10 s blocks and the tests against Poisson."""

    per_second: float
    error: float
    events: int
    fano_1s: float
    poisson_test: KolmogorovSmirnov


class RatesFit(NamedTuple):
    """What `lob.config.LobDataConfig` asks for."""

    limits: Rate
    cancels: Rate
    markets: Rate
    resting_orders: int
    distance_ticks: float
    order_lots: float
    round_lots: int
    round_share: float
    distance_test: float
    """The largest gap between the distances' distribution and the geometric one assumed."""


def fit_rates(tape: Tape) -> RatesFit:
    """Return the rates of a tape.

    Raises:
        InvalidInput: no limit orders, cancels or aggressive orders in the window.
    """
    adds, cancels = tape.of(Kind.ADD), tape.of(Kind.CANCEL)
    took = aggressors(tape)
    kinds = {
        "limit orders": tape.seconds[adds],
        "cancels": tape.seconds[cancels],
        "aggressive orders": took.seconds,
    }
    for name, times in kinds.items():
        if len(times) < 2:  # noqa: PLR2004 - a wait has two ends
            raise InvalidInput(f"messages: {len(times)} {name}; allowed: 2 or more")
    limits, gone, markets = (_rate(times, tape.duration) for times in kinds.values())
    sizes = tape.lots[adds]
    found, counts = np.unique(sizes, return_counts=True)
    often = int(np.argmax(counts))
    away = _distances(tape)
    distance = max(1.0, float(away.mean()))
    return RatesFit(
        limits=limits,
        cancels=gone,
        markets=markets,
        resting_orders=max(2, round(limits.per_second * _mean_life(tape))),
        distance_ticks=distance,
        order_lots=max(1.0, float(sizes.mean())),
        round_lots=int(found[often]),
        round_share=float(counts[often]) / len(sizes),
        distance_test=_gap_to_geometric(away, distance),
    )


def _rate(times: Floats, duration: float) -> Rate:
    blocks = max(2, int(duration / 10))
    counts = np.histogram(times, blocks, range=(0.0, duration))[0] * (blocks / duration)
    per_second = len(times) / duration
    return Rate(
        per_second,
        float(counts.std(ddof=1)) / math.sqrt(blocks),
        len(times),
        fano(times, duration),
        kolmogorov_smirnov_exponential(np.diff(times), per_second),
    )


def _distances(tape: Tape) -> Floats:
    """Return how far limit orders stand from the opposite touch, in ticks; 1 is the closest."""
    adds = tape.of(Kind.ADD) & tape.quotes.two_sided
    opposite = np.where(tape.side > 0, tape.quotes.ask, tape.quotes.bid)
    away = ((opposite - tape.price) * tape.side)[adds]
    return away[away >= 1] if (away >= 1).any() else np.ones(1)


def _gap_to_geometric(values: Floats, mean: float) -> float:
    steps, counts = np.unique(values, return_counts=True)
    seen = np.cumsum(counts) / len(values)
    expected = 1 - (1 - 1 / mean) ** steps if mean > 1 else np.ones(len(steps))
    return float(np.abs(seen - expected).max())


def _mean_life(tape: Tape) -> float:
    """Return the mean age at which orders end; those that are still there are left out.

    By Little's law their number at a time is the rate of arrivals by this.
    """
    ages = tape.age[tape.ended]
    ages = ages[np.isfinite(ages)]
    return float(ages.mean()) if len(ages) else 1.0

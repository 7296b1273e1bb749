"""What a recording says of latency: the feed's leg where it has two clocks, nothing of the others.

A file knows when the venue stamped a message and, some of them, when the recorder had it. How long
an order takes to the venue, how long the venue works on it, and when its fill is known, no public
feed says: those keys keep what they had, and the report says so.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats
from lob.calibration.measures import aggressors
from lob.calibration.tape import Kind, Tape
from lob.latency import Shape
from lob.latency.distributions import matched

_MIN_MESSAGES: Final = 100
_MAX_CV: Final = 10.0


class LatencyFit(NamedTuple):
    """The feed's leg: mean and coefficient of variation, and the family that comes nearest.

    `gaps` are the largest distances between its distribution and those of each family.
    """

    feed_us: float
    cv: float
    distribution: Shape
    gaps: dict[str, float]
    messages: int


def fit_latency(ts_event_ns: NDArray[np.int64], ts_recv_ns: NDArray[np.int64]) -> LatencyFit | None:
    """Return the feed's latency; None where a file has one clock, or none that runs ahead.

    Receipts before the event (clocks that disagree) are left out; where they are most, the clocks
    cannot be compared.
    """
    known = (ts_recv_ns > 0) & (ts_event_ns > 0)
    took_us = (ts_recv_ns[known] - ts_event_ns[known]) / 1e3
    positive = took_us[took_us > 0]
    if len(positive) < max(_MIN_MESSAGES, len(took_us) / 2):
        return None
    mean = float(positive.mean())
    cv = min(float(positive.std()) / mean, _MAX_CV)
    if cv == 0:
        return LatencyFit(mean, cv, Shape.CONSTANT, {Shape.CONSTANT.value: 0.0}, len(positive))
    gaps = {
        shape.value: _gap(positive, shape, mean, cv) for shape in (Shape.LOGNORMAL, Shape.GAMMA)
    }
    nearest = min(gaps, key=lambda name: (gaps[name], name))
    return LatencyFit(mean, cv, Shape(nearest), gaps, len(positive))


def _gap(sample: Floats, shape: Shape, mean: float, cv: float) -> float:
    """Return the largest gap between the sample's distribution and a family's."""
    times = np.sort(sample)
    expected = matched(shape, mean, cv).cdf(times)
    steps = np.arange(len(times) + 1) / len(times)
    return float(max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


def fastest_reaction_us(tape: Tape, level: float = 0.01) -> float | None:
    """Return the time within which a share `level` of trades are answered by a new limit order.

    By another participant, as far as a feed shows: it bounds from above what the fastest of them
    need from the feed and back to the book. None where nothing ever answers.
    """
    trades, adds = aggressors(tape).seconds, tape.seconds[tape.of(Kind.ADD)]
    after = np.searchsorted(adds, trades, side="right")
    answered = after < len(adds)
    if not answered.any():
        return None
    waits = adds[after[answered]] - trades[answered]
    return float(np.quantile(waits, level)) * 1e6

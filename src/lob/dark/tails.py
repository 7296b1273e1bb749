"""Learn a venue's tail from fills, each of which tells the hidden volume only up to what was sent.

Of `v` units sent, `r` traded: with r < v the venue had exactly r; with r = v it had r or more
(censored). Tails are arrays whose item s - 1 is T(s) = P(the venue has s units or more).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import Floats, positive, row, share, whole
from lob.errors import InvalidInput

_SUM_TOLERANCE = 1e-9


def tail_from_probabilities(probabilities: ArrayLike) -> Floats:
    """Return T(1), T(2), ... of a venue that has s units with probability `probabilities[s]`.

    >>> tail_from_probabilities([0.1, 0.3, 0.1, 0.4, 0.05, 0.05]).round(2).tolist()
    [0.9, 0.6, 0.5, 0.1, 0.05]
    """
    chances = row("probabilities", probabilities, low=0)
    if abs(float(chances.sum()) - 1) > _SUM_TOLERANCE:
        raise InvalidInput(f"probabilities: sum {float(chances.sum()):.9g}; allowed: 1")
    tail = np.cumsum(chances[::-1])[::-1][1:]
    return np.asarray(np.minimum.accumulate(np.minimum(tail, 1.0)))


def kaplan_meier_tail(submitted: ArrayLike, filled: ArrayLike, up_to: int) -> Floats:
    """Return the maximum-likelihood tail T(1), ..., T(up_to) from units sent and units traded.

    T(s) is the product over k < s of 1 - D_k / N_k, where D_k counts r = k < v and N_k counts
    r >= k, v > k (Kaplan and Meier 1958, as the paper uses it). Where no more than k units were
    ever sent (N_k = 0) the factor is 1: nothing says that the tail falls.

    >>> kaplan_meier_tail(submitted=[3, 3, 2, 5], filled=[0, 3, 1, 5], up_to=5).round(4).tolist()
    [0.75, 0.5, 0.5, 0.5, 0.5]
    """
    sent, traded, up_to = _checked(submitted, filled, up_to)
    direct, seen = _counts(sent, traded, up_to)
    return np.asarray(np.cumprod(1 - direct / np.maximum(seen, 1)))


def optimistic_kaplan_meier_tail(
    submitted: ArrayLike, filled: ArrayLike, up_to: int, observations: float
) -> Floats:
    """Return the tail that makes a greedy split explore (OptimisticKM of the paper).

    The estimate is trusted up to the cutoff c, the largest s for which N_(s-1) is at least
    `observations`; the next unit is taken to be as likely as the last trusted one, T(c+1) = T(c),
    so that sooner or later it is sent there. `exploration_cutoff` gives the paper's figure.
    """
    sent, traded, up_to = _checked(submitted, filled, up_to)
    wanted = positive("observations", observations)
    direct, seen = _counts(sent, traded, up_to)
    tail = np.cumprod(1 - direct / np.maximum(seen, 1))
    trusted = np.flatnonzero(seen >= wanted)
    cutoff = int(trusted[-1]) + 1 if len(trusted) else 0
    if cutoff < up_to:
        tail[cutoff] = tail[cutoff - 1] if cutoff else 1.0
    # the count N falls in s, so what lies beyond is estimated from less than is wanted
    return np.asarray(np.minimum.accumulate(tail))


def exploration_cutoff(s: int, volume: int, epsilon: float, delta: float) -> float:
    """Return how often s - 1 must have been seen: 128 (s V / epsilon)^2 ln(2 V / delta).

    The paper's bound for a split that is within `epsilon` of the best with probability 1 - delta;
    far more than practice needs.
    """
    whole("s", s, 0)
    whole("volume", volume, 1)
    positive("epsilon", epsilon)
    positive("delta", share("delta", delta))
    return 128 * (s * volume / epsilon) ** 2 * math.log(2 * volume / delta)


def _checked(submitted: ArrayLike, filled: ArrayLike, up_to: int) -> tuple[Floats, Floats, int]:
    sent = row("submitted", submitted, low=0, at_least=0)
    traded = row("filled", filled, low=0, at_least=0)
    if len(sent) != len(traded):
        raise InvalidInput(f"filled: {len(traded)} values; allowed: {len(sent)}, as submitted")
    for name, values in (("submitted", sent), ("filled", traded)):
        if (values != np.floor(values)).any():
            wrong = float(values[values != np.floor(values)][0])
            raise InvalidInput(f"{name}: {wrong}; allowed: whole units")
    if (traded > sent).any():
        place = int(np.argmax(traded > sent))
        raise InvalidInput(
            f"filled: {traded[place]:g} at place {place}; allowed: at most the {sent[place]:g} sent"
        )
    return sent, traded, whole("up_to", up_to, 0, 10_000_000)


def _counts(sent: Floats, traded: Floats, up_to: int) -> tuple[Floats, Floats]:
    """Return D_k and N_k for k from 0 to up_to - 1."""
    exact = traded < sent
    direct = np.bincount(traded[exact].astype(np.int64), minlength=up_to)[:up_to]
    # an exact observation r counts in N_0..N_r, a censored one of v units in N_0..N_(v-1)
    last = np.where(exact, traded, sent - 1)
    last = np.minimum(last[last >= 0], up_to).astype(np.int64)
    ended = np.bincount(last, minlength=up_to + 1)
    seen = ended[::-1].cumsum()[::-1][:up_to]
    return direct.astype(np.float64), seen.astype(np.float64)

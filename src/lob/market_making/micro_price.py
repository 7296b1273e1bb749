"""The price that the touch itself predicts.

S. Stoikov, "The micro-price: a high-frequency estimator of future prices" (Quantitative Finance
18(12), 2018): the limit of the expected mid after many of its moves, given imbalance and spread,
computed on a finite Markov chain of (imbalance bucket, spread).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lob.bounds import Floats, number, numbers, row, same_length, scalar_or_array, share, whole
from lob.errors import InvalidInput

MIN_QUOTES = 2
_DOUBLINGS = 40
_TOLERANCE = 1e-9
_ROW_TOLERANCE = 1e-6

Integers = NDArray[np.int64]


def imbalance(bid_size: ArrayLike, ask_size: ArrayLike) -> float | Floats:
    """Return I = Q_b / (Q_b + Q_a), from 0 (only asks) to 1 (only bids).

    >>> imbalance(30, 10)
    0.75
    """
    bids, asks = numbers("bid_size", bid_size, low=0), numbers("ask_size", ask_size)
    numbers("ask_size", asks, low=0)
    total = np.asarray(bids + asks)
    if (total <= 0).any():
        raise InvalidInput("bid_size: 0 with ask_size 0; allowed: a size above 0 on either side")
    return scalar_or_array(np.asarray(bids / total))


def weighted_mid(
    bid: ArrayLike, ask: ArrayLike, bid_size: ArrayLike, ask_size: ArrayLike
) -> float | Floats:
    """Return I ask + (1 - I) bid: the mid weighted by the other side's size.

    >>> weighted_mid(100.0, 101.0, 30, 10)
    100.75
    """
    weight = imbalance(bid_size, ask_size)
    bids, asks = numbers("bid", bid), numbers("ask", ask)
    return scalar_or_array(np.asarray(weight * asks + (1 - weight) * bids))


@dataclass(frozen=True, slots=True, eq=False)
class MicroPrice:
    """The chain of section 3: states are spread - 1 major, imbalance bucket minor.

    `q` (states x states) moves with the mid unchanged, `r` (states x jumps) moves of the mid by
    `jumps` (in ticks), `t` (states x states) the state after a move: each row of `q` and `r`
    together, and of `q` and `t`, sums to 1, or to 0 where a state was never seen. `buckets` is the
    number of imbalance buckets, of equal width; spreads are 1, 2, ... ticks.
    """

    q: Floats
    r: Floats
    t: Floats
    jumps: Floats
    buckets: int

    def __post_init__(self) -> None:
        states = len(numbers("q", self.q, low=0))
        whole("buckets", self.buckets, 1, max(states, 1))
        jumps = row("jumps", self.jumps)
        for name, columns in (("q", states), ("r", len(jumps)), ("t", states)):
            matrix = numbers(name, getattr(self, name), low=0)
            if matrix.shape != (states, columns) or states % self.buckets:
                shape = "x".join(map(str, matrix.shape))
                raise InvalidInput(
                    f"{name}: {shape}; allowed: {states}x{columns}, rows a multiple of "
                    f"{self.buckets} (buckets)"
                )
        stays = self.q.sum(axis=1)
        for name in ("r", "t"):
            total = stays + getattr(self, name).sum(axis=1)
            wrong = (np.abs(total - 1) > _ROW_TOLERANCE) & (total > 0)
            if wrong.any():
                place = int(np.argmax(wrong))
                raise InvalidInput(
                    f"{name}: row {place} with that of q sums to {total[place]:.6g}; allowed: 1"
                )

    @property
    def spreads(self) -> int:
        """Return the largest spread of the chain in ticks."""
        return len(self.q) // self.buckets

    def first_adjustment(self) -> Floats:
        """Return G1 = (I - Q)^-1 R K: the expected first move of the mid, in ticks, by state."""
        return self._after_stay(self.r @ self.jumps)

    def adjustments(self) -> Floats:
        """Return G* = G1 + B G1 + B^2 G1 + ..., B = (I - Q)^-1 T, in ticks by state (Theorem 3.1).

        Shape (spreads, buckets). The sum exists where moves average out in the long run, as in
        data that were mirrored (`fit_micro_price`); `InvalidInput` where it does not converge.
        """
        power, total = self._after_stay(self.t), self.first_adjustment()
        scale = max(1.0, float(np.abs(total).max()))
        for _ in range(_DOUBLINGS):
            # total holds 2^n terms and power is B^(2^n)
            step = power @ total
            total = total + step
            if float(np.abs(step).max()) <= _TOLERANCE * scale:
                return total.reshape(self.spreads, self.buckets)
            power = power @ power
        raise InvalidInput(
            "t: the expected moves of the mid do not average out; allowed: a chain whose moves do "
            "(mirror the data)"
        )

    def price(self, mid: float, imbalance: float, spread_ticks: int, tick: float = 1.0) -> float:
        """Return mid + g(imbalance, spread), in units of price."""
        place = bucket_of(share("imbalance", imbalance), self.buckets)
        line = whole("spread_ticks", spread_ticks, 1, self.spreads) - 1
        return number("mid", mid) + number("tick", tick) * float(self.adjustments()[line, place])

    def _after_stay(self, then: Floats) -> Floats:
        try:
            found = np.linalg.solve(np.eye(len(self.q)) - self.q, then)
        except np.linalg.LinAlgError as error:
            raise InvalidInput(
                "q: some states never see the mid move; allowed: a move in reach of each"
            ) from error
        return np.asarray(found, dtype=np.float64)


def bucket_of(imbalance: ArrayLike, buckets: int) -> Integers:
    """Return the bucket of each imbalance: floor(I n), the last one for I = 1."""
    values = np.floor(numbers("imbalance", imbalance) * buckets).astype(np.int64)
    return np.asarray(np.minimum(values, buckets - 1))


def fit_micro_price(
    bid_ticks: ArrayLike,
    ask_ticks: ArrayLike,
    bid_size: ArrayLike,
    ask_size: ArrayLike,
    *,
    buckets: int = 10,
    max_spread_ticks: int = 2,
) -> MicroPrice:
    """Return the chain counted from successive quotes, each also counted in the mirror (section 4).

    Prices are whole ticks. A step from or to a spread above `max_spread_ticks` is left out. The
    mirror (bid for ask, up for down) makes the mid's moves average out, so that G* exists.
    """
    bids, asks = row("bid_ticks", bid_ticks, at_least=2), row("ask_ticks", ask_ticks)
    weight = row("bid_size", np.atleast_1d(imbalance(bid_size, ask_size)), at_least=MIN_QUOTES)
    same_length(bid_ticks=bids, ask_ticks=asks, bid_size=weight)
    buckets = whole("buckets", buckets, 1, 1_000)
    limit = whole("max_spread_ticks", max_spread_ticks, 1, 100)
    spread = np.rint(asks - bids).astype(np.int64)
    if (spread < 1).any():
        wrong = int(np.argmax(spread < 1))
        raise InvalidInput(f"ask_ticks: {asks[wrong]:g} at place {wrong}; allowed: above the bid")
    place = bucket_of(weight, buckets)
    kept = (spread <= limit)[:-1] & (spread <= limit)[1:]
    if not kept.any():
        raise InvalidInput(f"max_spread_ticks: {limit}; allowed: more, as no step is within it")
    mid = (bids + asks) / 2
    moved = np.diff(mid)[kept]
    here = (spread - 1) * buckets
    steps = [(here[:-1] + column[:-1])[kept] for column in (place, buckets - 1 - place)]
    ends = [(here[1:] + column[1:])[kept] for column in (place, buckets - 1 - place)]
    return _counted(
        np.concatenate(steps),
        np.concatenate(ends),
        np.concatenate((moved, -moved)),
        limit * buckets,
        buckets,
    )


def _counted(
    start: Integers, end: Integers, moved: Floats, states: int, buckets: int
) -> MicroPrice:
    """Return the chain of these steps, each row divided by its count."""
    stays = moved == 0
    jumps = np.unique(moved[~stays])
    if not len(jumps):
        raise InvalidInput("bid_ticks: the mid never moves; allowed: some moves")
    q, t = np.zeros((states, states)), np.zeros((states, states))
    r = np.zeros((states, len(jumps)))
    np.add.at(q, (start[stays], end[stays]), 1)
    np.add.at(t, (start[~stays], end[~stays]), 1)
    np.add.at(r, (start[~stays], np.searchsorted(jumps, moved[~stays])), 1)
    seen = np.maximum(q.sum(axis=1) + t.sum(axis=1), 1)[:, None]
    return MicroPrice(q / seen, r / seen, t / seen, jumps, buckets)

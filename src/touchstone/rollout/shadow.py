"""Compare the candidate (L3) with the control (L2), pair by pair: same order, book and seed.

Differences are candidate minus control, in basis points of slippage against the mid at the
decision. The mean difference is the bias; the limits of agreement are those of Bland and Altman
(Lancet 327, 1986): the bias, give or take 1.96 standard deviations of the differences. The RMSE is
that of the candidate against a named reference. The noise floor is the same figures of the control
against itself under another seed: no candidate can agree better than that.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from execution_providers import Fill
from lob.errors import InvalidInput

PAIRS_MAX: Final = 5_000
AGE_SECONDS_MAX: Final = 86_400.0
BYTES_MAX: Final = 32 * 1024 * 1024
"""Of candidates' answers as they were said; in memory they take some times as much."""
WORST_PAIRS: Final = 20
SIZE_EDGES: Final = (1.0, 5.0)
"""Order quantity in multiples of what is displayed at the touch it would take from."""
SPREAD_EDGES_BPS: Final = (1.0, 5.0, 20.0)
UNKNOWN: Final = "unknown"
_NORMAL_95: Final = 1.96
_SPREAD_NEEDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPair:
    """One order executed twice on the same frozen inputs.

    `candidate` is None when it failed, and `error` then holds the fault's code. `at` is in seconds
    since 1970; latencies are of the computation, not of the simulated market. `touch_multiple` is
    the quantity over what the opposite touch displays; `control_repeat` is the control's answer
    under another seed, where that was asked for.
    """

    decision_id: str
    generation: int
    at: float
    symbol: str
    side: str
    quantity: Decimal
    inputs_digest: str
    seed: int
    control: Fill
    candidate: Fill | None
    error: str | None
    control_seconds: float
    candidate_seconds: float
    touch_multiple: float | None = None
    spread_bps: float | None = None
    control_repeat: Fill | None = None

    @property
    def difference_bps(self) -> float | None:
        """Return candidate minus control slippage; None unless both filled something."""
        if self.candidate is None or self.candidate.slippage_bps is None:
            return None
        if self.control.slippage_bps is None:
            return None
        return float(self.candidate.slippage_bps - self.control.slippage_bps)

    @property
    def size_bucket(self) -> str:
        """Return how large the order is against the touch, in words."""
        return _bucket(self.touch_multiple, SIZE_EDGES, "x touch")

    @property
    def spread_regime(self) -> str:
        """Return how wide the market was, in words."""
        return _bucket(self.spread_bps, SPREAD_EDGES_BPS, " bps")

    @property
    def fill_rate_difference(self) -> float | None:
        """Return candidate minus control filled share of the order; None when the one failed."""
        if self.candidate is None:
            return None
        more = self.candidate.filled_quantity - self.control.filled_quantity
        return float(more / self.quantity)


REFERENCES: Final[Mapping[str, Callable[[ShadowPair], Decimal | None]]] = {
    "control": lambda pair: pair.control.slippage_bps,
    "mid": lambda _pair: Decimal(0),
}
"""What the RMSE may be against: the control's slippage, or the mid at the decision."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How `n` differences agree with nothing: bias, limits of agreement, root mean square."""

    n: int
    mean_difference_bps: float | None
    limits_of_agreement_bps: tuple[float, float] | None
    rmse_bps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A paired summary. Figures that the number of pairs does not support are None.

    `n` counts pairs in which both sides filled something: only those have a difference.
    `rmse_bps` is the candidate's, against `reference`.
    """

    pairs: int
    n: int
    mean_difference_bps: float | None
    limits_of_agreement_bps: tuple[float, float] | None
    reference: str
    rmse_bps: float | None
    control_fill_rate: float | None
    candidate_fill_rate: float | None
    fill_rate_difference: float | None
    candidate_error_rate: float | None
    latency_overhead_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSummary:
    """The comparison as a whole, broken down, its worst pairs, and the control's own noise."""

    overall: Comparison
    by_symbol: dict[str, Comparison]
    by_side: dict[str, Comparison]
    by_size: dict[str, Comparison]
    by_spread: dict[str, Comparison]
    worst: tuple[ShadowPair, ...]
    noise_floor: Agreement | None


class ShadowStore:
    """Keep the newest pairs in memory, bounded by number, by age and by size."""

    def __init__(
        self,
        pairs_max: int = PAIRS_MAX,
        age_seconds_max: float = AGE_SECONDS_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._pairs: deque[tuple[ShadowPair, int]] = deque()
        self._pairs_max = pairs_max
        self._age_seconds_max = age_seconds_max
        self._bytes_max = bytes_max
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def append(self, pair: ShadowPair, size_bytes: int = 0) -> None:
        """Add a pair, and let go of what is too old by its time, or too much.

        `size_bytes` is what the candidate's answer took to say, where that is known.
        """
        self._expire(pair.at)
        self._pairs.append((pair, size_bytes))
        self._bytes += size_bytes
        while len(self._pairs) > self._pairs_max or self._bytes > self._bytes_max:
            self._drop_oldest()

    def pairs(self, now: float) -> tuple[ShadowPair, ...]:
        """Return the pairs not older than the limit at `now`, oldest first."""
        self._expire(now)
        return tuple(pair for pair, _ in self._pairs)

    def _expire(self, now: float) -> None:
        while self._pairs and now - self._pairs[0][0].at > self._age_seconds_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, size_bytes = self._pairs.popleft()
        self._bytes -= size_bytes


def agreement(differences: Sequence[float]) -> Agreement:
    """Return bias, limits of agreement and root mean square of differences; O(n)."""
    mean = _mean(differences)
    limits = None
    if mean is not None and len(differences) >= _SPREAD_NEEDS:
        squares = math.fsum((d - mean) ** 2 for d in differences)
        half = _NORMAL_95 * math.sqrt(squares / (len(differences) - 1))
        limits = (mean - half, mean + half)
    mean_square = _mean([d * d for d in differences])
    rmse = None if mean_square is None else math.sqrt(mean_square)
    return Agreement(len(differences), mean, limits, rmse)


def compare(pairs: Sequence[ShadowPair], reference: str = "control") -> Comparison:
    """Return the paired comparison; O(n).

    Raises:
        InvalidInput: the reference is not one of `REFERENCES`.
    """
    if reference not in REFERENCES:
        raise InvalidInput(f"reference: {reference!r}; allowed: {', '.join(REFERENCES)}")
    agreed = agreement([d for pair in pairs if (d := pair.difference_bps) is not None])
    answered = [pair for pair in pairs if pair.candidate is not None]
    rates = [d for pair in answered if (d := pair.fill_rate_difference) is not None]
    control_rate = _mean([float(p.control.filled_quantity / p.quantity) for p in answered])
    rate_difference = _mean(rates)
    candidate_rate = None
    if control_rate is not None and rate_difference is not None:
        candidate_rate = control_rate + rate_difference
    return Comparison(
        pairs=len(pairs),
        n=agreed.n,
        mean_difference_bps=agreed.mean_difference_bps,
        limits_of_agreement_bps=agreed.limits_of_agreement_bps,
        reference=reference,
        rmse_bps=agreed.rmse_bps if reference == "control" else _rmse(answered, reference),
        control_fill_rate=control_rate,
        candidate_fill_rate=candidate_rate,
        fill_rate_difference=rate_difference,
        candidate_error_rate=1 - len(answered) / len(pairs) if pairs else None,
        latency_overhead_seconds=_mean([p.candidate_seconds - p.control_seconds for p in answered]),
    )


def summarise(pairs: Sequence[ShadowPair], reference: str = "control") -> ShadowSummary:
    """Return the whole summary; O(n log n) for the worst pairs."""
    differing = [pair for pair in pairs if pair.difference_bps is not None]
    worst = sorted(differing, key=lambda pair: -abs(pair.difference_bps or 0.0))[:WORST_PAIRS]

    def by(key: Callable[[ShadowPair], str]) -> dict[str, Comparison]:
        return _compare_by(pairs, key, reference)

    return ShadowSummary(
        overall=compare(pairs, reference),
        by_symbol=by(lambda pair: pair.symbol),
        by_side=by(lambda pair: pair.side),
        by_size=by(lambda pair: pair.size_bucket),
        by_spread=by(lambda pair: pair.spread_regime),
        worst=tuple(worst),
        noise_floor=_noise_floor(pairs),
    )


def _noise_floor(pairs: Iterable[ShadowPair]) -> Agreement | None:
    repeated = [
        (pair.control.slippage_bps, pair.control_repeat.slippage_bps)
        for pair in pairs
        if pair.control_repeat is not None
    ]
    differences = [
        float(again - once) for once, again in repeated if once is not None and again is not None
    ]
    return agreement(differences) if repeated else None


def _rmse(answered: Iterable[ShadowPair], reference: str) -> float | None:
    squares = []
    for pair in answered:
        expected = REFERENCES[reference](pair)
        if pair.candidate is None or pair.candidate.slippage_bps is None or expected is None:
            continue
        squares.append(float(pair.candidate.slippage_bps - expected) ** 2)
    mean_square = _mean(squares)
    return None if mean_square is None else math.sqrt(mean_square)


def _bucket(value: float | None, edges: Sequence[float], unit: str) -> str:
    """Name the bucket of a value; an edge belongs to the bucket below it."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    place = bisect_left(edges, value)
    if place == len(edges):
        return f"over {edges[-1]:g}{unit}"
    return (
        f"up to {edges[0]:g}{unit}"
        if place == 0
        else (f"{edges[place - 1]:g} to {edges[place]:g}{unit}")
    )


def _compare_by(
    pairs: Iterable[ShadowPair], key: Callable[[ShadowPair], str], reference: str
) -> dict[str, Comparison]:
    groups: dict[str, list[ShadowPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return {name: compare(groups[name], reference) for name in sorted(groups)}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None

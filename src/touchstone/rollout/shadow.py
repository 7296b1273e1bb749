"""Compare the candidate (L3) with the control (L2), pair by pair: same order, book and seed.

Differences are candidate minus control, in basis points of slippage against the mid at the
decision; the control is the named reference of the RMSE. Limits of agreement are those of Bland
and Altman (Lancet 1986): the mean difference, give or take 1.96 standard deviations.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from execution_providers import Fill

PAIRS_MAX: Final = 5_000
AGE_SECONDS_MAX: Final = 86_400.0
WORST_PAIRS: Final = 20
_NORMAL_95: Final = 1.96
_SPREAD_NEEDS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowPair:
    """One order executed twice on the same frozen inputs.

    `candidate` is None when it failed, and `error` then holds the fault's code. `at` is in seconds
    since 1970; latencies are of the computation, not of the simulated market.
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

    @property
    def difference_bps(self) -> float | None:
        """Return candidate minus control slippage; None unless both filled something."""
        if self.candidate is None or self.candidate.slippage_bps is None:
            return None
        if self.control.slippage_bps is None:
            return None
        return float(self.candidate.slippage_bps - self.control.slippage_bps)

    @property
    def fill_rate_difference(self) -> float | None:
        """Return candidate minus control filled share of the order; None when the one failed."""
        if self.candidate is None:
            return None
        more = self.candidate.filled_quantity - self.control.filled_quantity
        return float(more / self.quantity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A paired summary. Figures that the number of pairs does not support are None.

    `n` counts pairs in which both sides filled something: only those have a difference.
    """

    pairs: int
    n: int
    mean_difference_bps: float | None
    limits_of_agreement_bps: tuple[float, float] | None
    rmse_bps: float | None
    control_fill_rate: float | None
    candidate_fill_rate: float | None
    fill_rate_difference: float | None
    candidate_error_rate: float | None
    latency_overhead_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSummary:
    """The comparison as a whole, by symbol, by side, and its worst pairs."""

    overall: Comparison
    by_symbol: dict[str, Comparison]
    by_side: dict[str, Comparison]
    worst: tuple[ShadowPair, ...]


class ShadowStore:
    """Keep the newest pairs, bounded by number and by age, in memory."""

    def __init__(
        self, pairs_max: int = PAIRS_MAX, age_seconds_max: float = AGE_SECONDS_MAX
    ) -> None:
        self._pairs: deque[ShadowPair] = deque(maxlen=pairs_max)
        self._age_seconds_max = age_seconds_max

    def __len__(self) -> int:
        return len(self._pairs)

    def append(self, pair: ShadowPair) -> None:
        """Add a pair, and let go of what is too old by its time, or one too many."""
        self._expire(pair.at)
        self._pairs.append(pair)

    def pairs(self, now: float) -> tuple[ShadowPair, ...]:
        """Return the pairs not older than the limit at `now`, oldest first."""
        self._expire(now)
        return tuple(self._pairs)

    def _expire(self, now: float) -> None:
        while self._pairs and now - self._pairs[0].at > self._age_seconds_max:
            self._pairs.popleft()


def compare(pairs: Sequence[ShadowPair]) -> Comparison:
    """Return the paired comparison; O(n)."""
    differences = [d for pair in pairs if (d := pair.difference_bps) is not None]
    answered = [pair for pair in pairs if pair.candidate is not None]
    rates = [d for pair in answered if (d := pair.fill_rate_difference) is not None]
    mean = _mean(differences)
    limits = None
    if mean is not None and len(differences) >= _SPREAD_NEEDS:
        squares = math.fsum((d - mean) ** 2 for d in differences)
        half = _NORMAL_95 * math.sqrt(squares / (len(differences) - 1))
        limits = (mean - half, mean + half)
    mean_square = _mean([d * d for d in differences])
    control_rate = _mean([float(p.control.filled_quantity / p.quantity) for p in answered])
    rate_difference = _mean(rates)
    candidate_rate = None
    if control_rate is not None and rate_difference is not None:
        candidate_rate = control_rate + rate_difference
    return Comparison(
        pairs=len(pairs),
        n=len(differences),
        mean_difference_bps=mean,
        limits_of_agreement_bps=limits,
        rmse_bps=None if mean_square is None else math.sqrt(mean_square),
        control_fill_rate=control_rate,
        candidate_fill_rate=candidate_rate,
        fill_rate_difference=rate_difference,
        candidate_error_rate=1 - len(answered) / len(pairs) if pairs else None,
        latency_overhead_seconds=_mean([p.candidate_seconds - p.control_seconds for p in answered]),
    )


def summarise(pairs: Sequence[ShadowPair]) -> ShadowSummary:
    """Return the whole summary; O(n log n) for the worst pairs."""
    differing = [pair for pair in pairs if pair.difference_bps is not None]
    worst = sorted(differing, key=lambda pair: -abs(pair.difference_bps or 0.0))[:WORST_PAIRS]
    return ShadowSummary(
        overall=compare(pairs),
        by_symbol=_compare_by(pairs, lambda pair: pair.symbol),
        by_side=_compare_by(pairs, lambda pair: pair.side),
        worst=tuple(worst),
    )


def _compare_by(
    pairs: Iterable[ShadowPair], key: Callable[[ShadowPair], str]
) -> dict[str, Comparison]:
    groups: dict[str, list[ShadowPair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    return {name: compare(groups[name]) for name in sorted(groups)}


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None

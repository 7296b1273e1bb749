"""Judge a candidate continuously: harm proven, no harm proven, or neither yet.

What is judged is the mean over minutes of candidate minus control slippage, each order's difference
clipped to `clip_bps` and each symbol of a minute counted alike. The bounds are those of
`touchstone.rollout.confidence`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lob.errors import InvalidInput
from touchstone.rollout.confidence import (
    LagSums,
    Sums,
    correlation,
    inflation,
    lower_bound,
    proven_above,
    proven_below,
    upper_bound,
)
from touchstone.rollout.experiment import Block, Blocks, clip, comparable
from touchstone.rollout.shadow import ShadowPair

CURVE_GROWTH: Final = 1.05
MINIMUM_BLOCKS_LEAST: Final = 20
"""Below this the bounds say little even where they are finite."""


class Outcome(StrEnum):
    """What the evidence permits. HOLD is not success, however long it lasts."""

    ROLLBACK = "ROLLBACK"
    PROMOTE = "PROMOTE"
    HOLD = "HOLD"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """What counts as proof.

    `alpha` bounds, each for itself and over all looks together, the share of rollouts in which a
    harmless candidate is rolled back and in which one as bad as the margin is promoted. Harm is a
    mean above `harm_bps`, and comes first: a mean proven to be above it and below `margin_bps` is
    rolled back. The margin is what may be unproven at a promotion. `typical_variance_bps2` is the
    total variance of block means at which the bounds are tightest; it must be chosen beforehand and
    affects how soon, never whether rightly.
    """

    alpha: float = 0.05
    harm_bps: float = 0.0
    margin_bps: float = 0.5
    clip_bps: float = 50.0
    minimum_blocks: int = 30
    deadline_seconds: float = 7 * 86_400.0
    block_seconds: float = 60.0
    typical_variance_bps2: float = 24.0
    missing_share_max: float = 0.05

    def __post_init__(self) -> None:
        _require("alpha", self.alpha, 1e-9, 0.5)
        _require("clip_bps", self.clip_bps, 0.01, 10_000.0)
        _require("harm_bps", self.harm_bps, 0.0, self.clip_bps)
        _require("margin_bps", self.margin_bps, max(self.harm_bps, 1e-6), self.clip_bps)
        _require("deadline_seconds", self.deadline_seconds, 1.0, 366 * 86_400.0)
        _require("block_seconds", self.block_seconds, 1.0, 86_400.0)
        _require("typical_variance_bps2", self.typical_variance_bps2, 1e-6, 1e9)
        _require("missing_share_max", self.missing_share_max, 0.0, 1.0)
        if type(self.minimum_blocks) is not int or self.minimum_blocks < MINIMUM_BLOCKS_LEAST:
            raise InvalidInput(
                f"minimum_blocks: {self.minimum_blocks!r}; allowed: {MINIMUM_BLOCKS_LEAST} or more"
            )

    @property
    def mixture(self) -> float:
        """Return the mixture's variance in bps^2: about a sixth of where the bounds are tight."""
        return self.typical_variance_bps2 / 6


@dataclass(frozen=True, slots=True)
class EvidencePoint:
    """The evidence after so many blocks; a bound is None while there is none within the clip."""

    blocks: int
    orders: int
    at: float
    mean_bps: float
    lower_bps: float | None
    upper_bps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the judge says at `at`, why, and from what.

    `overdue` says that the deadline passed without a decision: a person has to make it, and no
    evidence that comes later promotes. `missing` counts orders that only one side filled or on
    which the candidate failed, `unusable` differences that are no finite number, `clipped` those
    beyond the clip. `correlation` is that of neighbouring blocks; where it is positive, the bounds
    are wider for it.
    """

    outcome: Outcome
    reason: str
    at: float
    deadline_at: float
    overdue: bool
    blocks: int
    orders: int
    missing: int
    unusable: int
    clipped: int
    correlation: float
    mean_bps: float | None
    lower_bps: float | None
    upper_bps: float | None


class Judge:
    """Take one difference after another, and say at any time what they prove. O(1) each.

    Proven harm stays proven, as a prohibition does; a promotion holds only while it is true, and
    only where it was first proven before the deadline.
    """

    def __init__(self, config: JudgeConfig, started_at: float) -> None:
        self.config = config
        self._blocks = Blocks(config.block_seconds)
        self._n = 0
        self._orders = 0
        self._total = 0.0
        self._squares = 0.0
        self._neighbours = 0
        self._products = 0.0
        self._neighbour_totals = 0.0
        self._previous: float | None = None
        self._seen = 0
        self._missing = 0
        self._unusable = 0
        self._clipped = 0
        self._harm: EvidencePoint | None = None
        self._deadline_at = started_at + config.deadline_seconds
        self._in_time = False
        self._curve: list[EvidencePoint] = []

    def observe_pair(self, pair: ShadowPair, at: float | None = None) -> None:
        """Add a pair; one that neither side filled counts as seen and as nothing else.

        `at` stands in for the pair's own time, where the caller has a better clock.
        """
        compared = comparable(pair)
        if compared is None:
            self._seen += 1
        else:
            when = pair.at if at is None else at
            self.observe(pair.symbol, when, pair.difference_bps if compared else None)

    def observe(self, symbol: str, at: float, difference_bps: float | None) -> None:
        """Add an order's candidate minus control slippage; None where one side has none.

        Raises:
            InvalidInput: `at` is no time.
        """
        if not math.isfinite(at):
            raise InvalidInput(f"at: {at!r}; allowed: seconds since 1970")
        self._seen += 1
        if difference_bps is None:
            self._missing += 1
            return
        if not math.isfinite(difference_bps):
            self._unusable += 1
            return
        within = clip(difference_bps, self.config.clip_bps)
        self._clipped += within != difference_bps
        for block in self._blocks.observe(symbol, at, within):
            self._count(block)

    def verdict(self, now: float) -> Verdict:
        """Return what is proven by the blocks that are over at `now`."""
        for block in self._blocks.close(now):
            self._count(block)
        outcome, reason = self._decide()
        if outcome is Outcome.PROMOTE and not self._in_time:
            self._in_time = now < self._deadline_at
            if not self._in_time:
                outcome = Outcome.HOLD
                reason = "nothing was proven before the deadline; a person has to decide"
        point = self._point(now) if self._n else None
        return Verdict(
            outcome=outcome,
            reason=reason,
            at=now,
            deadline_at=self._deadline_at,
            overdue=outcome is Outcome.HOLD and now >= self._deadline_at,
            blocks=self._n,
            orders=self._orders,
            missing=self._missing,
            unusable=self._unusable,
            clipped=self._clipped,
            correlation=self._correlation(),
            mean_bps=None if point is None else point.mean_bps,
            lower_bps=None if point is None else point.lower_bps,
            upper_bps=None if point is None else point.upper_bps,
        )

    def curve(self) -> tuple[EvidencePoint, ...]:
        """Return the evidence as it grew: at most a few hundred points, closer at the start."""
        return tuple(self._curve)

    def _count(self, block: Block) -> None:
        self._n += 1
        self._orders += block.orders
        self._total += block.mean_bps
        self._squares += block.mean_bps**2
        if self._previous is not None:
            self._neighbours += 1
            self._products += self._previous * block.mean_bps
            self._neighbour_totals += self._previous + block.mean_bps
        self._previous = block.mean_bps
        over = block.start + self.config.block_seconds
        if self._n >= (self._curve[-1].blocks * CURVE_GROWTH if self._curve else 1):
            self._curve.append(self._point(over))
        if self._harm is None and self._enough() and self._proves(above=True):
            self._harm = self._point(over)
        if not self._in_time and over < self._deadline_at:
            self._in_time = self._decide()[0] is Outcome.PROMOTE

    def _enough(self) -> bool:
        return self._n >= self.config.minimum_blocks

    def _correlation(self) -> float:
        if self._n == 0:
            return 0.0
        lags = LagSums(self._neighbours, self._products, self._neighbour_totals)
        return float(correlation(self._n, self._total, self._squares, lags))

    def _sums(self) -> Sums:
        factor = float(inflation(self._correlation()))
        return Sums(self._n, self._total, self._squares, factor)

    def _proves(self, *, above: bool) -> bool:
        config = self.config
        test, threshold = (
            (proven_above, config.harm_bps) if above else (proven_below, config.margin_bps)
        )
        return bool(test(self._sums(), threshold, alpha=config.alpha, mixture=config.mixture))

    def _decide(self) -> tuple[Outcome, str]:
        config = self.config
        if self._harm is not None:
            return Outcome.ROLLBACK, (
                f"harm above {config.harm_bps:g} bps proven after {self._harm.blocks} blocks: "
                f"mean {self._harm.mean_bps:.3f} bps"
            )
        if not self._enough():
            return Outcome.HOLD, f"{self._n} blocks; at least {config.minimum_blocks} are needed"
        if self._unusable:
            return Outcome.HOLD, f"{self._unusable} differences are no finite number"
        if self._missing > config.missing_share_max * self._seen:
            return Outcome.HOLD, (
                f"{self._missing} of {self._seen} orders cannot be compared; at most "
                f"{config.missing_share_max:.2%} may be missing"
            )
        if self._proves(above=False):
            return Outcome.PROMOTE, f"mean below {config.margin_bps:g} bps proven"
        return Outcome.HOLD, "neither harm nor its absence is proven yet"

    def _point(self, at: float) -> EvidencePoint:
        alpha, mixture, limit = self.config.alpha, self.config.mixture, self.config.clip_bps
        lower = lower_bound(self._sums(), alpha=alpha, mixture=mixture)
        upper = upper_bound(self._sums(), alpha=alpha, mixture=mixture)
        return EvidencePoint(
            blocks=self._n,
            orders=self._orders,
            at=at,
            mean_bps=self._total / self._n,
            lower_bps=lower if lower > -limit else None,
            upper_bps=upper if upper < limit else None,
        )


def _require(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidInput(f"{name}: {value!r}; allowed: {low:g}..{high:g}")

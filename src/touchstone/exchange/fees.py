"""Fees: maker and taker rates by the volume of the last thirty days.

Coinbase recalculates a customer's tier each hour from the trailing thirty days, and an order keeps
the rates of the tier it was placed in (Advanced fees, help centre); so does this.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise, takewhile
from typing import Final

from lob.errors import ConfigError
from touchstone.exchange.money import ZERO

HOUR_NS: Final = 3_600_000_000_000
_WINDOW_HOURS: Final = 30 * 24


@dataclass(frozen=True, slots=True)
class FeeTier:
    """What is paid from a trailing volume of `usd_from` on; rates are fractions of the notional."""

    name: str
    usd_from: Decimal
    maker_rate: Decimal
    taker_rate: Decimal


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """Fee tiers by ascending volume; the first starts at 0.

    Raises:
        ConfigError: no tier starts at 0, or the volumes do not ascend.
    """

    tiers: tuple[FeeTier, ...]

    def __post_init__(self) -> None:
        """Check the order of the tiers."""
        if not self.tiers or self.tiers[0].usd_from != 0:
            raise ConfigError("fee tiers: the first has to start at a volume of 0")
        if any(low.usd_from >= high.usd_from for low, high in pairwise(self.tiers)):
            raise ConfigError("fee tiers: usd_from has to ascend")

    def tier(self, volume: Decimal) -> FeeTier:
        """Return the tier that holds at a trailing volume."""
        return next(tier for tier in reversed(self.tiers) if tier.usd_from <= max(ZERO, volume))

    def usd_to(self, tier: FeeTier) -> Decimal | None:
        """Return where the next tier starts; None for the last."""
        following = self.tiers[self.tiers.index(tier) + 1 :]
        return following[0].usd_from if following else None


def flat_schedule(maker_rate: Decimal, taker_rate: Decimal, name: str = "Paper") -> FeeSchedule:
    """Return one tier for every volume."""
    return FeeSchedule((FeeTier(name, ZERO, maker_rate, taker_rate),))


def _tiers(*rows: tuple[str, int, str, str]) -> FeeSchedule:
    return FeeSchedule(
        tuple(
            FeeTier(name, Decimal(usd_from), Decimal(maker), Decimal(taker))
            for name, usd_from, maker, taker in rows
        )
    )


INTX_PROMOTION: Final = flat_schedule(ZERO, Decimal("0.0003"), "INTX promotion")
"""What INTX-shaped perpetuals cost on Advanced Trade until the surface was retired."""

PAPER_TIERS: Final = _tiers(
    ("Paper 1", 0, "0", "0.0003"),
    ("Paper 2", 10_000_000, "0", "0.00025"),
    ("Paper 3", 50_000_000, "0", "0.0002"),
    ("Paper 4", 250_000_000, "-0.00002", "0.00018"),
)
"""Our own table for CDE-shaped perpetuals: Coinbase shows its own only to signed-in customers."""


@dataclass(slots=True)
class VolumeWindow:
    """What an account has traded in the last thirty days, in buckets of one hour.

    Memory is bounded by the 720 hours of the window. Only `add` forgets: asking changes nothing, so
    that the state of a venue does not depend on who looked at it.
    """

    _buckets: deque[tuple[int, Decimal]] = field(default_factory=deque)
    _sum: Decimal = ZERO

    def add(self, time_ns: int, notional: Decimal) -> None:
        """Count one trade; times never go back. O(1) amortised."""
        hour = time_ns // HOUR_NS
        while self._buckets and self._buckets[0][0] < hour - _WINDOW_HOURS:
            self._sum -= self._buckets.popleft()[1]
        self._sum += notional
        if self._buckets and self._buckets[-1][0] == hour:
            notional += self._buckets.pop()[1]
        self._buckets.append((hour, notional))

    def total(self, time_ns: int) -> Decimal:
        """Return the volume of the last thirty days, with that of the hour that has begun.

        O(1), and O(hours) for what has become too old since the latest trade.
        """
        since = time_ns // HOUR_NS - _WINDOW_HOURS
        too_old = takewhile(lambda bucket: bucket[0] < since, self._buckets)
        return self._sum - sum((notional for _, notional in too_old), ZERO)

    def tier_volume(self, time_ns: int) -> Decimal:
        """Return the volume that decides the tier: of the 720 full hours that have ended."""
        total = self.total(time_ns)
        if self._buckets and self._buckets[-1][0] == time_ns // HOUR_NS:
            return total - self._buckets[-1][1]
        return total

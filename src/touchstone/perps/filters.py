"""Market filters: what a market has to be like before anything is entered in it.

A figure that is missing refuses, as does one beyond its limit: no filter passes because nobody
knows. Money is in US dollars, spreads are in basis points of the mid.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from lob.types import Side

BPS: Final = Decimal(10_000)
DATA_AGE_SECONDS_MAX: Final = 10.0
"""Market data older than this is no ground for a decision."""


class EntryRefusal(StrEnum):
    """Why the bot did not enter, or did nothing at all. The codes are what is counted."""

    STALE_DATA = "STALE_DATA"
    WARMING_UP = "WARMING_UP"
    NO_MARK = "NO_MARK"
    NO_SPREAD = "NO_SPREAD"
    NO_DEPTH_L1 = "NO_DEPTH_L1"
    NO_DEPTH_L10 = "NO_DEPTH_L10"
    NO_VOLUME = "NO_VOLUME"
    NO_RSI = "NO_RSI"
    NO_EQUITY = "NO_EQUITY"
    NO_POSITION = "NO_POSITION"
    NO_LIQUIDATION_PRICE = "NO_LIQUIDATION_PRICE"
    SPREAD = "SPREAD"
    DEPTH_L1 = "DEPTH_L1"
    DEPTH_L10 = "DEPTH_L10"
    VOLUME = "VOLUME"
    RSI = "RSI"
    LIQUIDATION_BUFFER = "LIQUIDATION_BUFFER"
    SLIPPAGE = "SLIPPAGE"
    SHORTS_DISABLED = "SHORTS_DISABLED"
    REDUCE_ONLY = "REDUCE_ONLY"
    MAX_POSITION = "MAX_POSITION"
    SIZE = "SIZE"


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason against an entry: the code that is counted, and a line for people."""

    reason: EntryRefusal
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """One market at one moment; what is not known is None. Depths by the side that is consumed.

    `bid`, `ask` and `mark` are prices; a BUY consumes what is offered: `depth_l1[Side.BUY]` is what
    stands at the best ask, `depth_l10[Side.BUY]` what stands within ten levels, both in dollars.
    """

    age_seconds: float | None
    mark: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    depth_l1: Mapping[Side, Decimal]
    depth_l10: Mapping[Side, Decimal]
    volume_1m_usd: Decimal | None

    @property
    def spread_bps(self) -> Decimal | None:
        """Return the spread in basis points of the mid, None while a side is missing."""
        if self.bid is None or self.ask is None or self.bid <= 0 or self.ask <= 0:
            return None
        return (self.ask - self.bid) / ((self.ask + self.bid) / 2) * BPS

    @property
    def is_fresh(self) -> bool:
        """Return whether the data is young enough to act on; an unknown age is not."""
        return self.age_seconds is not None and 0 <= self.age_seconds <= DATA_AGE_SECONDS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterLimits:
    """What a market must offer: basis points and dollars."""

    max_spread_bps: Decimal
    min_depth_l1: Decimal
    min_depth_l10: Decimal
    min_volume_1m: Decimal


def check_market(market: MarketView, side: Side, limits: FilterLimits) -> list[Objection]:
    """Return every objection of the filters to an entry on `side`, [] where there is none."""
    R = EntryRefusal  # noqa: N806 - as short as its members are many
    found = [
        _at_most("spread", "bps", market.spread_bps, limits.max_spread_bps, R.NO_SPREAD, R.SPREAD),
        _at_least(
            "depth of the touch",
            market.depth_l1.get(side),
            limits.min_depth_l1,
            R.NO_DEPTH_L1,
            R.DEPTH_L1,
        ),
        _at_least(
            "depth of ten levels",
            market.depth_l10.get(side),
            limits.min_depth_l10,
            R.NO_DEPTH_L10,
            R.DEPTH_L10,
        ),
        _at_least(
            "volume of one minute",
            market.volume_1m_usd,
            limits.min_volume_1m,
            R.NO_VOLUME,
            R.VOLUME,
        ),
    ]
    return [objection for objection in found if objection is not None]


def _at_most(
    name: str,
    unit: str,
    value: Decimal | None,
    limit: Decimal,
    missing: EntryRefusal,
    beyond: EntryRefusal,
) -> Objection | None:
    if value is None or not value.is_finite():
        return Objection(missing, f"{name}: not known")
    if value > limit:
        return Objection(beyond, f"{name}: {value:.2f} {unit}; allowed: at most {limit:f}")
    return None


def _at_least(
    name: str,
    value: Decimal | None,
    limit: Decimal,
    missing: EntryRefusal,
    below: EntryRefusal,
) -> Objection | None:
    if value is None or not value.is_finite():
        return Objection(missing, f"{name}: not known")
    if value < limit:
        return Objection(below, f"{name}: {value:.0f} USD; allowed: {limit:f} or more")
    return None

"""What a hidden-liquidity model learns from: aggressive orders, and the depth that each one met."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from lob.bounds import number, whole
from lob.errors import InvalidInput
from lob.types import Side

Levels = tuple[tuple[int, int], ...]
"""Price in ticks and lots of each level of a side, the best first."""


@dataclass(frozen=True, slots=True)
class Depth:
    """What is displayed on both sides: whole ticks and lots, best first, not crossed.

    Raises:
        InvalidInput: a price or size below 1, levels out of order, or a bid at or above an ask.
    """

    bids: Levels
    asks: Levels

    def __post_init__(self) -> None:
        for name, levels, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            for at, (price, lots) in enumerate(levels):
                whole(f"{name}[{at}].price_ticks", price, 1)
                whole(f"{name}[{at}].lots", lots, 1)
            for at, (before, after) in enumerate(pairwise(levels), 1):
                if sign * (after[0] - before[0]) <= 0:
                    raise InvalidInput(
                        f"{name}[{at}].price_ticks: {after[0]} after {before[0]}; allowed: levels "
                        "from the best outward"
                    )
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise InvalidInput(
                f"bids[0].price_ticks: {self.bids[0][0]}; allowed: below the best ask, "
                f"{self.asks[0][0]}"
            )

    @property
    def two_sided(self) -> bool:
        """Say whether there is a bid and an ask, so a spread."""
        return bool(self.bids and self.asks)

    @property
    def mid_ticks(self) -> float:
        """Return the middle of the touch; both sides must be there."""
        return (self.bids[0][0] + self.asks[0][0]) / 2

    @property
    def spread_ticks(self) -> int:
        """Return the best ask less the best bid; both sides must be there."""
        return self.asks[0][0] - self.bids[0][0]

    def met_by(self, aggressor: Side) -> Levels:
        """Return the levels that an aggressor of this side takes."""
        return self.asks if aggressor is Side.BUY else self.bids

    def behind(self, aggressor: Side) -> Levels:
        """Return the levels of the aggressor's own side."""
        return self.bids if aggressor is Side.BUY else self.asks


class Execution(NamedTuple):
    """One part of a sweep; a hidden one may trade between ticks."""

    price_ticks: float
    quantity_lots: int
    hidden: bool


@dataclass(frozen=True, slots=True)
class Sweep:
    """One aggressive order as the feed shows it: all that traded at one time for one side.

    `executions` are in the order in which they came: from the aggressor's best price outward.
    """

    ts_event_ns: int
    aggressor: Side
    executions: tuple[Execution, ...]

    def __post_init__(self) -> None:
        whole("ts_event_ns", self.ts_event_ns, 0)
        if not self.executions:
            raise InvalidInput("executions: none; allowed: one or more")
        for at, (price, lots, _) in enumerate(self.executions):
            number(f"executions[{at}].price_ticks", price, above=0)
            whole(f"executions[{at}].quantity_lots", lots, 1)

    @property
    def quantity_lots(self) -> int:
        """Return the lots of all parts."""
        return sum(part.quantity_lots for part in self.executions)

    @property
    def vwap_ticks(self) -> float:
        """Return the mean price of a lot, in ticks."""
        paid = sum(part.price_ticks * part.quantity_lots for part in self.executions)
        return paid / self.quantity_lots


def walk_ticks(levels: Levels, lots: float) -> float:
    """Return what `lots` cost in all, in ticks x lots, taken of the levels in order.

    What the levels do not have is paid at the last of them: the depth that is known ends there.
    0 lots cost nothing. O(levels).
    """
    if not levels:
        raise InvalidInput("levels: none; allowed: one or more")
    number("lots", lots, low=0)
    cost, price = 0.0, 0
    for price, size in levels:
        taken = min(size, lots)
        cost += taken * price
        lots -= taken
        if lots <= 0:
            return cost
    return cost + lots * price

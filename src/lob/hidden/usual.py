"""What a hidden-liquidity model expects of a book of which only the displayed depth is known.

A simulator that is given one depth knows nothing of the sweeps just before it. Then the chances of
`lob.hidden.HiddenLiquidityModel` hang on two things, the spread and the imbalance of the touches,
so that they are worked out once for each pair of them. What the model says of the touch is held to
be true of each level behind it: it is the touch once those before it are gone.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from lob.bounds import number, positive, row, whole
from lob.errors import InvalidInput
from lob.hidden.cells import CELL_FEATURES, IMBALANCE, SideMemory, cells_of
from lob.hidden.sizes import HiddenSizes
from lob.hidden.sweeps import Depth
from lob.types import Side

_IMBALANCE_STEPS: Final = 8
"""An imbalance counts in eighths: there are so few different ones."""
_KEPT: Final = 4_096
_LOGIT_MAX: Final = 30.0
_CHANCE_MAX: Final = 1 - 1e-9


class Draws(Protocol):
    """A seeded stream of numbers."""

    def random(self) -> float:
        """Return a number of 0 or more and below 1."""
        ...

    def exponential(self) -> float:
        """Return a draw of the exponential law of mean 1."""
        ...


class Chances(NamedTuple):
    """Where hidden orders are expected on one side, by the distance from its touch in ticks.

    `cells` are ranges of distances inside the spread, both ends included, the best price first;
    `chances` has one for each, `touch` that at the touch itself, behind what is displayed there.
    `hazards` add up -log(1 - chance) from the best price on.
    """

    cells: tuple[tuple[int, int], ...]
    chances: tuple[float, ...]
    hazards: tuple[float, ...]
    touch: float


class UsualHidden:
    """Expect and draw hidden orders by the spread and the sizes at the touches alone.

    Without `sizes` an order has, on average, `size_ratio` times the lots displayed where it stands,
    by an exponential law; with them it has what they say, in lots of `lot_size` units of the
    symbol. `tick_size` is that in which distances count; None is whoever asks' own.
    """

    def __init__(
        self,
        weights: ArrayLike,
        sizes: HiddenSizes | None = None,
        *,
        size_ratio: float = 1.0,
        tick_size: float | None = None,
        lot_size: float = 1.0,
    ) -> None:
        self._weights = row("weights", weights)
        if len(self._weights) != CELL_FEATURES:
            raise InvalidInput(f"weights: {len(self._weights)}; allowed: {CELL_FEATURES}")
        self._sizes = sizes
        self._size_ratio = positive("size_ratio", size_ratio)
        self.tick_size = None if tick_size is None else positive("tick_size", tick_size)
        self.lot_size = positive("lot_size", lot_size)
        self._known: dict[tuple[int, int], Chances] = {}

    @classmethod
    def from_parameters(cls, document: Mapping[str, Any]) -> "UsualHidden":
        """Return what `HiddenLiquidityModel.to_parameters` wrote.

        Raises:
            InvalidInput: a key is missing, unknown, or has a value that is not right.
        """
        known = ("tick_size", "lot_size", "weights", "sizes")
        for name in document:
            if name not in known:
                raise InvalidInput(f"{name}: unknown; allowed: {', '.join(known)}")
        try:
            return cls(
                document["weights"],
                HiddenSizes.from_dict(document["sizes"]),
                tick_size=document["tick_size"],
                lot_size=document["lot_size"],
            )
        except KeyError as missing:
            raise InvalidInput(f"{missing}: missing; allowed: {', '.join(known)}") from None
        except (TypeError, ValueError) as wrong:
            if isinstance(wrong, InvalidInput):
                raise
            raise InvalidInput(f"weights, sizes: {wrong}") from None

    def chances(self, spread_ticks: int, imbalance: float) -> Chances:
        """Return the chances on a side, where the aggressor's own touch is `spread_ticks` away.

        `imbalance` is that of the touches as its aggressor sees them: its own less the other's
        lots, over both. O(cells) the first time.
        """
        eighths = round(number("imbalance", imbalance, low=-1, high=1) * _IMBALANCE_STEPS)
        key = whole("spread_ticks", spread_ticks, 1), eighths
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = self._worked_out(*key)
        return found

    def inside(self, spread_ticks: int, imbalance: float, draws: Draws) -> list[tuple[int, float]]:
        """Draw a side's hidden orders inside the spread: (distance, exponential) of each.

        The distance is from the side's touch, in ticks; the exponential draw is for `lots`.
        """
        cells, _, hazards, _ = self.chances(spread_ticks, imbalance)
        found: list[tuple[int, float]] = []
        # The next cell that has one is as far on as an exponential law says: most draws are one.
        reached = draws.exponential()
        place = bisect_left(hazards, reached)
        while place < len(cells):
            near, far = cells[place]
            distance = near + int(draws.random() * (far - near + 1))
            found.append((distance, draws.exponential()))
            reached = hazards[place] + draws.exponential()
            place = bisect_left(hazards, reached, place + 1)
        return found

    def lots(self, exponential: float, displayed_lots: float) -> float:
        """Return the lots of an order from a draw of the exponential law.

        In the asker's lots, or in `lot_size` where the sizes were learnt (`told_sizes`).
        """
        if self._sizes is None:
            return exponential * self._size_ratio * displayed_lots
        return self._sizes.lots_of(exponential)

    @property
    def told_sizes(self) -> bool:
        """Say whether sizes were learnt, and count in `lot_size`."""
        return self._sizes is not None

    def _worked_out(self, spread_ticks: int, eighths: int) -> Chances:
        depth = Depth(bids=((1, 1),), asks=((1 + spread_ticks, 1),))
        nothing = SideMemory(Side.BUY), SideMemory(Side.SELL)
        cells = cells_of(depth, *nothing, 0, 1.0)
        cells.features[:, IMBALANCE] = eighths / _IMBALANCE_STEPS
        logits = np.clip(cells.features @ self._weights, -_LOGIT_MAX, _LOGIT_MAX)
        chances = np.minimum(1 / (1 + np.exp(-logits)), _CHANCE_MAX).tolist()
        ranges: list[tuple[int, int]] = []
        kept: list[float] = []
        for ticks, chance in zip(cells.whole_ticks()[:-1], chances[:-1], strict=True):
            if ticks is not None:
                touch = cells.touch_ticks
                ranges.append((touch - ticks[1], touch - ticks[0]))
                kept.append(chance)
        hazards = accumulate(-math.log1p(-chance) for chance in kept)
        return Chances(tuple(ranges), tuple(kept), tuple(hazards), chances[-1])

"""The places of a spread where hidden orders may rest, and what is known of each of them.

A *cell* is a range of prices between the touch that an aggressor would pay and its own side's
touch, told by the distance from the former in ticks: the touch itself (0), single ticks near it,
wider ranges further off, a tick of its own for each price that is remembered, and the mid, where it
lies between two ticks: orders pegged to it trade there.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from lob.bounds import Floats
from lob.hidden.sweeps import Depth, Sweep
from lob.types import Side

SECOND_NS: Final = 1_000_000_000
REMEMBERED: Final = 32
"""Prices of hidden executions that are remembered on a side, the latest ones."""

_SINGLE_TICKS: Final = 16
_GROWTH: Final = 1.3
_PRICE_DECAYS_NS: Final = np.array([0.001, 0.05, 1.0, 20.0]) * SECOND_NS
_SWEEP_DECAYS_NS: Final = np.array([0.0005, 0.05, 5.0]) * SECOND_NS
_OTHER_DECAYS_NS: Final = np.array([0.001, 1.0]) * SECOND_NS
_SIZE_LOG_MAX: Final = 4.0

FIRST_OF_MEMORY: Final = 9
"""The place of the first feature that is of past sweeps; so are all after it."""

CELL_FEATURES: Final = FIRST_OF_MEMORY + len(_PRICE_DECAYS_NS) + 1 + 4 * len(_SWEEP_DECAYS_NS) + 2
"""How many numbers say what is known of a cell; the first is 1."""

AT_TOUCH: Final = 1
LOG_DISTANCE: Final = 2
"""Places of features that a prior speaks of."""

IMBALANCE: Final = 7
"""The place of the feature that the sizes at the two touches make."""


@dataclass(slots=True)
class SideMemory:
    """What sweeps have shown of one side's hidden orders: `aggressor` is who met them.

    `prices` maps the price of a hidden execution to its latest time and how often it was met there.
    """

    aggressor: Side
    prices: OrderedDict[float, tuple[int, int]] = field(default_factory=OrderedDict)
    last_ns: int | None = None
    last_ticks: float = 0.0
    last_hidden: bool = False

    def note(self, sweep: Sweep) -> None:
        """Remember a sweep of this aggressor side."""
        for price in {part.price_ticks for part in sweep.executions if part.hidden}:
            count = self.prices.pop(price, (0, 0))[1]
            self.prices[price] = sweep.ts_event_ns, count + 1
            if len(self.prices) > REMEMBERED:
                self.prices.popitem(last=False)
        last = sweep.executions[-1]
        self.last_ns, self.last_ticks = sweep.ts_event_ns, last.price_ticks
        self.last_hidden = last.hidden

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {
            "prices": [[price, at, count] for price, (at, count) in self.prices.items()],
            "last": None
            if self.last_ns is None
            else [self.last_ns, self.last_ticks, self.last_hidden],
        }


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that an aggressor comes through, its best price first; the last is the touch.

    Cell i holds the distances above `low[i]` and up to `high[i]`, in ticks from the touch;
    `middle` is that of the prices it holds.
    """

    low: Floats
    high: Floats
    middle: Floats
    features: Floats
    touch_ticks: int
    sign: int

    @property
    def prices(self) -> Floats:
        """Return the middle price of each cell, in ticks."""
        return self.touch_ticks - self.sign * self.middle

    def whole_ticks(self) -> list[tuple[int, int] | None]:
        """Return each cell's lowest and highest whole tick, None for one between two ticks."""
        found: list[tuple[int, int] | None] = []
        for low, high in zip(self.low.tolist(), self.high.tolist(), strict=True):
            near, far = math.floor(low) + 1, math.floor(high)
            ticks = self.touch_ticks - self.sign * near, self.touch_ticks - self.sign * far
            found.append((min(ticks), max(ticks)) if near <= far else None)
        return found

    def distance(self, price_ticks: float) -> float:
        """Return how much better than the touch a price is for the aggressor, in ticks."""
        return self.sign * (self.touch_ticks - price_ticks)

    def place(self, price_ticks: float) -> int:
        """Return the cell of a price; one beyond the spread counts as the end's."""
        distance = min(max(self.distance(price_ticks), 0.0), float(self.high[0]))
        return int(np.flatnonzero(distance > self.low)[0])


def cells_of(
    depth: Depth, own: SideMemory, other: SideMemory, now_ns: int, size_ratio: float
) -> Cells:
    """Return the cells that an aggressor of `own` meets in the spread at `now_ns`.

    `size_ratio` is the aggressor's size by the usual one, `other` what the other side's aggressors
    met. O(cells): some 40 at most, and two for each price remembered.
    """
    sign = own.aggressor.sign
    opposite, behind = depth.met_by(own.aggressor), depth.behind(own.aggressor)
    touch, spread = opposite[0][0], depth.spread_ticks
    known = [(sign * (touch - price), *what) for price, what in own.prices.items()]
    known = [one for one in known if 0 <= one[0] < spread]
    edges = _edges(spread, [one[0] for one in known])
    low, high = edges[:-1][::-1].copy(), edges[1:][::-1].copy()
    features = np.zeros((len(low), CELL_FEATURES))
    distance = (np.minimum(np.floor(low) + 1, high) + high) / 2
    features[:, 0] = 1
    features[:, AT_TOUCH] = high == 0
    features[:, LOG_DISTANCE] = np.log1p(distance)
    features[:, 3] = high == 1
    features[:, 4] = np.log(spread)
    features[:, 5] = np.log(np.maximum(high - low, 1))
    features[:, 6] = (low < spread / 2) & (spread / 2 <= high)
    features[:, IMBALANCE] = (behind[0][1] - opposite[0][1]) / (behind[0][1] + opposite[0][1])
    features[:, 8] = min(max(np.log(size_ratio), -_SIZE_LOG_MAX), _SIZE_LOG_MAX)
    at = FIRST_OF_MEMORY
    for from_touch, seen_ns, count in known:
        place = int(np.flatnonzero(from_touch > low)[0])
        decays = np.exp((seen_ns - now_ns) / _PRICE_DECAYS_NS)
        part = features[place, at : at + len(decays)]
        np.maximum(part, decays, out=part)
        features[place, at + len(decays)] = np.log1p(count) * decays[-1]
    at += len(_PRICE_DECAYS_NS) + 1
    if own.last_ns is not None:
        _of_last_sweep(features[:, at:], own, low, high, sign * (touch - own.last_ticks), now_ns)
    at += 4 * len(_SWEEP_DECAYS_NS)
    if other.last_ns is not None:
        # Hidden orders of the two sides do not stand through each other.
        beyond = high >= sign * (touch - other.last_ticks)
        features[:, at:] = np.outer(beyond, np.exp((other.last_ns - now_ns) / _OTHER_DECAYS_NS))
    return Cells(low, high, distance, features, touch, sign)


def _of_last_sweep(
    features: Floats,
    own: SideMemory,
    low: Floats,
    high: Floats,
    reached: float,
    now_ns: int,
) -> None:
    """Say what the last sweep showed of each cell: swept clean, where it ended, or nothing."""
    assert own.last_ns is not None  # noqa: S101 - the caller asks only then
    decays = np.exp((own.last_ns - now_ns) / _SWEEP_DECAYS_NS)
    ended = (low < reached) & (reached <= high)
    states = (low >= reached, ended & own.last_hidden, ended & (not own.last_hidden))
    width = len(decays)
    for place, state in enumerate(states):
        features[:, place * width : (place + 1) * width] = np.outer(state, decays)
    features[:, 3 * width : 4 * width] = np.outer(high < reached, decays)


def _edges(spread: int, remembered: list[float]) -> Floats:
    """Return the cells' bounds: -1, 0, single ticks, wider ranges, and the last price inside."""
    last = max(spread - 1, spread / 2)
    bounds = {-1.0, 0.0, last, *map(float, range(1, min(spread - 1, _SINGLE_TICKS) + 1))}
    if spread % 2:
        bounds |= {spread / 2, (spread - 1) / 2, min((spread + 1) / 2, last)}
    edge = float(_SINGLE_TICKS)
    while edge < last:
        bounds.add(float(int(edge)))
        edge = edge * _GROWTH + 1
    for distance in remembered:
        tick = math.ceil(distance)
        bounds |= {tick - 1.0, min(float(tick), last)} if tick else set()
    return np.array(sorted(bounds))

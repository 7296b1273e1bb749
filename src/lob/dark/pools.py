"""Pools to simulate: an order goes to them at the mid, and what they leave goes on to the lit book.

A venue's hidden volume is drawn anew for each order: it has s lots or more with probability
base_fill_probability x exp(-size_penalty (s - 1) / max_lots), so that one law gives the chance of
a fill, its size, and the tail by which orders are split.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import numpy as np

from lob.bounds import Floats, not_negative, number, positive, share, whole
from lob.dark.allocation import greedy_allocation
from lob.errors import InvalidInput
from lob.types import INT64_MAX, Side

DEFAULT_MAX_HISTORY_SIZE: Final = 1_000
MAX_VENUES: Final = 1_000
_BPS: Final = 1e-4
_UNITS_MAX: Final = 10_000  # SMART splits in parts, so that a large order costs no more


class Draws(Protocol):
    """A seeded stream; numpy's and Python's own generators are such."""

    def random(self) -> float:
        """Return a number of 0 or more and below 1."""
        ...


class VenueKind(StrEnum):
    """What runs a venue."""

    MIDPOINT_CROSS = "MIDPOINT_CROSS"
    BROKER_POOL = "BROKER_POOL"
    BLOCK_POOL = "BLOCK_POOL"
    MARKET_MAKER = "MARKET_MAKER"


class Routing(StrEnum):
    """In what way an order goes to several venues.

    SEQUENTIAL sends what is left to one after another, in the order given; latencies add up, and
    each sees the mid that leaks so far have moved. PARALLEL splits evenly, SMART by the greedy
    split of the venues' tails; both send at once, so that the slowest venue sets the time.
    """

    SEQUENTIAL = "SEQUENTIAL"
    PARALLEL = "PARALLEL"
    SMART = "SMART"


@dataclass(frozen=True, slots=True, kw_only=True)
class DarkVenue:
    """One pool. It takes orders of `min_lots` or more and fills no less than `min_lots` of them.

    `leakage_bps` is by how much the mid moves against an order of `max_lots` that was sent here,
    filled or not; smaller orders leak in proportion.
    """

    name: str
    kind: VenueKind = VenueKind.MIDPOINT_CROSS
    min_lots: int = 1
    max_lots: int = 10_000
    base_fill_probability: float = 0.3
    size_penalty: float = 1.0
    latency_us: float = 500.0
    leakage_bps: float = 0.0

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidInput("name: ''; allowed: a name")
        if self.kind not in tuple(VenueKind):
            raise InvalidInput(f"kind: {self.kind!r}; allowed: {', '.join(VenueKind)}")
        whole("min_lots", self.min_lots, 1)
        whole("max_lots", self.max_lots, self.min_lots, INT64_MAX)
        share("base_fill_probability", self.base_fill_probability)
        for name in ("size_penalty", "latency_us", "leakage_bps"):
            not_negative(name, getattr(self, name))

    def fill_probability(self, lots: int) -> float:
        """Return P(the whole of an order of `lots` fills): T(lots), 0 outside the venue's sizes.

        >>> DarkVenue(name="A", base_fill_probability=0.5, size_penalty=0.0).fill_probability(7)
        0.5
        """
        whole("lots", lots, 1)
        if not self.min_lots <= lots <= self.max_lots:
            return 0.0
        fading = math.exp(-self.size_penalty * (lots - 1) / self.max_lots)
        return self.base_fill_probability * fading

    def tail(self, up_to: int, unit: int = 1) -> Floats:
        """Return P(a unit more fills) for 1, 2, ... `up_to` units of `unit` lots each.

        Volumes below `min_lots` do not fill: until then each unit is as likely as min_lots.
        """
        sizes = np.arange(1, up_to + 1, dtype=np.float64) * unit
        needed = np.maximum(sizes, self.min_lots)
        chances = self.base_fill_probability * np.exp(
            -self.size_penalty * (needed - 1) / self.max_lots
        )
        return np.asarray(np.where(sizes <= self.max_lots, chances, 0.0))

    def draw_available(self, rng: Draws) -> int:
        """Return the lots that are there for one order; one draw, whatever comes of it."""
        drawn = rng.random()
        if drawn >= self.base_fill_probability:
            return 0
        if not self.size_penalty or not drawn:
            return self.max_lots
        reach = math.log(self.base_fill_probability / drawn) * self.max_lots / self.size_penalty
        available = min(self.max_lots, max(1, math.ceil(min(reach, self.max_lots))))
        return available if available >= self.min_lots else 0


class DarkFill(NamedTuple):
    """What came of one order at one venue; `price_ticks` is the mid then, also when 0 filled."""

    venue: str
    sent_lots: int
    filled_lots: int
    price_ticks: float
    latency_us: float


class DarkResult(NamedTuple):
    """What came of one routed order.

    `left_lots` are for the lit book. `leakage_bps` is the move of the mid against the order,
    `latency_us` when the last venue had answered.
    """

    fills: tuple[DarkFill, ...]
    filled_lots: int
    left_lots: int
    leakage_bps: float
    latency_us: float

    @property
    def average_price_ticks(self) -> float | None:
        """Return the average price of the filled lots, None where nothing filled."""
        if not self.filled_lots:
            return None
        cost = math.fsum(fill.filled_lots * fill.price_ticks for fill in self.fills)
        return cost / self.filled_lots


class DarkPoolRouter:
    """Send orders to venues with seeded draws, each venue with a random stream of its own.

    No more than `max_dark_fill_pct` per cent of an order is sent in the dark; the last
    `max_history_size` fills are kept.

    >>> sure = DarkVenue(name="A", base_fill_probability=1.0, size_penalty=0.0, max_lots=60)
    >>> router = DarkPoolRouter([sure], seed=1, max_dark_fill_pct=50.0)
    >>> result = router.route(Side.BUY, 100, bid_ticks=99, ask_ticks=102, limit_ticks=101)
    >>> result.filled_lots, result.left_lots, result.average_price_ticks
    (50, 50, 100.5)
    """

    def __init__(
        self,
        venues: Sequence[DarkVenue],
        seed: int,
        *,
        routing: Routing = Routing.SMART,
        max_dark_fill_pct: float = 100.0,
        max_history_size: int = DEFAULT_MAX_HISTORY_SIZE,
    ) -> None:
        whole("venues", len(venues), 1, MAX_VENUES)
        names = [venue.name for venue in venues]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidInput(f"venues: {twice!r} twice; allowed: names that differ")
        if routing not in tuple(Routing):
            raise InvalidInput(f"routing: {routing!r}; allowed: {', '.join(Routing)}")
        self.venues = tuple(venues)
        self.routing = Routing(routing)
        self.max_dark_fill_pct = number("max_dark_fill_pct", max_dark_fill_pct, low=0, high=100)
        self.history: deque[DarkFill] = deque(maxlen=whole("max_history_size", max_history_size, 1))
        whole("seed", seed, 0)
        self._streams: list[Draws] = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(place,))))
            for place in range(len(self.venues))
        ]

    def route(
        self,
        side: Side,
        quantity_lots: int,
        bid_ticks: int,
        ask_ticks: int,
        limit_ticks: int | None = None,
        *,
        streams: Sequence[Draws] | None = None,
    ) -> DarkResult:
        """Send an order to the venues at the mid, and return what filled and what is left.

        Where the mid is through the limit (above it for BUY) nothing is sent. A book that is locked
        has a mid; a crossed one is refused. `streams`, one for each venue, are drawn from instead
        of the router's own.
        """
        if type(side) is not Side:
            side = Side(side)
        whole("quantity_lots", quantity_lots, 1, INT64_MAX)
        whole("bid_ticks", bid_ticks, 1, INT64_MAX)
        whole("ask_ticks", ask_ticks, bid_ticks, INT64_MAX)
        if limit_ticks is not None:
            whole("limit_ticks", limit_ticks, 1, INT64_MAX)
        # by hundredths of a per cent, in integers: 10**18 lots are not rounded
        in_the_dark = quantity_lots * round(self.max_dark_fill_pct * 100) // 10_000
        mid = (bid_ticks + ask_ticks) / 2
        one_by_one = self.routing is Routing.SEQUENTIAL
        drawn_from = self._streams if streams is None else streams
        if one_by_one:
            shares = [in_the_dark] * len(self.venues)
        elif self.routing is Routing.PARALLEL:
            shares = self._evenly(in_the_dark)
        else:
            shares = self._smartly(in_the_dark)
        fills: list[DarkFill] = []
        left, leaked, latency_us = in_the_dark, 0.0, 0.0
        for place, venue in enumerate(self.venues):
            sent = min(shares[place], left if one_by_one else shares[place], venue.max_lots)
            price = mid * (1 + side.sign * leaked * _BPS) if one_by_one else mid
            if sent < venue.min_lots or _through(side, price, limit_ticks):
                continue
            filled = min(sent, venue.draw_available(drawn_from[place]))
            filled = filled if filled >= venue.min_lots else 0
            left -= filled
            leaked += venue.leakage_bps * sent / venue.max_lots
            slowest = max(latency_us, venue.latency_us)
            latency_us = latency_us + venue.latency_us if one_by_one else slowest
            fills.append(DarkFill(venue.name, sent, filled, price, venue.latency_us))
        self.history.extend(fills)
        traded = in_the_dark - left
        return DarkResult(tuple(fills), traded, quantity_lots - traded, leaked, latency_us)

    def fill_rates(self) -> dict[str, float]:
        """Return, of each venue in the history, the lots filled over the lots sent."""
        sent: dict[str, int] = {}
        filled: dict[str, int] = {}
        for fill in self.history:
            sent[fill.venue] = sent.get(fill.venue, 0) + fill.sent_lots
            filled[fill.venue] = filled.get(fill.venue, 0) + fill.filled_lots
        return {name: filled[name] / positive("sent_lots", lots) for name, lots in sent.items()}

    def _evenly(self, lots: int) -> list[int]:
        """Return equal parts for the venues that take such, the odd lots to the first of them."""
        able = list(range(len(self.venues)))
        while able:
            part, odd = divmod(lots, len(able))
            unfit = [place for place in able if part < self.venues[place].min_lots]
            if not unfit:
                return self._spread({place: part + (n < odd) for n, place in enumerate(able)})
            able.remove(max(unfit, key=lambda place: self.venues[place].min_lots))
        return [0] * len(self.venues)

    def _smartly(self, lots: int) -> list[int]:
        """Return the greedy split, without venues whose part would be below their minimum."""
        if not lots:
            return [0] * len(self.venues)
        unit = -(-lots // _UNITS_MAX)
        units = lots // unit
        able = list(range(len(self.venues)))
        while able:
            tails = [self.venues[place].tail(units, unit) for place in able]
            given = greedy_allocation(tails, units).allocation
            # units that cannot fill anywhere are not sent
            parts = {
                place: min(count, int(np.count_nonzero(tail))) * unit
                for place, count, tail in zip(able, given, tails, strict=True)
            }
            unfit = [p for p in able if 0 < parts[p] < self.venues[p].min_lots]
            if not unfit:
                return self._spread(parts)
            able.remove(max(unfit, key=lambda place: self.venues[place].min_lots))
        return [0] * len(self.venues)

    def _spread(self, parts: dict[int, int]) -> list[int]:
        return [parts.get(place, 0) for place in range(len(self.venues))]


def _through(side: Side, price_ticks: float, limit_ticks: int | None) -> bool:
    """Say whether trading at the price would break the order's limit."""
    return limit_ticks is not None and side.sign * (price_ticks - limit_ticks) > 0

"""Synthetic order flow: unlimited, seeded, and the same bytes for the same seed.

Zero-intelligence flow in the manner of Smith, Farmer, Gillemot and Krishnamurthy (2003) and Cont,
Stoikov and Talreja (2010): limit orders, market orders and cancels arrive as Poisson processes;
each resting order is as likely to be cancelled as any other, so that the book's size returns to
where arrivals and departures balance. `lob.queue_reactive` has the flow whose rates depend on the
queues; `record` writes either down in bulk.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Final, Protocol

import numpy as np

from lob import OrderBook
from lob.errors import InvalidInput, Overloaded
from lob.recording import Recording, record
from lob.types import (
    INT64_MAX,
    Cancel,
    Command,
    Instrument,
    Level,
    OrderType,
    Side,
    Submit,
)

__all__ = ["BookView", "FlowProfile", "Recording", "SeededFlow", "ZeroIntelligence", "record"]

_NANOSECONDS: Final = 1_000_000_000
_BLOCK: Final = 4_096
_MIN_LEVELS: Final = 3
"""A side with fewer levels is given a limit order instead of being traded away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowProfile:
    """Rates and sizes of the flow.

    The default rates, and the share of one round size, are those of AAPL on NASDAQ, 21 June 2012,
    09:30-10:30 (LOBSTER): 12.24 limit orders, 11.54 cancels and 1.27 aggressive orders a second,
    sizes of 113 shares on average, half of them round lots of 100.

    `cancels_per_second` holds when `resting_orders` rest; the rate is proportional to how many do.
    `distance_ticks` is the mean distance of a limit order from the opposite touch.
    """

    limits_per_second: float = 12.24
    cancels_per_second: float = 11.54
    markets_per_second: float = 1.265
    resting_orders: int = 200
    distance_ticks: float = 10.0
    order_lots: float = 113.0
    round_lots: int = 100
    round_share: float = 0.53

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{field.name}: {value}; allowed: a finite number above 0")
        if self.round_share > 1:
            raise InvalidInput(f"round_share: {self.round_share}; allowed: above 0, at most 1")
        for name in ("distance_ticks", "order_lots"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name}: {getattr(self, name)}; allowed: 1 or more")


class BookView(Protocol):
    """What the flow looks at before it decides; `OrderBook` is one."""

    def best_bid(self) -> Level | None:
        """Return the best bid level."""
        ...

    def best_ask(self) -> Level | None:
        """Return the best ask level."""
        ...

    def depth(self, levels: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return the first levels of both sides."""
        ...

    def __contains__(self, order_id: object) -> bool:
        """Say whether an order rests."""
        ...


class SeededFlow(ABC):
    """Draw commands from one seed; what is common to every flow.

    All its orders carry `participant_id` and ids from `order_ids`, which are used in turn and again
    once they are free. The caller applies each command before asking for the next.
    """

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        mid_ticks: int,
        *,
        participant_id: int = 1,
        order_ids: range = range(1, 1_000_000_000),
        start_ns: int = 0,
    ) -> None:
        self.instrument = instrument
        self.seed = seed
        self.participant_id = participant_id
        self.now_ns = start_ns
        if not 1 < mid_ticks < INT64_MAX // 2:
            raise InvalidInput(f"mid_ticks: {mid_ticks}; allowed: 2..{INT64_MAX // 2}")
        if not order_ids or order_ids[0] < 1 or order_ids[-1] > INT64_MAX:
            raise InvalidInput(f"order_ids: {order_ids}; allowed: a range within 1..{INT64_MAX}")
        self._mid_ticks = mid_ticks
        self._order_ids = order_ids
        self._issued = 0
        self._rng = np.random.default_rng(seed)
        self._uniforms: list[float] = []

    @abstractmethod
    def seed_book(self) -> list[Submit]:
        """Return the orders of the initial book."""

    @abstractmethod
    def step(self, book: BookView) -> tuple[int, Command]:
        """Return the next command and its time in nanoseconds."""

    def seeded_book(self) -> OrderBook:
        """Return a book of the instrument with the initial orders in it."""
        book = OrderBook(self.instrument)
        for order in self.seed_book():
            book.apply(order)
        return book

    def _next_id(self, taken: "BookView | tuple[()]", live: int) -> int:
        """Return a free id; at most `live` of ours are taken, so that one more try finds it."""
        for _ in range(live + 1):
            order_id = self._order_ids[self._issued % len(self._order_ids)]
            self._issued += 1
            if order_id not in taken:
                return order_id
        raise Overloaded(f"order_ids: all of {self._order_ids} are live; allowed: a larger range")

    def _geometric(self, mean: float) -> int:
        """Return a whole number from 1 with this mean, by inversion of one uniform."""
        if mean <= 1:
            return 1
        return 1 + int(math.log1p(-self._uniform()) / math.log1p(-1 / mean))

    def _uniform(self) -> float:
        # Blocks: one number at a time from numpy costs as much as a whole command.
        if not self._uniforms:
            self._uniforms = self._rng.random(_BLOCK).tolist()
        return self._uniforms.pop()


class ZeroIntelligence(SeededFlow):
    """Generate commands one at a time, each decided on the book as it then stands.

    >>> from decimal import Decimal
    >>> from lob.types import AssetClass
    >>> share = Instrument(symbol="A", asset_class=AssetClass.EQUITY,
    ...                    tick_size=Decimal("0.01"), lot_size=Decimal(1))
    >>> flow = ZeroIntelligence(share, seed=7, mid_ticks=10_000)
    >>> book = flow.seeded_book()
    >>> timestamp_ns, command = flow.step(book)
    """

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        mid_ticks: int,
        *,
        profile: FlowProfile | None = None,
        participant_id: int = 1,
        order_ids: range = range(1, 1_000_000_000),
        start_ns: int = 0,
    ) -> None:
        super().__init__(
            instrument,
            seed,
            mid_ticks,
            participant_id=participant_id,
            order_ids=order_ids,
            start_ns=start_ns,
        )
        self.profile = FlowProfile() if profile is None else profile
        self._live: list[int] = []

    def seed_book(self) -> list[Submit]:
        """Return the orders of the initial book: `resting_orders`, half a side, around the mid."""
        orders = []
        for index in range(self.profile.resting_orders):
            side = Side.BUY if index % 2 == 0 else Side.SELL
            ticks = self._mid_ticks - side.sign * (1 + self._distance_ticks() // 2)
            orders.append(self._limit(side, ticks, taken=()))
        return orders

    def step(self, book: BookView) -> tuple[int, Command]:
        """Return the next command and its time in nanoseconds. O(levels looked at)."""
        profile = self.profile
        per_order = profile.cancels_per_second / profile.resting_orders
        cancels = per_order * len(self._live)
        total = profile.limits_per_second + profile.markets_per_second + cancels
        wait_seconds = -math.log1p(-self._uniform()) / total
        self.now_ns += max(1, round(wait_seconds * _NANOSECONDS))
        pick = self._uniform() * total
        if pick < cancels:
            order_id = self._pick_live(book)
            if order_id is not None:
                return self.now_ns, Cancel(order_id)
        side = Side.BUY if self._uniform() < 0.5 else Side.SELL  # noqa: PLR2004 - a fair coin
        bids, asks = book.depth(_MIN_LEVELS)
        own, opposite = (bids, asks) if side is Side.BUY else (asks, bids)
        if len(own) < _MIN_LEVELS:
            return self.now_ns, self._limit(side, self._passive_ticks(side, bids, asks), book)
        if pick >= cancels + profile.limits_per_second and len(opposite) == _MIN_LEVELS:
            # A market order never takes more than the first levels: it cannot empty a side.
            lots = min(self._order_lots(), sum(level.quantity_lots for level in opposite[:-1]))
            return self.now_ns, self._submit(side, lots, None, book)
        return self.now_ns, self._limit(side, self._passive_ticks(side, bids, asks), book)

    def _passive_ticks(self, side: Side, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> int:
        """Return a price on the passive side of the opposite touch (or of the last known mid)."""
        if bids and asks:
            self._mid_ticks = (bids[0].price_ticks + asks[0].price_ticks) // 2
        opposite = asks if side is Side.BUY else bids
        touch = opposite[0].price_ticks if opposite else self._mid_ticks
        return touch - side.sign * self._distance_ticks()

    def _limit(self, side: Side, price_ticks: int, taken: "BookView | tuple[()]") -> Submit:
        return self._submit(side, self._order_lots(), min(max(price_ticks, 1), INT64_MAX), taken)

    def _submit(
        self, side: Side, lots: int, price_ticks: int | None, taken: "BookView | tuple[()]"
    ) -> Submit:
        order_id = self._next_id(taken, len(self._live))
        if price_ticks is not None:
            self._live.append(order_id)
        return Submit(
            order_id,
            side,
            lots,
            price_ticks,
            order_type=OrderType.MARKET if price_ticks is None else OrderType.LIMIT,
            participant_id=self.participant_id,
        )

    def _pick_live(self, book: BookView) -> int | None:
        """Return a resting order of ours, each as likely; forget those that have traded."""
        live = self._live
        while live:
            index = int(self._uniform() * len(live))
            order_id = live[index]
            live[index] = live[-1]
            live.pop()
            if order_id in book:
                return order_id
        return None

    def _distance_ticks(self) -> int:
        return self._geometric(self.profile.distance_ticks)

    def _order_lots(self) -> int:
        profile = self.profile
        if self._uniform() < profile.round_share:
            return profile.round_lots
        return self._geometric(profile.order_lots)

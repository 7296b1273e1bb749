"""Order flow whose rates depend on the queues it meets.

Huang, Lehalle and Rosenbaum, "Simulating and Analyzing Order Book Data: The Queue-Reactive Model"
(Journal of the American Statistical Association 110, 2015), Model I with their reference price: the
queues at the K levels on each side of it take limit orders, cancels and market orders as Poisson
processes whose rates depend on the level and on the size of its own queue, in units of the average
order. When the mid moves because a best queue ran dry, the reference price follows with probability
theta; else the queue fills again.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from lob.errors import InvalidInput
from lob.flow import BookView, SeededFlow
from lob.types import Cancel, Command, Instrument, Level, OrderType, Side, Submit

_NANOSECONDS: Final = 1_000_000_000
_MARKET, _LIMIT, _CANCEL, _OUTSIDE = range(4)

Rates = tuple[tuple[float, ...], ...]


def _default_limit_rates() -> Rates:
    return tuple(
        tuple(
            (0.6 if level == 0 else 1.0) / (level / 2 + 1)
            if size == 0
            else (0.55 + 1.1 * math.exp(-size / 8)) / (level / 2 + 1)
            for size in range(31)
        )
        for level in range(5)
    )


def _default_cancel_rates() -> Rates:
    return tuple(
        tuple(1.1 * (1 - math.exp(-size / 12)) / (level / 2 + 1) for size in range(31))
        for level in range(5)
    )


def _default_market_rates() -> tuple[float, ...]:
    return tuple(0.0 if size == 0 else 0.08 + 0.55 * math.exp(-size / 5) for size in range(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReactiveProfile:
    """Rates a second, by level from the reference price and by queue size in average orders.

    `limit_rates[level][size]` and `cancel_rates[level][size]` are of one side's level; a queue
    longer than the table has its last rate. `market_rates[size]` is of orders that take from a best
    queue of that size. The defaults have the shapes that the paper reports for large-tick stocks
    (its section 2.4): arrivals that fall with the queue, cancels that rise and level off, market
    orders that fall fast; the figures are rounded, and scaled by `speed`.

    `theta` is the probability that the reference price follows the mid; `average_order_lots` the
    mean (and unit) of sizes; an order left outside the K levels is cancelled at
    `outside_cancel_rate`.
    """

    limit_rates: Rates = field(default_factory=_default_limit_rates)
    cancel_rates: Rates = field(default_factory=_default_cancel_rates)
    market_rates: tuple[float, ...] = field(default_factory=_default_market_rates)
    theta: float = 0.7
    average_order_lots: int = 100
    outside_cancel_rate: float = 0.05
    speed: float = 1.0

    def __post_init__(self) -> None:
        self._require_tables()
        if not 0 <= self.theta <= 1:
            raise InvalidInput(f"theta: {self.theta}; allowed: 0..1")
        if self.average_order_lots < 1:
            raise InvalidInput(f"average_order_lots: {self.average_order_lots}; allowed: 1 or more")
        for name in ("speed", "outside_cancel_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name}: {value}; allowed: a finite number above 0")

    def _require_tables(self) -> None:
        levels = len(self.limit_rates)
        if not levels or levels != len(self.cancel_rates):
            raise InvalidInput(
                f"cancel_rates: {len(self.cancel_rates)} levels; allowed: as many as limit_rates "
                f"({levels}), 1 or more"
            )
        rows = (*self.limit_rates, *self.cancel_rates, self.market_rates)
        names = ("limit_rates",) * levels + ("cancel_rates",) * levels + ("market_rates",)
        for name, row in zip(names, rows, strict=True):
            if not row or not all(math.isfinite(rate) and rate >= 0 for rate in row):
                raise InvalidInput(f"{name}: {row}; allowed: finite numbers of 0 or more")
            arrives = name == "limit_rates"
            if (row[0] > 0) != arrives:
                allowed = "above 0" if arrives else "0"
                raise InvalidInput(f"{name}: {row[0]} for an empty queue; allowed: {allowed}")


class QueueReactive(SeededFlow):
    """Generate the model's commands one at a time, each decided on the book as it then stands.

    `mid_ticks` is the first reference price: bids stand at it and below, asks above.

    >>> from decimal import Decimal
    >>> from lob.types import AssetClass
    >>> share = Instrument(symbol="A", asset_class=AssetClass.EQUITY,
    ...                    tick_size=Decimal("0.01"), lot_size=Decimal(1))
    >>> flow = QueueReactive(share, seed=7, mid_ticks=10_000)
    >>> book = flow.seeded_book()
    >>> timestamp_ns, command = flow.step(book)
    """

    def __init__(
        self,
        instrument: Instrument,
        seed: int,
        mid_ticks: int,
        *,
        profile: QueueReactiveProfile | None = None,
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
        self.profile = QueueReactiveProfile() if profile is None else profile
        self._levels = len(self.profile.limit_rates)
        if mid_ticks <= self._levels:
            raise InvalidInput(f"mid_ticks: {mid_ticks}; allowed: above {self._levels} levels")
        # Our orders by place. One that has traded stays until it is picked, and is then dropped:
        # what it would have done does not happen, which leaves the others' rates as they are.
        self._ids_at: dict[tuple[Side, int], list[int]] = {}
        self._count = 0
        self._twice_mid: int | None = None

    def seed_book(self) -> list[Submit]:
        """Return the orders of the initial book: a few average orders at each of the levels."""
        orders = []
        for level in range(self._levels):
            for side in Side:
                ticks = self._ticks(side, level)
                orders += [self._order(side, ticks, ()) for _ in range(3 + level)]
        return orders

    def step(self, book: BookView) -> tuple[int, Command]:
        """Return the next command and its time in nanoseconds. O(levels looked at)."""
        self._follow(book)
        while True:
            queues = self._queues(book)
            rates, choices = self._rates(queues)
            total = sum(rates)
            wait = -math.log1p(-self._uniform()) / (total * self.profile.speed)
            self.now_ns += max(1, round(wait * _NANOSECONDS))
            pick = self._uniform() * total
            at = 0
            while at < len(rates) - 1 and pick >= rates[at]:
                pick -= rates[at]
                at += 1
            command = self._command(choices[at], queues, book)
            if command is not None:
                return self.now_ns, command

    # ---------------------------------------------------------------- the state

    def _ticks(self, side: Side, level: int) -> int:
        """Return the price of a level, from 0, on one side of the reference price."""
        return self._mid_ticks - level if side is Side.BUY else self._mid_ticks + 1 + level

    def _follow(self, book: BookView) -> None:
        """Move the reference price, perhaps, where the mid has moved over an empty best queue."""
        bids, asks = book.depth(1)
        if not bids or not asks:
            return
        before, self._twice_mid = self._twice_mid, bids[0].price_ticks + asks[0].price_ticks
        if before is None or before == self._twice_mid:
            return
        follows = self._uniform() < self.profile.theta
        if not follows:
            return
        if self._twice_mid > before and asks[0].price_ticks > self._mid_ticks + 1:
            self._mid_ticks += 1
        elif (
            self._twice_mid < before
            and bids[0].price_ticks < self._mid_ticks
            and self._mid_ticks > self._levels + 1
        ):
            self._mid_ticks -= 1

    def _queues(self, book: BookView) -> dict[tuple[Side, int], int]:
        """Return the lots of each level of each side, from 0, where there are any."""
        bids, asks = book.depth(2 * self._levels)
        queues: dict[tuple[Side, int], int] = {}
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks)):
            for at in levels:
                level = self._level_of(side, at)
                if 0 <= level < self._levels:
                    queues[side, level] = at.quantity_lots
        return queues

    def _level_of(self, side: Side, at: Level) -> int:
        if side is Side.BUY:
            return self._mid_ticks - at.price_ticks
        return at.price_ticks - self._mid_ticks - 1

    def _rates(
        self, queues: dict[tuple[Side, int], int]
    ) -> tuple[list[float], list[tuple[int, Side, int]]]:
        """Return the rates of everything that may come next, and what each is."""
        profile = self.profile
        unit = profile.average_order_lots
        rates: list[float] = []
        choices: list[tuple[int, Side, int]] = []
        for side in Side:
            best = True
            for level in range(self._levels):
                size = -(-queues.get((side, level), 0) // unit)
                rates.append(_at(profile.limit_rates[level], size))
                choices.append((_LIMIT, side, level))
                if not size:
                    continue
                rates.append(_at(profile.cancel_rates[level], size))
                choices.append((_CANCEL, side, level))
                if best:
                    rates.append(_at(profile.market_rates, size))
                    choices.append((_MARKET, side, level))
                    best = False
        outside = self._count - sum(
            len(ids) for ids in map(self._ids_at.get, self._window()) if ids
        )
        if outside > 0:
            rates.append(profile.outside_cancel_rate * outside)
            choices.append((_OUTSIDE, Side.BUY, 0))
        return rates, choices

    def _window(self) -> list[tuple[Side, int]]:
        return [(side, self._ticks(side, level)) for side in Side for level in range(self._levels)]

    # ---------------------------------------------------------------- commands

    def _command(
        self, choice: tuple[int, Side, int], queues: dict[tuple[Side, int], int], book: BookView
    ) -> Command | None:
        """Return the command of a choice, or None where none of our orders is there for it."""
        kind, side, level = choice
        if kind == _LIMIT:
            return self._order(side, self._ticks(side, level), book)
        if kind == _MARKET:
            # It takes from the best queue only: the model's prices move by queues that run dry.
            lots = min(self._order_lots(), queues[side, level])
            return self._market(side.opposite, lots, book)
        if kind == _CANCEL:
            order_id = self._pick((side, self._ticks(side, level)), book)
        else:
            order_id = self._pick_outside(book)
        return None if order_id is None else Cancel(order_id)

    def _pick(self, place: tuple[Side, int], book: BookView) -> int | None:
        """Take one of our orders at a place that rests, each as likely; drop those that do not."""
        ids = self._ids_at.get(place, [])
        found = None
        while ids and found is None:
            index = int(self._uniform() * len(ids))
            ids[index], ids[-1] = ids[-1], ids[index]
            order_id = ids.pop()
            self._count -= 1
            found = order_id if order_id in book else None
        if not ids:
            self._ids_at.pop(place, None)
        return found

    def _pick_outside(self, book: BookView) -> int | None:
        inside = set(self._window())
        outside = [place for place in self._ids_at if place not in inside]
        total = sum(len(self._ids_at[place]) for place in outside)
        pick = self._uniform() * total
        for place in outside:
            pick -= len(self._ids_at[place])
            if pick < 0:
                return self._pick(place, book)
        return None

    def _order(self, side: Side, price_ticks: int, taken: "BookView | tuple[()]") -> Submit:
        order_id = self._next_id(taken, self._count)
        self._ids_at.setdefault((side, price_ticks), []).append(order_id)
        self._count += 1
        return Submit(
            order_id, side, self._order_lots(), price_ticks, participant_id=self.participant_id
        )

    def _market(self, side: Side, lots: int, book: BookView) -> Submit:
        return Submit(
            self._next_id(book, self._count),
            side,
            lots,
            order_type=OrderType.MARKET,
            participant_id=self.participant_id,
        )

    def _order_lots(self) -> int:
        return self._geometric(float(self.profile.average_order_lots))


def _at(rates: tuple[float, ...], size: int) -> float:
    return rates[min(size, len(rates) - 1)]

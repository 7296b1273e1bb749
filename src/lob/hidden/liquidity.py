"""How much hidden liquidity an aggressive order will meet, learnt sweep by sweep.

Each sweep tries the prices between its own side's touch and the last price that it paid: at each it
either found a hidden order or showed that there was none, and of prices further off it says
nothing. That is a discrete-time hazard (D. R. Cox, JRSS B 34, 1972, section 6): the chance of a
hidden order at a price that is reached is logistic in what is known of the price. It is learnt by
an online Newton step, one a sweep: the posterior's curvature adds up, and no sweep is seen twice.
Sizes have a curve of their own (`HiddenSizes`): a sweep that ended inside an order censors it.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NamedTuple

import numpy as np

from lob.bounds import Floats, number, positive, row, whole
from lob.errors import InvalidInput
from lob.hidden.cells import (
    AT_TOUCH,
    CELL_FEATURES,
    FIRST_OF_MEMORY,
    LOG_DISTANCE,
    Cells,
    SideMemory,
    cells_of,
)
from lob.hidden.sizes import HiddenSizes
from lob.hidden.sweeps import Depth, Sweep, walk_ticks
from lob.hidden.usual import UsualHidden
from lob.types import Side

_PRIOR_SLOPE: Final = -1.5
_PRIOR_TOTAL: Final = 1.612
"""The sum of (1 + d)^-1.5 over d = 1, 2, ...: zeta(1.5) - 1."""
_UNKNOWN_CHANCE: Final = 0.02
_SIZE_WEIGHT: Final = 0.01
_LOGIT_MAX: Final = 30.0
_REST_FORGETS: Final = 0.001
"""How fast it is forgotten, sweep by sweep, how often chances without memory came true."""
_ANY_LOTS: Final = 1e18


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenPrior:
    """What a model holds before it has seen a sweep.

    `probability` is the chance that an order meets a hidden one inside a wide spread; likelier near
    the touch, by (1 + ticks)^-1.5. At 0 the model expects nothing hidden until it has seen some:
    a market that has none is then never charged for it. `lots` is the mean size of a hidden order.
    `precision` is the weight of the prior: that of about as many informative sweeps.
    """

    probability: float = 0.0
    lots: float = 100.0
    precision: float = 1.0

    def __post_init__(self) -> None:
        number("probability", self.probability, low=0, below=1)
        positive("lots", self.lots)
        positive("precision", self.precision)


class HiddenLevel(NamedTuple):
    """What is expected between two prices, both included: a chance of an order, and its lots."""

    low_ticks: int
    high_ticks: int
    probability: float
    expected_lots: float


class HiddenOrder(NamedTuple):
    """One hidden order to rest in a simulated book."""

    side: Side
    price_ticks: int
    quantity_lots: int


class HiddenForecast(NamedTuple):
    """What an aggressive order should cost, hidden orders taken into account.

    `cost_ticks` is the expected mean price of a lot, `walk_ticks` that of the displayed depth
    alone, `hidden_lots` what is expected to trade hidden, `probability` the chance of any.
    """

    cost_ticks: float
    walk_ticks: float
    hidden_lots: float
    probability: float


class HiddenLiquidityModel:
    """Expect, draw and learn hidden orders inside the spread and at the touch.

    `expected_hidden_lots` and `sample` are what a simulator needs: hidden orders to put into a book
    built of displayed depth. `forecast` is what one order should cost. `update` learns from a
    sweep and the depth just before it, in order of time: nothing is ever looked at ahead.

    >>> depth = Depth(bids=((95, 100),), asks=((100, 100),))
    >>> model = HiddenLiquidityModel()
    >>> model.forecast(depth, Side.BUY, 50).cost_ticks
    100.0
    >>> stated = HiddenLiquidityModel(HiddenPrior(probability=0.5))
    >>> 99 < stated.forecast(depth, Side.BUY, 50).cost_ticks < 100
    True
    >>> drawn = stated.sample(depth, Random(7))
    >>> all(95 <= order.price_ticks <= 100 for order in drawn)
    True
    """

    def __init__(self, prior: HiddenPrior | None = None) -> None:
        self.prior = HiddenPrior() if prior is None else prior
        self.sweeps = 0
        self.hidden_sweeps = 0
        self._sizes = HiddenSizes(self.prior.lots)
        self._memories = {side: SideMemory(side) for side in Side}
        self._log_size = math.log(self.prior.lots)
        self._weights = np.zeros(CELL_FEATURES)
        stated = self.prior.probability
        chance = -math.log1p(-stated) / _PRIOR_TOTAL if stated else _UNKNOWN_CHANCE
        self._weights[0] = math.log(chance)
        self._weights[LOG_DISTANCE] = _PRIOR_SLOPE
        self._weights[AT_TOUCH] = 0.0
        self._curvature = np.eye(CELL_FEATURES) * self.prior.precision
        # Of the prices that were tried: how many orders the chances without memory came to, and
        # how many there were. One of each says that they agree as long as nothing was seen.
        self._at_rest = [1.0, 1.0]

    @classmethod
    def fit(
        cls, sweeps: Iterable[tuple[Sweep, Depth]], prior: HiddenPrior | None = None
    ) -> "HiddenLiquidityModel":
        """Return a model that has learnt from sweeps, each with the depth just before it."""
        model = cls(prior)
        for sweep, depth in sweeps:
            model.update(sweep, depth)
        return model

    @property
    def expects_any(self) -> bool:
        """Say whether it expects hidden orders at all: stated by the prior, or seen."""
        return self.hidden_sweeps > 0 or self.prior.probability > 0

    @property
    def usual_lots(self) -> float:
        """Return the usual size of a sweep: the geometric mean, the latest weighing most."""
        return math.exp(self._log_size)

    def memory(self, aggressor: Side) -> SideMemory:
        """Return what the aggressors of a side have met; not to be changed."""
        return self._memories[aggressor]

    def update(self, sweep: Sweep, depth: Depth) -> None:
        """Learn from a sweep; sweeps come in order of time. O(cells x features^2)."""
        own = self._memories[sweep.aggressor]
        for memory in self._memories.values():
            if memory.last_ns is not None:
                whole("ts_event_ns", sweep.ts_event_ns, memory.last_ns)
        lots = sweep.quantity_lots
        if depth.two_sided:
            cells = self._cells(depth, sweep.aggressor, lots, sweep.ts_event_ns)
            self._learn(cells, sweep, depth.met_by(sweep.aggressor)[0][1])
        self.sweeps += 1
        self.hidden_sweeps += any(part.hidden for part in sweep.executions)
        self._learn_sizes(sweep)
        self._log_size += _SIZE_WEIGHT * (math.log(lots) - self._log_size)
        own.note(sweep)

    def expected_hidden_lots(
        self, depth: Depth, resting: Side, now_ns: int | None = None
    ) -> tuple[HiddenLevel, ...]:
        """Return where hidden orders of the `resting` side are expected, and how many lots.

        From the price that an aggressor meets first; at the touch they come after what is
        displayed. A mid between two ticks is left out: no order of a book rests there. Without
        `now_ns` the time is that of the last sweep. Empty where nothing is expected, or where a
        side of the book is empty.
        """
        if not (depth.two_sided and self.expects_any):
            return ()
        cells = self._cells(depth, _other(resting), None, self._now(now_ns))
        mean = self._sizes.expected_taken(_ANY_LOTS)
        levels = []
        for ticks, chance in zip(cells.whole_ticks(), self._chances(cells).tolist(), strict=True):
            if ticks is not None:
                levels.append(HiddenLevel(*ticks, chance, chance * mean))
        return tuple(levels)

    def sample(
        self, depth: Depth, rng: Random, now_ns: int | None = None
    ) -> tuple[HiddenOrder, ...]:
        """Draw the hidden orders that may rest behind a displayed depth, never crossed.

        At most one a cell and side; of one that would cross another of those drawn the later is
        left out. Same depth, same state of `rng`: same orders.
        """
        sides = (Side.BUY, Side.SELL) if rng.getrandbits(1) else (Side.SELL, Side.BUY)
        drawn: list[HiddenOrder] = []
        for side in sides:
            others = [order.price_ticks for order in drawn if order.side is not side]
            for level in self.expected_hidden_lots(depth, side, now_ns):
                if rng.random() >= level.probability:
                    continue
                price = rng.randint(level.low_ticks, level.high_ticks)
                lots = self._sizes.draw(rng)
                if all(side.sign * (price - other) < 0 for other in others):
                    drawn.append(HiddenOrder(side, price, lots))
        return tuple(drawn)

    def forecast(
        self, depth: Depth, aggressor: Side, lots: int, now_ns: int | None = None
    ) -> HiddenForecast:
        """Return what an order of `lots` should pay when it arrives at `now_ns`.

        Hidden orders are met from the best price outward, then the displayed depth. Both sides of
        the book must be there.
        """
        whole("lots", lots, 1)
        if not depth.two_sided:
            raise InvalidInput("depth: one side is empty; allowed: a bid and an ask")
        levels = depth.met_by(aggressor)
        alone = walk_ticks(levels, lots) / lots
        if not self.expects_any:
            return HiddenForecast(alone, alone, 0.0, 0.0)
        cells = self._cells(depth, aggressor, lots, self._now(now_ns))
        paid, left, nothing = 0.0, float(lots), 1.0
        chances, prices = self._chances(cells).tolist(), cells.prices.tolist()
        beyond = max(0, lots - levels[0][1])
        for chance, price, high in zip(chances, prices, cells.high.tolist(), strict=True):
            wanted = left if high else min(left, float(beyond))
            taken = chance * self._sizes.expected_taken(wanted)
            paid += taken * price
            left -= taken
            nothing *= 1 - chance if wanted else 1
        # Either nothing was hidden and all is displayed, or what is left then is.
        met = 1 - nothing
        rest = max(0.0, (left - nothing * lots) / met) if met > 0 else 0.0
        shown = nothing * walk_ticks(levels, lots) + met * walk_ticks(levels, rest)
        return HiddenForecast((paid + shown) / lots, alone, lots - left, met)

    def usual(self, *, size_ratio: float = 1.0) -> UsualHidden | None:
        """Return what it expects where nothing is known of the sweeps of late; None for nothing.

        In a market whose sweeps follow one another the weights alone would speak of the rare calm:
        their level is that at which, on average, the chances without memory came true. Before it
        has seen sizes, orders have `size_ratio` times what is displayed where they are.
        """
        if not self.expects_any:
            return None
        sizes = self._sizes if self.hidden_sweeps else None
        return UsualHidden(self._usual_weights(), sizes, size_ratio=size_ratio)

    def to_parameters(self, *, tick_size: float, lot_size: float) -> dict[str, Any]:
        """Return what `UsualHidden.from_parameters` needs of it, as YAML and JSON can say it.

        `tick_size` and `lot_size` are those of the sweeps that it has learnt from, in quote
        currency and in units of the symbol.

        Raises:
            InvalidInput: it has met no hidden order, or a size that is not above 0.
        """
        if not self.hidden_sweeps:
            raise InvalidInput("hidden_sweeps: 0; allowed: 1 or more, to be parameters")
        return {
            "tick_size": positive("tick_size", tick_size),
            "lot_size": positive("lot_size", lot_size),
            "weights": self._usual_weights().tolist(),
            "sizes": self._sizes.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all that it knows, as JSON can say it; `from_dict` goes on from there."""
        return {
            "prior": {
                "probability": self.prior.probability,
                "lots": self.prior.lots,
                "precision": self.prior.precision,
            },
            "sweeps": self.sweeps,
            "hidden_sweeps": self.hidden_sweeps,
            "log_size": self._log_size,
            "sizes": self._sizes.to_dict(),
            "memories": {side.value: self._memories[side].to_dict() for side in Side},
            "weights": self._weights.tolist(),
            "at_rest": list(self._at_rest),
            "curvature": self._curvature.tolist(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "HiddenLiquidityModel":
        """Return the model that `to_dict` wrote; `InvalidInput` names what is missing or wrong."""
        try:
            model = cls(HiddenPrior(**document["prior"]))
            model.sweeps = whole("sweeps", document["sweeps"], 0)
            model.hidden_sweeps = whole("hidden_sweeps", document["hidden_sweeps"], 0, model.sweeps)
            model._log_size = number("log_size", document["log_size"])
            model._sizes = HiddenSizes.from_dict(document["sizes"])
            for side in Side:
                model._memories[side] = _memory(side, document["memories"][side.value])
            model._weights = row("weights", document["weights"])
            expected, found = row("at_rest", document["at_rest"], above=0).tolist()
            model._at_rest = [expected, found]
            model._curvature = np.array(
                [row("curvature", line) for line in document["curvature"]], np.float64
            )
        except (KeyError, TypeError, ValueError) as wrong:
            raise InvalidInput(f"document: {wrong!r}; allowed: what to_dict gives") from None
        shapes = (CELL_FEATURES,), (CELL_FEATURES, CELL_FEATURES)
        if (model._weights.shape, model._curvature.shape) != shapes:
            raise InvalidInput(f"weights: {len(model._weights)} features; allowed: {CELL_FEATURES}")
        return model

    def _now(self, now_ns: int | None) -> int:
        """Return the time asked for, no earlier than the last sweep."""
        last = max((memory.last_ns or 0 for memory in self._memories.values()), default=0)
        return last if now_ns is None else whole("now_ns", now_ns, last)

    def _cells(self, depth: Depth, aggressor: Side, lots: int | None, now_ns: int) -> Cells:
        own, other = self._memories[aggressor], self._memories[_other(aggressor)]
        ratio = 1.0 if lots is None else lots / self.usual_lots
        return cells_of(depth, own, other, now_ns, ratio)

    def _chances(self, cells: Cells) -> Floats:
        logits = np.clip(cells.features @ self._weights, -_LOGIT_MAX, _LOGIT_MAX)
        chances: Floats = 1 / (1 + np.exp(-logits))
        return chances

    def _usual_weights(self) -> Floats:
        expected, found = self._at_rest
        weights: Floats = self._weights.copy()
        weights[0] += math.log(found / expected)
        return weights

    def _learn(self, cells: Cells, sweep: Sweep, at_touch: int) -> None:
        """Take one Newton step on the cells that the sweep reached."""
        found = np.zeros(len(cells.low))
        for part in sweep.executions:
            if part.hidden and cells.distance(part.price_ticks) >= 0:
                found[cells.place(part.price_ticks)] = 1
        last = sweep.executions[-1].price_ticks
        reached = cells.high >= math.floor(cells.distance(last))
        displayed = sum(
            part.quantity_lots
            for part in sweep.executions
            if not part.hidden and part.price_ticks == cells.touch_ticks
        )
        # Hidden orders at the touch come after all that is displayed there.
        if displayed < at_touch:
            reached[-1] = False
        tried = reached | (found > 0)
        if not tried.any():
            return
        features, chances = cells.features[tried], self._chances(cells)[tried]
        rest = features[:, :FIRST_OF_MEMORY] @ self._weights[:FIRST_OF_MEMORY]
        usual = float((1 / (1 + np.exp(-np.clip(rest, -_LOGIT_MAX, _LOGIT_MAX)))).sum())
        for place, amount in enumerate((usual, float(found.sum()))):
            self._at_rest[place] += amount - _REST_FORGETS * (self._at_rest[place] - 1)
        self._curvature += (features.T * (chances * (1 - chances))) @ features
        self._weights += np.linalg.solve(self._curvature, features.T @ (found[tried] - chances))

    def _learn_sizes(self, sweep: Sweep) -> None:
        lots_at: OrderedDict[float, int] = OrderedDict()
        for part in sweep.executions:
            if part.hidden:
                lots_at[part.price_ticks] = lots_at.get(part.price_ticks, 0) + part.quantity_lots
        last = sweep.executions[-1]
        for price, lots in lots_at.items():
            self._sizes.add(lots, ended=not (last.hidden and last.price_ticks == price))


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _memory(side: Side, document: Mapping[str, Any]) -> SideMemory:
    memory = SideMemory(side)
    for price, seen_ns, count in document["prices"]:
        known = whole("seen_ns", seen_ns, 0), whole("count", count, 1)
        memory.prices[positive("price", price)] = known
    if document["last"] is not None:
        last_ns, last_ticks, last_hidden = document["last"]
        memory.last_ns = whole("last_ns", last_ns, 0)
        memory.last_ticks = positive("last_ticks", last_ticks)
        memory.last_hidden = bool(last_hidden)
    return memory

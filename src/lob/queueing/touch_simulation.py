"""The book itself as the Monte Carlo of the model of Cont, Stoikov and Talreja.

Every limit order, market order and cancel of the model goes to a real `OrderBook`; what traded and
where the mid stands is what the book says. Flow that comes outside the touch changes neither best
queue before the mid moves and is left out.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from lob import OrderBook
from lob.bounds import COUNT_MAX, whole
from lob.errors import InvalidInput, Overloaded
from lob.queueing.cont_stoikov_talreja import ContStoikovTalreja
from lob.types import AssetClass, Cancel, Instrument, OrderType, Side, Submit, Traded

_BID_TICKS: Final = 1_000_000
_EVENTS_MAX: Final = 1_000_000
_BLOCK: Final = 8_192
_UNIT: Final = Instrument(
    symbol="UNIT", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A simulated share of paths, and its standard error."""

    probability: float
    standard_error: float
    paths: int


def simulate_mid_up(
    model: ContStoikovTalreja, *, b: int, a: int, paths: int, seed: int, spread: int = 1
) -> Estimate:
    """Return the share of paths on which the mid's first move is up. O(paths x events).

    >>> model = ContStoikovTalreja(lambda_=(1.85,), theta=(0.71,), mu=0.94)
    >>> found = simulate_mid_up(model, b=3, a=3, paths=400, seed=1)
    >>> abs(found.probability - 0.5) < 4 * found.standard_error
    True
    """
    touch = _Touch(model, spread, seed)
    return _estimate([touch.path(b, a, ours=()).mid_up for _ in range(_paths(paths, b, a))])


def simulate_bid_fill(
    model: ContStoikovTalreja, *, b: int, a: int, paths: int, seed: int, spread: int = 1
) -> Estimate:
    """Return the share of paths on which our bid, last of the b, trades before the mid moves."""
    touch = _Touch(model, spread, seed)
    mine = (Side.BUY,)
    return _estimate([touch.path(b, a, ours=mine).filled for _ in range(_paths(paths, b, a))])


def simulate_making_the_spread(
    model: ContStoikovTalreja, *, b: int, a: int, paths: int, seed: int, spread: int = 1
) -> Estimate:
    """Return the share of paths on which our bid and ask, the last, trade before the mid moves."""
    touch = _Touch(model, spread, seed)
    mine = (Side.BUY, Side.SELL)
    return _estimate([touch.path(b, a, ours=mine).filled for _ in range(_paths(paths, b, a))])


def _paths(paths: int, b: int, a: int) -> int:
    whole("b", b, 1, COUNT_MAX)
    whole("a", a, 1, COUNT_MAX)
    return whole("paths", paths, 1, 100_000_000)


def _estimate(hits: list[bool]) -> Estimate:
    share = sum(hits) / len(hits)
    return Estimate(share, math.sqrt(share * (1 - share) / len(hits)), len(hits))


@dataclass(frozen=True, slots=True)
class _Outcome:
    mid_up: bool
    filled: bool


class _Touch:
    """Draw the model's events at the touch and hand each to a book."""

    def __init__(self, model: ContStoikovTalreja, spread: int, seed: int) -> None:
        self._inside = model.inside_rate(spread)
        self._spread = spread
        self._limit = model.lambda_[spread - 1]
        self._theta = model.theta[spread - 1]
        self._mu = model.mu
        if not self._mu:
            raise InvalidInput("mu: 0.0; allowed: above 0, for a path that ends")
        self._rng = np.random.default_rng(seed)
        self._uniforms: list[float] = []

    def path(self, b: int, a: int, *, ours: tuple[Side, ...]) -> _Outcome:
        """Run until the mid moves, or until all of our orders have traded."""
        book = OrderBook(_UNIT)
        queues: dict[Side, list[int]] = {Side.BUY: [], Side.SELL: []}
        prices = {Side.BUY: _BID_TICKS, Side.SELL: _BID_TICKS + self._spread}
        waiting: set[int] = set()
        order_id = 0
        for side, size in ((Side.BUY, b), (Side.SELL, a)):
            for _ in range(size):
                order_id += 1
                book.apply(Submit(order_id, side, 1, prices[side]))
                queues[side].append(order_id)
            if side in ours:
                # Ours is the last, and never among those that may be cancelled.
                waiting.add(queues[side].pop())
        for _ in range(_EVENTS_MAX):
            order_id += 1
            for event in self._event(book, queues, prices, order_id):
                if isinstance(event, Traded):
                    maker = event.maker_order_id
                    gone = queues[event.aggressor_side.opposite]
                    waiting.remove(maker) if maker in waiting else gone.remove(maker)
            if ours and not waiting:
                return _Outcome(mid_up=False, filled=True)
            moved = _moved(book, prices)
            if moved:
                return _Outcome(mid_up=moved > 0, filled=False)
        raise Overloaded(f"path: the mid has not moved in {_EVENTS_MAX} events")

    def _event(
        self,
        book: OrderBook,
        queues: dict[Side, list[int]],
        prices: dict[Side, int],
        order_id: int,
    ) -> tuple[object, ...]:
        """Draw one event of the model and return the book's answer to it."""
        cancels = {side: self._theta * len(queues[side]) for side in Side}
        steady = self._limit + self._mu + self._inside
        pick = self._uniform() * (2 * steady + sum(cancels.values()))
        for side in Side:
            if pick < self._limit:
                queues[side].append(order_id)
                return tuple(book.apply(Submit(order_id, side, 1, prices[side])))
            pick -= self._limit
            if pick < self._mu:
                market = OrderType.MARKET
                return tuple(book.apply(Submit(order_id, side, 1, order_type=market)))
            pick -= self._mu
            if pick < self._inside:
                ticks = prices[side] + side.sign
                return tuple(book.apply(Submit(order_id, side, 1, ticks)))
            pick -= self._inside
            if pick < cancels[side]:
                at = int(self._uniform() * len(queues[side]))
                return tuple(book.apply(Cancel(queues[side].pop(at))))
            pick -= cancels[side]
        return ()

    def _uniform(self) -> float:
        if not self._uniforms:
            self._uniforms = self._rng.random(_BLOCK).tolist()
        return self._uniforms.pop()


def _moved(book: OrderBook, prices: dict[Side, int]) -> int:
    """Return where the book's mid has gone: 1 up, -1 down, 0 nowhere."""
    bid, ask = book.best_bid(), book.best_ask()
    if ask is None or (bid is not None and bid.price_ticks != prices[Side.BUY]):
        return 1
    return -1 if bid is None or ask.price_ticks != prices[Side.SELL] else 0

"""The others on the venue: a maker whose prices walk, a taker, at times one with our keys."""

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from lob.types import Side
from tests.simulation.client import MIDDLE, TICK
from tests.simulation.loop import World
from tests.simulation.venue import ACCOUNT, FOREIGN, MAKER, TAKER, SimulatedVenue

LEVELS: Final = 2


class Market:
    """Move the prices of some products and trade with whoever is there, until it is stopped."""

    def __init__(
        self,
        world: World,
        venue: SimulatedVenue,
        rng: random.Random,
        products: Sequence[tuple[str, str]],
        *,
        pace_seconds: float,
        foreign: bool,
    ) -> None:
        self.over = False
        self._world = world
        self._venue = venue
        self._rng = rng
        self._products = products
        self._pace_seconds = pace_seconds
        self._foreign = foreign
        self._offsets = dict.fromkeys((symbol for symbol, _ in products), 0)
        for symbol, product_id in products:
            self._quote(symbol, product_id)
        world.after(0.1, self._act)

    def _act(self) -> None:
        if self.over:
            return
        rng = self._rng
        self._world.after(rng.expovariate(1 / self._pace_seconds), self._act)
        if self._venue.mood.down:
            return
        symbol, product_id = rng.choice(self._products)
        roll = rng.random()
        if self._foreign and roll < 0.05:
            self._trade(f"{FOREIGN}", symbol, product_id)
        elif roll < 0.5:
            self._trade(TAKER, symbol, product_id)
        else:
            self._quote(symbol, product_id)

    def _quote(self, symbol: str, product_id: str) -> None:
        moved = self._offsets[symbol] + self._rng.choice((-2, -1, -1, 0, 1, 1, 2))
        self._offsets[symbol] = max(-5, min(5, moved))
        middle = MIDDLE[symbol] + self._offsets[symbol] * TICK[symbol]
        size = self._rng.choice((1, 2, 4, 6))
        self._venue.quote(product_id, middle, TICK[symbol], LEVELS, size)

    def _trade(self, name: str, symbol: str, product_id: str) -> None:
        side = self._rng.choice(list(Side))
        size = self._rng.choice((1, 1, 2, 3, 6, 10))
        reach = TICK[symbol] * self._rng.randint(0, 7)
        price: Decimal = MIDDLE[symbol] + side.sign * reach
        account = TAKER if name == TAKER else ACCOUNT
        self._venue.trade(account, product_id, side, size, price, name=name)


__all__ = ["LEVELS", "MAKER", "Market"]

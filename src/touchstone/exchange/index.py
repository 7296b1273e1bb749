"""Index prices: what one coin is worth, which all products of that coin share.

It stands for the spot price of other venues. A coin's index is a random walk of its own volatility,
one step a second, or the mid of a file's book where a product of the coin is replayed from one.
"""

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

import numpy as np

from lob.errors import InvalidInput
from touchstone.exchange.identifiers import derived_seed
from touchstone.exchange.products import Product

SECOND_NS: Final = 1_000_000_000
"""The grid on which index prices move."""

USUAL_VOLATILITY: Final = {"BTC": 0.45, "ETH": 0.65}
"""Deviations of a year's log return, about those of the two coins in 2025."""

VOLATILITY_MAX: Final = 10.0

PRICE_MAX: Final = Decimal(10**9)

_SECONDS_A_YEAR: Final = 365 * 86_400
_FINER: Final = 10
"""An index has one decimal more than the finest tick of its coin."""


class CoinIndex:
    """One coin's index price, a whole multiple of `quantum`."""

    __slots__ = ("_deviation", "_rng", "_steps", "_units", "coin", "quantum")

    def __init__(
        self, coin: str, price: Decimal, *, quantum: Decimal, volatility: float, seed: int
    ) -> None:
        """Start at a price; `volatility` is the deviation of a year's log return."""
        if not 0 <= volatility <= VOLATILITY_MAX:
            raise InvalidInput(
                f"index_volatility: {volatility} of {coin}; allowed: 0..{VOLATILITY_MAX:g}"
            )
        self.coin = coin
        self.quantum = quantum
        self._units = 0
        self._steps = 0
        self._deviation = volatility / math.sqrt(_SECONDS_A_YEAR)
        self._rng = np.random.default_rng(derived_seed("index", seed, coin))
        self.move_to(price)

    @property
    def price(self) -> Decimal:
        """Return the price now."""
        return self.quantum * self._units

    @property
    def steps(self) -> int:
        """Return how many seconds it has walked."""
        return self._steps

    def walk(self) -> None:
        """Take a second's step. The price has no drift and never falls below one quantum."""
        self._steps += 1
        step = self._units * self._deviation * float(self._rng.standard_normal())
        self._units = max(1, self._units + round(step))

    def move_to(self, price: Decimal) -> None:
        """Stand at a price, rounded to a quantum.

        Raises:
            InvalidInput: a price that is not above 0, or beyond all bounds.
        """
        if not (price.is_finite() and 0 < price <= PRICE_MAX):
            raise InvalidInput(
                f"index: {price} of {self.coin}; allowed: above 0, at most {PRICE_MAX}"
            )
        self._units = max(1, int((price / self.quantum).to_integral_value()))


def quantum_of(products: Iterable[Product]) -> Decimal:
    """Return the step of an index of these products: a tenth of their finest tick."""
    return min(product.instrument.tick_size for product in products) / _FINER

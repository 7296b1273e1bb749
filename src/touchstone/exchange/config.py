"""What decides how a venue behaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from touchstone.exchange.money import ZERO
from touchstone.exchange.products import PRODUCTS, Product


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    """Everything that decides how a venue behaves.

    `run` makes ids unique over restarts. Fee rates are fractions of the notional; the background
    flow pays none. Without `background_flow` the books start empty and stay to the customers.
    """

    seed: int = 1
    run: str = "run"
    start_ns: int = 0
    starting_balance: Decimal = Decimal(100_000)
    maker_fee_rate: Decimal = ZERO
    taker_fee_rate: Decimal = Decimal("0.0003")
    products: Sequence[Product] = PRODUCTS
    max_open_orders: int = 500
    history_limit: int = 10_000
    background_flow: bool = True

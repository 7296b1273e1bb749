"""What the venue lists: the same two coins in two shapes, each product with its own book.

INTX-shaped products trade in coins and settle in USDC; CDE-shaped ones trade in whole contracts and
settle in USD. Tick and size steps are Coinbase's; the first prices are round numbers of our own.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from lob.types import AssetClass, Instrument


class Family(StrEnum):
    """Which of Coinbase's two perpetual shapes a product has."""

    INTX = "INTX"
    CDE = "CDE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One listed perpetual.

    `max_size` is in lots' units (coins or contracts), `min_notional` in the settlement currency,
    `reference_price` is where the background flow starts.
    """

    instrument: Instrument
    family: Family
    coin: str
    display_name: str
    max_size: Decimal
    min_notional: Decimal
    max_leverage: Decimal
    reference_price: Decimal

    @property
    def product_id(self) -> str:
        """Return the venue's name of the product."""
        return self.instrument.symbol

    @property
    def currency(self) -> str:
        """Return the currency the product settles in."""
        return "USDC" if self.family is Family.INTX else "USD"

    @property
    def lot_value_per_price(self) -> Decimal:
        """Return how many coins one lot is: the notional of a lot per unit of price."""
        return self.instrument.lot_size * self.instrument.contract_size

    def notional(self, price_ticks: int, quantity_lots: int) -> Decimal:
        """Return price x quantity in the settlement currency, exactly."""
        return self.instrument.price(price_ticks) * self.lot_value_per_price * quantity_lots

    def value(self, price: Decimal, quantity_lots: int) -> Decimal:
        """Return what `quantity_lots` (signed) are worth at `price`."""
        return price * self.lot_value_per_price * quantity_lots


def _product(
    symbol: str, family: Family, coin: str, *, tick: str, lot: str, contract: str, price: str
) -> Product:
    intx = family is Family.INTX
    return Product(
        instrument=Instrument(
            symbol=symbol,
            asset_class=AssetClass.FUTURES,
            tick_size=Decimal(tick),
            lot_size=Decimal(lot),
            contract_size=Decimal(contract),
        ),
        family=family,
        coin=coin,
        display_name=f"{coin} PERP" if intx else f"nano {coin} PERP",
        max_size=Decimal(1000 if intx else 10_000),
        min_notional=Decimal(10 if intx else 0),
        max_leverage=Decimal(10),
        reference_price=Decimal(price),
    )


PRODUCTS: Final = (
    _product(
        "BTC-PERP-INTX", Family.INTX, "BTC", tick="0.1", lot="0.0001", contract="1", price="100000"
    ),
    _product(
        "ETH-PERP-INTX", Family.INTX, "ETH", tick="0.01", lot="0.0001", contract="1", price="4000"
    ),
    _product(
        "BIP-20DEC30-CDE", Family.CDE, "BTC", tick="5", lot="1", contract="0.01", price="100000"
    ),
    _product(
        "ETP-20DEC30-CDE", Family.CDE, "ETH", tick="0.5", lot="1", contract="0.1", price="4000"
    ),
)
"""Everything listed. The two families do not share a book, so their prices may drift apart."""

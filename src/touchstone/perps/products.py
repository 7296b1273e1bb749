"""What a venue allows for one product, in the gateway's units: coins and quote currency."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from lob.types import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRules:
    """Increments and bounds of one product.

    `contract_size` is coins per contract: 1 where the venue takes sizes in coins. `size_increment`,
    `min_quantity` and `max_quantity` are in coins; a bound of None is none.
    """

    symbol: str
    product_id: str
    price_increment: Decimal
    size_increment: Decimal
    contract_size: Decimal = Decimal(1)
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    min_notional: Decimal | None = None
    disabled: str = ""
    limit_only: bool = False
    post_only: bool = False

    def to_venue_size(self, quantity: Decimal) -> Decimal:
        """Return a quantity in coins as the venue's size (contracts where it has them)."""
        return (quantity / self.contract_size).normalize()

    def to_coins(self, size: Decimal) -> Decimal:
        """Return the venue's size in coins."""
        return size * self.contract_size

    def is_whole(self, quantity: Decimal) -> bool:
        """Return whether `quantity` is a whole number of size increments."""
        return quantity % self.size_increment == 0

    def round_price(self, price: Decimal, side: Side) -> Decimal:
        """Return `price` on the tick, away from the market: BUY down, SELL up.

        >>> rules = ProductRules(symbol="BTC-PERP", product_id="P", price_increment=Decimal(5),
        ...                      size_increment=Decimal("0.01"))
        >>> [str(rules.round_price(Decimal(60_003), side)) for side in Side]
        ['60000', '60005']
        """
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        ticks = (price / self.price_increment).to_integral_value(rounding=rounding)
        return ticks * self.price_increment

"""Accounts: a cash balance, netted positions at weighted-average entry, realised profit, fees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from touchstone.exchange.money import ZERO, share
from touchstone.exchange.products import Product


@dataclass(slots=True)
class Position:
    """What an account holds of one product, netted: `lots` above 0 is long, below 0 short.

    `cost` is what was paid for what is held (negative when short), so the weighted-average entry
    price is cost / size and never has to be rounded to be kept. `realised` is before fees.
    """

    lots: int = 0
    cost: Decimal = ZERO
    realised: Decimal = ZERO

    def trade(self, signed_lots: int, lot_price: Decimal) -> Decimal:
        """Add `signed_lots` at `lot_price` each and return the profit this realises.

        What reduces the position takes its share of the cost with it; a trade through zero closes
        all of it and opens the rest at the new price.
        """
        realised = ZERO
        opposes = self.lots * signed_lots < 0
        if opposes:
            closing = min(abs(self.lots), abs(signed_lots))
            sign = 1 if signed_lots > 0 else -1
            cost_out = share(self.cost, closing, abs(self.lots))
            realised = -cost_out - sign * closing * lot_price
            self.cost -= cost_out
            self.lots += sign * closing
            signed_lots -= sign * closing
        self.cost += signed_lots * lot_price
        self.lots += signed_lots
        self.realised += realised
        return realised

    def entry_price(self, product: Product) -> Decimal | None:
        """Return the weighted-average entry price; None when flat."""
        if self.lots == 0:
            return None
        return self.cost / (product.lot_value_per_price * self.lots)

    def unrealised(self, product: Product, mark: Decimal) -> Decimal:
        """Return the profit that closing at `mark` would realise, before fees."""
        return product.value(mark, self.lots) - self.cost


@dataclass(slots=True)
class Account:
    """One customer of the venue (or the background flow, whose participant id is 0).

    `balance` is cash: deposits plus realised profit less fees. `leverage` holds, by product, what
    the latest accepted order asked for.
    """

    name: str
    participant_id: int
    deposits: Decimal
    balance: Decimal
    fees_paid: Decimal = ZERO
    volume: Decimal = ZERO
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, Decimal] = field(default_factory=dict)

    def position(self, product_id: str) -> Position:
        """Return the position in a product, flat where there never was one."""
        return self.positions.get(product_id) or Position()

    def settle(self, product: Product, signed_lots: int, price_ticks: int, fee: Decimal) -> Decimal:
        """Book one side of a trade and return the profit it realises, before the fee."""
        position = self.positions.setdefault(product.product_id, Position())
        realised = position.trade(signed_lots, product.notional(price_ticks, 1))
        self.balance += realised - fee
        self.fees_paid += fee
        self.volume += product.notional(price_ticks, abs(signed_lots))
        return realised

    def unrealised(self, products: Mapping[str, Product], marks: Mapping[str, Decimal]) -> Decimal:
        """Return the unrealised profit of all positions at the given mark prices."""
        return sum(
            (held.unrealised(products[name], marks[name]) for name, held in self.positions.items()),
            ZERO,
        )

    def equity(self, products: Mapping[str, Product], marks: Mapping[str, Decimal]) -> Decimal:
        """Return balance plus unrealised profit at the given mark prices."""
        return self.balance + self.unrealised(products, marks)

    def book_value(self) -> Decimal:
        """Return balance less the cost of what is held: what conservation sums, free of prices."""
        return self.balance - sum((held.cost for held in self.positions.values()), ZERO)

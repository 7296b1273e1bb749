"""Accounts: a cash balance, netted positions at weighted-average entry, realised profit, fees."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from touchstone.exchange.fees import VolumeWindow
from touchstone.exchange.funding import FundingPayment
from touchstone.exchange.money import ZERO, rounded, share
from touchstone.exchange.products import Product
from touchstone.exchange.requests import MarginType

_PAYMENTS_KEPT: Final = 10_000


@dataclass(slots=True)
class Position:
    """What an account holds of one product, netted: `lots` above 0 is long, below 0 short.

    `cost` is what was paid for what is held (negative when short), so the weighted-average entry
    price is cost / size and never has to be rounded to be kept. A settlement to the mark resets it;
    `entry_cost` is the same without settlements. Profits are before fees and without funding:
    `realised` since the account exists, `realised_open` since the position was opened,
    `realised_day` since the trading day began. `funding` is what funding has brought (below 0:
    cost) so far. `collateral` is the money of an isolated position, 0 of a cross one.
    """

    lots: int = 0
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    entry_cost: Decimal = ZERO
    realised_open: Decimal = ZERO
    realised_day: Decimal = ZERO
    funding: Decimal = ZERO
    margin_type: MarginType = MarginType.CROSS
    collateral: Decimal = ZERO

    @property
    def isolated(self) -> bool:
        """Say whether the position stands on its own collateral."""
        return self.margin_type is MarginType.ISOLATED

    def trade(self, signed_lots: int, lot_price: Decimal) -> Decimal:
        """Add `signed_lots` at `lot_price` each and return the profit this realises.

        What reduces the position takes its share of the cost with it; a trade through zero closes
        all of it and opens the rest at the new price.
        """
        realised = ZERO
        if self.lots == 0:
            self.realised_open = ZERO
        elif self.lots * signed_lots < 0:
            held = abs(self.lots)
            closing = min(held, abs(signed_lots))
            sign = 1 if signed_lots > 0 else -1
            cost_out = share(self.cost, closing, held)
            realised = -cost_out - sign * closing * lot_price
            self._realise(realised)
            self.cost -= cost_out
            self.entry_cost -= share(self.entry_cost, closing, held)
            self.lots += sign * closing
            signed_lots -= sign * closing
            if signed_lots:
                self.realised_open = ZERO
        self.cost += signed_lots * lot_price
        self.entry_cost += signed_lots * lot_price
        self.lots += signed_lots
        return realised

    def settle(self, product: Product, mark: Decimal) -> Decimal:
        """Realise the unrealised profit: from now on the position cost what it is worth at `mark`.

        Equity stays as it is; the cash is the caller's to book.
        """
        value = product.value(mark, self.lots)
        realised = value - self.cost
        self._realise(realised)
        self.cost = value
        return realised

    def entry_price(self, product: Product) -> Decimal | None:
        """Return the weighted-average price since the latest settlement; None when flat."""
        if self.lots == 0:
            return None
        return self.cost / (product.lot_value_per_price * self.lots)

    def original_entry_price(self, product: Product) -> Decimal | None:
        """Return the weighted-average entry price whatever was settled since; None when flat."""
        if self.lots == 0:
            return None
        return self.entry_cost / (product.lot_value_per_price * self.lots)

    def unrealised(self, product: Product, mark: Decimal) -> Decimal:
        """Return the profit that closing at `mark` would realise, before fees."""
        return product.value(mark, self.lots) - self.cost

    def aggregated(self, product: Product, mark: Decimal) -> Decimal:
        """Return the profit since the position was opened, realised, settled and not."""
        return self.realised_open + self.unrealised(product, mark)

    def equity(self, product: Product, mark: Decimal) -> Decimal:
        """Return an isolated position's collateral with its unrealised profit."""
        return self.collateral + self.unrealised(product, mark)

    def _realise(self, profit: Decimal) -> None:
        self.realised += profit
        self.realised_open += profit
        self.realised_day += profit


@dataclass(slots=True)
class Account:
    """One customer of the venue (or the background flow, whose participant id is 0).

    `balance` is the cash that cross positions share: deposits and profit less fees and less what
    isolated positions hold. `leverage` holds, by product, what the latest accepted order asked for.
    `liquidating` names what is being
    liquidated: a product of an isolated position, or "" for everything on cross margin. `payments`
    are the latest of funding.
    """

    name: str
    participant_id: int
    deposits: Decimal
    balance: Decimal
    fees_paid: Decimal = ZERO
    volume: Decimal = ZERO
    recent: VolumeWindow = field(default_factory=VolumeWindow)
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, Decimal] = field(default_factory=dict)
    liquidating: set[str] = field(default_factory=set)
    payments: deque[FundingPayment] = field(default_factory=lambda: deque(maxlen=_PAYMENTS_KEPT))

    def position(self, product_id: str) -> Position:
        """Return the position in a product, flat where there never was one."""
        return self.positions.get(product_id) or Position()

    def margin_type(self, product_id: str) -> MarginType:
        """Return the margin type that holds for a product."""
        position = self.positions.get(product_id)
        return MarginType.CROSS if position is None else position.margin_type

    def settle(
        self,
        product: Product,
        signed_lots: int,
        price_ticks: int,
        fee: Decimal,
        allocation_max: Decimal | None = None,
    ) -> Decimal:
        """Book one side of a trade; return what an isolated position lost beyond its collateral.

        That loss is booked nowhere yet: the insurance fund has to pay it. An isolated position
        that grows takes its initial margin from the balance, at most `allocation_max` with what
        the trade itself has brought: what a turn closes stands behind what it opens.
        """
        position = self.positions.setdefault(product.product_id, Position())
        notional = product.notional(price_ticks, abs(signed_lots))
        self.fees_paid += fee
        self.volume += notional
        lot_price = product.notional(price_ticks, 1)
        if not position.isolated:
            self.balance += position.trade(signed_lots, lot_price) - fee
            return ZERO
        held, balance_before = abs(position.lots), self.balance
        opposes = position.lots * signed_lots < 0
        closing = min(held, abs(signed_lots)) if opposes else 0
        realised = position.trade(signed_lots, lot_price)
        closing_fee = share(fee, closing, abs(signed_lots))
        self.balance -= fee - closing_fee
        profit = realised - closing_fee
        if closing < held and product.product_id in self.liquidating:
            # What closes to bring margin back leaves its collateral behind, or it would bring none.
            position.collateral += profit
            shortfall = ZERO
        else:
            shortfall = self._release(position, closing, held, profit)
        opening = abs(signed_lots) - closing
        if opening:
            leverage = self.leverage.get(product.product_id, product.max_leverage)
            needed = rounded(product.notional(price_ticks, opening) / leverage)
            if allocation_max is not None:
                spare = allocation_max + self.balance - balance_before
                needed = min(needed, max(ZERO, spare))
            self.balance -= needed
            position.collateral += needed
        return shortfall

    def _release(self, position: Position, closing: int, held: int, profit: Decimal) -> Decimal:
        """Hand back the collateral of what was closed, with its profit; return what is missing.

        A loss greater than that share comes out of the collateral of what is still held.
        """
        if not closing:
            return ZERO
        freed = share(position.collateral, closing, held)
        position.collateral -= freed
        freed += profit
        if freed >= 0:
            self.balance += freed
        elif closing < held:
            position.collateral += freed
        else:
            return -freed
        return ZERO

    def pay(self, product_id: str, amount: Decimal) -> None:
        """Book cash that a position brings (below 0: costs) where its margin is."""
        position = self.positions[product_id]
        if position.isolated:
            position.collateral += amount
        else:
            self.balance += amount

    def start_day(self) -> None:
        """Begin a trading day: the day's realised profit counts from 0."""
        for position in self.positions.values():
            position.realised_day = ZERO

    def unrealised(self, products: Mapping[str, Product], marks: Mapping[str, Decimal]) -> Decimal:
        """Return the unrealised profit of all positions at the given mark prices."""
        return sum(
            (held.unrealised(products[name], marks[name]) for name, held in self.positions.items()),
            ZERO,
        )

    def equity(self, products: Mapping[str, Product], marks: Mapping[str, Decimal]) -> Decimal:
        """Return all the account's money at the given mark prices, isolated positions included."""
        return self.balance + self.allocated() + self.unrealised(products, marks)

    def allocated(self) -> Decimal:
        """Return the collateral of all isolated positions."""
        return sum((held.collateral for held in self.positions.values()), ZERO)

    def book_value(self) -> Decimal:
        """Return all money less the cost of what is held: which conservation sums."""
        costs = sum((held.cost for held in self.positions.values()), ZERO)
        return self.balance + self.allocated() - costs

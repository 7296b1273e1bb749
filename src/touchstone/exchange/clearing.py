"""The clearing house: accounts, fees, margin, funding, and both sides of every trade.

All money that was brought in is in some account, in the background flow's, in the insurance fund's
or among the fees: `conserved_total` is always the sum of the deposits.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput, InvariantViolation, NotFound
from lob.types import Side
from touchstone.exchange.accounts import Account, Position
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.fees import FeeTier
from touchstone.exchange.funding import Funding
from touchstone.exchange.holds import Working, WorkingOrders
from touchstone.exchange.liquidation import Held, Projection, Scope, liquidation_price
from touchstone.exchange.mark import MarkPrice, on_mark_step
from touchstone.exchange.market import FLOW_PARTICIPANT, Market
from touchstone.exchange.money import ATOM, ZERO, rounded, share
from touchstone.exchange.orders import Liquidity, Order
from touchstone.exchange.products import Product
from touchstone.exchange.reasons import FailureReason, Refusal
from touchstone.exchange.requests import MarginType, OrderKind

FLOW_ACCOUNT: Final = "background-flow"
FUND_ACCOUNT: Final = "insurance-fund"
FUND_PARTICIPANT: Final = (1 << 31) - 1
CROSS: Final = ""
"""The scope of everything on cross margin; that of an isolated position is its product's id."""

IndexOf = Callable[[Product], Decimal]


class Clearing:
    """Keep the accounts and say what they can afford."""

    def __init__(
        self, config: ExchangeConfig, markets: Mapping[str, Market], index_of: IndexOf
    ) -> None:
        self._config = config
        self._markets = markets
        self.index_of = index_of
        self.products = {name: market.product for name, market in markets.items()}
        self.schedules = config.schedules()
        self.rule = config.margin
        self.accounts: dict[str, Account] = {}
        self.fees_collected = ZERO
        self.flow = Account(FLOW_ACCOUNT, FLOW_PARTICIPANT, ZERO, ZERO)
        funded = config.insurance_fund
        self.fund = Account(FUND_ACCOUNT, FUND_PARTICIPANT, funded, funded)
        self.now_ns = config.start_ns
        self._working: dict[str, dict[str, WorkingOrders]] = {FUND_ACCOUNT: self._no_orders()}
        self._rates: dict[int, FeeTier] = {}
        self.funding = {name: Funding(config.funding) for name in self.products}
        self.marks: dict[str, MarkPrice] = {}
        for name, product in self.products.items():
            index = self.index_of(product)
            self.marks[name] = MarkPrice(on_mark_step(index), index, config.mark_band)

    # ---------------------------------------------------------------- accounts

    def open_account(self, name: str, balance: Decimal | None = None) -> Account:
        """Return the account of this name, opened where it is new.

        It starts with `balance`, or else with the starting balance.
        """
        if name not in self.accounts:
            if name in {"", FLOW_ACCOUNT, FUND_ACCOUNT}:
                raise InvalidInput(f"account: {name!r}; allowed: any other name")
            funded = self._config.starting_balance if balance is None else balance
            self.accounts[name] = Account(name, len(self.accounts) + 1, funded, funded)
            self._working[name] = self._no_orders()
        return self.accounts[name]

    def account(self, name: str) -> Account:
        """Return an open account, or the insurance fund's; raises `NotFound`."""
        found = self.fund if name == FUND_ACCOUNT else self.accounts.get(name)
        if found is None:
            raise NotFound(f"account: {name!r} is not open")
        return found

    def holders(self) -> Iterator[Account]:
        """Yield everybody who can hold a position: customers, the fund, the background flow."""
        yield from self.accounts.values()
        yield self.fund
        yield self.flow

    def note(self, order: Order) -> None:
        """Take in an order's new state, for the requirement and for its fees. O(1)."""
        working = self._working[order.account][order.product.product_id]
        if order.live:
            if order.number not in self._rates:
                # An order keeps the rates of the tier it was placed in.
                self._rates[order.number] = self.fee_tier(order.account, order.product)
        else:
            self._rates.pop(order.number, None)
        if order.price_ticks is None or not order.live or not _counts(order):
            working.drop(order.number)
        else:
            working.put(order.number, Working(order.side, order.price_ticks, order.leaves_lots))

    def _no_orders(self) -> dict[str, WorkingOrders]:
        return {name: WorkingOrders(product) for name, product in self.products.items()}

    # ---------------------------------------------------------------- fees

    def fee_tier(self, name: str, product: Product) -> FeeTier:
        """Return the tier that an order placed now would have."""
        if name == FUND_ACCOUNT:
            return _NO_FEE
        volume = self.account(name).recent.tier_volume(self.now_ns)
        return self.schedules[product.family].tier(volume)

    # ---------------------------------------------------------------- prices

    def mark(self, product_id: str) -> Decimal:
        """Return a product's mark price, which changes once a second."""
        return self.marks[product_id].mark

    def index(self, product_id: str) -> Decimal:
        """Return a product's index price as of the latest mark."""
        return self.marks[product_id].index

    def mark_prices(self) -> dict[str, Decimal]:
        """Return the mark price of every product."""
        return {name: price.mark for name, price in self.marks.items()}

    def sample_marks(self) -> None:
        """Evaluate the mark of every product anew."""
        for name, price in self.marks.items():
            market = self._markets[name]
            mid_ticks = market.book.mid_ticks()
            tick = market.product.instrument.tick_size
            price.sample(
                self.index_of(market.product),
                None if mid_ticks is None else tick * Decimal(mid_ticks),
                market.tape[-1].price if market.tape else None,
            )

    # ---------------------------------------------------------------- margin

    def leverage(self, name: str, product: Product) -> Decimal:
        """Return the leverage that holds for an account's product."""
        return self.account(name).leverage.get(product.product_id, product.max_leverage)

    def equity(self, name: str) -> Decimal:
        """Return all the account's money with its unrealised profit."""
        return self.account(name).equity(self.products, self.mark_prices())

    def cross_equity(self, name: str) -> Decimal:
        """Return what cross margin has: the balance with the unrealised profit that shares it."""
        account = self.account(name)
        total = account.balance
        for product_id, held in account.positions.items():
            if held.lots and not held.isolated:
                total += held.unrealised(self.products[product_id], self.marks[product_id].mark)
        return total

    def scope(self, name: str, key: str = CROSS) -> Scope:
        """Return what is margined together: everything on cross margin, or one isolated position.

        O(products of the account).
        """
        account = self.account(name)
        if key == CROSS:
            held = tuple(
                self._held(account, product_id, position)
                for product_id, position in account.positions.items()
                if position.lots and not position.isolated
            )
            return Scope(held=held, equity=self.cross_equity(name), rule=self.rule)
        position = account.position(key)
        equity = position.equity(self.products[key], self.mark(key))
        held = (self._held(account, key, position),) if position.lots else ()
        return Scope(held=held, equity=equity, rule=self.rule)

    def _held(self, account: Account, product_id: str, position: Position) -> Held:
        product = self.products[product_id]
        leverage = account.leverage.get(product_id, product.max_leverage)
        mark = self.marks[product_id].mark
        return Held(product=product, lots=position.lots, mark=mark, leverage=leverage)

    def requirement(
        self,
        name: str,
        extra: "tuple[str, Working, Decimal, MarginType] | None" = None,
        instead_of: int | None = None,
    ) -> Decimal:
        """Return what positions and open orders need of the cross margin. O(products).

        An isolated position needs nothing, its orders do: they will be allocated when they fill,
        those that turn the position out of its own equity first.
        `extra` is one more order: product id, order, the leverage and margin type it asks for; it
        may stand in place of the open order with the number `instead_of`.
        """
        account = self.account(name)
        total = ZERO
        for product_id, working in self._working[name].items():
            position = account.positions.get(product_id)
            lots = 0 if position is None else position.lots
            mine = extra if extra is not None and extra[0] == product_id else None
            if not (lots or mine or len(working)):
                continue
            product = self.products[product_id]
            isolated = position is not None and position.isolated
            leverage = account.leverage.get(product_id, product.max_leverage)
            if mine is not None:
                leverage, isolated = mine[2], mine[3] is MarginType.ISOLATED
            mark, backing = self.marks[product_id].mark, ZERO if isolated else None
            if isolated and position is not None:
                backing = position.equity(product, mark)
            total += working.requirement(
                position_lots=lots,
                mark=mark,
                leverage=leverage,
                fee_rate=max(ZERO, self.fee_tier(name, product).taker_rate),
                backing=backing,
                extra=None if mine is None else mine[1],
                instead_of=instead_of,
            )
        return total

    def check_margin(
        self, name: str, product: Product, leverage: Decimal, margin_type: MarginType | None
    ) -> Refusal | None:
        """Refuse what a liquidation, the other margin type or the leverage stand in the way of."""
        account = self.account(name)
        product_id = product.product_id
        position = account.position(product_id)
        if (product_id if position.isolated else CROSS) in account.liquidating:
            return Refusal(FailureReason.IN_LIQUIDATION, "the account is being liquidated")
        wanted = margin_type or position.margin_type
        busy = position.lots or len(self._working[name][product_id])
        if wanted is not position.margin_type and busy:
            return Refusal(
                FailureReason.INVALID_MARGIN_TYPE,
                f"margin_type: {wanted}; allowed: {position.margin_type}, "
                f"which the position and orders in {product_id} have",
                "PREVIEW_OPPOSITE_MARGIN_TYPE_EXISTS",
            )
        if position.lots and leverage < self.leverage(name, product):
            return self._check_lower_leverage(name, product, position, leverage)
        return None

    def _check_lower_leverage(
        self, name: str, product: Product, position: Position, leverage: Decimal
    ) -> Refusal | None:
        """Refuse a leverage at which what is held already would need more than there is."""
        nothing = (product.product_id, Working(Side.BUY, 1, 0), leverage, position.margin_type)
        needed, equity = self.requirement(name, nothing), self.cross_equity(name)
        if position.isolated and needed <= max(equity, self.requirement(name)):
            # The balance has enough for the orders; the position stands on its own.
            mark = self.mark(product.product_id)
            needed = rounded(product.value(mark, abs(position.lots)) / leverage)
            equity = position.equity(product, mark)
        if needed <= equity:
            return None
        return Refusal(
            FailureReason.INVALID_LEVERAGE,
            f"leverage: {leverage}; the position would need {needed:.2f} of {equity:.2f}",
        )

    def check_funds(
        self,
        name: str,
        product: Product,
        order: Working,
        leverage: Decimal,
        margin_type: MarginType | None = None,
    ) -> Refusal | None:
        """Refuse an order that needs more equity than there is, unless it needs no more."""
        kind = margin_type or self.account(name).margin_type(product.product_id)
        after = self.requirement(name, (product.product_id, order, leverage, kind))
        if after <= max(ZERO, self.cross_equity(name)):
            return None
        # What a higher leverage frees of the margin held so far must not pay for the order.
        nothing = (product.product_id, order._replace(lots=0), leverage, kind)
        return self._check_requirement(name, after, self.requirement(name, nothing))

    def check_edited_funds(self, order: Order, edited: Working) -> Refusal | None:
        """Refuse an order's new terms where they need more equity than there is. O(products)."""
        name, product_id = order.account, order.product.product_id
        extra = (product_id, edited, order.leverage, order.margin_type)
        after = self.requirement(name, extra, instead_of=order.number)
        return self._check_requirement(name, after, self.requirement(name))

    def _check_requirement(self, name: str, after: Decimal, before: Decimal) -> Refusal | None:
        equity = self.cross_equity(name)
        if after <= max(ZERO, equity, before):
            return None
        return Refusal(
            FailureReason.INSUFFICIENT_FUND,
            f"initial margin: {after:.2f} needed; equity: {equity:.2f}",
        )

    def project(
        self,
        name: str,
        product: Product,
        order: Working,
        leverage: Decimal,
        margin_type: MarginType | None = None,
    ) -> Projection:
        """Return what an order would do to the margin if it filled whole at its price."""
        account = self.account(name)
        kind = margin_type or account.margin_type(product.product_id)
        key = product.product_id if kind is MarginType.ISOLATED else CROSS
        before = self.scope(name, key)
        extra = (product.product_id, order, leverage, kind)
        nothing = (product.product_id, order._replace(lots=0), leverage, kind)
        margin = max(ZERO, self.requirement(name, extra) - self.requirement(name, nothing))
        before_lots = account.position(product.product_id).lots
        lots = before_lots + order.side.sign * order.lots
        mark = self.mark(product.product_id)
        notional = product.notional(order.price_ticks, order.lots)
        fee = rounded(notional * self.fee_tier(name, product).taker_rate)
        gain = order.side.sign * (product.value(mark, order.lots) - notional)
        equity = before.equity + gain - fee
        if kind is MarginType.ISOLATED:
            # What opens brings its margin along, what closes takes its part of the equity away.
            opposes = before_lots * order.side.sign < 0
            closed = min(abs(before_lots), order.lots) if opposes else 0
            opened = order.lots - closed
            equity = share(before.equity, abs(before_lots) - closed, abs(before_lots) or 1)
            equity += rounded(share(notional, opened, order.lots) / leverage)
            equity += share(gain, opened, order.lots)
        held = Held(product=product, lots=lots, mark=mark, leverage=leverage)
        others = tuple(one for one in before.held if one.product is not product)
        after = Scope(held=(*others, held) if lots else others, equity=equity, rule=self.rule)
        return Projection(
            margin=margin,
            buffer=before.equity - before.maintenance,
            projected_buffer=after.equity - after.maintenance,
            liquidation_price=liquidation_price(held, after) if lots else None,
        )

    def accept(
        self, name: str, product: Product, leverage: Decimal, margin_type: MarginType | None
    ) -> None:
        """Let an accepted order's leverage and margin type hold from now on."""
        account = self.account(name)
        account.leverage[product.product_id] = leverage
        if margin_type is not None and margin_type is not account.margin_type(product.product_id):
            account.positions.setdefault(product.product_id, Position()).margin_type = margin_type

    # ---------------------------------------------------------------- funds

    def withdrawable(self, name: str) -> Decimal:
        """Return how much cash could leave: no unrealised profit, and nothing that is needed."""
        account = self.account(name)
        return max(ZERO, min(account.balance, self.cross_equity(name)) - self.requirement(name))

    def allocate(self, name: str, product_id: str, amount: Decimal) -> Refusal | None:
        """Move money to an isolated position; a negative amount takes it back.

        What is taken back must leave the position its initial margin.
        """
        if not amount.is_finite():
            return Refusal(FailureReason.INVALID_REQUEST, f"amount: {amount}; allowed: a number")
        position = self.account(name).position(product_id)
        if product_id not in self.products or not (position.lots and position.isolated):
            return Refusal(
                FailureReason.INVALID_MARGIN_TYPE, f"symbol: no isolated position in {product_id}"
            )
        scope = self.scope(name, product_id)
        spare = max(ZERO, min(position.collateral, scope.equity - scope.initial))
        allowed = self.withdrawable(name) if amount > 0 else spare
        refusal = _check_amount(abs(amount), allowed)
        if refusal is None:
            self.account(name).balance -= amount
            position.collateral += amount
        return refusal

    # ---------------------------------------------------------------- trades

    def settle(
        self,
        order: Order | None,
        product: Product,
        side: Side,
        price_ticks: int,
        lots: int,
        liquidity: Liquidity,
        time_ns: int,
    ) -> Decimal:
        """Book one side of a trade, None being the background flow; return the fee it pays."""
        if order is None:
            self.flow.settle(product, side.sign * lots, price_ticks, ZERO)
            return ZERO
        tier = self._rates.get(order.number) or self.fee_tier(order.account, product)
        rate = tier.maker_rate if liquidity is Liquidity.MAKER else tier.taker_rate
        notional = product.notional(price_ticks, lots)
        fee = rounded(notional * rate)
        self.book(order.account, product, side.sign * lots, price_ticks, fee)
        self.account(order.account).recent.add(time_ns, notional)
        return fee

    def book(
        self, name: str, product: Product, signed_lots: int, price_ticks: int, fee: Decimal = ZERO
    ) -> None:
        """Book lots and cash of one customer or of the fund."""
        account = self.account(name)
        position = account.positions.get(product.product_id)
        spare = self.cross_equity(name) if position is not None and position.isolated else None
        shortfall = account.settle(product, signed_lots, price_ticks, fee, spare)
        self.fees_collected += fee
        self.fund.balance -= shortfall

    def make_good(self, name: str) -> Decimal:
        """Pay a balance below zero that nothing stands against out of the fund; return it."""
        account = self.account(name)
        missing = max(ZERO, -account.balance)
        if missing and not self.scope(name).held:
            account.balance += missing
            self.fund.balance -= missing
            return missing
        return ZERO

    # ---------------------------------------------------------------- conservation

    def deposits(self) -> Decimal:
        """Return all money that was ever brought in, the insurance fund's included."""
        return sum((account.deposits for account in self.holders()), ZERO)

    def conserved_total(self) -> Decimal:
        """Return all book values plus the fees: always the sum of all deposits."""
        return self.fees_collected + sum((held.book_value() for held in self.holders()), ZERO)

    def check(self) -> None:
        """Raise `InvariantViolation` unless money and positions add up."""
        if self.conserved_total() != self.deposits():
            raise InvariantViolation(
                f"money: {self.conserved_total()}, deposited: {self.deposits()}"
            )
        for name in self.products:
            lots = sum(holder.position(name).lots for holder in self.holders())
            if lots:
                raise InvariantViolation(f"positions of {name} sum to {lots} lots, not to 0")
        for account in self.accounts.values():
            for name, position in account.positions.items():
                if position.collateral and not (position.lots and position.isolated):
                    raise InvariantViolation(f"{account.name}: collateral without {name}")


_NO_FEE: Final = FeeTier("Insurance fund", ZERO, ZERO, ZERO)


def _counts(order: Order) -> bool:
    """Say whether margin counts a live order.

    What a scaled order asks for is asked for by its children; a reduce-only order that waits for
    its price cannot cost more than the position it reduces.
    """
    if order.kind is OrderKind.SCALED:
        return False
    return order.in_book or not order.request.reduce_only


def _check_amount(amount: Decimal, allowed: Decimal) -> Refusal | None:
    if amount > allowed:
        return Refusal(
            FailureReason.INSUFFICIENT_FUND, f"amount: {amount}; available: {allowed:.2f}"
        )
    if amount <= 0 or amount % ATOM:
        return Refusal(
            FailureReason.INVALID_REQUEST,
            f"amount: {amount}; allowed: above 0, at most eight decimals",
        )
    return None

"""The liquidator: carry out, step by step, what `liquidation` works out.

Every step happens on the one-second grid, account by account in the order in which they were
opened, so that the same venue liquidates in the same way again.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from lob.types import Rejected, Side, TimeInForce
from touchstone.exchange.accounts import Account
from touchstone.exchange.clearing import CROSS, FUND_ACCOUNT, Clearing
from touchstone.exchange.desk import OrderDesk
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.lifecycle import ended, submit_command
from touchstone.exchange.liquidation import (
    Counterparty,
    Held,
    Scope,
    bankruptcy_ticks,
    bearable_lots,
    deleveraging,
    fund_lots,
    lots_to_close,
)
from touchstone.exchange.money import ZERO
from touchstone.exchange.orders import Liquidity, Order
from touchstone.exchange.products import Product
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import OrderRequest

FUND_REACH: Final = Decimal("0.005")
"""How far from the mark the insurance fund trades to get rid of what it took over."""


_GLANCE: Final = Decimal(1)
"""More than rounding can make of margins: beyond it a glance is enough."""


class Liquidator:
    """Wind down what has too little margin, and sell what the insurance fund has taken over."""

    def __init__(self, run: str, clearing: Clearing, desk: OrderDesk) -> None:
        self._run = run
        self._clearing = clearing
        self._desk = desk
        self._closing: set[tuple[str, str]] = set()
        self.steps = 0
        self.transfers = 0
        self.taken_over_lots = 0
        self.deleveraged_lots = 0
        desk.open_account(FUND_ACCOUNT)

    def check(self, time_ns: int) -> None:
        """Take the next step wherever one is due. O(open positions) when none is.

        What is closed or handed over changes those on the other side: everybody is looked at again
        until all is calm.
        """
        self._unwind_fund(time_ns)
        self._closing.clear()
        for _ in range(len(self._clearing.accounts) + 1):
            before = (self.steps, self.transfers)
            self._sweep(time_ns)
            if before == (self.steps, self.transfers):
                break

    def _sweep(self, time_ns: int) -> None:
        for account in self._clearing.accounts.values():
            if not account.liquidating and self._is_calm(account):
                continue
            isolated = [
                name for name, one in account.positions.items() if one.lots and one.isolated
            ]
            for key in (CROSS, *sorted({*isolated, *account.liquidating} - {CROSS})):
                self._check_scope(account, key, time_ns)
            self._clearing.make_good(account.name)

    # ---------------------------------------------------------------- one account

    def _is_calm(self, account: Account) -> bool:
        """Say at a glance that nothing is near its initial margin; most accounts, most seconds."""
        clearing = self._clearing
        equity, flat = account.balance - _GLANCE, True
        for product_id, position in account.positions.items():
            if not position.lots:
                continue
            flat = False
            product = clearing.products[product_id]
            value = product.value(clearing.marks[product_id].mark, position.lots)
            leverage = account.leverage.get(product_id, product.max_leverage)
            spare = value - position.cost - abs(value) / leverage
            if not position.isolated:
                equity += spare
            elif position.collateral + spare < _GLANCE:
                return False
        return equity >= 0 or (flat and account.balance >= 0)

    def _check_scope(self, account: Account, key: str, time_ns: int) -> None:
        scope = self._clearing.scope(account.name, key)
        if key not in account.liquidating:
            if not scope.is_short_of_maintenance:
                return
            account.liquidating.add(key)
        if scope.is_short_of_initial:
            self._cancel_orders(account, key, time_ns)
            if (account.name, key) not in self._closing:
                # One order a position and second: the market gets time to answer.
                self._closing.add((account.name, key))
                self._close_in_book(account, key, time_ns)
            scope = self._clearing.scope(account.name, key)
            if scope.is_short_of_close_out:
                self._hand_over(account, key, time_ns)
                scope = self._clearing.scope(account.name, key)
        if not scope.is_short_of_initial:
            account.liquidating.discard(key)

    def _cancel_orders(self, account: Account, key: str, time_ns: int) -> None:
        """Take off everything that could still trade on this margin."""
        for order in self._desk.histories[account.name].open_orders():
            product_id = order.product.product_id
            position = account.position(product_id)
            own = product_id if position.lots and position.isolated else CROSS
            if own == key:
                self._desk.withdraw(order, EndReason.LIQUIDATION, time_ns)

    def _close_in_book(self, account: Account, key: str, time_ns: int) -> None:
        """Close what brings equity back to initial margin, position by position."""
        for product_id in [
            held.product.product_id for held in self._clearing.scope(account.name, key).by_risk()
        ]:
            scope = self._clearing.scope(account.name, key)
            if not scope.is_short_of_initial:
                return
            held = _position(scope, product_id)
            if held is None or scope.equity <= 0:
                continue
            fee_rate = max(ZERO, self._clearing.fee_tier(account.name, held.product).taker_rate)
            lots = lots_to_close(held, scope.initial - scope.equity, fee_rate)
            worst = bankruptcy_ticks(held, scope.equity_share(held), fee_rate)
            self._immediate(account, held.product, held.closing_side, lots, worst, time_ns)

    def _immediate(
        self,
        account: Account,
        product: Product,
        side: Side,
        lots: int,
        price_ticks: int,
        time_ns: int,
    ) -> None:
        """Enter an immediate-or-cancel order of the venue's for an account."""
        market = self._desk.markets[product.product_id]
        touch = market.book.walk(side, 1).worst_price_ticks
        if touch is None or side.sign * (touch - price_ticks) > 0:
            return
        order = self._order(account, product, side, lots, price_ticks, time_ns)
        events = market.apply(submit_command(order, account.participant_id), time_ns)
        self._desk.put(order)
        if isinstance(events[0], Rejected):
            self._desk.put(ended(order, EndReason.LIQUIDATION, time_ns))
            return
        self.steps += 1
        self._desk.settle(market, events, time_ns)
        self._desk.trim_reduce_only(account.name, market, time_ns)

    def _order(
        self,
        account: Account,
        product: Product,
        side: Side,
        lots: int,
        price_ticks: int,
        time_ns: int,
    ) -> Order:
        number = self._desk.next_number()
        order_id = self._desk.order_id(number)
        return Order(
            order_id=order_id,
            number=number,
            account=account.name,
            request=OrderRequest(
                client_order_id=f"liquidation-{order_id}",
                product_id=product.product_id,
                side=side,
                size=product.instrument.quantity(lots),
                limit_price=product.instrument.price(price_ticks),
                time_in_force=TimeInForce.IOC,
                liquidation=True,
            ),
            product=product,
            size_lots=lots,
            leaves_lots=lots,
            price_ticks=price_ticks,
            leverage=self._clearing.leverage(account.name, product),
            margin_type=account.margin_type(product.product_id),
            created_ns=time_ns,
            updated_ns=time_ns,
        )

    # ---------------------------------------------------------------- beyond the book

    def _hand_over(self, account: Account, key: str, time_ns: int) -> None:
        """Close all that is held at its bankruptcy price: fund, deleveraging, background flow."""
        scope = self._clearing.scope(account.name, key)
        shares = [(held, scope.equity_share(held)) for held in scope.by_risk()]
        for held, equity in shares:
            price_ticks = bankruptcy_ticks(held, equity)
            left = abs(held.lots)
            takers = [(FUND_ACCOUNT, min(left, self._fund_lots(held, price_ticks)))]
            self.taken_over_lots += takers[0][1]
            left -= takers[0][1]
            if left:
                customers = deleveraging(self._counterparties(account, held, price_ticks), left)
                takers += customers
                given = sum(lots for _, lots in customers)
                self.deleveraged_lots += given
                left -= given
            for name, lots in takers:
                if lots:
                    self._transfer(account, name, held, lots, price_ticks, time_ns)
            if left:
                self._transfer(account, None, held, left, price_ticks, time_ns)

    def _fund_lots(self, held: Held, price_ticks: int) -> int:
        clearing = self._clearing
        marks = clearing.mark_prices()
        notional = sum(
            (
                abs(clearing.products[name].value(marks[name], position.lots))
                for name, position in clearing.fund.positions.items()
            ),
            ZERO,
        )
        equity = clearing.fund.equity(clearing.products, marks)
        held_lots = clearing.fund.position(held.product.product_id).lots
        return fund_lots(held, price_ticks, equity, notional, clearing.rule, held_lots)

    def _counterparties(self, account: Account, held: Held, price_ticks: int) -> list[Counterparty]:
        """Return the customers who hold the other side, with what ranks them.

        Each with the lots that it can give up at a price without falling below zero itself.
        """
        product, clearing = held.product, self._clearing
        product_id = product.product_id
        found = []
        for other in clearing.accounts.values():
            position = other.positions.get(product_id)
            if other is account or position is None or position.lots * held.lots >= 0:
                continue
            value = product.value(held.mark, position.lots)
            scope = clearing.scope(other.name, product_id if position.isolated else CROSS)
            lots = bearable_lots(product, position.lots, held.mark, price_ticks, scope.equity)
            found.append(
                Counterparty(
                    name=other.name,
                    participant_id=other.participant_id,
                    lots=lots,
                    notional=sum((one.notional for one in scope.held), ZERO),
                    profit=value - position.entry_cost,
                    cost=position.entry_cost,
                    equity=scope.equity,
                )
            )
        return found

    def _transfer(
        self,
        account: Account,
        taker: str | None,
        held: Held,
        lots: int,
        price_ticks: int,
        time_ns: int,
    ) -> None:
        """Move lots from an account to another, or to the background flow, outside the book."""
        self.transfers += 1
        side = held.closing_side
        self._fill(account, held.product, side, lots, price_ticks, time_ns)
        if taker is None:
            sign = side.opposite.sign
            self._clearing.flow.settle(held.product, sign * lots, price_ticks, ZERO)
            return
        other = self._clearing.account(taker)
        self._fill(other, held.product, side.opposite, lots, price_ticks, time_ns)

    def _fill(
        self,
        account: Account,
        product: Product,
        side: Side,
        lots: int,
        price_ticks: int,
        time_ns: int,
    ) -> None:
        """Book one side of a transfer as an order that is filled at once and pays no fee."""
        order = self._order(account, product, side, lots, price_ticks, time_ns)
        self._desk.put(order)
        self._clearing.book(account.name, product, side.sign * lots, price_ticks)
        trade_id = derived_uuid("transfer", self._run, order.number)
        self._desk.fill(order, trade_id, price_ticks, lots, ZERO, Liquidity.TAKER, time_ns)
        market = self._desk.markets[product.product_id]
        self._desk.trim_reduce_only(account.name, market, time_ns)

    # ---------------------------------------------------------------- the fund

    def _unwind_fund(self, time_ns: int) -> None:
        """Offer what the fund holds to the book, near the mark."""
        fund = self._clearing.fund
        for product_id, position in list(fund.positions.items()):
            if not position.lots:
                continue
            product = self._clearing.products[product_id]
            side = Side.SELL if position.lots > 0 else Side.BUY
            reach = self._clearing.mark(product_id) * (1 + side.sign * FUND_REACH)
            rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
            ticks = int((reach / product.instrument.tick_size).to_integral_value(rounding))
            self._immediate(fund, product, side, abs(position.lots), max(1, ticks), time_ns)


def _position(scope: Scope, product_id: str) -> Held | None:
    return next((held for held in scope.held if held.product.product_id == product_id), None)

"""The paper venue: accounts trade with one another and with a background flow over `lob` books.

Single-threaded and deterministic: the same configuration and the same calls give the same orders,
fills and tape. Time is passed in; nothing here waits, reads a clock or does I/O.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from lob.errors import InvalidInput, InvariantViolation, NotFound
from lob.types import (
    Cancel,
    Cancelled,
    Event,
    Reduced,
    Rejected,
    RejectReason,
    Side,
    Traded,
)
from touchstone.exchange import entry
from touchstone.exchange.accounts import Account
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.history import OrderHistory
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.lifecycle import (
    END_REASONS,
    book_refusal,
    decremented,
    ended,
    filled,
    submit_command,
)
from touchstone.exchange.margin import Exposure, WorkingOrder, total_requirement
from touchstone.exchange.market import (
    CUSTOMER_ORDER_IDS,
    FLOW_PARTICIPANT,
    LevelChange,
    Market,
)
from touchstone.exchange.money import ZERO, rounded
from touchstone.exchange.orders import (
    TRANSITIONS,
    CancelFailure,
    CancelResult,
    EndReason,
    FailureReason,
    Fill,
    Liquidity,
    MarketTrade,
    Order,
    OrderRequest,
    OrderStatus,
    Refusal,
)
from touchstone.exchange.products import Product

FLOW_ACCOUNT: Final = "background-flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """What happened since the last drain: orders and trades in order, levels as they stand."""

    orders: tuple[Order, ...]
    trades: tuple[MarketTrade, ...]
    levels: dict[str, tuple[LevelChange, ...]]


class Exchange:
    """Take orders, match them, keep the accounts.

    The caller drains `updates` after each call; what it has not drained waits here.
    """

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        self.config = config = config or ExchangeConfig()
        self.now_ns = config.start_ns
        self.flow_paused = False
        self.fees_collected = ZERO
        self.products = {product.product_id: product for product in config.products}
        self.markets = {
            name: Market(
                product,
                seed=config.seed,
                run=config.run,
                start_ns=config.start_ns,
                background_flow=config.background_flow,
            )
            for name, product in self.products.items()
        }
        self.accounts: dict[str, Account] = {}
        self._histories: dict[str, OrderHistory] = {}
        self._owners: dict[int, str] = {}
        self._changed: list[Order] = []
        self._next_number = CUSTOMER_ORDER_IDS
        self._next_fill = 1
        self._flow = Account(FLOW_ACCOUNT, FLOW_PARTICIPANT, ZERO, ZERO)
        self.drain()

    # ---------------------------------------------------------------- time

    def advance(self, now_ns: int, flow_commands_max: int = 10_000) -> int:
        """Move on to `now_ns` with the background flow; return how many commands it gave.

        At most `flow_commands_max` a market: what is not reached is put off, not left out.
        """
        if now_ns < self.now_ns:
            raise InvalidInput(f"now_ns: {now_ns} is in the past; allowed: {self.now_ns} or later")
        elapsed_ns = now_ns - self.now_ns
        self.now_ns = now_ns
        if self.flow_paused or not elapsed_ns:
            return 0
        count = 0
        for market in self.markets.values():
            until_ns = market.flow_now_ns + elapsed_ns
            for time_ns, events in market.step_flow(until_ns, now_ns, flow_commands_max):
                count += 1
                self._settle(market, events, time_ns)
        return count

    # ---------------------------------------------------------------- commands

    def open_account(self, name: str) -> Account:
        """Return the account of this name, opened with the starting balance where it is new."""
        if name not in self.accounts:
            if name == FLOW_ACCOUNT or not name:
                raise InvalidInput(f"account: {name!r}; allowed: any other name")
            balance = self.config.starting_balance
            self.accounts[name] = Account(name, len(self.accounts) + 1, balance, balance)
            self._histories[name] = OrderHistory(self.config.history_limit)
        return self.accounts[name]

    def create(self, account_name: str, request: OrderRequest) -> Order | Refusal:
        """Enter an order, or say why not.

        A client_order_id the account has used before returns the original order and does nothing.
        """
        account, history = self._account(account_name)
        original = history.by_client_id(request.client_order_id)
        if original is not None:
            return original
        product = entry.find_product(self.products, request)
        if isinstance(product, Refusal):
            return product
        sized = entry.check_size(product, request)
        if isinstance(sized, Refusal):
            return sized
        leverage = entry.check_leverage(
            product, request.leverage, account.leverage.get(product.product_id)
        )
        if isinstance(leverage, Refusal):
            return leverage
        refusal = self._check_account(account, history, product, request, sized, leverage)
        if refusal is not None:
            return refusal
        return self._enter(account, history, product, request, sized, leverage)

    def cancel(self, account_name: str, order_ids: Iterable[str]) -> tuple[CancelResult, ...]:
        """Cancel orders of one account, one result each, in the order asked."""
        _, history = self._account(account_name)
        return tuple(self._cancel(history, order_id) for order_id in order_ids)

    # ---------------------------------------------------------------- questions

    def order(self, account_name: str, order_id: str) -> Order | None:
        """Return an order of the account by the venue's id."""
        return self._account(account_name)[1].order(order_id)

    def orders(self, account_name: str) -> list[Order]:
        """Return the account's orders, newest first."""
        return self._account(account_name)[1].orders()

    def open_orders(self, account_name: str, product_id: str | None = None) -> list[Order]:
        """Return the account's open orders, oldest first, of one product or of all."""
        return list(self._account(account_name)[1].open_orders(product_id))

    def fills(self, account_name: str) -> list[Fill]:
        """Return the account's fills, newest first."""
        return list(reversed(self._account(account_name)[1].fills))

    def marks(self) -> dict[str, Decimal]:
        """Return the mark price of every product."""
        return {name: market.mark() for name, market in self.markets.items()}

    def equity(self, account_name: str) -> Decimal:
        """Return the account's balance plus unrealised profit."""
        return self._account(account_name)[0].equity(self.products, self.marks())

    def margin_requirement(self, account_name: str) -> Decimal:
        """Return the equity that the account's positions and open orders need."""
        account, history = self._account(account_name)
        return self._requirement(account, history)

    def leverage(self, account_name: str, product: Product) -> Decimal:
        """Return the leverage that holds for an account's product."""
        account, _ = self._account(account_name)
        return account.leverage.get(product.product_id, product.max_leverage)

    def drain(self) -> Updates:
        """Return what happened since the last drain, and forget it."""
        orders = tuple(self._changed)
        self._changed.clear()
        trades = [trade for market in self.markets.values() for trade in market.drain_trades()]
        levels = {name: market.drain_changes() for name, market in self.markets.items()}
        return Updates(
            orders=orders,
            trades=tuple(trades),
            levels={name: changes for name, changes in levels.items() if changes},
        )

    def conserved_total(self) -> Decimal:
        """Return all book values plus the fees: always the sum of all deposits."""
        total = self._flow.book_value() + self.fees_collected
        return total + sum((account.book_value() for account in self.accounts.values()), ZERO)

    def check(self) -> None:
        """Raise `InvariantViolation` unless money, positions, orders and books agree."""
        deposits = sum((account.deposits for account in self.accounts.values()), ZERO)
        if self.conserved_total() != deposits:
            raise InvariantViolation(f"money: {self.conserved_total()}, deposited: {deposits}")
        holders = [self._flow, *self.accounts.values()]
        for name, market in self.markets.items():
            market.book.check()
            lots = sum(holder.position(name).lots for holder in holders)
            if lots:
                raise InvariantViolation(f"positions of {name} sum to {lots} lots, not to 0")
        for number, name in self._owners.items():
            order = self._histories[name].by_number(number)
            resting = order and self.markets[order.product.product_id].book.order(number)
            if order is None or resting is None or resting.leaves != order.leaves_lots:
                raise InvariantViolation(f"open order {number} and the book differ")

    # ---------------------------------------------------------------- entry

    def _account(self, name: str) -> tuple[Account, OrderHistory]:
        if name not in self.accounts:
            raise NotFound(f"account: {name!r} is not open")
        return self.accounts[name], self._histories[name]

    def _check_account(
        self,
        account: Account,
        history: OrderHistory,
        product: Product,
        request: OrderRequest,
        sized: entry.Sized,
        leverage: Decimal,
    ) -> Refusal | None:
        """Check a well-formed request against the account's orders, position and funds."""
        if request.rests and history.open_count() >= self.config.max_open_orders:
            return Refusal(
                FailureReason.COMMANDER_REJECTED_NEW_ORDER,
                f"open orders: {history.open_count()}; allowed: {self.config.max_open_orders}",
            )
        position_lots = account.position(product.product_id).lots
        working = list(history.open_orders(product.product_id))
        refusal = entry.check_reduce_only(request, sized.size_lots, position_lots, working)
        if refusal is not None:
            return refusal
        book = self.markets[product.product_id].book
        worst = entry.check_liquidity(book, request.side, sized)
        if isinstance(worst, Refusal):
            return worst
        if request.reduce_only or entry.only_reduces(
            request.side, sized.size_lots, position_lots, working
        ):
            return None
        assert worst.price_ticks is not None  # noqa: S101 - check_liquidity has given it one
        extra = entry.working_order(product, request.side, worst.size_lots, worst.price_ticks)
        return entry.check_funds(
            self._requirement(account, history),
            self._requirement(account, history, {product.product_id: (extra, leverage)}),
            account.equity(self.products, self.marks()),
        )

    def _requirement(
        self,
        account: Account,
        history: OrderHistory,
        extra: dict[str, tuple[WorkingOrder, Decimal]] | None = None,
    ) -> Decimal:
        """Return the account's margin requirement, with one more order where `extra` has one."""
        working: dict[str, list[WorkingOrder]] = {name: [] for name in self.products}
        for order in history.open_orders():
            if order.price_ticks is not None:
                working[order.product.product_id].append(
                    entry.working_order(
                        order.product, order.side, order.leaves_lots, order.price_ticks
                    )
                )
        leverage = dict(account.leverage)
        for name, (order_to_come, asked) in (extra or {}).items():
            working[name].append(order_to_come)
            leverage[name] = asked
        exposures = (
            Exposure(
                product=product,
                position_lots=account.position(name).lots,
                mark=self.markets[name].mark(),
                leverage=leverage.get(name, product.max_leverage),
                working=tuple(working[name]),
            )
            for name, product in self.products.items()
            if working[name] or account.position(name).lots
        )
        return total_requirement(exposures, self.config.taker_fee_rate)

    def _enter(
        self,
        account: Account,
        history: OrderHistory,
        product: Product,
        request: OrderRequest,
        sized: entry.Sized,
        leverage: Decimal,
    ) -> Order | Refusal:
        """Hand an admitted order to the book and settle what it trades."""
        market = self.markets[product.product_id]
        number = self._next_number
        order = Order(
            order_id=derived_uuid("order", self.config.run, number),
            number=number,
            account=account.name,
            request=request,
            product=product,
            size_lots=sized.size_lots,
            leaves_lots=sized.size_lots,
            price_ticks=sized.price_ticks,
            leverage=leverage,
            created_ns=self.now_ns,
            updated_ns=self.now_ns,
        )
        events = market.apply(submit_command(order, account.participant_id), self.now_ns)
        first = events[0]
        if isinstance(first, Rejected) and first.reason is not RejectReason.FOK_NOT_FILLABLE:
            return book_refusal(first.reason)
        self._next_number += 1
        self._put(order)
        account.leverage[product.product_id] = leverage
        if isinstance(first, Rejected):
            self._put(ended(order, EndReason.FOK_NOT_FILLABLE, self.now_ns))
        else:
            self._settle(market, events, self.now_ns)
            self._trim_reduce_only(account, market)
        return history.order(order.order_id) or order

    def _cancel(self, history: OrderHistory, order_id: str) -> CancelResult:
        order = history.order(order_id)
        if order is None:
            return CancelResult(order_id, False, CancelFailure.UNKNOWN_CANCEL_ORDER)
        if order.status is OrderStatus.FILLED:
            return CancelResult(order_id, False, CancelFailure.ORDER_IS_FULLY_FILLED)
        if order.status is OrderStatus.CANCELLED:
            return CancelResult(order_id, False, CancelFailure.DUPLICATE_CANCEL_REQUEST)
        market = self.markets[order.product.product_id]
        self._settle(market, market.apply(Cancel(order.number), self.now_ns), self.now_ns)
        return CancelResult(order_id, True, CancelFailure.UNKNOWN_CANCEL_FAILURE_REASON)

    # ---------------------------------------------------------------- settlement

    def _settle(self, market: Market, events: tuple[Event, ...], time_ns: int) -> None:
        """Carry the book's events into orders, positions and cash."""
        traders: set[str] = set()
        for event in events:
            match event:
                case Traded():
                    traders |= self._settle_trade(market, event, time_ns)
                case Cancelled(order_id=number, reason=reason):
                    order = self._open_order(number)
                    if order is not None:
                        self._touch(market, order)
                        self._put(ended(order, END_REASONS[reason], time_ns))
                case Reduced(order_id=number, leaves=leaves):
                    order = self._open_order(number)
                    if order is not None:
                        self._touch(market, order)
                        self._put(decremented(order, leaves, time_ns))
                case _:
                    pass
        for name in traders:
            self._trim_reduce_only(self.accounts[name], market)

    def _settle_trade(self, market: Market, trade: Traded, time_ns: int) -> set[str]:
        """Book both sides of a trade; return the customers in it.

        The flow trading with itself changes nobody's money and is left out.
        """
        maker = self._open_order(trade.maker_order_id)
        taker = self._open_order(trade.taker_order_id)
        if maker is None and taker is None:
            return set()
        sides = (
            (maker, trade.aggressor_side.opposite, trade.maker_leaves, Liquidity.MAKER),
            (taker, trade.aggressor_side, trade.taker_leaves, Liquidity.TAKER),
        )
        customers = set()
        for order, side, leaves, liquidity in sides:
            signed_lots = side.sign * trade.quantity_lots
            if order is None:
                self._flow.settle(market.product, signed_lots, trade.price_ticks, ZERO)
                continue
            customers.add(order.account)
            fee = self._fee(market.product, trade, liquidity)
            account = self.accounts[order.account]
            account.settle(market.product, signed_lots, trade.price_ticks, fee)
            self.fees_collected += fee
            self._fill(market, order, trade, leaves, liquidity, fee, time_ns)
        return customers

    def _fee(self, product: Product, trade: Traded, liquidity: Liquidity) -> Decimal:
        config = self.config
        maker = liquidity is Liquidity.MAKER
        rate = config.maker_fee_rate if maker else config.taker_fee_rate
        return rounded(product.notional(trade.price_ticks, trade.quantity_lots) * rate)

    def _fill(
        self,
        market: Market,
        order: Order,
        trade: Traded,
        leaves: int,
        liquidity: Liquidity,
        fee: Decimal,
        time_ns: int,
    ) -> None:
        """Record a fill and the order's new state."""
        trade_id = market.trade_id(trade)
        fill = Fill(
            entry_id=derived_uuid("fill", trade_id, liquidity),
            trade_id=trade_id,
            number=self._next_fill,
            order_id=order.order_id,
            product=market.product,
            side=order.side,
            price_ticks=trade.price_ticks,
            lots=trade.quantity_lots,
            fee=fee,
            liquidity=liquidity,
            time_ns=time_ns,
        )
        self._next_fill += 1
        self._histories[order.account].fills.append(fill)
        notional = market.product.notional(trade.price_ticks, trade.quantity_lots)
        self._put(filled(order, fill, notional, leaves))

    def _trim_reduce_only(self, account: Account, market: Market) -> None:
        """Cancel, newest first, the reduce-only orders that could now open a position."""
        product_id = market.product.product_id
        held = account.position(product_id).lots
        working = self.open_orders(account.name, product_id)
        for side in Side:
            mine = [order for order in working if order.side is side]
            excess = sum(order.leaves_lots for order in mine) - max(0, -side.sign * held)
            for order in reversed(mine):
                if order.request.reduce_only and excess > 0:
                    excess -= order.leaves_lots
                    market.apply(Cancel(order.number), self.now_ns)
                    self._put(ended(order, EndReason.REDUCE_ONLY, self.now_ns))

    def _open_order(self, number: int) -> Order | None:
        name = self._owners.get(number)
        return None if name is None else self._histories[name].by_number(number)

    def _touch(self, market: Market, order: Order) -> None:
        if order.price_ticks is not None:
            market.touch(order.side, order.price_ticks)

    def _put(self, order: Order) -> None:
        """Store an order's new state and note it for the next drain."""
        history = self._histories[order.account]
        before = history.order(order.order_id)
        if before is not None and order.status not in TRANSITIONS[before.status]:
            raise InvariantViolation(f"order {order.order_id}: {before.status} -> {order.status}")
        if order.status is OrderStatus.OPEN:
            self._owners[order.number] = order.account
        else:
            self._owners.pop(order.number, None)
        history.put(order)
        self._changed.append(order)

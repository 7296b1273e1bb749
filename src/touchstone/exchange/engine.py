"""The paper venue: accounts trade with one another and with a background flow over `lob` books.

Single-threaded and deterministic: the same configuration and the same calls give the same orders,
fills and tape. Time is passed in; nothing here waits, reads a clock or does I/O.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from lob.errors import InvalidInput
from touchstone.exchange.accounts import Account
from touchstone.exchange.clearing import Clearing
from touchstone.exchange.closing import closing_order
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.consequences import expire, settle_consequences
from touchstone.exchange.desk import EXPIRY, SLICE, OrderDesk
from touchstone.exchange.editing import EditRefused, check_edit, make_change
from touchstone.exchange.entry import admit
from touchstone.exchange.grid import Grid
from touchstone.exchange.history import OrderHistory
from touchstone.exchange.index import SECOND_NS
from touchstone.exchange.liquidator import Liquidator
from touchstone.exchange.market import TouchedLevel
from touchstone.exchange.marketplace import Marketplace
from touchstone.exchange.options import OptionBook
from touchstone.exchange.orders import (
    CANCEL_FAILURES,
    CancelResult,
    EditPreview,
    EditResult,
    Fill,
    MarketTrade,
    Order,
    Preview,
)
from touchstone.exchange.placing import place
from touchstone.exchange.portfolios import Portfolios
from touchstone.exchange.previews import preview_edit, preview_order
from touchstone.exchange.products import Product
from touchstone.exchange.reasons import CancelFailure, EndReason, FailureReason, Refusal, Refused
from touchstone.exchange.requests import CloseRequest, EditRequest, OrderRequest
from touchstone.exchange.schedule import Rank, Schedule
from touchstone.exchange.slicing import trade_slice
from touchstone.exchange.state import state_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """What happened since the last drain: orders and trades in order, levels as they stand."""

    orders: tuple[Order, ...]
    trades: tuple[MarketTrade, ...]
    levels: dict[str, tuple[TouchedLevel, ...]]


class Exchange:
    """Take orders, match them, keep the accounts.

    The caller drains `updates` after each call; what it has not drained waits here.
    """

    def __init__(self, config: ExchangeConfig | None = None) -> None:
        self.config = config = config or ExchangeConfig()
        self.now_ns = config.start_ns
        self._flow_paused = False
        self.products = {product.product_id: product for product in config.products}
        self.marketplace = Marketplace(config)
        self.markets = self.marketplace.markets
        self.clearing = Clearing(config, self.markets, self.marketplace.index)
        self.schedule = Schedule()
        self.desk = OrderDesk(config, self.markets, self.clearing, self.schedule)
        self.portfolios = Portfolios(self.clearing, self.desk)
        self.options = OptionBook()
        self.schedule.register(EXPIRY, Rank.EXPIRY, self._expire)
        self.schedule.register(SLICE, Rank.SLICE, self._trade_slice)
        self.schedule.register("index", Rank.INDEX, self._move_indices, SECOND_NS)
        self.schedule.at((config.start_ns // SECOND_NS + 1) * SECOND_NS, "index")
        self.liquidator = Liquidator(config.run, self.clearing, self.desk)
        self.grid = Grid(config, self.clearing, self.liquidator, self.schedule)
        self.drain()

    # ---------------------------------------------------------------- time

    def advance(self, until_ns: int, limit: int = 10_000) -> int:
        """Carry out what is due until `until_ns`, in order of time; return how many items.

        With `limit` items it stops before the next moment: `now_ns` is then the time it has
        reached, and the rest comes with the next call. What is due at one moment is never parted,
        so the result does not depend on how time was cut into calls. Timers come before the
        background flow where both are due at one moment.
        """
        if until_ns < self.now_ns:
            raise InvalidInput(f"until_ns: {until_ns} is in the past; allowed: {self.now_ns}..")
        count = 0
        while True:
            market, due_ns = None, self.schedule.next_ns()
            for candidate in self.markets.values():
                flow_ns = candidate.flow_due_ns()
                if flow_ns is not None and (due_ns is None or flow_ns < due_ns):
                    market, due_ns = candidate, flow_ns
            if due_ns is None or due_ns > until_ns:
                self.now_ns = until_ns
                return count
            if count >= limit and due_ns > self.now_ns:
                return count
            self.now_ns = due_ns
            if market is None:
                self.schedule.run_next()
            else:
                _, events = market.step_flow()
                self.desk.settle(market, events, due_ns)
            settle_consequences(self.desk, due_ns)
            count += 1

    @property
    def flow_paused(self) -> bool:
        """Say whether the background flow stands still; set it to stop or resume."""
        return self._flow_paused

    @flow_paused.setter
    def flow_paused(self, paused: bool) -> None:
        self._flow_paused = paused
        if paused:
            self.marketplace.pause(self.now_ns)
        else:
            self.marketplace.resume(self.now_ns)

    def _move_indices(self, due_ns: int, _key: int) -> None:
        """Carry out a second's moves of the indices and what arbitrage makes of them."""
        for market, events in self.marketplace.step_second(due_ns):
            self.desk.settle(market, events, due_ns)

    def _expire(self, due_ns: int, number: int) -> None:
        expire(self.desk, due_ns, number)

    def _trade_slice(self, due_ns: int, number: int) -> None:
        trade_slice(self.desk, due_ns, number)

    # ---------------------------------------------------------------- commands

    def open_account(self, name: str) -> Account:
        """Return the account of this name, opened with the starting balance where it is new."""
        account = self.clearing.open_account(name)
        self.desk.open_account(name)
        return account

    def create(self, account_name: str, request: OrderRequest) -> Order | Refusal:
        """Enter an order, or say why not.

        A client_order_id the account has used before returns the original order and does nothing.
        """
        original = self._history(account_name).by_client_id(request.client_order_id)
        if original is not None:
            return original
        try:
            admitted = admit(self.desk, account_name, request, self.now_ns)
            order = place(self.desk, account_name, admitted, self.now_ns)
        except Refused as refused:
            return refused.refusal
        if self.desk.consequences:
            settle_consequences(self.desk, self.now_ns)
            return self._history(account_name).order(order.order_id) or order
        return order

    def cancel(self, account_name: str, order_ids: Iterable[str]) -> tuple[CancelResult, ...]:
        """Cancel orders of one account, one result each, in the order asked."""
        history = self._history(account_name)
        return tuple(self._cancel(history, order_id) for order_id in order_ids)

    def edit(self, account_name: str, request: EditRequest) -> EditResult:
        """Give an order that works new terms under its old id, or say why not."""
        history = self._history(account_name)
        try:
            change = check_edit(self.desk, account_name, request)
            make_change(self.desk, change, request, self.now_ns)
        except EditRefused as refused:
            return EditResult(refusal=refused.refusal)
        settle_consequences(self.desk, self.now_ns)
        return EditResult(order=history.order(request.order_id))

    def close_position(self, account_name: str, request: CloseRequest) -> Order | Refusal:
        """Close a position at market, whole or in part; it never opens one.

        A client_order_id used before returns that order, as in `create`.
        """
        original = self._history(account_name).by_client_id(request.client_order_id)
        if original is not None:
            return original
        lots = self.accounts[account_name].position(request.product_id).lots
        if request.product_id in self.products and not lots:
            return Refusal(
                FailureReason.CANNOT_CLOSE_ZERO_POSITION, f"no position in {request.product_id}"
            )
        return self.create(account_name, closing_order(self.products, request, lots))

    # ---------------------------------------------------------------- questions

    def preview(self, account_name: str, request: OrderRequest) -> Preview:
        """Return what an order would do if it were entered now; nothing changes."""
        self.clearing.account(account_name)
        return preview_order(self.desk, account_name, request, self.now_ns)

    def preview_edit(self, account_name: str, request: EditRequest) -> EditPreview:
        """Return what an edit would do if it were made now; nothing changes."""
        self.clearing.account(account_name)
        return preview_edit(self.desk, account_name, request)

    @property
    def accounts(self) -> dict[str, Account]:
        """Return the accounts by name."""
        return self.clearing.accounts

    @property
    def fees_collected(self) -> Decimal:
        """Return what customers have paid in fees."""
        return self.clearing.fees_collected

    def order(self, account_name: str, order_id: str) -> Order | None:
        """Return an order of the account by the venue's id."""
        return self._history(account_name).order(order_id)

    def orders(self, account_name: str) -> list[Order]:
        """Return the account's orders, newest first."""
        return self._history(account_name).orders()

    def open_orders(self, account_name: str, product_id: str | None = None) -> list[Order]:
        """Return the account's open orders, oldest first, of one product or of all."""
        return list(self._history(account_name).open_orders(product_id))

    def fills(self, account_name: str, order_ids: Collection[str] = ()) -> list[Fill]:
        """Return the account's fills, newest first; where orders are named, theirs alone."""
        return self._history(account_name).fills_of(order_ids)

    def marks(self) -> dict[str, Decimal]:
        """Return the mark price of every product."""
        return self.clearing.mark_prices()

    def equity(self, account_name: str) -> Decimal:
        """Return the account's balance plus unrealised profit."""
        return self.clearing.equity(account_name)

    def margin_requirement(self, account_name: str) -> Decimal:
        """Return the equity that the account's positions and open orders need."""
        return self.clearing.requirement(account_name)

    def leverage(self, account_name: str, product: Product) -> Decimal:
        """Return the leverage that holds for an account's product."""
        return self.clearing.leverage(account_name, product)

    def drain(self) -> Updates:
        """Return what happened since the last drain, and forget it."""
        trades = [trade for market in self.markets.values() for trade in market.drain_trades()]
        levels = {name: market.drain_changes() for name, market in self.markets.items()}
        return Updates(
            orders=self.desk.drain(),
            trades=tuple(trades),
            levels={name: changes for name, changes in levels.items() if changes},
        )

    def state_hash(self) -> str:
        """Return a hash that two venues share exactly when they will go on alike. O(state)."""
        return state_hash(self)

    def conserved_total(self) -> Decimal:
        """Return all book values plus the fees: always the sum of all deposits."""
        return self.clearing.conserved_total()

    def check(self) -> None:
        """Raise `InvariantViolation` unless money, positions, orders and books agree."""
        self.clearing.check()
        self.desk.check()

    # ---------------------------------------------------------------- inside

    def _history(self, name: str) -> OrderHistory:
        self.clearing.account(name)
        return self.desk.histories[name]

    def _cancel(self, history: OrderHistory, order_id: str) -> CancelResult:
        order = history.order(order_id)
        if order is None:
            return CancelResult(order_id, False, CancelFailure.UNKNOWN_CANCEL_ORDER)
        if not order.live:
            return CancelResult(order_id, False, CANCEL_FAILURES[order.status])
        self.desk.withdraw(order, EndReason.USER_REQUESTED, self.now_ns)
        settle_consequences(self.desk, self.now_ns)
        return CancelResult(order_id, True, CancelFailure.UNKNOWN_CANCEL_FAILURE_REASON)

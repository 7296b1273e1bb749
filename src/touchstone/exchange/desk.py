"""The desk between orders and books: what the book says becomes orders, fills, positions and cash.

Every change of an order passes through `put`, which holds it against the table of transitions and
tells clearing and whoever drains. What follows from a change (a stop that a trade reached, a child
of an order that filled) waits in `consequences` until the change itself is complete.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar, Final, NamedTuple

from lob.errors import ConfigError, InvariantViolation
from lob.types import (
    Cancel,
    Cancelled,
    Command,
    Event,
    Reduce,
    Reduced,
    Rejected,
    RejectReason,
    Side,
    Traded,
)
from touchstone.exchange.clearing import Clearing
from touchstone.exchange.config import ExchangeConfig
from touchstone.exchange.history import OrderHistory
from touchstone.exchange.identifiers import derived_uuid
from touchstone.exchange.lifecycle import END_REASONS, decremented, ended, filled, submit_command
from touchstone.exchange.market import CUSTOMER_ORDER_IDS, Market
from touchstone.exchange.money import ZERO
from touchstone.exchange.orders import (
    TRANSITIONS,
    Fill,
    Liquidity,
    Order,
    OrderStatus,
    TriggerStatus,
)
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import OrderKind, StopDirection
from touchstone.exchange.resting import RestingLots
from touchstone.exchange.schedule import Schedule
from touchstone.exchange.triggers import TriggerBook

TRIGGERED: Final = "triggered"
RELATED: Final = "related"
"""What consequences there are: a trade reached an order's stop; an order with relatives changed."""

EXPIRY: Final = "expiry"
SLICE: Final = "slice"
"""The timers of orders, by their number."""


class Consequence(NamedTuple):
    """Something that follows from what happened to an order, which stands as it was then."""

    what: str
    order: Order


class OrderDesk:
    """Keep all orders and carry the book's events into them."""

    TRANSIENT: ClassVar = frozenset({"_changed"})
    """What waits to be drained."""

    def __init__(
        self,
        config: ExchangeConfig,
        markets: Mapping[str, Market],
        clearing: Clearing,
        schedule: Schedule,
    ) -> None:
        self.max_open_orders = config.max_open_orders
        if not (config.price_collar.is_finite() and config.price_collar > 1):
            raise ConfigError(f"price_collar: {config.price_collar}; allowed: above 1")
        self.price_collar = config.price_collar
        self._config = config
        self.schedule = schedule
        self.markets = markets
        self.clearing = clearing
        self.histories: dict[str, OrderHistory] = {}
        self.triggers = {name: TriggerBook() for name in markets}
        self.consequences: deque[Consequence] = deque()
        self._resting: dict[str, dict[str, RestingLots]] = {}
        self._owners: dict[int, str] = {}
        self._changed: list[Order] = []
        self._next_number = CUSTOMER_ORDER_IDS
        self._next_fill = 1

    # ---------------------------------------------------------------- orders

    def open_account(self, name: str) -> None:
        """Start an account's history."""
        if name not in self.histories:
            self.histories[name] = OrderHistory(self._config.history_limit)
            self._resting[name] = {product_id: RestingLots() for product_id in self.markets}

    def resting(self, name: str, product_id: str) -> RestingLots:
        """Return what an account has resting in a product's book."""
        return self._resting[name][product_id]

    def next_number(self) -> int:
        """Return the number of the next order, and count on."""
        number = self._next_number
        self._next_number += 1
        return number

    def order_id(self, number: int) -> str:
        """Return the id of the order with this number."""
        return derived_uuid("order", self._config.run, number)

    def live(self, number: int) -> Order | None:
        """Return a live order by its number; None when it has ended or is not a customer's."""
        name = self._owners.get(number)
        return None if name is None else self.histories[name].by_number(number)

    def put(self, order: Order) -> None:
        """Store an order's new state and tell whoever has to know."""
        history = self.histories[order.account]
        before = history.order(order.order_id)
        if before is not None and order.status not in TRANSITIONS[before.status]:
            raise InvariantViolation(f"order {order.order_id}: {before.status} -> {order.status}")
        if order.live:
            self._owners[order.number] = order.account
        else:
            self._owners.pop(order.number, None)
        history.put(order)
        if before is None and not order.request.liquidation:
            self.clearing.accept(
                order.account, order.product, order.leverage, order.request.margin_type
            )
        self.clearing.note(order)
        self._resting[order.account][order.product.product_id].note(order)
        if not order.live:
            self._forget(order)
        if order.attached_order_id or order.originating_order_id:
            self.consequences.append(Consequence(RELATED, order))
        self._changed.append(order)

    def _forget(self, order: Order) -> None:
        """Let nothing wait for an order that has ended."""
        if order.stop_ticks is not None:
            self.triggers[order.product.product_id].drop(order.number)
        if order.request.end_time_ns is not None:
            self.schedule.drop(EXPIRY, order.number)
            self.schedule.drop(SLICE, order.number)

    def drain(self) -> tuple[Order, ...]:
        """Return every order state since the last drain, and forget it."""
        changed = tuple(self._changed)
        self._changed.clear()
        return changed

    # ---------------------------------------------------------------- the book

    def apply(self, market: Market, command: Command, time_ns: int) -> Sequence[Event]:
        """Give a command to a market's book and settle what comes of it."""
        events = market.apply(command, time_ns)
        self.settle(market, events, time_ns)
        return events

    def work(self, order: Order, time_ns: int) -> RejectReason | None:
        """Let an order into its book and settle what comes of it, or return why the book refuses.

        A refused order is not stored.
        """
        market = self.markets[order.product.product_id]
        participant_id = self.clearing.account(order.account).participant_id
        events = market.apply(submit_command(order, participant_id), time_ns)
        first = events[0]
        if isinstance(first, Rejected):
            return first.reason
        self.put(order)
        self.settle(market, events, time_ns)
        self.trim_reduce_only(order.account, market, time_ns)
        return None

    def wait_for(self, order: Order, direction: StopDirection) -> None:
        """Let an order wait for its stop price, or trigger it where that is reached already."""
        market = self.markets[order.product.product_id]
        stop, last = order.stop_price, market.last_price()
        if order.stop_ticks is None or stop is None:
            raise InvariantViolation(f"order {order.order_id} has no stop price")
        if stop <= last if direction is StopDirection.UP else stop >= last:
            self.consequences.append(Consequence(TRIGGERED, order))
        else:
            self.triggers[market.product.product_id].put(order.number, direction, order.stop_ticks)

    def reducible_lots(self, order: Order) -> int:
        """Return how many lots an order could trade before it opened a position."""
        account = self.clearing.account(order.account)
        return max(0, -order.side.sign * account.position(order.product.product_id).lots)

    def room_lots(self, order: Order) -> int:
        """Return how many lots of an order may rest beside the others on its side, to reduce."""
        resting = self.resting(order.account, order.product.product_id).lots(order.side)
        own = order.leaves_lots if order.in_book else 0
        return max(0, self.reducible_lots(order) - (resting - own))

    def withdraw(
        self,
        order: Order,
        reason: EndReason,
        time_ns: int,
        status: OrderStatus = OrderStatus.CANCELLED,
    ) -> None:
        """End an order, taking what rests of it and of its children out of the book.

        `order` may be a state of it that has passed; one that has ended already is left alone.
        """
        history = self.histories[order.account]
        present = self.live(order.number)
        if present is None:
            return
        order = present
        for child_id in order.children:
            child = history.order(child_id)
            if child is not None and child.live:
                self.withdraw(child, EndReason.PARENT_ENDED, time_ns)
        if order.in_book:
            self.markets[order.product.product_id].apply(Cancel(order.number), time_ns)
        self.put(ended(order, reason, time_ns, status))

    def settle(self, market: Market, events: Sequence[Event], time_ns: int) -> None:
        """Carry the book's events into orders, positions and cash."""
        met: list[Order] = []
        triggers = self.triggers[market.product.product_id]
        for event in events:
            match event:
                case Traded():
                    met += self._settle_trade(market, event, time_ns)
                    for number in triggers.hit(event.price_ticks):
                        reached = self.live(number)
                        if reached is not None:
                            self.consequences.append(Consequence(TRIGGERED, reached))
                case Cancelled(order_id=number, quantity_lots=lots, reason=reason):
                    self._settle_cancelled(market, number, lots, END_REASONS[reason], time_ns)
                case Reduced(order_id=number, quantity_lots=lots):
                    less = self.live(number)
                    if less is not None:
                        _touch(market, less)
                        self.put(decremented(less, less.leaves_lots - lots, time_ns))
                case _:
                    pass
        if met:  # nearly always it is the flow that met itself
            self._trim(met, market, time_ns)

    def _trim(self, met: Sequence[Order], market: Market, time_ns: int) -> None:
        """Take off what the customers whose orders have traded have no position or money for."""
        for name in sorted({order.account for order in met}):
            self.trim_reduce_only(name, market, time_ns)
        closers = {(order.account, order.side) for order in met if order.request.reduce_only}
        for name, side in sorted(closers):
            self._trim_unfunded(name, side, market, time_ns)

    def _settle_cancelled(
        self, market: Market, number: int, lots: int, reason: EndReason, time_ns: int
    ) -> None:
        order = self.live(number)
        if order is None:
            return
        _touch(market, order)
        if self._may_grow(order):
            # Nothing of it works now, but what its order trades from here on is to be closed.
            self.put(decremented(order, 0, time_ns))
        elif order.kind is not OrderKind.TWAP:
            self.put(ended(order, reason, time_ns))
        elif reason is EndReason.SELF_TRADE:
            # Only a slice has ended; what it could not trade rolls over, what it met is gone.
            left = order.leaves_lots - lots
            self.put(decremented(order, left, time_ns) if left else ended(order, reason, time_ns))

    def trim_reduce_only(self, name: str, market: Market, time_ns: int) -> None:
        """Take off, newest first, what reduce-only orders could open a position with."""
        product_id = market.product.product_id
        resting = self.resting(name, product_id)
        held = self.clearing.account(name).position(product_id).lots
        for side in Side:
            # What a stop has triggered gives way last: it is there to get out now.
            for number in sorted(resting.reducing(side), key=self._is_triggered):
                excess = resting.lots(side) - max(0, -side.sign * held)
                order = self.live(number)
                if excess <= 0 or order is None:
                    break
                _touch(market, order)
                lots = min(excess, order.leaves_lots)
                if lots == order.leaves_lots and not self._may_grow(order):
                    self.withdraw(order, EndReason.REDUCE_ONLY, time_ns)
                else:
                    market.apply(Reduce(number, lots), time_ns)
                    self.put(decremented(order, order.leaves_lots - lots, time_ns))

    def _trim_unfunded(self, name: str, side: Side, market: Market, time_ns: int) -> None:
        """Cancel, newest first, orders whose cover was a position that another order has closed.

        What only reduces goes through without funds, so those behind it on its side may be left to
        open a position that nobody has the margin for.
        """
        if self._is_funded(name):
            return
        behind = [
            order
            for order in self.histories[name].open_orders(market.product.product_id)
            if order.side is side
            and not order.request.reduce_only
            and order.kind is not OrderKind.SCALED
        ]
        while behind and not self._is_funded(name):
            self.withdraw(behind.pop(), EndReason.UNFUNDED, time_ns)

    def _is_funded(self, name: str) -> bool:
        equity = max(ZERO, self.clearing.cross_equity(name))
        return self.clearing.requirement(name) <= equity

    def _is_triggered(self, number: int) -> bool:
        order = self.live(number)
        return order is not None and order.trigger is TriggerStatus.STOP_TRIGGERED

    # ---------------------------------------------------------------- trades

    def _settle_trade(self, market: Market, trade: Traded, time_ns: int) -> list[Order]:
        """Book both sides of a trade; return the customers' orders in it, as they stood before.

        The flow trading with itself changes nobody's money and is left out.
        """
        maker = self.live(trade.maker_order_id)
        taker = self.live(trade.taker_order_id)
        if maker is None and taker is None:
            return []
        sides = (
            (maker, trade.aggressor_side.opposite, Liquidity.MAKER),
            (taker, trade.aggressor_side, Liquidity.TAKER),
        )
        for order, side, liquidity in sides:
            fee = self.clearing.settle(
                order,
                market.product,
                side,
                trade.price_ticks,
                trade.quantity_lots,
                liquidity,
                time_ns,
            )
            if order is not None:
                lots, trade_id = trade.quantity_lots, market.trade_id(trade)
                self.fill(order, trade_id, trade.price_ticks, lots, fee, liquidity, time_ns)
        return [order for order in (maker, taker) if order is not None]

    def fill(
        self,
        order: Order,
        trade_id: str,
        price_ticks: int,
        lots: int,
        fee: Decimal,
        liquidity: Liquidity,
        time_ns: int,
    ) -> None:
        """Keep a fill, and the order as it leaves it; a scaled order counts its children's."""
        fill = Fill(
            entry_id=derived_uuid("fill", trade_id, liquidity),
            trade_id=trade_id,
            number=self._next_fill,
            order_id=order.order_id,
            product=order.product,
            side=order.side,
            price_ticks=price_ticks,
            lots=lots,
            fee=fee,
            liquidity=liquidity,
            time_ns=time_ns,
        )
        self._next_fill += 1
        history = self.histories[order.account]
        history.fills.append(fill)
        notional = order.product.notional(fill.price_ticks, fill.lots)
        after = filled(order, fill, notional, order.leaves_lots - lots)
        if not after.leaves_lots and self._may_grow(order):
            after = replace(after, status=OrderStatus.OPEN, end_reason=None)
        self.put(after)
        parent = self._live_parent(order)
        if parent is not None and parent.kind is OrderKind.SCALED:
            self.put(filled(parent, fill, notional, parent.leaves_lots - fill.lots))

    def _live_parent(self, order: Order) -> Order | None:
        if not order.originating_order_id:
            return None
        parent = self.histories[order.account].order(order.originating_order_id)
        return parent if parent is not None and parent.live else None

    def _may_grow(self, order: Order) -> bool:
        """Say whether it is a bracket whose order goes on, so that there may be more to close."""
        parent = self._live_parent(order)
        return parent is not None and parent.attached_order_id == order.order_id

    # ---------------------------------------------------------------- checks

    def check(self) -> None:
        """Raise `InvariantViolation` unless live orders and books agree."""
        for market in self.markets.values():
            market.book.check()
        for number, name in self._owners.items():
            order = self.histories[name].by_number(number)
            if order is None or not order.live:
                raise InvariantViolation(f"live order {number} is not in its history")
            resting = self.markets[order.product.product_id].book.order(number)
            leaves = 0 if resting is None else resting.leaves
            if leaves != (order.leaves_lots if order.in_book else 0):
                raise InvariantViolation(f"open order {number} and the book differ")


def _touch(market: Market, order: Order) -> None:
    if order.price_ticks is not None:
        market.touch(order.side, order.price_ticks)

"""What follows from what happened: stops that a trade reached, brackets that follow fills.

Each consequence is carried out when the change it follows from is complete, in the order in which
they came up; what follows from it waits behind the others.
"""

from dataclasses import replace
from typing import Final

from lob.types import Cancel, Replace
from touchstone.exchange.desk import RELATED, TRIGGERED, OrderDesk
from touchstone.exchange.drafts import stop_leg_direction
from touchstone.exchange.lifecycle import decremented, ended
from touchstone.exchange.orders import Order, OrderStatus, TriggerStatus
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import OrderKind, StopDirection

STOP_LEG_PERCENT: Final = 5
"""How far beyond its trigger price the limit of a bracket's stop leg lies (Coinbase's rule)."""


def settle_consequences(desk: OrderDesk, now_ns: int) -> None:
    """Carry out every consequence, and what follows from it, to the end."""
    while desk.consequences:
        what, order = desk.consequences.popleft()
        if what == TRIGGERED:
            _trigger(desk, order.number, now_ns)
        elif what == RELATED:
            if order.attached_order_id:
                _follow_fills(desk, order, now_ns)
            if order.originating_order_id:
                _tell_parent(desk, order, now_ns)


def expire(desk: OrderDesk, due_ns: int, number: int) -> None:
    """End an order whose end time has come."""
    order = desk.live(number)
    if order is not None:
        desk.withdraw(order, EndReason.EXPIRED, due_ns, OrderStatus.EXPIRED)


# -------------------------------------------------------------------- stops


def _trigger(desk: OrderDesk, number: int, now_ns: int) -> None:
    order = desk.live(number)
    if order is None or order.trigger is not TriggerStatus.STOP_PENDING or not order.leaves_lots:
        return
    lots = order.leaves_lots
    if order.request.reduce_only and not order.in_book:
        lots = min(lots, desk.reducible_lots(order))
        if not lots:
            desk.withdraw(order, EndReason.REDUCE_ONLY, now_ns)
            return
    price_ticks = order.price_ticks
    if order.kind is OrderKind.BRACKET:
        # One order, one quantity: the take-profit is out before the stop leg is in.
        desk.markets[order.product.product_id].apply(Cancel(order.number), now_ns)
        price_ticks = _stop_leg_ticks(order)
    triggered = replace(
        order,
        trigger=TriggerStatus.STOP_TRIGGERED,
        price_ticks=price_ticks,
        leaves_lots=lots,
        updated_ns=now_ns,
    )
    if desk.work(triggered, now_ns) is not None:
        desk.put(ended(order, EndReason.REFUSED_BY_BOOK, now_ns, OrderStatus.FAILED))


def _stop_leg_ticks(order: Order) -> int:
    assert order.stop_ticks is not None  # noqa: S101 - every bracket has one
    if stop_leg_direction(order.side) is StopDirection.UP:
        return -(-order.stop_ticks * (100 + STOP_LEG_PERCENT) // 100)
    return max(1, order.stop_ticks * (100 - STOP_LEG_PERCENT) // 100)


# -------------------------------------------------------------------- relatives


def _follow_fills(desk: OrderDesk, parent: Order, now_ns: int) -> None:
    """Let an attached bracket grow with its parent's fills, and end with it if it has nothing."""
    history = desk.histories[parent.account]
    # More may have happened since this consequence came up; all of it counts.
    parent = history.order(parent.order_id) or parent
    child = history.order(parent.attached_order_id)
    if child is None or not child.live:
        return
    if parent.filled_lots > child.size_lots:
        _grow(desk, child, parent.filled_lots, now_ns)
        child = desk.live(child.number)
    if child is None or child.leaves_lots or parent.live:
        return
    if child.filled_lots and child.filled_lots == child.size_lots:
        desk.put(replace(child, status=OrderStatus.FILLED, updated_ns=now_ns))
    else:
        nothing, reducing = EndReason.NOTHING_TO_BRACKET, EndReason.REDUCE_ONLY
        desk.withdraw(child, reducing if parent.filled_lots else nothing, now_ns)


def _grow(desk: OrderDesk, child: Order, size_lots: int, now_ns: int) -> None:
    """Let a bracket close what has traded, as far as the position has it.

    What works already goes to the tail of its level with what is new.
    """
    leaves = min(size_lots - child.filled_lots, desk.room_lots(child))
    after = replace(
        child,
        status=OrderStatus.OPEN if leaves else child.status,
        size_lots=size_lots,
        leaves_lots=max(leaves, child.leaves_lots),
        updated_ns=now_ns,
    )
    if after.leaves_lots == child.leaves_lots:
        desk.put(after)
    elif child.in_book:
        assert child.price_ticks is not None  # noqa: S101 - brackets have a limit
        market = desk.markets[child.product.product_id]
        command = Replace(child.number, child.price_ticks, after.leaves_lots)
        events = market.apply(command, now_ns)
        desk.put(after)
        desk.settle(market, events, now_ns)
        desk.trim_reduce_only(child.account, market, now_ns)
    elif desk.work(after, now_ns) is not None:
        desk.put(after)
        desk.put(ended(after, EndReason.REFUSED_BY_BOOK, now_ns, OrderStatus.FAILED))
    else:
        order = desk.live(child.number)
        if order is not None and order.trigger is TriggerStatus.STOP_PENDING:
            desk.wait_for(order, stop_leg_direction(order.side))


def _tell_parent(desk: OrderDesk, child: Order, now_ns: int) -> None:
    """Take off a scaled order what its children have lost; fills it has been told already."""
    history = desk.histories[child.account]
    parent = history.order(child.originating_order_id)
    if parent is None or not parent.live or parent.kind is not OrderKind.SCALED:
        return
    lots, alive = 0, False
    for child_id in parent.children:
        other = history.order(child_id)
        if other is not None and other.live:
            lots, alive = lots + other.leaves_lots, True
    if not alive:
        desk.put(ended(parent, EndReason.CHILDREN_ENDED, now_ns))
    elif lots != parent.leaves_lots:
        desk.put(decremented(parent, lots, now_ns))

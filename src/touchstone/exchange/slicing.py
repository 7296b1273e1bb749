"""TWAP orders: one slice each bucket's time, which trades at once what the limit allows.

By the end of bucket i, (i + 1) x bucket_size may have traded: what a slice does not find rolls over
into the next. After the last bucket, what is left is tried on at the same pace until the order's
end time, when it expires; more slowly where that is so far that it would be too many tries.
"""

from dataclasses import replace
from typing import Final

from touchstone.exchange.desk import SLICE, OrderDesk
from touchstone.exchange.lifecycle import slice_command
from touchstone.exchange.orders import Order, OrderStatus
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import Twap

TRIES_MAX: Final = 10_000
"""How often an order is tried on after its last bucket."""


def first_slice(desk: OrderDesk, order: Order, now_ns: int) -> None:
    """Start a TWAP order: with its first slice at once, or PENDING until it is due."""
    twap = _twap(order)
    if twap.start_ns > now_ns:
        desk.put(replace(order, status=OrderStatus.PENDING))
        desk.schedule.at(twap.start_ns, SLICE, order.number)
        return
    desk.put(order)
    trade_slice(desk, now_ns, order.number)


def trade_slice(desk: OrderDesk, due_ns: int, number: int) -> None:
    """Trade what is due of a TWAP order at this moment, and set the next slice."""
    order = desk.live(number)
    if order is None:
        return
    twap, end_ns = _twap(order), order.request.end_time_ns
    bucket_lots = order.product.instrument.to_lots(twap.bucket_size)
    done_buckets = 1 + (due_ns - max(twap.start_ns, order.created_ns)) // twap.bucket_ns
    gone_lots = order.size_lots - order.leaves_lots
    lots = min(order.leaves_lots, done_buckets * bucket_lots - gone_lots)
    if order.status is OrderStatus.PENDING:
        order = replace(order, status=OrderStatus.OPEN, updated_ns=due_ns)
        desk.put(order)
    if order.request.reduce_only:
        reducible = desk.reducible_lots(order)
        if not reducible:
            desk.withdraw(order, EndReason.REDUCE_ONLY, due_ns)
            return
        lots = min(lots, reducible)
    if lots > 0:
        participant_id = desk.clearing.account(order.account).participant_id
        market = desk.markets[order.product.product_id]
        desk.apply(market, slice_command(order, participant_id, lots), due_ns)
        desk.trim_reduce_only(order.account, market, due_ns)
    next_ns = due_ns + (twap.bucket_ns if done_buckets < twap.bucket_count else _pace(order))
    if desk.live(number) is not None and (end_ns is None or next_ns < end_ns):
        desk.schedule.at(next_ns, SLICE, number)


def _pace(order: Order) -> int:
    """Return the time between tries after the last bucket.

    Every slice costs the venue time, when it makes up for a day away as well: their number is
    bounded whatever the order's end.
    """
    twap, end_ns = _twap(order), order.request.end_time_ns
    return max(twap.bucket_ns, ((end_ns or 0) - order.created_ns) // TRIES_MAX)


def _twap(order: Order) -> Twap:
    twap = order.request.twap
    assert twap is not None  # noqa: S101 - only TWAP orders come here
    return twap

"""Book commands and events in protobuf."""

from itertools import groupby
from typing import Any, Final

from lob import OrderBook
from lob.types import (
    Accepted,
    Cancelled,
    Event,
    Level,
    OrderType,
    Reduced,
    Rejected,
    Replaced,
    RestingOrder,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
)
from touchstone.kit.rpc import SIDE_NUMBERS, SIDES, enum_numbers, look_up
from touchstone.v1 import book_pb2 as pb
from touchstone.v1 import execution_pb2


def _members(numbers: dict[Any, int], unspecified: Any) -> dict[int, Any]:
    return {number: member for member, number in numbers.items()} | {0: unspecified}


_TYPES: Final = _members(
    enum_numbers(OrderType, pb.BookOrderType, "BOOK_ORDER_TYPE"), OrderType.LIMIT
)
_TIFS: Final = _members(
    enum_numbers(TimeInForce, execution_pb2.TimeInForce, "TIME_IN_FORCE"), TimeInForce.GTC
)
_STPS: Final = _members(
    enum_numbers(SelfTradePrevention, pb.SelfTradePrevention, "SELF_TRADE_PREVENTION"),
    SelfTradePrevention.NONE,
)


def submit_from_proto(message: pb.SubmitRequest) -> Submit:
    """Return the command; `InvalidInput` where an enum has no such value."""
    return Submit(
        order_id=message.order_id,
        side=look_up("side", message.side, SIDES),
        quantity_lots=message.quantity_lots,
        price_ticks=message.price_ticks if message.HasField("price_ticks") else None,
        order_type=look_up("order_type", message.order_type, _TYPES),
        time_in_force=look_up("time_in_force", message.time_in_force, _TIFS),
        post_only=message.post_only,
        participant_id=message.participant_id,
        stp=look_up("self_trade_prevention", message.self_trade_prevention, _STPS),
    )


def event_to_proto(sequence: int, event: Event) -> pb.BookEvent:
    """Return the message of one numbered event."""
    match event:
        case Accepted():
            accepted = pb.Accepted(
                order_id=event.order_id,
                side=SIDE_NUMBERS[event.side],
                price_ticks=event.price_ticks,
                quantity_lots=event.quantity_lots,
            )
            return pb.BookEvent(sequence=sequence, accepted=accepted)
        case Rejected():
            rejected = pb.Rejected(order_id=event.order_id, reason=event.reason.value)
            return pb.BookEvent(sequence=sequence, rejected=rejected)
        case Traded():
            traded = pb.Traded(
                sequence=event.sequence,
                maker_order_id=event.maker_order_id,
                taker_order_id=event.taker_order_id,
                price_ticks=event.price_ticks,
                quantity_lots=event.quantity_lots,
                aggressor_side=SIDE_NUMBERS[event.aggressor_side],
                maker_leaves=event.maker_leaves,
                taker_leaves=event.taker_leaves,
            )
            return pb.BookEvent(sequence=sequence, traded=traded)
        case Reduced():
            reduced = pb.Reduced(
                order_id=event.order_id, quantity_lots=event.quantity_lots, leaves=event.leaves
            )
            return pb.BookEvent(sequence=sequence, reduced=reduced)
        case Replaced():
            replaced = pb.Replaced(
                order_id=event.order_id,
                price_ticks=event.price_ticks,
                leaves=event.leaves,
                kept_priority=event.kept_priority,
            )
            return pb.BookEvent(sequence=sequence, replaced=replaced)
        case Cancelled():
            cancelled = pb.Cancelled(
                order_id=event.order_id,
                quantity_lots=event.quantity_lots,
                reason=event.reason.value,
            )
            return pb.BookEvent(sequence=sequence, cancelled=cancelled)


def levels_to_proto(
    book: OrderBook, side: Side, levels: tuple[Level, ...], with_orders: bool
) -> list[pb.BookLevel]:
    """Return the messages of a side's levels, with the orders at them where asked for."""
    messages = [
        pb.BookLevel(
            price_ticks=level.price_ticks,
            quantity_lots=level.quantity_lots,
            order_count=level.order_count,
        )
        for level in levels
    ]
    if with_orders:
        by_price = groupby(book.orders(side), key=_price_ticks)
        for message, (_, orders) in zip(messages, by_price, strict=False):
            message.orders.extend(
                pb.BookOrder(
                    order_id=order.order_id,
                    leaves=order.leaves,
                    participant_id=order.participant_id,
                )
                for order in orders
            )
    return messages


def _price_ticks(order: RestingOrder) -> int:
    return order.price_ticks

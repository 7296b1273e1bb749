"""Book commands and events in protobuf."""

from collections import defaultdict
from decimal import Decimal
from typing import Any, Final

from lob import OrderBook
from lob.types import (
    Accepted,
    Allocation,
    AssetClass,
    Cancelled,
    Event,
    Expired,
    Instrument,
    Level,
    OrderType,
    Reduced,
    Refilled,
    Rejected,
    Replaced,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
    Triggered,
)
from services.simulator.subscriptions import SourceEnded
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

_ALLOCATIONS: Final = _members(
    enum_numbers(Allocation, pb.Allocation, "ALLOCATION"), Allocation.PRICE_TIME
)
_CLASSES: Final = _members(
    enum_numbers(AssetClass, execution_pb2.AssetClass, "ASSET_CLASS"), AssetClass.EQUITY
)


def instrument_from_proto(message: pb.OpenSessionRequest) -> Instrument:
    """Return what a session trades, of scale one; `InvalidInput` for a field out of range."""
    return Instrument(
        symbol=message.symbol,
        asset_class=look_up("asset_class", message.asset_class, _CLASSES),
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        allocation=look_up("allocation", message.allocation, _ALLOCATIONS),
        minimum_allocation_lots=message.minimum_allocation_lots or 1,
        day_close_ns=message.day_close_ns,
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
        stop_ticks=message.stop_ticks if message.HasField("stop_ticks") else None,
        display_lots=message.display_lots,
        hidden=message.hidden,
        expire_ns=message.expire_ns if message.HasField("expire_ns") else None,
    )


def event_to_proto(sequence: int, event: Event | SourceEnded, now_ns: int) -> pb.BookEvent:
    """Return the message of one numbered event."""
    name, message = _EVENTS[type(event)]
    fields = event._asdict()
    for field in ("side", "aggressor_side"):
        if field in fields:
            fields[field] = SIDE_NUMBERS[fields[field]]
    if "reason" in fields:
        fields["reason"] = fields["reason"].value
    return pb.BookEvent(sequence=sequence, now_ns=now_ns, **{name: message(**fields)})


_EVENTS: Final[dict[type[Event | SourceEnded], tuple[str, Any]]] = {
    Accepted: ("accepted", pb.Accepted),
    Rejected: ("rejected", pb.Rejected),
    Traded: ("traded", pb.Traded),
    Refilled: ("refilled", pb.Refilled),
    Reduced: ("reduced", pb.Reduced),
    Replaced: ("replaced", pb.Replaced),
    Cancelled: ("cancelled", pb.Cancelled),
    Expired: ("expired", pb.Expired),
    Triggered: ("triggered", pb.Triggered),
    SourceEnded: ("source_ended", pb.SourceEnded),
}
"""The field of `BookEvent` and the message of each event; their fields have the same names."""


def levels_to_proto(
    book: OrderBook, side: Side, levels: tuple[Level, ...], with_orders: bool
) -> list[pb.BookLevel]:
    """Return the messages of a side's levels, with the orders at them where asked for.

    The hidden orders of a level come after its displayed ones.
    """
    orders: defaultdict[int, list[pb.BookOrder]] = defaultdict(list)
    if with_orders and levels:
        furthest = levels[-1].price_ticks
        for order in book.orders(side):
            if (order.price_ticks - furthest) * side.sign < 0:
                break
            orders[order.price_ticks].append(
                pb.BookOrder(
                    order_id=order.order_id,
                    leaves=order.leaves,
                    participant_id=order.participant_id,
                    displayed_lots=order.displayed_lots,
                    hidden=order.hidden,
                    expire_ns=order.expire_ns,
                )
            )
    return [
        pb.BookLevel(
            price_ticks=level.price_ticks,
            quantity_lots=level.quantity_lots,
            order_count=level.order_count,
            orders=orders[level.price_ticks],
        )
        for level in levels
    ]


def stops_to_proto(book: OrderBook) -> list[pb.WaitingStop]:
    """Return the messages of the stops that wait."""
    return [
        pb.WaitingStop(
            order_id=stop.order_id,
            side=SIDE_NUMBERS[stop.side],
            stop_ticks=stop.stop_ticks,
            price_ticks=stop.price_ticks,
            quantity_lots=stop.quantity_lots,
            participant_id=stop.participant_id,
        )
        for stop in book.stops()
    ]

"""How an admitted order starts to work, by its kind.

Limit and market orders go into the book; a stop waits for the last trade; a bracket puts its
take-profit into the book and waits for its stop; a TWAP waits for its first slice; a scaled order
puts its children into the book. A bracket attached to an order is PENDING until that has fills.
"""

from dataclasses import replace
from typing import Final

from lob.types import RejectReason, TimeInForce
from touchstone.exchange.desk import EXPIRY, OrderDesk
from touchstone.exchange.drafts import BracketTicks
from touchstone.exchange.entry import Admitted
from touchstone.exchange.lifecycle import book_refusal, ended
from touchstone.exchange.money import plain
from touchstone.exchange.orders import Order, OrderStatus, TriggerStatus
from touchstone.exchange.reasons import EndReason
from touchstone.exchange.requests import Bracket, OrderKind, OrderRequest
from touchstone.exchange.slicing import first_slice

_WAITS: Final = frozenset({OrderKind.STOP_LIMIT, OrderKind.BRACKET})


def place(desk: OrderDesk, name: str, admitted: Admitted, now_ns: int) -> Order:
    """Let an admitted order work; return it as it stands when that is done.

    Raises `Refused` where the book refuses it; then nothing has happened.
    """
    draft = admitted.draft
    number = desk.next_number()
    order = Order(
        order_id=desk.order_id(number),
        number=number,
        account=name,
        request=draft.request,
        product=draft.product,
        size_lots=draft.size_lots,
        leaves_lots=draft.size_lots,
        price_ticks=draft.price_ticks,
        leverage=admitted.leverage,
        created_ns=now_ns,
        updated_ns=now_ns,
        stop_ticks=draft.stop_ticks,
        margin_type=admitted.margin_type,
        trigger=TriggerStatus.STOP_PENDING if draft.kind in _WAITS else TriggerStatus.NONE,
    )
    child = None
    if draft.attached is not None:
        child = _attached(desk, order, draft.attached, now_ns)
        order = replace(order, attached_order_id=child.order_id)
    _start(desk, order, admitted, now_ns)
    if child is not None:
        desk.put(child)
    after = desk.live(number)
    if after is not None:
        _wait(desk, after, admitted)
    return desk.histories[name].order(order.order_id) or order


def _start(desk: OrderDesk, order: Order, admitted: Admitted, now_ns: int) -> None:
    match admitted.draft.kind:
        case OrderKind.STOP_LIMIT:
            desk.put(order)
        case OrderKind.TWAP:
            first_slice(desk, order, now_ns)
        case OrderKind.SCALED:
            _start_ladder(desk, order, admitted, now_ns)
        case _:
            reason = desk.work(order, now_ns)
            if reason is RejectReason.FOK_NOT_FILLABLE:
                desk.put(order)
                desk.put(ended(order, EndReason.FOK_NOT_FILLABLE, now_ns))
            elif reason is not None:
                raise book_refusal(reason)


def _wait(desk: OrderDesk, order: Order, admitted: Admitted) -> None:
    """Set what a live order waits for: a price, its end."""
    draft = admitted.draft
    if draft.stop_ticks is not None and draft.stop_direction is not None:
        desk.wait_for(order, draft.stop_direction)
    if order.request.end_time_ns is not None:
        desk.schedule.at(order.request.end_time_ns, EXPIRY, order.number)


def _start_ladder(desk: OrderDesk, order: Order, admitted: Admitted, now_ns: int) -> None:
    """Put a scaled order's children into the book, from the lowest price up."""
    instrument, request = order.product.instrument, order.request
    ladder = [(desk.next_number(), rung) for rung in admitted.draft.rungs]
    desk.put(replace(order, children=tuple(desk.order_id(number) for number, _ in ladder)))
    for number, rung in ladder:
        order_id = desk.order_id(number)
        price, size = instrument.price(rung.price_ticks), instrument.quantity(rung.lots)
        configuration = {"base_size": plain(size), "limit_price": plain(price)}
        child = replace(
            order,
            order_id=order_id,
            number=number,
            request=replace(
                request,
                client_order_id=order_id,
                size=size,
                limit_price=price,
                scaled=None,
                configuration={"limit_limit_gtc": configuration},
            ),
            size_lots=rung.lots,
            leaves_lots=rung.lots,
            price_ticks=rung.price_ticks,
            originating_order_id=order.order_id,
        )
        if desk.work(child, now_ns) is not None:
            desk.put(child)
            desk.put(ended(child, EndReason.REFUSED_BY_BOOK, now_ns, OrderStatus.FAILED))


def _attached(desk: OrderDesk, parent: Order, ticks: BracketTicks, now_ns: int) -> Order:
    """Return the bracket attached to an order: without a size until that has fills."""
    number = desk.next_number()
    order_id = desk.order_id(number)
    bracket = parent.request.attached
    assert bracket is not None  # noqa: S101 - the draft has it from there
    return Order(
        order_id=order_id,
        number=number,
        account=parent.account,
        request=bracket_request(parent.request, bracket, order_id),
        product=parent.product,
        size_lots=0,
        leaves_lots=0,
        price_ticks=ticks.limit_ticks,
        leverage=parent.leverage,
        created_ns=now_ns,
        updated_ns=now_ns,
        stop_ticks=ticks.trigger_ticks,
        margin_type=parent.margin_type,
        status=OrderStatus.PENDING,
        trigger=TriggerStatus.STOP_PENDING,
        originating_order_id=parent.order_id,
    )


def bracket_request(parent: OrderRequest, bracket: Bracket, order_id: str) -> OrderRequest:
    """Return what a bracket attached to a request asks for: to close what that has traded."""
    configuration = {
        "limit_price": str(bracket.limit_price),
        "stop_trigger_price": str(bracket.stop_trigger_price),
    }
    return OrderRequest(
        client_order_id=order_id,
        product_id=parent.product_id,
        side=parent.side.opposite,
        limit_price=bracket.limit_price,
        stop_trigger_price=bracket.stop_trigger_price,
        time_in_force=TimeInForce.GTC,
        reduce_only=True,
        leverage=parent.leverage,
        margin_type=parent.margin_type,
        configuration={"trigger_bracket_gtc": configuration},
    )

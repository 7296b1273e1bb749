"""Edits: a new price, size or stop for an order that works, under its old id.

A pure cut of the size keeps the order's place in its queue; anything else takes it to the tail, and
trades what the new price crosses (Coinbase's rule; the book's `replace`). The new size counts what
has traded already. Post-only stays post-only, and the funds are looked at anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from lob.types import Event, Rejected, RejectReason, Replace, TimeInForce
from touchstone.exchange.desk import OrderDesk
from touchstone.exchange.drafts import (
    BracketTicks,
    attached_ticks,
    check_distance,
    check_notional,
    check_stop,
    check_stop_limit,
    lots_of,
    stop_leg_direction,
    ticks_of,
)
from touchstone.exchange.entry import crosses, only_reduces
from touchstone.exchange.holds import Working
from touchstone.exchange.lifecycle import book_refusal
from touchstone.exchange.market import Market
from touchstone.exchange.money import plain
from touchstone.exchange.orders import Edit, Order, OrderStatus, TriggerStatus
from touchstone.exchange.placing import bracket_request
from touchstone.exchange.reasons import (
    EditFailure,
    EditRefusal,
    EndReason,
    FailureReason,
    Refusal,
    Refused,
)
from touchstone.exchange.requests import Bracket, EditRequest, OrderKind, StopDirection

EDITS_MAX: Final = 500
"""How often an order may be edited."""

_EDITABLE: Final = frozenset({OrderKind.LIMIT, OrderKind.STOP_LIMIT, OrderKind.BRACKET})


class EditRefused(Exception):  # noqa: N818 - no error: a refusal on its way through the rules
    """Carry a refused edit from the rule that was broken to the command."""

    def __init__(self, reason: EditFailure, message: str, preview_reason: str = "") -> None:
        super().__init__(message)
        self.refusal = EditRefusal(reason, message, preview_reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An edit that may be made: the order as it is, and what will be different."""

    order: Order
    price_ticks: int
    size_lots: int
    leaves_lots: int
    stop_ticks: int | None
    child: Order | None
    bracket: BracketTicks | None


def check_edit(desk: OrderDesk, name: str, request: EditRequest) -> Change:
    """Return the change asked for; raises `EditRefused` with the first rule that it breaks."""
    order = _editable(desk, name, request.order_id)
    product = order.product
    price_ticks, stop_ticks = order.price_ticks, order.stop_ticks
    assert price_ticks is not None  # noqa: S101 - what can be edited has a limit
    child = desk.histories[name].order(order.attached_order_id)
    bracket = None
    try:
        if request.price is not None:
            price_ticks = ticks_of(product, "price", request.price)
        if request.stop_price is not None and stop_ticks is not None:
            stop_ticks = ticks_of(product, "stop_price", request.stop_price)
        entry = product.instrument.price(price_ticks)
        if request.attached is not None:
            bracket = attached_ticks(product, order.side, request.attached, entry)
        elif price_ticks != order.price_ticks and not request.cancel_attached:
            _check_around(child, order, entry)
    except Refused as refused:
        raise _edit_refused(EditFailure.INVALID_EDITED_PRICE, refused.refusal) from None
    size_lots = _size(order, request)
    change = Change(
        order=order,
        price_ticks=price_ticks,
        size_lots=size_lots,
        leaves_lots=size_lots - (order.size_lots - order.leaves_lots),
        stop_ticks=stop_ticks,
        child=child if child is not None and child.live else None,
        bracket=bracket,
    )
    _check_difference(change, request)
    _check_relatives(change, request)
    _check_market(desk, change, request)
    _check_account(desk, change)
    return change


def make_change(desk: OrderDesk, change: Change, request: EditRequest, now_ns: int) -> None:
    """Make an edit; raises `EditRefused` where the book refuses it, with nothing changed."""
    order = change.order
    moved = change.price_ticks != order.price_ticks or change.leaves_lots != order.leaves_lots
    edited = _edited(change, now_ns)
    if order.in_book and moved:
        market = desk.markets[order.product.product_id]
        command = Replace(order.number, change.price_ticks, change.leaves_lots)
        events = market.apply(command, now_ns)
        if isinstance(events[0], Rejected):
            refused = book_refusal(events[0].reason).refusal
            raise _edit_refused(EditFailure.COMMANDER_REJECTED_EDIT_ORDER, refused)
        desk.put(edited)
        desk.settle(market, events, now_ns)
        desk.trim_reduce_only(order.account, market, now_ns)
    else:
        desk.put(edited)
    if change.stop_ticks != order.stop_ticks:
        _wait_anew(desk, edited)
    if change.child is not None and request.cancel_attached:
        desk.withdraw(change.child, EndReason.USER_REQUESTED, now_ns)
    elif change.child is not None and change.bracket is not None:
        _move_bracket(desk, change.child, edited, change.bracket, request, now_ns)


# -------------------------------------------------------------------- rules


def _editable(desk: OrderDesk, name: str, order_id: str) -> Order:
    order = desk.histories[name].order(order_id)
    if order is None:
        raise EditRefused(EditFailure.ORDER_NOT_FOUND, f"order_id: {order_id!r} is unknown")
    if order.status is not OrderStatus.OPEN:
        raise EditRefused(
            EditFailure.ONLY_OPEN_ORDERS_CAN_BE_EDITED, f"status: {order.status}; allowed: OPEN"
        )
    request = order.request
    if order.kind not in _EDITABLE or request.time_in_force is not TimeInForce.GTC:
        raise EditRefused(
            EditFailure.ONLY_LIMIT_ORDER_EDITS_SUPPORTED,
            f"{order.kind} {request.time_in_force}; allowed: limit, stop-limit and bracket orders"
            " that are good until cancelled",
        )
    if request.quote_size is not None:
        raise EditRefused(
            EditFailure.SIZE_IN_QUOTE_EDITS_NOT_ALLOWED, "the order was sized in the quote currency"
        )
    if order.kind is OrderKind.BRACKET and order.trigger is TriggerStatus.STOP_TRIGGERED:
        raise EditRefused(
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER, "the bracket's stop has been triggered"
        )
    if len(order.edits) >= EDITS_MAX:
        raise EditRefused(
            EditFailure.EXCEEDED_MAX_ALLOWED_EDIT_REQUEST_COUNT,
            f"edits: {len(order.edits)}; allowed: {EDITS_MAX}",
        )
    return order


def _size(order: Order, request: EditRequest) -> int:
    """Return the new total size; one left out is read as 0, as Coinbase reads it."""
    size = Decimal(0) if request.size is None else request.size
    gone = order.size_lots - order.leaves_lots
    if size.is_finite() and size <= order.product.instrument.quantity(gone) and gone:
        raise EditRefused(
            EditFailure.CANNOT_EDIT_TO_BELOW_FILLED_SIZE,
            f"size: {size}; allowed: above {order.product.instrument.quantity(gone)}, which no"
            " longer works",
        )
    try:
        return lots_of(order.product, "size", size)
    except Refused as refused:
        raise _edit_refused(EditFailure.INVALID_EDITED_SIZE, refused.refusal) from None


def _check_around(child: Order | None, order: Order, entry: Decimal) -> None:
    """Hold an entry's new price against the bracket that it leaves as it is."""
    if child is None or not child.live or child.trigger is not TriggerStatus.STOP_PENDING:
        return
    limit, stop = child.limit_price, child.stop_price
    assert limit is not None  # noqa: S101 - every bracket has both
    assert stop is not None  # noqa: S101
    attached_ticks(order.product, order.side, Bracket(limit, stop), entry)


def _check_difference(change: Change, request: EditRequest) -> None:
    order = change.order
    same = (change.price_ticks, change.size_lots, change.stop_ticks) == (
        order.price_ticks,
        order.size_lots,
        order.stop_ticks,
    )
    if same and request.attached is None and not request.cancel_attached:
        raise EditRefused(
            EditFailure.EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST, "price and size: as they are"
        )


def _check_relatives(change: Change, request: EditRequest) -> None:
    """Leave to a parent what its children are for."""
    order = change.order
    if order.originating_order_id and change.size_lots != order.size_lots:
        raise EditRefused(
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER,
            "size: that of an order which belongs to another follows from it",
        )
    if request.stop_price is not None and order.stop_ticks is None:
        raise EditRefused(
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER,
            f"stop_price: {request.stop_price}; allowed: none, a {order.kind} order has no stop",
        )
    if change.child is None and (request.attached is not None or request.cancel_attached):
        raise EditRefused(
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER, "no bracket is attached to the order"
        )


def _check_market(desk: OrderDesk, change: Change, request: EditRequest) -> None:
    """Hold the new prices against the book, the mark and the last trade."""
    order = change.order
    market = desk.markets[order.product.product_id]
    moved = change.price_ticks != order.price_ticks or change.leaves_lots > order.leaves_lots
    try:
        _check_distance(desk, change)
        if change.stop_ticks is not None and change.stop_ticks != order.stop_ticks:
            _check_waiting(order)
            price = order.product.instrument.price(change.stop_ticks)
            check_stop(market, price, _direction(order))
        _check_stop_limit(change)
        _check_moved_bracket(market, change, request)
        if order.kind is OrderKind.BRACKET and change.stop_ticks is not None:
            _check_bracket(order, change.price_ticks - change.stop_ticks)
        if not order.request.reduce_only:
            check_notional(order.product, change.price_ticks, change.size_lots)
        rests = order.in_book and order.request.post_only
        if rests and moved and crosses(market.book, order.side, change.price_ticks):
            raise book_refusal(RejectReason.POST_ONLY_WOULD_CROSS)
    except Refused as refused:
        raise _edit_refused(EditFailure.INVALID_EDITED_PRICE, refused.refusal) from None


def _check_distance(desk: OrderDesk, change: Change) -> None:
    """Hold what is new of the prices against the mark; the present ones may stay."""
    order, bracket = change.order, change.bracket
    prices = {
        "price": None if change.price_ticks == order.price_ticks else change.price_ticks,
        "stop_price": None if change.stop_ticks == order.stop_ticks else change.stop_ticks,
        "attached limit_price": None if bracket is None else bracket.limit_ticks,
        "attached stop_trigger_price": None if bracket is None else bracket.trigger_ticks,
    }
    mark = desk.clearing.mark(order.product.product_id)
    check_distance(order.product, mark, desk.price_collar, prices)


def _check_stop_limit(change: Change) -> None:
    order, instrument = change.order, change.order.product.instrument
    waits = order.trigger is TriggerStatus.STOP_PENDING
    if order.kind is OrderKind.STOP_LIMIT and waits and change.stop_ticks is not None:
        stop, limit = instrument.price(change.stop_ticks), instrument.price(change.price_ticks)
        check_stop_limit(order.side, stop, limit, _direction(order))


def _check_moved_bracket(market: Market, change: Change, request: EditRequest) -> None:
    """Hold the new stop of a bracket that works already against the last trade."""
    child = change.child
    if child is None or request.attached is None or request.cancel_attached:
        return
    if child.leaves_lots and child.trigger is TriggerStatus.STOP_PENDING:
        stop = request.attached.stop_trigger_price
        check_stop(market, stop, stop_leg_direction(child.side))


def _check_waiting(order: Order) -> None:
    if order.trigger is not TriggerStatus.STOP_PENDING:
        raise EditRefused(
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER, "stop_price: the stop has been triggered"
        )


def _check_bracket(order: Order, difference_ticks: int) -> None:
    if difference_ticks * order.side.sign >= 0:
        raise Refused(
            FailureReason.UNKNOWN_FAILURE_REASON,
            "price, stop_price: a bracket takes profit on the other side of its stop",
            "PREVIEW_INVALID_BRACKET_PRICES",
        )


def _check_account(desk: OrderDesk, change: Change) -> None:
    """Hold the changed order against the position and the funds, in place of the present one."""
    order = change.order
    product_id = order.product.product_id
    # The leverage that holds now: a later order may have changed it for the whole product.
    leverage = desk.clearing.leverage(order.account, order.product)
    refusal = desk.clearing.check_margin(order.account, order.product, leverage, None)
    if refusal is None:
        held = desk.clearing.account(order.account).position(product_id).lots
        mine = desk.resting(order.account, product_id)
        if order.request.reduce_only:
            others = mine.lots(order.side) - (order.leaves_lots if order.in_book else 0)
        else:
            others = mine.working_lots(order.side) - order.leaves_lots
        if only_reduces(order.side, change.leaves_lots, held, others):
            return
        if order.request.reduce_only:
            left = plain(order.product.instrument.quantity(change.leaves_lots))
            refusal = Refusal(
                FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE,
                f"size: {left} left to work; the position does not have it",
            )
        else:
            risk = Working(order.side, change.price_ticks, change.leaves_lots)
            present = replace(order, leverage=leverage)
            refusal = desk.clearing.check_edited_funds(present, risk)
    if refusal is not None:
        raise _edit_refused(EditFailure.COMMANDER_REJECTED_EDIT_ORDER, refusal)


def _edit_refused(reason: EditFailure, refusal: Refusal) -> EditRefused:
    return EditRefused(reason, refusal.message, refusal.preview)


# -------------------------------------------------------------------- making it


def _edited(change: Change, now_ns: int) -> Order:
    """Return the order as edited, its request and configuration with it."""
    order, instrument = change.order, change.order.product.instrument
    price, size = instrument.price(change.price_ticks), instrument.quantity(change.size_lots)
    terms: dict[str, Any] = {"limit_price": price, "size": size}
    written = {"limit_price": plain(price), "base_size": plain(size)}
    if change.stop_ticks is not None:
        name = "stop_trigger_price" if order.kind is OrderKind.BRACKET else "stop_price"
        terms[name] = instrument.price(change.stop_ticks)
        written[name] = plain(terms[name])
    configuration = _rewritten(order.request.configuration, written)
    return replace(
        order,
        request=replace(order.request, configuration=configuration, **terms),
        price_ticks=change.price_ticks,
        size_lots=change.size_lots,
        leaves_lots=change.leaves_lots,
        stop_ticks=change.stop_ticks,
        edits=(*order.edits, Edit(price, size, now_ns)),
        updated_ns=now_ns,
    )


def _rewritten(
    configuration: Mapping[str, Any] | None, written: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """Return a configuration with new values in it."""
    if configuration is None:
        return None
    return {name: {**fields, **written} for name, fields in configuration.items()}


def _direction(order: Order) -> StopDirection:
    if order.kind is OrderKind.BRACKET or order.request.stop_direction is None:
        return stop_leg_direction(order.side)
    return order.request.stop_direction


def _wait_anew(desk: OrderDesk, edited: Order) -> None:
    present = desk.live(edited.number)
    if present is not None:
        desk.triggers[edited.product.product_id].drop(edited.number)
        desk.wait_for(present, _direction(present))


def _move_bracket(
    desk: OrderDesk,
    child: Order,
    parent: Order,
    bracket: BracketTicks,
    request: EditRequest,
    now_ns: int,
) -> None:
    """Give an attached bracket new prices; a triggered stop leg works on as it is."""
    present = desk.live(child.number)
    if present is None or present.trigger is TriggerStatus.STOP_TRIGGERED:
        return
    assert request.attached is not None  # noqa: S101 - the ticks come from there
    moved = replace(
        present,
        request=bracket_request(parent.request, request.attached, child.order_id),
        price_ticks=bracket.limit_ticks,
        stop_ticks=bracket.trigger_ticks,
        updated_ns=now_ns,
    )
    market = desk.markets[child.product.product_id]
    events: Sequence[Event] = ()
    if present.in_book:
        events = market.apply(
            Replace(child.number, bracket.limit_ticks, present.leaves_lots), now_ns
        )
    desk.put(moved)
    desk.settle(market, events, now_ns)
    if present.leaves_lots:
        _wait_anew(desk, moved)

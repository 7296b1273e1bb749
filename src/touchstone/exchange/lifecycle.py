"""How an order's state follows from what the book says: pure steps from one value to the next."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Final

from lob.types import CancelReason, RejectReason, SelfTradePrevention, Submit, TimeInForce
from touchstone.exchange.orders import Fill, Order, OrderStatus
from touchstone.exchange.reasons import EndReason, FailureReason, Refused

END_REASONS: Final[Mapping[CancelReason, EndReason]] = {
    CancelReason.REQUESTED: EndReason.USER_REQUESTED,
    CancelReason.IOC_REMAINDER: EndReason.IOC_REMAINDER,
    CancelReason.MARKET_REMAINDER: EndReason.IOC_REMAINDER,
    CancelReason.SELF_TRADE: EndReason.SELF_TRADE,
}


def submit_command(order: Order, participant_id: int) -> Submit:
    """Return the book's command for what works of an order; self-trades decrement and cancel.

    Expiry is the venue's business, so GTD rests like GTC. A stop leg must get out: it is not bound
    to resting.
    """
    request = order.request
    time_in_force = request.time_in_force
    return Submit(
        order.number,
        order.side,
        order.leaves_lots,
        order.price_ticks,
        order_type=request.order_type,
        time_in_force=TimeInForce.GTC if time_in_force is TimeInForce.GTD else time_in_force,
        post_only=request.post_only and request.stop_trigger_price is None,
        participant_id=participant_id,
        stp=SelfTradePrevention.DECREMENT_AND_CANCEL,
    )


def slice_command(order: Order, participant_id: int, lots: int) -> Submit:
    """Return the book's command for one slice of a TWAP order: what trades at once."""
    return Submit(
        order.number,
        order.side,
        lots,
        order.price_ticks,
        time_in_force=TimeInForce.IOC,
        participant_id=participant_id,
        stp=SelfTradePrevention.DECREMENT_AND_CANCEL,
    )


def book_refusal(reason: RejectReason) -> Refused:
    """Return the venue's words for a refusal of the book's."""
    if reason is RejectReason.POST_ONLY_WOULD_CROSS:
        return Refused(
            FailureReason.INVALID_LIMIT_PRICE_POST_ONLY,
            "post only: the limit price would trade at once",
        )
    return Refused(FailureReason.UNKNOWN_FAILURE_REASON, f"the book refused: {reason}")


def ended(
    order: Order, reason: EndReason, time_ns: int, status: OrderStatus = OrderStatus.CANCELLED
) -> Order:
    """Return the order ended without being filled, whatever it had traded before."""
    return replace(order, status=status, leaves_lots=0, end_reason=reason, updated_ns=time_ns)


def decremented(order: Order, leaves_lots: int, time_ns: int) -> Order:
    """Return the order with fewer lots working, which it did not trade."""
    return replace(order, leaves_lots=leaves_lots, updated_ns=time_ns)


def filled(order: Order, fill: Fill, notional: Decimal, leaves_lots: int) -> Order:
    """Return the order after a fill; with nothing left to trade it has ended.

    An order that lost lots without trading them (to self-trade prevention, or with a child) never
    fills in full: it ends CANCELLED.
    """
    lots = order.filled_lots + fill.lots
    status, reason = order.status, order.end_reason
    if not leaves_lots:
        whole = lots == order.size_lots
        status = OrderStatus.FILLED if whole else OrderStatus.CANCELLED
        reason = reason if whole else _shortfall(order)
    return replace(
        order,
        status=status,
        leaves_lots=leaves_lots,
        filled_lots=lots,
        filled_value=order.filled_value + notional,
        fees=order.fees + fill.fee,
        fill_count=order.fill_count + 1,
        last_fill_ns=fill.time_ns,
        end_reason=reason,
        updated_ns=fill.time_ns,
    )


def _shortfall(order: Order) -> EndReason:
    """Return what took the lots that an order which has ended did not trade."""
    if order.children:
        return EndReason.CHILDREN_ENDED
    return EndReason.REDUCE_ONLY if order.request.reduce_only else EndReason.SELF_TRADE

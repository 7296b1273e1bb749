"""The rules a new order must pass before it starts to work, in the order they are checked.

Entering an order and previewing it go through the same rules.
"""

from dataclasses import dataclass
from decimal import Decimal

from lob import OrderBook
from lob.types import RejectReason, Side
from touchstone.exchange.clearing import Clearing
from touchstone.exchange.desk import OrderDesk
from touchstone.exchange.drafts import Draft, check_distance, draft
from touchstone.exchange.holds import Working
from touchstone.exchange.lifecycle import book_refusal
from touchstone.exchange.money import plain
from touchstone.exchange.reasons import FailureReason, Refusal, Refused
from touchstone.exchange.requests import MarginType, OrderKind, OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A request that may start to work, with the margin it will hold."""

    draft: Draft
    risk: Working
    leverage: Decimal
    margin_type: MarginType


def admit(desk: OrderDesk, name: str, request: OrderRequest, now_ns: int) -> Admitted:
    """Return what an account's request comes to; raises `Refused` with the first broken rule."""
    wanted = draft(desk.markets, request, now_ns)
    request = wanted.request
    clearing, product = desk.clearing, wanted.product
    mark = clearing.mark(product.product_id)
    check_distance(product, mark, desk.price_collar, wanted.prices)
    account = clearing.account(name)
    leverage = _leverage(clearing, name, wanted)
    _accept(clearing.check_margin(name, product, leverage, request.margin_type))
    _check_room(desk, name, wanted)
    position_lots = account.position(product.product_id).lots
    mine = desk.resting(name, product.product_id)
    if wanted.kind is OrderKind.BRACKET:
        _check_bracket(desk, name, wanted, position_lots)
    if request.reduce_only:
        check_reduce_only(wanted, position_lots, mine.lots(request.side))
    if request.post_only and wanted.kind is not OrderKind.STOP_LIMIT:
        _check_post_only(wanted)
    risk = risk_of(wanted)
    if not request.reduce_only and not only_reduces(
        request.side, wanted.size_lots, position_lots, mine.working_lots(request.side)
    ):
        _accept(clearing.check_funds(name, product, risk, leverage, request.margin_type))
    return Admitted(
        draft=wanted,
        risk=risk,
        leverage=leverage,
        margin_type=request.margin_type or account.margin_type(product.product_id),
    )


def _accept(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise Refused(refusal.reason, refusal.message, refusal.preview_reason)


def _leverage(clearing: Clearing, name: str, wanted: Draft) -> Decimal:
    """Return the leverage that will hold for the product: requested, present, or the maximum."""
    requested, product = wanted.request.leverage, wanted.product
    if requested is None:
        return clearing.leverage(name, product)
    if not requested.is_finite() or not Decimal(1) <= requested <= product.max_leverage:
        raise Refused(
            FailureReason.INVALID_LEVERAGE,
            f"leverage: {requested}; allowed: 1..{product.max_leverage}",
        )
    return requested


def _check_room(desk: OrderDesk, name: str, wanted: Draft) -> None:
    """Bound how many orders of an account may be open."""
    waits = wanted.request.rests or wanted.rungs or wanted.bucket_lots
    count, most = desk.histories[name].open_count(), desk.max_open_orders
    asked = 1 + len(wanted.rungs) + (wanted.attached is not None)
    if (waits or wanted.attached is not None) and count + asked > most:
        raise Refused(
            FailureReason.COMMANDER_REJECTED_NEW_ORDER, f"open orders: {count}; allowed: {most}"
        )


def check_reduce_only(wanted: Draft, position_lots: int, resting_lots: int) -> None:
    """Refuse a reduce-only order that could open or turn a position.

    An order that rests shares the position with everything else resting on its side; one that
    trades now, or not before its price or its time, has to fit the position itself, so that a close
    always goes through and a stop can stand beside a take-profit.
    """
    request = wanted.request
    reducible = max(0, -request.side.sign * position_lots)
    if wanted.rungs or (
        request.rests and wanted.kind not in {OrderKind.STOP_LIMIT, OrderKind.TWAP}
    ):
        reducible -= resting_lots
    if wanted.size_lots > reducible:
        quantity = wanted.product.instrument.quantity
        raise Refused(
            FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE,
            f"reduce_only: {plain(quantity(wanted.size_lots))}; allowed: at most"
            f" {plain(quantity(max(0, reducible)))}",
        )


def _check_bracket(desk: OrderDesk, name: str, wanted: Draft, position_lots: int) -> None:
    """Refuse a bracket that is not of a position, or closes again what other brackets close.

    Coinbase's brackets close what is held, in parts as well. O(open orders).
    """
    side, lots = wanted.request.side, wanted.size_lots
    others = sum(
        order.leaves_lots
        for order in desk.histories[name].open_orders(wanted.product.product_id)
        if order.kind is OrderKind.BRACKET and order.side is side
    )
    reducible = max(0, -side.sign * position_lots)
    quantity = wanted.product.instrument.quantity
    if lots > reducible:
        raise Refused(
            FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE,
            f"base_size: {plain(quantity(lots))}; allowed: at most {plain(quantity(reducible))},"
            f" what a {side} can close",
            "PREVIEW_BRACKET_ORDER_SIZE_EXCEEDS_POSITION"
            if reducible
            else "PREVIEW_INVALID_BRACKET_ORDER_SIDE",
        )
    if lots + others > reducible:
        raise Refused(
            FailureReason.OPEN_BRACKET_ORDERS,
            f"base_size: {plain(quantity(lots))}; allowed: at most"
            f" {plain(quantity(reducible - others))}, what open brackets leave of the position",
        )


def only_reduces(side: Side, lots: int, position_lots: int, others_lots: int) -> bool:
    """Say whether an order can only make the position smaller, whatever else trades."""
    return lots + others_lots <= -side.sign * position_lots


def _check_post_only(wanted: Draft) -> None:
    prices = [rung.price_ticks for rung in wanted.rungs] or [wanted.price_ticks or 0]
    if any(crosses(wanted.market.book, wanted.request.side, price) for price in prices):
        raise book_refusal(RejectReason.POST_ONLY_WOULD_CROSS)


def crosses(book: OrderBook, side: Side, price_ticks: int) -> bool:
    """Say whether an order at this price would trade at once."""
    touch = book.best_ask() if side is Side.BUY else book.best_bid()
    return touch is not None and side.sign * (price_ticks - touch.price_ticks) >= 0


def risk_of(wanted: Draft) -> Working:
    """Return the worst that an order can trade: how much, and at what price.

    A market order's is what the book has as it stands; raises `Refused` where it has nothing. A
    scaled order counts at its highest price.
    """
    side, lots = wanted.request.side, wanted.size_lots
    if wanted.rungs:
        return Working(side, wanted.rungs[-1].price_ticks, lots)
    if wanted.price_ticks is not None:
        return Working(side, wanted.price_ticks, lots)
    walk = wanted.market.book.walk(side, lots)
    if walk.worst_price_ticks is None:
        raise Refused(FailureReason.INVALID_NO_LIQUIDITY, "no order rests on the other side")
    return Working(side, walk.worst_price_ticks, walk.quantity_lots)

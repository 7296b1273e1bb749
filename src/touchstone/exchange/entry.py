"""The rules a new order must pass before it reaches the book, in the order they are checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lob import OrderBook
from lob.errors import InvalidInput
from lob.types import Side
from touchstone.exchange.margin import WorkingOrder
from touchstone.exchange.money import ZERO
from touchstone.exchange.orders import FailureReason, Order, OrderRequest, Refusal
from touchstone.exchange.products import Product


@dataclass(frozen=True, slots=True)
class Sized:
    """A request in the book's integers."""

    size_lots: int
    price_ticks: int | None


def find_product(products: Mapping[str, Product], request: OrderRequest) -> Product | Refusal:
    """Return the product asked for."""
    product = products.get(request.product_id)
    if product is None:
        return Refusal(
            FailureReason.INVALID_PRODUCT_ID,
            f"product_id: {request.product_id!r}; listed: {', '.join(products)}",
        )
    return product


def check_size(product: Product, request: OrderRequest) -> Sized | Refusal:
    """Return the request in lots and ticks, or say which step or bound it breaks."""
    instrument = product.instrument
    try:
        lots = instrument.to_lots(request.size)
    except InvalidInput as error:
        return Refusal(FailureReason.INVALID_SIZE_PRECISION, str(error))
    if request.size > product.max_size:
        return Refusal(
            FailureReason.UNKNOWN_FAILURE_REASON,
            f"base_size: {request.size}; allowed: at most {product.max_size}",
            "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE",
        )
    if request.limit_price is None:
        return Sized(lots, None)
    try:
        ticks = instrument.to_ticks(request.limit_price)
    except InvalidInput as error:
        return Refusal(FailureReason.INVALID_PRICE_PRECISION, str(error))
    notional = product.notional(ticks, lots)
    if notional < product.min_notional and not request.reduce_only:
        return Refusal(
            FailureReason.UNKNOWN_FAILURE_REASON,
            f"base_size x limit_price: {notional}; allowed: {product.min_notional} or more",
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
        )
    return Sized(lots, ticks)


def check_leverage(
    product: Product, requested: Decimal | None, present: Decimal | None
) -> Decimal | Refusal:
    """Return the leverage that will hold for the product: requested, present, or the maximum."""
    if requested is None:
        return product.max_leverage if present is None else present
    if not Decimal(1) <= requested <= product.max_leverage:
        return Refusal(
            FailureReason.INVALID_LEVERAGE,
            f"leverage: {requested}; allowed: 1..{product.max_leverage}",
        )
    return requested


def check_reduce_only(
    request: OrderRequest, lots: int, position_lots: int, working: Iterable[Order]
) -> Refusal | None:
    """Refuse a reduce-only order that could open or turn a position.

    An order that rests shares the position with everything else working on its side; one that
    trades now or never only has to fit the position itself, so that a close always goes through.
    """
    if not request.reduce_only:
        return None
    reducible = max(0, -request.side.sign * position_lots)
    if request.rests:
        reducible -= sum(order.leaves_lots for order in working if order.side is request.side)
    if lots <= reducible:
        return None
    return Refusal(
        FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE,
        f"reduce_only: {lots} lots; allowed: at most {max(0, reducible)}",
    )


def check_liquidity(book: OrderBook, side: Side, sized: Sized) -> Sized | Refusal:
    """Give a market order its worst price as the book stands; refuse it where nobody is there."""
    if sized.price_ticks is not None:
        return sized
    walk = book.walk(side, sized.size_lots)
    if walk.worst_price_ticks is None:
        return Refusal(FailureReason.INVALID_NO_LIQUIDITY, "no order rests on the other side")
    return Sized(walk.quantity_lots, walk.worst_price_ticks)


def only_reduces(side: Side, lots: int, position_lots: int, working: Iterable[Order]) -> bool:
    """Say whether an order can only make the position smaller, whatever else fills."""
    reducible = -side.sign * position_lots
    return lots + sum(order.leaves_lots for order in working if order.side is side) <= reducible


def working_order(product: Product, side: Side, lots: int, price_ticks: int) -> WorkingOrder:
    """Return what margin needs to know of an order."""
    return WorkingOrder(side, product.instrument.price(price_ticks), lots)


def check_funds(
    requirement_before: Decimal, requirement_after: Decimal, equity: Decimal
) -> Refusal | None:
    """Refuse what needs more equity than there is, unless it needs no more than before."""
    if requirement_after <= max(ZERO, equity) or requirement_after <= requirement_before:
        return None
    return Refusal(
        FailureReason.INSUFFICIENT_FUND,
        f"initial margin: {requirement_after:.2f} needed; equity: {equity:.2f}",
    )

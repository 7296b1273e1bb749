"""Closing a position: the market order that does it."""

from collections.abc import Mapping

from lob.types import Side, TimeInForce
from touchstone.exchange.money import plain
from touchstone.exchange.products import Product
from touchstone.exchange.requests import CloseRequest, OrderRequest


def closing_order(
    products: Mapping[str, Product], request: CloseRequest, lots: int
) -> OrderRequest:
    """Return the order that closes a position of `lots` (above 0 is long), or `size` of it.

    It only reduces, so more than is held is refused. A product that is not listed is left for the
    rules of entry to refuse.
    """
    size = request.size
    if size is None and request.product_id in products:
        size = products[request.product_id].instrument.quantity(abs(lots))
    shown = "" if size is None else plain(size)
    return OrderRequest(
        client_order_id=request.client_order_id,
        product_id=request.product_id,
        side=Side.SELL if lots > 0 else Side.BUY,
        size=size,
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        configuration={"market_market_ioc": {"base_size": shown, "reduce_only": True}},
    )

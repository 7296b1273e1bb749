"""Orders and fills: create, cancel, look up. Edits, previews and closing are not implemented."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from lob.errors import NotFound
from services.paper_exchange import shapes_orders as shapes
from services.paper_exchange.auth import Caller
from services.paper_exchange.gate import API_PREFIX, Gate, not_implemented
from services.paper_exchange.metrics import ExchangeMetrics
from services.paper_exchange.query import select_fills, select_orders
from services.paper_exchange.requests import (
    CancelOrders,
    CreateOrder,
    decode,
    order_request,
    read_body,
    read_bytes,
)
from services.paper_exchange.venue import Venue
from touchstone.exchange import FailureReason, Refusal

ABSENT = ("edit", "edit_preview", "preview", "close_position")


def order_router(venue: Venue, gate: Gate, metrics: ExchangeMetrics) -> APIRouter:
    """Return the order routes."""
    router = APIRouter(prefix=f"{API_PREFIX}/orders")
    _add_commands(router, venue, gate, metrics)
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/historical/batch")
    async def list_orders(request: Request, caller: viewer) -> Response:
        venue.require_running()
        page = select_orders(venue.exchange.orders(caller.account), request.query_params)
        return JSONResponse(
            {
                "orders": [shapes.order_shape(order) for order in page.rows],
                "sequence": "0",
                "has_next": bool(page.cursor),
                "cursor": page.cursor,
            }
        )

    @router.get("/historical/fills")
    async def list_fills(request: Request, caller: viewer) -> Response:
        venue.require_running()
        page = select_fills(venue.exchange.fills(caller.account), request.query_params)
        rows = [shapes.fill_shape(fill, caller.account) for fill in page.rows]
        return JSONResponse({"fills": rows, "cursor": page.cursor})

    @router.get("/historical/{order_id}")
    async def get_order(order_id: str, caller: viewer) -> Response:
        venue.require_running()
        order = venue.exchange.order(caller.account, order_id)
        if order is None:
            raise NotFound(f"order with this orderID was not found: {order_id}")
        return JSONResponse({"order": shapes.order_shape(order)})

    return router


def _add_commands(router: APIRouter, venue: Venue, gate: Gate, metrics: ExchangeMetrics) -> None:
    trader = Annotated[Caller, Depends(gate.trading)]

    @router.post("")
    async def create_order(request: Request, caller: trader) -> Response:
        raw = await read_bytes(request)
        body = decode(raw, CreateOrder)
        wanted = _portfolio_refusal(body, caller) or order_request(body, raw)
        result = wanted if isinstance(wanted, Refusal) else venue.create(caller.account, wanted)
        metrics.count_order(result)
        if isinstance(result, Refusal):
            return JSONResponse(shapes.refused_shape(result, body.order_configuration))
        return JSONResponse(shapes.created_shape(result))

    @router.post("/batch_cancel")
    async def batch_cancel(request: Request, caller: trader) -> Response:
        body = await read_body(request, CancelOrders)
        results = venue.cancel(caller.account, body.order_ids)
        for result in results:
            metrics.count_cancel(result)
        return JSONResponse({"results": [shapes.cancel_shape(result) for result in results]})

    for name in ABSENT:
        _add_absent(router, gate, name)


def _portfolio_refusal(body: CreateOrder, caller: Caller) -> Refusal | None:
    if body.retail_portfolio_id in (None, "", shapes.portfolio_uuid(caller.account)):
        return None
    return Refusal(
        FailureReason.INVALID_REQUEST, "retail_portfolio_id: not the portfolio of this key"
    )


def _add_absent(router: APIRouter, gate: Gate, name: str) -> None:
    @router.post(f"/{name}", dependencies=[Depends(gate.trading)], name=name)
    async def absent() -> Response:
        raise not_implemented(f"orders/{name}")

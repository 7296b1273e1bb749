"""Orders and fills: create, edit, cancel, close, preview, look up."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lob.errors import NotFound
from services.paper_exchange import shapes_orders as shapes
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import answer, read_body, read_bytes
from services.paper_exchange.gate import API_PREFIX, Gate
from services.paper_exchange.history_query import select_fills, select_orders
from services.paper_exchange.metrics import ExchangeMetrics
from services.paper_exchange.requests import (
    CancelOrders,
    parse_close,
    parse_create,
    parse_edit,
    parse_preview,
)
from services.paper_exchange.shapes_previews import (
    edit_preview_shape,
    preview_shape,
    refused_preview,
)
from services.paper_exchange.venue import Venue
from touchstone.exchange import Refusal
from touchstone.exchange.commands import ClosePosition, EditOrder


def order_router(venue: Venue, gate: Gate, metrics: ExchangeMetrics) -> APIRouter:
    """Return the order routes."""
    router = APIRouter(prefix=f"{API_PREFIX}/orders")
    _add_commands(router, venue, gate, metrics)
    _add_previews(router, venue, gate)
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/historical/batch")
    async def list_orders(request: Request, caller: viewer) -> Response:
        venue.require_running()
        page = select_orders(venue.exchange, caller.account, request.query_params)
        return answer(
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
        page = select_fills(venue.exchange, caller.account, request.query_params)
        rows = [shapes.fill_shape(fill, caller.account) for fill in page.rows]
        return answer({"fills": rows, "cursor": page.cursor})

    @router.get("/historical/{order_id}")
    async def get_order(order_id: str, caller: viewer) -> Response:
        venue.require_running()
        order = venue.exchange.order(caller.account, order_id)
        if order is None:
            raise NotFound("order with this orderID was not found")
        return answer({"order": shapes.order_shape(order)})

    return router


def _add_commands(router: APIRouter, venue: Venue, gate: Gate, metrics: ExchangeMetrics) -> None:
    trader = Annotated[Caller, Depends(gate.trading)]

    @router.post("")
    async def create_order(request: Request, caller: trader) -> Response:
        portfolio = shapes.portfolio_uuid(caller.account)
        asked = parse_create(await read_bytes(request), portfolio)
        wanted = asked.wanted
        result = (
            wanted if isinstance(wanted, Refusal) else await venue.create(caller.account, wanted)
        )
        metrics.count_order(result)
        if isinstance(result, Refusal):
            return answer(shapes.refused_shape(result, asked.configuration))
        return answer(shapes.created_shape(result))

    @router.post("/batch_cancel")
    async def batch_cancel(request: Request, caller: trader) -> Response:
        body = await read_body(request, CancelOrders)
        results = await venue.cancel(caller.account, body.order_ids)
        for result in results:
            metrics.count_cancel(result)
        return answer({"results": [shapes.cancel_shape(result) for result in results]})

    @router.post("/edit")
    async def edit(request: Request, caller: trader) -> Response:
        asked = parse_edit(await read_bytes(request))
        result = await venue.execute(EditOrder(account=caller.account, request=asked))
        return answer(shapes.edit_shape(result))

    @router.post("/close_position")
    async def close_position(request: Request, caller: trader) -> Response:
        asked = parse_close(await read_bytes(request))
        result = await venue.execute(ClosePosition(account=caller.account, request=asked))
        metrics.count_order(result)
        if isinstance(result, Refusal):
            return answer(shapes.refused_shape(result, {}))
        return answer(shapes.created_shape(result))


def _add_previews(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.post("/preview")
    async def preview(request: Request, caller: viewer) -> Response:
        portfolio = shapes.portfolio_uuid(caller.account)
        wanted = parse_preview(await read_bytes(request), portfolio).wanted
        venue.require_running()
        if isinstance(wanted, Refusal):
            return answer(preview_shape(refused_preview(wanted)))
        return answer(preview_shape(venue.exchange.preview(caller.account, wanted)))

    @router.post("/edit_preview")
    async def edit_preview(request: Request, caller: viewer) -> Response:
        asked = parse_edit(await read_bytes(request))
        venue.require_running()
        return answer(edit_preview_shape(venue.exchange.preview_edit(caller.account, asked)))

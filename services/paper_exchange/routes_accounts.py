"""Accounts: permissions, balances, portfolios, positions in both shapes, fees."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from lob.errors import NotFound
from services.paper_exchange import shapes_accounts as shapes
from services.paper_exchange.auth import Caller
from services.paper_exchange.gate import API_PREFIX, Gate
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.venue import Venue
from touchstone.exchange import Family, Product


def account_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the account routes."""
    router = APIRouter(prefix=API_PREFIX)
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/key_permissions")
    async def key_permissions(caller: viewer) -> Response:
        return JSONResponse(
            {
                "can_view": "view" in caller.permissions,
                "can_trade": "trade" in caller.permissions,
                "can_transfer": False,
                "portfolio_uuid": portfolio_uuid(caller.account),
                "portfolio_type": "DEFAULT",
            }
        )

    @router.get("/accounts")
    async def accounts(caller: viewer) -> Response:
        return JSONResponse(shapes.accounts_shape(venue.exchange, caller.account))

    @router.get("/portfolios")
    async def portfolios(request: Request, caller: viewer) -> Response:
        kind = request.query_params.get("portfolio_type")
        return JSONResponse(shapes.portfolios_shape(caller.account, kind))

    @router.get("/transaction_summary")
    async def transaction_summary(caller: viewer) -> Response:
        return JSONResponse(shapes.transaction_summary_shape(venue.exchange, caller.account))

    _add_intx(router, venue, gate)
    _add_cfm(router, venue, gate)
    return router


def _add_intx(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/intx/portfolio/{uuid}")
    async def intx_portfolio(uuid: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        return JSONResponse(shapes.intx_portfolio_shape(venue.exchange, caller.account))

    @router.get("/intx/positions/{uuid}")
    async def intx_positions(uuid: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        return JSONResponse(shapes.intx_positions_shape(venue.exchange, caller.account))

    @router.get("/intx/positions/{uuid}/{symbol}")
    async def intx_position(uuid: str, symbol: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        product = _product(venue, symbol, Family.INTX)
        shape = shapes.intx_position_shape(venue.exchange, caller.account, product)
        return JSONResponse({"position": shape})


def _add_cfm(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/cfm/balance_summary")
    async def cfm_balance_summary(caller: viewer) -> Response:
        return JSONResponse(shapes.cfm_balance_shape(venue.exchange, caller.account))

    @router.get("/cfm/positions")
    async def cfm_positions(caller: viewer) -> Response:
        return JSONResponse(shapes.cfm_positions_shape(venue.exchange, caller.account))

    @router.get("/cfm/positions/{product_id}")
    async def cfm_position(product_id: str, caller: viewer) -> Response:
        product = _product(venue, product_id, Family.CDE)
        shape = shapes.cfm_position_shape(venue.exchange, caller.account, product)
        return JSONResponse({"position": shape})


def _require_own(caller: Caller, uuid: str) -> None:
    if uuid != portfolio_uuid(caller.account):
        raise NotFound(f"portfolio: {uuid!r} is not this key's")


def _product(venue: Venue, product_id: str, family: Family) -> Product:
    product = venue.exchange.products.get(product_id)
    if product is None or product.family is not family:
        raise NotFound(f"product_id: {product_id!r} is not listed as {family}")
    return product

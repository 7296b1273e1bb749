"""Positions and margin in both of Coinbase's shapes: the retired `/intx` and `/cfm`."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from msgspec import Meta

from lob.errors import InvalidInput, NotFound
from services.paper_exchange import query
from services.paper_exchange import shapes_cfm as cfm
from services.paper_exchange import shapes_intx as intx
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import Body, answer, read_body
from services.paper_exchange.configurations import parse_decimal
from services.paper_exchange.gate import API_PREFIX, Gate
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.venue import Venue
from touchstone.exchange import Family, Product
from touchstone.exchange.commands import Allocate
from touchstone.exchange.options import (
    CancelSweep,
    ScheduleSweep,
    SetIntradayMargin,
    SetMultiAsset,
)
from touchstone.exchange.portfolios import CURRENCIES

MARGIN_PROFILES: Final = (
    "MARGIN_PROFILE_TYPE_UNSPECIFIED",
    "MARGIN_PROFILE_TYPE_RETAIL_REGULAR",
    "MARGIN_PROFILE_TYPE_RETAIL_INTRADAY_MARGIN_1",
)


class MultiAsset(Body):
    """The body of `POST /intx/multi_asset_collateral`."""

    portfolio_uuid: Annotated[str, Meta(max_length=64)]
    multi_asset_collateral_enabled: bool = False


class AllocateBody(Body):
    """The body of `POST /intx/allocate`; an amount below 0 is taken back."""

    portfolio_uuid: Annotated[str, Meta(max_length=64)]
    symbol: Annotated[str, Meta(max_length=64)]
    amount: str
    currency: Annotated[str, Meta(max_length=16)]


class SweepBody(Body):
    """The body of `POST /cfm/sweeps/schedule`; without an amount everything is swept."""

    usd_amount: str | None = None


class MarginSetting(Body):
    """The body of `POST /cfm/intraday/margin_setting`."""

    setting: Annotated[str, Meta(max_length=64)]


def futures_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the routes of both shapes."""
    router = APIRouter(prefix=API_PREFIX)
    _add_intx(router, venue, gate)
    _add_cfm(router, venue, gate)
    _add_cfm_settings(router, venue, gate)
    return router


def _add_intx(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]
    trader = Annotated[Caller, Depends(gate.trading)]

    @router.get("/intx/portfolio/{uuid}")
    async def portfolio(uuid: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        return answer(intx.portfolio_shape(venue.exchange, caller.account))

    @router.get("/intx/positions/{uuid}")
    async def positions(uuid: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        return answer(intx.positions_shape(venue.exchange, caller.account))

    @router.get("/intx/positions/{uuid}/{symbol}")
    async def position(uuid: str, symbol: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        product = _product(venue, symbol, Family.INTX)
        shape = intx.position_shape(venue.exchange, caller.account, product)
        return answer({"position": shape})

    @router.get("/intx/balances/{uuid}")
    async def balances(uuid: str, caller: viewer) -> Response:
        _require_own(caller, uuid)
        return answer(intx.balances_shape(venue.exchange, caller.account))

    @router.post("/intx/allocate")
    async def allocate(request: Request, caller: trader) -> Response:
        body = await read_body(request, AllocateBody)
        _require_own(caller, body.portfolio_uuid)
        if body.currency not in CURRENCIES:
            raise InvalidInput(f"currency: {body.currency!r}; allowed: {', '.join(CURRENCIES)}")
        product = _product(venue, body.symbol, Family.INTX)
        size = parse_decimal("amount", body.amount.removeprefix("-"))
        refusal = await venue.execute(
            Allocate(
                account=caller.account,
                product_id=product.product_id,
                amount=-size if body.amount.startswith("-") else size,
            )
        )
        if refusal is not None:
            raise InvalidInput(refusal.message)
        return answer({})

    @router.post("/intx/multi_asset_collateral")
    async def multi_asset(request: Request, caller: trader) -> Response:
        body = await read_body(request, MultiAsset)
        _require_own(caller, body.portfolio_uuid)
        enabled = body.multi_asset_collateral_enabled
        await venue.execute(SetMultiAsset(account=caller.account, enabled=enabled))
        return answer({"cross_collateral_enabled": enabled})


def _add_cfm(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/cfm/balance_summary")
    async def balance_summary(caller: viewer) -> Response:
        return answer(cfm.balance_shape(venue.exchange, caller.account))

    @router.get("/cfm/positions")
    async def positions(caller: viewer) -> Response:
        return answer(cfm.positions_shape(venue.exchange, caller.account))

    @router.get("/cfm/positions/{product_id}")
    async def position(product_id: str, caller: viewer) -> Response:
        product = _product(venue, product_id, Family.CDE)
        shape = cfm.position_shape(venue.exchange, caller.account, product)
        return answer({"position": shape})


def _add_cfm_settings(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]
    trader = Annotated[Caller, Depends(gate.trading)]

    @router.get("/cfm/sweeps")
    async def sweeps(caller: viewer) -> Response:
        return answer(cfm.sweeps_shape(venue.exchange, caller.account))

    @router.post("/cfm/sweeps/schedule")
    async def schedule_sweep(request: Request, caller: trader) -> Response:
        body = await read_body(request, SweepBody)
        amount = parse_decimal("usd_amount", body.usd_amount) if body.usd_amount else None
        command = ScheduleSweep(account=caller.account, amount=amount)
        return answer({"success": await venue.execute(command)})

    @router.delete("/cfm/sweeps")
    async def cancel_sweep(caller: trader) -> Response:
        return answer({"success": await venue.execute(CancelSweep(account=caller.account))})

    @router.get("/cfm/intraday/margin_setting")
    async def margin_setting(caller: viewer) -> Response:
        return answer({"setting": venue.exchange.options.of(caller.account).intraday})

    @router.post("/cfm/intraday/margin_setting")
    async def set_margin_setting(request: Request, caller: trader) -> Response:
        body = await read_body(request, MarginSetting)
        await venue.execute(SetIntradayMargin(account=caller.account, setting=body.setting))
        return answer({})

    @router.get("/cfm/intraday/current_margin_window")
    async def margin_window(request: Request, caller: viewer) -> Response:
        query.enums(request.query_params, "margin_profile_type", MARGIN_PROFILES)
        return answer(cfm.margin_window_shape(venue.exchange, caller.account))


def _require_own(caller: Caller, uuid: str) -> None:
    if uuid != portfolio_uuid(caller.account):
        raise NotFound("portfolio: not found among those of this key")


def _product(venue: Venue, product_id: str, family: Family) -> Product:
    product = venue.exchange.products.get(product_id)
    if product is None or product.family is not family:
        raise NotFound(f"product_id: {product_id[:64]!r} is not listed as {family}")
    return product

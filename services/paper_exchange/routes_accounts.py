"""Accounts: permissions, balances, portfolios, fees, and what a venue of one currency lacks."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from msgspec import Meta

from lob.errors import InvalidInput, NotFound
from services.paper_exchange import query
from services.paper_exchange import shapes_accounts as shapes
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import Body, answer, read_body
from services.paper_exchange.configurations import parse_decimal
from services.paper_exchange.gate import API_PREFIX, Gate
from services.paper_exchange.history_query import EXPIRY_TYPES, PRODUCT_TYPES
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.venue import Venue
from touchstone.exchange.portfolios import (
    CURRENCIES,
    CreatePortfolio,
    DeletePortfolio,
    MoveFunds,
    RenamePortfolio,
)

PORTFOLIO_TYPES = ("UNDEFINED", "DEFAULT", "CONSUMER", "INTX")
VENUES = ("UNKNOWN_VENUE_TYPE", "CBE", "FCM", "INTX")


class PortfolioName(Body):
    """The body that creates or renames a portfolio."""

    name: Annotated[str, Meta(max_length=256)]


class Funds(Body):
    """An amount of money."""

    value: str
    currency: Annotated[str, Meta(max_length=16)]


class MoveFundsBody(Body):
    """The body of `POST /portfolios/move_funds`."""

    funds: Funds
    source_portfolio_uuid: Annotated[str, Meta(max_length=64)]
    target_portfolio_uuid: Annotated[str, Meta(max_length=64)]


def account_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the account routes."""
    router = APIRouter(prefix=API_PREFIX)
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/key_permissions")
    async def key_permissions(caller: viewer) -> Response:
        return answer(
            {
                "can_view": "view" in caller.permissions,
                "can_trade": "trade" in caller.permissions,
                "can_transfer": "transfer" in caller.permissions,
                "portfolio_uuid": portfolio_uuid(caller.account),
                "portfolio_type": "DEFAULT",
            }
        )

    @router.get("/accounts")
    async def accounts(request: Request, caller: viewer) -> Response:
        params = request.query_params
        query.whole_number(params, "limit", 49, 250)
        rows = [shapes.account_shape(venue.exchange, caller.account)]
        if params.get("retail_portfolio_id") not in (None, "", portfolio_uuid(caller.account)):
            rows = []
        if params.get("cursor"):
            raise InvalidInput("cursor: given; allowed: none, there is one page")
        return answer({"accounts": rows, "has_next": False, "cursor": "", "size": len(rows)})

    @router.get("/accounts/{account_uuid}")
    async def account(account_uuid: str, caller: viewer) -> Response:
        if account_uuid != shapes.balance_uuid(caller.account):
            raise NotFound("account: not found")
        return answer({"account": shapes.account_shape(venue.exchange, caller.account)})

    @router.get("/transaction_summary")
    async def transaction_summary(request: Request, caller: viewer) -> Response:
        params = request.query_params
        kind = query.enum(params, "product_type", PRODUCT_TYPES)
        expiry = query.enum(params, "contract_expiry_type", EXPIRY_TYPES)
        place = query.enum(params, "product_venue", VENUES)
        family = shapes.fee_family(kind, expiry, place)
        return answer(shapes.transaction_summary_shape(venue.exchange, caller.account, family))

    _add_portfolios(router, venue, gate)
    _add_absent(router, gate)
    return router


def _add_portfolios(router: APIRouter, venue: Venue, gate: Gate) -> None:
    viewer = Annotated[Caller, Depends(gate.private)]
    trader = Annotated[Caller, Depends(gate.trading)]

    @router.get("/portfolios")
    async def portfolios(request: Request, caller: viewer) -> Response:
        kind = query.enum(request.query_params, "portfolio_type", PORTFOLIO_TYPES)
        listed = venue.exchange.portfolios.listed(caller.account)
        return answer(shapes.portfolios_shape(listed, "" if kind == "UNDEFINED" else kind))

    @router.post("/portfolios")
    async def create_portfolio(request: Request, caller: trader) -> Response:
        body = await read_body(request, PortfolioName)
        command = CreatePortfolio(account=caller.account, name=body.name)
        return answer({"portfolio": shapes.portfolio_shape(await venue.execute(command))})

    @router.post("/portfolios/move_funds")
    async def move_funds(request: Request, caller: viewer) -> Response:
        caller.require("transfer")
        body = await read_body(request, MoveFundsBody)
        if body.funds.currency not in CURRENCIES:
            raise InvalidInput(
                f"funds.currency: {body.funds.currency!r}; allowed: {', '.join(CURRENCIES)}"
            )
        command = MoveFunds(
            account=caller.account,
            source_id=body.source_portfolio_uuid,
            target_id=body.target_portfolio_uuid,
            amount=parse_decimal("funds.value", body.funds.value),
        )
        await venue.execute(command)
        return answer(
            {
                "source_portfolio_uuid": body.source_portfolio_uuid,
                "target_portfolio_uuid": body.target_portfolio_uuid,
            }
        )

    @router.get("/portfolios/{uuid}")
    async def breakdown(uuid: str, request: Request, caller: viewer) -> Response:
        currency = request.query_params.get("currency") or "USD"
        if currency not in CURRENCIES:
            raise InvalidInput(f"currency: {currency[:16]!r}; allowed: {', '.join(CURRENCIES)}")
        portfolio = venue.exchange.portfolios.find(caller.account, uuid)
        return answer(shapes.breakdown_shape(venue.exchange, portfolio, currency))

    @router.put("/portfolios/{uuid}")
    async def edit_portfolio(uuid: str, request: Request, caller: trader) -> Response:
        body = await read_body(request, PortfolioName)
        command = RenamePortfolio(account=caller.account, portfolio_id=uuid, name=body.name)
        return answer({"portfolio": shapes.portfolio_shape(await venue.execute(command))})

    @router.delete("/portfolios/{uuid}")
    async def delete_portfolio(uuid: str, caller: trader) -> Response:
        await venue.execute(DeletePortfolio(account=caller.account, portfolio_id=uuid))
        return answer({})


def _add_absent(router: APIRouter, gate: Gate) -> None:
    """Answer what needs banks or a second currency: there are no payment methods, no conversions.

    Coinbase answers an account that has none of it in the same way.
    """
    private = [Depends(gate.private)]

    @router.get("/payment_methods", dependencies=private)
    async def payment_methods() -> Response:
        return answer({"payment_methods": []})

    @router.get("/payment_methods/{payment_method_id}", dependencies=private)
    async def payment_method(payment_method_id: str) -> Any:
        raise NotFound(f"payment_method_id: {payment_method_id[:64]!r} not found")

    @router.post("/convert/quote", dependencies=[Depends(gate.trading)])
    async def convert_quote() -> Any:
        raise InvalidInput("from_account, to_account: this venue has one currency to hold")

    @router.get("/convert/trade/{trade_id}", dependencies=private)
    async def convert_trade(trade_id: str) -> Any:
        raise NotFound(f"trade_id: {trade_id[:64]!r} not found")

    @router.post("/convert/trade/{trade_id}", dependencies=[Depends(gate.trading)])
    async def commit_convert_trade(trade_id: str) -> Any:
        raise NotFound(f"trade_id: {trade_id[:64]!r} not found")

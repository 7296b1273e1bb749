"""Coinbase App's paths below `/v2` that ccxt calls: time, currencies, exchange rates, accounts.

ccxt's `load_markets` asks for currencies, crypto currencies and exchange rates before any product,
and its `fetch_time` and default `fetch_balance` live here, too.
"""

from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from lob.errors import NotFound
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import answer
from services.paper_exchange.figures import account_figures
from services.paper_exchange.gate import Gate
from services.paper_exchange.shapes_accounts import balance_uuid
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339, rounded_text
from touchstone.exchange import Exchange
from touchstone.exchange.identifiers import derived_uuid

_NANOSECONDS: Final = 1_000_000_000
_FIAT: Final = {"id": "USD", "name": "United States Dollar", "min_size": "0.01"}
_CRYPTO: Final = (
    ("BTC", "Bitcoin", "#F7931A", 100, 8),
    ("ETH", "Ethereum", "#627EEA", 102, 8),
    ("USDC", "USD Coin", "#2775CA", 103, 6),
)
"""Code, name, colour, place in lists, decimals."""


def wallet_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the routes below `/v2`."""
    router = APIRouter(prefix="/v2")
    router.include_router(_public_router(venue), dependencies=[Depends(gate.public)])
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/accounts")
    async def accounts(caller: viewer) -> Response:
        rows = [account_shape(venue.exchange, caller.account)]
        return answer({"pagination": pagination(), "data": rows})

    @router.get("/accounts/{account_id}")
    async def account(account_id: str, caller: viewer) -> Response:
        if account_id not in ("USD", balance_uuid(caller.account)):
            raise NotFound("account: not found")
        return answer({"data": account_shape(venue.exchange, caller.account)})

    return router


def _public_router(venue: Venue) -> APIRouter:
    router = APIRouter()

    @router.get("/time")
    async def time() -> Response:
        now_ns = venue.clock.now_ns()
        whole = now_ns // _NANOSECONDS
        iso = rfc3339(whole * _NANOSECONDS).replace(".000000000", "")
        return answer({"data": {"iso": iso, "epoch": whole}})

    @router.get("/currencies")
    async def currencies() -> Response:
        return answer({"data": [_FIAT]})

    @router.get("/currencies/crypto")
    async def crypto_currencies() -> Response:
        return answer({"data": [crypto_shape(*row) for row in _CRYPTO]})

    @router.get("/exchange-rates")
    async def exchange_rates(request: Request) -> Response:
        currency = (request.query_params.get("currency") or "USD").upper()
        prices = dollar_prices(venue.exchange)
        if currency not in prices:
            raise NotFound(f"currency: {currency[:16]!r}; listed: {', '.join(prices)}")
        rates = {name: rounded_text(prices[currency] / price) for name, price in prices.items()}
        return answer({"data": {"currency": currency, "rates": rates}})

    return router


def dollar_prices(exchange: Exchange) -> dict[str, Decimal]:
    """Return what one of each currency is worth in dollars: coins at their first product's mark."""
    prices = {"USD": Decimal(1), "USDC": Decimal(1)}
    for market in exchange.markets.values():
        prices.setdefault(market.product.coin, market.mark())
    return prices


def crypto_shape(code: str, name: str, color: str, place: int, exponent: int) -> dict[str, Any]:
    """Return one crypto currency as `/v2/currencies/crypto` lists it."""
    return {
        "asset_id": derived_uuid("asset", code),
        "code": code,
        "name": name,
        "color": color,
        "sort_index": place,
        "exponent": exponent,
        "type": "crypto",
        "address_regex": "",
    }


def account_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return the account's one balance as `/v2/accounts` lists it: all its cash, held or not."""
    cash = account_figures(exchange, account).cash
    opened = rfc3339(exchange.config.start_ns)
    return {
        "id": balance_uuid(account),
        "name": "USD Wallet",
        "primary": True,
        "type": "fiat",
        "currency": {
            "code": "USD",
            "name": _FIAT["name"],
            "color": "#0066cf",
            "sort_index": 0,
            "exponent": 2,
            "type": "fiat",
        },
        "balance": {"amount": rounded_text(cash), "currency": "USD"},
        "created_at": opened,
        "updated_at": opened,
        "resource": "account",
        "resource_path": f"/v2/accounts/{balance_uuid(account)}",
        "allow_deposits": False,
        "allow_withdrawals": False,
    }


def pagination() -> dict[str, Any]:
    """Return the paging fields of a list that is all on one page."""
    return {
        "ending_before": None,
        "starting_after": None,
        "previous_ending_before": None,
        "next_starting_after": None,
        "limit": 100,
        "order": "desc",
        "previous_uri": None,
        "next_uri": None,
    }

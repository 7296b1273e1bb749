"""Coinbase App's paths below `/v2` about one account's movements, its user, and spot prices.

Nothing is deposited or withdrawn here but the balance that an account starts with and what moves
between its portfolios, so that most lists are empty; ccxt's `fetch_ledger`, `fetch_deposits` and
their like find them.
"""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from lob.errors import InvalidInput, NotFound
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import answer
from services.paper_exchange.gate import Gate
from services.paper_exchange.routes_wallet import dollar_prices, pagination
from services.paper_exchange.shapes_accounts import balance_uuid
from services.paper_exchange.shapes_orders import portfolio_uuid
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339, rounded_text
from touchstone.exchange import Exchange
from touchstone.exchange.identifiers import derived_uuid

MOVEMENTS: Final = ("transactions", "deposits", "withdrawals", "buys", "sells", "addresses")
PRICE_KINDS: Final = ("spot", "buy", "sell")


def ledger_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v2")
    viewer = Annotated[Caller, Depends(gate.private)]

    @router.get("/accounts/{account_id}/{movement}")
    async def movements(account_id: str, movement: str, caller: viewer) -> Response:
        if account_id not in ("USD", balance_uuid(caller.account)) or movement not in MOVEMENTS:
            raise NotFound("account: not found")
        listed = movement == "transactions"
        rows = [opening_shape(venue.exchange, caller.account)] if listed else []
        return answer({"pagination": pagination(), "data": rows})

    @router.get("/payment-methods", dependencies=[Depends(gate.private)])
    async def payment_methods() -> Response:
        return answer({"pagination": pagination(), "data": []})

    @router.get("/user")
    async def user(caller: viewer) -> Response:
        name = portfolio_uuid(caller.account)
        return answer({"data": {"id": name, "name": caller.account, "resource": "user"}})

    @router.get("/prices/{pair}/{kind}", dependencies=[Depends(gate.public)])
    async def price(pair: str, kind: str) -> Response:
        return answer({"data": price_shape(venue.exchange, pair, kind)})

    return router


def opening_shape(exchange: Exchange, account: str) -> dict[str, Any]:
    """Return what an account was given, as the deposit that a ledger begins with."""
    opened = rfc3339(exchange.config.start_ns)
    amount = {"amount": rounded_text(exchange.accounts[account].deposits), "currency": "USD"}
    identity = derived_uuid("opening", account)
    return {
        "id": identity,
        "type": "fiat_deposit",
        "status": "completed",
        "amount": amount,
        "native_amount": amount,
        "description": "paper money",
        "created_at": opened,
        "updated_at": opened,
        "resource": "transaction",
        "resource_path": f"/v2/accounts/{balance_uuid(account)}/transactions/{identity}",
    }


def price_shape(exchange: Exchange, pair: str, kind: str) -> dict[str, str]:
    """Return a price of a pair of currencies, or of a product: its mid, best ask or best bid."""
    if kind not in PRICE_KINDS:
        raise InvalidInput(f"price: {kind[:16]!r}; allowed: {', '.join(PRICE_KINDS)}")
    base, _, quote = pair.partition("-")
    market = exchange.markets.get(pair)
    if market is None:
        prices = dollar_prices(exchange)
        if base not in prices or quote not in prices:
            raise NotFound(f"pair: {pair[:32]!r} is not listed")
        return {
            "base": base,
            "currency": quote,
            "amount": rounded_text(prices[base] / prices[quote]),
        }
    bids, asks = market.levels(1)
    found = {"buy": asks, "sell": bids}.get(kind)
    amount = found[0][1] if found else market.mark()
    product = market.product
    return {"base": product.coin, "currency": product.currency, "amount": rounded_text(amount)}

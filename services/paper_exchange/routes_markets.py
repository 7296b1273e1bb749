"""Market data: products, books, public trades, the time. `/market/*` needs no key."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import QueryParams

from lob.errors import InvalidInput, NotFound
from services.paper_exchange import shapes_markets as shapes
from services.paper_exchange.gate import API_PREFIX, Gate, not_implemented
from services.paper_exchange.query import whole_number
from services.paper_exchange.requests import parse_decimal
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339
from touchstone.exchange import Product
from touchstone.exchange.market import Market

BOOK_LEVELS_MAX = 1_000
TRADES_MAX = 1_000
_MILLISECOND_NS = 1_000_000


def market_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the market-data routes, private and public."""
    router = APIRouter(prefix=API_PREFIX)
    router.include_router(_time_router(venue, gate))
    router.include_router(_data_router(venue), dependencies=[Depends(gate.private)])
    public = _data_router(venue)
    router.include_router(public, prefix="/market", dependencies=[Depends(gate.public)])

    @router.get("/best_bid_ask", dependencies=[Depends(gate.private)])
    async def best_bid_ask(request: Request) -> Response:
        wanted = _listed(venue, request.query_params.getlist("product_ids"))
        now_ns = venue.exchange.now_ns
        books = [shapes.pricebook_shape(_market(venue, name), 1, now_ns) for name in wanted]
        return JSONResponse({"pricebooks": books})

    return router


def _time_router(venue: Venue, gate: Gate) -> APIRouter:
    router = APIRouter()

    @router.get("/time", dependencies=[Depends(gate.public)])
    async def time() -> Response:
        now_ns = venue.clock.now_ns()
        milliseconds = now_ns // _MILLISECOND_NS
        return JSONResponse(
            {
                "iso": rfc3339(now_ns),
                "epochSeconds": str(milliseconds // 1_000),
                "epochMillis": str(milliseconds),
            }
        )

    return router


def _data_router(venue: Venue) -> APIRouter:
    router = APIRouter()

    @router.get("/products")
    async def products(request: Request) -> Response:
        listed = select_products(list(venue.exchange.products.values()), request.query_params)
        now_ns = venue.exchange.now_ns
        rows = [shapes.product_shape(_market(venue, p.product_id), now_ns) for p in listed]
        return JSONResponse({"products": rows, "num_products": len(rows)})

    @router.get("/products/{product_id}")
    async def product(product_id: str) -> Response:
        shape = shapes.product_shape(_market(venue, product_id), venue.exchange.now_ns)
        return JSONResponse(shape)

    @router.get("/products/{product_id}/ticker")
    async def ticker(product_id: str, request: Request) -> Response:
        for name in ("start", "end"):
            if request.query_params.get(name):
                raise not_implemented(f"{name}: the ticker of a past time")
        limit = whole_number(request.query_params, "limit", 100, TRADES_MAX)
        return JSONResponse(shapes.trades_shape(_market(venue, product_id), limit))

    @router.get("/products/{product_id}/candles")
    async def candles(product_id: str) -> Response:
        raise not_implemented(f"candles of {product_id}")

    @router.get("/product_book")
    async def product_book(request: Request) -> Response:
        params = request.query_params
        if params.get("aggregation_price_increment"):
            raise not_implemented("aggregation_price_increment")
        limit = whole_number(params, "limit", BOOK_LEVELS_MAX, BOOK_LEVELS_MAX)
        market = _market(venue, params.get("product_id", ""))
        return JSONResponse(shapes.product_book_shape(market, limit, venue.exchange.now_ns))

    return router


def select_products(products: list[Product], params: QueryParams) -> list[Product]:
    """Return the products the query asks for, in listing order.

    INTX-shaped products are `PERPETUAL` and CDE-shaped ones `EXPIRING`, as on Coinbase; without
    `contract_expiry_type` both are listed. Other parameters do not narrow a list of perpetuals.
    """
    kind = params.get("product_type")
    if kind not in (None, "", "UNKNOWN_PRODUCT_TYPE", "FUTURE"):
        return []
    wanted = set(params.getlist("product_ids"))
    expiry: Any = params.get("contract_expiry_type")
    families = {"PERPETUAL": "INTX", "EXPIRING": "CDE"}
    rows = [
        product
        for product in products
        if (not wanted or product.product_id in wanted)
        and (expiry not in families or product.family == families[expiry])
    ]
    offset = params.get("offset") or "0"
    if not (offset.isascii() and offset.isdigit()):
        raise InvalidInput(f"offset: {offset!r}; allowed: 0 or more")
    start = int(parse_decimal("offset", offset))
    limit = whole_number(params, "limit", len(products) or 1, 1_000)
    return rows[start : start + limit]


def _listed(venue: Venue, product_ids: list[str]) -> list[str]:
    return product_ids or list(venue.exchange.products)


def _market(venue: Venue, product_id: str) -> Market:
    market = venue.exchange.markets.get(product_id)
    if market is None:
        raise NotFound(f"product_id: {product_id!r}; listed: {', '.join(venue.exchange.products)}")
    return market

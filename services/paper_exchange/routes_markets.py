"""Market data: products, books, public trades, candles, the time. `/market/*` needs no key."""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.datastructures import QueryParams

from lob.errors import InvalidInput, NotFound
from services.paper_exchange import query
from services.paper_exchange import shapes_markets as shapes
from services.paper_exchange.bodies import answer
from services.paper_exchange.gate import API_PREFIX, Gate
from services.paper_exchange.history_query import EXPIRY_TYPES, PRODUCT_TYPES
from services.paper_exchange.requests import parse_decimal
from services.paper_exchange.shapes_orders import expiry_type
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339
from touchstone.exchange import Family, Product
from touchstone.exchange.candles import Granularity
from touchstone.exchange.market import Market

BOOK_LEVELS_MAX: Final = 1_000
TRADES_MAX: Final = 1_000
PRODUCTS_MAX: Final = 1_000
CONTRACT_STATUSES: Final = (
    "UNKNOWN_EXPIRING_CONTRACT_STATUS",
    "STATUS_UNEXPIRED",
    "STATUS_EXPIRED",
    "STATUS_ALL",
)
CANDLES_MAX: Final = 350
_MILLISECOND_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000


def market_router(venue: Venue, gate: Gate) -> APIRouter:
    """Return the market-data routes, private and public."""
    router = APIRouter(prefix=API_PREFIX)
    router.include_router(_time_router(venue, gate))
    router.include_router(_data_router(venue), dependencies=[Depends(gate.private)])
    public = _data_router(venue)
    router.include_router(public, prefix="/market", dependencies=[Depends(gate.public)])

    @router.get("/best_bid_ask", dependencies=[Depends(gate.private)])
    async def best_bid_ask(request: Request) -> Response:
        wanted = request.query_params.getlist("product_ids") or list(venue.exchange.products)
        now_ns = venue.exchange.now_ns
        books = [shapes.pricebook_shape(market_of(venue, name), 1, now_ns) for name in wanted]
        return answer({"pricebooks": books})

    return router


def _time_router(venue: Venue, gate: Gate) -> APIRouter:
    router = APIRouter()

    @router.get("/time", dependencies=[Depends(gate.public)])
    async def time() -> Response:
        now_ns = venue.clock.now_ns()
        milliseconds = now_ns // _MILLISECOND_NS
        return answer(
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
        now_ns = venue.exchange.now_ns
        listed = select_products(
            list(venue.exchange.products.values()), request.query_params, now_ns
        )
        exchange = venue.exchange
        rows = [shapes.product_shape(exchange, market_of(venue, p.product_id)) for p in listed]
        return answer({"products": rows, "num_products": len(rows)})

    @router.get("/products/{product_id}")
    async def product(product_id: str, request: Request) -> Response:
        query.flag(request.query_params, "get_tradability_status")
        return answer(shapes.product_shape(venue.exchange, market_of(venue, product_id)))

    @router.get("/products/{product_id}/ticker")
    async def ticker(product_id: str, request: Request) -> Response:
        params = request.query_params
        market = market_of(venue, product_id)
        limit = query.whole_number(params, "limit", 100, TRADES_MAX)
        start_ns, end_ns = query.moment(params, "start"), query.moment(params, "end")
        return answer(shapes.trades_shape(market, limit, start_ns, end_ns))

    @router.get("/products/{product_id}/candles")
    async def candles(product_id: str, request: Request) -> Response:
        params = request.query_params
        market = market_of(venue, product_id)
        granularity = query.enum(params, "granularity", (*Granularity, "UNKNOWN_GRANULARITY"))
        if not granularity:
            raise InvalidInput(f"granularity: missing; allowed: {', '.join(Granularity)}")
        length = Granularity(granularity)
        limit = query.whole_number(params, "limit", CANDLES_MAX, CANDLES_MAX)
        start_s, end_s = candle_period(params, length)
        found = market.candles.between(length, start_s, end_s, limit)
        return answer(shapes.candles_shape(market.product, found))

    @router.get("/product_book")
    async def product_book(request: Request) -> Response:
        params = request.query_params
        market = market_of(venue, params.get("product_id", ""))
        limit = query.whole_number(params, "limit", BOOK_LEVELS_MAX, BOOK_LEVELS_MAX)
        group = group_ticks(market.product, params.get("aggregation_price_increment") or "")
        return answer(shapes.product_book_shape(market, limit, venue.exchange.now_ns, group))

    return router


def candle_period(params: QueryParams, length: Granularity) -> tuple[int, int]:
    """Return the first and the last second at which a candle may start.

    Raises:
        InvalidInput: an end is missing, or more than 350 candles lie between them.
    """
    start_ns, end_ns = query.moment(params, "start"), query.moment(params, "end")
    if start_ns is None or end_ns is None:
        raise InvalidInput("start, end: missing; allowed: Unix seconds")
    start_s, end_s = -(-start_ns // _SECOND_NS), end_ns // _SECOND_NS
    if end_s - start_s > CANDLES_MAX * length.seconds:
        raise InvalidInput(
            "start and end argument is invalid - number of candles requested should be less than"
            f" {CANDLES_MAX}"
        )
    return start_s, end_s


def select_products(products: list[Product], params: QueryParams, now_ns: int) -> list[Product]:
    """Return the products the query asks for, in listing order.

    INTX-shaped products are `PERPETUAL` and CDE-shaped ones `EXPIRING`, as on Coinbase; without
    `contract_expiry_type` both are listed. Every product can be viewed and traded by every key, so
    `get_tradability_status` and `get_all_products` add nothing.
    """
    wanted = query.values(params, "product_ids", "product_id")
    kinds = query.enums(params, "product_type", PRODUCT_TYPES)
    expiry = query.enum(params, "contract_expiry_type", EXPIRY_TYPES)
    status = query.enum(params, "expiring_contract_status", CONTRACT_STATUSES)
    for name in ("get_tradability_status", "get_all_products"):
        query.flag(params, name)
    rows = [
        product
        for product in products
        if (not kinds or "FUTURE" in kinds)
        and (not wanted or product.product_id in wanted)
        and (not expiry or expiry_type(product) == expiry)
        and _has_status(product, status, now_ns)
    ]
    start = query.offset(params)
    limit = query.whole_number(params, "limit", PRODUCTS_MAX, PRODUCTS_MAX)
    return rows[start : start + limit]


def _has_status(product: Product, status: str, now_ns: int) -> bool:
    """Say whether a contract that expires is in this status; one that never does always is."""
    if status in ("", "STATUS_ALL") or product.family is Family.INTX:
        return True
    expired = now_ns >= shapes.CDE_EXPIRY_NS
    return expired is (status == "STATUS_EXPIRED")


def group_ticks(product: Product, increment: str) -> int:
    """Return how many ticks a level of an aggregated book spans; `InvalidInput` if off the grid."""
    if not increment:
        return 1
    ticks = product.instrument.to_ticks(parse_decimal("aggregation_price_increment", increment))
    if ticks < 1:
        raise InvalidInput(f"aggregation_price_increment: {increment!r}; allowed: above 0")
    return ticks


def market_of(venue: Venue, product_id: str) -> Market:
    """Return the market of a product; `NotFound` for one that is not listed."""
    market = venue.exchange.markets.get(product_id)
    if market is None:
        listed = ", ".join(venue.exchange.products)
        raise NotFound(f"product_id: {product_id[:64]!r}; listed: {listed}")
    return market

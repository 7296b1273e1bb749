"""Administration for tests and demonstrations: state, clock, flow. Loopback only, no browsers."""

import ipaddress

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from lob.errors import PermissionDenied
from services.paper_exchange.feed import Feed
from services.paper_exchange.requests import ClockSpeed, FlowState, read_body
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339, text


def admin_router(venue: Venue, feed: Feed) -> APIRouter:
    """Return the `/admin` routes."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(require_local)])

    @router.get("/state")
    async def state() -> Response:
        return JSONResponse(state_shape(venue, feed))

    @router.post("/clock")
    async def clock(request: Request) -> Response:
        venue.set_speed((await read_body(request, ClockSpeed)).speed)
        return JSONResponse(state_shape(venue, feed))

    @router.post("/flow")
    async def flow(request: Request) -> Response:
        venue.pause_flow((await read_body(request, FlowState)).paused)
        return JSONResponse(state_shape(venue, feed))

    return router


async def require_local(request: Request) -> None:
    """Admit loopback callers that are no web page; raises `PermissionDenied`."""
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        raise PermissionDenied(f"/admin: {host!r}; allowed: loopback addresses")
    if "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none":
        raise PermissionDenied("/admin: not from a web page")


def state_shape(venue: Venue, feed: Feed) -> dict[str, object]:
    """Return what the venue is doing; `durable` false says that a restart forgets everything."""
    exchange = venue.exchange
    return {
        "durable": False,
        "running": not venue.failure,
        "failure": venue.failure,
        "seed": exchange.config.seed,
        "run": exchange.config.run,
        "clock": {"now": rfc3339(exchange.now_ns), "speed": venue.clock.speed},
        "flow": {"paused": exchange.flow_paused},
        "connections": len(feed.connections),
        "fees_collected": text(exchange.fees_collected),
        "accounts": {
            name: {"balance": text(account.balance), "equity": text(exchange.equity(name))}
            for name, account in exchange.accounts.items()
        },
        "markets": {
            name: {
                "flow_commands": market.flow_commands,
                "flow_seconds": market.flow_now_ns / 1e9,
                "trades": market.book.trade_count,
                "resting_orders": len(market.book),
                "state_hash": market.book.state_hash(),
            }
            for name, market in exchange.markets.items()
        },
    }

"""Administration for tests and demonstrations: state, clock, flow, latency. Loopback only."""

import ipaddress
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from msgspec import Meta

from lob.errors import InvalidInput, NotFound, PermissionDenied
from services.paper_exchange.bodies import Body, read_body
from services.paper_exchange.feed import Feed
from services.paper_exchange.latency import SPREAD, Latencies, LatencyTerms
from services.paper_exchange.requests import ClockSpeed, FlowState, IndexMove
from services.paper_exchange.store import Store
from services.paper_exchange.venue import Venue
from services.paper_exchange.wire import rfc3339, text
from touchstone.exchange.commands import MoveIndex

MICROSECONDS_MAX: Final = 60_000_000.0
"""The longest mean latency that can be asked for: a minute."""


class AccountLatency(Body):
    """The body of `POST /admin/latency`: an account (none: the default), and a profile or means.

    Without a profile and without means an account's own terms end.
    """

    account: str | None = None
    profile: str | None = None
    in_us: Annotated[float, Meta(ge=0, le=MICROSECONDS_MAX)] | None = None
    back_us: Annotated[float, Meta(ge=0, le=MICROSECONDS_MAX)] | None = None
    spread: Annotated[float, Meta(ge=0, le=5)] = SPREAD

    def terms(self) -> LatencyTerms | None:
        """Return the terms asked for; raises `InvalidInput`."""
        means = self.in_us is not None or self.back_us is not None
        if self.profile is not None:
            if means:
                raise InvalidInput("profile: beside in_us or back_us; allowed: one or the other")
            return LatencyTerms.named(self.profile)
        if not means:
            return None
        return LatencyTerms(
            profile="custom",
            in_us=self.in_us or 0.0,
            back_us=self.back_us or 0.0,
            spread=self.spread,
        )


def admin_router(venue: Venue, feed: Feed) -> APIRouter:
    """Return the `/admin` routes."""
    router = APIRouter(prefix="/admin", dependencies=[Depends(require_local)])

    @router.get("/state")
    async def state() -> Response:
        return JSONResponse(state_shape(venue, feed))

    @router.get("/state_hash")
    async def state_hash() -> Response:
        return JSONResponse(hash_shape(venue))

    @router.post("/clock")
    async def clock(request: Request) -> Response:
        venue.set_speed((await read_body(request, ClockSpeed)).speed)
        return JSONResponse(state_shape(venue, feed))

    @router.post("/flow")
    async def flow(request: Request) -> Response:
        await venue.pause_flow((await read_body(request, FlowState)).paused)
        return JSONResponse(state_shape(venue, feed))

    @router.post("/index")
    async def index(request: Request) -> Response:
        body = await read_body(request, IndexMove)
        await venue.execute(MoveIndex(coin=body.coin, price=body.price))
        return JSONResponse(state_shape(venue, feed))

    @router.get("/latency")
    async def latency() -> Response:
        return JSONResponse(latency_shape(venue.latencies))

    @router.post("/latency")
    async def set_latency(request: Request) -> Response:
        body = await read_body(request, AccountLatency)
        if body.account is not None and body.account not in venue.exchange.accounts:
            raise NotFound(f"account: {body.account!r} is not open")
        venue.latencies.set(body.account, body.terms())
        return JSONResponse(latency_shape(venue.latencies))

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
        "durable": venue.store is not None,
        "running": not venue.failure,
        "failure": venue.failure,
        "seed": exchange.config.seed,
        "run": exchange.config.run,
        "clock": {
            "now": rfc3339(exchange.now_ns),
            "speed": venue.clock.speed,
            "speed_achieved": venue.gauge.speed(),
            "behind_seconds": max(0, venue.clock.now_ns() - exchange.now_ns) / 1e9,
        },
        "flow": {"paused": exchange.flow_paused},
        "store": None if venue.store is None else store_shape(venue.store),
        "latency": latency_shape(venue.latencies),
        "connections": len(feed.connections),
        "fees_collected": text(exchange.fees_collected),
        "accounts": {
            name: {"balance": text(account.balance), "equity": text(exchange.equity(name))}
            for name, account in exchange.accounts.items()
        },
        "indices": {
            coin: text(index.price) for coin, index in exchange.marketplace.indices.items()
        },
        "markets": {
            name: {
                "background": market.background,
                "standstill": market.standstill,
                "flow_commands": market.flow_commands,
                "flow_seconds": market.flow_now_ns / 1e9,
                "trades": market.book.trade_count,
                "resting_orders": len(market.book),
                "state_hash": market.book.state_hash(),
            }
            for name, market in exchange.markets.items()
        },
    }


def hash_shape(venue: Venue) -> dict[str, object]:
    """Return the hash of all that the venue is, and how many records led to it. O(state)."""
    exchange, store = venue.exchange, venue.store
    return {
        "state_hash": exchange.state_hash(),
        "now": rfc3339(exchange.now_ns),
        "records": None if store is None else store.journal.number,
    }


def store_shape(store: Store) -> dict[str, object]:
    """Return how the venue is kept, and how it was brought back when it started."""
    recovered = store.recovered
    return {
        "journal": {
            "records": store.journal.number,
            "records_since_snapshot": store.records_since_snapshot,
            "bytes": store.journal_bytes(),
            "sync": store.policy.sync,
            "syncs": store.syncs(),
        },
        "snapshot": {
            "records": store.snapshot_number,
            "age_seconds": round(store.snapshot_age_seconds, 3),
            "failure": store.snapshot_failure,
        },
        "recovery": {
            "begun": recovered.begun,
            "records_replayed": recovered.records_replayed,
            "torn_bytes": recovered.torn_bytes,
            "seconds": round(recovered.seconds, 6),
        },
    }


def latency_shape(latencies: Latencies) -> dict[str, object]:
    """Return how long messages take: by default, and of the accounts that have their own terms."""
    own = {name: asdict(terms) for name, terms in sorted(latencies.by_account.items())}
    return {"default": asdict(latencies.default), "accounts": own}

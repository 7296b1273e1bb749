"""The venue: the pure paper exchange, its own JSON, and the ways in which a real one misbehaves.

It lives in the world, not in a process: what has reached it happens, whoever asked is alive or not.
REST may answer from a while ago; the feed says what is so now.
"""

import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import QueryParams

from lob.errors import Fault, InvalidInput, Unauthenticated
from lob.types import Side, TimeInForce
from services.order_gateway.venues.coinbase_auth import ApiKeySigner
from services.paper_exchange.auth import Authenticator
from services.paper_exchange.bodies import decode
from services.paper_exchange.connection import Connection, Frames
from services.paper_exchange.faults_feed import FeedFaults
from services.paper_exchange.feed import Feed, FeedLimits
from services.paper_exchange.history_query import select_fills, select_orders
from services.paper_exchange.metrics import FeedMetrics
from services.paper_exchange.requests import (
    CancelOrders,
    parse_create,
    parse_edit,
    parse_preview,
)
from services.paper_exchange.shapes_cfm import balance_shape, positions_shape
from services.paper_exchange.shapes_markets import (
    pricebook_shape,
    product_book_shape,
    product_shape,
)
from services.paper_exchange.shapes_orders import (
    cancel_shape,
    created_shape,
    edit_shape,
    fill_shape,
    order_shape,
    portfolio_uuid,
    refused_shape,
)
from services.paper_exchange.shapes_previews import preview_shape, refused_preview
from services.paper_exchange.wire import rfc3339
from tests.simulation.loop import World
from touchstone.exchange import (
    PRODUCTS,
    Exchange,
    ExchangeConfig,
    Fill,
    Order,
    OrderRequest,
    OrderStatus,
    Refusal,
    Updates,
)
from touchstone.exchange.background import FlowKind

ACCOUNT: Final = "gateway"
MAKER: Final = "maker"
TAKER: Final = "taker"
FOREIGN: Final = "someone-"
PREFIX: Final = "/api/v3/brokerage"
SECOND_NS: Final = 1_000_000_000
HTTP_OK: Final = 200
_ENDED_EARLY: Final = frozenset({OrderStatus.CANCELLED, OrderStatus.EXPIRED})
LEEWAY_SECONDS: Final = 1.0
"""How far clocks may differ before a JWT is refused."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the venue answers to one request."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Mood:
    """How the venue feels: set by the fault plan, read at each request."""

    down: bool = False
    rest_lag_seconds: float = 0.0
    user_silent: bool = False
    server_errors: float = 0.0
    rate_limits: float = 0.0
    half_done_errors: float = 0.0
    """Chance that the answer is an error although the request was carried out."""
    cancels_queue: float = 0.0
    """Chance that a cancel is taken at once and carried out a little later."""
    half_told: float = 0.0
    """Chance that the end of an order is told before its last fill is."""


class Signer(ApiKeySigner):
    """Sign like a key would, without the mathematics: a token is when it expires, for what."""

    def __init__(self, wall_clock: Callable[[], float], lifetime_seconds: float) -> None:
        super().__init__(Path("none"), lifetime_seconds=5, wall_clock=wall_clock)
        self._now = wall_clock
        self._lasts_seconds = lifetime_seconds

    def token(self, method: str = "", host: str = "", path: str = "") -> str:
        """Return a token, which is true for one request."""
        return f"{self._now() + self._lasts_seconds:.6f};{method} {host}{path}"

    def forget(self) -> None:
        """Nothing to read again."""


class SimulatedVenue:
    """Answer requests and feed connections from one pure `Exchange`."""

    def __init__(self, world: World, rng: random.Random, *, product_ids: Sequence[str]) -> None:
        self.world = world
        self.mood = Mood()
        self.remembers = False
        """Whether past positions will be asked for, when REST lags."""
        self._rng = rng
        self._numbers = itertools.count(1)
        self.exchange = Exchange(
            ExchangeConfig(
                seed=1,
                flow=FlowKind.NONE,
                index_volatility={},
                arbitrage_band=Decimal(100),
                mark_band=Decimal(1),
                products=[p for p in PRODUCTS if p.product_id in product_ids],
                start_ns=world.time_ns(),
            ),
        )
        for account in (ACCOUNT, MAKER, TAKER):
            self.exchange.open_account(account)
        self.exchange.drain()
        self.feed = Feed(
            self.exchange,
            cast("Authenticator", SimpleNamespace(subscriber=self._subscriber)),
            monotonic=lambda: world.now,
            limits=FeedLimits(connections_per_second=1000, unauthenticated_per_second=1000),
            metrics=cast("FeedMetrics", _SILENT),
            faults=cast("FeedFaults", _NO_FAULTS),
            later=world.after,
        )
        self.versions: dict[str, list[tuple[int, Order]]] = {}
        self._held: list[tuple[int, dict[str, Any]]] = []
        self.told_late: dict[str, int] = {}
        """Fills that are told only after the end of their order, and when that is."""
        self._caller = SimpleNamespace(account=ACCOUNT, require=lambda _scope: None)
        world.after(0.25, self._beat)

    # ---------------------------------------------------------------- time

    def bring_up(self) -> None:
        """Let the exchange reach the present, and tell what happened on the way."""
        self.exchange.advance(max(self.world.time_ns(), self.exchange.now_ns))
        self.publish()

    def publish(self) -> None:
        """Remember and tell what happened since the last time."""
        updates = self.exchange.drain()
        ours = [order for order in updates.orders if order.account == ACCOUNT]
        told = tuple(self._as_told(order) for order in ours)
        updates = replace(updates, orders=() if self.mood.user_silent else told)
        if ours and self.remembers:
            self._held.append((self.exchange.now_ns, positions_shape(self.exchange, ACCOUNT)))
        self.feed.publish(updates)

    def _as_told(self, order: Order) -> Order:
        """Return an order as the venue tells of it, which may be less than what is so."""
        now_ns = self.exchange.now_ns
        versions = self.versions.setdefault(order.order_id, [])
        half = order.status in _ENDED_EARLY and order.filled_lots > 0
        if not half or self._rng.random() >= self.mood.half_told:
            versions.append((now_ns, order))
            return order
        last = next(f for f in self.exchange.fills(ACCOUNT) if f.order_id == order.order_id)
        told = replace(
            order,
            filled_lots=order.filled_lots - last.lots,
            filled_value=order.filled_value - last.product.notional(last.price_ticks, last.lots),
            fees=order.fees - last.fee,
            fill_count=order.fill_count - 1,
        )
        seconds = self._rng.uniform(0.05, 2.0)
        known_ns = now_ns + int(seconds * SECOND_NS)
        versions += [(now_ns, told), (known_ns, order)]
        self.told_late[last.trade_id] = known_ns
        self.world.after(seconds, self._tell, order)
        return told

    def _tell(self, order: Order) -> None:
        if not (self.mood.down or self.mood.user_silent):
            self.feed.publish(Updates(orders=(order,), trades=(), levels={}))

    def _beat(self) -> None:
        self.world.after(0.25, self._beat)
        if not self.mood.down:
            self.bring_up()
            self.feed.beat()

    # ---------------------------------------------------------------- others on the venue

    def trade(
        self,
        account: str,
        product_id: str,
        side: Side,
        size: int,
        price: Decimal,
        *,
        name: str = "",
    ) -> Order | Refusal:
        """Enter an order of somebody; only the maker's stay in the book."""
        self.bring_up()
        result = self._enter(account, product_id, side, size, price, name)
        self.publish()
        return result

    def _enter(
        self, account: str, product_id: str, side: Side, size: int, price: Decimal, name: str
    ) -> Order | Refusal:
        rests = account == MAKER
        terms = {"base_size": str(size), "limit_price": str(price)}
        request = OrderRequest(
            client_order_id=f"{name or account}{next(self._numbers)}",
            product_id=product_id,
            side=side,
            size=Decimal(size),
            limit_price=price,
            time_in_force=TimeInForce.GTC if rests else TimeInForce.IOC,
            configuration={"limit_limit_gtc" if rests else "sor_limit_ioc": terms},
        )
        return self.exchange.create(account, request)

    def quote(
        self, product_id: str, middle: Decimal, tick: Decimal, levels: int, size: int
    ) -> None:
        """Have the maker quote around a price, instead of what it quoted before."""
        self.bring_up()
        held = self.exchange.open_orders(MAKER, product_id)
        self.exchange.cancel(MAKER, [order.order_id for order in held])
        for level in range(1, levels + 1):
            for side in Side:
                price = middle - side.sign * tick * level
                self._enter(MAKER, product_id, side, size * level, price, "")
        self.publish()

    # ---------------------------------------------------------------- REST

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request that has arrived now."""
        if self.mood.down:
            return Answer(503, b"<html>maintenance</html>")
        self.bring_up()
        mood, roll = self.mood, self._rng.random()
        if roll < mood.rate_limits:
            return self._turn_away(method, target, headers, body)
        if roll < mood.rate_limits + mood.server_errors:
            return Answer(502, b"<html>Bad gateway</html>")
        answer = self._carry_out(method, target, headers, body)
        self.publish()
        if roll > 1 - mood.half_done_errors and answer.status == HTTP_OK:
            return Answer(self._rng.choice((500, 503, 504)), b'{"error":"INTERNAL"}')
        return answer

    def _carry_out(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        try:
            self._authenticate(method, target, headers)
            shape = self._route(method, target, body)
        except Unauthenticated:
            return Answer(401, b"Unauthorized")
        except Fault as fault:
            shown = {"error": fault.code, "message": str(fault)}
            status = 400 if isinstance(fault, InvalidInput) else 404
            return Answer(status, json.dumps(shown).encode())
        return Answer(HTTP_OK, json.dumps(shape).encode(), self._headers())

    def _turn_away(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        """Answer 429: in the venue's own words, or in those of something on the way, after all."""
        if self._rng.random() < 0.5:
            problem = {"errors": [{"id": "rate_limit_exceeded", "message": "slow down"}]}
            return Answer(429, json.dumps(problem).encode())
        if self._rng.random() < 0.3:
            self._carry_out(method, target, headers, body)
            self.publish()
        return Answer(429, b"<html>Too many requests</html>")

    def _headers(self) -> dict[str, str]:
        return {
            "x-ratelimit-limit": "1000",
            "x-ratelimit-remaining": "999",
            "x-ratelimit-reset": "1",
            "content-type": "application/json",
        }

    def _authenticate(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        given = {name.lower(): value for name, value in dict(headers).items()}
        token = given.get("authorization", "").removeprefix("Bearer ")
        expires, _, claimed = token.partition(";")
        path = urlsplit(target).path
        fresh = bool(expires) and float(expires) + LEEWAY_SECONDS >= self.world.time_ns() / 1e9
        if not fresh or not claimed.startswith(f"{method} ") or not claimed.endswith(path):
            raise Unauthenticated("token")

    def _subscriber(self, asked: Mapping[str, Any]) -> Any:
        return self._caller if asked.get("jwt") else None

    def _route(self, method: str, target: str, body: bytes) -> Any:
        parts = urlsplit(target)
        params = QueryParams(parse_qsl(parts.query))
        path = parts.path.removeprefix(PREFIX)
        if method == "POST":
            return self._command(path, body)
        for known, answer in (
            ("/orders/historical/batch", self._orders),
            ("/orders/historical/fills", self._fills),
            ("/orders/historical/", self._order),
            ("/product", self._products),
            ("/best_bid_ask", self._products),
            ("/cfm/positions", lambda _path, _params: self._positions()),
            ("/cfm/balance_summary", lambda _path, _params: balance_shape(self.exchange, ACCOUNT)),
            ("/time", lambda _path, _params: self._time()),
        ):
            if path.startswith(known):
                return answer(path, params)
        raise _NotThere(f"{method} {path}: the simulated venue has no such path")

    def _orders(self, _path: str, params: QueryParams) -> Any:
        page = select_orders(cast("Exchange", self._view()), ACCOUNT, params)
        rows = [order_shape(order) for order in page.rows]
        return {"orders": rows, "has_next": bool(page.cursor), "cursor": page.cursor}

    def _fills(self, _path: str, params: QueryParams) -> Any:
        page = select_fills(cast("Exchange", self._view()), ACCOUNT, params)
        return {"fills": [fill_shape(fill, ACCOUNT) for fill in page.rows], "cursor": page.cursor}

    def _order(self, path: str, _params: QueryParams) -> Any:
        order = self._view().order(ACCOUNT, path.rpartition("/")[2])
        if order is None:
            raise _NotThere("order with this orderID was not found")
        return {"order": order_shape(order)}

    def _products(self, path: str, params: QueryParams) -> Any:
        markets, now_ns = self.exchange.markets, self.exchange.now_ns
        if path == "/product_book":
            return product_book_shape(markets[params["product_id"]], 10, now_ns)
        if path == "/best_bid_ask":
            return {"pricebooks": [pricebook_shape(m, 1, now_ns) for m in markets.values()]}
        if path.startswith("/products/"):
            return product_shape(self.exchange, markets[path.split("/")[2]])
        shown = [product_shape(self.exchange, market) for market in markets.values()]
        return {"products": shown, "num_products": len(shown)}

    def _time(self) -> Any:
        now_ns = self.exchange.now_ns
        return {
            "iso": rfc3339(now_ns),
            "epochSeconds": str(now_ns // SECOND_NS),
            "epochMillis": str(now_ns // 1_000_000),
        }

    def _command(self, path: str, body: bytes) -> Any:
        match path:
            case "/orders":
                return self._create(body)
            case "/orders/batch_cancel":
                return self._cancel(decode(body, CancelOrders).order_ids)
            case "/orders/edit":
                return edit_shape(self.exchange.edit(ACCOUNT, parse_edit(body)))
            case "/orders/preview":
                preview = parse_preview(body, portfolio_uuid(ACCOUNT)).wanted
                if isinstance(preview, Refusal):
                    return preview_shape(refused_preview(preview))
                return preview_shape(self.exchange.preview(ACCOUNT, preview))
            case _:
                raise _NotThere(f"POST {path}: the simulated venue has no such path")

    def _create(self, body: bytes) -> Any:
        asked = parse_create(body, portfolio_uuid(ACCOUNT))
        result = asked.wanted
        if not isinstance(result, Refusal):
            made = self.exchange.create(ACCOUNT, result)
            if not isinstance(made, Refusal):
                return created_shape(made)
            result = made
        return refused_shape(result, asked.configuration)

    def _cancel(self, ids: Sequence[str]) -> Any:
        if self._rng.random() >= self.mood.cancels_queue:
            results = self.exchange.cancel(ACCOUNT, ids)
            return {"results": [cancel_shape(result) for result in results]}
        self.world.after(self._rng.choice((0.02, 0.2, 1.5)), self._cancel_queued, ids)
        rows = []
        for order_id in ids:
            order = self.exchange.order(ACCOUNT, order_id)
            live = order is not None and order.live
            reason = "UNKNOWN_CANCEL_FAILURE_REASON" if live else "UNKNOWN_CANCEL_ORDER"
            rows.append({"success": live, "failure_reason": reason, "order_id": order_id})
        return {"results": rows}

    def _cancel_queued(self, ids: Sequence[str]) -> None:
        self.bring_up()
        self.exchange.cancel(ACCOUNT, ids)
        self.publish()

    def _positions(self) -> Any:
        until_ns = self._seen_until_ns()
        if until_ns >= self.exchange.now_ns:
            return positions_shape(self.exchange, ACCOUNT)
        past = [shape for at_ns, shape in self._held if at_ns <= until_ns]
        return past[-1] if past else {"positions": []}

    def _seen_until_ns(self) -> int:
        return self.exchange.now_ns - int(self.mood.rest_lag_seconds * SECOND_NS)

    def _view(self) -> Any:
        hidden = any(at_ns > self.exchange.now_ns for at_ns in self.told_late.values())
        return _Past(self) if hidden or self.mood.rest_lag_seconds else self.exchange

    # ---------------------------------------------------------------- the feed

    def open_feed(self, frames: Frames) -> Connection:
        """Return a new connection to the feed."""
        self.bring_up()
        return self.feed.open(frames, "127.0.0.1")


class _NotThere(Fault):
    """Say that there is no such thing."""

    code = "NOT_FOUND"


class _Past:
    """The exchange as REST shows it while it lags: orders and fills of a moment ago."""

    def __init__(self, venue: SimulatedVenue) -> None:
        self._venue = venue
        self._until_ns = venue._seen_until_ns()

    def order(self, account: str, order_id: str) -> Order | None:  # noqa: ARG002
        """Return an order as it was."""
        seen = None
        for at_ns, order in self._venue.versions.get(order_id, []):
            if at_ns <= self._until_ns:
                seen = order
        return seen

    def orders(self, account: str) -> list[Order]:
        """Return the orders as they were, newest first."""
        found = (self.order(account, order_id) for order_id in self._venue.versions)
        return sorted(
            (order for order in found if order is not None), key=lambda o: o.number, reverse=True
        )

    def open_orders(self, account: str, product_id: str | None = None) -> list[Order]:
        """Return the orders that worked then, oldest first."""
        return [
            order
            for order in reversed(self.orders(account))
            if order.live and product_id in (None, order.product.product_id)
        ]

    def fills(self, account: str, order_ids: AbstractSet[str] = frozenset()) -> list[Fill]:
        """Return the fills until then, newest first; where orders are named, theirs alone."""
        found = self._venue.exchange.fills(account)
        late, until_ns = self._venue.told_late, self._until_ns
        told = [f for f in found if max(f.time_ns, late.get(f.trade_id, 0)) <= until_ns]
        return [f for f in told if f.order_id in order_ids] if order_ids else told


class _Nothing:
    """Take every call and do nothing."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments: None


_SILENT: Final = _Nothing()
_NO_FAULTS: Final = SimpleNamespace(
    armed=lambda: False,
    forget=lambda _connection: None,
    book=SimpleNamespace(feed_is_closed=lambda: False),
)

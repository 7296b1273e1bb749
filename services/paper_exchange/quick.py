"""Answer the commonest requests where they are read, without the way through the framework.

The same authentication, the same quota and the same endpoint functions as the long way, called one
after the other. Every request's own token is checked; nothing is remembered from one to the next.
Whatever is not plain (odd headers, a POST's query, a GET's body, faults switched on) takes the long
way, and so does every other path.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Scope

from lob.errors import Fault
from services.paper_exchange.auth import Caller
from services.paper_exchange.bodies import BODY_BYTES_MAX
from services.paper_exchange.gate import API_PREFIX, Gate, coinbase_answer
from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.errors import describe
from touchstone.kit.quick_posts import Handler, Headers, Reply

QUICK_POSTS: Final = tuple(
    f"{API_PREFIX}/orders{action}" for action in ("", "/batch_cancel", "/edit")
)
QUICK_GETS: Final = tuple(f"{API_PREFIX}/orders/historical/{what}" for what in ("batch", "fills"))
ABORT: Final = "touchstone.abort"
"""The ASGI extension that ends an HTTP request's connection at once."""
_ODD_HEADERS: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"traceparent"})
_LENGTH_DIGITS_MAX: Final = 8
_PARAMETERS: Final = ("request", "caller")

_log: Final = logging.getLogger(__name__)

Endpoint = Callable[..., Awaitable[Response]]
Admit = Callable[[Request], Awaitable[Caller]]


class QuickOrders:
    """Find who answers a request of one method by its head, and answer.

    Args:
        method: POST, whose requests have a body and no query, or GET, where it is the other way.
        admit: the gate's way in, as on the long way.
        endpoints: by path; each takes the request and its caller.
        hindered: says whether every request has to take the long way now.
    """

    def __init__(
        self,
        method: Literal["GET", "POST"],
        admit: Admit,
        endpoints: Mapping[str, Endpoint],
        hindered: Callable[[], bool],
    ) -> None:
        self._method = method
        self._admit = admit
        self._endpoints = {path.encode(): endpoint for path, endpoint in endpoints.items()}
        self._hindered = hindered

    def find(self, url: bytes, headers: Headers) -> tuple[Handler, bytes] | None:
        """Return who answers a request with this head; None for the long way."""
        path, _, query = url.partition(b"?")
        endpoint = self._endpoints.get(path)
        if endpoint is None or b"#" in query or self._hindered():
            return None
        length = _body_bytes(headers)
        is_get = self._method == "GET"
        if length is None or (length if is_get else path != url or length > BODY_BYTES_MAX):
            return None
        return partial(self._answer, endpoint, _scope(self._method, path, query, headers)), query

    async def _answer(self, endpoint: Endpoint, scope: Scope, _query: bytes, body: bytes) -> Reply:
        scope["state"]["body"] = body  # where the gate leaves it, too, when it has read it
        request = Request(scope)
        try:
            response = await endpoint(request, await self._admit(request))
        except Fault as fault:
            response = coinbase_answer(fault)
        except Exception:  # noqa: BLE001 - logged with its trace
            _log.exception("defect")
            response = JSONResponse(describe(Fault("a defect; see the service's log")), 500)
            scope["state"].clear()  # as on the long way, where nothing is added to such an answer
        return _reply(response, scope["state"].get("quota"))


class ExchangeProtocol(CorkedProtocol):
    """uvicorn's protocol with the quick way; the long way's scope says how to end a connection."""

    def on_headers_complete(self) -> None:
        """Go on to the body."""
        super().on_headers_complete()
        cycle: Any = self.cycle
        scope = getattr(cycle, "scope", None)
        if scope is not None:
            scope.setdefault("extensions", {})[ABORT] = self.transport.abort


def quick_orders(
    routes: Iterable[BaseRoute], gate: Gate, hindered: Callable[[], bool]
) -> tuple[QuickOrders, QuickOrders]:
    """Return the quick ways to those of the routes' POSTs and GETs that are called most."""
    endpoints = {
        route.path: route.endpoint
        for route in routes
        if isinstance(route, APIRoute)
        and tuple(inspect.signature(route.endpoint).parameters) == _PARAMETERS
    }
    posts, gets = (
        {path: endpoints[path] for path in paths if path in endpoints}
        for paths in (QUICK_POSTS, QUICK_GETS)
    )
    return (
        QuickOrders("POST", gate.trading, posts, hindered),
        QuickOrders("GET", gate.private, gets, hindered),
    )


def _body_bytes(headers: Headers) -> int | None:
    """Return how long the body is, 0 where nothing is said; None for a head that is not plain."""
    length = None
    for name, value in headers:
        if name in _ODD_HEADERS or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
        if name == b"content-length":
            if length is not None or len(value) > _LENGTH_DIGITS_MAX or not value.isdigit():
                return None
            length = int(value)
    return length or 0


def _scope(method: str, path: bytes, query: bytes, headers: Headers) -> Scope:
    """Return what the gate and the endpoints look at in a request."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
        "client": None,
        "state": {},
    }


def _reply(response: Response, quota: Any) -> Reply:
    fields = [*response.raw_headers, *([] if quota is None else quota.headers())]
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return Reply(response.status_code, bytes(response.body), fields=lines)

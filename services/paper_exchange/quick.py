"""Answer the commonest order requests where they are read, without the way through the framework.

The same authentication, the same quota and the same endpoint functions as the long way, called one
after the other. Every request's own token is checked; nothing is remembered from one to the next.
Whatever is not plain (odd headers, a query, faults switched on) takes the long way, and so does
every other path.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Scope

from lob.errors import Fault
from services.paper_exchange.bodies import BODY_BYTES_MAX
from services.paper_exchange.gate import API_PREFIX, Gate, coinbase_answer
from touchstone.kit.corked import CorkedProtocol
from touchstone.kit.errors import describe
from touchstone.kit.quick_posts import Handler, Headers, Reply

QUICK_PATHS: Final = tuple(
    f"{API_PREFIX}/orders{action}" for action in ("", "/batch_cancel", "/edit")
)
ABORT: Final = "touchstone.abort"
"""The ASGI extension that ends an HTTP request's connection at once."""
_ODD_HEADERS: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
_LENGTH_DIGITS_MAX: Final = 8
_PARAMETERS: Final = ("request", "caller")

_log: Final = logging.getLogger(__name__)

Endpoint = Callable[..., Awaitable[Response]]


class QuickOrders:
    """Find who answers a POST by its head, and answer.

    Args:
        gate: admits callers, as it does on the long way.
        endpoints: by path; each takes the request and its caller.
        hindered: says whether every request has to take the long way now.
    """

    def __init__(
        self, gate: Gate, endpoints: Mapping[str, Endpoint], hindered: Callable[[], bool]
    ) -> None:
        self._gate = gate
        self._endpoints = {path.encode(): endpoint for path, endpoint in endpoints.items()}
        self._hindered = hindered

    def find(self, url: bytes, headers: Headers) -> tuple[Handler, bytes] | None:
        """Return who answers a POST with this head; None for the long way."""
        endpoint = self._endpoints.get(url)
        if endpoint is None or self._hindered():
            return None
        length = None
        for name, value in headers:
            if name in _ODD_HEADERS or (name == b"connection" and value.lower() != b"keep-alive"):
                return None
            if name == b"content-length":
                if length is not None:
                    return None
                length = value
        if length is None or len(length) > _LENGTH_DIGITS_MAX or not length.isdigit():
            return None
        if int(length) > BODY_BYTES_MAX:
            return None
        return partial(self._answer, endpoint, _scope(url, headers)), b""

    async def _answer(self, endpoint: Endpoint, scope: Scope, _query: bytes, body: bytes) -> Reply:
        scope["state"]["body"] = body  # where the gate leaves it, too, when it has read it
        request = Request(scope)
        try:
            response = await endpoint(request, await self._gate.trading(request))
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
) -> QuickOrders:
    """Return the quick way to those of the routes' endpoints that are called most."""
    endpoints = {
        route.path: route.endpoint
        for route in routes
        if isinstance(route, APIRoute)
        and route.path in QUICK_PATHS
        and tuple(inspect.signature(route.endpoint).parameters) == _PARAMETERS
    }
    return QuickOrders(gate, endpoints, hindered)


def _scope(path: bytes, headers: Headers) -> Scope:
    """Return what the gate and the endpoints look at in a request."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": b"",
        "headers": headers,
        "client": None,
        "state": {},
    }


def _reply(response: Response, quota: Any) -> Reply:
    fields = [*response.raw_headers, *([] if quota is None else quota.headers())]
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return Reply(response.status_code, bytes(response.body), fields=lines)

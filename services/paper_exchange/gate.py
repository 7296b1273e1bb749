"""The gate every REST request passes: authentication, rate limit, faults in Coinbase's shape."""

from collections.abc import Mapping
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lob.errors import Fault, InvalidInput, NotFound, Overloaded, Unauthenticated
from services.paper_exchange.auth import Authenticator, Caller, LegacySignature
from services.paper_exchange.bodies import read_bytes
from touchstone.kit.errors import describe, outcome_of
from touchstone.kit.rate_limit import Quota, RateLimiter
from touchstone.kit.web import first_problem

API_PREFIX: Final = "/api/v3/brokerage"
WALLET_PREFIX: Final = "/v2/"
_HTTP_NOT_FOUND: Final = 404
_PARSER: Final = "proto: "


class Gate:
    """Let requests in: `public` by the caller's address, `private` and `trading` by its key."""

    def __init__(
        self,
        authenticator: Authenticator,
        private_limiter: RateLimiter,
        public_limiter: RateLimiter,
    ) -> None:
        self._authenticator = authenticator
        self._private = private_limiter
        self._public = public_limiter

    def claimed_account(self, headers: Mapping[str, str]) -> str | None:
        """Return the account whose key a request names, without checking that it has the key."""
        return self._authenticator.claimed_account(headers)

    async def public(self, request: Request) -> None:
        """Admit anyone, at the public rate of their address."""
        host = request.client.host if request.client else "unknown"
        _spend(request, self._public.take(host))

    async def private(self, request: Request) -> Caller:
        """Admit a key that may view; raises `Unauthenticated` or `PermissionDenied`."""
        state = request.scope["state"]
        # A request that a fault duplicates is one that was admitted: its token counts once.
        caller = state["caller"] = state.get("caller") or await self._caller(request)
        quota = self._private.take(caller.key_name, caller.rate_limit_per_second)
        _spend(request, quota)
        caller.require("view")
        return caller

    async def trading(self, request: Request) -> Caller:
        """Admit a key that may trade."""
        caller = await self.private(request)
        caller.require("trade")
        return caller

    async def _caller(self, request: Request) -> Caller:
        headers, scope = request.headers, request.scope
        path = bytes(scope["raw_path"]).decode("latin-1")
        authorization = headers.get("authorization")
        if authorization is not None or "cb-access-sign" not in headers:
            host = headers.get("host", "")
            return self._authenticator.rest(authorization or "", request.method, host, path)
        signature = LegacySignature(
            headers.get("cb-access-key", ""),
            headers.get("cb-access-timestamp", ""),
            headers["cb-access-sign"],
        )
        query = bytes(scope["query_string"]).decode("latin-1")
        body = await read_bytes(request)
        return self._authenticator.legacy_rest(signature, request.method, path, query, body)


def _spend(request: Request, quota: Quota) -> None:
    request.scope["state"]["quota"] = quota
    if not quota.allowed:
        raise Overloaded("rate limit exceeded")


class QuotaHeaders:
    """Add the rate-limit headers of the request's quota to its answer, whatever that is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; only the start of an HTTP answer changes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            quota = state.get("quota")
            if message["type"] == "http.response.start" and quota is not None:
                MutableHeaders(raw=message.setdefault("headers", [])).raw.extend(quota.headers())
            await send(message)

        await self._app(scope, receive, send_with_headers)


def install_answers(app: FastAPI) -> None:
    """Answer faults below the API's prefix as Coinbase does, everything else as our services do."""

    @app.exception_handler(Fault)
    async def on_fault(request: Request, fault: Fault) -> Response:
        if request.url.path.startswith(API_PREFIX):
            return coinbase_answer(fault)
        if request.url.path.startswith(WALLET_PREFIX):
            return wallet_answer(fault)
        return JSONResponse(describe(fault), status_code=outcome_of(fault).http_status)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return await on_fault(request, InvalidInput(first_problem(error)))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        path = f"{request.method} {request.url.path}"
        if error.status_code == _HTTP_NOT_FOUND:
            return await on_fault(request, NotFound(f"{path}: no such path"))
        body = {"error": "INVALID_ARGUMENT", "error_details": error.detail, "message": path}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)


def coinbase_answer(fault: Fault) -> Response:
    """Return a fault in Coinbase's shape; the 401 is plain text and the 429 has its own."""
    if isinstance(fault, Unauthenticated):
        return PlainTextResponse("Unauthorized", status_code=401)
    status = outcome_of(fault).http_status
    if isinstance(fault, Overloaded):
        problem = {"id": "rate_limit_exceeded", "message": str(fault)}
        return JSONResponse({"errors": [problem]}, status_code=status)
    message = str(fault)
    # What Coinbase's parser refuses has this code (ccxt/ccxt issue 27772); validation has others.
    code = "unknown" if message.startswith(_PARSER) else fault.code
    body = {"error": code, "error_details": message, "message": message}
    return JSONResponse(body, status_code=status)


def wallet_answer(fault: Fault) -> Response:
    """Return a fault in the shape of Coinbase App, whose paths are below `/v2`."""
    if isinstance(fault, Unauthenticated | Overloaded):
        return coinbase_answer(fault)
    problem = {"id": fault.code.lower(), "message": str(fault)}
    return JSONResponse({"errors": [problem]}, status_code=outcome_of(fault).http_status)

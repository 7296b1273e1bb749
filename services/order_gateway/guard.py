"""Who may change anything, and how often: loopback callers that are no web page, and token holders.

What closes trading is never limited: a kill must get through in any flood.
"""

import hmac
import math
import time
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lob.errors import Fault, InvalidInput, Overloaded, PermissionDenied
from touchstone.kit.errors import PayloadTooLarge, UnsupportedMediaType, describe, outcome_of
from touchstone.kit.rate_limit import RateLimiter

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_CLIENTS: Final = frozenset({"127.0.0.1", "::1"})
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
BODY_BYTES_MAX: Final = 65_536
NEVER_LIMITED: Final = frozenset({"/reduce-only", "/v1/kill-switch", "/v1/positions/close-all"})
BURST_SECONDS: Final = 2.0


class MutationGuard:
    """Refuse mutating requests that are not from loopback or do not carry the token, or too many.

    Each client address may send `per_second` of them, and twice as many at once; beyond that it is
    told 429 and after how many seconds to come again. Cancels count, too, but not what closes.

    A loopback caller without the token must also name us by a loopback host (a web page elsewhere
    may resolve its own name to 127.0.0.1) and must not be a web page of another origin.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        allowed_hosts: Collection[str] = (),
        per_second: float = 1_000.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._limiter = RateLimiter(per_second, monotonic, BURST_SECONDS)
        self._token = token
        self._hosts = LOOPBACK_NAMES | set(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            problem, wait = self._problem(scope), 0
            if problem is None:
                problem, wait = self._too_many(scope)
            if problem is not None:
                response = JSONResponse(
                    describe(problem),
                    status_code=outcome_of(problem).http_status,
                    headers={"Retry-After": str(wait)} if wait else None,
                )
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _too_many(self, scope: Scope) -> tuple[Fault | None, int]:
        """Return what is told to a client that sends too fast, and when it may come again."""
        if scope["path"] in NEVER_LIMITED:
            return None, 0
        client = scope.get("client")
        quota = self._limiter.take(client[0] if client else "")
        if quota.allowed:
            return None, 0
        text = f"more than {quota.limit} requests that change anything at once; slow down"
        return Overloaded(text), max(1, math.ceil(1 / self._limiter.per_second))

    def _problem(self, scope: Scope) -> Fault | None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        allowed = f"content-length: {length}; allowed: 0..{BODY_BYTES_MAX}"
        if not length.isdecimal():
            return InvalidInput(allowed)
        if int(length) > BODY_BYTES_MAX:
            return PayloadTooLarge(allowed)
        if (problem := _unreadable_body(headers)) is not None:
            return problem
        if self._has_token(headers):
            return None
        client = scope.get("client")
        if client is None or client[0] not in LOOPBACK_CLIENTS:
            return PermissionDenied(
                "requests that change anything need a bearer token unless they come from loopback "
                "(TOUCHSTONE_GATEWAY_API_TOKEN)",
            )
        return self._foreign_page(headers)

    def _foreign_page(self, headers: Headers) -> Fault | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not _is_named(f"//{host}", self._hosts):
            return PermissionDenied(f"Host: {host!r}; allowed: {', '.join(sorted(self._hosts))}")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return PermissionDenied(f"Origin: {origin!r}: not from another site")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PermissionDenied("Sec-Fetch-Site: not from another site")
        return None

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self._token.encode())


def _unreadable_body(headers: Headers) -> Fault | None:
    """Return why the body cannot be taken: of unknown length, or not said to be JSON."""
    if "transfer-encoding" in headers:
        return InvalidInput("transfer-encoding: not allowed; send the body with a content-length")
    kind = headers.get("content-type", "")
    if int(headers.get("content-length", "0")) and "json" not in kind.lower():
        return UnsupportedMediaType(f"content-type: {kind!r}; allowed: application/json")
    return None


def _is_named(url: str, names: Collection[str]) -> bool:
    try:
        return urlsplit(url).hostname in names
    except ValueError:
        return False

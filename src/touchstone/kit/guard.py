"""Who may ask an HTTP service: no web page of another site, and for control the token's holder.

A request is judged by its own headers and by the address that the server is bound to. Nothing that
a proxy says about somebody else (`X-Forwarded-For`, `Forwarded`) is read.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lob.errors import ConfigError, Fault, InvalidInput, PermissionDenied, Unauthenticated
from touchstone.kit.errors import UnsupportedMediaType, describe, outcome_of

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
TOKEN_CHARACTERS_MIN: Final = 16
# Host headers found right are kept as bytes, with their port; there are few of them.
_HOSTS_KEPT: Final = 64
_ONCE: Final = (
    b"host",
    b"origin",
    b"authorization",
    b"content-type",
    b"content-length",
    b"if-match",
)


def is_loopback(host: str) -> bool:
    """Return whether a server bound to `host` is reached from this machine only.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "router")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_token_beyond_loopback(host: str, token: str | None, name: str) -> None:
    """Raise ConfigError where a service would listen beyond loopback without a token.

    Args:
        host: what the server is to be bound to.
        token: the token, None where there is none.
        name: the environment variable that holds the token.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"environment {name}: not set; a service that listens on {host} needs a token of at "
            f"least {TOKEN_CHARACTERS_MIN} characters; without one it listens on 127.0.0.1 only"
        )


class ControlGuard:
    """Answer 401, 403 or 415 to a request that may not be made; pass on every other.

    - `Host`: one of ours, where the server is bound to loopback or names are given. A page whose
      own name resolves to this machine (DNS rebinding) says its own name here.
    - `Origin` and `Sec-Fetch-Site` of what is no plain read: not of another site.
    - `Authorization: Bearer <token>`, where there is a token, for all that `needs_token`.
    - `Content-Type: application/json` of control with a body: a form of another site cannot say
      that.

    Args:
        app: what is guarded.
        token: the token, None where control is open to whoever reaches the address.
        loopback_only: whether the server is bound to loopback.
        allowed_hosts: further names that it is called by.
        needs_token: says by method and path whether a request is control.
        open_paths: paths for which nothing is checked.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        loopback_only: bool,
        needs_token: Callable[[str, str], bool],
        allowed_hosts: Collection[str] = (),
        open_paths: Collection[str] = ("/healthz", "/readyz"),
    ) -> None:
        self._app = app
        self._digest = None if token is None else _digest(token.encode())
        named = loopback_only or bool(allowed_hosts)
        self._names = LOOPBACK_NAMES | {host.lower() for host in allowed_hosts} if named else None
        self._hosts_found_right: set[bytes] = set()
        self._needs_token = needs_token
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            fault = self._fault(scope)
            if fault is not None:
                await _refuse(fault, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _fault(self, scope: Scope) -> Fault | None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in _ONCE:
                return InvalidInput(f"{name.decode('latin-1')}: given twice; allowed: once")
            headers[name] = value
        method, path = scope["method"], scope["path"]
        host = headers.get(b"host", b"")
        if self._names is not None and host not in self._hosts_found_right:
            fault = self._foreign_host(host, self._names)
            if fault is not None:
                return fault
        if method not in SAFE_METHODS:
            fault = _foreign_page(headers, host)
            if fault is not None:
                return fault
        if not self._needs_token(method, path):
            return None
        return self._stranger(headers) or _not_json(method, headers)

    def _foreign_host(self, host: bytes, names: frozenset[str]) -> Fault | None:
        text = host.decode("latin-1")
        try:
            named = urlsplit(f"//{text}").hostname in names
        except ValueError:
            named = False
        if not named:
            return PermissionDenied(f"Host: {text[:80]!r}; allowed: {', '.join(sorted(names))}")
        if len(self._hosts_found_right) < _HOSTS_KEPT:
            self._hosts_found_right.add(host)
        return None

    def _stranger(self, headers: dict[bytes, bytes]) -> Fault | None:
        """Return why the caller is not known, in constant time whatever token was given."""
        if self._digest is None:
            return None
        given = headers.get(b"authorization")
        if given is None:
            return Unauthenticated("Authorization: missing; allowed: Bearer and the token")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer":
            return Unauthenticated("Authorization: not a bearer token; allowed: Bearer <token>")
        if not hmac.compare_digest(_digest(token.strip()), self._digest):
            return Unauthenticated("Authorization: not the token; allowed: the one that is set")
        return None


async def _refuse(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    headers = {}
    if isinstance(fault, Unauthenticated):
        told = "" if "missing" in str(fault) else ', error="invalid_token"'
        headers["WWW-Authenticate"] = f'Bearer realm="touchstone"{told}'
    status = outcome_of(fault).http_status
    await JSONResponse(describe(fault), status_code=status, headers=headers)(scope, receive, send)


def _foreign_page(headers: dict[bytes, bytes], host: bytes) -> Fault | None:
    """Return why a browser must not send this: it does so for a page of another site."""
    origin = headers.get(b"origin")
    if origin is not None and origin.lower() not in (b"http://" + host, b"https://" + host):
        shown = origin.decode("latin-1")[:80]
        return PermissionDenied(f"Origin: {shown!r}; allowed: this host, or no Origin")
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        return PermissionDenied("Sec-Fetch-Site: another site; allowed: same-origin, none")
    return None


def _not_json(method: str, headers: dict[bytes, bytes]) -> Fault | None:
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if method not in WITH_BODY or kind == b"application/json":
        return None
    # Without a body there is nothing that a form could say.
    if b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0":
        return None
    shown = kind.decode("latin-1")[:80]
    return UnsupportedMediaType(f"Content-Type: {shown!r}; allowed: application/json")


def _digest(token: bytes) -> bytes:
    """Return the token's digest, so that a comparison does not tell its length either."""
    return hashlib.blake2b(token, digest_size=32).digest()

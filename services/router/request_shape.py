"""Refuse what no operation of the API reads, before any handler runs: by the same declaration."""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lob.errors import Fault, InvalidInput
from services.router.body import BODY_BYTES_MAX
from services.router.openapi_model import Operation
from touchstone.kit.errors import (
    PayloadTooLarge,
    UnsupportedMediaType,
    describe,
    outcome_of,
)

QUERY_BYTES_MAX: Final = 8_192
_HEADERS_READ: Final = frozenset({b"content-type", b"content-length"})


class RequestShape:
    """Answer 400, 405, 413 or 415 to a request whose shape no operation has; pass on every other.

    A path that is none of the declared ones is passed on: the framework answers it. O(1) for a path
    without parameters and a request without a query.
    """

    def __init__(self, app: ASGIApp, *, operations: Iterable[Operation]) -> None:
        self._app = app
        self._plain: dict[str, dict[str, Operation]] = {}
        patterns: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            paths = patterns if "{" in operation.path else self._plain
            paths.setdefault(operation.path, {})[operation.method] = operation
        self._patterns = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), methods)
            for path, methods in patterns.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer what is wrong with its shape."""
        methods = self._methods(scope["path"]) if scope["type"] == "http" else None
        if methods is None:
            await self._app(scope, receive, send)
            return
        operation = methods.get(scope["method"])
        if operation is None:
            await _not_allowed(scope, methods)(scope, receive, send)
            return
        fault = _fault(scope, operation)
        if fault is None:
            await self._app(scope, receive, send)
            return
        status = outcome_of(fault).http_status
        await JSONResponse(describe(fault), status_code=status)(scope, receive, send)

    def _methods(self, path: str) -> dict[str, Operation] | None:
        found = self._plain.get(path)
        if found is None:
            for pattern, methods in self._patterns:
                if pattern.fullmatch(path):
                    return methods
        return found


# One parameter whose value needs no decoding; what most requests have, if any.
_ONE_PLAIN: Final = re.compile(rb"([a-z_]+)=[A-Za-z0-9_.~-]*").fullmatch


def _not_allowed(scope: Scope, methods: Iterable[str]) -> JSONResponse:
    allowed = ", ".join(sorted(methods))
    message = f"{scope['method']} {scope['path'][:200]}: no such method; allowed: {allowed}"
    error = {"code": "METHOD_NOT_ALLOWED", "message": message, "retryable": False}
    return JSONResponse({"error": error}, status_code=405, headers={"Allow": allowed})


def _fault(scope: Scope, operation: Operation) -> Fault | None:
    if scope["query_string"]:
        fault = _wrong_query(scope["query_string"], operation)
        if fault is not None:
            return fault
    return None if operation.body is None else _wrong_body(scope)


def _wrong_query(query: bytes, operation: Operation) -> Fault | None:
    if len(query) > QUERY_BYTES_MAX:
        return InvalidInput(f"query: {len(query)} bytes; allowed: at most {QUERY_BYTES_MAX}")
    allowed = operation.query_names
    alone = _ONE_PLAIN(query)
    if alone is not None and alone[1].decode() in allowed:
        return None
    seen = set()
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none here"
            return InvalidInput(f"query {name[:80]!r}: no such parameter; allowed: {known}")
        if name in seen:
            return InvalidInput(f"query {name!r}: given twice; allowed: once")
        seen.add(name)
    return None


def _wrong_body(scope: Scope) -> Fault | None:
    """Return why the body is not read, as far as its headers say; no type at all is taken."""
    for name, value in scope["headers"]:
        if name not in _HEADERS_READ:
            continue
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind != b"application/json":
                shown = kind.decode("latin-1")[:80]
                return UnsupportedMediaType(f"Content-Type: {shown!r}; allowed: application/json")
        elif not value.isdigit() or len(value) > 16 or int(value) > BODY_BYTES_MAX:  # noqa: PLR2004
            return PayloadTooLarge(f"body: more than {BODY_BYTES_MAX} bytes; allowed: at most that")
    return None

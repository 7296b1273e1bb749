"""What the framework leaves out of the API's document, and one answer it gets wrong.

Wrong requests are answered with 400, not with the framework's 422; every route that changes
something may be answered by the guard; and a 405 names all methods of the path, not one route's.
"""

import re
from typing import Any, Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.order_gateway.guard import SAFE_METHODS
from services.order_gateway.schemas import CHANGE_FAULTS, READ_FAULTS

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
HTTP_METHOD_NOT_ALLOWED: Final = 405
_FRAMEWORKS_OWN: Final = "HTTPValidationError"


def document_faults(app: FastAPI) -> None:
    """Have the app's document name, on every route, what the guard and wrong requests answer."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            errors = _error_schema(document)
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    _complete(path, method, operation["responses"], errors)
            app.openapi_schema = document
        return app.openapi_schema

    # How the framework wants it.
    app.openapi = openapi  # type: ignore[method-assign]


def _error_schema(document: dict[str, Any]) -> dict[str, Any]:
    """Return the content of an error answer, as the routes that document theirs have it."""
    for methods in document["paths"].values():
        for operation in methods.values():
            content: dict[str, Any] | None = operation["responses"].get("409", {}).get("content")
            if content is not None:
                return content
    return {"application/json": {"schema": {"type": "object"}}}


def _complete(path: str, method: str, responses: dict[str, Any], errors: dict[str, Any]) -> None:
    if _FRAMEWORKS_OWN in str(responses.get("422")):
        del responses["422"]
    changes = method.upper() not in SAFE_METHODS
    faults = CHANGE_FAULTS if changes else READ_FAULTS
    if path == "/metrics":
        responses["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    if path == "/readyz":
        responses["503"] = {**responses["200"], "description": "Not ready, with the same body"}
    if not path.startswith("/v1/") and not changes:
        return
    for status, fault in faults.items():
        shown = {"description": fault.get("description", "An error"), "content": errors}
        responses.setdefault(str(status), shown)


class AllowedMethods:
    """Name every method of the path in the `Allow` of a 405."""

    def __init__(self, app: ASGIApp, *, documented: FastAPI) -> None:
        self._app = app
        self._documented = documented
        self._paths: list[tuple[re.Pattern[str], str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and put the header right on the way back."""

        async def corrected(message: Message) -> None:
            start = message["type"] == "http.response.start"
            if start and message["status"] == HTTP_METHOD_NOT_ALLOWED:
                allowed = self._allowed(scope["path"])
                if allowed:
                    MutableHeaders(scope=message)["allow"] = allowed
            await send(message)

        await self._app(scope, receive, corrected if scope["type"] == "http" else send)

    def _allowed(self, path: str) -> str:
        if self._paths is None:
            found = self._documented.openapi()["paths"].items()
            # The paths without parameters first: `/v1/orders/a` is not `/v1/orders/{id}` twice.
            self._paths = [
                (
                    re.compile(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template))),
                    ", ".join(sorted(name.upper() for name in operations if name in METHODS)),
                )
                for template, operations in sorted(found, key=lambda item: item[0].count("{"))
            ]
        return next((methods for form, methods in self._paths if form.fullmatch(path)), "")

"""The base every HTTP service starts from: health, readiness, metrics, and faults as JSON."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException

import touchstone
from lob.errors import Fault, InvalidInput
from touchstone.kit.docs_page import install_docs_page
from touchstone.kit.errors import describe, outcome_of
from touchstone.kit.health import Readiness, is_ready

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Any]]


def create_web_app(
    name: str,
    readiness: Readiness,
    registry: CollectorRegistry,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """Return a FastAPI app with `/healthz`, `/readyz`, `/metrics` and the fault table installed.

    `/healthz` says that the process answers; `/readyz` is 200 when every required check passes
    and 503 with the same body when one does not.
    """
    app = FastAPI(
        title=f"touchstone {name}",
        version=touchstone.__version__,
        lifespan=lifespan,
        # The framework's own pages fetch their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "service": name, "version": touchstone.__version__}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        results = await readiness.run()
        ready = is_ready(results)
        degraded = not all(result.ok for result in results.values())
        body = {
            "status": ("degraded" if degraded else "ready") if ready else "not ready",
            "checks": {
                check: {"ok": result.ok, "required": result.required, "detail": result.detail}
                for check, result in results.items()
            },
        }
        return JSONResponse(body, status_code=200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    install_docs_page(app)
    install_fault_handlers(app)
    return app


def install_fault_handlers(app: FastAPI) -> None:
    """Answer whatever goes wrong as `{"error": {code, message, retryable}}`."""

    @app.exception_handler(Fault)
    async def on_fault(_request: Request, fault: Fault) -> JSONResponse:
        return JSONResponse(describe(fault), status_code=outcome_of(fault).http_status)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse(describe(InvalidInput(first_problem(error))), status_code=400)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        """Answer an unknown path or method: what the framework itself refuses."""
        phrase = HTTPStatus(error.status_code).phrase
        message = f"{request.method} {request.url.path}: {error.detail}"
        code = phrase.upper().replace(" ", "_")
        body = {"error": {"code": code, "message": message, "retryable": False}}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def on_defect(_request: Request, _error: Exception) -> JSONResponse:
        """Answer a defect without its details; the server logs it with its traceback."""
        return JSONResponse(describe(Fault("a defect; see the service's log")), status_code=500)


def first_problem(error: RequestValidationError) -> str:
    """Return the first validation problem as `field: value: what is allowed`."""
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return f"body: no JSON: {problem['ctx']['error']} (character {problem['loc'][-1]})"
    # A check of our own says all of it; pydantic would put "Value error, " before it.
    told = str(problem["ctx"]["error"]) if problem["type"] == "value_error" else problem["msg"]
    parts = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "value_error" and not parts:
        return told  # of the fields together: the message names them, the body would hide it
    where = ".".join(parts) or "body"
    value = repr(problem.get("input"))
    shown = value if len(value) <= 80 else f"{value[:77]}..."  # noqa: PLR2004 - one line of text
    return f"{where}: {shown}: {told}"

"""The go/no-go matrix over HTTP: the verdict now, those of before, waivers, reported rows."""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from lob.errors import InvalidInput
from services.router.body import read_json, require_object, take_text
from services.router.go_no_go import GoNoGo
from touchstone.rollout.go_no_go import Measurement, verdict_to_json

_MEASUREMENT_KEYS: Final = ("measured_at", "n", "part", "total", "squares", "values", "by")


def go_no_go_routes(go: GoNoGo) -> APIRouter:
    """Return the routes of the matrix."""
    routes = APIRouter(prefix="/v1/go-no-go")

    @routes.get("")
    async def verdict() -> JSONResponse:
        """Return GO, HOLD or NO-GO as of now, with every row and what it was decided from."""
        return JSONResponse(verdict_to_json(await go.evaluate()))

    @routes.get("/verdicts")
    async def verdicts(limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> dict[str, Any]:
        """Return the stored verdicts with their inputs, newest first."""
        return {"verdicts": await go.verdicts(limit)}

    @routes.put("/waivers/{row}")
    async def waive(row: str, request: Request) -> dict[str, Any]:
        """Accept a yellow row by name for some hours; red and unknown cannot be waived."""
        body = require_object(await read_json(request), ("by", "reason", "hours"))
        by, reason = take_text(body, "by"), take_text(body, "reason")
        hours = _number(body, "hours")
        return {"waiver": asdict(await go.waive(row, by=by, reason=reason, hours=hours))}

    @routes.delete("/waivers/{row}")
    async def withdraw(row: str) -> dict[str, Any]:
        """Take a waiver back."""
        await go.withdraw(row)
        return {"withdrawn": row}

    @routes.put("/measurements/{row}")
    async def report(row: str, request: Request) -> dict[str, Any]:
        """Take the measurement of a row that the routers cannot measure."""
        body = require_object(await read_json(request), _MEASUREMENT_KEYS)
        by = take_text(body, "by")
        values = body.get("values", [])
        if not isinstance(values, list):
            raise InvalidInput(f"values: {values!r:.80}; allowed: a list of numbers")
        measured = Measurement(
            measured_at=_number(body, "measured_at"),
            n=_count(body, "n"),
            part=_count(body, "part", 0),
            total=_number(body, "total", 0),
            squares=_number(body, "squares", 0),
            values=tuple(_number({"values": value}, "values") for value in values),
        )
        await go.report(row, measured, by)
        return {"reported": row}

    return routes


def _count(body: dict[str, Any], name: str, default: int | None = None) -> int:
    value = _number(body, name, default)
    if value < 0 or not value.is_integer():
        raise InvalidInput(f"{name}: {body[name]!r:.80}; allowed: a whole number, 0 or more")
    return int(value)


def _number(body: dict[str, Any], name: str, default: float | None = None) -> float:
    value = body.get(name, default)
    right = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    if not right or not abs(value) < 2**53:  # type: ignore[arg-type]
        raise InvalidInput(f"{name}: {value!r:.80}; allowed: a number")
    return float(value)  # type: ignore[arg-type]

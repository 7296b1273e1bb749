"""`/admin/faults`: list faults, put one in force, end one or all. Loopback only, no browsers."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from services.paper_exchange.bodies import read_body
from services.paper_exchange.faults import Fault, FaultBook, FaultKind, FaultRule
from services.paper_exchange.feed import Feed
from services.paper_exchange.routes_admin import require_local

CLOSE_RESTART = 1012


def fault_router(book: FaultBook, feed: Feed) -> APIRouter:
    """Return the routes of faults on demand."""
    router = APIRouter(prefix="/admin/faults", dependencies=[Depends(require_local)])

    @router.get("")
    async def list_faults() -> Response:
        return JSONResponse({"faults": [fault_shape(fault) for fault in book.listed()]})

    @router.post("")
    async def add_fault(request: Request) -> Response:
        fault = book.add(await read_body(request, FaultRule))
        if fault.rule.on == "feed" and fault.rule.kind is FaultKind.MAINTENANCE:
            feed.end_all("scheduled maintenance", CLOSE_RESTART)
        return JSONResponse({"fault": fault_shape(fault)})

    @router.delete("")
    async def clear_all() -> Response:
        return JSONResponse({"cleared": book.clear()})

    @router.delete("/{number}")
    async def clear_one(number: int) -> Response:
        return JSONResponse({"cleared": book.clear(number)})

    return router


def fault_shape(fault: Fault) -> dict[str, object]:
    """Return a fault, what it asks for, and how often it matched and struck."""
    rule = fault.rule
    asked = {name: getattr(rule, name) for name in rule.__struct_fields__}
    return {
        "id": fault.number,
        **asked,
        "kind": str(rule.kind),
        "matched": fault.matched,
        "struck": fault.struck,
        "over": fault.over,
    }

"""The go/no-go matrix over HTTP: the verdict now, and waivers of yellow rows."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from services.order_gateway.go_no_go import WAIVER_HOURS_MAX, GoNoGo, shown
from touchstone.rollout.go_no_go import Waiver

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]


class WaiverRequest(BaseModel):
    """The body of `PUT /v1/go-no-go/waivers/{row}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: Text
    reason: Text
    hours: float = Field(gt=0, le=WAIVER_HOURS_MAX)


def go_no_go_routes(go: GoNoGo) -> APIRouter:
    """Return the routes of the matrix."""
    routes = APIRouter(prefix="/v1/go-no-go")

    @routes.get("")
    async def verdict() -> dict[str, Any]:
        """Return GO, HOLD or NO-GO as of now, with every row and what it was decided from."""
        return shown(go.evaluate())

    @routes.put("/waivers/{row}")
    async def waive(row: str, body: WaiverRequest) -> dict[str, Waiver]:
        """Accept a yellow row by name for some hours; red and unknown cannot be waived."""
        return {"waiver": go.waive(row, by=body.by, reason=body.reason, hours=body.hours)}

    @routes.delete("/waivers/{row}")
    async def withdraw(row: str) -> dict[str, str]:
        """Take a waiver back."""
        go.withdraw(row)
        return {"withdrawn": row}

    return routes

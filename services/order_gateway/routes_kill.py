"""Routes that close trading: the kill switch, reduce-only, close-all; and the watchdog's look."""

import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.order_gateway.flatten import Flattening
from services.order_gateway.kill_scope import Change
from services.order_gateway.kill_switch import KillSwitch
from services.order_gateway.metrics import GatewayMetrics
from services.order_gateway.models import Actor, KillRequest, Reason, ReduceOnlyRequest
from services.order_gateway.schemas import CHANGE_FAULTS
from touchstone.perps.kill import TradingState


class CloseAllRequest(BaseModel):
    """The body of `POST /v1/positions/close-all`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirm: Literal[True]
    reason: Annotated[Reason, Field(min_length=1)]
    actor: Actor = "operator"


class WatchdogEar:
    """Remember when the watchdog was last heard, for the metric that a rule watches."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._heard_at = float("nan")
        metrics.safety.watchdog_age.set_function(lambda: time.monotonic() - self._heard_at)

    def hear(self) -> None:
        """Note that it has asked just now."""
        self._heard_at = time.monotonic()


def kill_routes(kill_switch: KillSwitch, flattening: Flattening, ear: WatchdogEar) -> APIRouter:
    """Return the routes over these components."""
    router = APIRouter(responses=CHANGE_FAULTS, tags=["closing"])

    @router.get("/v1/kill-switch")
    async def kill_state() -> dict[str, Any]:
        """Return the effective state and every scope with its generation."""
        return kill_switch.describe()

    @router.post("/v1/kill-switch")
    async def change(body: KillRequest) -> dict[str, Any]:
        """Set the state of a scope; answered once every gateway has acknowledged a tightening."""
        made = await kill_switch.change(
            body.state,
            actor=body.actor,
            reason=body.reason,
            expected_generation=body.expected_generation,
            scope=body.scope,
        )
        return change_json(body.state, made)

    @router.post("/reduce-only")
    async def reduce_only(body: ReduceOnlyRequest | None = None) -> dict[str, Any]:
        """Permit only what reduces, and cancel the entries that rest."""
        wanted, told = TradingState.REDUCE_ONLY, body or ReduceOnlyRequest()
        made = await kill_switch.tighten(wanted, actor=told.actor, reason=told.reason)
        return change_json(wanted, made)

    @router.post("/v1/positions/close-all", status_code=202)
    async def close_all(body: CloseAllRequest) -> JSONResponse:
        """Begin to cancel everything and close every position, or join the run that does."""
        progress = await flattening.start(reason=body.reason, actor=body.actor)
        return JSONResponse(progress.to_json(), status_code=202)

    @router.get("/v1/positions/close-all")
    async def close_all_progress() -> dict[str, Any]:
        """Return how far the newest run of close-all has come."""
        return flattening.progress.to_json()

    @router.get("/v1/heartbeat")
    async def heartbeat(
        by: Annotated[str, Query(pattern="^[a-z]{0,16}$")] = "",
    ) -> dict[str, Any]:
        """Return this process's name in the control state's census; `by` says who asks."""
        if by == "watchdog":
            ear.hear()
        return {"status": "ok", "member": kill_switch.member, "state": kill_switch.gate().state}

    return router


def change_json(wanted: TradingState, made: Change) -> dict[str, Any]:
    """Return what a change came to; `state` may be stricter than what was `requested`.

    A tightening also says who acknowledged it: `acked`, `acks`, `lapsed`, `seconds`.
    """
    told = made.acknowledgement
    return {
        "scope": made.scope,
        "state": made.state.value,
        "requested": wanted.value,
        "generation": made.generation,
        "persisted": made.persisted,
        "detail": made.detail,
    } | (told.to_json() if told else {})

"""The gateway's REST routes; what they answer is in `answers` and `models`."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from lob.errors import NotFound, NotSupported
from services.order_gateway.answers import refusal_answer, submit_answer
from services.order_gateway.engine import Engine
from services.order_gateway.kill_switch import Change, KillSwitch
from services.order_gateway.models import (
    KillRequest,
    OrderRequest,
    ReduceOnlyRequest,
    decimal_text,
    optional_text,
    order_json,
    position_json,
)
from touchstone.kit.event_store import ROWS_MAX, EventStore
from touchstone.perps.checks import Refusal
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import OrderState

Limit = Annotated[int, Query(ge=1, le=ROWS_MAX)]


def create_router(engine: Engine, store: EventStore, kill_switch: KillSwitch) -> APIRouter:
    """Return the routes over these components."""
    router = APIRouter()
    router.include_router(_order_routes(engine, store))
    router.include_router(_account_routes(engine, store))
    router.include_router(_kill_routes(kill_switch))
    return router


def _order_routes(engine: Engine, store: EventStore) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/orders")
    async def submit(body: OrderRequest) -> JSONResponse:
        outcome = await engine.submit(body.intent())
        if isinstance(outcome, Refusal):
            return refusal_answer(outcome)
        return submit_answer(outcome)

    @router.get("/v1/orders")
    async def orders(
        status: OrderState | None = None, symbol: str | None = None, limit: Limit = 100
    ) -> dict[str, Any]:
        found = await store.load_orders(
            status=None if status is None else status.value, symbol=symbol, limit=limit
        )
        # Memory is ahead of the store by what is being saved just now.
        return {"orders": [order_json(engine.ledger.current(order)) for order in found]}

    @router.get("/v1/orders/{client_order_id}")
    async def order(client_order_id: str) -> dict[str, Any]:
        found = await engine.ledger.lookup(client_order_id)
        if found is None:
            raise NotFound(f"client_order_id: {client_order_id!r}: no such order")
        return {"order": order_json(found)}

    @router.delete("/v1/orders/{client_order_id}")
    async def cancel(client_order_id: str) -> JSONResponse:
        found = await engine.cancel(client_order_id)
        over = found.state.is_terminal
        return JSONResponse({"order": order_json(found)}, status_code=200 if over else 202)

    @router.patch("/v1/orders/{client_order_id}")
    async def replace(client_order_id: str) -> None:
        raise NotSupported(f"{client_order_id}: cancel/replace: not implemented in this version")

    return router


def _account_routes(engine: Engine, store: EventStore) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/positions")
    async def positions() -> dict[str, Any]:
        rows = [
            position_json(engine.ledger.position(symbol), engine.quotes.mark(symbol))
            for symbol in engine.symbols
        ]
        return {"positions": rows, "reconciled": engine.reconciled}

    @router.get("/v1/pnl")
    async def pnl() -> dict[str, Any]:
        held = [engine.ledger.position(symbol) for symbol in engine.symbols]
        marks = {p.symbol: engine.quotes.mark(p.symbol) for p in held}
        realized = sum((p.realized_pnl for p in held), start=Decimal(0))
        fees = sum((p.fees for p in held), start=Decimal(0))
        unrealized: Decimal | None = Decimal(0)
        for position in held:
            mark = marks[position.symbol]
            if position.quantity and (mark is None or unrealized is None):
                unrealized = None
            elif position.quantity and mark is not None and unrealized is not None:
                unrealized += position.unrealized_pnl(mark)
        net = None if unrealized is None else realized + unrealized - fees
        return {
            "realized_pnl": decimal_text(realized),
            "unrealized_pnl": optional_text(unrealized),
            "fees": decimal_text(fees),
            "net_pnl_before_funding": optional_text(net),
            "funding": "not implemented",
            "symbols": [position_json(p, marks[p.symbol]) for p in held],
        }

    @router.get("/v1/events")
    async def events(
        after: Annotated[int, Query(ge=0)] = 0,
        limit: Limit = 100,
        type: str | None = None,  # noqa: A002 - the query parameter's name
        client_order_id: str | None = None,
    ) -> dict[str, Any]:
        rows = await store.load_events(
            after=after, limit=limit, event_type=type, client_order_id=client_order_id
        )
        shown = [{**row, "recorded_at": row["recorded_at"].isoformat()} for row in rows]
        return {"events": shown, "next_after": rows[-1]["sequence"] if rows else after}

    return router


def _kill_routes(kill_switch: KillSwitch) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/kill-switch")
    async def kill_state() -> dict[str, Any]:
        return kill_switch.describe()

    @router.post("/v1/kill-switch")
    async def change(body: KillRequest) -> dict[str, Any]:
        made = await kill_switch.change(
            body.state,
            actor=body.actor,
            reason=body.reason,
            expected_generation=body.expected_generation,
        )
        return _change_json(body.state, made)

    @router.post("/reduce-only")
    async def reduce_only(body: ReduceOnlyRequest | None = None) -> dict[str, Any]:
        wanted, told = TradingState.REDUCE_ONLY, body or ReduceOnlyRequest()
        made = await kill_switch.tighten(wanted, actor=told.actor, reason=told.reason)
        return _change_json(wanted, made)

    return router


def _change_json(wanted: TradingState, made: Change) -> dict[str, Any]:
    """Return what a change came to; `state` may be stricter than what was `requested`.

    A tightening also says who acknowledged it: `acked`, `acks`, `lapsed`, `seconds`.
    """
    told = made.acknowledgement
    return {
        "state": made.state.value,
        "requested": wanted.value,
        "generation": made.generation,
        "persisted": made.persisted,
        "detail": made.detail,
    } | (told.to_json() if told else {})

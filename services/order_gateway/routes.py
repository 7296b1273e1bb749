"""The gateway's REST routes; what they answer is in `answers` and `models`."""

import uuid
from dataclasses import replace
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from lob.errors import NotFound
from lob.types import TimeInForce
from services.order_gateway.answers import (
    closed_answer,
    refusal_answer,
    replaced_answer,
    submit_answer,
)
from services.order_gateway.books import Books
from services.order_gateway.engine import Engine
from services.order_gateway.models import CloseRequest, OrderRequest, ReplaceRequest, order_json
from services.order_gateway.replacing import Terms
from services.order_gateway.schemas import (
    CHANGE_FAULTS,
    READ_FAULTS,
    CloseAnswer,
    EventsAnswer,
    OrderAnswer,
    OrdersAnswer,
    ReplaceAnswer,
    SubmitAnswer,
)
from touchstone.kit.event_store import ROWS_MAX, EventStore
from touchstone.kit.trace import is_sampled
from touchstone.perps.checks import Refusal
from touchstone.perps.orders import OrderState

_log = structlog.get_logger("touchstone.gateway")

EVENTS_WAIT_SECONDS: Final = 0.5
"""How long a question for events waits for SQL to have what has just happened."""

ANSWER_SECONDS: Final = 0.5
"""How long the answer to an immediate order waits for what became of it."""

IMMEDIATE: Final = frozenset({TimeInForce.IOC, TimeInForce.FOK})

Limit = Annotated[int, Query(ge=1, le=ROWS_MAX)]
# Whatever else a URL can carry (a NUL, half a character) is no name, and no database takes it.
Name = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]


def create_router(engine: Engine, store: EventStore, books: Books) -> APIRouter:
    """Return the routes over these components."""
    router = APIRouter()
    router.include_router(_order_routes(engine))
    router.include_router(_look_routes(engine))
    router.include_router(_event_routes(store, books))
    return router


def _order_routes(engine: Engine) -> APIRouter:
    router = APIRouter(responses=CHANGE_FAULTS, tags=["orders"])

    @router.post(
        "/v1/orders",
        status_code=201,
        responses={
            200: {"model": SubmitAnswer, "description": "The same order again"},
            201: {"model": SubmitAnswer, "description": "A new order"},
            202: {"model": SubmitAnswer, "description": "In the journal; its outcome is unknown"},
        },
    )
    async def submit(body: OrderRequest) -> JSONResponse:
        """Check an order, write it down, send it; the same client id again is the same order.

        An immediate order is answered when it is over, where that takes no longer than a moment.
        """
        outcome = await engine.submit(body.intent())
        if isinstance(outcome, Refusal):
            return refusal_answer(outcome)
        order = outcome.order
        if order.intent.time_in_force in IMMEDIATE and not order.state.is_terminal:
            await engine.wait_over(order.intent.client_order_id, ANSWER_SECONDS)
            outcome = replace(outcome, order=engine.ledger.current(order))
        if is_sampled():
            status = outcome.order.state.value
            _log.info("order", client_order_id=order.intent.client_order_id, status=status)
        return submit_answer(outcome)

    @router.delete(
        "/v1/orders/{client_order_id}",
        responses={
            200: {"model": OrderAnswer, "description": "The order is over"},
            202: {"model": OrderAnswer, "description": "Asked for, and repeated until it is over"},
        },
    )
    async def cancel(client_order_id: str) -> JSONResponse:
        """Cancel an order; no state of the kill switch prevents that."""
        found = await engine.cancel(client_order_id)
        over = found.state.is_terminal
        return JSONResponse({"order": order_json(found)}, status_code=200 if over else 202)

    @router.patch(
        "/v1/orders/{client_order_id}",
        responses={
            200: {"model": ReplaceAnswer, "description": "The new order, and what it replaces"},
            202: {"model": ReplaceAnswer, "description": "The original is not over yet"},
        },
    )
    async def change(client_order_id: str, body: ReplaceRequest) -> JSONResponse:
        """Cancel an order and have one with other terms in its place, over what did not fill."""
        terms = Terms(body.quantity, body.limit_price, body.stop_price)
        replaced = await engine.replace(client_order_id, terms)
        return (
            refusal_answer(replaced) if isinstance(replaced, Refusal) else replaced_answer(replaced)
        )

    @router.post(
        "/v1/positions/{symbol}/close",
        responses={200: {"model": CloseAnswer, "description": "How far it came"}},
    )
    async def close(symbol: str, body: CloseRequest | None = None) -> JSONResponse:
        """Cancel every order of a symbol and close its position by orders that only reduce."""
        request_id = (body.request_id if body else None) or uuid.uuid4().hex[:16]
        return closed_answer(await engine.close(symbol, request_id))

    return router


def _look_routes(engine: Engine) -> APIRouter:
    router = APIRouter(responses=READ_FAULTS, tags=["orders"])

    @router.get(
        "/v1/orders", responses={200: {"model": OrdersAnswer, "description": "Newest first"}}
    )
    async def orders(
        status: OrderState | None = None, symbol: Name | None = None, limit: Limit = 100
    ) -> dict[str, Any]:
        """Return orders, newest first."""
        found = await engine.ledger.orders(
            status=None if status is None else status.value, symbol=symbol, limit=limit
        )
        return {"orders": [order_json(order) for order in found]}

    @router.get(
        "/v1/orders/{client_order_id}",
        responses={200: {"model": OrderAnswer, "description": "As it stands now"}},
    )
    async def order(client_order_id: str) -> dict[str, Any]:
        """Return one order."""
        found = await engine.ledger.lookup(client_order_id)
        if found is None:
            raise NotFound(f"client_order_id: {client_order_id!r}: no such order")
        return {"order": order_json(found)}

    return router


def _event_routes(store: EventStore, books: Books) -> APIRouter:
    router = APIRouter(responses=READ_FAULTS, tags=["events"])

    @router.get(
        "/v1/events", responses={200: {"model": EventsAnswer, "description": "In their order"}}
    )
    async def events(
        after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
        limit: Limit = 100,
        type: Name | None = None,  # noqa: A002 - the query parameter's name
        client_order_id: Name | None = None,
    ) -> dict[str, Any]:
        """Return what happened, from the append-only journal."""
        await books.projector.catch_up(EVENTS_WAIT_SECONDS)
        rows = await store.load_events(
            after=after, limit=limit, event_type=type, client_order_id=client_order_id
        )
        shown = [{**row, "recorded_at": row["recorded_at"].isoformat()} for row in rows]
        return {"events": shown, "next_after": rows[-1]["sequence"] if rows else after}

    return router

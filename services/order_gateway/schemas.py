"""The shapes of the order routes' answers, for the OpenAPI document."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from lob.types import Side, TimeInForce
from touchstone.perps.orders import OrderState, OrderType

DecimalText = Annotated[str, Field(examples=["0.02"], description="A decimal, as text")]


class AttachedShape(BaseModel):
    """The exit that an entry brings along."""

    take_profit_price: DecimalText
    stop_price: DecimalText


class OrderShape(BaseModel):
    """An order as it stands; what it does not have is null."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "client_order_id": "entry-1",
                    "venue_order_id": "6a1b2c3d-0000-4000-8000-000000000001",
                    "symbol": "BTC-PERP",
                    "side": "BUY",
                    "type": "LIMIT",
                    "time_in_force": "GTC",
                    "quantity": "0.01",
                    "limit_price": "90000",
                    "stop_price": None,
                    "expires_at_ns": None,
                    "attached": None,
                    "strategy": None,
                    "replaces": None,
                    "parent": None,
                    "replaced_by": None,
                    "post_only": True,
                    "reduce_only": False,
                    "status": "open",
                    "filled_quantity": "0",
                    "average_price": None,
                    "leaves": "0.01",
                    "fees": "0",
                    "reason": None,
                    "cancel_wanted": False,
                    "created_ns": 1_795_298_400_000_000_000,
                    "updated_ns": 1_795_298_400_004_000_000,
                }
            ]
        }
    )

    client_order_id: str
    venue_order_id: str | None
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: DecimalText
    limit_price: DecimalText | None
    stop_price: DecimalText | None
    expires_at_ns: int | None
    attached: AttachedShape | None
    strategy: str | None
    replaces: str | None
    parent: str | None
    replaced_by: str | None
    post_only: bool
    reduce_only: bool
    status: OrderState
    filled_quantity: DecimalText
    average_price: DecimalText | None
    leaves: DecimalText
    fees: DecimalText
    reason: str | None
    cancel_wanted: bool
    created_ns: int
    updated_ns: int


class ErrorShape(BaseModel):
    """Why something was not done; `retryable` says whether the same request may work later."""

    code: str
    message: str
    retryable: bool


class ErrorAnswer(BaseModel):
    """A request that was not done; with the order where one is in the journal."""

    error: ErrorShape
    order: OrderShape | None = None


class OrderAnswer(BaseModel):
    """One order."""

    order: OrderShape


class SubmitAnswer(BaseModel):
    """An order that is in the journal, and whether it was before."""

    order: OrderShape
    repeated: bool


class OrdersAnswer(BaseModel):
    """Orders, newest first."""

    orders: list[OrderShape]


class ReplaceAnswer(BaseModel):
    """The order that takes the place, null while the original is not over, and the original."""

    order: OrderShape | None
    original: OrderShape


class CloseAnswer(BaseModel):
    """How a close went: the position that is left, and the orders that were sent for it."""

    symbol: str
    flat: bool
    quantity: DecimalText
    orders: list[OrderShape]
    problem: str | None


class EventShape(BaseModel):
    """One entry of the journal."""

    model_config = ConfigDict(extra="allow")

    sequence: int
    type: str
    symbol: str | None
    client_order_id: str | None
    recorded_at: str
    payload: dict[str, Any]


class EventsAnswer(BaseModel):
    """Entries in their order, and where to go on."""

    events: list[EventShape]
    next_after: int


def _told(description: str) -> dict[str, Any]:
    return {"model": ErrorAnswer, "description": description}


READ_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    400: _told("The request is not understood: the field, its value, what is allowed"),
    404: _told("No such order"),
    503: _told("What is asked for cannot be read now"),
}
CHANGE_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    400: _told("The request is not understood: the field, its value, what is allowed"),
    403: _told("Neither from this machine nor with the token"),
    404: _told("No such order"),
    409: _told("The present state forbids it: kill switch, reduce-only, a known id, an order over"),
    413: _told("The body has more bytes than are read"),
    415: _told("The body is not said to be JSON"),
    422: _told("The order itself is refused, by a limit of ours or by the venue"),
    429: _told("Too many orders or requests"),
    503: _told("Something that is needed does not answer: nothing was sent, or it is repeated"),
}

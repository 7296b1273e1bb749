"""What callers may send and what they get back, as JSON."""

import contextlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from lob.types import Side, TimeInForce
from touchstone.perps.checks import attached_problem, stop_relation_problem
from touchstone.perps.kill import GLOBAL_SCOPE, SCOPE_FORM, TradingState
from touchstone.perps.orders import Attached, Intent, Order, OrderType
from touchstone.perps.positions import Position

# Fifteen digits on either side of the point are more than the default context keeps.
_CONTEXT = Context(prec=60)
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,15})?")
_DECIMAL_PATTERN: Final = r"^\d{1,15}(\.\d{1,15})?$"
MOMENT_CHARACTERS_MAX: Final = 40


def _decimal(value: Any) -> Any:
    """Take decimal texts and numbers; a float counts as what it prints as."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError("allowed: a decimal as text or number")  # noqa: TRY004 - pydantic's way
    text = format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
    if not _DECIMAL.fullmatch(text):
        raise ValueError("allowed: at most 15 digits before and after the point")
    return Decimal(text)


# Blanks are no text: Redis keeps no record without an actor and a reason.
Actor = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, max_length=400)]

PositiveDecimal = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0),
    WithJsonSchema({"type": "string", "pattern": _DECIMAL_PATTERN, "examples": ["0.01"]}),
]


def _moment(value: Any) -> Any:
    """Take an RFC 3339 time with its zone, as nanoseconds since 1970."""
    if isinstance(value, str) and len(value) <= MOMENT_CHARACTERS_MAX:
        with contextlib.suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                whole = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
                return whole // timedelta(microseconds=1) * 1_000
    raise ValueError("allowed: a time with its zone, as 2026-11-21T22:00:00Z")


Moment = Annotated[
    int,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
ClientOrderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Symbol = Annotated[str, Field(min_length=1, max_length=64)]

_RESTING: Final = (TimeInForce.GTC, TimeInForce.GTD)
TIMES_IN_FORCE: Final = {
    OrderType.MARKET: (TimeInForce.IOC, TimeInForce.FOK),
    OrderType.LIMIT: (*_RESTING, TimeInForce.IOC, TimeInForce.FOK),
    OrderType.STOP: _RESTING,
    OrderType.STOP_LIMIT: _RESTING,
    OrderType.BRACKET: _RESTING,
}


class AttachedRequest(BaseModel):
    """The exit that an entry brings along, as a bracket of the venue."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    take_profit_price: PositiveDecimal
    stop_price: PositiveDecimal

    def terms(self) -> Attached:
        """Return the exit in the engine's words."""
        return Attached(take_profit_price=self.take_profit_price, stop_price=self.stop_price)


class OrderRequest(BaseModel):
    """The body of `POST /v1/orders`; `quantity` in coins, `expires_at` on the venue's clock.

    A BRACKET closes a position: `limit_price` takes the profit, `stop_price` stops the loss, and it
    only ever reduces.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"symbol": "BTC-PERP", "side": "BUY", "quantity": "0.02", "type": "MARKET"},
                {
                    "client_order_id": "entry-1",
                    "symbol": "BTC-PERP",
                    "side": "BUY",
                    "quantity": "0.01",
                    "type": "LIMIT",
                    "limit_price": "90000",
                    "post_only": True,
                },
                {
                    "client_order_id": "exit-1",
                    "symbol": "BTC-PERP",
                    "side": "SELL",
                    "quantity": "0.01",
                    "type": "STOP",
                    "stop_price": "85000",
                    "reduce_only": True,
                },
            ],
        },
    )

    client_order_id: ClientOrderId | None = None
    symbol: Symbol
    side: Side
    quantity: PositiveDecimal
    type: OrderType
    limit_price: PositiveDecimal | None = None
    stop_price: PositiveDecimal | None = None
    post_only: bool = False
    reduce_only: bool = False
    time_in_force: TimeInForce | None = None
    expires_at: Moment | None = None
    attached: AttachedRequest | None = None
    strategy: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,32}$")

    @model_validator(mode="after")
    def _terms_agree(self) -> Self:
        problem = self._price_problem() or self._time_problem() or self._attached_problem()
        if problem:
            raise ValueError(problem)
        return self

    def intent(self) -> Intent:
        """Return what is asked for, with a fresh client order id where none was given."""
        market = self.type is OrderType.MARKET
        attached = self.attached
        return Intent(
            client_order_id=self.client_order_id or str(uuid.uuid4()),
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            order_type=self.type,
            time_in_force=self.time_in_force or (TimeInForce.IOC if market else TimeInForce.GTC),
            limit_price=self.limit_price,
            stop_price=self.stop_price,
            post_only=self.post_only,
            reduce_only=self.reduce_only or self.type is OrderType.BRACKET,
            expires_at_ns=self.expires_at,
            attached=None if attached is None else attached.terms(),
            strategy=self.strategy,
        )

    def _price_problem(self) -> str:
        for name, price, needed in (
            ("limit_price", self.limit_price, self.type.has_limit),
            ("stop_price", self.stop_price, self.type.has_stop),
        ):
            if needed and price is None:
                return f"{name}: missing; a {self.type} order needs one"
            if not needed and price is not None:
                return f"{name}: {price}; a {self.type} order has none"
        if self.limit_price is not None and self.stop_price is not None:
            return stop_relation_problem(self.type, self.side, self.limit_price, self.stop_price)
        return ""

    def _time_problem(self) -> str:
        allowed = TIMES_IN_FORCE[self.type]
        if self.time_in_force is not None and self.time_in_force not in allowed:
            names = ", ".join(allowed)
            return f"time_in_force: {self.time_in_force}; allowed for {self.type}: {names}"
        good_till_date = self.time_in_force is TimeInForce.GTD
        if good_till_date and self.expires_at is None:
            return "expires_at: missing; a GTD order needs one"
        if not good_till_date and self.expires_at is not None:
            return "expires_at: only a GTD order has one"
        if self.post_only and self.type is not OrderType.LIMIT:
            return "post_only: true; only a LIMIT order can be post-only"
        if self.post_only and self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            return f"time_in_force: {self.time_in_force}; allowed for post-only: GTC, GTD"
        return ""

    def _attached_problem(self) -> str:
        attached = self.attached
        if attached is None:
            return ""
        if self.type not in (OrderType.MARKET, OrderType.LIMIT) or self.reduce_only:
            return "attached: only a MARKET or LIMIT order that opens can bring an exit along"
        return attached_problem(self.side, self.limit_price, attached.terms())


class ReplaceRequest(BaseModel):
    """The body of `PATCH /v1/orders/{id}`: the new terms; what is left out stays.

    `quantity` is the new whole, with what has filled already.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"quantity": "0.02", "limit_price": "89500"}]},
    )

    quantity: PositiveDecimal | None = None
    limit_price: PositiveDecimal | None = None
    stop_price: PositiveDecimal | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.quantity is None and self.limit_price is None and self.stop_price is None:
            raise ValueError("allowed: at least one of quantity, limit_price, stop_price")
        return self


class CloseRequest(BaseModel):
    """The body of `POST /v1/positions/close-all` and `/v1/positions/{symbol}/close`, or none.

    The same `request_id` again finds its orders, and closes what is left or has come since.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"request_id": "evening-1"}]}
    )

    request_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,40}$")


class KillRequest(BaseModel):
    """The body of `POST /v1/kill-switch`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: TradingState
    scope: Annotated[str, Field(pattern=f"^({SCOPE_FORM})$")] = GLOBAL_SCOPE
    reason: Reason = ""
    actor: Actor = "operator"
    expected_generation: int | None = Field(default=None, ge=0)


class ReduceOnlyRequest(BaseModel):
    """The body of `POST /reduce-only`, which may also have none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[Reason, Field(min_length=1)] = "POST /reduce-only"
    actor: Actor = "operator"


def order_json(order: Order) -> dict[str, Any]:
    """Return an order as the API shows it; decimals as texts."""
    intent = order.intent
    return {
        "client_order_id": intent.client_order_id,
        "venue_order_id": order.venue_order_id or None,
        "symbol": intent.symbol,
        "side": intent.side.value,
        "type": intent.order_type.value,
        "time_in_force": intent.time_in_force.value,
        "quantity": decimal_text(intent.quantity),
        "limit_price": optional_text(intent.limit_price),
        "stop_price": optional_text(intent.stop_price),
        "expires_at_ns": intent.expires_at_ns,
        "attached": None
        if intent.attached is None
        else {
            "take_profit_price": decimal_text(intent.attached.take_profit_price),
            "stop_price": decimal_text(intent.attached.stop_price),
        },
        "strategy": intent.strategy or None,
        "replaces": intent.replaces or None,
        "parent": intent.parent or None,
        "replaced_by": None if order.replacement is None else order.replacement.client_order_id,
        "post_only": intent.post_only,
        "reduce_only": intent.reduce_only,
        "status": order.state.value,
        "filled_quantity": decimal_text(order.filled_quantity),
        "average_price": optional_text(order.average_price),
        "leaves": decimal_text(order.leaves),
        "fees": decimal_text(order.fees),
        "reason": order.reason or None,
        "cancel_wanted": order.cancel_wanted,
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
    }


def position_json(position: Position, mark: Decimal | None) -> dict[str, Any]:
    """Return a position valued at `mark`; unrealised is null where there is no mark."""
    unrealized = None if mark is None else position.unrealized_pnl(mark)
    if position.quantity == 0:
        unrealized = Decimal(0)
    return {
        "symbol": position.symbol,
        "quantity": decimal_text(position.quantity),
        "average_entry_price": optional_text(position.average_entry_price),
        "mark_price": optional_text(mark),
        "realized_pnl": decimal_text(position.realized_pnl),
        "unrealized_pnl": optional_text(unrealized),
        "fees": decimal_text(position.fees),
    }


def decimal_text(value: Decimal) -> str:
    """Return a decimal without exponent and without trailing zeros, at most 15 places."""
    short = (
        value.quantize(Decimal("1E-15"), context=_CONTEXT) if value.as_tuple().exponent else value
    )
    text = format(short, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def optional_text(value: Decimal | None) -> str | None:
    """Return `decimal_text`, None for None."""
    return None if value is None else decimal_text(value)

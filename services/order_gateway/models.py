"""What callers may send and what they get back, as JSON."""

import re
import uuid
from decimal import Context, Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from lob.types import OrderType, Side, TimeInForce
from touchstone.perps.kill import TradingState
from touchstone.perps.orders import Intent, Order
from touchstone.perps.positions import Position

# Fifteen digits on either side of the point are more than the default context keeps.
_CONTEXT = Context(prec=60)
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,15})?")


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

PositiveDecimal = Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0)]


class OrderRequest(BaseModel):
    """The body of `POST /v1/orders`; `quantity` in coins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    client_order_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    symbol: str = Field(min_length=1, max_length=64)
    side: Side
    quantity: PositiveDecimal
    type: OrderType
    limit_price: PositiveDecimal | None = None
    post_only: bool = False
    reduce_only: bool = False
    time_in_force: TimeInForce | None = None

    @model_validator(mode="after")
    def _terms_agree(self) -> Self:
        if self.type is OrderType.LIMIT and self.limit_price is None:
            raise ValueError("limit_price: missing; a LIMIT order needs one")
        if self.type is OrderType.MARKET and self.limit_price is not None:
            raise ValueError(f"limit_price: {self.limit_price}; a MARKET order has none")
        if self.type is OrderType.MARKET and self.time_in_force not in (None, TimeInForce.IOC):
            raise ValueError(f"time_in_force: {self.time_in_force}; a MARKET order is IOC")
        if self.post_only and self.type is OrderType.MARKET:
            raise ValueError("post_only: true; only a LIMIT order can be post-only")
        if self.post_only and self.time_in_force not in (None, TimeInForce.GTC):
            raise ValueError(f"time_in_force: {self.time_in_force}; a post-only order is GTC")
        return self

    def intent(self) -> Intent:
        """Return what is asked for, with a fresh client order id where none was given."""
        market = self.type is OrderType.MARKET
        default = TimeInForce.IOC if market else TimeInForce.GTC
        return Intent(
            client_order_id=self.client_order_id or str(uuid.uuid4()),
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            order_type=self.type,
            time_in_force=self.time_in_force or default,
            limit_price=self.limit_price,
            post_only=self.post_only,
            reduce_only=self.reduce_only,
        )


class KillRequest(BaseModel):
    """The body of `POST /v1/kill-switch`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: TradingState
    scope: Literal["global"] = "global"
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

"""What callers may ask for: order bodies, and how each becomes a request to the venue.

From bytes to a request and back to bytes nothing here needs an HTTP framework.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from lob.errors import InvalidInput
from lob.types import Side
from services.paper_exchange.bodies import Body, convert, decode, place, read_body
from services.paper_exchange.configurations import (
    CONFIGURATIONS,
    Configuration,
    TriggerBracket,
    parse_decimal,
)
from touchstone.exchange import FailureReason, OrderRequest, Refusal
from touchstone.exchange.requests import Bracket, CloseRequest, EditRequest, MarginType

__all__ = [
    "CancelOrders",
    "ClockSpeed",
    "FlowState",
    "NewOrder",
    "parse_close",
    "parse_create",
    "parse_decimal",
    "parse_edit",
    "parse_preview",
    "read_body",
]

ORDER_IDS_MAX: Final = 100
_SCREENED: Final = re.compile(r"[^\x00-\x1f\x7f]*")
_SIDES: Final = {str(side): side for side in Side}
_MARGIN_TYPES: Final[Mapping[str | None, MarginType | None]] = {
    **dict.fromkeys((None, "", "UNKNOWN_MARGIN_TYPE")),
    **{str(kind): kind for kind in MarginType},
}

ClientOrderId = Annotated[str, Meta(min_length=1, max_length=128)]
ProductId = Annotated[str, Meta(min_length=1, max_length=64)]
OrderId = Annotated[str, Meta(min_length=1, max_length=128)]
Leverage = str | Annotated[int, Meta(ge=0, le=1_000)] | Annotated[float, Meta(ge=0, le=1_000)]
"""Coinbase has texts; ccxt documents a number, which nobody can take for anything else."""

Echoed = dict[str, dict[str, Any]]


class CreateOrder(Body):
    """The body of `POST /orders`."""

    client_order_id: ClientOrderId
    product_id: ProductId
    order_configuration: Echoed
    side: Literal["BUY", "SELL", "UNKNOWN_ORDER_SIDE"] = "UNKNOWN_ORDER_SIDE"
    leverage: Leverage | None = None
    margin_type: str | None = None
    retail_portfolio_id: str | None = None
    self_trade_prevention_id: str | None = None
    preview_id: str | None = None
    attached_order_configuration: Echoed | None = None


class PreviewOrder(Body):
    """The body of `POST /orders/preview`: that of an order without a client's id."""

    product_id: ProductId
    order_configuration: Echoed
    side: Literal["BUY", "SELL", "UNKNOWN_ORDER_SIDE"] = "UNKNOWN_ORDER_SIDE"
    leverage: Leverage | None = None
    margin_type: str | None = None
    retail_portfolio_id: str | None = None
    self_trade_prevention_id: str | None = None
    preview_id: str | None = None
    attached_order_configuration: Echoed | None = None


class EditOrder(Body):
    """The body of `POST /orders/edit` and of its preview."""

    order_id: OrderId
    price: str | None = None
    size: str | None = None
    stop_price: str | None = None
    attached_order_configuration: Echoed | None = None
    cancel_attached_order: bool = False


class ClosePosition(Body):
    """The body of `POST /orders/close_position`."""

    client_order_id: ClientOrderId
    product_id: ProductId
    size: str | None = None


class CancelOrders(Body):
    """The body of `POST /orders/batch_cancel`."""

    order_ids: Annotated[
        list[Annotated[str, Meta(max_length=128)]], Meta(min_length=1, max_length=ORDER_IDS_MAX)
    ]


class ClockSpeed(Body):
    """The body of `POST /admin/clock`: how many exchange seconds pass in one real second."""

    speed: Annotated[float, Meta(ge=0.01, le=1000)]


class FlowState(Body):
    """The body of `POST /admin/flow`."""

    paused: bool


class IndexMove(Body):
    """The body of `POST /admin/index`: a coin and the price that its index jumps to."""

    coin: Annotated[str, Meta(max_length=32)]
    price: Decimal


class NewOrder(Body):
    """A new order as it came: the configuration to echo, and the request or its refusal."""

    configuration: Any
    wanted: OrderRequest | Refusal


def parse_create(raw: bytes, portfolio: str) -> NewOrder:
    """Return the order that a body asks for; `portfolio` is the only one the caller may name.

    Raises:
        InvalidInput: the body is malformed.
    """
    body = decode(raw, CreateOrder)
    return _new_order(body, body.client_order_id, raw, portfolio)


def parse_preview(raw: bytes, portfolio: str) -> NewOrder:
    """Return the order that the body of a preview asks for; raises as `parse_create`."""
    return _new_order(decode(raw, PreviewOrder), "", raw, portfolio)


def parse_edit(raw: bytes) -> EditRequest:
    """Return the edit that a body asks for; raises as `parse_create`."""
    body = decode(raw, EditOrder)
    return EditRequest(
        order_id=body.order_id,
        price=_optional("price", body.price),
        size=_optional("size", body.size),
        stop_price=_optional("stop_price", body.stop_price),
        attached=_attached(body.attached_order_configuration, raw),
        cancel_attached=body.cancel_attached_order,
    )


def parse_close(raw: bytes) -> CloseRequest:
    """Return the position to close that a body names; raises as `parse_create`."""
    body = decode(raw, ClosePosition)
    return CloseRequest(
        client_order_id=_screened("client_order_id", body.client_order_id),
        product_id=body.product_id,
        size=_optional("size", body.size),
    )


def _new_order(
    body: CreateOrder | PreviewOrder, client_order_id: str, raw: bytes, portfolio: str
) -> NewOrder:
    configuration = _configuration(body.order_configuration, raw)
    refusal = _refusal(body, portfolio)
    if refusal is not None:
        return NewOrder(body.order_configuration, refusal)
    asked = configuration.terms()
    if isinstance(asked, Refusal):
        return NewOrder(body.order_configuration, asked)
    attached = body.attached_order_configuration
    return NewOrder(
        body.order_configuration,
        OrderRequest(
            client_order_id=_screened("client_order_id", client_order_id),
            product_id=body.product_id,
            side=_SIDES[body.side],
            leverage=_leverage(body.leverage),
            margin_type=_MARGIN_TYPES[body.margin_type],
            preview_id=body.preview_id or "",
            configuration=body.order_configuration,
            attached=_attached(attached, raw),
            attached_configuration=attached or None,
            **asked,
        ),
    )


def _configuration(configurations: Echoed, raw: bytes) -> Configuration:
    names = list(configurations)
    if len(names) != 1:
        raise InvalidInput(f"order_configuration: {names[:3]}; allowed: exactly one")
    name = names[0]
    model = CONFIGURATIONS.get(name)
    if model is None:
        raise InvalidInput(f'proto: {place(name, raw)}unknown field "{name[:80]}"')
    return convert(configurations[name], model, raw)


def _refusal(body: CreateOrder | PreviewOrder, portfolio: str) -> Refusal | None:
    """Refuse what can be understood and is wrong whatever the venue's state."""
    if body.side == "UNKNOWN_ORDER_SIDE":
        return Refusal(FailureReason.INVALID_SIDE, "side: missing; allowed: BUY, SELL")
    if body.retail_portfolio_id not in (None, "", portfolio):
        return Refusal(
            FailureReason.INVALID_REQUEST, "retail_portfolio_id: not the portfolio of this key"
        )
    if body.margin_type not in _MARGIN_TYPES:
        return Refusal(
            FailureReason.INVALID_MARGIN_TYPE,
            f"margin_type: {body.margin_type!r:.80}; allowed: {', '.join(MarginType)}",
        )
    return None


def _attached(configurations: Mapping[str, Any] | None, raw: bytes) -> Bracket | None:
    """Return the bracket that is attached; Coinbase lets only a GTC one be, without a size."""
    if not configurations:
        return None
    if list(configurations) != ["trigger_bracket_gtc"]:
        raise InvalidInput(
            f"attached_order_configuration: {list(configurations)[:3]};"
            " allowed: trigger_bracket_gtc"
        )
    bracket = convert(configurations["trigger_bracket_gtc"], TriggerBracket, raw)
    if bracket.base_size:
        raise InvalidInput(
            "attached_order_configuration.base_size: given; allowed: none, it is the order's own"
        )
    return Bracket(
        parse_decimal("limit_price", bracket.limit_price),
        parse_decimal("stop_trigger_price", bracket.stop_trigger_price),
    )


def _screened(name: str, value: str) -> str:
    """Return an id free of control characters, which no log and no header could carry."""
    if not _SCREENED.fullmatch(value):
        raise InvalidInput(f"{name}: {value!r}; allowed: no control characters")
    return value


def _leverage(value: str | float | None) -> Decimal | None:
    return None if value is None else _optional("leverage", str(value))


def _optional(name: str, value: str | None) -> Decimal | None:
    return parse_decimal(name, value) if value else None

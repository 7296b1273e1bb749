"""What callers may send: strict bodies and query parameters, refused in Coinbase's words."""

import asyncio
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import ClientDisconnect

from lob.errors import InvalidInput
from lob.types import Side, TimeInForce
from touchstone.exchange import FailureReason, OrderRequest, Refusal

BODY_BYTES_MAX: Final = 65_536
BODY_SECONDS_MAX: Final = 10.0
ORDER_IDS_MAX: Final = 100
_DECIMAL: Final = re.compile(r"\d{1,15}(\.\d{1,15})?")

ModelT = TypeVar("ModelT", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CreateOrder(_Body):
    """The body of `POST /orders`."""

    client_order_id: str = Field(min_length=1, max_length=128)
    product_id: str = Field(min_length=1, max_length=64)
    side: Literal["BUY", "SELL"]
    order_configuration: dict[str, dict[str, Any]]
    leverage: str | None = None
    margin_type: str | None = None
    retail_portfolio_id: str | None = None
    self_trade_prevention_id: str | None = None
    preview_id: str | None = None
    attached_order_configuration: dict[str, Any] | None = None

    @field_validator("order_configuration")
    @classmethod
    def _can_be_echoed(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        # A refusal sends it back; pydantic's parser lets in NaN and 1e999, which JSON has not.
        json.dumps(value, allow_nan=False)
        return value


class CancelOrders(_Body):
    """The body of `POST /orders/batch_cancel`."""

    order_ids: list[str] = Field(min_length=1, max_length=ORDER_IDS_MAX)


class ClockSpeed(_Body):
    """The body of `POST /admin/clock`: how many exchange seconds pass in one real second."""

    speed: float = Field(ge=0.01, le=1000, strict=False, allow_inf_nan=False)


class FlowState(_Body):
    """The body of `POST /admin/flow`."""

    paused: bool


class _Sized(_Body):
    base_size: str | None = None
    quote_size: str | None = None
    reduce_only: bool = False


class _Limit(_Sized):
    limit_price: str


class _RestingLimit(_Limit):
    post_only: bool = False


_CONFIGURATIONS: Final[Mapping[str, tuple[type[_Sized], TimeInForce]]] = {
    "market_market_ioc": (_Sized, TimeInForce.IOC),
    "market_market_fok": (_Sized, TimeInForce.FOK),
    "sor_limit_ioc": (_Limit, TimeInForce.IOC),
    "limit_limit_fok": (_Limit, TimeInForce.FOK),
    "limit_limit_gtc": (_RestingLimit, TimeInForce.GTC),
}

UNSUPPORTED_CONFIGURATIONS: Final = frozenset(
    {
        "limit_limit_gtd",
        "stop_limit_stop_limit_gtc",
        "stop_limit_stop_limit_gtd",
        "trigger_bracket_gtc",
        "trigger_bracket_gtd",
        "twap_limit_gtd",
        "scaled_limit_gtc",
    }
)
"""Configurations that Coinbase has and this version has not; they are refused, not ignored."""


async def read_bytes(request: Request) -> bytes:
    """Return the body; `InvalidInput` when it is longer than 64 KiB or takes longer than 10 s."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise InvalidInput(f"body: longer than {BODY_BYTES_MAX} bytes")
    except TimeoutError:
        raise InvalidInput(f"body: not complete within {BODY_SECONDS_MAX:g} s") from None
    except ClientDisconnect:
        raise InvalidInput("body: the client left before its end") from None
    return bytes(body)


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """Return the JSON body as `model`; raises as `read_bytes` and `decode`."""
    return decode(await read_bytes(request), model)


def decode(body: bytes, model: type[ModelT]) -> ModelT:
    """Return `body` as `model`.

    Raises:
        InvalidInput: not JSON, or a field that is unknown, missing or of the wrong kind.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidInput(_explain(error, body)) from None


def order_request(body: CreateOrder, raw: bytes) -> OrderRequest | Refusal:
    """Return what the body asks for, or the refusal of what this venue does not do.

    `raw` is the body as it came, to say where an unknown field stands.

    Raises:
        InvalidInput: the order configuration is malformed.
    """
    names = list(body.order_configuration)
    if len(names) != 1:
        raise InvalidInput(f"order_configuration: {names}; allowed: exactly one")
    name = names[0]
    if name in UNSUPPORTED_CONFIGURATIONS:
        return _unsupported(f"order_configuration: {name} is not implemented")
    if name not in _CONFIGURATIONS:
        raise InvalidInput(f'proto: {_place(name, raw)}unknown field "{name}"')
    model, time_in_force = _CONFIGURATIONS[name]
    try:
        fields = model.model_validate(body.order_configuration[name])
    except ValidationError as error:
        raise InvalidInput(_explain(error, raw)) from None
    refusal = _unsupported_option(body, fields)
    if refusal is not None:
        return refusal
    limit_price = getattr(fields, "limit_price", None)
    return OrderRequest(
        client_order_id=body.client_order_id,
        product_id=body.product_id,
        side=Side(body.side),
        size=parse_decimal("base_size", fields.base_size or ""),
        limit_price=None if limit_price is None else parse_decimal("limit_price", limit_price),
        time_in_force=time_in_force,
        post_only=getattr(fields, "post_only", False),
        reduce_only=fields.reduce_only,
        leverage=parse_decimal("leverage", body.leverage) if body.leverage else None,
        configuration=body.order_configuration,
    )


def parse_decimal(name: str, value: str) -> Decimal:
    """Return a plain non-negative decimal; `InvalidInput` for anything else."""
    if not _DECIMAL.fullmatch(value):
        raise InvalidInput(
            f"{name}: {value!r}; allowed: a plain decimal with at most 15 digits on either side"
        )
    return Decimal(value)


def _unsupported(message: str) -> Refusal:
    return Refusal(FailureReason.UNSUPPORTED_ORDER_CONFIGURATION, message)


def _unsupported_option(body: CreateOrder, fields: _Sized) -> Refusal | None:
    if fields.quote_size is not None:
        return _unsupported("quote_size is not implemented; give base_size")
    if body.attached_order_configuration:
        return _unsupported("attached_order_configuration is not implemented")
    if body.preview_id:
        return Refusal(FailureReason.INVALID_REQUEST, "preview_id: previews are not implemented")
    if body.margin_type not in (None, "", "CROSS"):
        return Refusal(
            FailureReason.INVALID_MARGIN_TYPE,
            f"margin_type: {body.margin_type!r}; allowed: CROSS",
        )
    return None


def _explain(error: ValidationError, body: bytes) -> str:
    """Return the first problem in the words of Coinbase's protobuf parser."""
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"]) or "body"
    if problem["type"] == "extra_forbidden":
        name = str(problem["loc"][-1])
        return f'proto: {_place(name, body)}unknown field "{name}"'
    if problem["type"] == "json_invalid":
        return f"proto: syntax error: {problem['msg']}"
    shown = repr(problem.get("input"))
    return f"{field}: {shown if len(shown) <= 80 else shown[:77] + '...'}: {problem['msg']}"  # noqa: PLR2004 - one line


def _place(name: str, body: bytes) -> str:
    """Return where a field name stands in the body, as `(line 1:192): `."""
    at = body.find(f'"{name}"'.encode())
    if at < 0:
        return ""
    line = body.count(b"\n", 0, at) + 1
    column = at - (body.rfind(b"\n", 0, at) + 1) + 1
    return f"(line {line}:{column}): "

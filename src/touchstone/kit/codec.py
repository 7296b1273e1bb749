"""The execution contract in JSON and back, strictly.

A key that nothing reads is refused, a number that is not plain and finite is refused, and the
refusal names the path and the value. `touchstone.kit.rpc` does the same for protobuf.

What is well formed is read by `touchstone.kit.typed_json` in one pass. Whatever that does not take
is read again here, key by key: here are the numbers that are no text, and the texts of refusals.
"""

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from execution_providers.decimals import exact
from execution_providers.slippage import plain
from execution_providers.types import (
    BarData,
    CostEstimate,
    ExecutionRequest,
    Fill,
    FillStatus,
    Liquidity,
    MarketState,
    Order,
    PartialFill,
    member,
)
from execution_providers.written import written
from lob.errors import InvalidInput
from lob.types import INT64_MAX
from touchstone.kit import typed_json
from touchstone.kit.received import ReceivedFill, ReceivedRequest

_REQUEST = ("order", "market", "bar", "asset_class")
_ORDER = (
    "symbol",
    "side",
    "quantity",
    "type",
    "limit_price",
    "stop_price",
    "time_in_force",
    "post_only",
    "display_quantity",
    "client_order_id",
)
_ORDER_REQUIRED = ("symbol", "side", "quantity")
_MARKET_REQUIRED = ("timestamp_ms",)
_MARKET = ("timestamp_ms", "bids", "asks", "last_price", "adv_notional", "volatility")
_BAR = ("open", "high", "low", "close", "volume", "duration_ms")
_FILL = (
    "status",
    "filled_quantity",
    "average_price",
    "fees",
    "slippage_bps",
    "attribution",
    "fills",
)
_PART = ("price", "quantity", "liquidity", "offset_ns")


def encode_execution_request(request: ExecutionRequest) -> bytes:
    """Return the request as canonical JSON: keys in one order, no blanks, decimals as plain text.

    Two requests that are equal have the same bytes.
    """
    return encode_json(execution_request_to_json(request))


def decode_execution_request(encoded: bytes) -> ExecutionRequest:
    """Return the request that JSON says, whole.

    Raises:
        InvalidInput: it is no JSON, or as `execution_request_from_json`.
    """
    request = typed_json.read_request(encoded)
    return execution_request_from_json(decode_json(encoded)) if request is None else request


def receive_execution_request(encoded: bytes) -> ExecutionRequest:
    """Return the request that JSON says, with its market read only when somebody looks at it.

    The order is checked here. A market or bar that is wrong raises when it is first looked at, or
    in `complete`; until then the request can be handed on as the bytes that came.

    Raises:
        InvalidInput: as `decode_execution_request`.
    """
    request = typed_json.receive_request(encoded, _read_rest)
    return decode_execution_request(encoded) if request is None else request


def _read_rest(encoded: bytes, rest: object) -> tuple[MarketState, BarData | None]:
    """Return market and bar of a request whose order is read; InvalidInput where one is wrong."""
    found = typed_json.read_rest(rest)
    if found is None:
        whole = execution_request_from_json(decode_json(encoded))
        return whole.market, whole.bar
    return found


def complete(request: ExecutionRequest) -> ExecutionRequest:
    """Return the request with every part read; `InvalidInput` where one is wrong."""
    if type(request) is ReceivedRequest:
        request.read_all()
    return request


def request_bytes(request: ExecutionRequest) -> bytes:
    """Return the cheapest JSON of a request: as it came, or else the canonical one."""
    if type(request) is ReceivedRequest:
        return request.received
    return encode_execution_request(request)


def encode_fill(fill: Fill) -> bytes:
    """Return the fill as JSON: keys in one order, no blanks, decimals as plain text."""
    if isinstance(fill, ReceivedFill):
        return fill.encoded
    text = written(fill)
    if text is not None:
        return text.encode()
    average, slippage = fill.average_price, fill.slippage_bps
    # `fill_to_json` as JSON; the encoder writes a member of an enumeration as its value.
    return encode_json(
        {
            "status": fill.status,
            "filled_quantity": plain(fill.filled_quantity),
            "average_price": None if average is None else plain(average),
            "fees": plain(fill.fees),
            "slippage_bps": None if slippage is None else plain(slippage),
            "attribution": dict(fill.attribution),
            "fills": [
                {
                    "price": plain(price),
                    "quantity": plain(quantity),
                    "liquidity": liquidity,
                    "offset_ns": offset_ns,
                }
                for price, quantity, liquidity, offset_ns in fill.fills
            ],
        }
    )


def decode_fill(encoded: bytes) -> Fill:
    """Return the fill that JSON says; it remembers its bytes for `encode_fill`.

    Raises:
        InvalidInput: it is no JSON, or as `fill_from_json`.
    """
    fill = typed_json.receive_fill(encoded, _read_reasons)
    return fill_from_json(decode_json(encoded)) if fill is None else fill


def _read_reasons(encoded: bytes) -> Mapping[str, Any]:
    found = typed_json.read_object(encoded)
    if found is None:  # a number that no float takes
        found = dict(decode_json(encoded))
    return found


def named_by(fill: Fill) -> tuple[int | None, str | None]:
    """Return the seed and the L3 configuration that a fill's attribution names, where it does.

    Of a fill that came as JSON nothing else is read.
    """
    found = typed_json.named_in(fill.reasons) if type(fill) is ReceivedFill else None
    if found is not None:
        return found
    told = fill.attribution
    seed, models = told.get("seed"), told.get("models")
    named = models.get("config") if isinstance(models, Mapping) else None
    return seed if type(seed) is int else None, named if isinstance(named, str) else None


def split_batch(encoded: bytes) -> list[bytes] | None:
    """Return the JSON of each of `{"requests": [...]}`; None where it is not just that."""
    return typed_json.split_batch(encoded)


def decode_json(
    encoded: bytes, *, keys_once: bool = False, whole_are_integers: bool = False
) -> Any:
    """Return decoded JSON; numbers with a point are Decimal.

    Of a key that an object has twice the last one counts, or with `keys_once` it is refused. With
    `whole_are_integers` 5.0 is 5, as a JSON schema has it.

    Raises:
        InvalidInput: it is no JSON, or says NaN or Infinity, or is nested too deeply.
    """
    hook = _refuse_twice if keys_once else None
    try:
        return json.loads(
            encoded,
            parse_float=_whole_or_decimal if whole_are_integers else _decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=hook,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"body: not JSON: {error}") from None


def execution_request_from_json(body: object) -> ExecutionRequest:
    """Return the request that a decoded JSON body says.

    `order.type` defaults to MARKET, `order.time_in_force` to GTC; `bar` may be left out or null.

    Raises:
        InvalidInput: a key is missing or unknown, or a value is not allowed; the text names it.
    """
    request = _object("", body, _REQUEST, required=("order", "market", "asset_class"))
    order = _object("order", request["order"], _ORDER, required=_ORDER_REQUIRED)
    market = _object("market", request["market"], _MARKET, required=_MARKET_REQUIRED)
    bar = request.get("bar")
    return ExecutionRequest(
        order=Order(**_given(order, _ORDER_REQUIRED)),
        market=MarketState(**_whole("timestamp_ms", _given(market, _MARKET_REQUIRED))),
        bar=None
        if bar is None
        else BarData(**_whole("duration_ms", _object("bar", bar, _BAR, required=_BAR))),
        asset_class=request["asset_class"],
    )


def _whole(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return values in which 5.0 is 5 under that name, as in a JSON schema it is an integer too."""
    value = values[name]
    return values | {name: _as_integer(value)} if isinstance(value, Decimal) else values


def _as_integer(value: Decimal) -> int | Decimal:
    return int(value) if abs(value) <= INT64_MAX and value % 1 == 0 else value


def _whole_or_decimal(text: str) -> int | Decimal:
    return _as_integer(_decimal(text))


def execution_request_to_json(request: ExecutionRequest) -> dict[str, Any]:
    """Return the request as JSON values, every key present, decimals as text."""
    order, market, bar = request.order, request.market, request.bar
    return {
        "order": {
            "symbol": order.symbol,
            "side": order.side.value,
            "quantity": plain(order.quantity),
            "type": order.type.value,
            "limit_price": _text(order.limit_price),
            "stop_price": _text(order.stop_price),
            "time_in_force": order.time_in_force.value,
            "post_only": order.post_only,
            "display_quantity": _text(order.display_quantity),
            "client_order_id": order.client_order_id,
        },
        "market": {
            "timestamp_ms": market.timestamp_ms,
            "bids": [[plain(price), plain(size)] for price, size in market.bids],
            "asks": [[plain(price), plain(size)] for price, size in market.asks],
            "last_price": _text(market.last_price),
            "adv_notional": _text(market.adv_notional),
            "volatility": _text(market.volatility),
        },
        "bar": None if bar is None else _bar_to_json(bar),
        "asset_class": request.asset_class.value,
    }


def fill_to_json(fill: Fill) -> dict[str, Any]:
    """Return the fill as JSON values, decimals as text."""
    return {
        "status": fill.status.value,
        "filled_quantity": plain(fill.filled_quantity),
        "average_price": _text(fill.average_price),
        "fees": plain(fill.fees),
        "slippage_bps": _text(fill.slippage_bps),
        "attribution": dict(fill.attribution),
        "fills": [
            {
                "price": plain(part.price),
                "quantity": plain(part.quantity),
                "liquidity": part.liquidity.value,
                "offset_ns": part.offset_ns,
            }
            for part in fill.fills
        ],
    }


def fill_from_json(body: object) -> Fill:
    """Return the fill that a decoded JSON body says.

    Raises:
        InvalidInput: a key is missing or unknown, or a value is not allowed; the text names it.
    """
    fill = _object("fill", body, _FILL, required=_FILL)
    attribution = fill["attribution"]
    if not isinstance(attribution, Mapping):
        raise InvalidInput(f"fill.attribution: {_shown(attribution)}; allowed: an object")
    parts = fill["fills"]
    if not isinstance(parts, list):
        raise InvalidInput(f"fill.fills: {_shown(parts)}; allowed: a list")
    return Fill(
        status=member("fill.status", fill["status"], FillStatus),
        filled_quantity=_answered("fill.filled_quantity", fill["filled_quantity"]),
        average_price=_optional("fill.average_price", fill["average_price"]),
        fees=_answered("fill.fees", fill["fees"]),
        slippage_bps=_optional("fill.slippage_bps", fill["slippage_bps"]),
        attribution=dict(attribution),
        fills=tuple(_part_from_json(f"fill.fills[{i}]", part) for i, part in enumerate(parts)),
    )


def cost_to_json(cost: CostEstimate) -> dict[str, Any]:
    """Return the estimate as JSON values, decimals as text."""
    return {
        "fillable_quantity": plain(cost.fillable_quantity),
        "average_price": _text(cost.average_price),
        "slippage_bps": _text(cost.slippage_bps),
        "fees": plain(cost.fees),
        "fees_bps": _text(cost.fees_bps),
        "model": cost.model,
    }


def _part_from_json(path: str, body: object) -> PartialFill:
    part = _object(path, body, _PART, required=_PART)
    offset_ns = part["offset_ns"]
    if type(offset_ns) is not int:
        raise InvalidInput(f"{path}.offset_ns: {_shown(offset_ns)}; allowed: a whole number")
    return PartialFill(
        price=_answered(f"{path}.price", part["price"]),
        quantity=_answered(f"{path}.quantity", part["quantity"]),
        liquidity=member(f"{path}.liquidity", part["liquidity"], Liquidity),
        offset_ns=offset_ns,
    )


def _bar_to_json(bar: BarData) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: plain(getattr(bar, name)) for name in ("open", "high", "low", "close", "volume")
    }
    return figures | {"duration_ms": bar.duration_ms}


def _object(
    path: str, body: object, known: tuple[str, ...], required: tuple[str, ...]
) -> dict[str, Any]:
    """Return `body` as a dict with known keys only, all required ones among them."""
    if not isinstance(body, Mapping):
        raise InvalidInput(f"{path or 'body'}: {_shown(body)}; allowed: an object")
    for key in body:
        if key not in known:
            raise InvalidInput(
                f"{_join(path, key)}: {_shown(body[key])}; no such key; allowed: {', '.join(known)}"
            )
    for key in required:
        if key not in body:
            raise InvalidInput(f"{_join(path, key)}: missing; allowed: a value")
    return dict(body)


def _given(body: dict[str, Any], required: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys that have a value: null means left out, which a required key cannot be."""
    return {key: value for key, value in body.items() if value is not None or key in required}


def _optional(path: str, value: object) -> Decimal | None:
    return None if value is None else _answered(path, value)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - one line of text


def _answered(name: str, value: object) -> Decimal:
    """Return a number of an answer, which may have more digits than a request's."""
    return exact(name, value, bounded=False)


def encode_json(value: object) -> bytes:
    """Return JSON values as JSON without blanks."""
    return typed_json.encode(value)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise InvalidInput(f"body: {text:.60}; allowed: a number with a smaller exponent") from None


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput(f"{name[:80]}: given twice; allowed: once")
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")

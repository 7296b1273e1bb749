"""The execution contract in protobuf and back, and faults as gRPC statuses.

Enum values carry the type's name as prefix (`SIDE_BUY`); one table per enum is derived from that.
Nothing here calls `MessageToDict`: it costs more than an execution.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from execution_providers.decimals import exact
from execution_providers.outlook import FillOutlook
from execution_providers.slippage import plain
from execution_providers.types import (
    AssetClass,
    BarData,
    CostEstimate,
    ExecutionRequest,
    Fill,
    FillStatus,
    Liquidity,
    MarketState,
    Order,
    OrderType,
    PartialFill,
    Side,
    TimeInForce,
)
from lob import errors
from lob.errors import Fault, InvalidInput
from touchstone.kit.errors import OUTCOMES, field_of, outcome_of
from touchstone.v1 import errors_pb2
from touchstone.v1 import execution_pb2 as pb

FAULT_CODE_KEY: Final = "touchstone-fault-code"
"""Trailing metadata: the code of the fault behind a status."""
FAULT_FIELD_KEY: Final = "touchstone-fault-field"
"""Trailing metadata: the path of the field that is wrong, where one is named."""
DETAILS_KEY: Final = "grpc-status-details-bin"
"""Trailing metadata: a google.rpc.Status with a google.rpc.BadRequest, where a field is wrong."""
_BAD_REQUEST: Final = "type.googleapis.com/google.rpc.BadRequest"

FLOW_COUNTS: Final = ("trades", "cancels", "adds", "quote_moves")
_COUNTED: Final = ("events_in_flight", "events_while_resting")
_MODELLED: Final = frozenset({"dark", "impact", "hidden", "fill_forecast", "queue_value"})
"""What the models say, each a document of its own; it travels as JSON."""
_EXPLAINED: Final = (
    "session_id",
    "dark",
    "latency_ns",
    "events_in_flight",
    "impact",
    "hidden",
    "queue_ahead",
    "fill_forecast",
    "queue_value",
    "events_while_resting",
    "reason",
)

EnumT = TypeVar("EnumT", bound=StrEnum)


def enum_numbers(kind: type[EnumT], wrapper: Any, prefix: str) -> dict[EnumT, int]:
    """Return the protobuf number of every member of `kind`; a missing one is a KeyError."""
    numbers = {value.name: value.number for value in wrapper.DESCRIPTOR.values}
    return {one: numbers[f"{prefix}_{one.value}"] for one in kind}


def _both(
    kind: type[EnumT], wrapper: Any, prefix: str
) -> tuple[dict[EnumT, Any], dict[int, EnumT]]:
    numbers: dict[EnumT, Any] = dict(enum_numbers(kind, wrapper, prefix))
    return numbers, {number: one for one, number in numbers.items()}


SIDE_NUMBERS, SIDES = _both(Side, pb.Side, "SIDE")
_TYPE_NUMBERS, _TYPES = _both(OrderType, pb.OrderType, "ORDER_TYPE")
_TIF_NUMBERS, _TIFS = _both(TimeInForce, pb.TimeInForce, "TIME_IN_FORCE")
_CLASS_NUMBERS, _CLASSES = _both(AssetClass, pb.AssetClass, "ASSET_CLASS")
_STATUS_NUMBERS, _STATUSES = _both(FillStatus, pb.FillStatus, "FILL_STATUS")
_LIQUIDITY_NUMBERS, _LIQUIDITIES = _both(Liquidity, pb.Liquidity, "LIQUIDITY")

# ---------------------------------------------------------------------------- requests


def request_to_proto(request: ExecutionRequest, seed: int | None = None) -> pb.ExecuteRequest:
    """Return the message for a request; `seed` None leaves the choice to the server."""
    message = pb.ExecuteRequest(
        order=order_to_proto(request.order),
        market=market_to_proto(request.market),
        asset_class=_CLASS_NUMBERS[request.asset_class],
        seed=seed,
    )
    if request.bar is not None:
        message.bar.CopyFrom(bar_to_proto(request.bar))
    return message


def request_from_proto(message: pb.ExecuteRequest | pb.EstimateCostRequest) -> ExecutionRequest:
    """Return the request that a message says.

    The market may be missing where a session is named, which has its own.

    Raises:
        InvalidInput: a part is missing or a value is not allowed; the text names it.
    """
    if not message.HasField("order"):
        raise InvalidInput("order: missing; allowed: a value")
    in_session = isinstance(message, pb.ExecuteRequest) and message.HasField("session_id")
    if not message.HasField("market") and not in_session:
        raise InvalidInput("market: missing; allowed: a value")
    return ExecutionRequest(
        order=order_from_proto(message.order),
        market=market_from_proto(message.market),
        bar=bar_from_proto(message.bar) if message.HasField("bar") else None,
        asset_class=look_up("asset_class", message.asset_class, _CLASSES),
    )


def order_to_proto(order: Order) -> pb.Order:
    """Return the message for an order."""
    return pb.Order(
        symbol=order.symbol,
        side=SIDE_NUMBERS[order.side],
        quantity=plain(order.quantity),
        type=_TYPE_NUMBERS[order.type],
        limit_price=_text(order.limit_price),
        stop_price=_text(order.stop_price),
        time_in_force=_TIF_NUMBERS[order.time_in_force],
        post_only=order.post_only,
        display_quantity=_text(order.display_quantity),
        client_order_id=order.client_order_id,
    )


def order_from_proto(order: pb.Order) -> Order:
    """Return the order that a message says; unspecified is MARKET and GTC."""
    has = order.HasField
    return Order(
        symbol=order.symbol,
        side=look_up("order.side", order.side, SIDES),
        quantity=order.quantity,  # type: ignore[arg-type] # the type takes decimal text
        type=look_up("order.type", order.type or _TYPE_NUMBERS[OrderType.MARKET], _TYPES),
        limit_price=order.limit_price if has("limit_price") else None,  # type: ignore[arg-type]
        stop_price=order.stop_price if has("stop_price") else None,  # type: ignore[arg-type]
        time_in_force=look_up(
            "order.time_in_force", order.time_in_force or _TIF_NUMBERS[TimeInForce.GTC], _TIFS
        ),
        post_only=order.post_only,
        display_quantity=(
            order.display_quantity if has("display_quantity") else None  # type: ignore[arg-type]
        ),
        client_order_id=order.client_order_id,
    )


def market_to_proto(market: MarketState) -> pb.MarketState:
    """Return the message for a market state."""
    return pb.MarketState(
        timestamp_ms=market.timestamp_ms,
        bids=[pb.PriceLevel(price=plain(price), size=plain(size)) for price, size in market.bids],
        asks=[pb.PriceLevel(price=plain(price), size=plain(size)) for price, size in market.asks],
        last_price=_text(market.last_price),
        adv_notional=_text(market.adv_notional),
        volatility=_text(market.volatility),
    )


def market_from_proto(market: pb.MarketState) -> MarketState:
    """Return the market state that a message says."""
    given: dict[str, Any] = {
        name: getattr(market, name)
        for name in ("last_price", "adv_notional", "volatility")
        if market.HasField(name)
    }
    return MarketState(
        timestamp_ms=market.timestamp_ms,
        bids=[(level.price, level.size) for level in market.bids],  # type: ignore[arg-type]
        asks=[(level.price, level.size) for level in market.asks],  # type: ignore[arg-type]
        **given,
    )


def bar_to_proto(bar: BarData) -> pb.Bar:
    """Return the message for a bar."""
    return pb.Bar(
        open=plain(bar.open),
        high=plain(bar.high),
        low=plain(bar.low),
        close=plain(bar.close),
        volume=plain(bar.volume),
        duration_ms=bar.duration_ms,
    )


def bar_from_proto(bar: pb.Bar) -> BarData:
    """Return the bar that a message says."""
    figures: dict[str, Any] = {
        name: getattr(bar, name) for name in ("open", "high", "low", "close", "volume")
    }
    return BarData(**figures, duration_ms=bar.duration_ms)


# ---------------------------------------------------------------------------- answers


def fill_to_proto(fill: Fill) -> pb.Fill:
    """Return the message for a fill."""
    return pb.Fill(
        status=_STATUS_NUMBERS[fill.status],
        filled_quantity=plain(fill.filled_quantity),
        average_price=_text(fill.average_price),
        fees=plain(fill.fees),
        slippage_bps=_text(fill.slippage_bps),
        attribution=_attribution_to_proto(fill.attribution),
        fills=[
            pb.PartialFill(
                price=plain(part.price),
                quantity=plain(part.quantity),
                liquidity=_LIQUIDITY_NUMBERS[part.liquidity],
                offset_ns=part.offset_ns,
            )
            for part in fill.fills
        ],
    )


def fill_from_proto(fill: pb.Fill) -> Fill:
    """Return the fill that a message says.

    Raises:
        InvalidInput: a value is not allowed; the text names it.
    """
    has = fill.HasField
    return Fill(
        status=look_up("fill.status", fill.status, _STATUSES),
        filled_quantity=_answered("fill.filled_quantity", fill.filled_quantity),
        average_price=(
            _answered("fill.average_price", fill.average_price) if has("average_price") else None
        ),
        fees=_answered("fill.fees", fill.fees),
        slippage_bps=_answered("fill.slippage_bps", fill.slippage_bps)
        if has("slippage_bps")
        else None,
        attribution=_attribution_from_proto(fill.attribution),
        fills=tuple(
            PartialFill(
                price=_answered("fill.fills.price", part.price),
                quantity=_answered("fill.fills.quantity", part.quantity),
                liquidity=look_up("fill.fills.liquidity", part.liquidity, _LIQUIDITIES),
                offset_ns=part.offset_ns,
            )
            for part in fill.fills
        ),
    )


def outlook_request_to_proto(
    request: ExecutionRequest, horizon_seconds: float
) -> pb.FillProbabilityRequest:
    """Return the message that asks for the outlook of a request's order."""
    return pb.FillProbabilityRequest(
        order=order_to_proto(request.order),
        market=market_to_proto(request.market),
        asset_class=_CLASS_NUMBERS[request.asset_class],
        horizon_seconds=horizon_seconds,
    )


def outlook_request_from_proto(message: pb.FillProbabilityRequest) -> ExecutionRequest:
    """Return the order and market that a message asks about; `InvalidInput` names what is wrong."""
    for name in ("order", "market"):
        if not message.HasField(name):
            raise InvalidInput(f"{name}: missing; allowed: a value")
    return ExecutionRequest(
        order=order_from_proto(message.order),
        market=market_from_proto(message.market),
        bar=None,
        asset_class=look_up("asset_class", message.asset_class, _CLASSES),
    )


def outlook_to_proto(outlook: FillOutlook, config_hash: str) -> pb.FillProbabilityResponse:
    """Return the message for an outlook, made under the configuration of this digest."""
    return pb.FillProbabilityResponse(
        probability=outlook.probability,
        model=outlook.model,
        any_fill_probability=outlook.any_fill_probability,
        expected_quantity=outlook.expected_quantity,
        expected_wait_seconds=outlook.expected_wait_s,
        wait_if_filled_seconds=outlook.wait_if_filled_s,
        horizon_seconds=outlook.horizon_s,
        confidence=outlook.confidence,
        config_hash=config_hash,
        queue_ahead=plain(outlook.queue_ahead),
        filled_at_once=plain(outlook.filled_at_once),
        inputs=outlook.inputs,
    )


def outlook_from_proto(message: pb.FillProbabilityResponse) -> FillOutlook:
    """Return the outlook that a message says; `InvalidInput` for a number that is none."""
    has = message.HasField
    return FillOutlook(
        probability=message.probability,
        any_fill_probability=message.any_fill_probability,
        expected_quantity=message.expected_quantity,
        expected_wait_s=(message.expected_wait_seconds if has("expected_wait_seconds") else None),
        wait_if_filled_s=(
            message.wait_if_filled_seconds if has("wait_if_filled_seconds") else None
        ),
        horizon_s=message.horizon_seconds,
        confidence=message.confidence,
        model=message.model,
        queue_ahead=_answered("queue_ahead", message.queue_ahead),
        filled_at_once=_answered("filled_at_once", message.filled_at_once),
        inputs=tuple(message.inputs),
    )


def cost_to_proto(cost: CostEstimate, config_hash: str) -> pb.EstimateCostResponse:
    """Return the message for a cost estimate, made under the configuration of this digest."""
    return pb.EstimateCostResponse(
        fillable_quantity=plain(cost.fillable_quantity),
        average_price=_text(cost.average_price),
        slippage_bps=_text(cost.slippage_bps),
        fees=plain(cost.fees),
        fees_bps=_text(cost.fees_bps),
        model=cost.model,
        config_hash=config_hash,
    )


def _attribution_to_proto(attribution: Mapping[str, Any]) -> pb.Attribution:
    message = pb.Attribution(
        provider=attribution["provider"],
        reference_price=attribution["reference_price"],
        reference=attribution["reference"],
        slippage=pb.Slippage(**attribution["slippage"]),
        fees_bps=attribution["fees_bps"],
        seed=attribution["seed"],
        models=attribution["models"],
        reason=attribution.get("reason"),
        queue_ahead=attribution.get("queue_ahead"),
        latency_ns=attribution.get("latency_ns"),
        explained={
            name: json.dumps(attribution[name], separators=(",", ":"), allow_nan=False)
            for name in _MODELLED.intersection(attribution)
        },
        session_id=attribution.get("session_id"),
    )
    for name in ("events_in_flight", "events_while_resting"):
        counts = attribution.get(name)
        if counts is not None:
            getattr(message, name).CopyFrom(pb.FlowCounts(**counts))
    return message


def _attribution_from_proto(message: pb.Attribution) -> dict[str, Any]:
    """Return the mapping; what every provider gives is there, the rest only where it was set."""
    has, parts = message.HasField, message.slippage
    attribution: dict[str, Any] = {
        "provider": message.provider,
        "reference_price": message.reference_price if has("reference_price") else None,
        "reference": message.reference if has("reference") else None,
        "slippage": {
            "spread": parts.spread,
            "depth": parts.depth,
            "latency_drift": parts.latency_drift,
            "impact": parts.impact,
        },
        "fees_bps": message.fees_bps if has("fees_bps") else None,
        "seed": message.seed,
        "models": dict(sorted(message.models.items())),
    }
    # In the order of the provider's own, so that the same fill is the same JSON.
    explained = dict(message.explained)
    for name in _EXPLAINED:
        if name in _MODELLED:
            if name in explained:
                attribution[name] = _document(name, explained[name])
        elif has(name):
            value = getattr(message, name)
            if name in _COUNTED:
                value = {count: getattr(value, count) for count in FLOW_COUNTS}
            attribution[name] = value
    return attribution


# ---------------------------------------------------------------------------- faults

_FAULTS_BY_CODE: Final[dict[str, type[Fault]]] = {
    cls.code: cls for cls in OUTCOMES if cls not in {Fault, errors.InvariantViolation}
} | {errors.InvariantViolation.code: errors.InvariantViolation}

_FAULTS_BY_STATUS: Final[dict[str, type[Fault]]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "OUT_OF_RANGE": InvalidInput,
    "NOT_FOUND": errors.NotFound,
    "ABORTED": errors.Conflict,
    "ALREADY_EXISTS": errors.Conflict,
    "FAILED_PRECONDITION": errors.Conflict,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "RESOURCE_EXHAUSTED": errors.Overloaded,
    "UNAVAILABLE": errors.Unavailable,
    "CANCELLED": errors.Unavailable,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "UNIMPLEMENTED": errors.NotSupported,
}


def status_of(fault: Fault) -> grpc.StatusCode:
    """Return the gRPC status of a fault, by the table of `kit.errors`."""
    return grpc.StatusCode[outcome_of(fault).grpc_status]


def trailing_metadata_of(fault: Fault) -> tuple[tuple[str, str | bytes], ...]:
    """Return what goes with a status: the fault's code, and the field where it names one.

    The field is there twice: as text, and as a google.rpc.BadRequest for clients that read those.
    """
    code = (FAULT_CODE_KEY, fault.code)
    field = field_of(fault)
    if not field:
        return (code,)
    violation = errors_pb2.BadRequest.FieldViolation(field=field, description=str(fault))
    detail = errors_pb2.BadRequest(field_violations=[violation]).SerializeToString()
    number: int = status_of(fault).value[0]
    status = errors_pb2.RichStatus(
        code=number,
        message=str(fault),
        details=[AnyMessage(type_url=_BAD_REQUEST, value=detail)],
    )
    return (code, (FAULT_FIELD_KEY, field), (DETAILS_KEY, status.SerializeToString()))


def fault_of(code: str, message: str) -> Fault:
    """Return the fault that a server named by its own code."""
    return _FAULTS_BY_CODE.get(code, Fault)(message)


def fault_of_error(error: grpc.RpcError, where: str) -> Fault:
    """Return the fault behind a failed call; `where` says which call, to whom."""
    call: Any = error  # grpc.aio.AioRpcError; the base class declares nothing
    for key, value in call.trailing_metadata() or ():
        if key == FAULT_CODE_KEY:
            return fault_of(str(value), call.details() or "")
    status = call.code().name
    kind = _FAULTS_BY_STATUS.get(status, Fault)
    return kind(f"{where}: {status.lower().replace('_', ' ')}: {call.details() or 'no details'}")


def failure_to_proto(fault: Fault) -> pb.Failure:
    """Return the message for one order's fault among several orders."""
    return pb.Failure(
        code=fault.code, message=str(fault), retryable=fault.retryable, field=field_of(fault)
    )


def result_from_proto(result: pb.ExecuteResult) -> Fill | Fault:
    """Return the fill or the fault of one order among several."""
    if result.WhichOneof("outcome") == "failure":
        return fault_of(result.failure.code, result.failure.message)
    return fill_from_proto(result.fill)


def look_up(name: str, number: int, members: Mapping[int, EnumT]) -> EnumT:
    """Return the member that a protobuf number stands for; `InvalidInput` for any other number."""
    found = members.get(number)
    if found is None:
        raise InvalidInput(f"{name}: {number}; allowed: {', '.join(members.values())}")
    return found


def _document(name: str, text: str) -> Any:
    """Return a document of an answer; `InvalidInput` where it is no JSON."""
    try:
        return json.loads(text)
    except ValueError:
        raise InvalidInput(f"fill.attribution.{name}: {text[:40]!r}; allowed: JSON") from None


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _answered(name: str, value: object) -> Decimal:
    """Return a number of an answer, which may have more digits than a request's."""
    return exact(name, value, bounded=False)

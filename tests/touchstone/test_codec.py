"""The execution contract survives JSON and protobuf, and nothing unknown gets in."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from execution_providers import (
    AssetClass,
    ExecutionRequest,
    Fill,
    FillStatus,
    Liquidity,
    PartialFill,
    create_execution_provider,
)
from lob.config import create_l3_config
from lob.errors import Fault, InvalidInput
from tests.execution_providers.scenes import bars, ladder, markets, orders
from touchstone.kit import codec, rpc
from touchstone.kit.errors import OUTCOMES
from touchstone.v1 import execution_pb2

PROPERTY = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def requests(draw: st.DrawFn) -> ExecutionRequest:
    """Draw a request."""
    market = draw(markets())
    return ExecutionRequest(
        draw(orders(market)),
        market,
        draw(st.none() | bars(market)),
        draw(st.sampled_from(list(AssetClass))),
    )


@st.composite
def fills(draw: st.DrawFn) -> Fill:
    """Draw a fill with numbers of every size and every optional part."""
    numbers = st.decimals(
        min_value=-(10**9), max_value=10**9, allow_nan=False, allow_infinity=False, places=9
    )
    text = st.text(st.characters(categories=["L", "N"]), max_size=9)
    attribution: dict[str, Any] = {
        "provider": draw(text),
        "reference_price": draw(st.none() | text),
        "reference": draw(st.none() | text),
        "slippage": {name: draw(text) for name in ("spread", "depth", "latency_drift", "impact")},
        "fees_bps": draw(st.none() | text),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "models": draw(st.dictionaries(text, text, max_size=3)),
    }
    if draw(st.booleans()):
        counts = st.fixed_dictionaries({name: st.integers(0, 99) for name in rpc.FLOW_COUNTS})
        attribution |= {
            "reason": draw(text),
            "queue_ahead": draw(text),
            "latency_ns": draw(st.integers(0, 2**63 - 1)),
            "events_in_flight": draw(counts),
            "events_while_resting": draw(counts),
        }
    part = st.builds(
        PartialFill, numbers, numbers, st.sampled_from(list(Liquidity)), st.integers(0, 2**62)
    )
    return Fill(
        status=draw(st.sampled_from(list(FillStatus))),
        filled_quantity=draw(numbers),
        average_price=draw(st.none() | numbers),
        fees=draw(numbers),
        slippage_bps=draw(st.none() | numbers),
        attribution=attribution,
        fills=tuple(draw(st.lists(part, max_size=3))),
    )


@given(requests())
@PROPERTY
def test_a_request_survives_json_text(request: ExecutionRequest) -> None:
    """Encoded, written, read and decoded it is the same request."""
    text = json.dumps(codec.execution_request_to_json(request))
    assert request == codec.execution_request_from_json(json.loads(text))


@given(requests(), st.none() | st.integers(0, 2**64 - 1))
@PROPERTY
def test_a_request_survives_protobuf_bytes(request: ExecutionRequest, seed: int | None) -> None:
    """Encoded, serialised, parsed and decoded it is the same request, with the same seed."""
    wire = rpc.request_to_proto(request, seed).SerializeToString()
    message = execution_pb2.ExecuteRequest.FromString(wire)
    assert request == rpc.request_from_proto(message)
    assert seed == (message.seed if message.HasField("seed") else None)


@given(fills())
@PROPERTY
def test_a_fill_survives_both(fill: Fill) -> None:
    """Every optional part stays what it was: there, or not there."""
    assert fill == codec.fill_from_json(json.loads(json.dumps(codec.fill_to_json(fill))))
    wire = rpc.fill_to_proto(fill).SerializeToString()
    assert fill == rpc.fill_from_proto(execution_pb2.Fill.FromString(wire))


@given(requests())
@PROPERTY
def test_a_real_fill_survives_both(request: ExecutionRequest) -> None:
    """What the providers really answer has no part that the wire would lose."""
    for level, config in (("L2", None), ("L3", create_l3_config("crypto"))):
        made = create_execution_provider(request.asset_class, level, config=config)
        fill = made.execute(request.order, request.market, request.bar)
        assert fill is not None
        assert fill == codec.fill_from_json(codec.fill_to_json(fill))
        assert fill == rpc.fill_from_proto(rpc.fill_to_proto(fill))


@pytest.mark.parametrize("level", ["L2", "L3"])
@pytest.mark.parametrize(
    ("price", "higher", "quantity"),
    [
        ("0.00000001234", "0.00000001237", "12345678.87654321"),
        ("64934.31", "64934.32", "0.12345678"),
        ("99999999999", "100000000000", "7"),
    ],
)
def test_fills_of_any_magnitude_survive_both(
    level: str, price: str, higher: str, quantity: str
) -> None:
    """Products have more digits than their factors, and the wire takes them all the same."""
    beyond = higher + ("9" if "." in higher else ".5")
    request = codec.execution_request_from_json(
        body(
            order__quantity=quantity,
            market__bids=[[price, quantity]],
            market__asks=[[higher, "0.00000007"], [beyond, "99999999"]],
            asset_class="CRYPTO",
        )
    )
    made = create_execution_provider("CRYPTO", level)
    fill = made.execute(request.order, request.market, request.bar)
    assert fill is not None
    assert fill.fills
    assert fill == codec.fill_from_json(codec.fill_to_json(fill))
    assert fill == rpc.fill_from_proto(rpc.fill_to_proto(fill))


def body(**changes: Any) -> dict[str, Any]:
    """Return a good request body, with dotted paths replaced."""
    good: dict[str, Any] = {
        "order": {"symbol": "A", "side": "BUY", "quantity": "5"},
        "market": {"timestamp_ms": 1, "bids": [["99.99", 5]], "asks": [[100.01, "5"]]},
        "bar": None,
        "asset_class": "EQUITY",
    }
    for path, value in changes.items():
        target = good
        *parents, last = path.split("__")
        for parent in parents:
            target = target[parent]
        if value is KeyError:
            del target[last]
        else:
            target[last] = value
    return good


def test_numbers_may_be_text_or_numbers_and_null_is_left_out() -> None:
    """100.01 as a float means the decimal 100.01; a null limit price means none."""
    request = codec.execution_request_from_json(body(order__limit_price=None))
    assert Decimal("100.01") == request.market.asks[0][0]
    assert request.order.limit_price is None


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """5.0 milliseconds are 5, as a JSON schema has it; 5.5 are none, and nor is a huge power."""
    bar = {"open": 1, "high": 1, "low": 1, "close": 1, "volume": 1, "duration_ms": 7.0}
    said = json.dumps(body(market__timestamp_ms=5.0, bar=bar)).encode()
    request = codec.decode_execution_request(said)

    assert 5 == request.market.timestamp_ms
    assert type(request.market.timestamp_ms) is int
    assert request.bar is not None
    assert 7 == request.bar.duration_ms
    for wrong in ("5.5", "1e999999"):
        with pytest.raises(InvalidInput, match=r"market\.timestamp_ms"):
            codec.decode_execution_request(said.replace(b"5.0", wrong.encode()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order__qty": 5}, "order.qty: 5; no such key"),
        ({"extra": 1}, "extra: 1; no such key"),
        ({"market__bids": [["99", 1, 2]]}, "market.bids[0]: ['99', 1, 2]"),
        ({"order__quantity": float("nan")}, "order.quantity: nan"),
        ({"order__quantity": "inf"}, "order.quantity: 'inf'"),
        ({"order__quantity": -5}, "order.quantity: -5"),
        ({"order__quantity": None}, "order.quantity: None"),
        ({"order__quantity": KeyError}, "order.quantity: missing"),
        ({"order": []}, "order: []"),
        ({"market": KeyError}, "market: missing"),
        ({"asset_class": "BOND"}, "asset_class: 'BOND'"),
        ({"bar": {"open": 1}}, "bar.high: missing"),
        ({"market__timestamp_ms": "1"}, "market.timestamp_ms: '1'"),
    ],
)
def test_what_is_wrong_is_named_with_its_value(changes: dict[str, Any], message: str) -> None:
    """The text starts with the path and the value."""
    with pytest.raises(InvalidInput) as caught:
        codec.execution_request_from_json(body(**changes))
    assert str(caught.value).startswith(message)


def test_a_body_that_is_no_object_is_refused() -> None:
    """Lists, text and null are no request."""
    wrongs: tuple[object, ...] = ([], "x", None, 5)
    for wrong in wrongs:
        with pytest.raises(InvalidInput, match=r"^body: "):
            codec.execution_request_from_json(wrong)


def test_protobuf_refuses_what_json_refuses() -> None:
    """Missing parts, unknown enum numbers and wrong numbers are named."""
    request = codec.execution_request_from_json(body())
    message = rpc.request_to_proto(request)
    message.order.quantity = "-1"
    with pytest.raises(InvalidInput, match=r"^order\.quantity"):
        rpc.request_from_proto(message)
    message.order.side = 9  # type: ignore[assignment]
    with pytest.raises(InvalidInput, match=r"^order\.side: 9; allowed: BUY, SELL"):
        rpc.request_from_proto(message)
    message.ClearField("order")
    with pytest.raises(InvalidInput, match=r"^order: missing"):
        rpc.request_from_proto(message)


def test_every_fault_has_a_grpc_status_and_comes_back_as_itself() -> None:
    """The code travels beside the status, so that a fault keeps its class."""
    for cls in OUTCOMES:
        fault = cls("what happened")
        assert rpc.status_of(fault) is not None
        back = rpc.fault_of(fault.code, str(fault))
        assert fault.code == back.code
        assert "what happened" == str(back)
    assert Fault is type(rpc.fault_of("NEW_CODE", "x"))


def test_an_estimate_is_json() -> None:
    """A cost estimate is written with decimals as text."""
    request = codec.execution_request_from_json(body())
    made = create_execution_provider("EQUITY")
    estimate = made.estimate_execution_cost(request.order, ladder())
    assert "5" == codec.cost_to_json(estimate)["fillable_quantity"]

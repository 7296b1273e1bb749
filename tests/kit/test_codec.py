"""The contract's JSON: the typed reader against the one by the rules, and what is received."""

import copy
import dataclasses
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution_providers import ExecutionRequest, Fill, FillStatus, create_execution_provider
from execution_providers.types import Liquidity, PartialFill
from lob.errors import Fault, InvalidInput
from tests.services.router_harness import request_json
from touchstone.kit import codec, typed_json
from touchstone.kit.received import ReceivedRequest

REQUEST: dict[str, Any] = request_json() | {
    "bar": {
        "open": "100",
        "high": "101",
        "low": "99",
        "close": "100.5",
        "volume": "10000",
        "duration_ms": 60_000,
    }
}
REQUEST["market"]["volatility"] = "0.02"
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 1.5, 2**70, "", "x", "1e2", "NaN", "1_0", " 1", "0.10", "-0"),
    *(
        "0" * 81,
        "1" * 30,
        [],
        {},
        [["1", "2"]],
        [["1", "2", "3"]],
        [["1"]],
        "BUY",
        "LIMIT",
        "\u0661",
    ),
)


def paths(body: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in a body."""
    found = [before] if before else []
    items = body.items() if isinstance(body, dict) else ()
    for key, value in items:
        found += paths(value, (*before, key))
    if isinstance(body, list):
        for index, value in enumerate(body):
            found += paths(value, (*before, index))
    return found


def changed(path: tuple[Any, ...], value: Any, *, remove: bool = False) -> bytes:
    """Return the request's JSON with another value at a path, or without it."""
    body = copy.deepcopy(REQUEST)
    at: Any = body
    for key in path[:-1]:
        at = at[key]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(body).encode()


def by_rules(encoded: bytes) -> ExecutionRequest | str:
    """Return what the slow reader makes of JSON: the request, or its refusal."""
    try:
        return codec.execution_request_from_json(codec.decode_json(encoded))
    except InvalidInput as refusal:
        return str(refusal)


def outcome(encoded: bytes, *, received: bool) -> ExecutionRequest | str:
    """Return what the fast readers make of it."""
    try:
        if received:
            return codec.complete(codec.receive_execution_request(encoded))
        return codec.decode_execution_request(encoded)
    except InvalidInput as refusal:
        return str(refusal)


@pytest.mark.parametrize("path", paths(REQUEST), ids=lambda path: ".".join(map(str, path)))
def test_the_typed_reader_takes_and_refuses_what_the_rules_do(path: tuple[Any, ...]) -> None:
    """With every odd value at every place, without it, and with a key too many: word for word."""
    bodies = [changed(path, value) for value in ODD]
    bodies.append(changed(path, None, remove=True))
    if isinstance(path[-1], str):
        bodies.append(changed((*path[:-1], "bogus"), 1))
    for body in bodies:
        expected = by_rules(body)
        assert expected == outcome(body, received=False), body
        assert expected == outcome(body, received=True), body


@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_are_refused(noise: bytes) -> None:
    """Whatever comes, the answer is one line."""
    for body in (noise, b'{"order":' + noise, json.dumps(REQUEST).encode() + noise):
        assert by_rules(body) == outcome(body, received=False) == outcome(body, received=True)


@given(st.data())
def test_duplicate_keys_mean_the_last_one_to_every_reader(data: st.DataObject) -> None:
    """A name said twice is read alike, so that nobody assigns by one and executes the other."""
    text = json.dumps(REQUEST)
    again = data.draw(st.sampled_from(["order", "market", "bar", "asset_class"]))
    other = copy.deepcopy(REQUEST)
    other["order"]["symbol"], other["market"]["timestamp_ms"] = "TSLA", 5
    body = f'{text[:-1]}, "{again}": {json.dumps(other[again])}}}'.encode()
    assert by_rules(body) == outcome(body, received=False) == outcome(body, received=True)


def test_encoding_and_decoding_are_each_others_inverse() -> None:
    """Bytes are canonical: the same for a request however its numbers were written."""
    request = codec.decode_execution_request(json.dumps(REQUEST).encode())
    encoded = codec.encode_execution_request(request)
    assert request == codec.decode_execution_request(encoded)
    assert encoded == codec.encode_execution_request(codec.decode_execution_request(encoded))
    longer = json.dumps(REQUEST).replace('"99.99"', '"99.9900"').encode()
    assert encoded == codec.encode_execution_request(codec.receive_execution_request(longer))
    keys = [str(key) for key in json.loads(encoded)]
    assert ["order", "market", "bar", "asset_class"] == keys
    assert b": " not in encoded


def _by_the_standard_library(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def test_what_the_typed_reader_refuses_is_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow reader and the standard library give the same bytes and values."""
    body = json.dumps(REQUEST, ensure_ascii=False).encode()
    fill = a_fill()
    fast = codec.decode_execution_request(body)
    encoded = codec.encode_execution_request(fast), codec.encode_fill(fill)
    for reader in ("read_request", "receive_request", "receive_fill", "split_batch"):
        monkeypatch.setattr(typed_json, reader, lambda *_: None)
    monkeypatch.setattr(typed_json, "encode", _by_the_standard_library)
    slow = codec.receive_execution_request(body)
    assert fast == slow
    assert encoded == (codec.encode_execution_request(slow), codec.encode_fill(fill))
    assert fill == codec.decode_fill(encoded[1])
    assert codec.split_batch(b'{"requests":[1]}') is None


def test_a_received_request_is_read_when_it_is_looked_at() -> None:
    """Its market is wrong, and only looking says so, in the words of the rules."""
    body = changed(("market", "bids", 0, 0), "-1")
    request = codec.receive_execution_request(body)
    assert isinstance(request, ReceivedRequest)
    assert "AAPL" == request.order.symbol
    assert body is codec.request_bytes(request)
    with pytest.raises(InvalidInput, match=r"market\.bids\[0\]\.price: '-1'; allowed: a number"):
        codec.complete(request)
    with pytest.raises(InvalidInput):
        _ = request.market
    with pytest.raises(AttributeError):
        _ = request.nothing


def test_a_received_request_is_a_request_like_any() -> None:
    """Equality, hash, pickling and immutability are those of what it says."""
    body = json.dumps(REQUEST).encode()
    request = codec.receive_execution_request(body)
    plain = codec.decode_execution_request(body)
    assert plain == request
    assert request == plain
    assert request != codec.decode_execution_request(changed(("order", "quantity"), "11"))
    assert hash(plain) == hash(request)
    assert plain == pickle.loads(pickle.dumps(request))  # noqa: S301 - our own
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.order = plain.order  # type: ignore[misc]


def a_fill() -> Fill:
    """Return a fill by L3."""
    provider = create_execution_provider("EQUITY", "L3", seed=3)
    request = codec.decode_execution_request(json.dumps(REQUEST).encode())
    fill = provider.execute(request.order, request.market, request.bar)
    assert fill is not None
    return fill


def test_a_fill_comes_back_and_keeps_its_bytes() -> None:
    """Decoding and encoding again costs nothing and changes nothing."""
    fill = a_fill()
    encoded = codec.encode_fill(fill)
    back = codec.decode_fill(encoded)
    assert fill == back
    assert back == fill
    assert encoded == codec.encode_fill(back)
    assert fill == pickle.loads(pickle.dumps(back))  # noqa: S301 - our own
    assert json.loads(encoded) == codec.fill_to_json(fill)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("filled_quantity", None),
        ("filled_quantity", "NaN"),
        ("fees", "1e"),
        ("fees", 1.5),
        ("status", "DONE"),
        ("status", None),
        ("fills", {}),
        ("fills", [{"price": "1"}]),
        ("attribution", []),
        ("attribution", None),
        ("bogus", 1),
    ],
)
def test_a_fill_is_refused_as_the_rules_do(name: str, value: Any) -> None:
    """What is no fill is named, whoever reads it."""
    body = json.dumps(codec.fill_to_json(a_fill()) | {name: value}).encode()
    try:
        expected: Any = codec.fill_from_json(codec.decode_json(body))
    except InvalidInput as refusal:
        expected = str(refusal)
    try:
        found: Any = codec.decode_fill(body)
    except InvalidInput as refusal:
        found = str(refusal)
    assert expected == found


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (b'{"seed":7,"models":{"config":"ab"}}', {"seed": 7, "models": {"config": "ab"}}),
        ('{"venue":"Z\u00fcrich","share":0.5}'.encode(), {"venue": "Z\u00fcrich", "share": 0.5}),
        (b'{"seed":1e400}', {"seed": Decimal("1e400")}),
        (b'{"venue":"\xff"}', None),
        (b'{"venue":"\\q"}', None),
        (b'{"venue":}', None),
        (b"[1]", None),
    ],
)
def test_an_attribution_is_checked_at_once_and_read_later(
    reasons: bytes, expected: dict[str, Any] | None
) -> None:
    """What is JSON and an object stays as it came; nothing else is a fill."""
    body = codec.fill_to_json(a_fill()) | {"attribution": {"here": 1}}
    encoded = codec.encode_json(body).replace(b'{"here":1}', reasons)
    if expected is None:
        with pytest.raises(InvalidInput):
            codec.decode_fill(encoded)
    else:
        fill = codec.decode_fill(encoded)
        assert encoded == codec.encode_fill(fill)
        assert expected == fill.attribution


def test_a_batch_is_split_into_the_bytes_of_its_requests() -> None:
    """Exactly one key, a list; anything else is left to the rules."""
    assert [b'{"a": 1}', b"5"] == codec.split_batch(b'{"requests": [{"a": 1}, 5]}')
    for other in (b"[]", b"{", b'{"requests": 1}', b'{"requests": [], "more": 1}', b"\xff"):
        assert codec.split_batch(other) is None


def test_parts_of_a_fill_keep_their_digits() -> None:
    """An answer may have more digits than a request, and signs."""
    part = PartialFill(Decimal("100.123456789012345678"), Decimal("0.5"), Liquidity.MAKER, 7)
    fill = Fill(
        FillStatus.PARTIALLY_FILLED,
        Decimal("0.5"),
        Decimal("100.123456789012345678"),
        Decimal("-0.00125"),
        Decimal("-1.5"),
        {"provider": "X", "deep": {"list": [1, None, True]}},
        (part,),
    )
    assert fill == codec.decode_fill(codec.encode_fill(fill))


def test_a_fault_is_no_request() -> None:
    """A refusal of a received request is a fault of the tree."""
    with pytest.raises(Fault):
        codec.receive_execution_request(b'{"order": 1}')

"""Requests as most callers write them take a shorter way: what it takes and gives is the same."""

import copy
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution_providers import ExecutionRequest, create_execution_provider
from execution_providers.types import AssetClass, MarketState, Side
from lob.errors import Fault, InvalidInput
from tests.kit.test_codec import ODD, by_rules, outcome, paths
from tests.services.router_harness import request_json
from touchstone.kit import codec
from touchstone.kit.received import ReceivedMarket, bps_of, notional_of

REQUEST: dict[str, Any] = request_json(type="LIMIT", limit_price="100.02")
REQUEST["bar"] = {name: str(value) for name, value in REQUEST["bar"].items()} | {
    "duration_ms": 60_000
}
REQUEST["market"] = {
    "timestamp_ms": 1_700_000_000_000,
    "bids": [["99.99", "50"], ["99.98", "7.5"], ["99.97", "100"]],
    "asks": [["100.01", "60"], ["100.02", "8.25"], ["100.03", "100"]],
    "last_price": "100",
}
NUMBERS: tuple[Any, ...] = (
    *("0.0", "00.10", "1.", ".5", "1.2.3", "1|2", "0" * 21, "9" * 21, "9" * 22, "1e-400", "+1"),
    *("0." + "0" * 19 + "1", "0." + "0" * 20 + "1", "100.00000000000000000001", "99.980", "100.01"),
)


def compact(body: Any) -> bytes:
    """Return JSON without blanks, which is what the shorter way is for."""
    return json.dumps(body, separators=(",", ":")).encode()


def test_the_shorter_way_is_taken() -> None:
    """What the tests below say is said of it."""
    request = codec.decode_execution_request(compact(REQUEST))
    assert type(request.market) is ReceivedMarket


@pytest.mark.parametrize("path", paths(REQUEST), ids=lambda path: ".".join(map(str, path)))
def test_it_takes_and_refuses_what_the_rules_do(path: tuple[Any, ...]) -> None:
    """With every odd value at every place, and without it: word for word."""
    for value in (*ODD, *NUMBERS):
        body = copy.deepcopy(REQUEST)
        at: Any = body
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = value
        encoded = compact(body)
        expected = by_rules(encoded)
        assert expected == outcome(encoded, received=False), encoded
        assert expected == outcome(encoded, received=True), encoded


number = st.builds(
    lambda whole, places, zeros: (
        f"{Decimal(whole).scaleb(-places):f}" + "0" * (zeros if places else 0)
    ),
    st.integers(0, 400),
    st.integers(0, 3),
    st.integers(0, 2),
)
side = st.lists(st.tuples(number, number), max_size=4)


@settings(max_examples=300, deadline=None)
@given(side, side, st.booleans(), st.sampled_from(["BUY", "SELL"]), number)
def test_sides_mean_the_same_however_they_are_read(
    bids: list[Any], asks: list[Any], ordered: bool, way: str, quantity: str
) -> None:
    """Same request, or same refusal; and the same fill, whether or not the depth was looked at."""
    if ordered:
        bids.sort(key=lambda level: -Decimal(level[0]))
        asks = [[str(Decimal(p) + 401), s] for p, s in sorted(asks, key=lambda a: Decimal(a[0]))]
    body = copy.deepcopy(REQUEST)
    body["order"] = {"symbol": "A", "side": way, "quantity": quantity}
    body["market"] |= {"bids": bids, "asks": asks}
    encoded = compact(body)
    expected = by_rules(encoded)
    assert expected == outcome(encoded, received=False)
    if isinstance(expected, ExecutionRequest):
        for level in ("L2", "L3"):
            assert executed(expected, level) == executed(
                codec.decode_execution_request(encoded), level
            )


def executed(request: ExecutionRequest, level: str) -> bytes | str:
    """Return the fill as JSON, or the refusal."""
    provider = create_execution_provider(AssetClass.EQUITY, level, seed=3)
    try:
        fill = provider.execute(request.order, request.market, request.bar)
    except Fault as fault:
        return str(fault)
    assert fill is not None
    return codec.encode_fill(fill)


def test_a_received_market_is_a_market_like_any() -> None:
    """It is equal to the one made by hand, before and after a look; it cannot be changed."""
    market = codec.decode_execution_request(compact(REQUEST)).market
    plain = MarketState(**REQUEST["market"])
    assert (Decimal("99.99"), Decimal(50)) == market.best(Side.BUY) == plain.best(Side.BUY)
    assert (Decimal("100.01"), Decimal(60)) == market.best(Side.SELL) == plain.best(Side.SELL)
    assert plain == market == pickle.loads(pickle.dumps(market))  # noqa: S301 - our own
    assert hash(plain) == hash(market)
    assert 3 == len(market.asks)
    assert market != MarketState(0)
    with pytest.raises(AttributeError):
        market.bids = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        market.nothing  # type: ignore[attr-defined] # noqa: B018


def test_what_is_counted_of_a_fill_is_what_its_decimals_say() -> None:
    """Slippage and value of a received fill are those of the fill that was sent."""
    request = codec.decode_execution_request(compact(REQUEST))
    fill = create_execution_provider(AssetClass.EQUITY, "L3", seed=3).execute(
        request.order, request.market
    )
    assert fill is not None
    received = codec.decode_fill(codec.encode_fill(fill))
    assert bps_of(fill) == bps_of(received) is not None
    assert notional_of(fill) == notional_of(received) is not None
    assert fill == received
    for wrong in ("1|2", "1||2", "", "-", "NaN"):
        with pytest.raises(InvalidInput):
            codec.decode_fill(codec.encode_json(codec.fill_to_json(fill) | {"fees": wrong}))

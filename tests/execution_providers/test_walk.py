"""Where nobody else acts, walking the depth is what a book of that depth does."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from execution_providers import Fill, MarketState, Order, Side, create_execution_provider
from execution_providers.l3 import L3Provider
from execution_providers.l3_arrival import met_alone
from execution_providers.rules import Ended, Working, arm
from execution_providers.walk import fits_a_book, meet
from lob.config import create_l3_config
from lob.errors import Fault, InvalidInput
from lob.types import AssetClass, Instrument
from tests.execution_providers.drawn import requests
from tests.execution_providers.scenes import ladder, markets, orders
from touchstone.kit.codec import fill_to_json

PROPERTY = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
MINIMAL = create_l3_config("minimal")


def provider(asset_class: AssetClass = AssetClass.EQUITY) -> L3Provider:
    """Return an L3 provider without latency."""
    return L3Provider(asset_class, MINIMAL, seed=7)


def both(order: Order, armed: Working, market: MarketState) -> tuple[object, object]:
    """Return what the walk says and what a book of the same market says."""
    made, rng = provider(), Random(1)
    return (
        met_alone(armed, market, 5),
        made._in_book(made._plan(), order, armed, market, None, rng, 5),
    )


@given(data=st.data())
@PROPERTY
def test_a_walk_is_what_the_book_does(data: st.DataObject) -> None:
    """Fills, touch, refusal and the queue ahead are the same, whatever the order."""
    market = data.draw(markets())
    order = data.draw(orders(market))
    armed = arm_or_none(order, market)
    assume(armed is not None)
    assert armed is not None
    walked, booked = both(order, armed, market)
    assert booked == walked


def test_drawn_orders_walk_as_they_do_in_the_book() -> None:
    """Of a few hundred drawn requests, of up to 50 levels and 10 decimals, none differs."""
    compared = 0
    for request, _ in requests(seed=11, count=500):
        armed = arm_or_none(request.order, request.market)
        if armed is None:
            continue
        walked, booked = both(request.order, armed, request.market)
        if walked is not None:  # else the book decides anyway
            assert booked == walked
            compared += 1
    assert compared > 300


def arm_or_none(order: Order, market: MarketState) -> Working | None:
    """Return the order as it goes to the book; None where it does not get there."""
    try:
        armed = arm(order, market)
    except Fault:
        return None
    return None if isinstance(armed, Ended) else armed


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_an_order_waits_behind_its_own_level_alone(side: str) -> None:
    """Third level: 300 are there, and what is nearer the touch is not in its queue."""
    price = "99.97" if side == "BUY" else "100.03"
    order = Order("ABC", side, 10, "LIMIT", price)  # type: ignore[arg-type]
    fill = provider().execute(order, ladder())
    assert fill is not None
    assert "300" == fill.attribution["queue_ahead"]


@pytest.mark.parametrize(
    ("price", "size", "quantity", "field"),
    [
        ("1E+18", 5, 9, "market.asks[0].price"),
        ("101", "1E+20", 9, "market.asks[0].size"),
        ("101", 5, "1E+20", "order.quantity"),
    ],
)
def test_numbers_beyond_64_bits_are_refused_as_the_book_does(
    price: Any, size: Any, quantity: Any, field: str
) -> None:
    """The walk leaves them to the book, which names the field as the request does."""
    market = MarketState(1, asks=((price, size),), last_price=Decimal(100))
    order = Order("ABC", Side.BUY, quantity)
    armed = arm_or_none(order, market)
    assert armed is not None
    assert not fits_a_book(armed, market.asks, Decimal(0))
    with pytest.raises(InvalidInput, match="whole multiples") as refused:
        provider(AssetClass.CRYPTO).execute(order, market)
    assert str(refused.value).startswith(f"{field}: ")


def test_the_finest_digits_are_left_to_the_book() -> None:
    """Ten decimals are beyond the walk's own bound, and the answer is the same."""
    fine = MarketState(1, bids=((99, 1),), asks=(("100.0000000001", 3),))  # type: ignore[arg-type]
    order = Order("ABC", "BUY", 2)  # type: ignore[arg-type]
    armed = arm_or_none(order, fine)
    assert armed is not None
    assert not fits_a_book(armed, fine.asks, Decimal(0))
    fill = provider().execute(order, fine)
    assert fill is not None
    assert Decimal("100.0000000001") == fill.average_price


def test_a_refusal_names_the_level_by_its_place_in_the_request() -> None:
    """The order's own level is the second bid, and no whole number of the instrument's ticks."""
    share = Instrument(
        symbol="ABC",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal("0.02"),
        lot_size=Decimal(1),
    )
    made = create_execution_provider("EQUITY", "L3", config=MINIMAL, instruments={"ABC": share})
    market = MarketState(1, bids=(("99.98", 1), ("99.97", 1)), asks=(("100", 1),))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^market\.bids\[1\]\.price: 99\.97"):
        made.execute(Order("ABC", "BUY", 1, "LIMIT", "99.97"), market)  # type: ignore[arg-type]


def test_a_fill_or_kill_order_takes_all_or_nothing() -> None:
    """At the last lot there is it fills; at one more nothing does."""
    whole = meet(armed_fok(1500), ladder())
    assert (5, Decimal(0), None) == (len(whole.fills), whole.leaves, whole.refused)
    more = meet(armed_fok(1501), ladder())
    assert ((), "FOK_NOT_FILLABLE") == (more.fills, more.refused)


def armed_fok(quantity: int) -> Working:
    """Return a fill-or-kill market order."""
    order = Order("ABC", "SELL", quantity, time_in_force="FOK")  # type: ignore[arg-type]
    armed = arm(order, ladder())
    assert isinstance(armed, Working)
    return armed


def test_answers_do_not_hang_on_the_providers_past() -> None:
    """A provider that has answered others answers as a fresh one does."""
    used = provider()
    asked = [(request.order, request.market) for request, _ in requests(seed=5, count=60)]
    again: list[tuple[object, object]] = []
    for order, market in asked:
        again.append((told(used, order, market), told(provider(), order, market)))
    assert [fresh for _, fresh in again] == [late for late, _ in again]


def told(made: L3Provider, order: Order, market: MarketState) -> object:
    """Return the answer as JSON values, or the text of the refusal."""
    try:
        fill: Fill | None = made.execute(order, market)
    except Fault as fault:
        return str(fault)
    assert fill is not None
    return fill_to_json(fill)

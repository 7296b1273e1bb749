"""Previews say what entering would do, change nothing, and closing closes."""

from decimal import Decimal
from typing import Any

import pytest

from tests.exchange.floor import BTC, Floor
from tests.exchange.perp_venue import PerpVenue
from touchstone.exchange import (
    Bracket,
    CloseRequest,
    EditRequest,
    FailureReason,
    Order,
    OrderStatus,
    Refusal,
    Scaled,
    Twap,
)
from touchstone.exchange.liquidation import liquidation_price
from touchstone.exchange.requests import MarginType


@pytest.fixture
def floor() -> Floor:
    """Asks of 1 at 100,000 and at 101,000, a bid of 1 at 99,000, all of bob's."""
    made = Floor(starting_balance=Decimal(100_000))
    made.enter("bob", "SELL", "1", "100000")
    made.enter("bob", "SELL", "1", "101000")
    made.enter("bob", "BUY", "1", "99000")
    return made


def test_a_market_order_is_priced_over_the_book(floor: Floor) -> None:
    """Average, slippage from the touch, fees and totals are those that entering then gives."""
    request = floor.request("BUY", "1.5", tif="IOC")
    preview = floor.exchange.preview("alice", request)
    assert () == preview.errors
    assert (Decimal(99_000), Decimal(100_000)) == (preview.best_bid, preview.best_ask)
    assert (Decimal("150500.0"), Decimal("45.15")) == (preview.quote_size, preview.commission_total)
    assert Decimal("150545.15") == preview.order_total
    assert Decimal("1.5") == preview.base_size
    entered = floor.exchange.create("alice", request)
    assert isinstance(entered, Order)
    assert (entered.average_price, entered.fees) == (
        preview.average_price,
        preview.commission_total,
    )
    touch = preview.best_ask
    assert (preview.average_price - touch) / touch == preview.slippage


def test_a_limit_order_takes_and_then_makes(floor: Floor) -> None:
    """What crosses pays the taker's fee, what rests the maker's: here none."""
    preview = floor.exchange.preview("alice", floor.request("BUY", "3", "100000"))
    assert (Decimal("300000.0"), Decimal(30)) == (preview.quote_size, preview.commission_total)
    assert Decimal(0) == preview.slippage


def test_the_margin_is_what_the_order_will_hold(floor: Floor) -> None:
    """Leverage and margin are those that would hold; the buffer shrinks by what opens."""
    request = floor.request("BUY", "1", "100000", leverage="5")
    preview = floor.exchange.preview("alice", request)
    assert (Decimal(5), Decimal(10)) == (preview.leverage, preview.max_leverage)
    assert preview.order_margin_total >= Decimal(20_000)
    assert Decimal(100_000) == preview.current_liquidation_buffer
    assert preview.projected_liquidation_buffer < preview.current_liquidation_buffer
    assert preview.predicted_liquidation_price is not None
    before = floor.exchange.margin_requirement("alice")
    floor.enter("alice", "BUY", "1", "98000", leverage="5")
    held = floor.exchange.margin_requirement("alice") - before
    resting = floor.exchange.preview("bob", floor.request("BUY", "1", "98000", leverage="5"))
    assert held > 0
    assert resting.errors == ()


KINDS: list[dict[str, Any]] = [
    {"size": "1", "tif": "IOC"},
    {"tif": "IOC", "quote_size": "50000"},
    {"size": "9", "tif": "FOK"},
    {"size": "1", "limit_price": "98000", "post_only": True},
    {"size": "1", "limit_price": "100000", "post_only": True},
    {"size": "1", "limit_price": "102500", "stop_price": "102000"},
    {"size": "1", "limit_price": "98000", "stop_trigger_price": "104000"},
    {"size": "1", "limit_price": "98000", "attached": Bracket(Decimal(99_000), Decimal(97_000))},
    {"size": "1", "scaled": Scaled(3, Decimal(95_000), Decimal(96_000))},
    {
        "size": "1",
        "limit_price": "98000",
        "tif": "GTD",
        "end_time_ns": 9_000_000_000,
        "twap": Twap(0, 2, Decimal("0.5"), 1_000_000_000),
    },
    {"size": "1", "limit_price": "98000", "tif": "GTD", "end_time_ns": 0},
    {"size": "1", "limit_price": "98000.05"},
    {"size": "1", "limit_price": "98000", "leverage": "11"},
    {"size": "11", "limit_price": "98000"},
    {"size": "1", "limit_price": "98000", "reduce_only": True},
]


@pytest.mark.parametrize("terms", KINDS)
def test_a_preview_refuses_what_entry_refuses_and_changes_nothing(
    floor: Floor, terms: dict[str, Any]
) -> None:
    """The errors are entry's own refusals, whatever the kind, and the venue is as it was."""
    floor.wait(1)
    floor.exchange.drain()
    terms = {"side": "BUY", **terms}
    if terms.get("end_time_ns"):
        terms["end_time_ns"] = floor.at(9)
    request = floor.request(**terms)
    before = floor.exchange.state_hash()
    preview = floor.exchange.preview("alice", request)
    assert before == floor.exchange.state_hash()
    assert preview == floor.exchange.preview("alice", request)
    assert ((), (), {}) == tuple(
        getattr(floor.exchange.drain(), name) for name in ("orders", "trades", "levels")
    )
    result = floor.exchange.create("alice", request)
    assert ((result,) if isinstance(result, Refusal) else ()) == preview.errors


def test_an_unknown_product_has_no_figures(floor: Floor) -> None:
    """Only the refusal."""
    request = CloseRequest(client_order_id="x", product_id="BTC-USD")
    refused = floor.exchange.close_position("alice", request)
    assert isinstance(refused, Refusal)
    assert FailureReason.INVALID_PRODUCT_ID is refused.reason


def test_an_edit_is_previewed(floor: Floor) -> None:
    """What is left at the new terms, with what it would take at once."""
    order = floor.enter("alice", "BUY", "2", "98000")
    preview = floor.exchange.preview_edit(
        "alice", EditRequest(order_id=order.order_id, price=Decimal(100_000), size=Decimal(3))
    )
    assert () == preview.errors
    assert (Decimal(3), Decimal(100_000), Decimal(30)) == (
        preview.base_size,
        preview.average_price,
        preview.commission_total,
    )
    assert order == floor.now(order)


# -------------------------------------------------------------------- closing


def test_closing_closes_all_or_a_part(floor: Floor) -> None:
    """At market, reduce-only; a repeated client id returns the same order."""
    floor.enter("alice", "BUY", "1", "100000")
    part = floor.exchange.close_position(
        "alice", CloseRequest(client_order_id="p", product_id=BTC, size=Decimal("0.4"))
    )
    assert isinstance(part, Order)
    assert (OrderStatus.FILLED, Decimal("0.6")) == (part.status, floor.position("alice"))
    whole = CloseRequest(client_order_id="w", product_id=BTC)
    order = floor.exchange.close_position("alice", whole)
    assert isinstance(order, Order)
    assert (Decimal(0), Decimal("0.6")) == (floor.position("alice"), order.filled_size)
    assert order == floor.exchange.close_position("alice", whole)


def test_there_must_be_something_to_close(floor: Floor) -> None:
    """A flat position, and more than is held, are refused."""
    flat = floor.exchange.close_position("alice", CloseRequest(client_order_id="x", product_id=BTC))
    assert isinstance(flat, Refusal)
    assert FailureReason.CANNOT_CLOSE_ZERO_POSITION is flat.reason
    floor.enter("alice", "BUY", "1", "100000")
    more = floor.exchange.close_position(
        "alice", CloseRequest(client_order_id="y", product_id=BTC, size=Decimal(2))
    )
    assert isinstance(more, Refusal)
    assert FailureReason.REDUCE_ONLY_INCREASED_POSITION_SIZE is more.reason


# -------------------------------------------------------------------- cancelling


def test_cancels_in_every_state(floor: Floor) -> None:
    """Waiting, resting, partly filled and slicing orders end; ended ones say how they ended."""
    floor.enter("alice", "BUY", "1", "100000")
    entered = [
        floor.enter("alice", "BUY", "1", "98000"),
        floor.enter("alice", "BUY", "1", "102500", stop_price="102000"),
        floor.enter("alice", "SELL", "1", "105000", stop_trigger_price="95000"),
        floor.enter("alice", "BUY", "1", scaled=Scaled(3, Decimal(95_000), Decimal(96_000))),
        floor.enter(
            "alice",
            "BUY",
            "1",
            "98000",
            "GTD",
            end_time_ns=floor.at(9),
            twap=Twap(floor.at(1), 2, Decimal("0.5"), 1_000_000_000),
        ),
        floor.enter("alice", "BUY", "1", "98000", "GTD", end_time_ns=floor.at(1)),
    ]
    floor.wait(1)
    ids = [order.order_id for order in entered]
    results = floor.exchange.cancel("alice", ids)
    assert [True] * 5 + [False] == [result.success for result in results]
    assert "INVALID_CANCEL_REQUEST" == results[-1].failure
    again = floor.exchange.cancel("alice", ids[:5])
    assert {"DUPLICATE_CANCEL_REQUEST"} == {str(result.failure) for result in again}
    assert [] == floor.exchange.open_orders("alice")
    floor.enter("alice", "SELL", "1", "99000")
    assert Decimal(0) == floor.exchange.margin_requirement("alice")
    assert all(name not in {"slice", "expiry"} for _, name, _ in floor.exchange.schedule.timers())
    floor.exchange.check()


def test_a_batch_of_a_hundred(floor: Floor) -> None:
    """One result each, in the order asked."""
    ids = [floor.enter("alice", "BUY", "0.001", "90000").order_id for _ in range(100)]
    results = floor.exchange.cancel("alice", reversed(ids))
    assert list(reversed(ids)) == [result.order_id for result in results]
    assert all(result.success for result in results)


@pytest.mark.parametrize("margin_type", list(MarginType))
@pytest.mark.parametrize(
    ("held", "traded", "mark", "price"),
    [
        (0, 2, "100000", "100000"),
        (1, 1, "103000", "101000"),
        (2, -1, "98000", "97500"),
        (1, -2, "103000", "102000"),
        (1, -2, "97000", "96000"),
        (-1, 3, "97000", "97500"),
        (2, -2, "100000", "100000"),
    ],
)
def test_the_margin_of_a_preview_is_that_of_the_trade(
    margin_type: MarginType, held: int, traded: int, mark: str, price: str
) -> None:
    """Growing, shrinking and turning a position leave what the preview has said."""
    venue = PerpVenue({"alice": "300000", "bob": "100000000"})
    for lots, at in ((held, "100000"), (traded, price)):
        side, other = ("BUY", "SELL") if lots > 0 else ("SELL", "BUY")
        if lots:
            venue.order("bob", other, str(abs(lots)), at)
            request = venue.request(
                side, str(abs(lots)), at, leverage=Decimal(5), margin_type=margin_type
            )
            preview = venue.exchange.preview("alice", request)
            assert isinstance(venue.exchange.create("alice", request), Order)
        if at != price:
            venue.index(mark)
            venue.clearing.sample_marks()
    scope = venue.clearing.scope("alice", BTC if margin_type is MarginType.ISOLATED else "")
    assert scope.equity - scope.maintenance == preview.projected_liquidation_buffer
    prices = [liquidation_price(one, scope) for one in scope.held] or [None]
    assert prices == [preview.predicted_liquidation_price]

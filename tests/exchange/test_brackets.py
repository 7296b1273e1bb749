"""Brackets: a take-profit and a stop on one quantity, by themselves or attached to an order."""

from decimal import Decimal

import pytest

from tests.exchange.floor import Floor
from touchstone.exchange import (
    Bracket,
    Order,
    OrderKind,
    OrderStatus,
    StopDirection,
    TriggerStatus,
)
from touchstone.exchange.reasons import EndReason

ATTACHED = Bracket(Decimal(105_000), Decimal(95_000))


@pytest.fixture
def floor() -> Floor:
    """An empty book."""
    return Floor()


def bracket(floor: Floor, size: str = "1", **options: object) -> Order:
    """Let alice buy and bracket what she holds: profit at 105,000, stop at 95,000."""
    floor.hold("alice", "BUY", size)
    return floor.enter("alice", "SELL", size, "105000", stop_trigger_price="95000", **options)


def child_of(floor: Floor, parent: Order) -> Order:
    """Return the bracket that is attached to an order, as it stands now."""
    found = floor.exchange.order(parent.account, parent.attached_order_id)
    assert found is not None
    return found


# -------------------------------------------------------------------- by itself


def test_a_bracket_rests_at_its_profit_and_waits_for_its_stop(floor: Floor) -> None:
    """One OPEN order: the limit is in the book, the stop is pending."""
    order = bracket(floor)
    assert (OrderKind.BRACKET, OrderStatus.OPEN, TriggerStatus.STOP_PENDING, True) == (
        order.kind,
        order.status,
        order.trigger,
        order.in_book,
    )
    floor.enter("bob", "BUY", "1", "105000")
    assert (OrderStatus.FILLED, Decimal(105_000)) == (
        floor.now(order).status,
        floor.now(order).average_price,
    )
    floor.enter("dave", "BUY", "1", "94000")
    floor.trade("95000")
    assert Decimal(1) == floor.now(order).filled_size
    assert Decimal(0) == floor.position("alice")
    floor.exchange.check()


def test_the_stop_leg_takes_the_place_of_the_profit(floor: Floor) -> None:
    """A trade at the trigger takes the limit out and sells at up to 5 % below the trigger."""
    order = bracket(floor)
    floor.enter("bob", "BUY", "0.4", "93000")
    floor.trade("95000")
    after = floor.now(order)
    assert (TriggerStatus.STOP_TRIGGERED, Decimal("0.4"), Decimal(90_250)) == (
        after.trigger,
        after.filled_size,
        after.limit_price,
    )
    _, asks = floor.exchange.markets[order.product.product_id].levels(9)
    assert [(Decimal(90_250), Decimal("0.6"))] == [(ask.price, ask.quantity) for ask in asks]
    floor.enter("bob", "BUY", "2", "106000")
    assert (OrderStatus.FILLED, Decimal(1)) == (floor.now(order).status, floor.now(order).size)


def test_what_the_profit_has_closed_the_stop_does_not_close_again(floor: Floor) -> None:
    """The stop leg is as large as what the take-profit has left."""
    order = bracket(floor)
    floor.enter("bob", "BUY", "0.7", "105000")
    floor.enter("bob", "BUY", "5", "94000")
    floor.trade("95000")
    after = floor.now(order)
    assert (OrderStatus.FILLED, Decimal(1), 2) == (
        after.status,
        after.filled_size,
        after.fill_count,
    )
    assert Decimal(0) == floor.position("alice")


def test_a_bracket_that_buys_is_the_mirror_image(floor: Floor) -> None:
    """Profit below, stop above, and the stop leg buys at up to 5 % more."""
    floor.hold("alice", "SELL", "1")
    order = floor.enter("alice", "BUY", "1", "95000", stop_trigger_price="104000.1")
    floor.trade("104000.1")
    after = floor.now(order)
    assert (TriggerStatus.STOP_TRIGGERED, Decimal("109200.2")) == (after.trigger, after.limit_price)


def test_a_gtd_bracket_expires_with_both_legs(floor: Floor) -> None:
    """Neither the limit nor the stop outlives the end time."""
    order = bracket(floor, tif="GTD", end_time_ns=floor.at(5))
    floor.wait(5)
    floor.enter("bob", "BUY", "1", "94000")
    floor.trade("95000")
    floor.enter("bob", "BUY", "1", "106000")
    assert (OrderStatus.EXPIRED, 0) == (floor.now(order).status, floor.now(order).fill_count)


def test_a_cancelled_bracket_is_gone_from_both_sides(floor: Floor) -> None:
    """Before the trigger and after it."""
    first = bracket(floor)
    floor.exchange.cancel("alice", [first.order_id])
    second = bracket(floor)
    floor.trade("95000")
    assert TriggerStatus.STOP_TRIGGERED is floor.now(second).trigger
    floor.exchange.cancel("alice", [second.order_id])
    assert {OrderStatus.CANCELLED} == {floor.now(first).status, floor.now(second).status}
    assert len(floor.exchange.markets[first.product.product_id].book) == 0
    floor.exchange.check()


@pytest.mark.parametrize(
    ("side", "limit", "trigger", "preview"),
    [
        ("SELL", "94000", "95000", "PREVIEW_INVALID_BRACKET_PRICES"),
        ("BUY", "105000", "104000", "PREVIEW_INVALID_BRACKET_PRICES"),
        ("SELL", "105000", "100000", "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE"),
        ("BUY", "95000", "100000", "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE"),
        ("SELL", "105000", "95000.01", "PREVIEW_INVALID_STOP_PRICE_PRECISION"),
    ],
)
def test_brackets_have_to_stand_on_both_sides(
    floor: Floor, side: str, limit: str, trigger: str, preview: str
) -> None:
    """The stop lies on the losing side of the last trade, the profit beyond it."""
    refusal = floor.refuse("alice", side, "1", limit, stop_trigger_price=trigger)
    assert preview == refusal.preview


# -------------------------------------------------------------------- attached


def test_an_attached_bracket_grows_with_the_fills(floor: Floor) -> None:
    """PENDING without a size at first; after each fill it closes what has traded."""
    parent = floor.enter("alice", "BUY", "1", "100000", attached=ATTACHED)
    child = child_of(floor, parent)
    assert (OrderStatus.PENDING, Decimal(0), parent.order_id) == (
        child.status,
        child.size,
        child.originating_order_id,
    )
    floor.enter("bob", "SELL", "0.3", "100000")
    child = child_of(floor, parent)
    assert (OrderStatus.OPEN, Decimal("0.3"), Decimal(105_000)) == (
        child.status,
        child.leaves,
        child.limit_price,
    )
    floor.enter("bob", "SELL", "0.7", "100000")
    assert Decimal(1) == child_of(floor, parent).leaves
    floor.enter("bob", "BUY", "1", "105000")
    assert OrderStatus.FILLED is child_of(floor, parent).status
    assert Decimal(0) == floor.position("alice")
    floor.exchange.check()


def test_an_attached_bracket_stops_out_what_has_traded(floor: Floor) -> None:
    """A fall to the trigger closes the fills so far; later fills are closed in their turn."""
    parent = floor.enter("alice", "BUY", "1", "100000", attached=ATTACHED)
    floor.enter("bob", "SELL", "0.3", "100000")
    floor.exchange.cancel("alice", [parent.order_id])
    floor.enter("bob", "BUY", "2", "94000")
    floor.trade("95000")
    child = child_of(floor, parent)
    assert (OrderStatus.FILLED, Decimal("0.3"), Decimal(0)) == (
        child.status,
        child.filled_size,
        floor.position("alice"),
    )


def test_a_bracket_that_has_closed_all_goes_on_with_its_order(floor: Floor) -> None:
    """As long as the order works there may be more to close; with its end it is FILLED."""
    parent = floor.enter("alice", "BUY", "1", "100000", attached=ATTACHED)
    floor.enter("bob", "SELL", "0.3", "100000")
    floor.enter("bob", "BUY", "0.3", "105000")
    child = child_of(floor, parent)
    assert (OrderStatus.OPEN, Decimal(0)) == (child.status, child.leaves)
    floor.enter("bob", "SELL", "0.2", "100000")
    assert Decimal("0.2") == child_of(floor, parent).leaves
    floor.enter("bob", "BUY", "0.2", "105000")
    floor.exchange.cancel("alice", [parent.order_id])
    child = child_of(floor, parent)
    assert (OrderStatus.FILLED, Decimal("0.5")) == (child.status, child.filled_size)
    floor.exchange.check()


@pytest.mark.parametrize("tif", ["GTC", "FOK"])
def test_without_a_fill_nothing_is_bracketed(floor: Floor, tif: str) -> None:
    """The bracket ends with its order."""
    parent = floor.enter("alice", "BUY", "1", "100000", tif, attached=ATTACHED)
    floor.exchange.cancel("alice", [parent.order_id])
    child = child_of(floor, parent)
    assert (OrderStatus.CANCELLED, EndReason.NOTHING_TO_BRACKET) == (child.status, child.end_reason)


def test_a_market_order_is_bracketed_at_once(floor: Floor) -> None:
    """The child works when the command that entered both is done."""
    floor.enter("bob", "SELL", "1", "100000")
    parent = floor.enter("alice", "BUY", "1", tif="IOC", attached=ATTACHED)
    assert (OrderStatus.OPEN, Decimal(1)) == (
        child_of(floor, parent).status,
        child_of(floor, parent).leaves,
    )


def test_a_bracket_attached_to_a_stop_waits_for_both(floor: Floor) -> None:
    """The stop triggers, trades, and only then there is something to bracket."""
    parent = floor.enter("alice", "BUY", "1", "102000", stop_price="101000", attached=ATTACHED)
    floor.enter("bob", "SELL", "1", "101500")
    assert OrderStatus.PENDING is child_of(floor, parent).status
    floor.trade("101000")
    assert OrderStatus.FILLED is floor.now(parent).status
    assert (OrderStatus.OPEN, Decimal(1)) == (
        child_of(floor, parent).status,
        child_of(floor, parent).leaves,
    )


def test_an_attached_bracket_only_closes(floor: Floor) -> None:
    """Closing the position by hand takes the bracket down to what is left, and then away."""
    parent = floor.enter("alice", "BUY", "1", "100000", attached=ATTACHED)
    floor.enter("bob", "SELL", "1", "100000")
    floor.enter("bob", "BUY", "1", "99000")
    floor.enter("alice", "SELL", "0.4", "99000")
    assert Decimal("0.6") == child_of(floor, parent).leaves
    floor.enter("alice", "SELL", "0.6", "99000")
    child = child_of(floor, parent)
    assert (OrderStatus.CANCELLED, EndReason.REDUCE_ONLY) == (child.status, child.end_reason)
    floor.exchange.check()


@pytest.mark.parametrize(
    ("attached", "preview"),
    [
        (Bracket(Decimal(99_000), Decimal(95_000)), "PREVIEW_INVALID_ATTACHED_TAKE_PROFIT_PRICE"),
        (Bracket(Decimal(105_000), Decimal(100_000)), "PREVIEW_INVALID_ATTACHED_STOP_LOSS_PRICE"),
        (
            Bracket(Decimal("105000.01"), Decimal(95_000)),
            "PREVIEW_INVALID_ATTACHED_TAKE_PROFIT_PRICE_PRECISION",
        ),
        (
            Bracket(Decimal(105_000), Decimal("95000.01")),
            "PREVIEW_INVALID_ATTACHED_STOP_LOSS_PRICE_PRECISION",
        ),
    ],
)
def test_an_attached_bracket_has_to_fit_its_order(
    floor: Floor, attached: Bracket, preview: str
) -> None:
    """Profit beyond the entry price, stop before it, both in whole ticks."""
    assert preview == floor.refuse("alice", "BUY", "1", "100000", attached=attached).preview


def test_a_bracket_is_not_attached_to_a_bracket(floor: Floor) -> None:
    """Only to market, limit and stop-limit orders."""
    refusal = floor.refuse(
        "alice", "BUY", "1", "95000", stop_trigger_price="105000", attached=ATTACHED
    )
    assert "PREVIEW_INVALID_ORDER_CONFIG" == refusal.preview


def test_an_order_that_only_reduces_leaves_nothing_to_bracket(floor: Floor) -> None:
    """Its bracket would open a position, so it does not trade, however good the price."""
    floor.enter("bob", "SELL", "1", "96000")
    floor.enter("alice", "BUY", "1", "96000")
    floor.enter("carol", "SELL", "0.1", "96900")
    parent = floor.enter(
        "alice", "SELL", "0.5", "97000", attached=Bracket(Decimal(96_500), Decimal(103_000))
    )
    floor.enter("dave", "SELL", "1", "96000", stop_price="96900", stop_direction=StopDirection.UP)
    floor.enter("bob", "BUY", "0.6", "97000")
    child = child_of(floor, parent)
    assert (OrderStatus.FILLED, Decimal("0.5")) == (
        floor.now(parent).status,
        floor.position("alice"),
    )
    assert (OrderStatus.CANCELLED, 0) == (child.status, child.fill_count)
    assert EndReason.REDUCE_ONLY is child.end_reason
    floor.exchange.check()

"""Prices far from the market, brackets beside brackets, edits that would slip past the rules."""

from decimal import Decimal

import pytest

from lob.errors import ConfigError
from tests.exchange.floor import BTC, SECOND_NS, Floor
from touchstone.exchange import (
    Bracket,
    CloseRequest,
    EditFailure,
    FailureReason,
    Order,
    OrderStatus,
    Scaled,
    StopDirection,
    TriggerStatus,
    Twap,
)
from touchstone.exchange.reasons import EndReason

ATTACHED = Bracket(Decimal(105_000), Decimal(95_000))


@pytest.fixture
def floor() -> Floor:
    """An empty book; the mark is at 100,000."""
    return Floor()


def child_of(floor: Floor, parent: Order) -> Order:
    """Return the bracket that is attached to an order, as it stands now."""
    found = floor.exchange.order(parent.account, parent.attached_order_id)
    assert found is not None
    return found


# -------------------------------------------------------------------- far from the market


@pytest.mark.parametrize(
    "terms",
    [
        {"side": "BUY", "limit_price": "9999.9"},
        {"side": "SELL", "limit_price": "1000000.1", "reduce_only": True},
        {"side": "BUY", "limit_price": "999000", "stop_price": "1000001"},
        {"side": "SELL", "limit_price": "999999999999999", "stop_trigger_price": "95000"},
        {"side": "SELL", "limit_price": "105000", "stop_trigger_price": "9000"},
        {"side": "BUY", "scaled": Scaled(2, Decimal(9_000), Decimal(90_000))},
        {"side": "BUY", "scaled": Scaled(2, Decimal(90_000), Decimal(1_000_001))},
        {"side": "BUY", "limit_price": "90000", "attached": Bracket(Decimal(10**9), Decimal(8**5))},
        {"side": "BUY", "limit_price": "90000", "attached": Bracket(Decimal(10**5), Decimal(9))},
    ],
)
def test_prices_far_from_the_mark_are_refused(floor: Floor, terms: dict[str, str]) -> None:
    """None of an order's prices may be beyond ten times the mark, or below a tenth of it."""
    floor.hold("alice", "BUY", "1")
    if "stop_price" in terms:
        terms = {**terms, "limit_price": "1000002"}
    refusal = floor.refuse("alice", **{"size": "1", **terms})
    assert FailureReason.LIMIT_PRICE_TOO_FAR_FROM_MARKET is refusal.reason
    assert "PREVIEW_LIMIT_PRICE_TOO_FAR_FROM_MARKET" == refusal.preview


def test_the_collar_can_be_set(floor: Floor) -> None:
    """Within it prices are taken as they come, at its edges, too."""
    narrow = Floor(price_collar=Decimal("1.25"))
    assert narrow.enter("alice", "BUY", "1", "80000").live
    assert narrow.enter("alice", "SELL", "1", "125000").live
    for price in ("79999.9", "125000.1"):
        refusal = narrow.refuse("alice", "BUY", "1", price)
        assert FailureReason.LIMIT_PRICE_TOO_FAR_FROM_MARKET is refusal.reason
    assert floor.enter("alice", "BUY", "1", "10000").live
    with pytest.raises(ConfigError, match="price_collar: 1; allowed: above 1"):
        Floor(price_collar=Decimal(1))


def test_an_edit_goes_no_further_than_an_order(floor: Floor) -> None:
    """Price, stop and attached prices are held against the mark as those of new orders are."""
    order = floor.enter("alice", "BUY", "1", "99000", attached=ATTACHED)
    plain = floor.enter("alice", "BUY", "1", "99000")
    stop = floor.enter("alice", "BUY", "1", "101500", stop_price="101000")
    for result in (
        floor.edit(plain, price="9000", size="1"),
        floor.edit(stop, price="2000000", size="1", stop_price="1900000"),
        floor.edit(order, price="99000", size="1", attached=Bracket(Decimal(10**7), Decimal(9))),
    ):
        assert result.refusal is not None
        assert EditFailure.INVALID_EDITED_PRICE is result.refusal.reason
        assert "PREVIEW_LIMIT_PRICE_TOO_FAR_FROM_MARKET" == result.refusal.preview_reason


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1E+400", "-1", "-0"])
def test_numbers_that_are_none_are_refused(floor: Floor, value: str) -> None:
    """Whatever field they stand in, of an order or of an edit."""
    for terms in (
        {"size": value, "limit_price": "99000"},
        {"quote_size": value, "limit_price": "99000"},
        {"size": "1", "limit_price": value},
        {"size": "1", "limit_price": "99000", "leverage": value},
    ):
        floor.refuse("alice", "BUY", **terms)
    order = floor.enter("alice", "BUY", "1", "99000")
    floor.enter("bob", "SELL", "0.5", "99000")
    for price, size in (("99000", value), (value, "1")):
        assert floor.edit(order, price=price, size=size).refusal is not None


# -------------------------------------------------------------------- stop and limit


def test_a_stop_has_to_reach_its_limit(floor: Floor) -> None:
    """A stop that buys on a rise has its limit there or higher, one that sells on a fall lower."""
    for side, limit, stop, above in (
        ("BUY", "100900", "101000", "ABOVE"),
        ("SELL", "99100", "99000", "BELOW"),
    ):
        refusal = floor.refuse("alice", side, "1", limit, stop_price=stop)
        assert f"PREVIEW_STOP_PRICE_{above}_LIMIT_PRICE" == refusal.preview
        order = floor.enter("alice", side, "1", stop, stop_price=stop)
        edit = floor.edit(order, price=limit, size="1").refusal
        assert edit is not None
        assert f"PREVIEW_STOP_PRICE_{above}_LIMIT_PRICE" == edit.preview_reason
    waits = {"stop_price": "99000", "stop_direction": StopDirection.DOWN}
    assert floor.enter("alice", "BUY", "1", "98000", **waits).live


# -------------------------------------------------------------------- brackets


def test_brackets_together_close_no_more_than_is_held(floor: Floor) -> None:
    """Two halves are fine; one more could turn the position when all of them fill."""
    floor.hold("alice", "BUY", "1")
    terms = {"stop_trigger_price": "95000"}
    halves = [floor.enter("alice", "SELL", "0.5", "105000", **terms) for _ in range(2)]
    refusal = floor.refuse("alice", "SELL", "0.1", "106000", **terms)
    assert FailureReason.OPEN_BRACKET_ORDERS is refusal.reason
    assert "PREVIEW_ORDER_SIZE_EXCEEDS_BRACKETED_POSITION" == refusal.preview
    floor.enter("bob", "BUY", "5", "95000")
    floor.trade("95000")
    assert {OrderStatus.FILLED} == {floor.now(half).status for half in halves}
    assert Decimal(0) == floor.position("alice")


@pytest.mark.parametrize(
    ("side", "size", "preview"),
    [
        ("BUY", "1", "PREVIEW_INVALID_BRACKET_ORDER_SIDE"),
        ("SELL", "1.1", "PREVIEW_BRACKET_ORDER_SIZE_EXCEEDS_POSITION"),
    ],
)
def test_a_bracket_is_of_a_position(floor: Floor, side: str, size: str, preview: str) -> None:
    """It closes what is held, so it is on the other side and no larger."""
    floor.hold("alice", "BUY", "1")
    limit, stop = ("95000", "105000") if side == "BUY" else ("105000", "95000")
    refusal = floor.refuse("alice", side, size, limit, stop_trigger_price=stop)
    assert preview == refusal.preview


def test_a_bracket_goes_with_its_position(floor: Floor) -> None:
    """Closed in another way, there is nothing that it could open the other side with."""
    floor.hold("alice", "BUY", "1")
    order = floor.enter("alice", "SELL", "1", "105000", stop_trigger_price="95000")
    floor.hold("alice", "SELL", "1")
    assert (OrderStatus.CANCELLED, EndReason.REDUCE_ONLY) == (
        floor.now(order).status,
        floor.now(order).end_reason,
    )


def test_a_triggered_stop_outlives_the_profit_beside_it(floor: Floor) -> None:
    """Both would close the same position; the one that is to get out now stays."""
    floor.hold("alice", "BUY", "1")
    profit = floor.enter("alice", "SELL", "1", "110000", reduce_only=True)
    stop = floor.enter("alice", "SELL", "1", "94000", stop_price="95000", reduce_only=True)
    floor.trade("95000")
    assert OrderStatus.CANCELLED is floor.now(profit).status
    assert (OrderStatus.OPEN, TriggerStatus.STOP_TRIGGERED) == (
        floor.now(stop).status,
        floor.now(stop).trigger,
    )
    floor.enter("bob", "BUY", "1", "94500")
    assert Decimal(0) == floor.position("alice")
    floor.exchange.check()


def test_an_attached_bracket_outlives_a_trade_with_itself(floor: Floor) -> None:
    """What it lost goes, as of any order; what its order then trades is closed all the same."""
    parent = floor.enter("alice", "BUY", "2", "100000", attached=ATTACHED)
    floor.enter("bob", "SELL", "1", "100000")
    floor.enter("alice", "BUY", "1", "105000")
    lost = child_of(floor, parent)
    assert (OrderStatus.OPEN, Decimal(0)) == (lost.status, lost.leaves)
    floor.enter("bob", "SELL", "0.5", "100000")
    assert Decimal("1.5") == child_of(floor, parent).leaves == floor.position("alice")
    floor.exchange.check()
    floor.enter("dave", "BUY", "2", "94000")
    floor.exchange.cancel("alice", [parent.order_id])
    floor.trade("95000")
    assert Decimal(0) == floor.position("alice")
    floor.exchange.check()


# -------------------------------------------------------------------- edits


def test_an_edit_needs_the_margin_of_the_leverage_that_holds() -> None:
    """An order entered at ten times cannot grow at ten times after the product went to one."""
    floor = Floor(starting_balance=Decimal(100_000))
    order = floor.enter("alice", "BUY", "0.1", "90000", leverage="10")
    floor.enter("alice", "BUY", "0.001", "80000", leverage="1")
    refusal = floor.edit(order, price="90000", size="5").refusal
    assert refusal is not None
    assert "PREVIEW_INSUFFICIENT_FUND" == refusal.preview_reason
    assert floor.exchange.margin_requirement("alice") < floor.exchange.equity("alice")


def test_an_entry_stays_between_the_ends_of_its_bracket(floor: Floor) -> None:
    """Its new price is held against the bracket it has, unless that goes or moves with it."""
    parent = floor.enter("alice", "BUY", "1", "99000", attached=ATTACHED)
    for price, end in (("105000", "TAKE_PROFIT"), ("95000", "STOP_LOSS")):
        refusal = floor.edit(parent, price=price, size="1").refusal
        assert refusal is not None
        assert f"PREVIEW_INVALID_ATTACHED_{end}_PRICE" == refusal.preview_reason
    lower = Bracket(Decimal(96_000), Decimal(93_000))
    assert floor.edit(parent, price="95000", size="1", attached=lower).order
    assert floor.edit(parent, price="92000", size="1", cancel_attached=True).order


def test_a_working_bracket_is_not_moved_onto_the_last_trade(floor: Floor) -> None:
    """Its new stop would be reached already: refused as that of a new bracket is."""
    parent = floor.enter("alice", "BUY", "2", "100000", attached=ATTACHED)
    floor.enter("bob", "SELL", "1", "100000")
    floor.cancel_all("bob")
    floor.edit(parent, price="99000", size="2")
    floor.trade("99500")
    moved = Bracket(Decimal(105_000), Decimal(98_900))
    assert floor.edit(parent, price="99000", size="2", attached=moved).order
    parent = floor.now(parent)
    floor.edit(parent, price="99800", size="2")
    reached = Bracket(Decimal(105_000), Decimal(99_600))
    refusal = floor.edit(parent, price="99800", size="2", attached=reached).refusal
    assert refusal is not None
    assert "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE" == refusal.preview_reason
    assert TriggerStatus.STOP_PENDING is child_of(floor, parent).trigger


def test_a_stop_for_an_order_without_one_is_refused(floor: Floor) -> None:
    """It is not left out in silence."""
    order = floor.enter("alice", "BUY", "1", "99000")
    refusal = floor.edit(order, price="98000", size="1", stop_price="97000").refusal
    assert refusal is not None
    assert EditFailure.COMMANDER_REJECTED_EDIT_ORDER is refusal.reason
    assert Decimal(99_000) == floor.now(order).limit_price


# -------------------------------------------------------------------- ids


def test_a_customer_may_have_used_the_name_of_a_child_to_be() -> None:
    """The child comes, the customer's id stays the customer's, and both can be forgotten."""
    floor = Floor(history_limit=2)
    twin = Floor(history_limit=2)
    twin.enter("alice", "BUY", "1", "80000")
    name = twin.enter("alice", "BUY", "1", "99000", attached=ATTACHED).attached_order_id
    taken = floor.enter("alice", "BUY", "1", "80000", client_order_id=name)
    parent = floor.enter("alice", "BUY", "1", "99000", attached=ATTACHED)
    assert name == parent.attached_order_id
    assert (
        taken.order_id == floor.enter("alice", "BUY", "1", "80000", client_order_id=name).order_id
    )
    floor.cancel_all("alice")
    for _ in range(4):
        floor.enter("alice", "BUY", "1", "80000")
        floor.cancel_all("alice")
    assert floor.enter("alice", "BUY", "1", "80000", client_order_id=name).live


# -------------------------------------------------------------------- time


def test_a_far_end_does_not_make_more_slices(floor: Floor) -> None:
    """A TWAP whose limit nobody meets is tried 10,000 times after its buckets, however long."""
    day_ns = 86_400 * SECOND_NS
    twap = Twap(0, 2, Decimal("0.01"), SECOND_NS)
    order = floor.enter("alice", "BUY", "0.02", "99000", "GTD", end_time_ns=day_ns, twap=twap)
    floor.wait(2)
    times = [ns for ns, name, _ in floor.exchange.schedule.timers() if name == "slice"]
    assert [SECOND_NS + day_ns // 10_000] == times
    floor.enter("bob", "SELL", "1", "99000")
    floor.wait(9)
    assert OrderStatus.FILLED is floor.now(order).status


def test_each_slice_is_worth_an_order(floor: Floor) -> None:
    """A bucket below the smallest order is refused, as the order by itself would be."""
    for bucket, refused in (("0.0001", True), ("0.0002", False)):
        twap = Twap(0, 200, Decimal(bucket), SECOND_NS)
        terms = {"end_time_ns": floor.at(500), "twap": twap}
        request = floor.request("BUY", "0.02", "60000", "GTD", **terms)
        errors = floor.exchange.preview("alice", request).errors
        reasons = ["PREVIEW_BUCKET_SIZE_SMALLER_THAN_QUOTE_MIN"] if refused else []
        assert reasons == [error.preview for error in errors]


# ------------------------------------------------------------------ what a close leaves behind


def test_a_close_takes_orders_with_it_that_nobody_can_pay_for() -> None:
    """Sells that a long position covered are cancelled with it, newest first, until margin fits."""
    floor = Floor(starting_balance=Decimal(110_000))
    floor.enter("bob", "SELL", "10", "100000")
    floor.enter("alice", "BUY", "10", "100000", leverage=Decimal(10))
    # A short of 10 in the end: that is what both have margin for.
    sells = [floor.enter("alice", "SELL", "5", price) for price in ("101000", "101010", "101020")]
    floor.enter("bob", "BUY", "10", "99990")
    closed = floor.exchange.close_position(
        "alice", CloseRequest(client_order_id="close", product_id=BTC)
    )
    assert isinstance(closed, Order)
    assert OrderStatus.FILLED is closed.status
    states = [floor.exchange.order("alice", order.order_id) for order in sells]
    assert ["OPEN", "OPEN", "CANCELLED"] == [str(state.status) for state in states if state]
    assert states[2] is not None
    assert EndReason.UNFUNDED is states[2].end_reason
    assert floor.exchange.margin_requirement("alice") <= floor.exchange.equity("alice")
    floor.exchange.check()


def test_a_close_leaves_orders_that_are_paid_for() -> None:
    """With money enough for what is left, a close cancels nothing."""
    floor = Floor()
    floor.enter("bob", "SELL", "10", "100000")
    floor.enter("alice", "BUY", "10", "100000")
    floor.enter("alice", "SELL", "10", "101000")
    floor.enter("bob", "BUY", "10", "99990")
    floor.exchange.close_position("alice", CloseRequest(client_order_id="close", product_id=BTC))
    assert 1 == len(floor.exchange.open_orders("alice"))

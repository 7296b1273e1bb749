"""Edits: what may change, what it does to the queue, and every refusal."""

from decimal import Decimal
from typing import Any

import pytest

from tests.exchange.floor import BTC, Floor
from touchstone.exchange import Bracket, EditFailure, EditRequest, OrderStatus, Scaled
from touchstone.exchange.editing import EDITS_MAX


@pytest.fixture
def floor() -> Floor:
    """An empty book."""
    return Floor()


def ahead(floor: Floor, number: int) -> int:
    """Return how many orders stand before one at its price."""
    position = floor.exchange.markets[BTC].book.queue_position(number)
    assert position is not None
    return position.orders_ahead


def test_a_size_cut_keeps_the_place_and_the_id(floor: Floor) -> None:
    """Everything else takes the order to the tail of its level."""
    order = floor.enter("alice", "BUY", "2", "99000")
    floor.enter("bob", "BUY", "1", "99000")
    cut = floor.edit(order, price="99000", size="1.5").order
    assert cut is not None
    assert (order.order_id, 0, Decimal("1.5")) == (cut.order_id, ahead(floor, cut.number), cut.size)
    grown = floor.edit(order, price="99000", size="1.6").order
    assert grown is not None
    assert 1 == ahead(floor, grown.number)
    assert [Decimal("1.5"), Decimal("1.6")] == [edit.size for edit in grown.edits]
    floor.exchange.check()


def test_the_size_counts_what_has_traded(floor: Floor) -> None:
    """After 0.5 of 2, an edit to 1.5 leaves 1 to work."""
    order = floor.enter("alice", "BUY", "2", "99000")
    floor.enter("bob", "SELL", "0.5", "99000")
    after = floor.edit(order, price="99000", size="1.5").order
    assert after is not None
    assert (Decimal("1.5"), Decimal(1), Decimal("0.5")) == (
        after.size,
        after.leaves,
        after.filled_size,
    )
    floor.enter("bob", "SELL", "1", "99000")
    assert OrderStatus.FILLED is floor.now(order).status


def test_a_price_that_crosses_trades(floor: Floor) -> None:
    """The edited order is a new arrival: it takes what its price reaches."""
    order = floor.enter("alice", "BUY", "2", "99000")
    floor.enter("bob", "SELL", "1", "99500")
    after = floor.edit(order, price="99600", size="2").order
    assert after is not None
    assert (Decimal(1), Decimal(1), Decimal(99_600)) == (
        after.filled_size,
        after.leaves,
        after.limit_price,
    )
    assert Decimal(99_500) == after.average_price
    floor.exchange.check()


def test_post_only_is_kept(floor: Floor) -> None:
    """A price that would trade is refused, and the order stays as it was."""
    order = floor.enter("alice", "BUY", "2", "99000", post_only=True)
    floor.enter("bob", "SELL", "1", "99500")
    refusal = floor.edit(order, price="99500", size="2").refusal
    assert refusal is not None
    assert "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY" == refusal.preview_reason
    assert order == floor.now(order)
    moved = floor.edit(order, price="99400", size="2").order
    assert moved is not None
    assert Decimal(99_400) == moved.limit_price


def test_the_configuration_shows_the_present_terms(floor: Floor) -> None:
    """What is echoed of the order is what it now is."""
    configuration = {"limit_limit_gtc": {"base_size": "2", "limit_price": "99000"}}
    order = floor.enter("alice", "BUY", "2", "99000", configuration=configuration)
    after = floor.edit(order, price="98000", size="1").order
    assert after is not None
    assert {"limit_limit_gtc": {"base_size": "1", "limit_price": "98000"}} == (
        after.request.configuration
    )


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"price": "99000", "size": "2"}, EditFailure.EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST),
        ({"price": "99000", "size": "0.5"}, EditFailure.CANNOT_EDIT_TO_BELOW_FILLED_SIZE),
        ({"price": "98000"}, EditFailure.CANNOT_EDIT_TO_BELOW_FILLED_SIZE),
        ({"price": "99000", "size": "1.00001"}, EditFailure.INVALID_EDITED_SIZE),
        ({"price": "99000", "size": "1001"}, EditFailure.INVALID_EDITED_SIZE),
        ({"price": "99000.05", "size": "1"}, EditFailure.INVALID_EDITED_PRICE),
        ({"price": "0", "size": "1"}, EditFailure.INVALID_EDITED_PRICE),
        ({"price": "99000", "size": "999"}, EditFailure.COMMANDER_REJECTED_EDIT_ORDER),
        (
            {"price": "99000", "size": "1", "attached": Bracket(Decimal(105_000), Decimal(1))},
            EditFailure.COMMANDER_REJECTED_EDIT_ORDER,
        ),
    ],
)
def test_edits_that_cannot_be(terms: dict[str, Any], reason: EditFailure) -> None:
    """Each has its reason, changes nothing, and the preview says the same."""
    floor = Floor(starting_balance=Decimal(1_000_000))
    floor.enter("alice", "BUY", "0.1", "99000")
    order = floor.enter("alice", "BUY", "2", "99000")
    floor.enter("bob", "SELL", "0.7", "99000")
    floor.enter("alice", "BUY", "0.2", "98000")
    before = floor.exchange.state_hash()
    refusal = floor.edit(order, **terms).refusal
    assert refusal is not None
    assert reason is refusal.reason
    assert before == floor.exchange.state_hash()
    exact: dict[str, Any] = {
        name: Decimal(value) if isinstance(value, str) else value for name, value in terms.items()
    }
    preview = floor.exchange.preview_edit("alice", EditRequest(order_id=order.order_id, **exact))
    assert (refusal,) == preview.errors


def test_an_omitted_size_is_zero(floor: Floor) -> None:
    """Before the first fill that is no size at all."""
    order = floor.enter("alice", "BUY", "2", "99000")
    refusal = floor.edit(order, price="98000").refusal
    assert refusal is not None
    assert EditFailure.INVALID_EDITED_SIZE is refusal.reason


def test_only_open_gtc_limit_orders_can_be_edited(floor: Floor) -> None:
    """Not those of others, not what has ended, not what has a time, sizes in money or slices."""
    order = floor.enter("alice", "BUY", "2", "99000")
    stranger = floor.exchange.edit("bob", EditRequest(order_id=order.order_id, size=Decimal(1)))
    assert stranger.refusal is not None
    assert EditFailure.ORDER_NOT_FOUND is stranger.refusal.reason
    floor.exchange.cancel("alice", [order.order_id])
    gtd = floor.enter("alice", "BUY", "2", "99000", "GTD", end_time_ns=floor.at(9))
    money = floor.enter("alice", "BUY", None, "99000", quote_size="1000")
    ladder = floor.enter("alice", "BUY", "2", scaled=Scaled(2, Decimal(90_000), Decimal(91_000)))
    reasons = []
    for other in (order, gtd, money, ladder):
        refusal = floor.edit(other, price="98000", size="1").refusal
        assert refusal is not None
        reasons.append(refusal.reason)
    assert [
        EditFailure.ONLY_OPEN_ORDERS_CAN_BE_EDITED,
        EditFailure.ONLY_LIMIT_ORDER_EDITS_SUPPORTED,
        EditFailure.SIZE_IN_QUOTE_EDITS_NOT_ALLOWED,
        EditFailure.ONLY_LIMIT_ORDER_EDITS_SUPPORTED,
    ] == reasons


def test_edits_are_counted(floor: Floor) -> None:
    """After so many, no more."""
    order = floor.enter("alice", "BUY", "2", "90000")
    for number in range(EDITS_MAX):
        assert floor.edit(order, price=str(80_000 + number), size="2").order
    refusal = floor.edit(order, price="90000", size="2").refusal
    assert refusal is not None
    assert EditFailure.EXCEEDED_MAX_ALLOWED_EDIT_REQUEST_COUNT is refusal.reason


def test_a_reduce_only_order_cannot_grow_beyond_the_position(floor: Floor) -> None:
    """It shares the position with what else rests on its side, as at its entry."""
    floor.enter("bob", "SELL", "1", "100000")
    floor.enter("alice", "BUY", "1", "100000")
    order = floor.enter("alice", "SELL", "0.5", "101000", reduce_only=True)
    assert floor.edit(order, price="101000", size="1").order
    refusal = floor.edit(order, price="101000", size="1.1").refusal
    assert refusal is not None
    assert "PREVIEW_REDUCE_ONLY_INCREASED_POSITION_SIZE" == refusal.preview_reason


def test_margin_is_that_of_the_edited_order_alone() -> None:
    """An order that uses all there is may move as long as it needs no more."""
    floor = Floor(starting_balance=Decimal(10_000))
    order = floor.enter("alice", "BUY", "0.9", "100000")
    assert floor.edit(order, price="99000", size="0.9").order
    refusal = floor.edit(order, price="99000", size="1.1").refusal
    assert refusal is not None
    assert "PREVIEW_INSUFFICIENT_FUND" == refusal.preview_reason
    floor.exchange.check()


def test_a_waiting_stop_can_be_moved(floor: Floor) -> None:
    """Price, size and stop price change; the new stop is what triggers."""
    stop = floor.enter("alice", "BUY", "1", "101500", stop_price="101000")
    after = floor.edit(stop, price="102500", size="2", stop_price="102000").order
    assert after is not None
    assert (Decimal(102_000), Decimal(2)) == (after.stop_price, after.size)
    floor.trade("101000")
    assert not floor.now(stop).in_book
    floor.trade("102000")
    assert floor.now(stop).in_book
    refusal = floor.edit(stop, price="102500", size="2", stop_price="103000").refusal
    assert refusal is not None
    assert EditFailure.COMMANDER_REJECTED_EDIT_ORDER is refusal.reason


def test_a_bracket_can_be_moved_on_both_sides(floor: Floor) -> None:
    """The take-profit moves in the book, the stop in the list of those that wait."""
    floor.hold("alice", "BUY", "1")
    order = floor.enter("alice", "SELL", "1", "105000", stop_trigger_price="95000")
    assert floor.edit(order, price="106000", size="1", stop_price="96000").order
    _, asks = floor.exchange.markets[BTC].levels(1)
    assert Decimal(106_000) == asks[0].price
    floor.trade("96000")
    assert Decimal(91_200) == floor.now(order).limit_price
    refusal = floor.edit(order, price="107000", size="1").refusal
    assert refusal is not None
    assert EditFailure.COMMANDER_REJECTED_EDIT_ORDER is refusal.reason


def test_the_attached_bracket_can_be_moved_and_cancelled(floor: Floor) -> None:
    """Through the order it is attached to, before the first fill and after it."""
    attached = Bracket(Decimal(105_000), Decimal(95_000))
    parent = floor.enter("alice", "BUY", "1", "100000", attached=attached)
    further = Bracket(Decimal(106_000), Decimal(94_000))
    assert floor.edit(parent, price="100000", size="1", attached=further).order
    floor.enter("bob", "SELL", "0.5", "100000")
    child = floor.exchange.order("alice", parent.attached_order_id)
    assert child is not None
    assert (Decimal(106_000), Decimal(94_000)) == (child.limit_price, child.stop_price)
    assert floor.edit(parent, price="100000", size="1", attached=attached).order
    assert Decimal(105_000) == floor.now(child).limit_price
    assert floor.edit(parent, price="100000", size="1", cancel_attached=True).order
    assert OrderStatus.CANCELLED is floor.now(child).status
    floor.enter("bob", "SELL", "0.5", "100000")
    assert OrderStatus.CANCELLED is floor.now(child).status
    floor.exchange.check()

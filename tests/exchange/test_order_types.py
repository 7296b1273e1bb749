"""Every order configuration on a book made by hand: sizes in money, stops, expiry, slices."""

from decimal import Decimal
from typing import Any

import pytest

from tests.exchange.floor import Floor
from touchstone.exchange import (
    Distribution,
    FailureReason,
    OrderKind,
    OrderStatus,
    Scaled,
    StopDirection,
    TriggerStatus,
    Twap,
)
from touchstone.exchange.reasons import EndReason


@pytest.fixture
def floor() -> Floor:
    """An empty book."""
    return Floor()


def test_a_market_order_in_money_walks_the_book_and_spends_no_more(floor: Floor) -> None:
    """150,000 buy one coin at 100,000 and what is left of it at 101,000, down to a lot."""
    floor.enter("alice", "SELL", "1", "100000")
    floor.enter("alice", "SELL", "1", "101000")
    order = floor.enter("bob", "BUY", tif="IOC", quote_size="150000")
    assert (OrderStatus.FILLED, Decimal("1.4950")) == (order.status, order.filled_size)
    assert Decimal("149995.0000") == order.filled_value


def test_a_market_order_in_money_ends_with_the_book(floor: Floor) -> None:
    """Where the book is spent before the money is, the rest is cancelled."""
    floor.enter("alice", "SELL", "1", "100000")
    order = floor.enter("bob", "BUY", tif="IOC", quote_size="150000")
    assert (OrderStatus.CANCELLED, Decimal(1)) == (order.status, order.filled_size)
    assert FailureReason.INVALID_NO_LIQUIDITY is (
        floor.refuse("bob", "BUY", tif="IOC", quote_size="150000").reason
    )


def test_selling_for_an_amount_of_money_brings_no_more(floor: Floor) -> None:
    """A sale in money takes the best bids first and stops at the amount."""
    floor.enter("alice", "BUY", "1", "100000")
    floor.enter("alice", "BUY", "1", "99000")
    order = floor.enter("bob", "SELL", tif="IOC", quote_size="149500")
    assert (OrderStatus.FILLED, Decimal("1.5000")) == (order.status, order.filled_size)
    assert Decimal("149500.0000") == order.filled_value


def test_a_market_fok_in_money_trades_all_or_nothing(floor: Floor) -> None:
    """With less in the book than the money buys it ends without a fill."""
    floor.enter("alice", "SELL", "1", "100000")
    short = floor.enter("bob", "BUY", tif="FOK", quote_size="150000")
    assert (OrderStatus.CANCELLED, 0) == (short.status, short.fill_count)
    assert floor.enter("bob", "BUY", tif="FOK", quote_size="100000").status == "FILLED"


def test_a_limit_in_money_counts_better_prices_at_what_they_are(floor: Floor) -> None:
    """50,000 at a limit of 100,000 take half a coin at 80,000: 0.4 there, the rest at the limit."""
    floor.enter("alice", "SELL", "0.4", "80000")
    order = floor.enter("bob", "BUY", None, "100000", "IOC", quote_size="50000")
    assert (Decimal("0.5800"), Decimal("0.4")) == (order.size, order.filled_size)
    resting = floor.enter("bob", "BUY", None, "50000", quote_size="50000")
    assert (Decimal(1), OrderStatus.OPEN) == (resting.size, resting.status)


@pytest.mark.parametrize(
    ("terms", "preview"),
    [
        ({"tif": "IOC", "quote_size": "9"}, "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
        ({"tif": "IOC", "quote_size": "0"}, "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"),
        ({"tif": "IOC", "quote_size": "1", "size": "1"}, "PREVIEW_INVALID_ORDER_CONFIG"),
        ({"tif": "IOC"}, "PREVIEW_INVALID_ORDER_CONFIG"),
        (
            {"limit_price": "90000", "quote_size": "200000000"},
            "PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE",
        ),
        (
            {"limit_price": "90000", "stop_trigger_price": "110000", "quote_size": "100"},
            "PREVIEW_QUOTE_SIZE_NOT_ALLOWED_FOR_BRACKET",
        ),
        (
            {"limit_price": "90000", "size": "1", "tif": "FOK", "post_only": True},
            "PREVIEW_POST_ONLY_NOT_ALLOWED_WITH_FOK",
        ),
        (
            {"limit_price": "90000", "size": "1", "tif": "GTD"},
            "PREVIEW_GTD_ORDERS_MUST_HAVE_END_TIME",
        ),
        (
            {"limit_price": "90000", "size": "1", "end_time_ns": 0},
            "PREVIEW_END_TIME_IS_IN_THE_PAST",
        ),
        (
            {"limit_price": "90000", "size": "1", "tif": "GTD", "end_time_ns": 0},
            "PREVIEW_END_TIME_IS_IN_THE_PAST",
        ),
    ],
)
def test_terms_that_do_not_go_together(floor: Floor, terms: dict[str, Any], preview: str) -> None:
    """Each has its own reason, and nothing is entered."""
    floor.enter("alice", "SELL", "1", "100000")
    assert preview == floor.refuse("bob", "BUY", **terms).preview
    assert [] == floor.exchange.orders("bob")


# -------------------------------------------------------------------- good till a time


def test_a_gtd_order_expires_at_its_end_time(floor: Floor) -> None:
    """It rests until then, and at that very moment it is gone from the book."""
    order = floor.enter("alice", "BUY", "1", "90000", "GTD", end_time_ns=floor.at(10))
    floor.wait(9.999)
    assert OrderStatus.OPEN is floor.now(order).status
    floor.wait(0.001)
    after = floor.now(order)
    assert (OrderStatus.EXPIRED, EndReason.EXPIRED, 10_000_000_000) == (
        after.status,
        after.end_reason,
        after.updated_ns,
    )
    assert len(floor.exchange.markets[order.product.product_id].book) == 0
    floor.exchange.check()


def test_what_has_ended_before_does_not_expire(floor: Floor) -> None:
    """A cancelled GTD order leaves no timer behind."""
    order = floor.enter("alice", "BUY", "1", "90000", "GTD", end_time_ns=floor.at(10))
    floor.exchange.cancel("alice", [order.order_id])
    assert not any(name == "expiry" for _, name, _ in floor.exchange.schedule.timers())
    floor.wait(11)
    assert OrderStatus.CANCELLED is floor.now(order).status


# -------------------------------------------------------------------- stop-limit


def test_a_stop_waits_for_the_last_trade_and_then_works(floor: Floor) -> None:
    """OPEN and STOP_PENDING outside the book; a trade at the stop price puts the limit into it."""
    stop = floor.enter("alice", "BUY", "1", "101500", stop_price="101000")
    assert (OrderStatus.OPEN, TriggerStatus.STOP_PENDING, OrderKind.STOP_LIMIT) == (
        stop.status,
        stop.trigger,
        stop.kind,
    )
    assert len(floor.exchange.markets[stop.product.product_id].book) == 0
    floor.trade("100999.9")
    assert TriggerStatus.STOP_PENDING is floor.now(stop).trigger
    floor.trade("101000")
    after = floor.now(stop)
    assert (TriggerStatus.STOP_TRIGGERED, OrderStatus.OPEN) == (after.trigger, after.status)
    assert (Decimal(101_500), True) == (after.limit_price, after.in_book)
    floor.enter("bob", "SELL", "1", "101500")
    assert OrderStatus.FILLED is floor.now(stop).status
    floor.exchange.check()


def test_one_sweep_triggers_all_it_passes_nearest_first(floor: Floor) -> None:
    """A trade that passes two stops triggers the nearer one first; a third one goes on waiting."""
    far = floor.enter("alice", "BUY", "1", "120000", stop_price="104000")
    near = floor.enter("alice", "BUY", "1", "120000", stop_price="101000")
    beyond = floor.enter("alice", "BUY", "1", "120000", stop_price="106000")
    floor.enter("bob", "SELL", "1", "105000")
    floor.exchange.drain()
    floor.enter("dave", "BUY", "1", "105000")
    triggered = [
        order.order_id
        for order in floor.exchange.drain().orders
        if order.trigger is TriggerStatus.STOP_TRIGGERED
    ]
    assert [near.order_id, far.order_id] == list(dict.fromkeys(triggered))
    assert TriggerStatus.STOP_PENDING is floor.now(beyond).trigger


def test_triggered_stops_can_trigger_others(floor: Floor) -> None:
    """A stop's own trades are last trades too: a cascade runs to its end in one command."""
    for price in ("99000", "98000", "97000"):
        floor.enter("bob", "BUY", "1", price)
    first = floor.enter("alice", "SELL", "1", "90000", stop_price="99000")
    second = floor.enter("alice", "SELL", "1", "90000", stop_price="98000")
    floor.enter("carol", "SELL", "1", "99000")
    assert OrderStatus.FILLED is floor.now(first).status
    assert Decimal(98_000) == floor.now(first).average_price
    assert OrderStatus.FILLED is floor.now(second).status
    assert Decimal(97_000) == floor.now(second).average_price
    floor.exchange.check()


@pytest.mark.parametrize(
    ("side", "price", "direction", "preview"),
    [
        ("BUY", "100000", None, "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE"),
        ("SELL", "100000", None, "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE"),
        ("BUY", "101000", StopDirection.DOWN, "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE"),
        ("SELL", "99000", StopDirection.UP, "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE"),
        ("BUY", "101000.05", None, "PREVIEW_INVALID_STOP_PRICE_PRECISION"),
    ],
)
def test_stops_that_are_reached_already_are_refused(
    floor: Floor, side: str, price: str, direction: StopDirection | None, preview: str
) -> None:
    """The direction says on which side of the last trade the stop has to lie."""
    refusal = floor.refuse("alice", side, "1", "100000", stop_price=price, stop_direction=direction)
    assert preview == refusal.preview


def test_a_stop_may_look_the_other_way(floor: Floor) -> None:
    """BUY with DOWN waits for a fall, as some clients use it to take profit."""
    order = floor.enter(
        "alice", "BUY", "1", "99000", stop_price="99500", stop_direction=StopDirection.DOWN
    )
    floor.trade("99500")
    assert TriggerStatus.STOP_TRIGGERED is floor.now(order).trigger


def test_a_waiting_stop_holds_margin_and_can_be_cancelled_or_expire(floor: Floor) -> None:
    """It needs what the same limit order needs, until it is gone."""
    stop = floor.enter("alice", "BUY", "1", "101500", stop_price="101000")
    held = floor.exchange.margin_requirement("alice")
    assert held > Decimal(10_150)
    (result,) = floor.exchange.cancel("alice", [stop.order_id])
    assert result.success
    assert Decimal(0) == floor.exchange.margin_requirement("alice")
    ending = floor.enter(
        "alice", "BUY", "1", "101500", "GTD", stop_price="101000", end_time_ns=floor.at(1)
    )
    floor.wait(1)
    assert OrderStatus.EXPIRED is floor.now(ending).status
    floor.trade("101000")
    assert 0 == floor.now(stop).fill_count == floor.now(ending).fill_count


def test_stops_that_together_open_a_position_need_margin() -> None:
    """One stop only closes; a second one would open a short, and is held against the funds."""
    floor = Floor(starting_balance=Decimal(11_000))
    floor.enter("bob", "SELL", "1", "100000")
    floor.enter("alice", "BUY", "1", "100000")
    floor.enter("alice", "SELL", "1", "99000", stop_price="99500")
    refusal = floor.refuse("alice", "SELL", "1.2", "97000", stop_price="98000")
    assert FailureReason.INSUFFICIENT_FUND is refusal.reason
    assert floor.enter("alice", "SELL", "1", "97000", stop_price="98000", reduce_only=True)


def test_a_reduce_only_stop_closes_no_more_than_there_is(floor: Floor) -> None:
    """What has been closed meanwhile is not sold twice; with nothing left the stop ends."""
    floor.enter("bob", "SELL", "1", "100000")
    floor.enter("alice", "BUY", "1", "100000")
    stop = floor.enter("alice", "SELL", "1", "90000", stop_price="99000", reduce_only=True)
    floor.enter("bob", "BUY", "0.6", "100000")
    floor.enter("alice", "SELL", "0.6", "100000")
    floor.enter("bob", "BUY", "5", "95000")
    floor.trade("99000")
    assert (Decimal("0.4"), Decimal(0)) == (floor.now(stop).filled_size, floor.position("alice"))
    assert EndReason.REDUCE_ONLY is floor.now(stop).end_reason


def test_a_post_only_stop_that_would_trade_fails(floor: Floor) -> None:
    """When its turn comes the book refuses it, and it ends FAILED."""
    order = floor.enter("alice", "BUY", "1", "102000", stop_price="101000", post_only=True)
    floor.enter("bob", "SELL", "1", "101500")
    floor.trade("101000")
    assert (OrderStatus.FAILED, EndReason.REFUSED_BY_BOOK) == (
        floor.now(order).status,
        floor.now(order).end_reason,
    )
    floor.exchange.check()


# -------------------------------------------------------------------- TWAP


def twap(floor: Floor, start: float = 0, count: int = 4, size: str = "1") -> dict[str, Any]:
    """Return the terms of a TWAP: so many buckets, ten seconds each, and one bucket's time more."""
    return {
        "tif": "GTD",
        "end_time_ns": floor.at(start + 10 * (count + 1)),
        "twap": Twap(floor.at(start), count, Decimal(size), 10_000_000_000),
    }


def test_a_twap_trades_bucket_by_bucket_and_rolls_over(floor: Floor) -> None:
    """A bucket that finds nothing is made up for by the next; the whole is one order."""
    floor.enter("bob", "SELL", "1", "100000")
    order = floor.enter("alice", "BUY", "4", "100000", **twap(floor))
    assert (Decimal(1), OrderStatus.OPEN, OrderKind.TWAP) == (
        order.filled_size,
        order.status,
        order.kind,
    )
    floor.wait(10)
    assert Decimal(1) == floor.now(order).filled_size
    floor.enter("bob", "SELL", "10", "100000")
    floor.wait(9.9)
    assert Decimal(1) == floor.now(order).filled_size
    floor.wait(0.1)
    assert Decimal(3) == floor.now(order).filled_size
    floor.wait(10)
    after = floor.now(order)
    assert (OrderStatus.FILLED, 3) == (after.status, after.fill_count)
    floor.exchange.check()


def test_a_twap_keeps_its_limit_and_ends_at_its_end_time(floor: Floor) -> None:
    """Nothing trades beyond the limit, nothing rests, and what is left expires."""
    floor.enter("bob", "SELL", "10", "100000.1")
    order = floor.enter("alice", "BUY", "4", "100000", **twap(floor))
    floor.wait(49.999)
    assert (Decimal(0), OrderStatus.OPEN) == (floor.now(order).filled_size, floor.now(order).status)
    floor.wait(0.001)
    assert OrderStatus.EXPIRED is floor.now(order).status


def test_a_twap_starts_when_it_says(floor: Floor) -> None:
    """Before its start it is PENDING and may be cancelled; then no slice comes."""
    floor.enter("bob", "SELL", "10", "100000")
    order = floor.enter("alice", "BUY", "4", "100000", **twap(floor, start=5))
    assert (OrderStatus.PENDING, 0) == (order.status, order.fill_count)
    gone = floor.enter("alice", "BUY", "4", "100000", **twap(floor, start=5))
    floor.exchange.cancel("alice", [gone.order_id])
    floor.wait(5)
    assert (OrderStatus.OPEN, Decimal(1)) == (floor.now(order).status, floor.now(order).filled_size)
    assert 0 == floor.now(gone).fill_count


def test_a_twap_does_not_trade_with_its_own_account(floor: Floor) -> None:
    """Self-trade prevention takes lots off the slice for good; the rest goes on."""
    mine = floor.enter("alice", "SELL", "0.4", "100000")
    floor.enter("bob", "SELL", "10", "100000")
    order = floor.enter("alice", "BUY", "4", "100000", **twap(floor))
    assert OrderStatus.CANCELLED is floor.now(mine).status
    assert (Decimal("0.6"), Decimal(3)) == (order.filled_size, order.leaves)
    floor.wait(30)
    assert (OrderStatus.CANCELLED, Decimal("3.6")) == (
        floor.now(order).status,
        floor.now(order).filled_size,
    )
    floor.exchange.check()


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_time_ns": None},
        {"end_time_ns": 30_000_000_000},
        {"twap": Twap(0, 0, Decimal(1), 10_000_000_000)},
        {"twap": Twap(0, 4, Decimal(1), 0)},
        {"twap": Twap(0, 3, Decimal(1), 10_000_000_000)},
        {"twap": Twap(0, 4, Decimal("0.00001"), 10_000_000_000)},
        {"limit_price": None},
        {"post_only": True, "tif": "FOK"},
    ],
)
def test_a_twap_that_cannot_work_is_refused(floor: Floor, wrong: dict[str, Any]) -> None:
    """Buckets have to hold the size, last some time and begin before the end."""
    terms = {"side": "BUY", "size": "4", "limit_price": "100000", **twap(floor), **wrong}
    assert floor.refuse("alice", **terms)


# -------------------------------------------------------------------- scaled


LADDER = Scaled(3, Decimal(90_000), Decimal(91_000))


def test_a_scaled_order_is_a_ladder_of_limit_orders(floor: Floor) -> None:
    """Its children rest at even prices and share the size; the parent adds their fills up."""
    parent = floor.enter("alice", "BUY", "3", scaled=LADDER)
    children = [floor.exchange.order("alice", order_id) for order_id in parent.children]
    assert [(Decimal(90_000), Decimal(1)), (Decimal(90_500), Decimal(1))] == [
        (child.limit_price, child.size) for child in children[:2] if child is not None
    ]
    assert {parent.order_id} == {c.originating_order_id for c in children if c is not None}
    floor.enter("bob", "SELL", "1.5", "90500")
    now = floor.now(parent)
    assert (OrderKind.SCALED, OrderStatus.OPEN, Decimal("1.5"), Decimal("1.5")) == (
        now.kind,
        now.status,
        now.filled_size,
        now.leaves,
    )
    assert Decimal("136250.0") == now.filled_value
    floor.enter("bob", "SELL", "1.5", "90000")
    assert (OrderStatus.FILLED, 4) == (floor.now(parent).status, floor.now(parent).fill_count)
    floor.exchange.check()


def test_cancelling_a_scaled_order_cancels_what_is_left_of_it(floor: Floor) -> None:
    """Filled children stay filled; cancelling every child ends the parent."""
    parent = floor.enter("alice", "BUY", "3", scaled=LADDER)
    floor.enter("bob", "SELL", "1", "91000")
    floor.exchange.cancel("alice", [parent.order_id])
    statuses = [child.status for child in floor.exchange.orders("alice")]
    assert ["CANCELLED", "CANCELLED", "CANCELLED", "FILLED"] == sorted(statuses)
    other = floor.enter("alice", "BUY", "3", scaled=LADDER)
    floor.exchange.cancel("alice", [other.children[0]])
    assert (OrderStatus.OPEN, Decimal(2)) == (floor.now(other).status, floor.now(other).leaves)
    floor.exchange.cancel("alice", other.children[1:])
    assert (OrderStatus.CANCELLED, EndReason.CHILDREN_ENDED) == (
        floor.now(other).status,
        floor.now(other).end_reason,
    )
    assert len(floor.exchange.markets[parent.product.product_id].book) == 0


def test_a_scaled_order_loses_what_its_children_lose(floor: Floor) -> None:
    """Self-trade prevention takes lots off a child, and so off the parent; it ends CANCELLED."""
    parent = floor.enter("alice", "BUY", "3", scaled=LADDER)
    floor.enter("alice", "SELL", "0.4", "91000")
    assert Decimal("2.6") == floor.now(parent).leaves
    floor.enter("bob", "SELL", "2.6", "90000")
    after = floor.now(parent)
    assert (OrderStatus.CANCELLED, Decimal("2.6"), EndReason.CHILDREN_ENDED) == (
        after.status,
        after.filled_size,
        after.end_reason,
    )
    floor.exchange.check()


def test_the_margin_of_a_scaled_order_is_that_of_its_children(floor: Floor) -> None:
    """It is not held twice."""
    floor.enter("alice", "BUY", "3", scaled=LADDER)
    for price in ("90000", "90500", "91000"):
        floor.enter("bob", "BUY", "1", price)
    needs = [floor.exchange.margin_requirement(name) for name in ("alice", "bob")]
    assert needs[0] == needs[1] > 0


@pytest.mark.parametrize(
    ("size", "scaled", "preview"),
    [
        ("3", Scaled(1, Decimal(90_000), Decimal(91_000)), "PREVIEW_INVALID_ORDER_CONFIG"),
        ("3", Scaled(101, Decimal(90_000), Decimal(91_000)), "PREVIEW_INVALID_ORDER_CONFIG"),
        ("3", Scaled(3, Decimal(91_000), Decimal(91_000)), "PREVIEW_SCALED_PARAM_INFEASIBLE"),
        ("0.0002", LADDER, "PREVIEW_SCALED_MIN_ORDER_VIOLATION"),
        ("3000", LADDER, "PREVIEW_INVALID_BASE_SIZE_TOO_LARGE"),
        (
            "100",
            Scaled(3, Decimal(90_000), Decimal(91_000), Distribution.LINEAR_INCREASING),
            "PREVIEW_INSUFFICIENT_FUND",
        ),
    ],
)
def test_ladders_that_cannot_be(floor: Floor, size: str, scaled: Scaled, preview: str) -> None:
    """Every rung has to be an order of its own, and all have to be affordable."""
    poor = Floor(starting_balance=Decimal(100_000))
    assert preview == poor.refuse("alice", "BUY", size, scaled=scaled).preview
    assert [] == floor.exchange.orders("alice")

"""Shadow orders are followed exactly: place by place, up to the message that comes to them."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from lob import MESSAGE_DTYPE, Action, OrderBook
from lob.errors import Conflict, InvalidInput
from lob.flow import ZeroIntelligence
from lob.messages import Array
from lob.recording import record
from lob.shadow_orders import FillCause, ShadowOrders
from lob.types import AssetClass, Instrument, Side

SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
BUY, SELL = Side.BUY, Side.SELL


def queue(*lots: int, side: Side = BUY, price: int = 100) -> ShadowOrders:
    """Return a queue of orders 1, 2, ... with these lots."""
    shadows = ShadowOrders()
    for order_id, size in enumerate(lots, 1):
        shadows.add(order_id, side, price, size)
    return shadows


def test_the_back_of_the_queue_has_everything_ahead() -> None:
    """Joining counts what rests there, and what comes later is behind."""
    shadows = queue(5, 3)
    assert shadows.join(7, BUY, 100)[3:] == (2, 8)
    shadows.add(3, BUY, 100, 4)
    assert shadows.position(7) == (2, 8)
    assert list(shadows.ahead(7)) == [(1, 5), (2, 3)]


def test_what_leaves_from_ahead_counts_and_from_behind_does_not() -> None:
    """Trades, reductions and deletes move an order up only where they were before it."""
    shadows = queue(5, 3)
    shadows.join(7, BUY, 100)
    shadows.add(3, BUY, 100, 4)
    shadows.execute(1, 2)
    assert shadows.position(7) == (2, 6)
    shadows.step(0, Action.FEED_REDUCE, 2, 0, 0, 1)
    assert shadows.position(7) == (2, 5)
    shadows.step(0, Action.FEED_DELETE, 3, 0, 0, 0)
    assert shadows.position(7) == (2, 5)
    shadows.step(0, Action.FEED_DELETE, 1, 0, 0, 0)
    assert shadows.position(7) == (1, 2)


def test_the_last_lot_before_it_does_not_fill_it_and_the_next_does() -> None:
    """An order without lots waits until a trade goes on to who is behind it."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    shadows.add(2, BUY, 100, 3)
    assert shadows.execute(1, 5) == ()
    (fill,) = shadows.execute(2, 1)
    assert (fill.shadow_id, fill.message_index, fill.cause) == (7, 3, FillCause.REACHED)
    assert 7 not in shadows
    assert len(shadows) == 0


@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_trade_at_a_worse_price_has_passed_it(side: Side) -> None:
    """Whatever stands before it at its own price: an aggressor has been there."""
    shadows = queue(5, side=side)
    shadows.join(7, side, 100)
    shadows.add(9, side, 100 - side.sign, 1)
    (fill,) = shadows.execute(9, 1)
    assert fill.cause is FillCause.PASSED


@pytest.mark.parametrize("side", [BUY, SELL])
@pytest.mark.parametrize(("away", "cause"), [(0, FillCause.MET), (-1, FillCause.MET), (1, None)])
def test_an_order_of_the_other_side_at_its_price_or_through_it_meets_it(
    side: Side, away: int, cause: FillCause | None
) -> None:
    """It could not have come to rest there without trading with the shadow order first."""
    shadows = ShadowOrders()
    shadows.join(7, side, 100)
    price = 100 + side.sign * away
    fills = shadows.step(5, Action.FEED_ADD, 1, -side.sign, price, 1)
    assert [fill.cause for fill in fills] == ([cause] if cause else [])
    assert [fill.ts_event_ns for fill in fills] == ([5] if cause else [])


def test_a_hidden_trade_passes_better_prices_only() -> None:
    """At its own price the displayed orders before it would have come first."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    assert shadows.hidden_trade(3, BUY, 100.0) == ()
    assert shadows.hidden_trade(3, SELL, 99.5) == ()
    assert [fill.cause for fill in shadows.hidden_trade(4, BUY, 99.5)] == [FillCause.PASSED]


def test_an_order_placed_ahead_stands_between_its_neighbours() -> None:
    """It is filled with the order it was placed before, and not with the one before that."""
    shadows = queue(5, 3)
    assert shadows.place_ahead(7, 2)[3:] == (1, 5)
    assert shadows.execute(1, 5) == ()
    assert [fill.shadow_id for fill in shadows.execute(2, 1)] == [7]


def test_a_modified_order_keeps_its_place_or_goes_to_the_tail() -> None:
    """Fewer lots at the same price keep the place; more, or another price, lose it."""
    shadows = queue(5, 3)
    shadows.join(7, BUY, 100)
    shadows.step(0, Action.FEED_MODIFY, 1, 0, 100, 4)
    assert shadows.position(7) == (2, 7)
    shadows.step(0, Action.FEED_MODIFY, 1, 0, 100, 6)
    assert shadows.position(7) == (1, 3)
    assert [fill.shadow_id for fill in shadows.execute(1, 1)] == [7]


def test_fills_of_one_message_come_best_price_first_then_by_place() -> None:
    """The order in which an aggressor would have met them."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    shadows.join(8, BUY, 101)
    shadows.place_ahead(9, 1)
    shadows.add(2, BUY, 99, 1)
    assert [fill.shadow_id for fill in shadows.execute(2, 1)] == [8, 9, 7]


def test_a_cleared_book_ends_all_and_a_cancelled_order_is_gone() -> None:
    """Neither is a fill."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    shadows.join(8, BUY, 100)
    shadows.cancel(8)
    shadows.cancel(8)
    assert 8 not in shadows
    assert shadows.step(0, Action.FEED_CLEAR, 0, 0, 0, 0) == ()
    assert shadows.waiting(7) is None
    assert shadows.join(7, BUY, 100).lots_ahead == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.join(7, BUY, 0),
        lambda s: s.place_ahead(7, 99),
        lambda s: s.position(99),
        lambda s: list(s.ahead(99)),
        lambda s: s.step(0, Action.SUBMIT, 1, 1, 100, 1),
        lambda s: s.step(0, Action.FEED_ADD, 9, 0, 100, 1),
    ],
)
def test_what_cannot_be_is_refused(wrong: Callable[[ShadowOrders], object]) -> None:
    """Each with one line that says what is allowed."""
    with pytest.raises(InvalidInput, match="allowed"):
        wrong(queue(5))


def test_an_id_is_used_once_at_a_time() -> None:
    """Two orders that wait cannot have one id."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    with pytest.raises(Conflict, match="7 waits already"):
        shadows.place_ahead(7, 1)


def test_unknown_orders_change_nothing() -> None:
    """A feed that begins in the middle of a session names orders that it never added."""
    shadows = queue(5)
    shadows.join(7, BUY, 100)
    assert shadows.execute(42, 5) == ()
    assert shadows.step(0, Action.FEED_ADD, 1, 1, 100, 9) == ()
    assert shadows.position(7) == (1, 5)


def test_arrays_and_single_messages_are_the_same() -> None:
    """`apply` is `step` for each row."""
    messages: Array = np.zeros(2, MESSAGE_DTYPE)
    messages["action"] = (Action.FEED_ADD, Action.FEED_EXECUTE)
    messages["order_id"], messages["side"] = 1, 1
    messages["price_ticks"], messages["quantity_lots"], messages["ts_event_ns"] = 99, 2, (5, 6)
    shadows = ShadowOrders()
    shadows.join(7, BUY, 100)
    assert [tuple(fill) for fill in shadows.apply(messages)] == [(7, 6, 1, FillCause.PASSED)]


def test_positions_are_the_books_own() -> None:
    """Joined before each order of a random flow, what is ahead is what the book says."""
    feed = record(ZeroIntelligence(SHARE, seed=3, mid_ticks=10_000), 1_500).feed
    shadows, book, compared = ShadowOrders(), OrderBook(SHARE), 0
    for index in range(len(feed)):
        row = feed[index : index + 1]
        if row["action"][0] == Action.FEED_ADD:
            side = BUY if row["side"][0] > 0 else SELL
            shadows.join(int(row["order_id"][0]), side, int(row["price_ticks"][0]))
        shadows.apply(row)
        book.apply(row)
        if index % 50 == 0:
            for order in book.orders():
                if order.order_id in shadows:
                    assert shadows.position(order.order_id) == book.queue_position(order.order_id)
                    compared += 1
    assert compared > 1_000


def test_what_is_not_waited_for_takes_no_memory() -> None:
    """Orders that came and went leave nothing behind."""
    shadows = ShadowOrders()
    for turn in range(2_000):
        shadows.join(turn, BUY, 1 + turn)
        shadows.add(turn, BUY, 1 + turn, 1)
        shadows.cancel(turn)
        shadows.step(0, Action.FEED_DELETE, turn, 0, 0, 0)
    assert (len(shadows._queues), len(shadows._orders), len(shadows._waiting[1])) == (0, 0, 0)
    assert len(shadows._waiting[1]._heap) <= 64

"""The tracker hands trades and depth to the orders they concern, within bounds."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pytest

from lob import OrderBook
from lob.errors import Conflict, InvalidInput
from lob.flow import ZeroIntelligence
from lob.queue_estimators import FAMILIES, LevelView, QueueTracker, RiskAverseQueue, queue_tracker
from lob.recording import record
from lob.types import AssetClass, Instrument, Side

BUY, SELL = Side.BUY, Side.SELL
SHARE = Instrument(
    symbol="A", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_an_order_joins_behind_what_is_displayed_and_is_filled_at_last(side: Side) -> None:
    """From the depth that was told, through a trade that is too small, to one that is not."""
    tracker = queue_tracker()
    tracker.on_depth(side, 100, 5)
    assert tracker.join(7, side, 100).ahead == 5
    assert tracker.on_trade(side, 100, 3) == ()
    assert tracker.on_depth(side, 100, 2) == ()
    assert tracker.estimator(7).ahead == 2
    assert tracker.on_trade(side, 100, 3) == (7,)
    assert 7 not in tracker


@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_market_goes_through_a_price(side: Side) -> None:
    """A trade at a worse price, a hidden one, and lots of the other side each fill."""
    ways: list[Callable[[QueueTracker], tuple[int, ...]]] = [
        lambda t: t.on_trade(side, 100 - side.sign, 1),
        lambda t: t.on_hidden_trade(side, 100 - side.sign * 0.5),
        lambda t: t.on_depth(side.opposite, 100, 1),
    ]
    for through in ways:
        tracker = queue_tracker()
        tracker.on_depth(side, 100, 5)
        tracker.join(7, side, 100)
        assert tracker.on_trade(side, 100 + side.sign, 1) == ()
        assert tracker.on_hidden_trade(side, 100) == ()
        assert tracker.on_depth(side.opposite, 100 + side.sign, 1) == ()
        assert through(tracker) == (7,)


def test_the_order_followed_longest_makes_room() -> None:
    """No more are followed than the bound, and it is said how many were given up."""
    tracker = queue_tracker("log", max_tracked_orders=2)
    for order_id in (1, 2, 3):
        tracker.join(order_id, BUY, 100 + order_id)
    assert (len(tracker), 1 in tracker, tracker.evicted_count) == (2, False, 1)
    with pytest.raises(InvalidInput, match="one that is followed"):
        tracker.estimator(1)


def test_prices_that_are_still_make_room_but_not_where_somebody_waits() -> None:
    """A feed that walks away leaves no more levels than the bound."""
    tracker = queue_tracker(max_levels=3)
    tracker.on_depth(BUY, 1, 5)
    tracker.join(7, BUY, 1)
    for price in range(2, 100):
        tracker.on_depth(BUY, price, 5)
    assert tracker.estimator(7).ahead == 5
    assert [tracker.lots(BUY, price) for price in (1, 2, 98, 99)] == [5, 0, 5, 5]


def test_ids_prices_and_names_are_looked_at() -> None:
    """One line each, with what is allowed."""
    tracker = QueueTracker(RiskAverseQueue)
    tracker.join(7, BUY, 100)
    with pytest.raises(Conflict, match="followed already"):
        tracker.join(7, BUY, 100)
    wrong: list[Callable[[], object]] = [
        lambda: tracker.join(8, BUY, 0),
        lambda: tracker.on_trade(BUY, 100, -1),
        lambda: tracker.on_depth(BUY, 100, float("nan")),
        lambda: queue_tracker("best"),
        lambda: queue_tracker(max_tracked_orders=0),
    ]
    for call in wrong:
        with pytest.raises(InvalidInput, match="allowed"):
            call()
    tracker.drop(7)
    tracker.drop(7)
    assert len(tracker) == 0


def test_the_level_view_is_what_the_book_displays() -> None:
    """Over a random flow, the last lots told of each price are the book's, and trades are all."""
    feed = record(ZeroIntelligence(SHARE, seed=5, mid_ticks=10_000), 2_000).feed
    book, view, traded = OrderBook(SHARE), LevelView(), 0
    levels: dict[tuple[Side, int], int] = {}
    trades = book.apply(feed)
    for change in view.apply(feed):
        assert levels.get((change.side, change.price_ticks), 0) == change.old_lots
        levels[change.side, change.price_ticks] = change.new_lots
        traded += change.traded_lots
    displayed = {
        (side, level.price_ticks): level.quantity_lots
        for side, ladder in zip((BUY, SELL), book.depth(10_000), strict=True)
        for level in ladder
    }
    assert {place: lots for place, lots in levels.items() if lots} == displayed
    assert traded == int(trades["quantity_lots"].sum()) > 0


def test_the_same_feed_gives_the_same_estimates() -> None:
    """There is no draw anywhere: two trackers agree to the bit."""
    feed = record(ZeroIntelligence(SHARE, seed=5, mid_ticks=10_000), 1_000).feed
    for name in FAMILIES:
        runs = []
        for _ in range(2):
            tracker, view = queue_tracker(name), LevelView()
            seen: list[float] = []
            for number, change in enumerate(view.apply(feed)):
                if change.traded_lots:
                    seen += tracker.on_trade(change.side, change.price_ticks, change.traded_lots)
                seen += tracker.on_depth(change.side, change.price_ticks, change.new_lots)
                if number % 10 == 0:
                    seen.append(tracker.join(number, change.side, change.price_ticks).ahead)
            runs.append(np.array(seen).tobytes())
        assert runs[0] == runs[1]

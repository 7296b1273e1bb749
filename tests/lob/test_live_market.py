"""One's own orders among a file's or a generator's: who trades first, and what stays as it was."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lob import OrderBook
from lob.errors import InvalidInput, InvariantViolation, NotSupported
from lob.feeds import open_feed
from lob.feeds.base import Feed, FeedBlock
from lob.flow import ZeroIntelligence
from lob.live_feed import FeedMarket
from lob.live_market import FIRST_OWN_ID, FLOWS, FlowMarket, is_own, make_flow
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.recording import record
from lob.replay import FeedReplay
from lob.types import (
    Accepted,
    AssetClass,
    Cancel,
    Cancelled,
    CancelReason,
    Event,
    Instrument,
    OrderType,
    Reduced,
    Replaced,
    Side,
    Submit,
    Traded,
    Triggered,
)

SHARE = Instrument(
    symbol="ABC", asset_class=AssetClass.EQUITY, tick_size=Decimal("0.01"), lot_size=Decimal(1)
)
BUY, SELL = Side.BUY, Side.SELL
OWN = FIRST_OWN_ID


class ListFeed(Feed):
    """A feed of rows (ns, action, id, side, price, lots[, flags]) in blocks of two."""

    format = "list"

    def __init__(self, *rows: tuple[Any, ...]) -> None:
        super().__init__("list", SHARE)
        self._rows = rows

    def blocks(self) -> Iterator[FeedBlock]:
        """Yield the rows."""
        for at in range(0, len(self._rows), 2):
            part = self._rows[at : at + 2]
            messages = np.zeros(len(part), MESSAGE_DTYPE)
            for index, (ns, action, order_id, side, price, lots, *flags) in enumerate(part):
                row = (ns, order_id, price, lots, 0, action, side.sign, 0, flags[0] if flags else 0)
                messages[index] = row
            nothing = np.zeros(len(part), np.int64)
            yield FeedBlock(messages, nothing, nothing, nothing)


def add(ns: int, order_id: int, side: Side, price: int, lots: int) -> tuple[Any, ...]:
    """Return the row of an added order."""
    return (ns, Action.FEED_ADD, order_id, side, price, lots)


def opened(*rows: tuple[Any, ...]) -> FeedMarket:
    """Return a market whose snapshot is 99:[#1 10, #2 20] 101:[#3 10], at 5 ns, then the rows."""
    snapshot = [
        (*add(5, 1, BUY, 99, 10), Flag.SNAPSHOT),
        (*add(5, 2, BUY, 99, 20), Flag.SNAPSHOT),
        (*add(5, 3, SELL, 101, 10), Flag.SNAPSHOT),
    ]
    return FeedMarket(ListFeed(*snapshot, *rows))


def run(market: FeedMarket | FlowMarket, until_ns: int = 10**18) -> list[Event]:
    """Let everything happen until then and return the events."""
    events: list[Event] = []
    while (next_ns := market.next_ns()) is not None and next_ns <= until_ns:
        events += market.step()
    return events


def test_a_market_begins_with_the_files_snapshot_at_its_first_message() -> None:
    """What rested is there before anything has happened, and no event tells of it."""
    market = opened(add(70, 4, BUY, 98, 5))
    assert (70, 3, 70) == (market.book.now_ns, len(market.book), market.next_ns())
    assert [Accepted(4, BUY, 98, 5)] == run(market)
    assert market.ended
    assert None is market.next_ns()
    assert [] == market.step()


def test_without_own_orders_the_book_is_the_files() -> None:
    """Adds, executions, reductions, moves and deletes give the events and the book of a replay."""
    rows = [
        add(6, 4, SELL, 101, 7),
        (7, Action.FEED_EXECUTE, 1, BUY, 0, 4),
        (8, Action.FEED_REDUCE, 2, BUY, 0, 5),
        (9, Action.FEED_MODIFY, 4, SELL, 102, 3),
        (9, Action.FEED_MODIFY, 4, SELL, 102, 2),
        (10, Action.FEED_DELETE, 1, BUY, 0, 0),
        (11, Action.FEED_REDUCE, 4, SELL, 0, 2),
    ]
    market = opened(*rows)
    assert [
        Accepted(4, SELL, 101, 7),
        Traded(1, 1, 0, 99, 4, SELL, 6, 0),
        Reduced(2, 5, 15),
        Replaced(4, 102, 3, kept_priority=False),
        Replaced(4, 102, 2, kept_priority=True),
        Cancelled(1, 6, CancelReason.REQUESTED),
        Cancelled(4, 2, CancelReason.REQUESTED),
    ] == run(market)
    assert 0 == market.unfitting
    same = OrderBook(SHARE)
    same.feed_add(2, BUY, 99, 15)
    same.feed_add(3, SELL, 101, 10)
    assert [(2, 15), (3, 10)] == [(o.order_id, o.leaves) for o in market.book.orders()]


def test_an_own_order_waits_behind_who_was_there_and_before_who_comes() -> None:
    """An execution of an order behind it shows that it was reached; it trades with no more."""
    market = opened(
        (20, Action.FEED_EXECUTE, 1, BUY, 0, 10),
        add(21, 4, BUY, 99, 30),
        (22, Action.FEED_EXECUTE, 2, BUY, 0, 20),
        (23, Action.FEED_EXECUTE, 4, BUY, 0, 6),
        (24, Action.FEED_EXECUTE, 4, BUY, 0, 6),
    )
    market.act(Submit(OWN, BUY, 8, 99))
    assert 30 == market.book.queue_position(OWN).lots_ahead
    assert not any(is_own(event) for event in run(market, 22))
    assert 0 == market.book.queue_position(OWN).lots_ahead
    # Six of the eight, and the file's order has six less all the same.
    assert [
        Traded(3, OWN, 0, 99, 6, SELL, 2, 0),
        Reduced(4, 6, 24),
    ] == run(market, 23)
    assert [
        Traded(4, OWN, 0, 99, 2, SELL, 0, 0),
        Traded(5, 4, 0, 99, 4, SELL, 20, 0),
        Reduced(4, 2, 18),
    ] == run(market)
    assert OWN not in market.book
    assert 0 == len(market.own)


def test_an_own_order_at_a_better_price_trades_before_any_at_a_worse_one() -> None:
    """Whoever came to 99 would have met 100 first, at 100."""
    market = opened((20, Action.FEED_EXECUTE, 1, BUY, 0, 10))
    market.act(Submit(OWN, BUY, 4, 100))
    assert [
        Traded(1, OWN, 0, 100, 4, SELL, 0, 0),
        Traded(2, 1, 0, 99, 6, SELL, 4, 0),
        Cancelled(1, 4, CancelReason.REQUESTED),
    ] == run(market)


def test_own_orders_trade_by_price_then_time_and_hidden_ones_last() -> None:
    """Among several the order is the book's own."""
    market = opened((20, Action.FEED_EXECUTE, 1, BUY, 0, 10))
    market.act(Submit(OWN + 2, BUY, 2, 100, hidden=True))
    market.act(Submit(OWN + 3, BUY, 3, 100))
    market.act(Submit(OWN + 1, BUY, 1, 100))
    market.act(Submit(OWN + 4, BUY, 1, 99))
    makers = [e.maker_order_id for e in run(market) if isinstance(e, Traded)]
    assert [OWN + 3, OWN + 1, OWN + 2, 1] == makers


def test_what_arrives_through_an_own_price_trades_with_it() -> None:
    """A new ask and a moved one meet our bid between the touches, at its price."""
    market = opened(
        add(20, 4, SELL, 100, 6),
        (21, Action.FEED_MODIFY, 3, SELL, 100, 10),
    )
    market.act(Submit(OWN, BUY, 9, 100))
    assert [Accepted(4, SELL, 100, 6), Traded(1, OWN, 4, 100, 6, SELL, 3, 0)] == run(market, 20)
    assert 4 not in market.book
    assert [
        Replaced(3, 100, 10, kept_priority=False),
        Traded(2, OWN, 3, 100, 3, SELL, 0, 7),
    ] == run(market)
    resting = market.book.order(3)
    assert resting is not None
    assert (100, 7) == (resting.price_ticks, resting.leaves)


def test_what_an_own_order_took_is_gone_for_the_file_too() -> None:
    """Later messages about those lots are taken for what is there, and counted where none is."""
    market = opened(
        (20, Action.FEED_EXECUTE, 3, SELL, 0, 10),
        (21, Action.FEED_DELETE, 3, SELL, 0, 0),
    )
    taken = market.act(Submit(OWN, BUY, 4, 101))
    assert Traded(1, 3, OWN, 101, 4, BUY, 6, 0) == taken[1]
    assert [Traded(2, 3, 0, 101, 6, BUY, 0, 0)] == run(market)
    assert 1 == market.unfitting


def test_an_own_stop_is_released_by_the_files_trades() -> None:
    """It becomes an order of its own, and trades with what the book shows."""
    market = opened((20, Action.FEED_EXECUTE, 1, BUY, 0, 3))
    market.act(Submit(OWN, SELL, 5, order_type=OrderType.STOP, stop_ticks=99))
    assert 1 == len(market.own)
    assert [
        Traded(1, 1, 0, 99, 3, SELL, 7, 0),
        Triggered(OWN, 99),
        Traded(2, 1, OWN, 99, 5, SELL, 2, 0),
    ] == run(market)
    assert 0 == len(market.own)


def test_a_venue_that_starts_anew_takes_own_orders_out_too() -> None:
    """FEED_CLEAR cancels each order there is."""
    market = opened((20, Action.FEED_CLEAR, 0, BUY, 0, 0))
    market.act(Submit(OWN, BUY, 5, 98))
    gone = {event.order_id for event in run(market) if isinstance(event, Cancelled)}
    assert {1, 2, 3, OWN} == gone
    assert 0 == len(market.book)
    assert 0 == len(market.own)


def test_own_icebergs_are_refused_among_a_files_orders() -> None:
    """A file does not say how often one would have been reached."""
    with pytest.raises(NotSupported, match="display_lots: 2 of 9"):
        opened().act(Submit(OWN, BUY, 9, 98, display_lots=2))


def test_messages_that_cannot_be_true_are_counted_and_change_nothing() -> None:
    """Unknown orders, ids added twice, one's own ids, and commands."""
    market = opened(
        (20, Action.FEED_EXECUTE, 77, BUY, 0, 3),
        (20, Action.FEED_DELETE, 77, BUY, 0, 3),
        (20, Action.FEED_MODIFY, 77, BUY, 5, 3),
        add(20, 1, BUY, 98, 1),
        add(20, OWN + 5, BUY, 98, 1),
        add(20, 8, BUY, 0, 1),
        (20, Action.CANCEL, 1, BUY, 0, 0),
    )
    before = market.book.state_hash()
    assert [] == run(market)
    assert 7 == market.unfitting
    assert before == market.book.state_hash()


def test_a_recorded_flow_as_a_file_ends_in_its_own_book() -> None:
    """Message by message is what a replay in bulk is, and a far own order changes nothing."""
    recording = record(ZeroIntelligence(SHARE, seed=3, mid_ticks=10_000), 5_000)

    class Recorded(ListFeed):
        def blocks(self) -> Iterator[FeedBlock]:
            nothing = np.zeros(len(recording.feed), np.int64)
            yield FeedBlock(recording.feed, nothing, nothing, nothing)

    replayed = FeedReplay(Recorded())
    replayed.run()
    market = FeedMarket(Recorded())
    market.act(Submit(OWN, BUY, 5, 1))
    run(market)
    market.act(Cancel(OWN))
    market.book.check()
    assert 0 == market.unfitting
    assert recording.book.depth(50) == market.book.depth(50)
    ours = [(o.order_id, o.leaves) for o in market.book.orders()]
    assert [(o.order_id, o.leaves) for o in replayed.book.orders()] == ours


@pytest.mark.slow
def test_the_aapl_hour_steps_to_the_book_of_its_replay(market_data: Path) -> None:
    """Every message of the real hour, one at a time, with an own order far away."""
    path = next(market_data.rglob("AAPL_*message*.csv"))
    replayed = FeedReplay(open_feed(path))
    replayed.run()
    market = FeedMarket(open_feed(path))
    market.act(Submit(OWN, BUY, 5, 1))
    run(market)
    market.act(Cancel(OWN))
    assert replayed.book.depth(100) == market.book.depth(100)
    assert sum(replayed.summary.refused.values()) == market.unfitting


@pytest.mark.parametrize("name", FLOWS)
def test_every_generator_drives_a_book_and_the_same_seed_drives_it_the_same_way(name: str) -> None:
    """An own order queues and trades among the generator's; rate is only how fast it goes."""

    def made(seed: int, rate: float) -> FlowMarket:
        return FlowMarket(name, make_flow(name, SHARE, seed, 10_000), rate)

    def follow(market: FlowMarket) -> list[Event]:
        best = market.book.best_bid()
        assert best is not None
        market.act(Submit(OWN, BUY, 1, best.price_ticks))
        return [event for _ in range(400) for event in market.step()]

    slow, fast, other = made(7, 1.0), made(7, 8.0), made(8, 1.0)
    events = follow(slow)
    assert events == follow(fast)
    assert events != follow(other)
    assert abs(slow.book.now_ns - 8 * fast.book.now_ns) <= 8 * 400
    assert all(0 < event.order_id < FIRST_OWN_ID for event in events if isinstance(event, Accepted))
    slow.book.check()


def test_an_own_order_trades_with_a_generators() -> None:
    """At the touch of a busy book it is reached, and is then no longer one's own."""
    market = FlowMarket("zero-intelligence", make_flow("zero-intelligence", SHARE, 1, 10_000))
    best = market.book.best_bid()
    assert best is not None
    market.act(Submit(OWN, BUY, 1, best.price_ticks + 1))
    own = [event for _ in range(3_000) for event in market.step() if is_own(event)]
    assert [OWN] == [event.maker_order_id for event in own if isinstance(event, Traded)]
    assert 0 == len(market.own)


def test_an_unknown_generator_and_a_wrong_rate_are_refused() -> None:
    """The text names the field and what is allowed."""
    with pytest.raises(InvalidInput, match="model: 'magic'; allowed: zero-intelligence"):
        make_flow("magic", SHARE, 1, 10_000)
    with pytest.raises(InvalidInput, match="rate: 0"):
        FlowMarket("x", make_flow("zero-intelligence", SHARE, 1, 10_000), 0.0)


def test_a_book_that_is_wrong_in_itself_is_no_message_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever holds it has to stop, and must learn of it."""
    market = opened(add(10, 4, BUY, 98, 10))

    def broken(*_: object) -> None:
        raise InvariantViolation("the book's indexes differ")

    monkeypatch.setattr(market, "_happen", broken)
    with pytest.raises(InvariantViolation):
        run(market)
    assert 0 == market.unfitting

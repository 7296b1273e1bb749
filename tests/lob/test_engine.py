"""Orders act on the book as it stands when they arrive, and their owner hears of it later."""

from collections.abc import Iterator

import pytest

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.engine import EventQueue, MatchingEngine, Notice, Priority
from lob.errors import InvalidInput, Overloaded
from lob.latency import Component, Constant, LatencyModel
from lob.types import (
    Accepted,
    Cancel,
    Cancelled,
    Command,
    Expired,
    Level,
    OrderType,
    QueuePosition,
    Rejected,
    RejectReason,
    Replace,
    Side,
    Submit,
    TimeInForce,
    Traded,
    Triggered,
)

LATENCY = LatencyModel(
    {
        Component.FEED: Constant(1.0),
        Component.ORDER: Constant(10.0),
        Component.EXCHANGE: Constant(5.0),
        Component.FILL: Constant(7.0),
    },
    seed=1,
)


def engine_with(
    tape: list[tuple[int, Command]], *, max_tracked_orders: int = 10, max_events: int = 1_000
) -> MatchingEngine:
    """Return an engine over one ask of 5 at 101 with a tape of background commands."""
    book = OrderBook()
    book.submit(900, Side.SELL, 5, 101)
    following: Iterator[tuple[int, Command]] = iter(tape)
    return MatchingEngine(
        book,
        LATENCY,
        ManualClock(),
        lambda _: next(following, None),
        max_events=max_events,
        max_tracked_orders=max_tracked_orders,
    )


def test_the_queue_orders_by_time_priority_and_arrival() -> None:
    """Earlier first; then market data before orders before timers; then in order of pushing."""
    queue = EventQueue[str](capacity=5)
    queue.push(2, Priority.MARKET_DATA, "e")
    queue.push(1, Priority.TIMER, "d")
    queue.push(1, Priority.ORDER_ARRIVAL, "b")
    queue.push(1, Priority.ORDER_ARRIVAL, "c")
    queue.push(1, Priority.MARKET_DATA, "a")

    with pytest.raises(Overloaded):
        queue.push(3, Priority.FILL, "f")
    assert "abcde" == "".join(queue.pop()[2] for _ in range(5))
    assert queue.next_time_ns() is None
    with pytest.raises(InvalidInput):
        queue.pop()


def test_an_order_meets_the_book_of_its_arrival_not_of_its_sending() -> None:
    """The ask it was sent for is gone when it arrives; the explanation says what came before."""
    engine = engine_with([(4_000, Submit(901, Side.BUY, 5, 101)), (99_000, Cancel(900))])

    story = engine.execute(Submit(1, Side.BUY, 5, 101, time_in_force=TimeInForce.IOC))

    arrival = story.arrival
    assert (0, 15_000) == (arrival.sent_ns, arrival.acted_ns)
    assert (10_000, 5_000) == (arrival.order_latency_ns, arrival.exchange_latency_ns)
    assert 1 == arrival.events_ahead
    assert (None, Level(101, 5, 1)) == arrival.touch_when_sent
    assert (None, None) == arrival.touch_on_arrival
    assert [Accepted, Cancelled] == [type(event) for event in arrival.events]
    assert {22_000} == {notice.known_ns for notice in story.notices}


def test_market_data_of_the_same_nanosecond_goes_first() -> None:
    """A background command at the very arrival is ahead; one nanosecond later it is not."""
    order = Submit(1, Side.BUY, 5, 101, time_in_force=TimeInForce.IOC)

    at_once = engine_with([(15_000, Cancel(900))]).execute(order)
    later = engine_with([(15_001, Cancel(900))]).execute(order)

    assert 1 == at_once.arrival.events_ahead
    assert 0 == later.arrival.events_ahead
    assert any(isinstance(event, Traded) for event in later.arrival.events)


def test_a_resting_order_knows_its_queue_and_hears_of_later_fills() -> None:
    """It queues behind what is there, then is filled by the background while its owner waits."""
    engine = engine_with(
        [(1_000, Submit(901, Side.BUY, 4, 99)), (40_000, Submit(902, Side.SELL, 6, 99))]
    )

    story = engine.execute(Submit(1, Side.BUY, 3, 99), wait_ns=100_000)

    assert story.arrival.queue_ahead == QueuePosition(orders_ahead=1, lots_ahead=4)
    accepted, traded = story.notices
    assert isinstance(accepted.event, Accepted)
    assert isinstance(traded.event, Traded)
    assert (40_000, 47_000) == (traded.happened_ns, traded.known_ns)
    assert 2 == traded.event.quantity_lots


def test_a_session_keeps_its_order() -> None:
    """A cancel sent after its order never overtakes it, whatever the draws are."""
    latency = LatencyModel.profile("retail", seed=4, cv=2.0)
    engine = MatchingEngine(OrderBook(), latency, ManualClock())
    for order_id in range(1, 51):
        engine.send(Submit(order_id, Side.BUY, 1, 100))
        engine.send(Cancel(order_id))

    notices = engine.run_until(10_000_000_000)

    assert 100 == len(notices)
    assert not any(isinstance(notice.event, Rejected) for notice in notices)
    assert sorted(n.known_ns for n in notices) == [n.known_ns for n in notices]


def test_tracked_orders_are_bounded_and_freed() -> None:
    """One order too many is Overloaded; an ended one makes room."""
    engine = engine_with([], max_tracked_orders=1)
    engine.execute(Submit(1, Side.BUY, 1, 99))

    with pytest.raises(Overloaded, match="tracked orders"):
        engine.send(Submit(2, Side.BUY, 1, 99))
    engine.execute(Cancel(1))
    assert Accepted is type(engine.execute(Submit(2, Side.BUY, 1, 99)).arrival.events[0])


def test_what_could_not_be_sent_is_not_tracked() -> None:
    """An order that the full event queue turned away takes no room among the tracked ones."""
    engine = engine_with([], max_tracked_orders=2, max_events=1)
    engine.send(Submit(1, Side.BUY, 1, 99))
    for order_id in (2, 3):
        with pytest.raises(Overloaded, match="event queue"):
            engine.send(Submit(order_id, Side.BUY, 1, 99))


def test_another_owners_id_is_refused_and_stays_theirs() -> None:
    """Submitting a live id is rejected, and its owner's later trades are not ours to hear."""
    engine = engine_with([(50_000, Submit(902, Side.BUY, 5, 101))])

    story = engine.execute(Submit(900, Side.BUY, 1, 99), wait_ns=100_000)

    assert [Rejected(900, RejectReason.DUPLICATE_ORDER_ID)] == [n.event for n in story.notices]


def test_background_from_the_past_is_refused() -> None:
    """A tape that goes back is InvalidInput, not a quiet reordering."""
    engine = engine_with([(5_000, Cancel(900)), (4_000, Cancel(900))])

    with pytest.raises(InvalidInput, match="background"):
        engine.run_until(10_000)
    with pytest.raises(InvalidInput, match="wait_ns"):
        engine.execute(Cancel(900), wait_ns=-1)


def test_an_order_expires_at_the_exchanges_time() -> None:
    """A GTD order goes at its time with nothing else happening, and its owner hears of it later."""
    engine = engine_with([])
    sent = Submit(1, Side.BUY, 4, 99, time_in_force=TimeInForce.GTD, expire_ns=50_000)
    engine.execute(sent)

    assert [] == [n for n in engine.run_until(49_999) if isinstance(n.event, Expired)]
    assert 1 in engine.book
    heard = engine.run_until(100_000)

    assert [Notice(Expired(1, 4), 50_000, 57_000)] == list(heard)
    assert 1 not in engine.book
    assert 100_000 == engine.book.now_ns


def test_a_background_order_is_not_met_after_its_time() -> None:
    """An order that arrives after another's time does not trade with it."""
    late = Submit(2, Side.SELL, 4, 105, time_in_force=TimeInForce.GTD, expire_ns=14_000)
    engine = engine_with([(1, late)])

    story = engine.execute(Submit(1, Side.BUY, 9, 105, time_in_force=TimeInForce.IOC))

    trades = [event for event in story.arrival.events if isinstance(event, Traded)]
    assert 15_000 == story.arrival.acted_ns
    assert [900] == [trade.maker_order_id for trade in trades]


def test_a_stop_of_the_clients_is_followed_until_it_ends() -> None:
    """Its owner hears when it is triggered by others, what it trades, and what a refusal says."""
    others = Submit(2, Side.BUY, 1, 101)
    engine = engine_with([(100_000, others)])
    stop = Submit(1, Side.BUY, 2, order_type=OrderType.STOP, stop_ticks=101)
    engine.execute(stop)
    refused = engine.execute(Replace(1, 101, 2))

    heard = [notice.event for notice in engine.run_until(200_000)]

    assert (Rejected(1, RejectReason.STOP_NOT_TRIGGERED),) == tuple(refused.arrival.events)
    assert [Triggered(1, 101), Traded(2, 900, 1, 101, 2, Side.BUY, 2, 0)] == heard

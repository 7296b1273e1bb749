"""The book's feed side, its questions, and its checks."""

from decimal import Decimal
from hashlib import blake2b
from typing import Any

import pytest

from lob.book import OrderBook
from lob.errors import Conflict, InvalidInput, InvariantViolation, NotFound
from lob.state_hash import state_bytes
from lob.types import (
    DAY_NS,
    INT64_MAX,
    AssetClass,
    BookSnapshot,
    Expired,
    Instrument,
    Level,
    OrderType,
    QueuePosition,
    RestingOrder,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
)


@pytest.fixture
def book() -> OrderBook:
    """Two bids at 99, one at 98, one ask at 101."""
    book = OrderBook()
    book.feed_add(1, Side.BUY, 99, 5)
    book.feed_add(2, Side.BUY, 99, 7)
    book.feed_add(3, Side.BUY, 98, 1)
    book.feed_add(4, Side.SELL, 101, 2)
    return book


def test_questions(book: OrderBook) -> None:
    """Touch, spread, mid, depth, level, queue position and levels before answer exactly."""
    assert book.best_bid() == Level(99, 12, 2)
    assert book.best_ask() == Level(101, 2, 1)
    assert book.spread_ticks() == 2
    assert book.mid_ticks() == 100.0
    assert book.depth(1) == ((Level(99, 12, 2),), (Level(101, 2, 1),))
    assert book.level(Side.BUY, 98) == Level(98, 1, 1)
    assert book.level(Side.SELL, 98) is None
    assert book.queue_position(2) == QueuePosition(orders_ahead=1, lots_ahead=5)
    assert book.queue_position(3) == QueuePosition(0, 0)
    assert book.levels_before(3) == 1
    assert [order.order_id for order in book.orders()] == [1, 2, 3, 4]
    assert 4 == len(book)
    with pytest.raises(NotFound):
        book.queue_position(9)
    with pytest.raises(InvalidInput):
        book.depth(-1)


def test_an_empty_book_has_no_touch() -> None:
    """Nothing is None rather than a number."""
    book = OrderBook()

    assert (None, None, None, None) == (
        book.best_bid(),
        book.best_ask(),
        book.spread_ticks(),
        book.mid_ticks(),
    )
    assert book.walk(Side.BUY, 5) == (0, 0, None, ())


def test_a_feed_moves_the_book_without_matching(book: OrderBook) -> None:
    """Reports are recorded as they are; a crossed book is said to be crossed."""
    book.feed_reduce(1, 2)
    book.feed_execute(1, 3)
    book.feed_delete(3)
    book.feed_modify(2, 99, 6)
    book.feed_add(5, Side.SELL, 99, 1)

    assert 1 not in book
    assert 1 == book.trade_count
    assert book.best_bid() == Level(99, 6, 1)
    assert book.crossed
    book.check(crossed_allowed=True)
    with pytest.raises(InvariantViolation, match="crossed"):
        book.check()


def test_a_feed_modify_keeps_its_place_only_where_a_replace_would(book: OrderBook) -> None:
    """More lots, or another price, go to the tail."""
    book.feed_modify(1, 99, 6)
    assert book.queue_position(1) == QueuePosition(1, 7)
    book.feed_modify(2, 98, 7)
    assert book.queue_position(2) == QueuePosition(1, 1)


@pytest.mark.parametrize("bad", [0, -1, 2**63, True, 1.0, None])
def test_a_feed_with_bad_numbers_is_a_fault(book: OrderBook, bad: object) -> None:
    """Ids, prices and quantities out of range raise InvalidInput and change nothing."""
    before = book.state_hash()
    value: int = bad  # type: ignore[assignment]

    for attempt in (
        lambda: book.feed_add(value, Side.BUY, 99, 1),
        lambda: book.feed_add(9, Side.BUY, value, 1),
        lambda: book.feed_add(9, Side.BUY, 99, value),
        lambda: book.feed_reduce(1, value),
        lambda: book.feed_execute(1, value),
        lambda: book.feed_delete(value),
        lambda: book.feed_modify(1, value, 1),
        lambda: book.feed_modify(1, 99, value),
        lambda: book.walk(Side.BUY, value),
    ):
        with pytest.raises(InvalidInput):
            attempt()
    assert before == book.state_hash()


def test_a_feed_that_contradicts_the_book_is_a_fault(book: OrderBook) -> None:
    """Duplicates, unknown orders, too many lots and unknown sides raise; nothing changes."""
    before = book.state_hash()

    with pytest.raises(Conflict):
        book.feed_add(1, Side.BUY, 99, 1)
    with pytest.raises(Conflict):
        book.feed_execute(1, 6)
    with pytest.raises(NotFound):
        book.feed_delete(9)
    with pytest.raises(InvalidInput, match="side"):
        book.feed_add(9, "HOLD", 99, 1)  # type: ignore[arg-type]
    assert before == book.state_hash()
    assert 0 == book.trade_count


def test_plain_strings_mean_the_same_as_the_enums() -> None:
    """A side or type that came as text from an edge is not taken for another one."""
    book = OrderBook()

    book.submit(1, "BUY", 5, 99, time_in_force="GTC", order_type="LIMIT", stp="NONE")  # type: ignore[arg-type]

    assert book.best_bid() == Level(99, 5, 1)


@pytest.mark.parametrize("field", ["order_type", "time_in_force", "stp"])
def test_an_unknown_word_is_a_fault_and_not_another_order(book: OrderBook, field: str) -> None:
    """A stop is no market order and a day order no IOC: what the book has not, it says so."""
    words: dict[str, Any] = {field: "PEG"}
    with pytest.raises(InvalidInput, match=f"{field}: 'PEG'; allowed: "):
        book.submit(9, Side.BUY, 5, None if field == "order_type" else 101, **words)
    with pytest.raises(InvalidInput, match="stp: 'PEG'"):
        book.walk(Side.BUY, 5, stp="PEG")  # type: ignore[arg-type]
    assert 4 == len(book)


@pytest.fixture
def full() -> OrderBook:
    """Every kind of order: plain, iceberg, hidden, guarded, expiring, and two stops."""
    book = OrderBook()
    book.submit(1, Side.BUY, 5, 99)
    book.submit(2, Side.BUY, 9, 99, display_lots=3)
    book.submit(3, Side.BUY, 4, 99, hidden=True, time_in_force=TimeInForce.GTD, expire_ns=50)
    book.submit(4, Side.BUY, 1, 98, post_only=True, participant_id=7)
    book.submit(5, Side.SELL, 2, 101, stp=SelfTradePrevention.CANCEL_BOTH, participant_id=7)
    book.submit(6, Side.BUY, 3, order_type=OrderType.STOP, stop_ticks=105)
    book.submit(7, Side.SELL, 3, 90, order_type=OrderType.STOP_LIMIT, stop_ticks=95, hidden=True)
    book.submit(8, Side.SELL, 1, 99)
    book.advance(10)
    return book


def test_the_hash_sees_everything_that_decides_the_future(full: OrderBook) -> None:
    """Every field of every resting order, stop and count changes the hash, and nothing repeats."""
    snapshot = full.snapshot()
    first, iceberg, hidden, *others = snapshot.orders
    buy, sell = snapshot.stops
    changed = [
        snapshot._replace(
            orders=(first._replace(leaves=6, displayed_lots=6), *snapshot.orders[1:])
        ),
        snapshot._replace(orders=(first._replace(participant_id=3), *snapshot.orders[1:])),
        snapshot._replace(orders=(first._replace(post_only=True), *snapshot.orders[1:])),
        snapshot._replace(orders=(first._replace(expire_ns=60), *snapshot.orders[1:])),
        snapshot._replace(orders=(iceberg, first, hidden, *others)),
        snapshot._replace(orders=(first, iceberg._replace(leaves=8), hidden, *others)),
        snapshot._replace(orders=(first, iceberg._replace(displayed_lots=2), hidden, *others)),
        snapshot._replace(orders=(first, iceberg._replace(display_lots=4), hidden, *others)),
        snapshot._replace(orders=(first, iceberg, hidden._replace(expire_ns=51), *others)),
        snapshot._replace(stops=(buy._replace(stop_ticks=106), sell)),
        snapshot._replace(stops=(buy._replace(time_in_force=TimeInForce.FOK), sell)),
        snapshot._replace(stops=(buy, sell._replace(hidden=False))),
        snapshot._replace(stops=(buy, sell._replace(price_ticks=91))),
        snapshot._replace(stops=(buy,)),
        snapshot._replace(trade_sequence=2),
        snapshot._replace(last_trade_ticks=98),
        snapshot._replace(now_ns=11),
    ]

    hashes = {OrderBook.restore(one).state_hash() for one in (snapshot, *changed)}

    assert full.state_hash() in hashes
    assert len(changed) + 1 == len(hashes)


def test_the_hash_is_a_fixed_point_of_the_format(full: OrderBook) -> None:
    """The bytes of the hash are a contract with every other implementation."""
    header = b"touchstone-book2" + b"".join(
        number.to_bytes(8, "little") for number in (4, 1, 2, 1, 99, 10)
    )

    written = state_bytes(full.snapshot())

    assert header == written[: len(header)]
    assert len(header) + 5 * (7 * 8 + 2) + 2 * (7 * 8 + 5) == len(written)
    assert blake2b(written, digest_size=16).hexdigest() == full.state_hash()
    assert "ce7c31fd2860a6ba7436ec2f0bb95960" == full.state_hash()


FIRST = RestingOrder(1, Side.BUY, 99, 5, 5)
LATER = RestingOrder(2, Side.BUY, 99, 5, 5)


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ((FIRST, FIRST), "order 1 is there twice"),
        ((FIRST, LATER._replace(price_ticks=100)), "not in order of priority"),
        ((FIRST._replace(hidden=True, displayed_lots=0), LATER), "not in order of priority"),
        ((FIRST._replace(displayed_lots=4),), "not in order of priority"),
        ((FIRST._replace(display_lots=3, displayed_lots=4),), "order 1 shows 4 lots"),
        ((FIRST._replace(display_lots=3, displayed_lots=0),), "order 1 shows 0 lots"),
        ((FIRST._replace(display_lots=3, displayed_lots=0, hidden=True),), "display 3"),
        ((FIRST._replace(display_lots=-1),), "display -1"),
        ((FIRST._replace(expire_ns=5),), "order 1 expired at 5 already"),
        ((FIRST._replace(participant_id=-1),), "participant -1"),
        ((FIRST._replace(leaves=0),), "leaves: 0"),
        ((FIRST._replace(price_ticks=0),), "price_ticks: 0"),
        ((FIRST, LATER._replace(leaves=INT64_MAX)), "more than"),
        ((FIRST._replace(stp="SOMETIMES"),), "stp: 'SOMETIMES'"),  # type: ignore[arg-type]
    ],
)
def test_an_impossible_snapshot_is_refused(orders: tuple[RestingOrder, ...], message: str) -> None:
    """What no book can hold is named, and no book is made of it."""
    with pytest.raises(InvalidInput, match=message):
        OrderBook.restore(BookSnapshot(None, orders, (), 0, None, 5))


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        (Submit(1, Side.BUY, 5, order_type=OrderType.STOP), "no stop price"),
        (Submit(1, Side.BUY, 5, 99, stop_ticks=9), "not a stop's type"),
        (Submit(1, Side.BUY, 5, 99, order_type=OrderType.STOP, stop_ticks=9), "not a stop's"),
        (Submit(2, Side.BUY, 5, order_type=OrderType.STOP, stop_ticks=9), "there twice"),
    ],
)
def test_an_impossible_stop_in_a_snapshot_is_refused(stop: Submit, message: str) -> None:
    """A stop that could not have been taken is not restored."""
    with pytest.raises(InvalidInput, match=message):
        OrderBook.restore(BookSnapshot(None, (LATER,), (stop,), 0, None, 5))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"trade_sequence": -1}, "trade_sequence: -1"),
        ({"trade_sequence": INT64_MAX}, "trade_sequence"),
        ({"last_trade_ticks": 0}, "last_trade_ticks: 0"),
        ({"now_ns": 2**63}, "now_ns"),
    ],
)
def test_impossible_counts_in_a_snapshot_are_refused(counts: dict[str, int], message: str) -> None:
    """Trades, price and time are numbers that a book can have."""
    snapshot = BookSnapshot(None, (), (), 0, None, 0)._replace(**counts)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=message):
        OrderBook.restore(snapshot)


def test_check_finds_damage(book: OrderBook) -> None:
    """A total, an index or a touch that is wrong by hand is found."""
    best = book._bids.best
    assert best is not None
    best.displayed_lots += 1
    with pytest.raises(InvariantViolation, match="13 lots, has 12"):
        book.check()
    best.displayed_lots -= 1
    best.concealed_lots += 1
    with pytest.raises(InvariantViolation, match="conceals 0 lots"):
        book.check()
    best.concealed_lots -= 1
    book.check()
    del book._orders[3]
    with pytest.raises(InvariantViolation, match="not in the index"):
        book.check()


def test_hidden_orders_are_in_no_depth_but_in_the_orders() -> None:
    """Touch, depth, level and levels before see what is displayed; orders see everything."""
    book = OrderBook()
    book.submit(1, Side.BUY, 5, 100, hidden=True)
    book.submit(2, Side.BUY, 9, 99, display_lots=2)
    book.submit(3, Side.BUY, 1, 98)

    assert book.best_bid() == Level(99, 2, 1)
    assert book.depth(9) == ((Level(99, 2, 1), Level(98, 1, 1)), ())
    assert book.level(Side.BUY, 100) is None
    assert book.spread_ticks() is None
    assert [1, 2, 3] == [order.order_id for order in book.orders()]
    assert (0, 0, 1) == tuple(book.levels_before(order_id) for order_id in (1, 2, 3))
    assert book.order(1) == RestingOrder(1, Side.BUY, 100, 5, 0, hidden=True)
    assert book.first_order(Side.BUY, 100) == book.order(1)
    assert book.walk(Side.SELL, 99).quantity_lots == 15


def test_time_never_goes_back() -> None:
    """An earlier time, or one that is no whole number, is a fault; the same time is none."""
    book = OrderBook()
    assert () == book.advance(7)
    assert () == book.advance(7)
    for bad in (6, -1, 2**63, 7.0, True, None):
        with pytest.raises(InvalidInput, match="now_ns"):
            book.advance(bad)  # type: ignore[arg-type]
    assert 7 == book.now_ns


@pytest.mark.parametrize(
    ("now_ns", "close_ns", "expires"),
    [
        (0, 0, DAY_NS),
        (5, 7, 7),
        (7, 7, DAY_NS + 7),
        (3 * DAY_NS + 8, 7, 4 * DAY_NS + 7),
        (INT64_MAX - 1, 0, INT64_MAX),
    ],
)
def test_a_day_ends_at_the_next_close(now_ns: int, close_ns: int, expires: int) -> None:
    """DAY orders expire at the first close strictly later, and never beyond 64 bits."""
    instrument = Instrument(
        symbol="A",
        asset_class=AssetClass.EQUITY,
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        day_close_ns=close_ns,
    )
    book = OrderBook(instrument)
    book.advance(now_ns)
    book.submit(1, Side.BUY, 5, 99, time_in_force=TimeInForce.DAY)
    order = book.order(1)

    assert order is not None
    assert expires == order.expire_ns
    assert () == book.advance(expires - 1)
    assert (Expired(1, 5),) == book.advance(expires)
    assert 0 == len(book)


def test_the_one_tracked_longest_makes_room() -> None:
    """At most so many orders are tracked; what is dropped is answered by walking, and alike."""
    book = OrderBook(max_tracked_orders=2)
    for order_id in (1, 2, 3):
        book.submit(order_id, Side.BUY, 5, 99)

    positions = [book.track(order_id) for order_id in (1, 2, 3, 3)]

    assert [(0, 0), (1, 5), (2, 10), (2, 10)] == positions
    assert 2 == book.tracked_count
    assert [(0, 0), (1, 5), (2, 10)] == [book.queue_position(i) for i in (1, 2, 3)]
    book.cancel(2)
    assert 1 == book.tracked_count
    book.untrack(3)
    book.untrack(3)
    assert 0 == book.tracked_count
    with pytest.raises(NotFound):
        book.track(2)
    with pytest.raises(InvalidInput, match="max_tracked_orders"):
        OrderBook(max_tracked_orders=-1)


def test_a_tracked_order_that_moves_stays_tracked() -> None:
    """A replaced order is followed at its new place, an iceberg at the tail where it refills."""
    book = OrderBook()
    book.submit(1, Side.BUY, 9, 99, display_lots=3)
    book.submit(2, Side.BUY, 5, 99)
    book.submit(3, Side.BUY, 4, 98)
    book.track(1)
    book.track(2)

    book.submit(4, Side.SELL, 3, 99)
    assert [(1, 5), (0, 0)] == [book.queue_position(1), book.queue_position(2)]
    book.replace(2, 98, 5)
    assert [(0, 0), (1, 4)] == [book.queue_position(1), book.queue_position(2)]
    assert 2 == book.tracked_count


def test_a_cleared_book_keeps_its_stops_its_time_and_its_trades(full: OrderBook) -> None:
    """A venue that starts anew empties the book, ours too; what waits outside it goes on."""
    full.track(1)
    full.feed_clear()

    full.check()
    assert (0, 0) == (len(full), full.tracked_count)
    assert [6, 7] == [stop.order_id for stop in full.stops()]
    assert (1, 10, 99) == (full.trade_count, full.now_ns, full.last_trade_ticks)

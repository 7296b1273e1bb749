"""The book's feed side, its questions, and its checks."""

from dataclasses import replace
from typing import Any

import pytest

from lob import OrderBook
from lob.errors import Conflict, InvalidInput, InvariantViolation, NotFound
from lob.types import BookSnapshot, Level, QueuePosition, RestingOrder, Side


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
    words: dict[str, Any] = {field: "STOP"}
    with pytest.raises(InvalidInput, match=f"{field}: 'STOP'; allowed: "):
        book.submit(9, Side.BUY, 5, None if field == "order_type" else 101, **words)
    with pytest.raises(InvalidInput, match="stp: 'STOP'"):
        book.walk(Side.BUY, 5, stp="STOP")  # type: ignore[arg-type]
    assert 4 == len(book)


def test_the_hash_sees_everything_that_decides_the_future(book: OrderBook) -> None:
    """Leaves, order of the queue, owner and trades so far all change the hash."""
    hashes = {book.state_hash()}
    orders = book.snapshot().orders
    for changed in (
        (replace(orders[0], leaves=6), *orders[1:]),
        (replace(orders[0], participant_id=3), *orders[1:]),
        (replace(orders[0], post_only=True), *orders[1:]),
        (replace(orders[1], sequence=1), replace(orders[0], sequence=2), *orders[2:]),
    ):
        hashes.add(OrderBook.restore(replace(book.snapshot(), orders=changed)).state_hash())
    hashes.add(OrderBook.restore(replace(book.snapshot(), trade_sequence=1)).state_hash())

    assert 6 == len(hashes)


def test_the_hash_is_a_fixed_point_of_the_format() -> None:
    """The bytes of the hash are a contract with every other implementation."""
    book = OrderBook()
    book.submit(1, Side.SELL, 5, 101)
    book.submit(2, Side.BUY, 8, 101)

    assert book.state_hash() == "11e7e297bfc52a8f33daf5f23d343e8f"


def test_an_impossible_snapshot_is_refused() -> None:
    """Orders out of sequence, or one id twice, are no book."""
    first = RestingOrder(1, Side.BUY, 99, 5, sequence=2)
    late = RestingOrder(2, Side.BUY, 99, 5, sequence=1)

    with pytest.raises(InvalidInput, match="snapshot"):
        OrderBook.restore(BookSnapshot(None, (first, late), 0, 2))
    with pytest.raises(Conflict):
        OrderBook.restore(BookSnapshot(None, (first, first), 0, 2))


def test_check_finds_damage(book: OrderBook) -> None:
    """A total, an index or a touch that is wrong by hand is found."""
    book._bids.best.total_lots += 1  # type: ignore[union-attr]
    with pytest.raises(InvariantViolation, match="13 lots, has 12"):
        book.check()
    book._bids.best.total_lots -= 1  # type: ignore[union-attr]
    del book._orders[3]
    with pytest.raises(InvariantViolation, match="not in the index"):
        book.check()

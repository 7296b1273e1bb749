"""The native book from C's side: the functions that jitted strategies call."""

from typing import Any

import pytest

from lob.messages import Flag
from lob.types import INT64_MAX, QueuePosition, RejectReason, Side

native = pytest.importorskip("lob.native")

GTC, IOC = 0, 1


def refused(reason: RejectReason) -> int:
    """Return the number that says a reason."""
    return -1 - tuple(RejectReason).index(reason)


@pytest.fixture
def book() -> Any:
    """Return an empty native book."""
    return native.NativeOrderBook()


def test_commands_do_what_the_methods_do(book: Any) -> None:
    """Orders sent through C rest, trade, shrink and go as those sent from Python."""
    c, at = native.c_functions(), book.handle
    assert c.submit(at, 1, -1, 5, 101, GTC, 0, 0, 0) == 0
    assert c.submit(at, 2, +1, 8, 101, GTC, 0, 0, 0) == 5
    assert (c.best_price(at, +1), c.best_lots(at, +1)) == (101, 3)
    assert c.best_price(at, -1) == 0
    assert c.reduce(at, 2, 1) == 0
    assert c.leaves(at, 2) == 2
    assert c.submit(at, 3, +1, 4, 101, GTC, 0, 0, 0) == 0
    assert c.lots_ahead(at, 3) == 2
    assert c.lots_at(at, +1, 101) == 6
    assert c.replace(at, 2, 100, 9) == 0
    assert c.cancel(at, 3) == 0
    assert (c.order_count(at), c.trade_count(at)) == (1, 1)
    assert c.submit(at, 4, -1, 20, 0, IOC, 0, int(Flag.NONE), 0) == 9
    assert len(book) == 0
    book.check()


def test_what_trades_and_waits_is_seen_from_both_sides(book: Any) -> None:
    """Places, touch and counts are the same through C and through the methods."""
    c = native.c_functions()
    buy, sell = Side.BUY.sign, Side.SELL.sign

    assert 0 == c.submit(book.handle, 1, buy, 5, 100, 0, 0, 0, 0)
    assert 0 == c.submit(book.handle, 2, buy, 4, 100, 0, 0, 0, 0)
    assert 5 == c.lots_ahead(book.handle, 2)
    assert 3 == c.submit(book.handle, 3, sell, 3, 100, 0, 0, 0, 0)
    assert (100, 6) == (c.best_price(book.handle, buy), c.best_lots(book.handle, buy))
    assert QueuePosition(1, 2) == book.queue_position(2)
    assert refused(RejectReason.UNKNOWN_ORDER) == c.cancel(book.handle, 77)
    assert 0 == c.cancel(book.handle, 1)
    assert (1, 1) == (c.order_count(book.handle), c.trade_count(book.handle))
    book.check()


def test_feed_messages_do_what_the_methods_do(book: Any) -> None:
    """A feed told through C leaves the same state as one told through Python."""
    c, at = native.c_functions(), book.handle
    expected = native.NativeOrderBook()
    assert c.feed_add(at, 1, +1, 100, 9) == 0
    assert c.feed_add(at, 2, -1, 105, 7) == 0
    assert c.feed_reduce(at, 1, 2) == 0
    assert c.feed_execute(at, 2, 3) == 0
    assert c.feed_modify(at, 1, 101, 5) == 0
    assert c.feed_delete(at, 2) == 0
    expected.feed_add(1, Side.BUY, 100, 9)
    expected.feed_add(2, Side.SELL, 105, 7)
    expected.feed_reduce(1, 2)
    expected.feed_execute(2, 3)
    expected.feed_modify(1, 101, 5)
    expected.feed_delete(2)
    assert expected.state_hash() == book.state_hash()


def test_what_cannot_be_done_is_a_number_below_zero(book: Any) -> None:
    """Refusals, words that do not exist and numbers out of range come back as numbers."""
    c, at = native.c_functions(), book.handle
    assert c.cancel(at, 7) == refused(RejectReason.UNKNOWN_ORDER)
    assert c.cancel(at, 0) == refused(RejectReason.INVALID_ORDER_ID)
    assert c.submit(at, 1, +1, -5, 10, GTC, 0, 0, 0) == refused(RejectReason.INVALID_QUANTITY)
    assert c.submit(at, 1, 0, 5, 10, GTC, 0, 0, 0) == -103
    assert c.submit(at, 1, +1, 5, 10, 9, 0, 0, 0) == -103
    assert c.submit(at, 1, +1, 5, 10, GTC, 0, 7 << 3, 0) == -103
    assert c.feed_add(at, 1, 2, 10, 5) == -103
    assert c.lots_ahead(at, INT64_MAX) == refused(RejectReason.UNKNOWN_ORDER)
    assert c.leaves(at, -4) == 0
    assert c.lots_at(at, +1, -1) == 0
    assert len(book) == 0


def test_a_full_book_is_a_number_too() -> None:
    """A book at its limit answers -101 and stays whole."""
    book = native.NativeOrderBook(max_nodes=32)
    c, at = native.c_functions(), book.handle
    answers = {c.submit(at, order_id, +1, 1, order_id, GTC, 0, 0, 0) for order_id in range(1, 99)}
    assert answers == {0, -101}
    book.check()


def test_time_moves_on_only(book: Any) -> None:
    """`advance` ends what is due; a time before the book's changes nothing."""
    c, at = native.c_functions(), book.handle
    book.submit(1, Side.BUY, 5, 10, time_in_force="GTD", expire_ns=50)
    assert c.advance(at, 60) == 0
    assert c.advance(at, 10) == 0
    assert (book.now_ns, len(book)) == (60, 0)


@pytest.mark.slow
def test_jitted_code_calls_the_book(book: Any) -> None:
    """A numba-compiled strategy sends orders and reads the touch without Python."""
    numba = pytest.importorskip("numba")
    c = native.c_functions()
    submit, cancel, best_price = c.submit, c.cancel, c.best_price

    def strategy(at: int, rounds: int) -> int:
        total = 0
        for order_id in range(1, rounds + 1):
            submit(at, order_id, 1, 5, 100 + order_id % 7, 0, 0, 0, 0)
            total += best_price(at, 1)
            if order_id % 2 == 0:
                cancel(at, order_id)
        return total

    total = numba.njit(strategy)(book.handle, 1_000)
    expected = native.NativeOrderBook()
    checked = 0
    for order_id in range(1, 1_001):
        expected.submit(order_id, Side.BUY, 5, 100 + order_id % 7)
        checked += expected.best_bid().price_ticks
        if order_id % 2 == 0:
            expected.cancel(order_id)
    assert checked == total
    assert len(book) == 500
    assert book.best_bid().price_ticks == best_price(book.handle, 1)
    book.check()
    assert expected.state_hash() == book.state_hash()

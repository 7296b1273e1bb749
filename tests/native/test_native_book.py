"""What the native book adds to the rules: lazy events, threads, arrays as they lie, C functions."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob.errors import Conflict, InvalidInput, Overloaded
from lob.messages import MESSAGE_DTYPE, Action, Array
from lob.types import INT64_MAX, Accepted, QueuePosition, RejectReason, Side, Traded

native = pytest.importorskip("lob.native", reason="no native extension: no C++ compiler")

LARGEST = INT64_MAX


def adds(count: int, *, price: int = 100, first_id: int = 1) -> Array:
    """Feed messages that add `count` orders of one lot at a price."""
    messages = np.zeros(count, dtype=MESSAGE_DTYPE)
    messages["action"] = Action.FEED_ADD
    messages["order_id"] = np.arange(first_id, first_id + count)
    messages["side"] = Side.BUY.sign
    messages["price_ticks"] = price
    messages["quantity_lots"] = 1
    return messages


def test_the_package_takes_the_native_book_where_it_is() -> None:
    """`lob.OrderBook` is the fast one, and `lob.backend()` says so."""
    import lob  # noqa: PLC0415 - what it chose is the question

    assert "native" == lob.backend()
    assert native.NativeOrderBook is lob.OrderBook


def test_events_behave_as_the_tuple_of_them() -> None:
    """Equal, hashed, sliced and shown as the tuple would be, whenever they are looked at."""
    book = native.NativeOrderBook()
    first = book.submit(1, Side.SELL, 5, 101)
    second = book.submit(2, Side.BUY, 3, 101)
    book.cancel(1)

    expected = (Accepted(1, Side.SELL, 101, 5),)
    assert expected == first
    assert first == expected
    assert hash(expected) == hash(first)
    assert repr(expected) == repr(first)
    assert 2 == len(second)
    assert Traded(1, 1, 2, 101, 3, Side.BUY, 2, 0) == second[-1]
    assert (second[1],) == second[1:]
    assert second[1] in second
    assert first != second
    with pytest.raises(TypeError):
        first[0] = None
    with pytest.raises(IndexError):
        first[1]


def test_events_outlive_their_book_and_many_more_events() -> None:
    """Nothing that a call returned changes when the book goes on, or goes."""
    book = native.NativeOrderBook()
    kept = [book.submit(number, Side.BUY, 1, 100) for number in range(1, 300)]
    sweep = book.submit(1_000, Side.SELL, 299, 100)
    del book

    assert [(Accepted(number, Side.BUY, 100, 1),) for number in range(1, 300)] == kept
    assert 300 == len(sweep)
    assert [*range(1, 300)] == [event.maker_order_id for event in sweep[1:]]


def test_a_book_in_another_threads_hands_is_a_conflict_and_never_a_race() -> None:
    """While an array is applied without the interpreter's lock, other uses are refused."""
    book = native.NativeOrderBook()
    messages = adds(2_000_000)
    started = threading.Event()

    def apply() -> None:
        started.set()
        book.apply(messages)

    thread = threading.Thread(target=apply)
    thread.start()
    started.wait(timeout=30)
    conflicts = 0
    while thread.is_alive():
        try:
            book.submit(LARGEST, Side.BUY, 1, 99)
            book.cancel(LARGEST)
        except Conflict:
            conflicts += 1
    thread.join(timeout=30)

    assert conflicts
    assert 2_000_000 == len(book)
    book.check()


@pytest.mark.parametrize(
    "messages",
    [
        np.zeros(3, dtype=np.int64),
        np.zeros((2, 2), dtype=MESSAGE_DTYPE),
        np.zeros(3, dtype=MESSAGE_DTYPE.newbyteorder(">")),
        np.zeros(3, dtype=[(name, "<i8") for name in MESSAGE_DTYPE.names or ()]),
        [1, 2, 3],
        None,
    ],
)
def test_an_array_of_something_else_is_named(messages: Any) -> None:
    """What would be read as wrong numbers is refused before anything is read."""
    book = native.NativeOrderBook()

    with pytest.raises(InvalidInput, match="messages"):
        book.apply(messages)


def test_strides_and_read_only_memory_are_as_good() -> None:
    """Every second row of an array, and a frozen one, mean what they show."""
    book, plain = native.NativeOrderBook(), native.NativeOrderBook()
    messages = adds(10)
    messages.flags.writeable = False

    book.apply(messages[::2])
    plain.apply(messages[::2].copy())

    assert 5 == len(book)
    assert plain.state_hash() == book.state_hash()


@pytest.mark.parametrize("field", ["order_id", "price_ticks", "quantity_lots"])
@pytest.mark.parametrize("value", [0, -1, -(2**63)])
def test_a_number_out_of_range_is_an_error_and_never_a_wrap(field: str, value: int) -> None:
    """Feed messages raise with their row, commands are refused; the rows before stay."""
    book = native.NativeOrderBook()
    messages = adds(3)
    messages[field][1] = value

    with pytest.raises(InvalidInput, match=rf"messages\[1\].*{field}"):
        book.apply(messages)
    assert [1] == [order.order_id for order in book.orders()]

    messages["action"] = Action.SUBMIT
    messages["order_id"] += np.where(np.arange(3) == 1, 0, 10)
    book.apply(messages)
    reasons = tuple(RejectReason)
    refused = [(row["index"], reasons[row["reason"]]) for row in book.last_apply.refusals]
    name = {"order_id": "ORDER_ID", "price_ticks": "PRICE", "quantity_lots": "QUANTITY"}[field]
    assert [(1, RejectReason(f"INVALID_{name}"))] == refused
    book.check()


def test_the_largest_numbers_there_are() -> None:
    """Prices, ids and quantities at their limit; one lot more at the level is LEVEL_FULL."""
    book = native.NativeOrderBook()
    book.submit(LARGEST, Side.SELL, LARGEST, LARGEST)
    (refused,) = book.submit(1, Side.SELL, 1, LARGEST)

    assert RejectReason.LEVEL_FULL == refused.reason
    assert LARGEST == book.best_ask().quantity_lots
    assert LARGEST * LARGEST == book.walk(Side.BUY, LARGEST).cost_tick_lots
    events = book.submit(2, Side.BUY, LARGEST, LARGEST)
    assert LARGEST == events[1].quantity_lots
    assert 0 == len(book)
    book.check()


def test_a_book_that_is_full_says_so_and_goes_on() -> None:
    """Beyond `max_nodes` an order is Overloaded; when others leave there is room again."""
    book = native.NativeOrderBook(max_nodes=200)

    def fill() -> None:
        for number in range(1, 1_000):
            book.submit(number, Side.BUY, 1, number)

    with pytest.raises(Overloaded, match="200"):
        fill()
    held = len(book)
    book.check()
    book.cancel(1)
    book.submit(5_000, Side.BUY, 1, 2)

    assert held == len(book)
    book.check()


def test_memory_of_a_million_orders() -> None:
    """At most 64 bytes an order, everything counted."""
    book = native.NativeOrderBook()
    messages = adds(1_000_000)
    messages["price_ticks"] = 1_000 + np.arange(1_000_000) % 2_000
    book.apply(messages)

    assert 64 >= book.memory_bytes() / len(book)


def test_c_functions_do_what_the_methods_do() -> None:
    """Through ctypes: submit, trade, ask, cancel; refusals are numbers below 0."""
    book, c = native.NativeOrderBook(), native.c_functions()
    buy, sell = Side.BUY.sign, Side.SELL.sign

    assert 0 == c.submit(book.handle, 1, buy, 5, 100, 0, 0, 0, 0)
    assert 0 == c.submit(book.handle, 2, buy, 4, 100, 0, 0, 0, 0)
    assert 5 == c.lots_ahead(book.handle, 2)
    assert 3 == c.submit(book.handle, 3, sell, 3, 100, 0, 0, 0, 0)
    assert (100, 6) == (c.best_price(book.handle, buy), c.best_lots(book.handle, buy))
    assert QueuePosition(1, 2) == book.queue_position(2)
    unknown = -1 - tuple(RejectReason).index(RejectReason.UNKNOWN_ORDER)
    assert unknown == c.cancel(book.handle, 77)
    assert 0 == c.cancel(book.handle, 1)
    assert (1, 1) == (c.order_count(book.handle), c.trade_count(book.handle))
    book.check()


@pytest.mark.slow
def test_a_jitted_strategy_calls_the_book() -> None:
    """A numba loop submits and cancels through the C functions, and the book is the same."""
    numba = pytest.importorskip("numba")
    book, c = native.NativeOrderBook(), native.c_functions()
    submit, cancel, best = c.submit, c.cancel, c.best_price

    @numba.njit  # type: ignore[untyped-decorator]
    def strategy(handle: int, orders: int) -> int:
        for number in range(1, orders + 1):
            submit(handle, number, 1, 10, 100 + number % 7, 0, 0, 0, 0)
            if number % 2 == 0:
                cancel(handle, number - 1)
        return int(best(handle, 1))

    touch = strategy(book.handle, 10_000)

    assert book.best_bid().price_ticks == touch
    assert 5_000 == len(book)
    book.check()


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, 2**63, -1, 0, np.int64(3)])
def test_what_is_no_whole_number_is_refused_as_by_the_plain_book(bad: Any) -> None:
    """The same values are refused for the same reasons, or taken, by both books."""
    from lob.book import OrderBook  # noqa: PLC0415 - the oracle

    def outcomes(book: Any) -> list[object]:
        book.submit(1, Side.BUY, 5, 100)
        calls: list[Callable[[], Any]] = [
            lambda: book.submit(bad, Side.BUY, 5, 100),
            lambda: book.submit(9, Side.BUY, bad, 100),
            lambda: book.submit(9, Side.BUY, 5, bad),
            lambda: book.reduce(1, bad),
            lambda: book.replace(1, bad, 5),
            lambda: book.cancel(bad),
            lambda: book.queue_position(bad),
            lambda: book.advance(bad),
            lambda: book.feed_add(bad, Side.BUY, 1, 1),
            lambda: book.walk(Side.BUY, bad),
            lambda: book.order(bad) and (1,),
            lambda: (bad in book,),
            lambda: book.track(1) and book.untrack(bad),
            lambda: (book.tracked_count,),
        ]
        found: list[object] = []
        for call in calls:
            try:
                outcome = call()
                found.append(tuple(outcome) if outcome is not None else None)
            except Exception as error:  # noqa: BLE001 - which one is the question
                found.append((type(error).__name__, str(error)))
        return [*found, book.state_hash()]

    assert outcomes(OrderBook()) == outcomes(native.NativeOrderBook())


def test_a_failed_import_leaves_the_plain_book() -> None:
    """Where the extension is missing, the package works, and says which book it has."""
    code = (
        "import sys; sys.modules['lob._core'] = None; import lob; "
        "book = lob.OrderBook(); book.submit(1, 'BUY', 5, 100); "
        "print(lob.backend(), len(book), lob.CompiledTape.__module__)"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)

    assert "python 1 lob.bulk\n" == found

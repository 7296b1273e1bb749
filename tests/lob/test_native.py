"""What only the native book has: lazy events, limits, threads, memory, arrays as they lie."""

import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook as PythonOrderBook
from lob.errors import Conflict, InvalidInput, Overloaded
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.state_hash import state_bytes
from lob.types import (
    INT64_MAX,
    Accepted,
    Cancelled,
    CancelReason,
    OrderType,
    Rejected,
    RejectReason,
    Side,
    Traded,
)

native = pytest.importorskip("lob.native")
NativeOrderBook: Any = native.NativeOrderBook

BUY, SELL = Side.BUY, Side.SELL


def adds(count: int, seed: int = 1, spread: int = 500) -> Any:
    """Return orders that rest on both sides, with ids in no order."""
    rng = np.random.default_rng(seed)
    table = np.zeros(count, MESSAGE_DTYPE)
    table["action"] = Action.FEED_ADD
    table["order_id"] = rng.permutation(count) * 7 + 1
    table["side"] = rng.choice((-1, 1), count)
    table["price_ticks"] = 10_000 - table["side"] * rng.integers(1, spread, count)
    table["quantity_lots"] = rng.integers(1, 50, count)
    return table


def churn(count: int, live: int, seed: int = 2) -> Any:
    """Return a feed that fills a book and then adds, reduces, executes and deletes at random."""
    rng = np.random.default_rng(seed)
    table = np.zeros(live + count, MESSAGE_DTYPE)
    table[:live] = adds(live, seed)
    ids, next_id = table["order_id"][:live].tolist(), 10**9
    for row in range(live, live + count):
        if rng.random() < 0.5:
            ids.append(next_id)
            side = int(rng.choice((-1, 1)))
            price = 10_000 - side * int(rng.integers(1, 700))
            table[row] = (row, next_id, price, 40, 0, Action.FEED_ADD, side, 0, 0)
            next_id += int(rng.integers(1, 2**40))
            continue
        place = int(rng.integers(len(ids)))
        action = rng.choice((Action.FEED_DELETE, Action.FEED_EXECUTE, Action.FEED_MODIFY))
        table[row] = (row, ids[place], 9_000, 1, 0, action, 0, 0, 0)
        ids[place] = ids[-1]
        ids.pop()
    return table


# -------------------------------------------------------------------- events


def test_events_behave_as_the_tuple_of_them() -> None:
    """What a call returns is equal, hashed, sliced, joined, matched and pickled as the tuple."""
    book = NativeOrderBook()
    book.submit(1, SELL, 5, 101)
    events = book.submit(2, BUY, 8, 101)
    expected: tuple[Any, ...] = (Accepted(2, BUY, 101, 8), Traded(1, 1, 2, 101, 5, BUY, 0, 3))
    assert isinstance(events, Sequence)
    assert len(events) == 2
    assert expected == events
    assert events == expected
    assert hash(expected) == hash(events)
    assert repr(expected) == repr(events)
    assert expected[0] == events[0]
    assert expected[-1] == events[-1]
    assert expected[:1] == events[:1]
    assert expected == tuple(events)
    assert expected[1] in events
    assert expected + expected == events + events
    assert expected + expected == expected + events
    assert events.index(expected[1]) == 1
    assert events.count(expected[0]) == 1
    assert expected == pickle.loads(pickle.dumps(events))  # noqa: S301 - our own bytes
    match events:
        case (Accepted(), Traded(quantity_lots=lots)):
            assert lots == 5
        case _:
            pytest.fail("the events are no sequence to match")
    with pytest.raises(IndexError):
        events[2]


def test_many_events_come_in_order() -> None:
    """A sweep of many orders returns each of its trades."""
    book = NativeOrderBook()
    for order_id in range(1, 301):
        book.submit(order_id, SELL, 1, 100 + order_id)
    events = book.submit(999, BUY, 300, 1_000)
    assert len(events) == 301
    assert [event.maker_order_id for event in events[1:]] == list(range(1, 301))


def test_events_outlive_the_book() -> None:
    """Events that were not looked at are still there when their book is gone."""
    book = NativeOrderBook()
    events = book.submit(1, BUY, 5, 10)
    del book
    assert events == (Accepted(1, BUY, 10, 5),)


@pytest.mark.parametrize("wrong", [0, -1, 2**63, -(2**80), True, 1.0, "1", None])
def test_ids_out_of_range_are_told_as_given(wrong: Any) -> None:
    """An id that is none is refused by value, and the refusal carries what was given."""
    book = NativeOrderBook()
    refused = (Rejected(wrong, RejectReason.INVALID_ORDER_ID),)
    assert refused == book.submit(wrong, BUY, 5, 10)
    assert refused == book.cancel(wrong)
    assert refused == book.reduce(wrong, 1)
    assert refused == book.replace(wrong, 10, 1)
    assert type(book.cancel(wrong)[0].order_id) is type(wrong)


@pytest.mark.parametrize(
    ("args", "fields", "complaint"),
    [
        ((1,), {}, "missing"),
        ((1, BUY, 5, 10, OrderType.LIMIT), {}, "positional"),
        ((1, BUY, 5, 10), {"colour": 1}, "unexpected"),
        ((1, BUY, 5, 10), {"price_ticks": 10}, "multiple"),
    ],
)
def test_wrong_calls_are_type_errors(args: Any, fields: Any, complaint: str) -> None:
    """A call that does not fit the signature is a TypeError, as of any function."""
    with pytest.raises(TypeError, match=complaint):
        NativeOrderBook().submit(*args, **fields)


def test_words_may_be_plain_text() -> None:
    """The text of a word is the word; anything else is InvalidInput with what is allowed."""
    book = NativeOrderBook()
    assert len(book.submit(1, "BUY", 5, 10, time_in_force="GTC")) == 1
    wrong: tuple[dict[str, Any], ...] = ({"order_type": "X"}, {"stp": 3}, {"time_in_force": []})
    for fields in wrong:
        with pytest.raises(InvalidInput, match="allowed: "):
            book.submit(2, BUY, 5, 10, **fields)
    with pytest.raises(InvalidInput, match="side: 'buy'; allowed: BUY, SELL"):
        book.submit(2, "buy", 5, 10)
    assert len(book) == 1


# -------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (adds(8).reshape(2, 4), "2 dimensions"),
        (np.zeros(8), "messages: float64"),
        (np.zeros(8, MESSAGE_DTYPE.newbyteorder()), "messages: "),
        ([1, 2], "messages: list"),
        (None, "messages: NoneType"),
    ],
)
def test_arrays_must_lie_as_the_core_reads_them(array: Any, complaint: str) -> None:
    """An array of another dtype, shape or layout is InvalidInput, and nothing happens."""
    book = NativeOrderBook()
    with pytest.raises(InvalidInput, match=complaint):
        book.apply(array)
    with pytest.raises(InvalidInput, match=complaint):
        native.CompiledTape(array)
    assert len(book) == 0


def test_memory_that_is_not_aligned_is_refused() -> None:
    """An array that begins in the middle of a word is refused, not read."""
    raw = bytearray(48 * 2 + 1)
    with pytest.raises(InvalidInput, match="aligned"):
        NativeOrderBook().apply(np.frombuffer(raw, MESSAGE_DTYPE, count=2, offset=1))


def test_arrays_with_gaps_or_that_cannot_be_written_are_read() -> None:
    """A strided or read-only array is as good as any."""
    table = adds(20)
    table.flags.writeable = False
    book, expected = NativeOrderBook(), NativeOrderBook()
    book.apply(table[::2])
    expected.apply(table[::2].copy())
    assert len(book) == 10
    assert expected.state_hash() == book.state_hash()
    with pytest.raises(InvalidInput, match="gaps"):
        book._apply_messages(table[::2], None, True)


@pytest.mark.parametrize("live", [300, 30_000])
def test_bulk_equals_the_plain_book_on_small_and_large_books(live: int) -> None:
    """A book that the caches hold and one that they do not come to the same as the Python book."""
    table = churn(20_000, live)
    plain, book = PythonOrderBook(), NativeOrderBook()
    trades = plain.apply(table, strict=False)
    assert trades.tolist() == book.apply(table, strict=False).tolist()
    assert plain.last_apply.refusals.tolist() == book.last_apply.refusals.tolist()
    assert plain.last_apply.crossings.tolist() == book.last_apply.crossings.tolist()
    assert plain.state_hash() == book.state_hash()
    book.check(crossed_allowed=True)


def test_a_fault_far_into_a_large_book_names_its_row() -> None:
    """Rows before a fault stay applied, and their trades are in `last_apply`."""
    table = churn(20_000, 30_000)
    table["action"][45_000] = 77
    book = NativeOrderBook()
    with pytest.raises(InvalidInput, match=r"messages\[45000\]: action: 77"):
        book.apply(table, strict=False)
    expected = NativeOrderBook()
    trades = expected.apply(table[:45_000], strict=False)
    assert trades.tolist() == book.last_apply.trades.tolist()
    assert expected.state_hash() == book.state_hash()


def test_state_bytes_are_those_of_the_snapshot() -> None:
    """The core writes the bytes that `lob.state_hash` describes."""
    book = NativeOrderBook()
    book.apply(adds(500), strict=False)
    book.submit(5, BUY, 9, 10, display_lots=2, participant_id=4, post_only=True)
    book.submit(6, SELL, 9, order_type="STOP", stop_ticks=20, time_in_force="DAY")
    assert state_bytes(book.snapshot()) == book.state_bytes()


# -------------------------------------------------------------------- tapes


def test_a_tape_serves_many_books_and_rules() -> None:
    """A tape replays into any new book as the array does, and the book goes on as any other."""
    table = churn(5_000, 2_000)
    table["flags"][::50] = Flag.LAST.value
    expected = NativeOrderBook()
    trades = expected.apply(table, strict=False)
    tape = native.CompiledTape(table, strict=False)
    assert len(table) == len(tape)
    for _ in range(3):
        book = NativeOrderBook()
        assert trades.tolist() == book.apply(tape).tolist()
        assert expected.state_hash() == book.state_hash()
        book.check(crossed_allowed=True)
        assert expected.last_apply.refusals.tolist() == book.last_apply.refusals.tolist()
        some_id = next(book.orders()).order_id
        assert CancelReason.REQUESTED is book.cancel(some_id)[0].reason


def test_a_tape_keeps_what_it_was_compiled_of() -> None:
    """Changing the array afterwards changes no replay."""
    table = adds(100)
    tape = native.CompiledTape(table)
    expected = NativeOrderBook()
    expected.apply(table)
    table["price_ticks"] = 1
    book = NativeOrderBook()
    book.apply(tape)
    assert expected.state_hash() == book.state_hash()


def test_a_tape_needs_a_new_book() -> None:
    """A book where something rests or happened is a Conflict, and stays as it is."""
    tape = native.CompiledTape(adds(10))
    used = NativeOrderBook()
    used.submit(1, BUY, 1, 1)
    late = NativeOrderBook()
    late.advance(5)
    for book in (used, late):
        before = book.state_hash()
        with pytest.raises(Conflict, match="not a new one"):
            book.apply(tape)
        assert before == book.state_hash()


# -------------------------------------------------------------------- limits


def test_a_full_book_is_overloaded_and_goes_on() -> None:
    """Beyond `max_nodes` an order is Overloaded, nothing has changed, and room can be made."""
    book = NativeOrderBook(max_nodes=64)
    order_id = 1
    while not _is_overloaded(book, order_id):
        order_id += 1
    book.check()
    assert len(book) > 20
    for gone in range(1, 6):
        book.cancel(gone)
    assert book.submit(order_id, BUY, 1, 7) == (Accepted(order_id, BUY, 7, 1),)
    book.check()


def _is_overloaded(book: Any, order_id: int) -> bool:
    """Submit an order; say whether there was no room, and nothing has changed then."""
    before = book.state_hash()
    try:
        book.submit(order_id, BUY, 1, order_id)
    except Overloaded as fault:
        return "room for 64" in str(fault) and before == book.state_hash()
    return False


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**70, 1.5, "many", None])
def test_limits_must_be_numbers(wrong: Any) -> None:
    """A limit out of range is InvalidInput that names it."""
    with pytest.raises(InvalidInput, match="max_tracked_orders"):
        NativeOrderBook(max_tracked_orders=wrong)
    with pytest.raises(InvalidInput, match="max_nodes"):
        NativeOrderBook(max_nodes=wrong)


def test_arrivals_are_counted_anew() -> None:
    """When four billion orders have come, all are numbered anew; tracked places stay exact."""
    book, plain = NativeOrderBook(), PythonOrderBook()
    book._set_arrivals(2**32 - 20)
    rng = np.random.default_rng(5)
    for order_id in range(1, 61):
        fields: dict[str, Any] = {"hidden": True} if order_id % 7 == 0 else {}
        if order_id % 5 == 0:
            fields = {"display_lots": 2}
        for each in (book, plain):
            each.submit(order_id, BUY, 10, 100 + order_id % 2, **fields)
            if order_id % 3 == 0:
                each.track(order_id)
            if order_id % 11 == 0:
                each.submit(1_000 + order_id, SELL, int(rng.integers(1, 2)) * 7, 100)
        book.check()
        assert plain.state_hash() == book.state_hash()
    for order in plain.orders():
        assert plain.queue_position(order.order_id) == book.queue_position(order.order_id)


def test_a_resting_order_takes_at_most_64_bytes() -> None:
    """A million resting orders take no more than 64 bytes each, indexes included."""
    book = NativeOrderBook()
    book.apply(adds(1_000_000))
    assert len(book) == 1_000_000
    assert book.memory_bytes() / 1_000_000 <= 64


def test_prices_far_apart_take_memory_by_levels() -> None:
    """Prices all over the range cost pages by the number of levels, not by the range."""
    table = adds(20_000)
    table["price_ticks"] = np.random.default_rng(3).integers(1, INT64_MAX, len(table))
    table["side"] = 1
    book = NativeOrderBook()
    book.apply(table)
    book.check()
    assert book.memory_bytes() / len(table) < 1_000
    assert book.best_bid().price_ticks == table["price_ticks"].max()


def test_ids_that_collide_are_found() -> None:
    """Ids that are multiples of large powers of two are held apart."""
    book = NativeOrderBook()
    ids = [number << shift for shift in (0, 20, 40, 50) for number in range(1, 2_000)]
    ids = sorted({order_id for order_id in ids if order_id <= INT64_MAX})
    for order_id in ids:
        book.submit(order_id, BUY, 1, 10)
    book.check()
    for order_id in ids[::2]:
        assert book.cancel(order_id) == (Cancelled(order_id, 1, CancelReason.REQUESTED),)
    book.check()
    assert len(book) == len(ids) - len(ids[::2])


# -------------------------------------------------------------------- threads and memory


def test_another_thread_finds_the_book_busy() -> None:
    """While an array is being applied, any other use of the book is a Conflict, never a race."""
    book = NativeOrderBook()
    table = np.concatenate([adds(200_000)] * 15)
    table["action"][200_000:] = Action.FEED_EXECUTE
    table["quantity_lots"][:200_000] = 1_000
    table["quantity_lots"][200_000:] = 1
    worker = threading.Thread(target=lambda: book.apply(table, strict=False))
    worker.start()
    conflicts = 0
    while worker.is_alive():
        for use in (book.best_bid, book.snapshot, lambda: book.cancel(1), lambda: len(book)):
            try:
                use()
            except Conflict:
                conflicts += 1
    worker.join()
    assert conflicts > 0
    book.check(crossed_allowed=True)
    assert book.trade_count == 14 * 200_000


OUT_OF_MEMORY = """
import resource
from lob.errors import InvariantViolation
from lob.native import NativeOrderBook
from lob.types import Side

book = NativeOrderBook()
book.submit(1, Side.SELL, 10**12, 100, display_lots=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
try:
    book.submit(2, Side.BUY, 10**12, 100)
except MemoryError:
    try:
        len(book)
    except InvariantViolation as error:
        print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory")
def test_a_book_torn_by_want_of_memory_says_so() -> None:
    """Memory that runs out in the middle of a command is a MemoryError; then the book stops."""
    ran = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY], capture_output=True, text=True, check=False
    )
    assert "memory ran out in the middle of a command" in ran.stdout, ran.stderr

"""Arrays as the native book reads them where they lie, in bulk and compiled to tapes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook as PythonOrderBook
from lob.errors import Conflict, InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Flag
from lob.state_hash import state_bytes
from lob.types import CancelReason, Side
from tests.native.streams import adds, churn

native = pytest.importorskip("lob.native")
NativeOrderBook: Any = native.NativeOrderBook

BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (adds(8).reshape(2, 4), "messages: 2 dimensions"),
        (np.zeros((2, 2), MESSAGE_DTYPE), "messages: 2 dimensions"),
        (np.zeros(8), "messages: float64"),
        (np.zeros(3, np.int64), "messages: int64"),
        (np.zeros(8, MESSAGE_DTYPE.newbyteorder(">")), "messages: "),
        (np.zeros(3, [(name, "<i8") for name in MESSAGE_DTYPE.names or ()]), "messages: "),
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


def test_a_depth_is_told_after_each_of_many_stretches() -> None:
    """It is that of the book at the time, and the outcome is that of one `apply`."""
    table = churn(3_000, 300)
    ends = np.array([0, 0, 5, 300, 301, 2_000, 3_299, 3_300, 3_300])
    book, expected, steps = NativeOrderBook(), NativeOrderBook(), NativeOrderBook()
    found = book.apply_and_look(table[:3_300], ends, 3)
    expected.apply(table[:3_300], strict=False)

    assert (len(ends), 2, 3, 3) == found.shape
    begin = 0
    for end, seen in zip(ends.tolist(), found.tolist(), strict=True):
        steps.apply(table[begin:end], strict=False)
        begin = end
        for levels, shown in zip(steps.depth(3), seen, strict=True):
            rows = [list(level) for level in levels]
            assert rows + [[0, 0, 0]] * (3 - len(rows)) == shown
    assert expected.state_hash() == book.state_hash()
    assert [part.tolist() for part in expected.last_apply] == [
        part.tolist() for part in book.last_apply
    ]


def test_a_fault_between_two_looks_leaves_what_came_before() -> None:
    """A row that is no message ends the call; the crossing before it ends there."""
    table = adds(6)
    table["side"], table["price_ticks"] = (1, -1, 1, 1, 1, 1), (100, 99, 90, 90, 90, 90)
    table["action"][4] = 77
    book = NativeOrderBook()
    with pytest.raises(InvalidInput, match=r"messages\[4\]: action: 77"):
        book.apply_and_look(table, np.array([2, 6]), 1)
    assert len(book) == 4
    assert [(1, 4)] == book.last_apply.crossings.tolist()


@pytest.mark.parametrize(
    ("ends", "levels", "complaint"),
    [
        (np.array([3, 2]), 1, "ends: "),
        (np.array([-1]), 1, "ends: "),
        (np.array([9]), 1, "ends: "),
        (np.array([2.0]), 1, "ends: float64"),
        (np.array([2]), 0, "levels: 0"),
        (np.array([2]), 1_001, "levels: 1001"),
    ],
)
def test_looks_that_cannot_be_are_refused(ends: Any, levels: int, complaint: str) -> None:
    """Ends that go back or beyond, and levels out of range, are InvalidInput; nothing happens."""
    book = NativeOrderBook()
    with pytest.raises(InvalidInput, match=complaint):
        book.apply_and_look(adds(8), ends, levels)
    assert len(book) == 0


# -------------------------------------------------------------------- trades


def _executions(first_id: int, count: int) -> Any:
    """Return as many orders as executions of them, so many trades that they lie where written."""
    table = np.zeros(2 * count, MESSAGE_DTYPE)
    ids = np.arange(first_id, first_id + count)
    for half, action in ((table[:count], Action.FEED_ADD), (table[count:], Action.FEED_EXECUTE)):
        half["order_id"], half["price_ticks"], half["quantity_lots"] = ids, 100, ids
        half["side"], half["action"] = 1, action.value
    return table


def test_trades_that_are_kept_stay_as_they_are() -> None:
    """Later trades take the memory of those given up, and of no others; every count fits."""
    kept: list[tuple[int, Any]] = []
    for turn, count in enumerate((40_000, 25_000, 90_000, 40_000, 25_000, 60_000, 30_000, 90_000)):
        first_id = 1 + turn * 1_000_000
        trades = NativeOrderBook().apply(_executions(first_id, count))
        assert count == len(trades)
        if turn % 2:
            kept.append((first_id, trades))
        del trades  # the other half is memory for the next
        for of_id, held in kept:
            assert np.array_equal(np.arange(of_id, of_id + len(held)), held["maker_order_id"])
            assert np.array_equal(held["maker_order_id"], held["quantity_lots"])
            assert np.array_equal(np.arange(1, len(held) + 1), held["sequence"])


def test_trades_of_threads_do_not_mix() -> None:
    """Threads that take and give up trades at the same time each get their own."""

    def replay(first_id: int) -> bool:
        table = _executions(first_id, 30_000)
        return all(
            np.array_equal(table["order_id"][:30_000], trades["maker_order_id"])
            for trades in (NativeOrderBook().apply(table) for _ in range(8))
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(replay, (1 + turn * 1_000_000 for turn in range(8))))


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

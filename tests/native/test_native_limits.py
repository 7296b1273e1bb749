"""What the native book has room for: its limits, its memory, and one thread at a time."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook as PythonOrderBook
from lob.errors import Conflict, InvalidInput, Overloaded
from lob.messages import Action
from lob.types import INT64_MAX, Accepted, Cancelled, CancelReason, Side
from tests.native.streams import adds

native = pytest.importorskip("lob.native")
NativeOrderBook: Any = native.NativeOrderBook

BUY, SELL = Side.BUY, Side.SELL


@pytest.mark.parametrize("max_nodes", [64, 200])
def test_a_full_book_is_overloaded_and_goes_on(max_nodes: int) -> None:
    """Beyond `max_nodes` an order is Overloaded, nothing has changed, and room can be made."""
    book = NativeOrderBook(max_nodes=max_nodes)
    order_id = 1
    while not _is_overloaded(book, order_id, max_nodes):
        order_id += 1
    book.check()
    held = len(book)
    assert held > 20
    book.cancel(1)
    book.submit(5_000, BUY, 1, 2)
    assert held == len(book)
    book.check()
    for gone in range(2, 7):
        book.cancel(gone)
    assert book.submit(order_id, BUY, 1, 7) == (Accepted(order_id, BUY, 7, 1),)
    book.check()


def _is_overloaded(book: Any, order_id: int, max_nodes: int) -> bool:
    """Submit an order; say whether there was no room, and nothing has changed then."""
    before = book.state_hash()
    try:
        book.submit(order_id, BUY, 1, order_id)
    except Overloaded as fault:
        return f"room for {max_nodes}" in str(fault) and before == book.state_hash()
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


def one_side(count: int) -> Any:
    """Return orders to buy one lot each, at two thousand prices in turn."""
    table = adds(count)
    table["order_id"] = np.arange(1, count + 1)
    table["side"], table["quantity_lots"] = 1, 1
    table["price_ticks"] = 1_000 + np.arange(count) % 2_000
    return table


@pytest.mark.parametrize("make", [adds, one_side])
def test_a_resting_order_takes_at_most_64_bytes(make: Callable[[int], Any]) -> None:
    """A million resting orders take no more than 64 bytes each, indexes included."""
    book = NativeOrderBook()
    book.apply(make(1_000_000))
    assert len(book) == 1_000_000
    assert book.memory_bytes() / len(book) <= 64


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


@pytest.mark.parametrize("lots", [-(2**63), -(2**62), -1, 0, 6, 2**62, INT64_MAX])
@pytest.mark.parametrize("action", [a for a in Action if a.name.startswith("FEED_")])
def test_lots_at_their_limits_are_refused_as_the_plain_book_does(action: Action, lots: int) -> None:
    """A row of a feed with absurd lots leaves both books in the same state."""
    table = np.concatenate([adds(20), adds(1)])
    table["quantity_lots"][:20] = 5
    table["order_id"][20] = table["order_id"][3]
    if action is Action.FEED_ADD:
        table["order_id"][20] = INT64_MAX
    table["action"][20], table["quantity_lots"][20] = action, lots
    books = NativeOrderBook(), PythonOrderBook()
    for book in books:
        book.apply(table, strict=False)
        book.check()

    assert books[1].state_hash() == books[0].state_hash()


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
    uses: tuple[Callable[[], Any], ...] = (
        book.best_bid,
        book.snapshot,
        lambda: len(book),
        lambda: (book.submit(INT64_MAX, BUY, 1, 99), book.cancel(INT64_MAX)),
        lambda: book.cancel(INT64_MAX),
    )
    while worker.is_alive():
        for use in uses:
            try:
                use()
            except Conflict:
                conflicts += 1
    worker.join()
    assert conflicts > 0
    book.check(crossed_allowed=True)
    assert book.trade_count == 14 * 200_000
    assert len(book) == 200_000


OUT_OF_MEMORY = """
import resource
from lob.errors import InvariantViolation
from lob.native import NativeOrderBook
from lob.types import Side

book = NativeOrderBook()
for order_id in range(1, 1_001):
    book.submit(order_id, Side.SELL, 10_000, 100, display_lots=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20),) * 2)
try:
    book.submit(2_000, Side.BUY, 10**12, 100)
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

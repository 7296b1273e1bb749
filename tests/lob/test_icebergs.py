"""In how many parts an iceberg may show itself (rule 25), wherever one can come from."""

from typing import Any

import numpy as np
import pytest

from lob.books import available_books, why_not_native
from lob.errors import Conflict
from lob.messages import MESSAGE_DTYPE, Action
from lob.types import (
    INT64_MAX,
    MAX_ICEBERG_PARTS,
    OrderType,
    Refilled,
    Rejected,
    RejectReason,
    RestingOrder,
    Side,
    TimeInForce,
    Traded,
)

books = pytest.mark.parametrize("make", available_books())

MOST = MAX_ICEBERG_PARTS
TOO_LITTLE = RejectReason.INVALID_DISPLAY
CODE = tuple(RejectReason).index(TOO_LITTLE)


def submit_row(order_id: int, lots: int, shown: int) -> Any:
    """Return an array of one command: an iceberg to buy at 99."""
    return np.array([(0, order_id, 99, lots, shown, Action.SUBMIT, 1, 0, 0)], MESSAGE_DTYPE)


@books
@pytest.mark.parametrize(
    ("lots", "shown", "parts"),
    [
        (MOST, 1, MOST),
        (3 * MOST, 3, MOST),
        (3 * MOST - 1, 3, MOST),
        (INT64_MAX, INT64_MAX // MOST + 1, MOST),
    ],
)
def test_one_aggressor_meets_each_part_once(make: Any, lots: int, shown: int, parts: int) -> None:
    """The largest iceberg there may be trades in as many parts as are allowed, and no more."""
    book = make()
    book.submit(1, Side.SELL, lots, 100, display_lots=shown)
    events = book.submit(2, Side.BUY, lots, 100)
    assert parts == sum(isinstance(event, Traded) for event in events)
    assert parts - 1 == sum(isinstance(event, Refilled) for event in events)
    assert len(book) == 0


@books
@pytest.mark.parametrize(
    ("lots", "shown"),
    [(MOST + 1, 1), (3 * MOST + 1, 3), (2**60, 1), (INT64_MAX, 1), (INT64_MAX, INT64_MAX // MOST)],
)
def test_one_of_more_parts_is_refused_as_a_value(make: Any, lots: int, shown: int) -> None:
    """By single calls, as a stop, for immediate trading and in bulk; nothing is left behind."""
    book = make()
    before = book.state_hash()
    refused = (Rejected(1, TOO_LITTLE),)
    stop: dict[str, Any] = {"order_type": OrderType.STOP_LIMIT, "stop_ticks": 120}
    assert refused == book.submit(1, Side.BUY, lots, 99, display_lots=shown)
    assert refused == book.submit(1, Side.BUY, lots, 99, display_lots=shown, **stop)
    assert refused == book.submit(
        1, Side.BUY, lots, 99, display_lots=shown, time_in_force=TimeInForce.IOC
    )
    book.apply(submit_row(1, lots, shown))
    assert [(0, 1, CODE)] == book.last_apply.refusals.tolist()
    assert before == book.state_hash()


@books
def test_it_cannot_grow_into_one(make: Any) -> None:
    """By a replace, or by what a feed says of it, alone or in bulk; it stays as it was."""
    book = make()
    book.submit(1, Side.BUY, 50, 99, display_lots=5)
    before = book.state_hash()
    grown = 5 * MOST + 1
    assert (Rejected(1, TOO_LITTLE),) == book.replace(1, 99, grown)
    assert (Rejected(1, TOO_LITTLE),) == book.replace(1, 98, grown)
    text = f"quantity_lots: {grown} of iceberg 1; it would show itself in more than {MOST} parts"
    with pytest.raises(Conflict, match=f"^{text}$"):
        book.feed_modify(1, 98, grown)
    row = np.array([(0, 1, 99, grown, 0, Action.FEED_MODIFY, 1, 0, 0)], MESSAGE_DTYPE)
    with pytest.raises(Conflict, match=rf"^messages\[0\]: {text}$"):
        book.apply(row)
    book.apply(row, strict=False)
    assert [(0, 1, CODE)] == book.last_apply.refusals.tolist()
    assert before == book.state_hash()
    assert book.replace(1, 98, grown - 1)[0].leaves == 5 * MOST
    book.feed_modify(1, 97, grown - 1)
    book.check()


@books
def test_a_snapshot_of_before_the_limit_is_restored_and_goes_on(make: Any) -> None:
    """What rests or waits in more parts trades, shrinks and keeps its place; it may not grow."""
    resting = RestingOrder(1, Side.SELL, 100, MOST + 50, 1, display_lots=1)
    stop_book = make()
    stop_book.submit(
        2, Side.BUY, 9, 120, order_type=OrderType.STOP_LIMIT, stop_ticks=110, display_lots=2
    )
    (stop,) = stop_book.stops()
    old = (
        make()
        .snapshot()
        ._replace(orders=(resting,), stops=(stop._replace(quantity_lots=3 * MOST),))
    )
    book = make.restore(old)
    assert old == book.snapshot()
    assert book.replace(1, 100, MOST + 20)[0].kept_priority
    assert (Rejected(1, TOO_LITTLE),) == book.replace(1, 101, MOST + 20)
    traded = book.submit(3, Side.BUY, MOST + 20, 100)
    assert MOST + 20 == sum(isinstance(event, Traded) for event in traded)
    book.check()


@pytest.mark.skipif(bool(why_not_native()), reason=f"no native book: {why_not_native()}")
def test_through_c_it_is_the_same_refusal() -> None:
    """The C functions answer the reason's number, and take the largest that there may be."""
    from lob.native import NativeOrderBook, c_functions  # noqa: PLC0415 - it may not be built

    book, c = NativeOrderBook(), c_functions()
    assert -1 - CODE == c.submit(book.handle, 1, 1, MOST + 1, 99, 0, 1, 0, 0)
    assert c.submit(book.handle, 1, 1, MOST, 99, 0, 1, 0, 0) == 0
    assert -1 - CODE == c.replace(book.handle, 1, 99, MOST + 1)
    assert -1 - CODE == c.feed_modify(book.handle, 1, 99, MOST + 1)
    assert MOST == c.leaves(book.handle, 1)

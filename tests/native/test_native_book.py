"""What the native book adds to the rules: lazy events, calls that say what does not fit."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import lob
from lob.book import OrderBook as PythonOrderBook
from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Array
from lob.types import (
    INT64_MAX,
    Accepted,
    OrderType,
    Rejected,
    RejectReason,
    Side,
    Traded,
)

native = pytest.importorskip("lob.native", reason="no native extension: no C++ compiler")
NativeOrderBook: Any = native.NativeOrderBook

BUY, SELL = Side.BUY, Side.SELL


def row_of_adds(count: int, *, price: int = 100, first_id: int = 1) -> Array:
    """Return feed messages that add `count` orders of one lot at a price."""
    messages = np.zeros(count, dtype=MESSAGE_DTYPE)
    messages["action"] = Action.FEED_ADD
    messages["order_id"] = np.arange(first_id, first_id + count)
    messages["side"] = BUY.sign
    messages["price_ticks"] = price
    messages["quantity_lots"] = 1
    return messages


def test_the_package_takes_the_native_book_where_it_is() -> None:
    """`lob.OrderBook` is the fast one, and `lob.backend()` says so."""
    assert "native" == lob.backend()
    assert NativeOrderBook is lob.OrderBook


def test_a_failed_import_leaves_the_plain_book() -> None:
    """Where the extension is missing, the package works, and says which book it has."""
    code = (
        "import sys; sys.modules['lob._core'] = None; import lob; "
        "book = lob.OrderBook(); book.submit(1, 'BUY', 5, 100); "
        "print(lob.backend(), len(book), lob.CompiledTape.__module__)"
    )
    found = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60)

    assert "python 1 lob.bulk\n" == found


# -------------------------------------------------------------------- events


def test_events_behave_as_the_tuple_of_them() -> None:
    """What a call returns is equal, hashed, sliced, joined, matched and pickled as the tuple."""
    book = NativeOrderBook()
    first = book.submit(1, SELL, 5, 101)
    events = book.submit(2, BUY, 8, 101)
    expected: tuple[Any, ...] = (Accepted(2, BUY, 101, 8), Traded(1, 1, 2, 101, 5, BUY, 0, 3))
    book.cancel(2)
    assert isinstance(events, Sequence)
    assert (Accepted(1, SELL, 101, 5),) == first
    assert first != events
    assert len(events) == 2
    assert expected == events
    assert events == expected
    assert hash(expected) == hash(events)
    assert repr(expected) == repr(events)
    assert expected[0] == events[0]
    assert expected[-1] == events[-1]
    assert expected[:1] == events[:1]
    assert expected[1:] == events[1:]
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
    with pytest.raises(TypeError):
        first[0] = None


def test_many_events_come_in_order() -> None:
    """A sweep of many orders returns each of its trades."""
    book = NativeOrderBook()
    for order_id in range(1, 301):
        book.submit(order_id, SELL, 1, 100 + order_id)
    events = book.submit(999, BUY, 300, 1_000)
    assert len(events) == 301
    assert [event.maker_order_id for event in events[1:]] == list(range(1, 301))


def test_events_outlive_their_book_and_many_more_events() -> None:
    """Nothing that a call returned changes when the book goes on, or goes."""
    book = NativeOrderBook()
    kept = [book.submit(number, BUY, 1, 100) for number in range(1, 300)]
    sweep = book.submit(1_000, SELL, 299, 100)
    del book

    assert [(Accepted(number, BUY, 100, 1),) for number in range(1, 300)] == kept
    assert 300 == len(sweep)
    assert [*range(1, 300)] == [event.maker_order_id for event in sweep[1:]]


# -------------------------------------------------------------------- calls


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


@pytest.mark.parametrize("field", ["order_id", "price_ticks", "quantity_lots"])
@pytest.mark.parametrize("value", [0, -1, -(2**63)])
def test_a_number_out_of_range_is_an_error_and_never_a_wrap(field: str, value: int) -> None:
    """Feed messages raise with their row, commands are refused; the rows before stay."""
    book = NativeOrderBook()
    messages = row_of_adds(3)
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
    book = NativeOrderBook()
    book.submit(INT64_MAX, SELL, INT64_MAX, INT64_MAX)
    (refused,) = book.submit(1, SELL, 1, INT64_MAX)

    assert RejectReason.LEVEL_FULL == refused.reason
    assert INT64_MAX == book.best_ask().quantity_lots
    assert INT64_MAX * INT64_MAX == book.walk(BUY, INT64_MAX).cost_tick_lots
    events = book.submit(2, BUY, INT64_MAX, INT64_MAX)
    assert INT64_MAX == events[1].quantity_lots
    assert 0 == len(book)
    book.check()


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, 2**63, -1, 0, np.int64(3)])
def test_what_is_no_whole_number_is_refused_as_by_the_plain_book(bad: Any) -> None:
    """The same values are refused for the same reasons, or taken, by both books."""

    def outcomes(book: Any) -> list[object]:
        book.submit(1, BUY, 5, 100)
        calls: list[Callable[[], Any]] = [
            lambda: book.submit(bad, BUY, 5, 100),
            lambda: book.submit(9, BUY, bad, 100),
            lambda: book.submit(9, BUY, 5, bad),
            lambda: book.reduce(1, bad),
            lambda: book.replace(1, bad, 5),
            lambda: book.cancel(bad),
            lambda: book.queue_position(bad),
            lambda: book.advance(bad),
            lambda: book.feed_add(bad, BUY, 1, 1),
            lambda: book.walk(BUY, bad),
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

    assert outcomes(PythonOrderBook()) == outcomes(NativeOrderBook())

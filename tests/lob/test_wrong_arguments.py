"""What is no number, side, snapshot or instrument is said so in one line, by both books alike."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lob.book import OrderBook
from lob.books import available_books
from lob.errors import InvalidInput
from lob.types import INT64_MAX, Cancel, Level, Side

AnyBook = Any

QUESTIONS: dict[str, Callable[[AnyBook, Any], object]] = {
    "levels": lambda book, wrong: book.depth(wrong),
    "price_ticks": lambda book, wrong: book.level(Side.BUY, wrong),
    "price_ticks of the first": lambda book, wrong: book.first_order(Side.BUY, wrong),
    "side": lambda book, wrong: book.orders(wrong),
    "side of stops": lambda book, wrong: book.stops(wrong),
}


@pytest.fixture(params=available_books(), ids=lambda book: str(book.__name__))
def made(request: pytest.FixtureRequest) -> Any:
    """One book after the other, as a class."""
    return request.param


@pytest.mark.parametrize("wrong", [1.0, "1", [], np.int64(1), object()], ids=repr)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_names_what_it_cannot_use(made: Any, question: str, wrong: Any) -> None:
    """It is InvalidInput at the call itself, with the field and what was given."""
    with pytest.raises(InvalidInput) as raised:
        QUESTIONS[question](made(), wrong)
    assert str(raised.value).startswith(f"{question.split(maxsplit=1)[0]}: {wrong!r}; allowed: ")


@pytest.mark.parametrize("beyond", [0, -1, INT64_MAX + 1, 10**30])
def test_nobody_rests_at_a_price_out_of_range(made: Any, beyond: int) -> None:
    """A whole number is a price where nobody is, however large."""
    assert made().level(Side.SELL, beyond) is None
    assert made().first_order(Side.SELL, beyond) is None


def test_more_levels_than_any_machine_counts(made: Any) -> None:
    """All that there are."""
    book = made()
    book.submit(1, Side.BUY, 3, 7)
    assert ((Level(7, 3, 1),), ()) == book.depth(10**30)


@pytest.mark.parametrize("true", [1, 5, "yes", np.True_], ids=repr)
def test_what_stands_for_true_is_true(made: Any, true: Any) -> None:
    """A flag is kept as a yes or no, and the book's own check agrees with it."""
    book = made()
    book.submit(1, Side.BUY, 3, 7, hidden=true, post_only=true)
    book.check()
    order = book.order(1)
    assert (True, True) == (order.hidden, order.post_only)
    assert type(order.hidden) is type(order.post_only) is bool
    assert book.state_hash() == made.restore(book.snapshot()).state_hash()


@pytest.mark.parametrize(
    "wrong",
    [None, 5, {"orders": ()}, (1,), (Cancel(1),)],
    ids=["none", "number", "dict", "order", "command"],
)
def test_a_snapshot_of_something_else_is_refused(made: Any, wrong: Any) -> None:
    """Whatever it is, and whatever is among its orders or stops."""
    good = made().snapshot()
    bad: list[Any] = [wrong]
    if isinstance(wrong, tuple):
        bad = [good._replace(orders=wrong), good._replace(stops=wrong)]
    for snapshot in bad:
        with pytest.raises(InvalidInput, match=r"snapshot: .*; allowed: a "):
            made.restore(snapshot)


def test_an_instrument_is_one(made: Any) -> None:
    """A symbol alone says nothing of ticks."""
    with pytest.raises(InvalidInput, match="instrument: 'AAPL'; allowed: an Instrument"):
        made("AAPL")


def _pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - of our own


@pytest.mark.parametrize("copied", [_pickled, copy.deepcopy, copy.copy])
def test_a_book_is_copied_or_says_how(made: Any, copied: Callable[[Any], Any]) -> None:
    """The native book is copied by a snapshot, as its error says; the Python one in any way."""
    book = made()
    book.submit(1, Side.BUY, 3, 7)
    if made is OrderBook:
        other = copied(book)
    else:
        with pytest.raises(TypeError, match=r"NativeOrderBook\.restore\(snapshot\)"):
            copied(book)
        other = made.restore(_pickled(book.snapshot()))
    assert book.state_hash() == other.state_hash()
    assert other is not book


FORGOTTEN: dict[str, Callable[[AnyBook], object]] = {
    "submit": lambda book: book.submit(1, Side.BUY, 1, 1),
    "submit by names": lambda book: book.submit(
        order_id=1, side=Side.BUY, quantity_lots=1, price_ticks=1
    ),
    "cancel": lambda book: book.cancel(1),
    "feed_add": lambda book: book.feed_add(1, Side.BUY, 1, 1),
    "advance": lambda book: book.advance(5),
}


@pytest.mark.parametrize("use", FORGOTTEN)
def test_a_book_that_its_class_did_not_make(made: Any, use: str) -> None:
    """A class that forgets the book's `__init__` gets an error of every call, never a crash."""
    forgetful = type("Forgetful", (made,), {"__init__": lambda _: None})
    with pytest.raises((InvalidInput, AttributeError), match=r"not made|has no attribute"):
        FORGOTTEN[use](forgetful())

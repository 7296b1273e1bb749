"""The plain Python book keeps of most orders just their lots; whoever looks must not tell."""

import random
from collections.abc import Iterator

import numpy as np
import pytest

from lob.book import OrderBook
from lob.ladder import LiveOrder, Shelf
from lob.messages import MESSAGE_DTYPE, Action, Array
from lob.types import Side

NAMES = ("action", "order_id", "side", "price_ticks", "quantity_lots")
Row = tuple[int, int, int, int, int]


def _rows(draw: random.Random, count: int) -> Iterator[Row]:
    """Yield a feed around few prices, its commands among it: they meet orders of either kind."""
    ids: list[int] = []
    for fresh in range(1, count + 1):
        side = draw.choice((1, -1))
        price = 1_000 - side * draw.randint(1, 4)
        kind = draw.random()
        if kind < 0.45 or not ids:
            ids.append(fresh)
            yield Action.FEED_ADD, fresh, side, price, draw.randint(1, 9)
        elif kind < 0.55:
            yield Action.SUBMIT, fresh, side, price, draw.randint(1, 9)
        elif kind < 0.6:
            yield Action.SUBMIT, fresh, side, 1_000 + side * 2, draw.randint(1, 9)
        else:
            action = draw.choice(
                (
                    *(Action.FEED_DELETE, Action.FEED_REDUCE, Action.FEED_MODIFY),
                    *(Action.FEED_EXECUTE, Action.CANCEL, Action.REDUCE, Action.REPLACE),
                )
            )
            order_id = draw.choice(ids)
            yield action, order_id, 0, price, draw.randint(1, 9)


def _messages(seed: int, count: int) -> Array:
    messages = np.zeros(count, MESSAGE_DTYPE)
    columns = zip(*_rows(random.Random(seed), count), strict=True)
    for name, column in zip(NAMES, columns, strict=True):
        messages[name] = column
    return messages


def _bare(book: OrderBook) -> int:
    return sum(isinstance(kept, Shelf) for kept in book._orders.values())


def _look(book: OrderBook, draw: random.Random) -> None:
    """Ask for what makes an order of its lots: one, a queue, the first of a price."""
    ids = [order.order_id for order in book.orders()]
    if not ids:
        return
    order_id = draw.choice(ids)
    seen = book.order(order_id)
    assert seen is not None
    book.queue_position(order_id)
    book.first_order(seen.side, seen.price_ticks)
    if draw.random() < 0.3:
        book.track(order_id)
        book.check(crossed_allowed=True)
        if draw.random() < 0.7:
            book.untrack(order_id)


@pytest.mark.parametrize("seed", range(6))
def test_who_looks_at_orders_changes_nothing(seed: int) -> None:
    """One book is looked at every few rows, the other one never: both come to the same."""
    messages, draw = _messages(seed, 4_000), random.Random(seed)
    watched, left_alone = OrderBook(), OrderBook()
    trades, at = [], 0
    while at < len(messages):
        until = at + draw.randint(1, 30)
        trades.append(watched.apply(messages[at:until], strict=False))
        _look(watched, draw)
        at = until
    expected = left_alone.apply(messages, strict=False)
    assert expected.tolist() == np.concatenate(trades).tolist()
    assert 100 < len(expected)
    assert left_alone.snapshot() == watched.snapshot()
    for book in (watched, left_alone):
        book.check(crossed_allowed=True)
    assert _bare(watched) < _bare(left_alone)


def test_an_order_is_bare_until_somebody_looks() -> None:
    """What was added by an array is no object; asked for, it is one, at its place in the queue."""
    messages = np.zeros(3, MESSAGE_DTYPE)
    messages["action"], messages["side"], messages["price_ticks"] = Action.FEED_ADD, 1, 50
    messages["order_id"], messages["quantity_lots"] = (1, 2, 3), (4, 5, 6)
    book = OrderBook()
    book.apply(messages)
    assert 3 == _bare(book)
    assert (1, 4) == book.queue_position(2)
    assert 2 == _bare(book)
    assert isinstance(book._orders[2], LiveOrder)
    assert [1, 2, 3] == [order.order_id for order in book.orders()]
    first = book.first_order(Side.BUY, 50)
    assert first is not None
    assert (1, 4) == (first.order_id, first.leaves)


def test_an_order_of_a_participant_is_never_bare() -> None:
    """Its participant stands nowhere else."""
    messages = np.zeros(2, MESSAGE_DTYPE)
    messages["action"], messages["side"], messages["price_ticks"] = Action.FEED_ADD, 1, 50
    messages["order_id"], messages["quantity_lots"] = (1, 2), 5
    book = OrderBook()
    book.apply(messages, participants=np.array([0, 7]))
    assert 1 == _bare(book)
    assert [0, 7] == [order.participant_id for order in book.orders()]
    book.check()

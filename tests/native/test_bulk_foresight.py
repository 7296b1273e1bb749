"""One call over many rows looks ahead at what they will need; row by row, nothing does."""

import random

import numpy as np
import pytest

from lob.messages import MESSAGE_DTYPE, Action, Array

native = pytest.importorskip("lob.native")

ROWS_AHEAD = 40
Row = tuple[int, int, int, int, int]  # order id, action, side, price, lots


def _feed(live: int, rows: int, seed: int) -> Array:
    """Return a feed that fills a book with `live` orders and then keeps it at about that.

    Ids come back within the rows that are looked ahead at: deleted and added again at once, moved
    and then deleted, added twice, deleted twice.
    """
    draw = random.Random(seed)
    recent, gone = [1] * (2 * ROWS_AHEAD), 1

    def added(order_id: int) -> Row:
        side = draw.choice((1, -1))
        return order_id, Action.FEED_ADD, side, 50_000 - side * draw.randint(-2, 400), 9

    found = [added(order_id) for order_id in range(2, live + 2)]
    for fresh in range(live + 2, live + 2 + rows):
        kind = draw.random()
        picked = draw.choice(recent) if draw.random() < 0.5 else draw.randint(2, fresh)
        if kind < 0.55:
            found.append(added(gone if draw.random() < 0.3 else fresh))
            recent = [*recent[1:], found[-1][0]]
        elif kind < 0.8:
            found.append((picked, Action.FEED_DELETE, 0, 0, 0))
            gone = picked
        else:
            action = draw.choice((Action.FEED_MODIFY, Action.FEED_EXECUTE, Action.FEED_REDUCE))
            found.append((picked, action, 0, 50_000 + draw.randint(-400, 400), draw.randint(1, 9)))
    messages = np.zeros(len(found), MESSAGE_DTYPE)
    names = ("order_id", "action", "side", "price_ticks", "quantity_lots")
    for name, column in zip(names, zip(*found, strict=True), strict=True):
        messages[name] = column
    return messages


@pytest.mark.parametrize("live", [600, 3_000, 70_000])
def test_many_rows_at_once_do_what_they_do_one_by_one(live: int) -> None:
    """Trades, refusals, crossings and the state are the same, whatever comes back just after."""
    messages = _feed(live, 20_000, seed=live)
    whole, stepped = native.NativeOrderBook(), native.NativeOrderBook()
    for book in (whole, stepped):
        book.apply(messages[:live], strict=False)
    trades = whole.apply(messages[live:], strict=False)
    refused = len(whole.last_apply.refusals)
    found = [
        stepped.apply(messages[at : at + 1], strict=False) for at in range(live, len(messages))
    ]
    assert np.concatenate(found).tolist() == trades.tolist()
    assert 1_000 < refused < 15_000  # rows of both kinds
    assert stepped.state_hash() == whole.state_hash()
    whole.check(crossed_allowed=True)


@pytest.mark.parametrize("live", [3_000, 70_000])
def test_a_tape_does_what_its_rows_do(live: int) -> None:
    """A tape looks ahead too, at orders that may not be there yet."""
    messages = _feed(live, 20_000, seed=live)
    played, stepped = native.NativeOrderBook(), native.NativeOrderBook()
    tape = native.CompiledTape(messages, strict=False)
    trades = played.apply(tape)
    assert stepped.apply(messages, strict=False).tolist() == trades.tolist()
    assert stepped.state_hash() == played.state_hash()
    played.check(crossed_allowed=True)

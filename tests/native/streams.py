"""Feeds for the native book: orders that rest, and orders that come and go."""

from typing import Any

import numpy as np

from lob.messages import MESSAGE_DTYPE, Action


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

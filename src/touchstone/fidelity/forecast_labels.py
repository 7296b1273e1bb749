"""What would have become of every order had it stayed: the outcomes that fill forecasts are for.

Most orders are cancelled before they could fill, and they are cancelled *because* of where the
market goes: to drop them, or to take their cancel for a censoring that says nothing, makes the
orders that are left look better or worse than they were. So a shadow order of no size
(`lob.shadow_orders`) joins the queue just before each order does, and is not cancelled when the
order is. Its place is kept: what was ahead of it must trade or be cancelled, what came later stands
behind it, and it fills at the first execution of an order behind it at its price (its own order is
the first of them), of one of its side at a worse price, or where an order of the other side comes
to rest at its price or through it. While the order lives, that is the order's own first fill.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lob.bounds import Floats, as_given, positive
from lob.messages import Action
from lob.shadow_orders import ShadowOrders
from lob.types import Side
from touchstone.fidelity.market import Market
from touchstone.fidelity.shadow_orders import hidden_by_index, messages_of

__all__ = ["ShadowFills", "shadow_fills"]

_CLEAR: Final = int(Action.FEED_CLEAR)
_SECOND_NS: Final = 1_000_000_000

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ShadowFills:
    """When the shadow of each order filled: arrays with an item for each case, in order of arrival.

    `rows` are the places in the market's `orders`, `arrival_s` counts from the market's start.
    `fill_s` is the wait, infinite where no fill was seen in the `known_s` seconds it was watched:
    until the time asked for had passed, the market's end, or the clearing of the book.
    """

    rows: Ints
    arrival_s: Floats
    fill_s: Floats
    known_s: Floats


def shadow_fills(
    market: Market, *, watch_s: float = 60.0, most: int | None = None, seed: int = 0
) -> ShadowFills:
    """Follow the shadow of every order that arrived in the session for `watch_s` seconds.

    Of more than `most` orders so many are drawn by the seed, each as likely as any other. Orders of
    a snapshot are no cases: when they arrived is not known. O(messages x the shadows that wait at
    one price).
    """
    orders = market.orders
    watch_ns = int(positive("watch_s", watch_s) * _SECOND_NS)
    rows = np.flatnonzero(~orders["at_start"])
    if most is not None and len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    arrival = orders["arrival_ns"]
    fill_ns = np.full(len(orders), -1, np.int64)
    until_ns = np.minimum(arrival + watch_ns, market.end_ns)
    _follow(market, rows, watch_ns, fill_ns, until_ns)
    came, filled = arrival[rows], fill_ns[rows]
    waits = np.where(filled < 0, np.inf, (filled - came) / _SECOND_NS)
    return ShadowFills(
        rows,
        as_given((came - market.start_ns) / _SECOND_NS),
        as_given(waits),
        as_given((until_ns[rows] - came) / _SECOND_NS),
    )


def _follow(market: Market, rows: Ints, watch_ns: int, fill_ns: Ints, until_ns: Ints) -> None:
    """Write down when each shadow filled, and until when it was watched where the book was cleared.

    `arrival_index` says at which message an order comes to rest: an add, or a change that loses its
    place, which is an arrival too.
    """
    orders, hidden = market.orders, hidden_by_index(market.hidden)
    columns = (orders[name][rows].tolist() for name in ("arrival_index", "side", "price_ticks"))
    cases = zip(rows.tolist(), *columns, strict=True)
    row, arrives, sign, price = next(cases, (-1, -1, 0, 0))
    shadows = ShadowOrders()
    watched: deque[tuple[int, int]] = deque()
    for index, message in enumerate(messages_of(market.messages)):
        now_ns, action = message[0], message[1]
        while watched and watched[0][0] + watch_ns < now_ns:
            shadows.cancel(watched.popleft()[1])
        for ts, side, at in hidden.get(index, ()):
            for fill in shadows.hidden_trade(ts, side, at):
                fill_ns[fill.shadow_id] = fill.ts_event_ns
        if action == _CLEAR:
            until_ns[[gone for _, gone in watched if gone in shadows]] = now_ns
        if index == arrives:
            shadows.join(row, Side.BUY if sign > 0 else Side.SELL, price)
            watched.append((now_ns, row))
            row, arrives, sign, price = next(cases, (-1, -1, 0, 0))
        for fill in shadows.step(*message):
            fill_ns[fill.shadow_id] = fill.ts_event_ns

"""Find the aggressive orders of a market, and what was displayed when each was decided.

A sweep is all that traded at one time for one aggressor side, hidden executions included.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.errors import InvalidInput
from lob.hidden.sweeps import Depth, Execution, Levels, Sweep
from lob.messages import Action
from lob.types import Level, Side
from touchstone.fidelity.market import Market

LEVELS_SEEN: Final = 50
"""Levels of a side that a decision sees; what more an order wants is paid at the last of them."""


_LEVELS_LEAST: Final = 2
"""Levels that a forecast looks at whatever the order's size."""


class Met(NamedTuple):
    """A sweep, and its place in the market.

    It came after `messages_before` messages. `known` is the place of its first execution among all,
    `done` that after its last.
    """

    sweep: Sweep
    messages_before: int
    known: int
    done: int


class Decision(NamedTuple):
    """When the order of a sweep was decided: what was displayed, and which sweeps were over."""

    now_ns: int
    depth: Depth
    sweeps_known: int


@dataclass(slots=True)
class _Open:
    """A sweep in the making."""

    executions: list[Execution]
    index: int
    known: int
    done: int


def sweeps_of(market: Market) -> list[Met]:
    """Return the sweeps of a market in the order in which they were over.

    O(messages). Executions of unknown side (none in a book's own trades) cannot be.
    """
    found: list[Met] = []
    live: dict[Side, tuple[int, _Open]] = {}
    for at, (ts_ns, side, index, execution) in enumerate(_executions(market)):
        for other, (began_ns, _) in list(live.items()):
            if began_ns != ts_ns:
                found.append(_closed(other, *live.pop(other)))
        if side not in live:
            live[side] = ts_ns, _Open([], index, at, at)
        parts = live[side][1]
        parts.executions.append(execution)
        parts.done = at + 1
    found += [_closed(side, *one) for side, one in live.items()]
    return sorted(found, key=lambda met: met.done)


def decisions_of(market: Market, sweeps: list[Met], latency_ns: int) -> list[Decision | None]:
    """Return, for each sweep, the state in which its order would have been decided.

    With no latency that is the moment before its first execution; else all that the feed said up
    to `latency_ns` before. None where the book then had no two sides, was crossed, or where the
    session had not begun.
    """
    times = np.maximum.accumulate(market.messages["ts_event_ns"])
    firsts = np.array([met.messages_before for met in sweeps], np.int64)
    swept_ns = np.array([met.sweep.ts_event_ns for met in sweeps], np.int64)
    decided_ns = swept_ns - latency_ns
    if latency_ns:
        indices = np.minimum(np.searchsorted(times, decided_ns, side="right"), firsts)
        known = np.searchsorted(swept_ns, decided_ns, side="right")
    else:
        indices = firsts
        done = np.array([met.done for met in sweeps], np.int64)
        begun = np.array([met.known for met in sweeps], np.int64)
        known = np.searchsorted(done, begun, side="right")
    lots = np.array([met.sweep.quantity_lots for met in sweeps], np.int64)
    depths = depths_at(market, indices, lots)
    return [
        None if depth is None or now < market.start_ns else Decision(now, depth, over)
        for now, depth, over in zip(decided_ns.tolist(), depths, known.tolist(), strict=True)
    ]


def depths_at(
    market: Market, indices: NDArray[np.int64], lots: NDArray[np.int64]
) -> list[Depth | None]:
    """Return what was displayed after so many messages each; None where one side was or it crossed.

    Of each side the levels that orders of so many lots come to, and two at least: of many sweeps,
    all levels would be too much to hold. O(messages + indices x levels).
    """
    ends, places = np.unique(indices, return_inverse=True)
    wanted = np.zeros(len(ends), np.int64)
    np.maximum.at(wanted, places, lots)
    book = OrderBook(market.instrument)
    found: list[Depth | None] = []
    done = 0
    for end, most in zip(ends.tolist(), wanted.tolist(), strict=True):
        book.apply(market.messages[done:end], strict=False)
        found.append(_depth(*book.depth(LEVELS_SEEN), most))
        done = end
    return [found[place] for place in places.tolist()]


def _closed(side: Side, ts_ns: int, parts: _Open) -> Met:
    sweep = Sweep(ts_ns, side, tuple(parts.executions))
    return Met(sweep, parts.index, parts.known, parts.done)


def _executions(market: Market) -> list[tuple[int, Side, int, Execution]]:
    """Return time, aggressor, messages before it, and price and size of every execution in order.

    Where a hidden and a displayed one stand at the same place, the hidden one came first.
    """
    book = OrderBook(market.instrument)
    book.apply(market.messages, strict=False)
    trades, refused = book.last_apply.trades, book.last_apply.refusals["index"]
    at = np.flatnonzero(market.messages["action"] == Action.FEED_EXECUTE)
    at = at[~np.isin(at, refused)]
    if len(at) != len(trades):
        raise InvalidInput(
            f"messages: {len(at)} executions make {len(trades)} trades; allowed: one each, as the "
            "messages of a feed do"
        )
    shown = list(
        zip(
            trades["ts_event_ns"].tolist(),
            trades["aggressor_side"].tolist(),
            at.tolist(),
            trades["price_ticks"].tolist(),
            trades["quantity_lots"].tolist(),
            repeat(False),
        )
    )
    hidden = market.hidden
    unseen = list(
        zip(
            hidden["ts_event_ns"].tolist(),
            (-hidden["side"]).tolist(),
            hidden["before_index"].tolist(),
            hidden["price_ticks"].tolist(),
            hidden["quantity_lots"].tolist(),
            repeat(True),
        )
    )
    rows = sorted(shown + unseen, key=lambda row: (row[2], not row[5]))
    return [
        (ts_ns, Side.BUY if sign > 0 else Side.SELL, index, Execution(price, lots, is_hidden))
        for ts_ns, sign, index, price, lots, is_hidden in rows
    ]


def _depth(bids: tuple[Level, ...], asks: tuple[Level, ...], lots: int) -> Depth | None:
    if not (bids and asks) or bids[0].price_ticks >= asks[0].price_ticks:
        return None
    return Depth(_levels(bids, lots), _levels(asks, lots))


def _levels(side: tuple[Level, ...], lots: int) -> Levels:
    found: list[tuple[int, int]] = []
    for level in side:
        if lots <= 0 and len(found) >= _LEVELS_LEAST:
            break
        found.append((level.price_ticks, level.quantity_lots))
        lots -= level.quantity_lots
    return tuple(found)

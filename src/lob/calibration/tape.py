"""One pass over a market-by-order feed: every event with the quotes that it met and left.

The measures (`lob.calibration.measures`) and the fits read nothing else, so that real and synthetic
messages go through the same code.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.bounds import Floats, number
from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import Instrument

SHAPE_TICKS: Final = 20
"""How many ticks from the best price the shape of the book is measured over."""

_BLOCK: Final = 16_384
_SECOND_NS: Final = 1_000_000_000
_WINDOW_GRAIN: Final = 10  # per second: windows end on whole tenths

Ints = NDArray[np.int64]


class Kind(IntEnum):
    """What an event of the tape is."""

    ADD = 0
    CANCEL = 1
    EXECUTE = 2
    HIDDEN = 3


@dataclass(frozen=True, slots=True, eq=False)
class Quotes:
    """Best prices (ticks, 0 where a side is empty) and their lots, one row for each moment."""

    bid: Ints
    bid_lots: Ints
    ask: Ints
    ask_lots: Ints

    @property
    def two_sided(self) -> NDArray[np.bool_]:
        """Return where both sides are there and do not cross."""
        return (self.bid > 0) & (self.ask > self.bid)

    @property
    def mid(self) -> Floats:
        """Return the mid in ticks; half the other side's price where one side is empty."""
        return np.asarray((self.bid + self.ask) / 2)

    def at(self, rows: Any) -> "Quotes":
        """Return those of some rows."""
        return Quotes(self.bid[rows], self.bid_lots[rows], self.ask[rows], self.ask_lots[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """A market's events within a window, in order.

    Of each event: `seconds` from the window's start, `kind` (`Kind`), `side` and `price` of the
    order that it brings or concerns (price in ticks; between ticks of some hidden executions),
    `lots` of the event, `age` in seconds of the order (NaN where its arrival was not seen), whether
    it `ended` the order, the `order` by its number (-1 of a hidden execution), and the `quotes`
    just before it. `placed` is how many ticks behind its own side's best the event's price is (NaN
    where that side is empty).

    `after` are the quotes after each message of the window and `after_seconds` their times;
    `opening` is the row of quotes at its start. `shape` is the time-weighted mean of the lots at
    0, 1, .. ticks from the best price, both sides averaged; `near` the same at 1, 2, .. ticks from
    the opposite best price.
    """

    seconds: Floats
    kind: NDArray[np.int8]
    side: NDArray[np.int8]
    price: Floats
    lots: Ints
    age: Floats
    placed: Floats
    ended: NDArray[np.bool_]
    order: Ints
    quotes: Quotes
    after: Quotes
    after_seconds: Floats
    opening: Quotes
    shape: Floats
    near: Floats
    duration: float
    instrument: Instrument
    has_hidden: bool

    def of(self, kind: Kind) -> NDArray[np.bool_]:
        """Return which events are of a kind."""
        return np.asarray(self.kind == kind)


def make_tape(
    messages: Array,
    instrument: Instrument,
    hidden: Array | None = None,
    *,
    skip_seconds: float = 30.0,
    levels: int = SHAPE_TICKS,
) -> Tape:
    """Return the tape of feed messages (`MESSAGE_DTYPE`, FEED_ actions, in order).

    `hidden` are executions of hidden orders: rows with `ts_event_ns, price_ticks, quantity_lots,
    side` (the hidden order's) and `before_index` (the message that each comes just before). The
    window begins `skip_seconds` after the whole second of the first message that is not of a
    snapshot, and lasts a whole number of tenths of a second. Messages that a book refuses are no
    events. O(messages).

    Raises:
        InvalidInput: not feed messages; none after the window's start; a book that never has both
            sides within it.
    """
    number("skip_seconds", skip_seconds, low=0)
    if messages.dtype != MESSAGE_DTYPE or (messages["action"] < Action.FEED_ADD).any():
        raise InvalidInput("messages: commands among them; allowed: feed messages of MESSAGE_DTYPE")
    live_rows = (messages["flags"] & Flag.SNAPSHOT) == 0
    if not live_rows.any():
        raise InvalidInput("messages: none after the snapshot; allowed: 1 or more")
    # Some feeds' times step back a little between messages; the order of the file is the venue's.
    times = np.maximum.accumulate(messages["ts_event_ns"])
    begun_ns = int(times[live_rows][0]) // _SECOND_NS * _SECOND_NS
    start_ns = begun_ns + round(skip_seconds * _SECOND_NS)
    duration = (int(times[-1]) - start_ns) * _WINDOW_GRAIN // _SECOND_NS / _WINDOW_GRAIN
    if duration <= 0:
        raise InvalidInput(
            f"messages: nothing {skip_seconds:g} s after their start; allowed: a longer stretch"
        )
    seconds = (times - start_ns) / _SECOND_NS
    after, (shape, near), refused = _walk(messages, seconds, instrument, levels, duration)
    unseen = [] if hidden is None else _hidden_rows(hidden, start_ns)
    rows = _event_rows(messages, seconds, refused, unseen)
    return _assembled(rows, after, seconds, (shape, near), duration, instrument, hidden is not None)


def _walk(
    messages: Array, seconds: Floats, instrument: Instrument, levels: int, duration: float
) -> tuple[Quotes, tuple[Floats, Floats], NDArray[np.bool_]]:
    """Rebuild the book; return the quotes after each message, the mean shapes, who was refused."""
    book = OrderBook(instrument)
    quotes = np.zeros((4, len(messages)), np.int64)
    refused = np.zeros(len(messages), bool)
    total, weight = np.zeros((2, levels)), 0.0
    held = np.diff(np.clip(seconds, 0.0, duration), append=duration)
    for first in range(0, len(messages), _BLOCK):
        block = messages[first : first + _BLOCK]
        part = slice(first, first + len(block))
        depth = _depth_after_each(book, block, levels)
        refused[first + book.last_apply.refusals["index"]] = True
        quotes[0:2, part] = depth[:, 0, 0, :2].T
        quotes[2:4, part] = depth[:, 1, 0, :2].T
        both = (depth[:, 0, 0, 0] > 0) & (depth[:, 1, 0, 0] > depth[:, 0, 0, 0])
        weights = np.where(both, held[part], 0.0)
        if not weights.any():
            continue
        amounts = depth[:, :, :, 1] * weights[:, None, None] / 2
        there = (depth[:, :, :, 0] > 0) & (weights[:, None, None] > 0)
        for place, best in enumerate((depth[:, :, :1, 0], depth[:, ::-1, :1, 0])):
            # From the opposite best the first place is one tick away.
            away = np.abs(depth[:, :, :, 0] - best) - place
            near = there & (away < levels)
            total[place] += np.bincount(away[near], amounts[near], minlength=levels)
        weight += float(weights.sum())
    if not weight:
        raise InvalidInput("messages: never both sides of the book; allowed: a two-sided market")
    shape, opposite = total / weight
    return Quotes(*quotes), (shape, opposite), refused


def _depth_after_each(book: OrderBook, block: Array, levels: int) -> Ints:
    """Return [messages, side, levels, (price, lots, orders)], as the native book gives it."""
    look = getattr(book, "apply_and_look", None)
    if look is not None:
        found: Ints = look(block, np.arange(1, len(block) + 1), levels)
        return found
    depth = np.zeros((len(block), 2, levels, 3), np.int64)
    refusals = []
    for row in range(len(block)):
        book.apply(block[row : row + 1], strict=False)
        refusal = book.last_apply.refusals.copy()
        refusal["index"] += row
        refusals.append(refusal)
        for side, there in enumerate(book.depth(levels)):
            for place, level in enumerate(there):
                depth[row, side, place] = level
    book._last_apply = book.last_apply._replace(  # noqa: SLF001 - of the block, not of its last row
        refusals=np.concatenate(refusals)
    )
    return depth


class _Order:
    """An order that rests, as far as the tape needs it."""

    __slots__ = ("born", "lots", "number", "price", "side")

    def __init__(self, number: int, side: int, price: int, lots: int, born: float) -> None:
        self.number, self.side, self.price, self.lots, self.born = number, side, price, lots, born


_EventRow = tuple[int, float, int, int, float, int, float, bool, int]
"""The message before which it finds its quotes; time, kind, side, price, lots, born, ended,
order."""


def _event_rows(
    messages: Array, seconds: Floats, refused: NDArray[np.bool_], unseen: list[_EventRow]
) -> list[_EventRow]:
    """Return the events of all messages and hidden executions, in order."""
    rows: list[_EventRow] = []
    orders: dict[int, _Order] = {}
    columns = [
        messages[name].tolist()
        for name in ("order_id", "price_ticks", "quantity_lots", "action", "side", "flags")
    ]
    snapshot, add, delete = int(Flag.SNAPSHOT), int(Action.FEED_ADD), int(Action.FEED_DELETE)
    unseen.reverse()
    for row, (order_id, price, lots, action, side, flags, at, bad) in enumerate(
        zip(*columns, seconds.tolist(), refused.tolist(), strict=True)
    ):
        while unseen and unseen[-1][0] <= row:
            rows.append(unseen.pop())
        if bad:
            continue
        if action == add:
            seen = not flags & snapshot
            orders[order_id] = _Order(row, side, price, lots, at if seen else np.nan)
            if seen:
                rows.append((row, at, Kind.ADD, side, price, lots, at, False, row))
        elif action == delete:
            gone = orders.pop(order_id)
            rows.append(_removal(row, at, gone))
        elif action == Action.FEED_CLEAR:
            orders.clear()
        elif action == Action.FEED_MODIFY:
            rows += _modified(row, orders[order_id], price, lots, at)
        else:
            order = orders[order_id]
            order.lots -= lots
            kind = Kind.EXECUTE if action == Action.FEED_EXECUTE else Kind.CANCEL
            ended = order.lots <= 0
            rows.append(
                (row, at, kind, order.side, order.price, lots, order.born, ended, order.number)
            )
            if ended:
                del orders[order_id]
    return rows + unseen[::-1]


def _hidden_rows(hidden: Array, start_ns: int) -> list[_EventRow]:
    columns = zip(
        hidden["before_index"].tolist(),
        ((hidden["ts_event_ns"] - start_ns) / _SECOND_NS).tolist(),
        hidden["side"].tolist(),
        hidden["price_ticks"].tolist(),
        hidden["quantity_lots"].tolist(),
        strict=True,
    )
    return [
        (row, at, Kind.HIDDEN, side, price, lots, np.nan, False, -1)
        for row, at, side, price, lots in columns
    ]


def _modified(row: int, order: _Order, price: int, lots: int, at: float) -> list[_EventRow]:
    """Return what a modification is: a cancel of some lots, or of all of them and a new order."""
    before = order.lots
    if price == order.price and lots <= before:
        order.lots = lots
        if lots == before:
            return []
        less = before - lots
        return [(row, at, Kind.CANCEL, order.side, price, less, order.born, False, order.number)]
    gone = _removal(row, at, order)
    order.number, order.price, order.lots, order.born = row, price, lots, at
    return [gone, (row, at, Kind.ADD, order.side, price, lots, at, False, row)]


def _removal(row: int, at: float, gone: _Order) -> _EventRow:
    kind = Kind.CANCEL
    return (row, at, kind, gone.side, gone.price, gone.lots, gone.born, True, gone.number)


def _assembled(
    rows: list[_EventRow],
    after: Quotes,
    seconds: Floats,
    shapes: tuple[Floats, Floats],
    duration: float,
    instrument: Instrument,
    has_hidden: bool,
) -> Tape:
    if not rows:
        raise InvalidInput("messages: no event among them; allowed: 1 or more")
    places, times, kinds, sides, prices, lots, born, ended, numbers = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    before = places - 1
    met = after.at(np.maximum(before, 0))
    for column in (met.bid, met.bid_lots, met.ask, met.ask_lots):
        column[before < 0] = 0
    at = np.maximum.accumulate(times)
    window = at >= 0
    own_best = np.where(sides > 0, met.bid, met.ask)
    behind = np.where(own_best > 0, (own_best - prices) * sides, np.nan)
    born_window = np.isfinite(born) & window
    inside = seconds >= 0
    begun = int(np.argmax(inside))
    return Tape(
        seconds=at[window],
        kind=kinds[window].astype(np.int8),
        side=sides[window].astype(np.int8),
        price=prices[window].astype(np.float64),
        lots=lots[window].astype(np.int64),
        age=np.where(born_window, at - born, np.nan)[window],
        placed=behind[window].astype(np.float64),
        ended=ended[window].astype(bool),
        order=numbers[window].astype(np.int64),
        quotes=met.at(window),
        after=after.at(inside),
        after_seconds=seconds[inside],
        opening=after.at(slice(max(begun - 1, 0), max(begun - 1, 0) + 1)),
        shape=shapes[0],
        near=shapes[1],
        duration=duration,
        instrument=instrument,
        has_hidden=has_hidden,
    )

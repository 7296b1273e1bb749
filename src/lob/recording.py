"""Write down a synthetic flow in bulk: what was asked for, and what a venue would publish of it."""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lob import OrderBook
from lob.errors import InvalidInput
from lob.messages import MESSAGE_DTYPE, Action, Array, Flag
from lob.types import (
    Accepted,
    Cancel,
    Cancelled,
    Command,
    Event,
    Expired,
    Instrument,
    OrderType,
    Reduce,
    Reduced,
    Replace,
    Replaced,
    Submit,
    TimeInForce,
    Traded,
)

_TIMES: Final = {
    TimeInForce.GTC: 0,
    TimeInForce.IOC: 1,
    TimeInForce.FOK: 2,
    TimeInForce.DAY: 3,
}
_STP_MODES: Final = (
    "NONE",
    "CANCEL_NEWEST",
    "CANCEL_OLDEST",
    "CANCEL_BOTH",
    "DECREMENT_AND_CANCEL",
)
_COLUMNS: Final = (
    "ts_event_ns",
    "order_id",
    "price_ticks",
    "quantity_lots",
    "display_lots",
    "action",
    "side",
    "time_in_force",
    "flags",
)

HIDDEN_DTYPE: Final = np.dtype(
    [
        ("ts_event_ns", "<i8"),
        ("price_ticks", "<f8"),
        ("quantity_lots", "<i8"),
        ("side", "i1"),
        ("before_index", "<i8"),
    ]
)
"""One execution of an order that was not displayed: `side` is that of the hidden order (+1 BUY),
`before_index` the place in the feed's messages that it comes just before."""

Fields = tuple[int, int, int, int, int, int, int, int, int]


class Flow(Protocol):
    """What gives commands one at a time; `lob.flow.SeededFlow` does."""

    instrument: Instrument
    now_ns: int

    def seed_book(self) -> list[Submit]:
        """Return the orders of the initial book."""
        ...

    def step(self, book: OrderBook) -> tuple[int, Command]:
        """Return the next command and its time in nanoseconds."""
        ...


class Recording(NamedTuple):
    """A flow as two tapes of `MESSAGE_DTYPE`, and the book that both of them lead to.

    `commands` are what was asked for, `participants` who asked, row by row. `feed` is what a venue
    would publish of it, market by order and anonymous, with `Flag.LAST` where a command's end.
    `hidden` (`HIDDEN_DTYPE`) are the executions of hidden orders, of which the feed says nothing.
    """

    commands: Array
    participants: NDArray[np.int64]
    feed: Array
    book: OrderBook
    hidden: Array


def record(
    flow: Flow, commands: int, *, book: OrderBook | None = None, until_ns: int | None = None
) -> Recording:
    """Let a flow give so many commands after those of its initial book, and write all of it down.

    Without `book` a new one of the flow's instrument takes them; one that is given must be empty.
    With `until_ns` the recording ends before the first command that comes later.

    Raises:
        InvalidInput: fewer than 0 commands; a command that an array cannot say (stops, GTD), or
            whose order a feed would not show as it is (iceberg).
    """
    if commands < 0:
        raise InvalidInput(f"commands: {commands}; allowed: 0 or more")
    book = OrderBook(flow.instrument) if book is None else book
    if len(book):
        raise InvalidInput(f"book: {len(book)} orders; allowed: an empty one")
    asked: list[Fields] = []
    participants: list[int] = []
    published: list[Fields] = []
    concealed: dict[int, int] = {}
    unseen: list[tuple[int, int, int, int, int]] = []
    for timestamp_ns, command in _commands(flow, commands, book, until_ns):
        asked.append(_command_fields(timestamp_ns, command))
        participants.append(command.participant_id if isinstance(command, Submit) else 0)
        if isinstance(command, Submit):
            concealed.pop(command.order_id, None)
            if command.hidden:
                concealed[command.order_id] = command.side.sign
        said = [
            row for event in book.advance(timestamp_ns) for row in _of_resting(timestamp_ns, event)
        ]
        said += published_by(timestamp_ns, command, book.apply(command))
        if concealed:
            said = _without(concealed, said, len(published), unseen)
        if said:
            said[-1] = (*said[-1][:-1], said[-1][-1] | Flag.LAST)
            published += said
    return Recording(
        _tape(asked), np.array(participants, np.int64), _tape(published), book, _hidden(unseen)
    )


def _without(
    concealed: dict[int, int],
    said: list[Fields],
    published: int,
    unseen: list[tuple[int, int, int, int, int]],
) -> list[Fields]:
    """Take what concerns hidden orders out of what is said; note their executions."""
    shown: list[Fields] = []
    for row in said:
        timestamp_ns, order_id, price, lots, _, action, *_ = row
        side = concealed.get(order_id)
        if side is None:
            shown.append(row)
        elif action == Action.FEED_EXECUTE:
            unseen.append((timestamp_ns, price, lots, side, published + len(shown)))
    return shown


def _hidden(rows: list[tuple[int, int, int, int, int]]) -> Array:
    found = np.zeros(len(rows), HIDDEN_DTYPE)
    for name, column in zip(HIDDEN_DTYPE.names or (), zip(*rows, strict=True), strict=False):
        found[name] = column
    return found


def published_by(timestamp_ns: int, command: Command, events: Iterable[Event]) -> Iterator[Fields]:
    """Yield, as the fields of feed messages, what a venue would publish of a command's events.

    What rests is added when its own trades are over; so a feed's book is never crossed.
    """
    taker_id = command.order_id
    side = command.side.sign if isinstance(command, Submit) else 0
    arriving: _Arriving | None = None
    for event in events:
        if isinstance(event, Traded):
            maker, lots = event.maker_order_id, event.quantity_lots
            yield _feed(timestamp_ns, Action.FEED_EXECUTE, maker, lots, event.price_ticks)
        elif arriving is None or event.order_id != taker_id:
            yield from _of_resting(timestamp_ns, event)
        arriving = _after(arriving, event, taker_id)
    if arriving is None:
        return
    action, price, leaves = arriving
    if leaves:
        yield _feed(timestamp_ns, action, taker_id, leaves, price, side)
    elif action is Action.FEED_MODIFY:
        yield _feed(timestamp_ns, Action.FEED_DELETE, taker_id, 0)


def _of_resting(timestamp_ns: int, event: Event) -> Iterator[Fields]:
    if isinstance(event, Reduced):
        yield _feed(timestamp_ns, Action.FEED_REDUCE, event.order_id, event.quantity_lots)
    elif isinstance(event, Cancelled | Expired):
        yield _feed(timestamp_ns, Action.FEED_DELETE, event.order_id, 0)


def _after(arriving: "_Arriving | None", event: Event, taker_id: int) -> "_Arriving | None":
    """Return what is left of the order that a command brings or moves, after one event."""
    if isinstance(event, Accepted):
        return _Arriving(Action.FEED_ADD, event.price_ticks or 0, event.quantity_lots)
    if isinstance(event, Replaced):
        return _Arriving(Action.FEED_MODIFY, event.price_ticks, event.leaves)
    if arriving is None:
        return None
    leaves = arriving.leaves
    if isinstance(event, Traded):
        leaves = event.taker_leaves
    elif event.order_id == taker_id and isinstance(event, Reduced | Cancelled):
        leaves = event.leaves if isinstance(event, Reduced) else 0
    return arriving._replace(leaves=leaves)


class _Arriving(NamedTuple):
    """What is to be said at the end of the order that a command brings or moves."""

    action: Action
    price_ticks: int
    leaves: int


def _feed(
    timestamp_ns: int, action: Action, order_id: int, lots: int, price: int = 0, side: int = 0
) -> Fields:
    return (timestamp_ns, order_id, price, lots, 0, action.value, side, 0, 0)


def _commands(
    flow: Flow, count: int, book: OrderBook, until_ns: int | None
) -> Iterator[tuple[int, Command]]:
    begin_ns = flow.now_ns
    for order in flow.seed_book():
        yield begin_ns, order
    for _ in range(count):
        timestamp_ns, command = flow.step(book)
        if until_ns is not None and timestamp_ns > until_ns:
            return
        yield timestamp_ns, command


def _command_fields(timestamp_ns: int, command: Command) -> Fields:
    match command:
        case Cancel(order_id=order_id):
            return (timestamp_ns, order_id, 0, 0, 0, Action.CANCEL.value, 0, 0, 0)
        case Reduce(order_id=order_id, quantity_lots=lots):
            return (timestamp_ns, order_id, 0, lots, 0, Action.REDUCE.value, 0, 0, 0)
        case Replace(order_id=order_id, price_ticks=price, quantity_lots=lots):
            return (timestamp_ns, order_id, price, lots, 0, Action.REPLACE.value, 0, 0, 0)
        case Submit():
            return _submit_fields(timestamp_ns, command)


def _submit_fields(timestamp_ns: int, order: Submit) -> Fields:
    if order.order_type not in {OrderType.LIMIT, OrderType.MARKET}:
        raise InvalidInput(f"order_type: {order.order_type}; allowed in a recording: LIMIT, MARKET")
    if order.time_in_force not in _TIMES:
        raise InvalidInput(f"time_in_force: {order.time_in_force}; allowed: {', '.join(_TIMES)}")
    if order.display_lots:
        raise InvalidInput(
            "display_lots: set; allowed in a recording: 0 (icebergs are not recorded)"
        )
    flags = Flag.POST_ONLY if order.post_only else Flag.NONE
    flags |= Flag(_STP_MODES.index(order.stp) << 3)
    if order.order_type is OrderType.MARKET:
        flags |= Flag.MARKET
    if order.hidden:
        flags |= Flag.HIDDEN
    return (
        timestamp_ns,
        order.order_id,
        order.price_ticks or 0,
        order.quantity_lots,
        0,
        Action.SUBMIT.value,
        order.side.sign,
        _TIMES[order.time_in_force],
        flags.value,
    )


def _tape(rows: list[Fields]) -> Array:
    tape = np.zeros(len(rows), MESSAGE_DTYPE)
    for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=bool(rows)):
        tape[name] = column
    return tape

"""Messages in bulk come to what the same calls come to, one by one."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lob.book import OrderBook
from lob.books import available_books
from lob.bulk import CompiledTape
from lob.errors import Conflict, Fault, InvalidInput, NotFound
from lob.messages import MESSAGE_DTYPE, TRADE_DTYPE, Action, Array, Flag
from lob.types import (
    INT64_MAX,
    Event,
    Instrument,
    OrderType,
    Rejected,
    RejectReason,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
)
from tests.properties.vocabulary import INSTRUMENTS

books = pytest.mark.parametrize("make", available_books())
TIMES_IN_FORCE = (TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY)
REASONS = tuple(RejectReason)

IDS = st.integers(1, 14)
ODD = st.sampled_from([0, -1, INT64_MAX, INT64_MAX - 3])


@st.composite
def rows(draw: st.DrawFn, actions: list[Action]) -> tuple[int, ...]:
    """Draw one message and its participant; now and then with a number that cannot be."""
    odd = draw(st.sampled_from([""] * 12 + ["id", "price", "lots", "display", "participant"]))
    flags = draw(st.sampled_from([0] * 6 + [1, 2, 4, 8, 16, 24, 32, 64, 128, 10]))
    market = bool(flags & Flag.MARKET)
    return (
        draw(st.integers(0, 60)),
        draw(ODD if odd == "id" else IDS),
        0 if market else draw(ODD if odd == "price" else st.integers(98, 102)),
        draw(ODD if odd == "lots" else st.integers(1, 20)),
        draw(ODD if odd == "display" else st.sampled_from([0, 0, 0, 1, 3])),
        int(draw(st.sampled_from(actions))),
        draw(st.sampled_from([1, -1])),
        draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3])),
        flags,
        draw(ODD if odd == "participant" else st.integers(0, 2)),
    )


FEED = [action for action in Action if action >= Action.FEED_ADD]
COMMANDS = [action for action in Action if action < Action.FEED_ADD]
ADDS = [Action.FEED_ADD] * 5
SUBMITS = [Action.SUBMIT] * 4
TABLES = st.one_of(
    st.lists(rows(FEED + ADDS), min_size=5, max_size=60),
    st.lists(rows(COMMANDS + SUBMITS), min_size=5, max_size=60),
    st.lists(rows(FEED + COMMANDS + ADDS + SUBMITS), min_size=5, max_size=60),
)


def arrays(table: list[tuple[int, ...]]) -> tuple[Array, NDArray[np.int64]]:
    """Return the messages, and the participant of each."""
    messages = np.array([row[:-1] for row in table], dtype=MESSAGE_DTYPE)
    return messages, np.array([row[-1] for row in table], dtype=np.int64)


def one_by_one(book: OrderBook, row: tuple[int, ...]) -> tuple[list[tuple[int, ...]], str | None]:
    """Do what one message says by the book's own calls; return trades, and why it was refused."""
    at_ns, order_id, price, lots, _, number, sign, _, _, participant = row
    action = Action(number)
    if action < Action.FEED_ADD:
        if at_ns > book.now_ns:
            book.advance(at_ns)
        events = _command(book, action, row)
        trades: list[tuple[int, ...]] = [
            (at_ns, *event[:5], event.aggressor_side.sign)
            for event in events
            if isinstance(event, Traded)
        ]
        refused = [event.reason for event in events if isinstance(event, Rejected)]
        return trades, refused[0] if refused else None
    before = book.order(order_id)
    side = Side.BUY if sign > 0 else Side.SELL
    calls: dict[Action, Callable[[], None]] = {
        Action.FEED_ADD: lambda: book.feed_add(order_id, side, price, lots, participant),
        Action.FEED_DELETE: lambda: book.feed_delete(order_id),
        Action.FEED_REDUCE: lambda: book.feed_reduce(order_id, lots),
        Action.FEED_MODIFY: lambda: book.feed_modify(order_id, price, lots),
        Action.FEED_EXECUTE: lambda: book.feed_execute(order_id, lots),
        Action.FEED_CLEAR: book.feed_clear,
    }
    try:
        calls[action]()
    except Fault as fault:
        return [], type(fault).__name__
    if action is not Action.FEED_EXECUTE or before is None:
        return [], None
    count, sign = book.trade_count, before.side.opposite.sign
    return [(at_ns, count, order_id, 0, before.price_ticks, lots, sign)], None


def _command(book: OrderBook, action: Action, row: tuple[int, ...]) -> tuple[Event, ...]:
    _, order_id, price, lots, display, _, sign, lasts, flags, participant = row
    if action is Action.CANCEL:
        return book.cancel(order_id)
    if action is Action.REDUCE:
        return book.reduce(order_id, lots)
    if action is Action.REPLACE:
        return book.replace(order_id, price, lots)
    market = bool(flags & Flag.MARKET)
    return book.apply(
        Submit(
            order_id,
            Side.BUY if sign > 0 else Side.SELL,
            lots,
            None if market else price,
            OrderType.MARKET if market else OrderType.LIMIT,
            TIMES_IN_FORCE[lasts],
            bool(flags & Flag.POST_ONLY),
            participant,
            tuple(SelfTradePrevention)[(flags & Flag.STP_MASK) >> 3],
            None,
            display,
            bool(flags & Flag.HIDDEN),
        )
    )


FAULT_OF = {
    RejectReason.UNKNOWN_ORDER: "NotFound",
    RejectReason.DUPLICATE_ORDER_ID: "Conflict",
    RejectReason.MORE_THAN_LEAVES: "Conflict",
    RejectReason.LEVEL_FULL: "Conflict",
}


@books
@given(INSTRUMENTS, TABLES, st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_bulk_is_one_by_one(
    make: type[OrderBook],
    of: Instrument,
    table: list[tuple[int, ...]],
    stopped: bool,
    tracked: bool,
) -> None:
    """Trades, refusals, crossings and the state's hash are those of the single calls."""
    bulk, single = make(of), make(of)
    for book in (bulk, single) if stopped else ():
        book.submit(900, Side.BUY, 3, order_type=OrderType.STOP, stop_ticks=101)
        book.submit(901, Side.SELL, 3, 98, order_type=OrderType.STOP_LIMIT, stop_ticks=99)
    for book in (bulk, single) if tracked else ():
        book.submit(902, Side.BUY, 3, 99, hidden=True)
        book.submit(903, Side.BUY, 3, 99)
        book.track(902)
        book.track(903)
    trades: list[tuple[int, ...]] = []
    refused: list[tuple[int, int, str]] = []
    crossed: list[bool] = []
    for index, row in enumerate(table):
        made, reason = one_by_one(single, row)
        trades += made
        refused += [] if reason is None else [(index, row[1], reason)]
        crossed.append(single.crossed)

    messages, participants = arrays(table)
    came = bulk.apply(messages, participants=participants, strict=False)

    assert trades == came.tolist()
    applied = bulk.last_apply
    assert trades == applied.trades.tolist()
    told = [(index, order_id, REASONS[code]) for index, order_id, code in applied.refusals.tolist()]
    feeds = [row[5] >= Action.FEED_ADD for row in table]
    named = [
        (index, order_id, FAULT_OF.get(reason, "InvalidInput") if feeds[index] else reason)
        for index, order_id, reason in told
    ]
    assert refused == named
    inside = [False] * len(table)
    for first, end in applied.crossings.tolist():
        assert first < end
        inside[first:end] = [True] * (end - first)
    assert crossed == inside
    assert single.state_hash() == bulk.state_hash()
    bulk.check(crossed_allowed=True)
    for order in bulk.orders():
        assert single.queue_position(order.order_id) == bulk.queue_position(order.order_id)


@books
@given(INSTRUMENTS, TABLES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_fault_leaves_what_the_rows_before_it_leave(
    make: type[OrderBook], of: Instrument, table: list[tuple[int, ...]], taped: bool
) -> None:
    """Trades, refusals and crossings end at the faulty row, of an array and of a tape."""
    messages, participants = arrays(table)
    book, expected = make(of), make(of)
    whole: Any = messages
    given: dict[str, Any] = {"participants": participants}
    if taped:
        tape_class: Any = sys.modules[make.__module__].CompiledTape
        whole, given = tape_class(messages, participants=participants), {}
    rows = len(messages)
    try:
        book.apply(whole, **given)
    except Fault as fault:
        rows = int(str(fault).split("]")[0].removeprefix("messages["))

    expected.apply(messages[:rows], participants=participants[:rows])

    assert [part.tolist() for part in expected.last_apply] == [
        part.tolist() for part in book.last_apply
    ]
    assert expected.state_hash() == book.state_hash()


@given(INSTRUMENTS, TABLES)
@settings(max_examples=40, deadline=None)
def test_a_tape_is_the_array_that_it_was_made_of(
    of: Instrument, table: list[tuple[int, ...]]
) -> None:
    """A compiled tape replays into any new book with the array's outcome, as often as asked."""
    messages, participants = arrays(table)
    book = OrderBook(of)
    trades = book.apply(messages, participants=participants, strict=False)
    tape = CompiledTape(messages, participants=participants, strict=False)

    for _ in range(2):
        again = OrderBook(of)
        assert trades.tolist() == again.apply(tape).tolist()
        assert book.state_hash() == again.state_hash()
    assert len(messages) == len(tape)
    if book.trade_count or len(book) or book.now_ns:
        with pytest.raises(Conflict, match="not a new one"):
            book.apply(tape)


def _rows(*changes: dict[str, int]) -> Array:
    messages = np.zeros(len(changes), MESSAGE_DTYPE)
    for index, change in enumerate(changes):
        plain = {"order_id": index + 1, "price_ticks": 99, "quantity_lots": 5, "side": 1}
        for name, value in (plain | change).items():
            messages[name][index] = value
    return messages


ADD = {"action": int(Action.FEED_ADD)}
CROSSING = {"side": -1, "price_ticks": 98}


@books
@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ({"action": 10}, InvalidInput, r"messages\[2\]: action: 10; allowed: 0..9"),
        ({"side": 0}, InvalidInput, r"messages\[2\]: side: 0; allowed"),
        (ADD | {"side": 2}, InvalidInput, r"messages\[2\]: side: 2; allowed"),
        ({"time_in_force": 4}, InvalidInput, r"messages\[2\]: time_in_force: 4; allowed: 0..3"),
        ({"flags": 5 << 3}, InvalidInput, r"messages\[2\]: self-trade mode"),
        (ADD | {"order_id": 0}, InvalidInput, r"messages\[2\]: order_id: 0"),
        (ADD | {"price_ticks": -1}, InvalidInput, r"messages\[2\]: price_ticks: -1"),
        (ADD | {"quantity_lots": 0}, InvalidInput, r"messages\[2\]: quantity_lots: 0"),
        (ADD | {"quantity_lots": INT64_MAX}, Conflict, r"messages\[2\]: quantity_lots"),
        (ADD | {"order_id": 1}, Conflict, r"messages\[2\]: order_id: 1 is live"),
        ({"action": 5, "order_id": 7}, NotFound, r"messages\[2\]: order_id: 7"),
        ({"action": 8, "order_id": 1, "quantity_lots": 6}, Conflict, r"messages\[2\]: quantity"),
        ({"action": 6, "order_id": 1, "quantity_lots": 0}, InvalidInput, "quantity_lots: 0"),
        ({"action": 7, "order_id": 1, "price_ticks": 0}, InvalidInput, "price_ticks: 0"),
    ],
)
def test_a_fault_names_its_row_and_keeps_what_was_before(
    make: type[OrderBook], bad: dict[str, int], kind: type[Fault], message: str
) -> None:
    """The rows before a fault stay applied, their trades are in `last_apply`, none after it."""
    executed = {"action": int(Action.FEED_EXECUTE), "order_id": 1, "quantity_lots": 1}
    messages = _rows(ADD, executed, bad, ADD | {"order_id": 50})
    book = make()

    with pytest.raises(kind, match=message):
        book.apply(messages)

    assert [1] == [order.order_id for order in book.orders()]
    assert [(0, 1, 1, 0, 99, 1, -1)] == book.last_apply.trades.tolist()


@books
@pytest.mark.parametrize(
    ("messages", "participants", "message"),
    [
        (np.zeros(3), None, "messages: float64"),
        ([1, 2], None, "messages: list"),
        (np.zeros((2, 2), MESSAGE_DTYPE), None, "2 dimensions"),
        (np.zeros(3, MESSAGE_DTYPE), np.zeros(3), "participants: float64"),
        (np.zeros(3, MESSAGE_DTYPE), np.zeros(2, np.int64), r"participants: shape \(2,\)"),
    ],
)
def test_what_is_no_array_of_messages_is_a_fault(
    make: type[OrderBook], messages: Any, participants: Any, message: str
) -> None:
    """Another dtype, another shape, or participants that do not fit are refused by name."""
    with pytest.raises(InvalidInput, match=message):
        make().apply(messages, participants=participants)


@books
def test_no_messages_are_no_trades(make: type[OrderBook]) -> None:
    """An empty array changes nothing; before the first `apply` nothing was applied."""
    book = make()
    assert (0, 0, 0) == tuple(len(part) for part in book.last_apply)

    trades = book.apply(np.zeros(0, MESSAGE_DTYPE))

    assert 0 == len(trades)
    assert TRADE_DTYPE == trades.dtype
    assert make().state_hash() == book.state_hash()


@books
def test_a_command_later_than_the_book_moves_its_time(make: type[OrderBook]) -> None:
    """DAY orders expire in bulk; an earlier command changes no time, a feed message neither."""
    day = {"time_in_force": 3, "ts_event_ns": 5}
    late = 2 * 86_400 * 10**9
    book = make()

    book.apply(_rows(day, {"ts_event_ns": 4}, ADD | {"ts_event_ns": late}))
    assert (5, 3) == (book.now_ns, len(book))
    book.apply(_rows({"order_id": 9, "ts_event_ns": late}))

    assert late == book.now_ns
    assert [2, 3, 9] == [order.order_id for order in book.orders()]


@books
def test_a_command_trades_in_a_book_that_a_feed_has_crossed(make: type[OrderBook]) -> None:
    """An order whose own level is there may trade all the same; a crossing ends where it does."""
    sell = {"side": -1, "price_ticks": 98}
    book = make()

    trades = book.apply(_rows(ADD, ADD | sell, {"quantity_lots": 5}))

    assert [(3, 98, 5)] == [
        tuple(row) for row in trades[["taker_order_id", "price_ticks", "quantity_lots"]].tolist()
    ]
    assert [(1, 2)] == book.last_apply.crossings.tolist()


@books
def test_a_crossing_goes_on_from_one_array_into_the_next(make: type[OrderBook]) -> None:
    """Each array names the rows of its own after which the book was crossed."""
    sell = {"side": -1, "price_ticks": 98}
    gone = {"action": int(Action.FEED_DELETE), "order_id": 2}
    book = make()

    book.apply(_rows(ADD, ADD | sell))
    assert [(1, 2)] == book.last_apply.crossings.tolist()
    book.apply(_rows(ADD | {"order_id": 7}, gone))
    assert [(0, 1)] == book.last_apply.crossings.tolist()
    book.apply(_rows(ADD | sell | {"order_id": 8}, gone | {"order_id": 8}))
    book.apply(_rows(ADD | sell | {"order_id": 9}))
    book.apply(_rows(gone | {"order_id": 9}))
    assert [] == book.last_apply.crossings.tolist()


@books
@pytest.mark.parametrize("fault", [False, True])
def test_a_crossing_ends_at_the_row_whose_time_ends_it(make: Any, fault: bool) -> None:
    """A command's time expires what crossed: its own row is no longer crossed, nor the next."""
    book = make()
    book.submit(1, Side.BUY, 5, 99, time_in_force=TimeInForce.GTD, expire_ns=10)
    book.apply(_rows(ADD | {"order_id": 2, "price_ticks": 90}, ADD | {"order_id": 3} | CROSSING))
    assert [(1, 2)] == book.last_apply.crossings.tolist()
    book.submit(4, Side.BUY, 5, 90)

    cancel = {"action": int(Action.CANCEL), "order_id": 2, "ts_event_ns": 10}
    later = _rows(cancel, {"action": 10} if fault else {"price_ticks": 80})
    try:
        book.apply(later)
    except InvalidInput:
        assert fault

    assert 90 == book.best_bid().price_ticks
    assert [] == book.last_apply.crossings.tolist()

"""The invariants of the book, each under a name of its own, over arbitrary commands."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lob.book import OrderBook
from lob.books import available_books
from lob.types import (
    INT64_MAX,
    Accepted,
    Cancelled,
    Expired,
    Instrument,
    OrderType,
    Reduced,
    Rejected,
    Replace,
    Replaced,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
    Triggered,
)
from tests.properties.vocabulary import (
    INSTRUMENTS,
    PARTICIPANTS,
    PRICES,
    RESTING,
    STEPS,
    Advance,
    Step,
    Track,
    built,
    do,
    ended,
    submits,
)

pytestmark = pytest.mark.parametrize("make", available_books())
FEWER = settings(max_examples=60, deadline=None)


@given(INSTRUMENTS, STEPS)
@FEWER
def test_lots_are_conserved(make: type[OrderBook], of: Instrument, steps: list[Step]) -> None:
    """Filled, live, cancelled and expired lots equal submitted lots, reserves and stops too."""
    book = make(of)
    ledger: Counter[str] = Counter()

    for step in steps:
        before = None if isinstance(step, Advance | Track) else book.order(step.order_id)
        for event in do(book, step):
            match event:
                case Accepted():
                    ledger["submitted"] += event.quantity_lots
                case Traded():
                    ledger["filled"] += 2 * event.quantity_lots
                case Cancelled() | Reduced() | Expired():
                    ledger["ended"] += event.quantity_lots
                case Replaced():
                    assert before is not None
                    ledger["submitted"] += event.leaves
                    ledger["ended"] += before.leaves
        live = sum(order.leaves for order in book.orders())
        live += sum(stop.quantity_lots for stop in book.stops())
        assert ledger["submitted"] == ledger["filled"] + live + ledger["ended"]


@given(INSTRUMENTS, STEPS)
@FEWER
def test_level_totals_equal_what_their_orders_display(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """Every level shows the displayed lots and the number of its displayed orders."""
    book = make(of)

    for step in steps:
        do(book, step)
        lots: Counter[tuple[Side, int]] = Counter()
        counts: Counter[tuple[Side, int]] = Counter()
        for order in book.orders():
            if not order.hidden:
                lots[order.side, order.price_ticks] += order.displayed_lots
                counts[order.side, order.price_ticks] += 1
        shown = {
            (side, level.price_ticks): (level.quantity_lots, level.order_count)
            for side, levels in zip(Side, book.depth(1_000), strict=True)
            for level in levels
        }
        assert {place: (lots[place], counts[place]) for place in lots} == shown
        bids, asks = book.depth(1)
        assert (book.best_bid(), book.best_ask()) == (
            bids[0] if bids else None,
            asks[0] if asks else None,
        )


@given(INSTRUMENTS, STEPS)
@FEWER
def test_the_book_is_never_crossed_after_a_command(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """Every bid stays below every ask, hidden orders included."""
    book = make(of)

    for step in steps:
        do(book, step)
        highest = max((order.price_ticks for order in book.orders(Side.BUY)), default=0)
        lowest = min((order.price_ticks for order in book.orders(Side.SELL)), default=INT64_MAX)
        assert highest < lowest
        assert not book.crossed


@given(INSTRUMENTS, STEPS)
@FEWER
def test_live_ids_are_unique(make: type[OrderBook], of: Instrument, steps: list[Step]) -> None:
    """No two live orders share an id, waiting stops included; a live id is refused."""
    book = make(of)

    for step in steps:
        waiting = {stop.order_id for stop in book.stops()}
        was_live = isinstance(step, Submit) and (step.order_id in book or step.order_id in waiting)
        events = do(book, step)
        ids = [order.order_id for order in book.orders()]
        ids += [stop.order_id for stop in book.stops()]
        assert len(set(ids)) == len(ids)
        assert not was_live or isinstance(events[0], Rejected)


@given(INSTRUMENTS, STEPS)
@FEWER
def test_ended_orders_leave_every_index(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """A cancelled, filled or expired order is in no queue, no level, no index and no stop."""
    book = make(of)

    for step in steps:
        gone = ended(do(book, step))
        live = {order.order_id for order in book.orders()}
        waiting = {stop.order_id for stop in book.stops()}
        assert not gone & (live | waiting)
        assert all(order_id not in book and book.order(order_id) is None for order_id in gone)
        assert len(book) == len(live)
        book.check()


@given(INSTRUMENTS, STEPS)
@FEWER
def test_replay_is_deterministic(make: type[OrderBook], of: Instrument, steps: list[Step]) -> None:
    """The same commands give the same events and the same hash."""
    first, second = make(of), make(of)

    events = [tuple(do(first, step)) for step in steps]

    assert events == [tuple(do(second, step)) for step in steps]
    assert first.state_hash() == second.state_hash()


@given(INSTRUMENTS, STEPS, STEPS)
@FEWER
def test_restoring_a_snapshot_keeps_hash_and_behaviour(
    make: type[OrderBook], of: Instrument, before: list[Step], after: list[Step]
) -> None:
    """A restored book has the original's hash and answers every later command alike."""
    book = built(make, of, before)
    restored = make.restore(book.snapshot())

    assert book.state_hash() == restored.state_hash()
    assert book.snapshot() == restored.snapshot()
    for step in after:
        assert tuple(do(book, step)) == tuple(do(restored, step))
    assert book.state_hash() == restored.state_hash()


@given(
    INSTRUMENTS,
    RESTING,
    st.sampled_from(Side),
    st.integers(1, 200),
    st.one_of(st.none(), PRICES),
    PARTICIPANTS,
    st.sampled_from(SelfTradePrevention),
)
@settings(max_examples=150, deadline=None)
def test_a_walk_predicts_what_the_same_ioc_order_gets(
    make: type[OrderBook],
    of: Instrument,
    resting: list[Step],
    side: Side,
    quantity_lots: int,
    limit_ticks: int | None,
    participant_id: int,
    stp: SelfTradePrevention,
) -> None:
    """A walk moves nothing; its lots, cost, worst price and levels are the trades that follow."""
    book = built(make, of, resting)
    unchanged = book.state_hash()

    walk = book.walk(side, quantity_lots, limit_ticks, participant_id=participant_id, stp=stp)
    assert unchanged == book.state_hash()
    events = book.submit(
        1_000,
        side,
        quantity_lots,
        limit_ticks,
        order_type=OrderType.MARKET if limit_ticks is None else OrderType.LIMIT,
        time_in_force=TimeInForce.IOC,
        participant_id=participant_id,
        stp=stp,
    )

    trades = [e for e in events if isinstance(e, Traded) and e.taker_order_id == 1_000]
    assert walk.quantity_lots == sum(trade.quantity_lots for trade in trades)
    assert walk.cost_tick_lots == sum(t.quantity_lots * t.price_ticks for t in trades)
    assert walk.worst_price_ticks == (trades[-1].price_ticks if trades else None)
    lots = Counter[int]()
    for trade in trades:
        lots[trade.price_ticks] += trade.quantity_lots
    assert [*lots.items()] == [*map(tuple, walk.levels)]


@given(INSTRUMENTS, RESTING, submits(stops=False))
@FEWER
def test_fill_or_kill_is_all_or_nothing(
    make: type[OrderBook], of: Instrument, resting: list[Step], order: Submit
) -> None:
    """A FOK order trades in full where an IOC order would, or is refused and changes nothing."""
    book = built(make, of, resting)
    before = book.state_hash()
    immediate = make.restore(book.snapshot())
    asked = order._replace(
        order_id=1_000,
        post_only=False,
        display_lots=0,
        hidden=False,
        expire_ns=None,
        time_in_force=TimeInForce.FOK,
    )

    events = book.apply(asked)
    alike = immediate.apply(asked._replace(time_in_force=TimeInForce.IOC))

    traded = _taken(events, 1_000)
    assert traded == (order.quantity_lots if _taken(alike, 1_000) == order.quantity_lots else 0)
    if traded == 0:
        assert isinstance(events[0], Rejected)
        assert before == book.state_hash()


def _taken(events: Any, order_id: int) -> int:
    trades = (e for e in events if isinstance(e, Traded) and e.taker_order_id == order_id)
    return sum(trade.quantity_lots for trade in trades)


@given(INSTRUMENTS, STEPS)
@FEWER
@example(
    None,
    [Submit(1, Side.SELL, 5, 101), Submit(2, Side.BUY, 5, 99, post_only=True), Replace(2, 101, 5)],
)
def test_a_refused_command_changes_nothing(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """A rejection is the only event of its command and leaves the hash alone."""
    book = make(of)

    for step in steps:
        before = book.state_hash()
        events = do(book, step)
        if any(isinstance(event, Rejected) for event in events):
            assert 1 == len(events)
            assert before == book.state_hash()


@given(INSTRUMENTS, STEPS)
@FEWER
def test_orders_expire_exactly_in_time(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """Nothing lives past its time, nothing goes before it, and all go by time, then id."""
    book = make(of)

    for step in steps:
        due: list[tuple[int, int]] = []
        if isinstance(step, Advance):
            now_ns = max(step.now_ns, book.now_ns)
            live = [(order.expire_ns, order.order_id) for order in book.orders()]
            live += [(stop.expire_ns, stop.order_id) for stop in book.stops()]
            due = sorted((ns, order_id) for ns, order_id in live if ns and ns <= now_ns)
        expired = [event.order_id for event in do(book, step) if isinstance(event, Expired)]
        assert [order_id for _, order_id in due] == expired
        times = [order.expire_ns for order in book.orders()]
        times += [stop.expire_ns for stop in book.stops()]
        assert all(ns is None or ns > book.now_ns for ns in times)


@given(INSTRUMENTS, STEPS)
@FEWER
def test_no_stop_waits_that_a_trade_has_reached(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """A stop waits while no trade since it came is at its price; it is triggered once."""
    book = make(of)
    trades_since: dict[int, list[int]] = {}

    for step in steps:
        last = book.last_trade_ticks
        events = do(book, step)
        prices = [event.price_ticks for event in events if isinstance(event, Traded)]
        for event in events:
            if isinstance(event, Triggered):
                before = trades_since.pop(event.order_id, [] if last is None else [last])
                assert before or prices
        waiting = {stop.order_id: stop for stop in book.stops()}
        for order_id, stop in waiting.items():
            seen = trades_since.setdefault(order_id, [] if last is None else [last])
            seen += prices
            assert stop.stop_ticks is not None
            sign = stop.side.sign
            assert all(sign * price < sign * stop.stop_ticks for price in seen)
        trades_since = {order_id: trades_since[order_id] for order_id in waiting}


@given(INSTRUMENTS, STEPS, st.sampled_from(list(SelfTradePrevention)[1:]))
@FEWER
def test_one_participant_never_trades_with_itself_under_any_mode(
    make: type[OrderBook], of: Instrument, steps: list[Step], mode: SelfTradePrevention
) -> None:
    """With a mode set, no trade has the same named participant on both sides."""
    book = make(of)
    owner: dict[int, int] = {}

    for step in steps:
        guarded = step
        if isinstance(step, Submit):
            guarded = step._replace(stp=mode)
            if step.order_id not in book and not _waits(book, step.order_id):
                owner[step.order_id] = step.participant_id
        for event in do(book, guarded):
            if isinstance(event, Traded):
                pair = (owner[event.maker_order_id], owner[event.taker_order_id])
                assert pair[0] != pair[1] or 0 in pair


def _waits(book: OrderBook, order_id: int) -> bool:
    return any(stop.order_id == order_id for stop in book.stops())


@pytest.mark.parametrize("bad", [0, -1, 2**63, True, 1.0, "1", None])
def test_bad_numbers_are_refused_as_values(make: type[OrderBook], bad: object) -> None:
    """Ids, quantities and prices that are out of range, or no whole numbers, are rejected."""
    book = make()
    book.submit(1, Side.BUY, 5, 100)
    before = book.state_hash()
    value: Any = bad
    stop = OrderType.STOP_LIMIT

    attempts: list[Any] = [
        book.submit(value, Side.BUY, 5, 100),
        book.submit(9, Side.BUY, value, 100),
        book.submit(9, Side.BUY, 5, value),
        book.submit(9, Side.BUY, 5, 100, order_type=stop, stop_ticks=value),
        book.submit(9, Side.BUY, 5, 100, time_in_force=TimeInForce.GTD, expire_ns=value),
        book.cancel(value),
        book.reduce(value, 1),
        book.reduce(1, value),
        book.replace(value, 100, 5),
        book.replace(1, value, 5),
        book.replace(1, 100, value),
    ]
    if bad != 0:
        attempts.append(book.submit(9, Side.BUY, 1, 100, display_lots=value))
        attempts.append(book.submit(9, Side.BUY, 5, 100, participant_id=value))
    for events in attempts:
        assert 1 == len(events)
        assert isinstance(events[0], Rejected)
    assert before == book.state_hash()

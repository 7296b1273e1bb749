"""The invariants of the book, each under a name of its own, over arbitrary commands."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lob.book import OrderBook
from lob.types import (
    Accepted,
    Cancel,
    Cancelled,
    Command,
    Event,
    OrderType,
    Reduce,
    Reduced,
    Rejected,
    Replace,
    Replaced,
    SelfTradePrevention,
    Side,
    Submit,
    TimeInForce,
    Traded,
)

PRICES = st.integers(98, 102)
LOTS = st.integers(1, 20)
IDS = st.integers(1, 16)
PARTICIPANTS = st.integers(0, 2)


@st.composite
def submits(draw: st.DrawFn) -> Submit:
    """Draw a new order of any kind; its id may already be live."""
    order_type = draw(st.sampled_from([OrderType.LIMIT] * 5 + [OrderType.MARKET]))
    return Submit(
        draw(IDS),
        draw(st.sampled_from(Side)),
        draw(LOTS),
        draw(PRICES) if order_type is OrderType.LIMIT else None,
        order_type=order_type,
        time_in_force=draw(st.sampled_from([TimeInForce.GTC] * 4 + list(TimeInForce))),
        post_only=draw(st.sampled_from([False] * 3 + [True])),
        participant_id=draw(PARTICIPANTS),
        stp=draw(st.sampled_from(SelfTradePrevention)),
    )


ANY_COMMAND = st.one_of(
    submits(),
    submits(),
    submits(),
    st.builds(Cancel, IDS),
    st.builds(Reduce, IDS, LOTS),
    st.builds(Replace, IDS, PRICES, LOTS),
)
ANY_RESTING = st.builds(
    Submit, IDS, st.sampled_from(Side), LOTS, PRICES, participant_id=PARTICIPANTS
)
# Left alone, lists average five items: too few for a queue to form. Short ones shrink well.
COMMANDS = st.lists(ANY_COMMAND, max_size=8) | st.lists(ANY_COMMAND, min_size=25, max_size=60)
RESTING_COMMANDS = st.lists(ANY_RESTING, max_size=8) | st.lists(
    ANY_RESTING, min_size=15, max_size=25
)


def built(commands: list[Command]) -> OrderBook:
    """Return a book after these commands."""
    book = OrderBook()
    for command in commands:
        book.apply(command)
    return book


def conserved_difference(book: OrderBook, command: Command, ledger: Counter[str]) -> None:
    """Apply a command and add what its events say to the ledger of lots."""
    before = book.order(command.order_id)
    for event in book.apply(command):
        match event:
            case Accepted():
                ledger["submitted"] += event.quantity_lots
            case Traded():
                ledger["filled"] += 2 * event.quantity_lots
            case Cancelled() | Reduced():
                ledger["cancelled"] += event.quantity_lots
            case Replaced():
                assert before is not None
                ledger["submitted"] += event.leaves
                ledger["cancelled"] += before.leaves
            case Rejected():
                pass


@given(COMMANDS)
def test_lots_are_conserved(commands: list[Command]) -> None:
    """Filled + resting + cancelled lots equal submitted lots after every command."""
    book = OrderBook()
    ledger: Counter[str] = Counter()

    for command in commands:
        conserved_difference(book, command, ledger)
        resting = sum(order.leaves for order in book.orders())
        assert ledger["submitted"] == ledger["filled"] + resting + ledger["cancelled"]


@given(COMMANDS)
def test_level_totals_equal_the_sum_of_their_orders(commands: list[Command]) -> None:
    """Every level shows the lots and the number of its orders, after every command."""
    book = OrderBook()

    for command in commands:
        book.apply(command)
        lots: Counter[tuple[Side, int]] = Counter()
        counts: Counter[tuple[Side, int]] = Counter()
        for order in book.orders():
            lots[order.side, order.price_ticks] += order.leaves
            counts[order.side, order.price_ticks] += 1
        shown = {
            (side, level.price_ticks): level[1:]
            for side, levels in zip(Side, book.depth(1_000), strict=True)
            for level in levels
        }
        assert {place: (lots[place], counts[place]) for place in lots} == shown


@given(COMMANDS)
def test_the_book_is_never_crossed_after_a_command(commands: list[Command]) -> None:
    """The best bid stays below the best ask."""
    book = OrderBook()

    for command in commands:
        book.apply(command)
        spread = book.spread_ticks()
        assert spread is None or spread > 0


@given(COMMANDS)
def test_live_ids_are_unique(commands: list[Command]) -> None:
    """No two resting orders share an id, and a live id cannot be submitted again."""
    book = OrderBook()

    for command in commands:
        was_live = isinstance(command, Submit) and command.order_id in book
        events = book.apply(command)
        ids = [order.order_id for order in book.orders()]
        assert len(set(ids)) == len(ids)
        assert isinstance(events[0], Rejected) or not was_live


@given(COMMANDS)
def test_ended_orders_leave_every_index(commands: list[Command]) -> None:
    """A cancelled or filled order is in no queue, no level and no index."""
    book = OrderBook()

    for command in commands:
        ended = _ended(book.apply(command))
        in_queues = {order.order_id for order in book.orders()}
        assert not ended & in_queues
        assert all(order_id not in book and book.order(order_id) is None for order_id in ended)
        assert len(book) == len(in_queues)
        book.check()


def _ended(events: tuple[Event, ...]) -> set[int]:
    ended = set()
    for event in events:
        if isinstance(event, Cancelled):
            ended.add(event.order_id)
        elif isinstance(event, Traded):
            ended |= {event.maker_order_id} if event.maker_leaves == 0 else set()
            ended |= {event.taker_order_id} if event.taker_leaves == 0 else set()
    return ended


@given(COMMANDS)
def test_a_level_is_first_in_first_out(commands: list[Command]) -> None:
    """A trade always takes the order that has waited longest at the best price."""
    book = OrderBook()
    queues: dict[tuple[Side, int], list[int]] = {}

    for command in commands:
        for event in book.apply(command):
            if isinstance(event, Traded):
                maker_side = event.aggressor_side.opposite
                queue = queues[maker_side, event.price_ticks]
                assert queue[0] == event.maker_order_id
            for ended in _ended((event,)):
                _forget(queues, ended)
            if isinstance(event, Replaced) and not event.kept_priority:
                _forget(queues, event.order_id)
        order = book.order(command.order_id)
        if order is not None:
            queue = queues.setdefault((order.side, order.price_ticks), [])
            if order.order_id not in queue:
                queue.append(order.order_id)


def _forget(queues: dict[tuple[Side, int], list[int]], order_id: int) -> None:
    for queue in queues.values():
        if order_id in queue:
            queue.remove(order_id)


@given(COMMANDS)
def test_replay_is_deterministic(commands: list[Command]) -> None:
    """The same commands give the same events and the same hash."""
    first, second = OrderBook(), OrderBook()

    events = [first.apply(command) for command in commands]

    assert events == [second.apply(command) for command in commands]
    assert first.state_hash() == second.state_hash()


@given(COMMANDS, COMMANDS)
def test_restoring_a_snapshot_keeps_hash_and_behaviour(
    before: list[Command], after: list[Command]
) -> None:
    """A restored book has the original's hash and answers every later command alike."""
    book = built(before)
    restored = OrderBook.restore(book.snapshot())

    assert book.state_hash() == restored.state_hash()
    assert book.snapshot() == restored.snapshot()
    for command in after:
        assert book.apply(command) == restored.apply(command)
    assert book.state_hash() == restored.state_hash()


@given(
    RESTING_COMMANDS,
    st.sampled_from(Side),
    st.integers(1, 200),
    st.one_of(st.none(), PRICES),
    PARTICIPANTS,
    st.sampled_from(SelfTradePrevention),
)
def test_a_walk_predicts_what_the_same_ioc_order_gets(
    resting: list[Command],
    side: Side,
    quantity_lots: int,
    limit_ticks: int | None,
    participant_id: int,
    stp: SelfTradePrevention,
) -> None:
    """A walk moves nothing; its lots, cost, worst price and levels are the trades that follow."""
    book = built(resting)
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

    trades = [event for event in events if isinstance(event, Traded)]
    assert walk.quantity_lots == sum(trade.quantity_lots for trade in trades)
    assert walk.cost_tick_lots == sum(t.quantity_lots * t.price_ticks for t in trades)
    assert walk.worst_price_ticks == (trades[-1].price_ticks if trades else None)
    lots = Counter[int]()
    for trade in trades:
        lots[trade.price_ticks] += trade.quantity_lots
    makers = Counter(trade.price_ticks for trade in trades)
    assert [(price, lots[price], makers[price]) for price in lots] == [*map(tuple, walk.levels)]


@given(RESTING_COMMANDS, submits())
def test_fill_or_kill_is_all_or_nothing(resting: list[Command], order: Submit) -> None:
    """A FOK order trades in full, or is refused and changes nothing."""
    book = built(resting)
    before = book.state_hash()

    events = book.submit(
        1_000,
        order.side,
        order.quantity_lots,
        order.price_ticks,
        order_type=order.order_type,
        time_in_force=TimeInForce.FOK,
        participant_id=order.participant_id,
        stp=order.stp,
    )

    traded = sum(event.quantity_lots for event in events if isinstance(event, Traded))
    assert traded in (0, order.quantity_lots)
    if traded == 0:
        assert isinstance(events[0], Rejected)
        assert before == book.state_hash()


@given(COMMANDS)
@example(
    [
        Submit(1, Side.SELL, 5, 101),
        Submit(2, Side.BUY, 5, 99, post_only=True),
        Replace(2, 101, 5),
    ]
)
def test_a_refused_command_changes_nothing(commands: list[Command]) -> None:
    """A rejection is the only event of its command and leaves the hash alone."""
    book = OrderBook()

    for command in commands:
        before = book.state_hash()
        events = book.apply(command)
        if any(isinstance(event, Rejected) for event in events):
            assert 1 == len(events)
            assert before == book.state_hash()


@given(COMMANDS, st.sampled_from(SelfTradePrevention))
@settings(max_examples=50)
def test_one_participant_never_trades_with_itself_under_any_mode(
    commands: list[Command], mode: SelfTradePrevention
) -> None:
    """With a mode set, no trade has the same named participant on both sides."""
    if mode is SelfTradePrevention.NONE:
        mode = SelfTradePrevention.CANCEL_BOTH
    book = OrderBook()
    owner: dict[int, int] = {}

    for command in commands:
        guarded = command
        if isinstance(command, Submit):
            guarded = Submit(
                command.order_id,
                command.side,
                command.quantity_lots,
                command.price_ticks,
                order_type=command.order_type,
                participant_id=command.participant_id,
                stp=mode,
            )
            if command.order_id not in book:
                owner[command.order_id] = command.participant_id
        for event in book.apply(guarded):
            if isinstance(event, Traded):
                pair = (owner[event.maker_order_id], owner[event.taker_order_id])
                assert pair[0] != pair[1] or 0 in pair


@pytest.mark.parametrize("bad", [0, -1, 2**63, True, 1.0, "1", None])
def test_bad_numbers_are_refused_as_values(bad: object) -> None:
    """Ids, quantities and prices that are out of range, or no whole numbers, are rejected."""
    book = OrderBook()
    book.submit(1, Side.BUY, 5, 100)
    before = book.state_hash()
    value: int = bad  # type: ignore[assignment]

    for events in (
        book.submit(value, Side.BUY, 5, 100),
        book.submit(9, Side.BUY, value, 100),
        book.submit(9, Side.BUY, 5, value),
        book.cancel(value),
        book.reduce(value, 1),
        book.reduce(1, value),
        book.replace(value, 100, 5),
        book.replace(1, value, 5),
        book.replace(1, 100, value),
    ):
        assert isinstance(events[0], Rejected)
    assert before == book.state_hash()

"""Who trades before whom, and what stands before an order, over arbitrary commands."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lob.allocation import pro_rata_shares
from lob.book import OrderBook
from lob.books import available_books
from lob.types import (
    Allocation,
    Instrument,
    OrderType,
    Refilled,
    Replaced,
    Side,
    Submit,
    TimeInForce,
    Traded,
)
from tests.properties.vocabulary import (
    INSTRUMENTS,
    TRACKED_STEPS,
    Advance,
    Step,
    commands,
    do,
    ended,
    instrument,
    position_of,
    sessions,
)

books = pytest.mark.parametrize("make", available_books())
FEWER = settings(max_examples=60, deadline=None)
WITHOUT_STOPS: st.SearchStrategy[list[Step]] = sessions(commands(stops=False))


class Place(NamedTuple):
    """One queue: a side, a price, and whether it is the hidden one."""

    side: Side
    price_ticks: int
    hidden: bool


@books
@given(WITHOUT_STOPS)
@settings(max_examples=150, deadline=None)
def test_a_level_is_first_in_first_out_in_each_class(
    make: type[OrderBook], steps: list[Step]
) -> None:
    """A trade takes the displayed order that came first, and a hidden one only after those."""
    book = make(instrument(Allocation.PRICE_TIME))
    queues: dict[Place, list[int]] = {}

    for step in steps:
        assert isinstance(step, tuple)
        for event in do(book, step):
            if isinstance(event, Traded):
                maker_side = event.aggressor_side.opposite
                displayed = queues.get(Place(maker_side, event.price_ticks, hidden=False), [])
                hidden = queues.get(Place(maker_side, event.price_ticks, hidden=True), [])
                assert event.maker_order_id == (displayed or hidden)[0]
            if isinstance(event, Refilled):
                queue = next(queue for queue in queues.values() if event.order_id in queue)
                queue.remove(event.order_id)
                queue.append(event.order_id)
            moved = isinstance(event, Replaced) and not event.kept_priority
            gone = ended((event,)) | ({event.order_id} if moved else set())  # type: ignore[union-attr]
            for queue in queues.values():
                queue[:] = [order_id for order_id in queue if order_id not in gone]
        for order in book.orders():
            place = Place(order.side, order.price_ticks, order.hidden)
            if order.order_id not in queues.setdefault(place, []):
                queues[place].append(order.order_id)
        listed = [order.order_id for order in book.orders(Side.BUY)]
        by_priority = sorted(queues, key=lambda place: (-place.price_ticks, place.hidden))
        assert listed == [i for p in by_priority if p.side is Side.BUY for i in queues[p]]


@books
@given(INSTRUMENTS, TRACKED_STEPS)
@settings(max_examples=150, deadline=None)
def test_a_tracked_position_is_the_walked_one(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """After every command each order stands where the list of all orders says, tracked or not."""
    book = make(of, max_tracked_orders=4)

    for step in steps:
        do(book, step)
        assert book.tracked_count <= 4
        for order in book.orders():
            assert position_of(book, order.order_id) == book.queue_position(order.order_id)


@given(
    st.integers(1, 300),
    st.lists(st.integers(1, 60) | st.integers(2**62, 2**63 - 1), min_size=1, max_size=12),
    st.integers(1, 20),
)
def test_shares_add_up_and_keep_the_minimum(lots: int, displayed: list[int], minimum: int) -> None:
    """Shares are all of the aggressor's lots or all that shows; by size first, then by time."""
    shares = pro_rata_shares(lots, displayed, minimum)
    total = sum(displayed)
    by_size = [lots * shown // total for shown in displayed]
    by_size = [share if share >= minimum else 0 for share in by_size]

    assert sum(shares) == min(lots, total)
    assert all(0 <= share <= shown for share, shown in zip(shares, displayed, strict=True))
    if lots < total:
        by_time = [share - own for share, own in zip(shares, by_size, strict=True)]
        assert all(more >= 0 for more in by_time)
        last = max((place for place, more in enumerate(by_time) if more), default=0)
        assert all(shares[place] == displayed[place] for place in range(last))


@books
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 5)), min_size=1, max_size=8),
    st.integers(1, 120),
    st.integers(1, 5),
)
@FEWER
def test_a_pro_rata_level_trades_by_its_shares(
    make: type[OrderBook], orders: list[tuple[int, int]], lots: int, minimum: int
) -> None:
    """Each round shares what is left among what shows, in order of time, then refills."""
    book = make(instrument(Allocation.PRO_RATA, minimum))
    for order_id, (quantity, display) in enumerate(orders, start=1):
        book.submit(
            order_id, Side.SELL, quantity, 100, display_lots=display if display < quantity else 0
        )
    expected: list[tuple[int, int]] = []
    left = {order.order_id: order for order in book.orders()}
    wanted = lots
    while wanted and left:
        makers = list(left.values())
        shares = pro_rata_shares(wanted, [maker.displayed_lots for maker in makers], minimum)
        expected += [(m.order_id, n) for m, n in zip(makers, shares, strict=True) if n]
        wanted -= sum(shares)
        for maker, share in zip(makers, shares, strict=True):
            leaves, shown = maker.leaves - share, maker.displayed_lots - share
            after = maker._replace(leaves=leaves, displayed_lots=shown)
            if shown:
                left[maker.order_id] = after
                continue
            del left[maker.order_id]
            if leaves:  # a refill goes to the tail
                shown = min(maker.display_lots, leaves)
                left[maker.order_id] = after._replace(displayed_lots=shown)

    events = book.apply(
        Submit(99, Side.BUY, lots, None, OrderType.MARKET, time_in_force=TimeInForce.IOC)
    )

    trades = [(e.maker_order_id, e.quantity_lots) for e in events if isinstance(e, Traded)]
    assert expected == trades
    assert list(left.values()) == list(book.orders())


@books
@given(INSTRUMENTS, st.lists(commands(), min_size=10, max_size=40))
@FEWER
def test_an_iceberg_shows_no_more_than_it_should(
    make: type[OrderBook], of: Instrument, steps: list[Step]
) -> None:
    """Displayed lots are never none, never above `display_lots`, never above what is left."""
    book = make(of)
    kinds: Counter[str] = Counter()

    for step in [*steps, Advance(1)]:
        do(book, step)
        for order in book.orders():
            if order.hidden:
                assert (0, 0) == (order.displayed_lots, order.display_lots)
            elif order.display_lots:
                kinds["iceberg"] += 1
                assert 0 < order.displayed_lots <= min(order.display_lots, order.leaves)
            else:
                assert order.leaves == order.displayed_lots

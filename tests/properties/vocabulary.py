"""Everything that can be said to a book, drawn at random, and small oracles to judge it by."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from hypothesis import strategies as st

from lob.book import OrderBook
from lob.types import (
    Allocation,
    AssetClass,
    Cancel,
    Cancelled,
    Command,
    Event,
    Expired,
    Instrument,
    OrderType,
    QueuePosition,
    Reduce,
    Replace,
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
TIMES = st.integers(1, 60)
SPAN_NS = 60
"""DAY orders of these instruments close within the times that are drawn."""


class Advance(NamedTuple):
    """Tell the book the time."""

    now_ns: int


class Track(NamedTuple):
    """Follow an order, or no longer."""

    order_id: int
    on: bool


Step = Command | Advance | Track


def instrument(allocation: Allocation, minimum_lots: int = 1) -> Instrument:
    """Return an instrument whose day closes at 40 ns."""
    return Instrument(
        symbol="A",
        asset_class=AssetClass.FUTURES,
        tick_size=Decimal(1),
        lot_size=Decimal(1),
        allocation=allocation,
        minimum_allocation_lots=minimum_lots,
        day_close_ns=40,
    )


INSTRUMENTS = st.sampled_from(
    [
        instrument(Allocation.PRICE_TIME),
        instrument(Allocation.PRO_RATA),
        instrument(Allocation.PRO_RATA, 3),
    ]
)


@st.composite
def submits(draw: st.DrawFn, *, stops: bool = True) -> Submit:
    """Draw a new order of any kind; its id may already be live, its fields may not fit."""
    kinds = [OrderType.LIMIT] * 6 + [OrderType.MARKET]
    if stops:
        kinds += [OrderType.STOP, OrderType.STOP_LIMIT]
    order_type = draw(st.sampled_from(kinds))
    priced = order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    waits = order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    quantity = draw(LOTS)
    lasts = draw(st.sampled_from([TimeInForce.GTC] * 5 + list(TimeInForce)))
    concealed = draw(st.sampled_from(["", "", "", "iceberg", "iceberg", "hidden"]))
    return Submit(
        draw(IDS),
        draw(st.sampled_from(Side)),
        quantity,
        draw(PRICES) if priced else None,
        order_type,
        lasts,
        draw(st.sampled_from([False] * 5 + [True])),
        draw(PARTICIPANTS),
        draw(st.sampled_from([SelfTradePrevention.NONE, *SelfTradePrevention])),
        draw(PRICES) if waits else None,
        draw(st.integers(1, 4)) if concealed == "iceberg" else 0,
        concealed == "hidden",
        draw(TIMES) if lasts is TimeInForce.GTD else None,
    )


def commands(*, stops: bool = True) -> st.SearchStrategy[Command]:
    """Draw one command, a new order as often as not."""
    new = submits(stops=stops)
    return st.one_of(
        new,
        new,
        new,
        st.builds(Cancel, IDS),
        st.builds(Reduce, IDS, LOTS),
        st.builds(Replace, IDS, PRICES, LOTS),
    )


def sessions(one: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    """Draw a list of steps.

    Left alone, lists average five items: too few for a queue to form. Short ones shrink well.
    """
    return st.lists(one, max_size=8) | st.lists(one, min_size=25, max_size=50)


ANY_STEP: st.SearchStrategy[Step] = st.one_of(
    commands(), commands(), commands(), commands(), st.builds(Advance, TIMES)
)
STEPS = sessions(ANY_STEP)
TRACKED_STEPS = sessions(
    st.one_of(ANY_STEP, ANY_STEP, st.builds(Track, IDS, st.sampled_from([True, True, False])))
)
RESTING = sessions(
    st.one_of(
        submits().map(lambda order: order._replace(post_only=False)),
        st.builds(
            Submit,
            IDS,
            st.sampled_from(Side),
            LOTS,
            PRICES,
            participant_id=PARTICIPANTS,
            display_lots=st.sampled_from([0, 0, 1, 3]),
        ),
    )
)


def do(book: OrderBook, step: Step) -> Sequence[Event]:
    """Carry out one step; a time that has been is no step."""
    if isinstance(step, Advance):
        return book.advance(max(step.now_ns, book.now_ns))
    if isinstance(step, Track):
        if step.on and step.order_id in book:
            book.track(step.order_id)
        elif not step.on:
            book.untrack(step.order_id)
        return ()
    return book.apply(step)


def built(make: type[OrderBook], of: Instrument | None, steps: Sequence[Step]) -> OrderBook:
    """Return a book after these steps."""
    book = make(of)
    for step in steps:
        do(book, step)
    return book


def ended(events: Sequence[Event]) -> set[int]:
    """Return the ids of the orders that these events end."""
    found = set()
    for event in events:
        if isinstance(event, Cancelled | Expired):
            found.add(event.order_id)
        elif isinstance(event, Traded):
            found |= {event.maker_order_id} if event.maker_leaves == 0 else set()
            found |= {event.taker_order_id} if event.taker_leaves == 0 else set()
    return found


def position_of(book: OrderBook, order_id: int) -> QueuePosition:
    """Return what stands before an order, by rule 41, from the list of all orders."""
    order = book.order(order_id)
    assert order is not None
    ahead = lots = 0
    for other in book.orders(order.side):
        if other.price_ticks != order.price_ticks:
            continue
        if other.order_id == order_id:
            break
        ahead += 1
        lots += other.leaves if order.hidden else other.displayed_lots
    return QueuePosition(ahead, lots)

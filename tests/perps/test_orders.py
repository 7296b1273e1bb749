"""The order state table: total, and what reports mean to it."""

from dataclasses import replace
from decimal import Decimal
from itertools import product

import pytest

from lob.types import Side, TimeInForce
from touchstone.perps.orders import (
    DEFECTS,
    TRANSITIONS,
    Intent,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Replacement,
    VenueStatus,
    observe,
    transition,
)

INTENT = Intent(
    client_order_id="a",
    symbol="BTC-PERP",
    side=Side.BUY,
    quantity=Decimal(2),
    order_type=OrderType.LIMIT,
    limit_price=Decimal(100),
)

S, E = OrderState, OrderEvent
WORKING = [state for state in OrderState if not state.is_terminal]
UNTOLD = [S.MISSING, S.REFUSED, S.REJECTED]


def order(state: OrderState, filled: str = "0") -> Order:
    """Return an order of two coins in a state."""
    return Order(intent=INTENT, state=state, filled_quantity=Decimal(filled))


def test_every_pair_is_either_a_transition_or_a_listed_defect() -> None:
    """The table is total over its defects, and no pair is both."""
    pairs = set(product(OrderState, OrderEvent))
    legal = {(state, event) for state, row in TRANSITIONS.items() for event in row}
    assert legal | DEFECTS == pairs
    assert legal & DEFECTS == set()
    assert set(TRANSITIONS) == set(OrderState)


@pytest.mark.parametrize(("state", "event"), sorted(DEFECTS))
def test_a_defect_has_no_next_state(state: OrderState, event: OrderEvent) -> None:
    """A pair outside the table is reported, not guessed."""
    assert transition(state, event) is None


def test_only_ends_that_the_venue_did_not_tell_are_taken_back() -> None:
    """What a missing or refusing answer ended comes back to life when the venue reports it."""
    revived = {
        state
        for state, row in TRANSITIONS.items()
        if state.is_terminal and any(not after.is_terminal for after in row.values())
    }
    assert revived == {S.MISSING, S.REFUSED, S.REJECTED}


def test_an_armed_stop_hears_nothing_from_the_venue() -> None:
    """What waits here is triggered, cancelled or expired, and by us."""
    assert set(TRANSITIONS[S.ARMED]) == {E.TRIGGERED, E.CANCELLED, E.EXPIRED}
    arming = {state for state, row in TRANSITIONS.items() if S.ARMED in row.values()}
    assert arming == {S.PENDING_SUBMIT}


@pytest.mark.parametrize(
    ("state", "filled", "status", "reported", "before", "events"),
    [
        (S.SUBMITTED, "0", VenueStatus.LIVE, "0", "0", (E.ACKNOWLEDGED,)),
        (S.OPEN, "0", VenueStatus.LIVE, "0", "0", ()),
        (S.OPEN, "1", VenueStatus.LIVE, "1", "0", (E.PARTIALLY_FILLED,)),
        (S.OPEN, "2", VenueStatus.FILLED, "2", "0", (E.FILLED,)),
        (S.OPEN, "1", VenueStatus.FILLED, "2", "0", (E.PARTIALLY_FILLED,)),
        (S.OPEN, "1", VenueStatus.CANCELLED, "1", "0", (E.PARTIALLY_FILLED, E.CANCELLED)),
        (S.CANCELLED, "1", VenueStatus.CANCELLED, "1", "0", (E.PARTIALLY_FILLED,)),
        (S.CANCELLED, "2", VenueStatus.FILLED, "2", "0", (E.FILLED,)),
        (S.CANCELLED, "0", VenueStatus.LIVE, "0", "0", ()),
        (S.CANCELLED, "0", VenueStatus.CANCELLED, "0", "0", ()),
        (S.FILLED, "2", VenueStatus.FILLED, "2", "2", ()),
        (S.FILLED, "2", VenueStatus.CANCELLED, "2", "2", ()),
        (S.UNKNOWN, "0", VenueStatus.LIVE, "0", "0", (E.ACKNOWLEDGED,)),
        (S.UNKNOWN, "0", VenueStatus.FAILED, "0", "0", (E.REJECTED,)),
        (S.REJECTED, "0", VenueStatus.FAILED, "0", "0", ()),
        (S.REJECTED, "0", VenueStatus.LIVE, "0", "0", (E.ACKNOWLEDGED,)),
        (S.REFUSED, "0", VenueStatus.LIVE, "0", "0", (E.ACKNOWLEDGED,)),
        (S.MISSING, "0", VenueStatus.LIVE, "0", "0", (E.ACKNOWLEDGED,)),
        (S.PENDING_SUBMIT, "0", VenueStatus.CANCELLED, "0", "0", (E.CANCELLED,)),
    ],
)
def test_a_report_means_only_what_is_new(
    state: OrderState,
    filled: str,
    status: VenueStatus,
    reported: str,
    before: str,
    events: tuple[OrderEvent, ...],
) -> None:
    """Repeated and late reports mean nothing; an end waits until every fill is booked."""
    found = observe(order(state, filled), status, Decimal(reported), Decimal(before))
    assert found == events


@pytest.mark.parametrize("state", [s for s in OrderState if s in {*WORKING, *UNTOLD} - {S.ARMED}])
@pytest.mark.parametrize("status", list(VenueStatus))
@pytest.mark.parametrize("filled", ["0", "1", "2"])
def test_no_report_of_a_working_order_is_a_defect(
    state: OrderState, status: VenueStatus, filled: str
) -> None:
    """Whatever state a working order is in, the table knows every event a report can mean."""
    present = order(state, filled)
    for event in observe(present, status, Decimal(filled), Decimal(0)):
        after = transition(present.state, event)
        if status is VenueStatus.FAILED and filled == "2":
            break  # filled whole and failed: no venue says that of one order
        assert after is not None
        present = replace(present, state=after)


def test_a_fill_beyond_the_whole_order_is_a_defect() -> None:
    """A third coin of an order for two is reported, never absorbed."""
    events = observe(order(S.FILLED, "3"), VenueStatus.FILLED, Decimal(3), Decimal(2))
    assert [transition(S.FILLED, event) for event in events] == [None]


def test_leaves_are_zero_once_the_order_is_over() -> None:
    """A cancelled order binds no room."""
    assert order(S.OPEN, "0.5").leaves == Decimal("1.5")
    assert order(S.CANCELLED, "0.5").leaves == Decimal(0)


def stop(state: OrderState, **fields: object) -> Order:
    """Return a protective stop for two coins in a state."""
    intent = replace(
        INTENT,
        side=Side.SELL,
        order_type=OrderType.STOP,
        limit_price=None,
        stop_price=Decimal(90),
        reduce_only=True,
    )
    return replace(Order(intent=intent, state=state), **fields)  # type: ignore[arg-type]


def test_a_stop_that_waits_here_exposes_nothing() -> None:
    """An armed stop has leaves, but no fill of it can come."""
    armed = stop(S.ARMED)
    assert (armed.leaves, armed.exposed) == (Decimal(2), Decimal(0))
    assert armed.as_sent() is armed.intent


def test_a_triggered_stop_is_sent_as_an_ioc_order_with_a_limit() -> None:
    """Its own terms stay; the venue gets quantity and price of the moment."""
    sent = stop(S.SUBMITTED, sent_quantity=Decimal("1.5"), sent_price=Decimal(89))
    told = sent.as_sent()
    assert (told.order_type, told.time_in_force) == (OrderType.LIMIT, TimeInForce.IOC)
    assert (told.quantity, told.limit_price, told.stop_price) == (
        Decimal("1.5"),
        Decimal(89),
        None,
    )
    assert told.reduce_only
    assert sent.exposed == Decimal("1.5")
    whole = replace(sent, filled_quantity=Decimal("1.5"))
    assert observe(whole, VenueStatus.FILLED, Decimal("1.5"), Decimal(0)) == (E.FILLED,)


def test_an_order_is_done_when_its_replacement_is_made() -> None:
    """A cancelled order whose replacement waits has something left to do."""
    wish = Replacement(client_order_id="a.r1", quantity=Decimal(1))
    over = replace(order(S.CANCELLED), replacement=wish)
    assert not over.is_done
    assert replace(over, replacement=replace(wish, carried_out=True)).is_done
    assert order(S.CANCELLED).is_done

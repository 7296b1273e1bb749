"""The life of an order as one table `(state, event) -> state`.

A pair that is not in the table is a defect of ours or of the venue: the order keeps its state and
the defect is reported with both. Venue events drive the table; what a request returned does not by
itself make an order live.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import product
from typing import Final

from lob.types import OrderType, Side, TimeInForce


class OrderState(StrEnum):
    """Where an order stands. The values are what the `orders` table stores."""

    PENDING_SUBMIT = "pending_submit"  # journaled; it may be on its way
    SUBMITTED = "submitted"  # the venue answered with an id, and has reported nothing yet
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    UNKNOWN = "unknown"  # no answer in time: it may or may not be live
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"  # by the venue
    REFUSED = "refused"  # by us, after journaling; it never left
    MISSING = "missing"  # the venue does not know it and can no longer accept it

    @property
    def is_terminal(self) -> bool:
        """Return whether the order can no longer trade, as far as anyone knows."""
        return self in TERMINAL


class OrderEvent(StrEnum):
    """What happened to an order."""

    NOT_SENT = "not_sent"
    RESPONDED = "responded"
    TIMED_OUT = "timed_out"
    REJECTED = "rejected"
    ACKNOWLEDGED = "acknowledged"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_REQUESTED = "cancel_requested"
    CANCEL_REFUSED = "cancel_refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    NOT_FOUND = "not_found"


class VenueStatus(StrEnum):
    """What a venue says of an order, in its own few words."""

    LIVE = "LIVE"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


S, E = OrderState, OrderEvent

TERMINAL: Final = frozenset(
    {S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED, S.REFUSED, S.MISSING},
)

_VENUE_ENDS: Final = {
    E.FILLED: S.FILLED,
    E.CANCELLED: S.CANCELLED,
    E.EXPIRED: S.EXPIRED,
    E.REJECTED: S.REJECTED,
}
_GOES_LIVE: Final = {
    E.ACKNOWLEDGED: S.OPEN,
    E.PARTIALLY_FILLED: S.PARTIALLY_FILLED,
    **_VENUE_ENDS,
}

TRANSITIONS: Final[dict[OrderState, dict[OrderEvent, OrderState]]] = {
    # The user channel may speak before the request returns, so that every venue event is legal.
    S.PENDING_SUBMIT: {
        **_GOES_LIVE,
        E.NOT_SENT: S.REFUSED,
        E.RESPONDED: S.SUBMITTED,
        E.TIMED_OUT: S.UNKNOWN,
    },
    S.SUBMITTED: {
        **_GOES_LIVE,
        E.CANCEL_REQUESTED: S.PENDING_CANCEL,
        E.CANCEL_REFUSED: S.SUBMITTED,
        E.NOT_FOUND: S.MISSING,
    },
    S.OPEN: {
        **_GOES_LIVE,
        E.RESPONDED: S.OPEN,
        E.TIMED_OUT: S.OPEN,
        E.CANCEL_REQUESTED: S.PENDING_CANCEL,
        E.CANCEL_REFUSED: S.OPEN,
        E.NOT_FOUND: S.MISSING,
    },
    S.PARTIALLY_FILLED: {
        **_GOES_LIVE,
        E.ACKNOWLEDGED: S.PARTIALLY_FILLED,
        E.RESPONDED: S.PARTIALLY_FILLED,
        E.TIMED_OUT: S.PARTIALLY_FILLED,
        E.CANCEL_REQUESTED: S.PENDING_CANCEL,
        E.CANCEL_REFUSED: S.PARTIALLY_FILLED,
        E.NOT_FOUND: S.MISSING,
    },
    S.PENDING_CANCEL: {
        **_VENUE_ENDS,
        E.ACKNOWLEDGED: S.PENDING_CANCEL,
        E.PARTIALLY_FILLED: S.PENDING_CANCEL,
        E.RESPONDED: S.PENDING_CANCEL,
        E.TIMED_OUT: S.PENDING_CANCEL,
        # A cancel whose outcome is unknown is asked for again.
        E.CANCEL_REQUESTED: S.PENDING_CANCEL,
        E.CANCEL_REFUSED: S.OPEN,
        E.NOT_FOUND: S.MISSING,
    },
    S.UNKNOWN: {
        **_GOES_LIVE,
        E.TIMED_OUT: S.UNKNOWN,
        E.NOT_FOUND: S.MISSING,
    },
    # The answer to the request, or to a cancel, may come after the end.
    S.FILLED: {
        E.RESPONDED: S.FILLED,
        E.TIMED_OUT: S.FILLED,
        E.CANCEL_REFUSED: S.FILLED,
    },
    # A fill that happened before the cancel may be told after it: it counts, and it may be the
    # whole order.
    S.CANCELLED: {
        E.RESPONDED: S.CANCELLED,
        E.TIMED_OUT: S.CANCELLED,
        E.CANCEL_REFUSED: S.CANCELLED,
        E.PARTIALLY_FILLED: S.CANCELLED,
        E.FILLED: S.FILLED,
    },
    S.EXPIRED: {
        E.RESPONDED: S.EXPIRED,
        E.TIMED_OUT: S.EXPIRED,
        E.CANCEL_REFUSED: S.EXPIRED,
        E.PARTIALLY_FILLED: S.EXPIRED,
        E.FILLED: S.FILLED,
    },
    S.REJECTED: {
        E.RESPONDED: S.REJECTED,
        E.TIMED_OUT: S.REJECTED,
        E.CANCEL_REFUSED: S.REJECTED,
    },
    S.REFUSED: {},
    # Should the venue know it after all, then it is what the venue says.
    S.MISSING: {**_GOES_LIVE, E.CANCEL_REFUSED: S.MISSING},
}

DEFECTS: Final[frozenset[tuple[OrderState, OrderEvent]]] = frozenset(
    pair for pair in product(OrderState, OrderEvent) if pair[1] not in TRANSITIONS[pair[0]]
)
"""Every pair that must not happen; the docs list them."""


def transition(state: OrderState, event: OrderEvent) -> OrderState | None:
    """Return the state after `event`, None where the pair is a defect to report.

    >>> transition(OrderState.CANCELLED, OrderEvent.FILLED)
    <OrderState.FILLED: 'filled'>
    """
    return TRANSITIONS[state].get(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a caller wants: `quantity` in coins, `limit_price` in quote currency."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce = TimeInForce.GTC
    limit_price: Decimal | None = None
    post_only: bool = False
    reduce_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order and what became of it so far; times in nanoseconds since 1970 (local clock)."""

    intent: Intent
    state: OrderState = OrderState.PENDING_SUBMIT
    venue_order_id: str = ""
    filled_quantity: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    reason: str = ""
    cancel_wanted: bool = False
    created_ns: int = 0
    updated_ns: int = 0

    @property
    def leaves(self) -> Decimal:
        """Return how much may still trade: 0 once the order is over."""
        if self.state.is_terminal:
            return Decimal(0)
        return max(Decimal(0), self.intent.quantity - self.filled_quantity)

    @property
    def average_price(self) -> Decimal | None:
        """Return the average price of what has filled, None before the first fill."""
        return self.filled_value / self.filled_quantity if self.filled_quantity else None

    def with_fill(self, quantity: Decimal, price: Decimal, fee: Decimal) -> "Order":
        """Return the order with one more fill booked; its state follows from `observe`."""
        return replace(
            self,
            filled_quantity=self.filled_quantity + quantity,
            filled_value=self.filled_value + quantity * price,
            fees=self.fees + fee,
        )


_ENDING: Final = {
    VenueStatus.FILLED: OrderEvent.FILLED,
    VenueStatus.CANCELLED: OrderEvent.CANCELLED,
    VenueStatus.EXPIRED: OrderEvent.EXPIRED,
    VenueStatus.FAILED: OrderEvent.REJECTED,
}
_NOT_YET_LIVE: Final = frozenset({S.PENDING_SUBMIT, S.SUBMITTED, S.UNKNOWN, S.MISSING})


def observe(
    order: Order,
    status: VenueStatus,
    reported_quantity: Decimal,
    fills_before: Decimal,
) -> tuple[OrderEvent, ...]:
    """Return what a venue's report of `order` means, as events for the table.

    Reports repeat and overtake one another: one that says nothing new means nothing. An end is
    believed only once every reported fill is booked (`order.filled_quantity`), because the end of
    the order must not hide a fill that is still to come.

    Args:
        order: with all fills booked that are known.
        status: what the venue says.
        reported_quantity: cumulative filled quantity of the report, in coins.
        fills_before: `order.filled_quantity` when its state was last set.
    """
    events: list[OrderEvent] = []
    live = status is VenueStatus.LIVE
    if live and order.state in _NOT_YET_LIVE:
        events.append(E.ACKNOWLEDGED)
    whole = order.filled_quantity >= order.intent.quantity
    if whole and order.state is not S.FILLED:
        return (*events, E.FILLED)
    if order.filled_quantity > fills_before:
        events.append(E.PARTIALLY_FILLED)
    if live or order.filled_quantity < reported_quantity:
        return tuple(events)
    ending = _ENDING[status]
    return tuple(events) if order.state is _VENUE_ENDS[ending] else (*events, ending)

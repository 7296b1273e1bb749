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

from lob.types import Side, TimeInForce


class OrderType(StrEnum):
    """What an order is.

    STOP waits in the gateway and leaves as a capped IOC; STOP_LIMIT waits at the venue. BRACKET
    closes a position at the venue: `limit_price` takes the profit, `stop_price` stops the loss.
    """

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP = "STOP"
    STOP_LIMIT = "STOP_LIMIT"
    BRACKET = "BRACKET"

    @property
    def has_limit(self) -> bool:
        """Return whether the type needs a limit price."""
        return self in _WITH_LIMIT

    @property
    def has_stop(self) -> bool:
        """Return whether the type needs a stop price."""
        return self in _WITH_STOP


_WITH_LIMIT: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.BRACKET})
_WITH_STOP: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT, OrderType.BRACKET})


class OrderState(StrEnum):
    """Where an order stands. The values are what the `orders` table stores."""

    PENDING_SUBMIT = "pending_submit"  # journaled; it may be on its way
    ARMED = "armed"  # a stop that waits here, not at the venue, for its price
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

    ARMED = "armed"
    TRIGGERED = "triggered"
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
        # A stop: at first, and again when it was triggered and certainly did not leave.
        E.ARMED: S.ARMED,
        E.NOT_SENT: S.REFUSED,
        E.RESPONDED: S.SUBMITTED,
        E.TIMED_OUT: S.UNKNOWN,
    },
    S.ARMED: {
        E.TRIGGERED: S.PENDING_SUBMIT,
        E.CANCELLED: S.CANCELLED,
        E.EXPIRED: S.EXPIRED,
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
    # Ends that nobody but an answer, or its absence, has told us: should the venue know the order
    # after all, then it is what the venue says.
    S.REJECTED: {
        **_GOES_LIVE,
        E.RESPONDED: S.REJECTED,
        E.TIMED_OUT: S.REJECTED,
        E.CANCEL_REFUSED: S.REJECTED,
    },
    S.REFUSED: _GOES_LIVE,
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
class Attached:
    """The exit that an entry brings along: the venue makes it a bracket once the entry fills."""

    take_profit_price: Decimal
    stop_price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a caller wants: `quantity` in coins, prices in quote currency.

    `expires_at_ns` is a moment of the venue's clock, for GTD only. `strategy` names who decided.
    `asked_quantity` is what was asked for where sizing made the order smaller.
    An order that another one brought about says which: `replaces` the order that it takes the
    place of, `parent` the entry whose exit it is or the stop whose rest it is.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    time_in_force: TimeInForce = TimeInForce.GTC
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    post_only: bool = False
    reduce_only: bool = False
    expires_at_ns: int | None = None
    attached: Attached | None = None
    strategy: str = ""
    replaces: str = ""
    parent: str = ""
    asked_quantity: Decimal | None = None

    @property
    def held_here(self) -> bool:
        """Return whether the order waits in the gateway instead of at the venue."""
        return self.order_type is OrderType.STOP

    @property
    def is_exit(self) -> bool:
        """Return whether the venue made it, to close what an entry filled."""
        return self.order_type is OrderType.BRACKET and self.parent != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """The wish to have other terms in an order's place; `quantity` counts what has filled.

    It is carried out by the order `client_order_id`, once the original is over.
    """

    client_order_id: str
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    carried_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order and what became of it so far; times in nanoseconds since 1970 (local clock).

    A held stop keeps its own terms in `intent`; what left for the venue when it triggered is
    `sent_quantity` at `sent_price`. `attempt` counts how often a stop and its rests were sent.
    """

    intent: Intent
    state: OrderState = OrderState.PENDING_SUBMIT
    venue_order_id: str = ""
    filled_quantity: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    reason: str = ""
    cancel_wanted: bool = False
    replacement: Replacement | None = None
    attached_order_id: str = ""
    triggered_ns: int = 0
    attempt: int = 0
    sent_ns: int = 0
    sent_quantity: Decimal | None = None
    sent_price: Decimal | None = None
    created_ns: int = 0
    updated_ns: int = 0

    @property
    def quantity_at_venue(self) -> Decimal:
        """Return the whole quantity that the venue was asked for."""
        return self.intent.quantity if self.sent_quantity is None else self.sent_quantity

    @property
    def leaves(self) -> Decimal:
        """Return how much may still trade: 0 once the order is over."""
        if self.state.is_terminal:
            return Decimal(0)
        return max(Decimal(0), self.intent.quantity - self.filled_quantity)

    @property
    def exposed(self) -> Decimal:
        """Return how much the venue may still fill: nothing of a stop that waits here."""
        if self.state.is_terminal or self.state is OrderState.ARMED:
            return Decimal(0)
        return max(Decimal(0), self.quantity_at_venue - self.filled_quantity)

    @property
    def is_done(self) -> bool:
        """Return whether nothing is left to do: it is over, and so is its replacement's making."""
        waiting = self.replacement is not None and not self.replacement.carried_out
        return self.state.is_terminal and not waiting

    @property
    def average_price(self) -> Decimal | None:
        """Return the average price of what has filled, None before the first fill."""
        return self.filled_value / self.filled_quantity if self.filled_quantity else None

    def as_sent(self) -> Intent:
        """Return the terms for the venue: a triggered stop is an IOC order with a limit."""
        if self.sent_quantity is None:
            return self.intent
        return replace(
            self.intent,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.IOC,
            quantity=self.sent_quantity,
            limit_price=self.sent_price,
            stop_price=None,
            expires_at_ns=None,
        )

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
_NOT_YET_LIVE: Final = frozenset(
    {S.PENDING_SUBMIT, S.SUBMITTED, S.UNKNOWN, S.MISSING, S.REJECTED, S.REFUSED},
)


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
    whole = order.filled_quantity >= order.quantity_at_venue
    if whole and order.state is not S.FILLED:
        return (*events, E.FILLED)
    if order.filled_quantity > fills_before:
        events.append(E.PARTIALLY_FILLED)
    if live or order.filled_quantity < reported_quantity:
        return tuple(events)
    ending = _ENDING[status]
    if order.state is S.FILLED and ending in (E.CANCELLED, E.EXPIRED):
        # Nothing of it was left to cancel.
        return tuple(events)
    return tuple(events) if order.state is _VENUE_ENDS[ending] else (*events, ending)

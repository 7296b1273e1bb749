"""What became of each order, as the go/no-go matrix counts it: one short record for each.

A record is made when an order is over and its fills are booked. It goes to the event store, and
from there into the window again after a restart.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from operator import attrgetter
from typing import Any, Final, Protocol

from touchstone.perps.checks import Refusal, RefusalReason
from touchstone.perps.orders import TERMINAL, Intent, Order, OrderState, OrderType
from touchstone.rollout.go_no_go import Measurement

WINDOW_SECONDS: Final = 86_400.0
RECORDS_MAX: Final = 200_000
"""Of a busier day only the newest count."""
REMEMBERED_MAX: Final = 20_000
"""Orders that are over and could be told again."""
BPS: Final = Decimal(10_000)

FAILURES: Final = frozenset(
    {
        RefusalReason.JOURNAL_UNAVAILABLE,
        RefusalReason.VENUE_UNAVAILABLE,
        RefusalReason.VENUE_RATE_LIMITED,
    }
)
"""Refusals that are errors: what was to be sent, and could not be."""
_CROSSED: Final = "POST_ONLY"
"""What the venue's reasons for a post-only order that would cross have in common."""
_AT_ONCE: Final = frozenset({OrderType.MARKET, OrderType.LIMIT})
"""Types whose price stands beside the market of the moment they were decided in."""


class OrderObserver(Protocol):
    """Who is told of orders on their way; nothing of it may raise or wait."""

    def arrived(self, intent: Intent) -> None:
        """Hear of an order before anything has looked at it."""
        ...

    def refused(self, intent: Intent, refusal: Refusal) -> None:
        """Hear of an order that the gateway did not send."""
        ...

    def answered(self, order: Order, seconds: float) -> None:
        """Hear of the venue's answer, `seconds` after the order arrived."""
        ...

    def over(self, order: Order) -> None:
        """Hear of an order that has ended, all its fills booked."""
        ...


class NoObserver:
    """Hear nothing."""

    def arrived(self, intent: Intent) -> None:
        """Do nothing."""

    def refused(self, intent: Intent, refusal: Refusal) -> None:
        """Do nothing."""

    def answered(self, order: Order, seconds: float) -> None:
        """Do nothing."""

    def over(self, order: Order) -> None:
        """Do nothing."""


class Observers:
    """Tell several observers, in order; of the end of an order once."""

    def __init__(self, *observers: OrderObserver) -> None:
        self._observers = observers
        self._over: dict[str, None] = {}

    def arrived(self, intent: Intent) -> None:
        """Pass it on, but for a repeat of what is over."""
        if intent.client_order_id in self._over:
            return
        for observer in self._observers:
            observer.arrived(intent)

    def refused(self, intent: Intent, refusal: Refusal) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.refused(intent, refusal)

    def answered(self, order: Order, seconds: float) -> None:
        """Pass it on."""
        for observer in self._observers:
            observer.answered(order, seconds)

    def over(self, order: Order) -> None:
        """Pass it on the first time: a late fill or a repetition of the venue tells it again."""
        key = order.intent.client_order_id
        if key in self._over:
            return
        self._over[key] = None
        while len(self._over) > REMEMBERED_MAX:
            del self._over[next(iter(self._over))]
        for observer in self._observers:
            observer.over(order)


class OrderCounts(NoObserver):
    """Count orders since the process began, and remember when something last happened."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.placed = 0
        self.refused_here: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.answered_at: float | None = None
        self.filled_at: float | None = None

    def refused(self, intent: Intent, refusal: Refusal) -> None:  # noqa: ARG002 - the protocol's
        """Count it by reason."""
        self.refused_here[refusal.reason.value] += 1

    def answered(self, order: Order, seconds: float) -> None:  # noqa: ARG002 - the protocol's
        """Count an order that reached the venue."""
        self.placed += 1
        self.answered_at = self._monotonic()

    def over(self, order: Order) -> None:
        """Count it by how it ended."""
        self.ended[order.state.value] += 1
        if order.filled_quantity:
            self.filled_at = self._monotonic()

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {
            "placed": self.placed,
            **{state.value: self.ended[state.value] for state in TERMINAL},
            "refused_here": dict(self.refused_here),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One order as the matrix counts it.

    Attributes:
        at: when it was over, venue time, in seconds since 1970.
        sent: whether it left for the venue.
        filled: whether all of it was filled.
        own_end: whether it ended by our own will before that: cancelled by us, or its time was up.
        post_only: whether it was to rest only.
        crossed: whether it was turned down, here or there, because it would have crossed.
        error: whether it failed for a reason of ours or the venue's that is no rejection.
        slippage_bps: average price against the mid at the decision, positive is a cost; None
            without a fill, and for stops, which are decided long before they trade.
        latency_ms: from its arrival to the venue's answer; None where there was none.
    """

    at: float
    sent: bool
    filled: bool = False
    own_end: bool = False
    post_only: bool = False
    crossed: bool = False
    error: bool = False
    slippage_bps: float | None = None
    latency_ms: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dict(zip(_NAMES, _values_of(self), strict=True))


_NAMES: Final = tuple(field.name for field in fields(Outcome))
_values_of: Final = attrgetter(*_NAMES)


def from_json(payload: Mapping[str, Any]) -> Outcome | None:
    """Return a kept outcome; None where the record is none."""
    known = {name: value for name, value in payload.items() if name in _NAMES}
    try:
        outcome = Outcome(**known)
    except TypeError:
        return None
    right = isinstance(outcome.at, int | float) and math.isfinite(outcome.at)
    return outcome if right else None


def outcome_of(
    order: Order, *, at: float, mid: Decimal | None, latency_ms: float | None
) -> Outcome | None:
    """Return what a finished order counts as; None for one that never was to be sent.

    Args:
        order: over, with all its fills.
        at: venue time, in seconds.
        mid: the middle of the touch when it was decided.
        latency_ms: see `Outcome`.
    """
    state, intent = order.state, order.intent
    if state is OrderState.REFUSED:
        return refused_outcome(intent, order.reason.split(":")[0], at=at)
    ended_here = order.cancel_wanted or state is OrderState.EXPIRED
    return Outcome(
        at=at,
        sent=True,
        filled=state is OrderState.FILLED,
        own_end=ended_here and state is not OrderState.FILLED,
        post_only=intent.post_only,
        crossed=state is OrderState.REJECTED and intent.post_only and _CROSSED in order.reason,
        error=state is OrderState.MISSING,
        slippage_bps=_slippage(order, mid),
        latency_ms=latency_ms,
    )


def refused_outcome(intent: Intent, reason: str, *, at: float) -> Outcome | None:
    """Return what an order that the gateway did not send counts as; None where that is nothing.

    A closed kill switch, a limit or a dry run is no failure: the order was not to be sent.
    """
    if reason == RefusalReason.POST_ONLY_WOULD_CROSS:
        return Outcome(at=at, sent=False, post_only=True, crossed=True)
    if reason in FAILURES:
        return Outcome(at=at, sent=False, post_only=intent.post_only, error=True)
    return None


def _slippage(order: Order, mid: Decimal | None) -> float | None:
    price = order.average_price
    if price is None or mid is None or mid <= 0 or order.intent.order_type not in _AT_ONCE:
        return None
    return float((price - mid) / mid * BPS * order.intent.side.sign)


class OutcomeWindow:
    """The outcomes of the last day of venue time."""

    def __init__(self, outcomes: Iterable[Outcome] = ()) -> None:
        self._outcomes: deque[Outcome] = deque(outcomes, maxlen=RECORDS_MAX)

    def add(self, outcome: Outcome) -> None:
        """Count one more. O(1)."""
        self._outcomes.append(outcome)

    def within(self, now: float) -> list[Outcome]:
        """Return those of the day before `now`, and drop what is older. O(n)."""
        since = now - WINDOW_SECONDS
        while self._outcomes and self._outcomes[0].at <= since:
            self._outcomes.popleft()
        return [one for one in self._outcomes if since < one.at <= now]

    def measurements(self, now: float) -> dict[str, Measurement]:
        """Return the rows of the matrix that orders tell of; rows without any order are absent."""
        found = self.within(now)
        rows = {
            # Reasons of our own to end an order, or not to send it, say nothing of its success.
            "order_success_rate": _share(
                [one for one in found if one.filled or (one.sent and not one.own_end) or one.error],
                "filled",
            ),
            "post_only_rejects": _share([one for one in found if one.post_only], "crossed"),
            "error_rate": _share([one for one in found if one.sent or one.error], "error"),
            "slippage": _mean([one for one in found if one.slippage_bps is not None]),
            "system_latency": _values([one for one in found if one.latency_ms is not None]),
        }
        return {name: measured for name, measured in rows.items() if measured is not None}


def _share(outcomes: list[Outcome], part: str) -> Measurement | None:
    if not outcomes:
        return None
    count = sum(bool(getattr(one, part)) for one in outcomes)
    return Measurement(measured_at=outcomes[-1].at, n=len(outcomes), part=count)


def _mean(outcomes: list[Outcome]) -> Measurement | None:
    values = [one.slippage_bps for one in outcomes if one.slippage_bps is not None]
    if not values:
        return None
    return Measurement(
        measured_at=outcomes[-1].at,
        n=len(values),
        total=math.fsum(values),
        squares=math.fsum(value * value for value in values),
    )


def _values(outcomes: list[Outcome]) -> Measurement | None:
    values = tuple(one.latency_ms for one in outcomes if one.latency_ms is not None)
    return (
        Measurement(measured_at=outcomes[-1].at, n=len(values), values=values) if values else None
    )

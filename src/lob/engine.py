"""Events in time, and an order that meets the book as it stands when it arrives.

Two clocks: the client sends and hears on its own time, the exchange acts on the exchange's. An
order sent at t acts at t + order + exchange latency, after every background event up to then; its
answer is known a fill latency later. The book's time is the exchange's, so that orders expire at
theirs. Messages of one session do not overtake one another. The
client's own delayed picture of the market (feed latency) is not modelled here.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Generic, TypeVar

from lob.book import OrderBook
from lob.clock import ManualClock
from lob.errors import InvalidInput, Overloaded
from lob.latency import Component, LatencyModel
from lob.types import (
    Accepted,
    Cancelled,
    Command,
    Event,
    Expired,
    Level,
    QueuePosition,
    Rejected,
    Replaced,
    Submit,
    Traded,
)

Background = Callable[[OrderBook], tuple[int, Command] | None]
"""Decide the market's next command and its time on the book as it stands; None when there is no
more. `ZeroIntelligence.step` is one; so is `lambda book: next(tape, None)`."""

Payload = TypeVar("Payload")

DEFAULT_MAX_EVENTS: Final = 100_000
DEFAULT_MAX_TRACKED_ORDERS: Final = 10_000


class Priority(IntEnum):
    """Which of several events at one nanosecond comes first."""

    MARKET_DATA = 0
    ORDER_ARRIVAL = 1
    ACKNOWLEDGEMENT = 2
    FILL = 3
    TIMER = 4


class EventQueue(Generic[Payload]):
    """Hand out payloads by (time, priority, order of pushing); bounded.

    >>> queue = EventQueue[str](capacity=3)
    >>> queue.push(5, Priority.FILL, "late"); queue.push(5, Priority.MARKET_DATA, "early")
    >>> queue.pop()
    (5, <Priority.MARKET_DATA: 0>, 'early')
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InvalidInput(f"capacity: {capacity}; allowed: 1 or more")
        self._capacity = capacity
        self._heap: list[tuple[int, Priority, int, Payload]] = []
        self._pushed = 0

    def __len__(self) -> int:
        """Return how many payloads wait."""
        return len(self._heap)

    def push(self, time_ns: int, priority: Priority, payload: Payload) -> None:
        """Add a payload; `Overloaded` when the queue is full. O(log n)."""
        if len(self._heap) >= self._capacity:
            raise Overloaded(f"event queue: full with {self._capacity} events")
        self._pushed += 1
        heapq.heappush(self._heap, (time_ns, priority, self._pushed, payload))

    def next_time_ns(self) -> int | None:
        """Return the time of the first payload, or None. O(1)."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> tuple[int, Priority, Payload]:
        """Remove and return the first (time, priority, payload). O(log n); `InvalidInput`."""
        if not self._heap:
            raise InvalidInput("event queue: nothing to pop")
        time_ns, priority, _, payload = heapq.heappop(self._heap)
        return time_ns, priority, payload


@dataclass(frozen=True, slots=True)
class Arrival:
    """Explain how a command met the book.

    `events_ahead` counts the background commands that acted between sending and acting.
    `queue_ahead` is what stood before the order where it came to rest (None when it does not
    rest). Touches are (best bid, best ask).
    """

    command: Command
    sent_ns: int
    order_latency_ns: int
    exchange_latency_ns: int
    acted_ns: int
    events_ahead: int
    touch_when_sent: tuple[Level | None, Level | None]
    touch_on_arrival: tuple[Level | None, Level | None]
    queue_ahead: QueuePosition | None
    events: Sequence[Event]


class Sent:
    """Follow one command; `arrival` is None until the exchange has acted on it."""

    __slots__ = ("arrival", "background_before", "command", "latencies_ns", "sent_ns", "touch")

    def __init__(
        self,
        command: Command,
        sent_ns: int,
        latencies_ns: tuple[int, int],
        background_before: int,
        touch: tuple[Level | None, Level | None],
    ) -> None:
        self.command = command
        self.sent_ns = sent_ns
        self.latencies_ns = latencies_ns
        self.background_before = background_before
        self.touch = touch
        self.arrival: Arrival | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Say that the client knows, at `known_ns`, of an event that happened at `happened_ns`."""

    event: Event
    happened_ns: int
    known_ns: int


@dataclass(frozen=True, slots=True)
class Closing:
    """Wake the engine when an order of the client's expires, so that it hears of it in time."""

    order_id: int
    expire_ns: int


@dataclass(frozen=True, slots=True)
class Execution:
    """One command's story: how it met the book, and what its client heard in time."""

    arrival: Arrival
    notices: tuple[Notice, ...]


class MatchingEngine:
    """Run one client session against a book with background flow.

    Orders submitted through `send` are the client's own; it hears of everything that happens to
    them, later fills included, until they end. At most `max_tracked_orders` are live or on their
    way at once: one more is `Overloaded`.
    """

    def __init__(
        self,
        book: OrderBook,
        latency: LatencyModel,
        clock: ManualClock,
        background: Background | None = None,
        *,
        max_events: int = DEFAULT_MAX_EVENTS,
        max_tracked_orders: int = DEFAULT_MAX_TRACKED_ORDERS,
    ) -> None:
        self.book = book
        self.latency = latency
        self.clock = clock
        self.volatility_ratio = 1.0
        self.background_count = 0
        self._background = background
        self._queue: EventQueue[Command | Sent | Notice | Closing] = EventQueue(max_events)
        self._max_tracked_orders = max_tracked_orders
        self._own: set[int] = set()
        self._closings: set[Closing] = set()
        self._last_arrival_ns = clock.now_ns()
        self._last_known_ns = clock.now_ns()
        self._pull()

    def send(self, command: Command) -> Sent:
        """Send a command now; it acts when `run_until` has come to its arrival."""
        # An id that another live order has will be refused: its owner hears, not this client.
        order_id = command.order_id
        tracked = isinstance(command, Submit) and order_id not in self._own
        if tracked and len(self._own) >= self._max_tracked_orders:
            raise Overloaded(f"tracked orders: full with {self._max_tracked_orders}")
        now_ns = self.clock.now_ns()
        order_ns = self._draw(Component.ORDER)
        exchange_ns = self._draw(Component.EXCHANGE)
        arrival_ns = max(now_ns + order_ns + exchange_ns, self._last_arrival_ns)
        sent = Sent(command, now_ns, (order_ns, exchange_ns), self.background_count, self._touch())
        self._queue.push(arrival_ns, Priority.ORDER_ARRIVAL, sent)
        if tracked and not self._lives(order_id):
            self._own.add(order_id)
        self._last_arrival_ns = arrival_ns
        return sent

    def run_until(self, time_ns: int) -> tuple[Notice, ...]:
        """Let everything up to `time_ns` happen; return what the client has heard by then."""
        heard: list[Notice] = []
        while (next_ns := self._queue.next_time_ns()) is not None and next_ns <= time_ns:
            notice = self._happen()
            if notice is not None:
                heard.append(notice)
        self.clock.set(time_ns)
        self._expire()
        return tuple(heard)

    def execute(self, command: Command, wait_ns: int = 0) -> Execution:
        """Send a command, wait for its answer, then `wait_ns` longer for what else happens.

        Notices of the client's other orders in that time are included.
        """
        if wait_ns < 0:
            raise InvalidInput(f"wait_ns: {wait_ns}; allowed: 0 or more")
        sent = self.send(command)
        heard: list[Notice] = []
        while sent.arrival is None:
            notice = self._happen()
            if notice is not None:
                heard.append(notice)
        heard.extend(self.run_until(max(self._last_known_ns, self.clock.now_ns()) + wait_ns))
        return Execution(sent.arrival, tuple(heard))

    def _happen(self) -> Notice | None:
        time_ns, _, payload = self._queue.pop()
        self.clock.set(time_ns)
        self._expire()
        if isinstance(payload, Notice):
            return payload
        if isinstance(payload, Sent):
            self._arrive(payload)
        elif isinstance(payload, Closing):
            self._closings.discard(payload)
        else:
            self.background_count += 1
            self._tell(self.book.apply(payload), None)
            self._pull()
        return None

    def _arrive(self, sent: Sent) -> None:
        touch = self._touch()
        events = self.book.apply(sent.command)
        order_id = sent.command.order_id
        moved = any(isinstance(event, Accepted | Replaced) for event in events)
        rests = moved and order_id in self.book
        order_ns, exchange_ns = sent.latencies_ns
        sent.arrival = Arrival(
            command=sent.command,
            sent_ns=sent.sent_ns,
            order_latency_ns=order_ns,
            exchange_latency_ns=exchange_ns,
            acted_ns=self.clock.now_ns(),
            events_ahead=self.background_count - sent.background_before,
            touch_when_sent=sent.touch,
            touch_on_arrival=touch,
            queue_ahead=self.book.queue_position(order_id) if rests else None,
            events=events,
        )
        self._tell(events, order_id)
        self._wake_for(order_id)

    def _expire(self) -> None:
        """Bring the book to the exchange's time; tell the client what of its own has expired."""
        now_ns = self.clock.now_ns()
        if now_ns > self.book.now_ns:
            self._tell(self.book.advance(now_ns), None)

    def _wake_for(self, order_id: int) -> None:
        """Be there when an order of the client's expires."""
        if order_id not in self._own:
            return
        resting = self.book.order(order_id)
        waiting = None if resting is not None else self._stop(order_id)
        live = resting if waiting is None else waiting
        if live is None or live.expire_ns is None:
            return
        closing = Closing(order_id, live.expire_ns)
        if closing not in self._closings:  # a replaced order keeps its time
            self._closings.add(closing)
            self._queue.push(closing.expire_ns, Priority.TIMER, closing)

    def _stop(self, order_id: int) -> Submit | None:
        return next((stop for stop in self.book.stops() if stop.order_id == order_id), None)

    def _lives(self, order_id: int) -> bool:
        """Say whether an order rests, or waits as a stop."""
        return order_id in self.book or self._stop(order_id) is not None

    def _tell(self, events: Sequence[Event], sender_order_id: int | None) -> None:
        """Queue a notice of each event that concerns the client's orders or its command."""
        for event in events:
            ids = (
                (event.maker_order_id, event.taker_order_id)
                if isinstance(event, Traded)
                else (event.order_id,)
            )
            if sender_order_id not in ids and self._own.isdisjoint(ids):
                continue
            happened_ns = self.clock.now_ns()
            known_ns = max(happened_ns + self._draw(Component.FILL), self._last_known_ns)
            self._last_known_ns = known_ns
            is_trade = isinstance(event, Traded)
            priority = Priority.FILL if is_trade else Priority.ACKNOWLEDGEMENT
            self._queue.push(known_ns, priority, Notice(event, happened_ns, known_ns))
            self._forget_ended(event)

    def _forget_ended(self, event: Event) -> None:
        """Stop tracking what no longer lives; called once the event's command has acted."""
        if isinstance(event, Traded | Cancelled | Rejected | Expired):
            ids = (
                (event.maker_order_id, event.taker_order_id)
                if isinstance(event, Traded)
                else (event.order_id,)
            )
            ended = [i for i in ids if i in self._own and not self._lives(i)]
            self._own.difference_update(ended)

    def _pull(self) -> None:
        following = None if self._background is None else self._background(self.book)
        if following is None:
            self._background = None
            return
        time_ns, command = following
        now_ns = self.clock.now_ns()
        if time_ns < now_ns:
            raise InvalidInput(f"background: {time_ns} ns is past; allowed: {now_ns} or later")
        self._queue.push(time_ns, Priority.MARKET_DATA, command)

    def _draw(self, leg: Component) -> int:
        return self.latency.draw_ns(leg, self.clock.now_ns(), self.volatility_ratio)

    def _touch(self) -> tuple[Level | None, Level | None]:
        return self.book.best_bid(), self.book.best_ask()

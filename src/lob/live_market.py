"""A book in which others act by themselves, so that one's own orders queue and trade among them.

Who the others are is a `LiveMarket`: a generator's flow (`FlowMarket`) or a venue's file
(`lob.live_feed.FeedMarket`). Both are stepped: the caller says how far time may go, and acts in
between. Others' orders have ids below `FIRST_OWN_ID`, the caller's own from there on, so that no
file's id is ever taken for one's own.
"""

import importlib
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from lob import OrderBook
from lob.bounds import positive
from lob.errors import InvalidInput
from lob.recording import Flow
from lob.types import (
    Accepted,
    Cancelled,
    Command,
    Event,
    Expired,
    Instrument,
    Rejected,
    Submit,
    Traded,
    Triggered,
)

__all__ = [
    "FIRST_OWN_ID",
    "FLOWS",
    "FlowMarket",
    "LiveMarket",
    "OwnOrders",
    "is_own",
    "make_flow",
]

FIRST_OWN_ID: Final = 7 << 60
"""The first id of one's own orders. Venues' ids are below; `lob.replay` uses 1 << 62 and on."""

FLOWS: Final[dict[str, tuple[str, str]]] = {
    "zero-intelligence": ("lob.flow", "ZeroIntelligence"),
    "queue-reactive": ("lob.queue_reactive", "QueueReactive"),
    "clustered": ("lob.clustered_flow", "ClusteredFlow"),
}
"""The module and class of each generator, made as `lob.flow.SeededFlow` is; the first is usual."""


def make_flow(name: str, instrument: Instrument, seed: int, mid_ticks: int) -> Flow:
    """Return the generator of a name, of the usual profile.

    Raises:
        InvalidInput: no such generator, or a mid that it cannot have.
    """
    if name not in FLOWS:
        raise InvalidInput(f"model: {name!r}; allowed: {', '.join(FLOWS)}")
    module, kind = FLOWS[name]
    flow: Flow = getattr(importlib.import_module(module), kind)(instrument, seed, mid_ticks)
    return flow


def is_own(event: Event) -> bool:
    """Say whether an event is of one's own order, or a trade with one."""
    if isinstance(event, Traded):
        return event.maker_order_id >= FIRST_OWN_ID or event.taker_order_id >= FIRST_OWN_ID
    return event.order_id >= FIRST_OWN_ID


class OwnOrders:
    """The ids of one's own orders that rest, and of those that wait for their stop price."""

    __slots__ = ("resting", "waiting")

    def __init__(self) -> None:
        self.resting: set[int] = set()
        self.waiting: set[int] = set()

    def __len__(self) -> int:
        return len(self.resting) + len(self.waiting)

    def note(self, book: OrderBook, events: Iterable[Event], command: Command | None) -> None:
        """Take note of what an own command, or a moment of others' doing, came to."""
        touched: set[int] = set() if command is None else {command.order_id}
        for event in events:
            if isinstance(event, Traded):
                touched.add(event.maker_order_id)
            elif isinstance(event, Accepted | Triggered | Cancelled | Expired):
                touched.add(event.order_id)
            if isinstance(event, Triggered | Cancelled | Expired):
                self.waiting.discard(event.order_id)
        taken = isinstance(command, Submit) and not any(
            isinstance(event, Rejected | Triggered) for event in events
        )
        if isinstance(command, Submit) and command.stop_ticks is not None and taken:
            self.waiting.add(command.order_id)
        for order_id in touched:
            if order_id >= FIRST_OWN_ID and order_id in book:
                self.resting.add(order_id)
            else:
                self.resting.discard(order_id)


class LiveMarket(Protocol):
    """What happens in `book` besides one's own orders.

    `name` says who the others are. `ended` is true once they do nothing more, and `unfitting`
    counts what they asked for that did not fit the book. Reading may take its time:
    where `wants_reading`, `read` can be called in another thread before the next call.
    """

    name: str
    book: OrderBook
    own: OwnOrders
    ended: bool
    unfitting: int

    @property
    def wants_reading(self) -> bool:
        """Say whether the next question has to read first."""
        ...

    def read(self) -> None:
        """Read ahead."""
        ...

    def next_ns(self) -> int | None:
        """Return the time of what comes next, not before the book's own; None at the end."""
        ...

    def step(self) -> Sequence[Event]:
        """Move the book's time to what comes next, let it happen, and return the events."""
        ...

    def act(self, command: Command) -> Sequence[Event]:
        """Carry out one's own command at the book's time and return the events."""
        ...


class FlowMarket:
    """Let a generator act in a book of its own initial orders, `rate` times as fast as it would.

    What comes next is decided when it is asked for, on the book as it stands then; it still happens
    where one's own orders change the book meanwhile, and a cancel may then come too late.
    """

    def __init__(self, name: str, flow: Flow, rate: float = 1.0) -> None:
        self.name = name
        self.own = OwnOrders()
        self.ended = False
        self.unfitting = 0
        self._rate = positive("rate", rate)
        self._flow = flow
        self.book = OrderBook(flow.instrument)
        for order in flow.seed_book():
            self.book.apply(order)
        self._begin_ns = flow.now_ns
        self._next: tuple[int, Command] | None = None

    @property
    def wants_reading(self) -> bool:
        """Say no: a generator reads nothing."""
        return False

    def read(self) -> None:
        """Do nothing."""

    def next_ns(self) -> int:
        """Return when the generator's next command comes, by the book's time."""
        if self._next is None:
            flow_ns, command = self._flow.step(self.book)
            elapsed = round((flow_ns - self._begin_ns) / self._rate)
            self._next = (self._begin_ns + elapsed, command)
        return max(self._next[0], self.book.now_ns)

    def step(self) -> list[Event]:
        """Let the generator's next command happen and return the events."""
        now_ns = self.next_ns()
        events = list(self.book.advance(now_ns))
        if self._next is not None:
            done = self.book.apply(self._next[1])
            self.unfitting += isinstance(done[0], Rejected)
            events += [event for event in done if not isinstance(event, Rejected)]
        self._next = None
        if len(self.own):
            self.own.note(self.book, events, None)
        return events

    def act(self, command: Command) -> Sequence[Event]:
        """Carry out one's own command and return the events."""
        events = self.book.apply(command)
        self.own.note(self.book, events, command)
        return events

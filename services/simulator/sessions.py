"""Order-book sessions: bounded in number, in size, in age and in listeners."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lob import OrderBook
from lob.errors import Conflict, InvalidInput, InvariantViolation, NotFound, Overloaded
from lob.types import (
    Accepted,
    Cancelled,
    Command,
    Event,
    Expired,
    Instrument,
    Submit,
    Triggered,
)
from services.simulator.metrics import SimulatorMetrics

MAX_SYMBOL_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the sessions."""

    sessions: int
    orders_per_session: int
    subscribers_per_session: int
    queue_size: int
    idle_seconds: float


Numbered = tuple[int, Event]
"""An event with its place in the session, from 1."""


class Subscription:
    """One listener's bounded queue: `lag` once it was full, `ended` once the session is over."""

    def __init__(self, queue_size: int) -> None:
        self._queue: asyncio.Queue[Numbered] = asyncio.Queue(queue_size)
        self._stopped = asyncio.Event()
        self._lagged = False

    def offer(self, event: Numbered) -> bool:
        """Queue an event; where there is no room, stop the subscription and return False."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._lagged = True
            self._stopped.set()
            return False
        return True

    def end(self) -> None:
        """Stop after what is queued."""
        self._stopped.set()

    async def next(self) -> Numbered:
        """Return the next event.

        Raises:
            Overloaded: the listener fell behind and was cut off.
            NotFound: the session is over.
        """
        while True:
            if self._lagged:
                raise Overloaded("the subscriber fell behind and was cut off; read GetBook again")
            if not self._queue.empty():
                return self._queue.get_nowait()
            if self._stopped.is_set():
                raise NotFound("session: ended; nothing more will happen in it")
            getting = asyncio.ensure_future(self._queue.get())
            stopping = asyncio.ensure_future(self._stopped.wait())
            try:
                await asyncio.wait({getting, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if getting.done():
                    return getting.result()
            finally:
                getting.cancel()
                stopping.cancel()


class Session:
    """One caller's book and its listeners."""

    def __init__(
        self,
        session_id: str,
        symbol: str,
        instrument: Instrument | None,
        limits: Limits,
        now: float,
    ) -> None:
        self.session_id = session_id
        self.symbol = symbol
        self.book = OrderBook(instrument)
        self.sequence = 0
        self.used_at = now
        self._limits = limits
        self._subscriptions: set[Subscription] = set()
        self._broken = False
        self._waiting: set[int] = set()

    def apply(self, command: Command) -> tuple[list[Numbered], int]:
        """Apply a command; return its numbered events, and how many listeners were cut off.

        Raises:
            Overloaded: the book is full of orders.
            Conflict: the book stopped on an invariant violation.
        """
        live = len(self.book) + len(self._waiting)
        if isinstance(command, Submit) and live >= self._limits.orders_per_session:
            raise Overloaded(f"{live} orders are live; allowed: {self._limits.orders_per_session}")
        numbered_events = self._publish(lambda: self.book.apply(command))
        self._count_waiting(command, numbered_events[0])
        return numbered_events

    def advance(self, now_ns: int) -> tuple[list[Numbered], int]:
        """Move the book's time on; return as `apply` does. `InvalidInput` for an earlier one."""
        numbered_events = self._publish(lambda: self.book.advance(now_ns))
        self._count_waiting(None, numbered_events[0])
        return numbered_events

    def _publish(self, act: Callable[[], Sequence[Event]]) -> tuple[list[Numbered], int]:
        """Act on the book; number the events and hand them to the listeners."""
        if self._broken:
            raise Conflict(f"session {self.session_id}: stopped on an invariant violation")
        try:
            events = act()
        except InvariantViolation:
            self._broken = True
            raise
        numbered: list[Numbered] = []
        for event in events:
            self.sequence += 1
            numbered.append((self.sequence, event))
        cut_off = {
            listener
            for listener in self._subscriptions
            if not all(listener.offer(event) for event in numbered)
        }
        self._subscriptions -= cut_off
        return numbered, len(cut_off)

    def _count_waiting(self, command: Command | None, numbered: list[Numbered]) -> None:
        """Keep the ids of the stops that wait, which count as live orders."""
        events = [event for _, event in numbered]
        stop = isinstance(command, Submit) and command.stop_ticks is not None
        if stop and command is not None and isinstance(events[0], Accepted):
            self._waiting.add(command.order_id)
        for event in events:
            if isinstance(event, Triggered | Cancelled | Expired):
                self._waiting.discard(event.order_id)

    def subscribe(self) -> Subscription:
        """Return a new subscription from now on; `Overloaded` beyond the bound."""
        allowed = self._limits.subscribers_per_session
        if len(self._subscriptions) >= allowed:
            raise Overloaded(f"{len(self._subscriptions)} subscribers; allowed: {allowed}")
        subscription = Subscription(self._limits.queue_size)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a subscription."""
        self._subscriptions.discard(subscription)

    def end(self) -> None:
        """End every subscription."""
        for subscription in self._subscriptions:
            subscription.end()
        self._subscriptions.clear()


class Sessions:
    """All open sessions, by id. `clock` tells monotonic seconds."""

    def __init__(
        self, limits: Limits, metrics: SimulatorMetrics, clock: Callable[[], float]
    ) -> None:
        self.limits = limits
        self._metrics = metrics
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, symbol: str, instrument: Instrument | None = None) -> Session:
        """Open a session with an empty book.

        Raises:
            Overloaded: too many are open.
        """
        if not 1 <= len(symbol) <= MAX_SYMBOL_LENGTH or not symbol.isprintable():
            raise InvalidInput(
                f"symbol: {symbol!r}; allowed: 1 to {MAX_SYMBOL_LENGTH} printable characters"
            )
        self.expire()
        if len(self._sessions) >= self.limits.sessions:
            raise Overloaded(f"{len(self._sessions)} sessions; allowed: {self.limits.sessions}")
        session = Session(secrets.token_hex(16), symbol, instrument, self.limits, self._clock())
        self._sessions[session.session_id] = session
        self._count()
        return session

    def get(self, session_id: str) -> Session:
        """Return an open session and count it as used now; `NotFound` where there is none."""
        self.expire()
        session = self._sessions.get(session_id)
        if session is None:
            raise NotFound(f"session_id: {session_id!r} is not open")
        session.used_at = self._clock()
        return session

    def apply(self, session_id: str, command: Command) -> list[Numbered]:
        """Apply a command in a session and return its numbered events."""
        return self._counted(self.get(session_id).apply(command))

    def advance(self, session_id: str, now_ns: int) -> list[Numbered]:
        """Move a session's time on and return the numbered events of what expired."""
        return self._counted(self.get(session_id).advance(now_ns))

    def _counted(self, outcome: tuple[list[Numbered], int]) -> list[Numbered]:
        events, cut_off = outcome
        if cut_off:
            self._metrics.cut_off.inc(cut_off)
        return events

    def close(self, session_id: str) -> None:
        """End a session; `NotFound` where there is none."""
        self._drop(self.get(session_id))

    def close_all(self) -> None:
        """End every session."""
        for session in list(self._sessions.values()):
            self._drop(session)

    def expire(self) -> None:
        """End the sessions that nobody has used for too long."""
        oldest = self._clock() - self.limits.idle_seconds
        for session in list(self._sessions.values()):
            if session.used_at < oldest:
                self._drop(session)

    def _drop(self, session: Session) -> None:
        del self._sessions[session.session_id]
        session.end()
        self._count()

    def _count(self) -> None:
        self._metrics.sessions.set(len(self._sessions))

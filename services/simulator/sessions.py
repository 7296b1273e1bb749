"""Order-book sessions: bounded in number, in size, in age and in listeners."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from execution_providers.l3_flow import COUNT_NAMES
from lob import OrderBook
from lob.errors import Conflict, InvalidInput, InvariantViolation, NotFound, Overloaded
from lob.live_market import FIRST_OWN_ID, LiveMarket
from lob.types import (
    Accepted,
    Cancelled,
    Command,
    Event,
    Expired,
    Instrument,
    Reduced,
    Submit,
    Traded,
    Triggered,
)
from services.simulator.metrics import SimulatorMetrics
from services.simulator.subscriptions import Numbered, SourceEnded, Subscription

MAX_SYMBOL_LENGTH: Final = 64
FIRST_EXECUTION_ID: Final = FIRST_OWN_ID + (1 << 59)
"""Ids from here on are of executions in the session's book."""
TURN_EVENTS: Final = 64
"""How many of a source's events happen before others get a turn."""
PATIENCE_SECONDS: Final = 1.0
"""How long a source waits for a listener to take what is queued, before it is cut off."""
_POLL_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound of the sessions."""

    sessions: int
    orders_per_session: int
    subscribers_per_session: int
    queue_size: int
    idle_seconds: float
    source_orders: int = 1_000_000


@dataclass(slots=True)
class Advanced:
    """What a move of a session's time came to: what to tell its caller, and what the source did."""

    events: list[Numbered] = field(default_factory=list)
    source_events: int = 0


class Session:
    """One caller's book, who else acts in it, and its listeners.

    `busy` is held while time moves, so that commands come before or after and not in between.
    """

    def __init__(
        self,
        session_id: str,
        symbol: str,
        book: OrderBook,
        limits: Limits,
        now: float,
        market: LiveMarket | None = None,
    ) -> None:
        self.session_id = session_id
        self.symbol = symbol
        self.market = market
        self.book = book
        self.sequence = 0
        self.used_at = now
        self.cut_off = 0
        self.live = False
        self.busy = asyncio.Lock()
        self.counts = dict.fromkeys(COUNT_NAMES, 0)
        # Trades of orders that somebody waits for: time, ticks, lots.
        self.watched: dict[int, list[tuple[int, int, int]]] = {}
        self.reading: asyncio.Future[None] | None = None
        self._limits = limits
        self._subscriptions: set[Subscription] = set()
        self._broken = False
        self._waiting: set[int] = set()
        self._told_end = False
        self._executions = FIRST_EXECUTION_ID

    @property
    def source_ended(self) -> bool:
        """Say whether there was a source, and it has no more."""
        return self.market is not None and self.market.ended

    def next_execution_id(self) -> int:
        """Return the id of the next execution's order."""
        self._executions += 1
        while self._executions in self.book or self._executions in self._waiting:
            self._executions += 1  # the caller took it for an order of its own
        return self._executions

    def apply(self, command: Command) -> list[Numbered]:
        """Apply a command of the caller and return its numbered events.

        Raises:
            InvalidInput: an id that is another's, in a session with a source.
            Overloaded: the book is full of orders.
            Conflict: the book stopped on an invariant violation.
        """
        if self.market is not None and command.order_id < FIRST_OWN_ID:
            raise InvalidInput(
                f"order_id: {command.order_id}; allowed in a session with a source:"
                f" {FIRST_OWN_ID} or more"
            )
        if isinstance(command, Submit):
            live, allowed = self._live_orders(), self._limits.orders_per_session
            if live >= allowed:
                raise Overloaded(f"{live} orders are live; allowed: {allowed}")
        return self.act(command)

    def act(self, command: Command) -> list[Numbered]:
        """Carry out a command, whoever's it is, and return its numbered events."""
        carry_out = self.book.apply if self.market is None else self.market.act
        events = self._publish(lambda: carry_out(command))
        self._count_waiting(command, events)
        return events

    def advance(self, now_ns: int) -> list[Numbered]:
        """Move the book's time on and return as `apply` does; `InvalidInput` for an earlier one."""
        events = self._publish(lambda: self.book.advance(now_ns))
        self._count_waiting(None, events)
        return events

    def step(self) -> list[Numbered]:
        """Let the source's next event happen; return what came of it."""
        market = self.market
        if market is None:
            return []
        if len(self.book) > self._limits.source_orders:
            raise Overloaded(
                f"{len(self.book)} orders rest in the session's book; allowed:"
                f" {self._limits.source_orders}"
            )
        touch = self.book.best_bid(), self.book.best_ask()
        events = self._publish(market.step)
        counts = self.counts
        for _, event, _ in events:
            if isinstance(event, Traded):
                counts["trades"] += 1
            elif isinstance(event, Accepted):
                counts["adds"] += 1
            elif isinstance(event, Cancelled | Reduced | Expired):
                counts["cancels"] += 1
        after = self.book.best_bid(), self.book.best_ask()
        counts["quote_moves"] += any(
            (one is None) != (other is None)
            or (one is not None and other is not None and one.price_ticks != other.price_ticks)
            for one, other in zip(touch, after, strict=True)
        )
        return events

    def tell_end(self) -> list[Numbered]:
        """Tell the listeners, once, that the source has no more."""
        if self._told_end or self.market is None or not self.market.ended:
            return []
        self._told_end = True
        ended = SourceEnded(self.market.unfitting)
        return self._publish(lambda: (ended,))

    def _live_orders(self) -> int:
        if self.market is not None:
            return len(self.market.own)
        return len(self.book) + len(self._waiting)

    def _publish(self, act: Callable[[], Sequence[Event | SourceEnded]]) -> list[Numbered]:
        """Act on the book; number the events and hand them to the listeners."""
        if self._broken:
            raise Conflict(f"session {self.session_id}: stopped on an invariant violation")
        try:
            events = act()
        except InvariantViolation:
            self._broken = True
            raise
        now_ns, numbered = self.book.now_ns, []
        for event in events:
            self.sequence += 1
            numbered.append(Numbered(self.sequence, event, now_ns))
            if self.watched and isinstance(event, Traded):
                trades = self.watched.get(event.maker_order_id)
                if trades is not None:
                    trades.append((now_ns, event.price_ticks, event.quantity_lots))
        cut_off = {
            listener
            for listener in self._subscriptions
            if not all(listener.offer(event) for event in numbered)
        }
        self._subscriptions -= cut_off
        self.cut_off += len(cut_off)
        return numbered

    def _count_waiting(self, command: Command | None, numbered: list[Numbered]) -> None:
        """Keep the ids of the stops that wait, which count as live orders."""
        events = [event for _, event, _ in numbered]
        stop = isinstance(command, Submit) and command.stop_ticks is not None
        if stop and command is not None and isinstance(events[0], Accepted):
            self._waiting.add(command.order_id)
        for event in events:
            if isinstance(event, Triggered | Cancelled | Expired):
                self._waiting.discard(event.order_id)

    def room(self) -> bool:
        """Say whether every listener has room for some more events."""
        return not any(self._slow())

    def cut_off_slow(self) -> None:
        """Cut off the listeners that have little room left."""
        slow = set(self._slow())
        for listener in slow:
            listener.lag()
        self._subscriptions -= slow
        self.cut_off += len(slow)

    def _slow(self) -> Iterator[Subscription]:
        wanted = min(TURN_EVENTS, self._limits.queue_size) // 2
        return (each for each in self._subscriptions if each.room() < wanted)

    def subscribe(self, *, own_only: bool = False) -> Subscription:
        """Return a new subscription from now on; `Overloaded` beyond the bound."""
        allowed = self._limits.subscribers_per_session
        if own_only and self.market is None:
            raise InvalidInput("own_only: true; allowed in a session without a source: false")
        if len(self._subscriptions) >= allowed:
            raise Overloaded(f"{len(self._subscriptions)} subscribers; allowed: {allowed}")
        subscription = Subscription(self._limits.queue_size, own_only=own_only)
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


async def advance(session: Session, now_ns: int, keep_on: Callable[[], None]) -> Advanced:
    """Move a session's time on, with what its source does until then; hold `session.busy`.

    Others get a turn every few events. `keep_on()` is asked then, and raises to stop: the session
    stays at the time it has come to.

    Raises:
        InvalidInput: a time before the session's own, or a file that is not what it should be.
        Fault: what `keep_on` raises.
    """
    done, market = Advanced(), session.market
    if now_ns < session.book.now_ns:
        session.advance(now_ns)  # refuses
    if market is None:
        done.events = session.advance(now_ns)
        return done
    while True:
        await _read_ahead(session, market)
        next_ns = market.next_ns()
        if next_ns is None or next_ns > now_ns:
            break
        done.events += [event for event in session.step() if event.own]
        done.source_events += 1
        if done.source_events % TURN_EVENTS == 0 or not session.room():
            await _yield_to_listeners(session)
            keep_on()
    done.events += [event for event in session.advance(now_ns) if event.own]
    done.events += session.tell_end()
    return done


async def _read_ahead(session: Session, market: LiveMarket) -> None:
    """Read where the source has to, in a thread that goes on where the caller leaves."""
    if session.reading is None:
        if not market.wants_reading:
            return
        session.reading = asyncio.ensure_future(asyncio.to_thread(market.read))
    reading = session.reading
    try:
        await asyncio.shield(reading)
    finally:
        if reading.done():
            session.reading = None


async def _yield_to_listeners(session: Session) -> None:
    """Let others have a turn, and listeners catch up for a while; then they are cut off."""
    await asyncio.sleep(0)
    give_up = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not session.room():
        if asyncio.get_running_loop().time() >= give_up:
            session.cut_off_slow()
            return
        await asyncio.sleep(_POLL_SECONDS)


class Sessions:
    """All open sessions, by id. `clock` tells monotonic seconds."""

    def __init__(
        self, limits: Limits, metrics: SimulatorMetrics, clock: Callable[[], float]
    ) -> None:
        self.limits = limits
        self._metrics = metrics
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._live: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def require_room(self, symbol: str, *, live: bool = False) -> None:
        """Refuse what `open` would refuse; a book costs more to make than to refuse.

        Raises:
            InvalidInput: a symbol that is none.
            Overloaded: too many sessions are open.
            Conflict: another session of the symbol is live.
        """
        if not 1 <= len(symbol) <= MAX_SYMBOL_LENGTH or not symbol.isprintable():
            raise InvalidInput(
                f"symbol: {symbol!r}; allowed: 1 to {MAX_SYMBOL_LENGTH} printable characters"
            )
        self.expire()
        if len(self._sessions) >= self.limits.sessions:
            raise Overloaded(f"{len(self._sessions)} sessions; allowed: {self.limits.sessions}")
        if live and symbol in self._live:
            raise Conflict(f"live: a session of {symbol} is live already; allowed: one")

    def open(
        self,
        symbol: str,
        instrument: Instrument | None = None,
        market: LiveMarket | None = None,
        *,
        live: bool = False,
    ) -> Session:
        """Open a session with an empty book, or with that of a market.

        Raises:
            Fault: as `require_room`.
        """
        self.require_room(symbol, live=live)
        book = OrderBook(instrument) if market is None else market.book
        session_id, now = secrets.token_hex(16), self._clock()
        session = Session(session_id, symbol, book, self.limits, now, market)
        self._sessions[session_id] = session
        if live:
            session.live = True
            self._live[symbol] = session
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

    def live_of(self, symbol: str) -> Session | None:
        """Return the live session of a symbol, and count it as used; None where there is none."""
        session = self._live.get(symbol)
        if session is not None:
            session.used_at = self._clock()
        return session

    async def apply(self, session_id: str, command: Command) -> tuple[Session, list[Numbered]]:
        """Apply a command in a session, once no move of its time is under way."""
        session = self.get(session_id)
        async with session.busy:
            self.require_open(session)
            try:
                return session, session.apply(command)
            finally:
                self.count_cut_off(session)

    async def advance(
        self, session_id: str, now_ns: int, keep_on: Callable[[], None]
    ) -> tuple[Session, Advanced]:
        """Move a session's time on, as `advance` of this module does."""
        session = self.get(session_id)
        async with session.busy:
            self.require_open(session)
            return session, await self.move(session, now_ns, keep_on)

    async def move(self, session: Session, now_ns: int, keep_on: Callable[[], None]) -> Advanced:
        """Move on the time of a session that the caller holds."""

        def still() -> None:
            keep_on()
            self.require_open(session)

        try:
            return await advance(session, now_ns, still)
        finally:
            session.used_at = self._clock()
            self.count_cut_off(session)

    def require_open(self, session: Session) -> None:
        """Raise `NotFound` where a session has ended meanwhile."""
        if session.session_id not in self._sessions:
            raise NotFound(f"session_id: {session.session_id!r} is not open any more")

    def count_cut_off(self, session: Session) -> None:
        """Count the listeners that were cut off since the last time."""
        if session.cut_off:
            self._metrics.cut_off.inc(session.cut_off)
            session.cut_off = 0

    def close(self, session_id: str) -> None:
        """End a session; `NotFound` where there is none."""
        self._drop(self.get(session_id))

    def close_all(self) -> None:
        """End every session."""
        for session in list(self._sessions.values()):
            self._drop(session)

    def expire(self) -> None:
        """End the sessions that nobody has used for too long; one whose time moves is in use."""
        oldest = self._clock() - self.limits.idle_seconds
        for session in list(self._sessions.values()):
            if session.used_at < oldest and not session.busy.locked():
                self._drop(session)

    def _drop(self, session: Session) -> None:
        del self._sessions[session.session_id]
        if self._live.get(session.symbol) is session:
            del self._live[session.symbol]
        session.end()
        self._count()

    def _count(self) -> None:
        self._metrics.sessions.set(len(self._sessions))

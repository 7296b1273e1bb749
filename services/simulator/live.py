"""Executions in live sessions: the provider says when, the session's source says what happens."""

from collections.abc import Callable, Sequence

from execution_providers.l3 import L3Provider
from execution_providers.l3_flow import OwnTrade
from execution_providers.types import ExecutionRequest, Fill
from lob import OrderBook
from lob.errors import DeadlineExceeded, InvalidInput, NotSupported
from lob.instrument import Instrument
from lob.types import Cancel, Event, Submit
from services.simulator.configured import Configured
from services.simulator.sessions import Session, Sessions
from services.simulator.subscriptions import Numbered, SourceEnded


class SessionBook:
    """A session's book as an execution sees it (`execution_providers.l3_live.LiveBook`)."""

    def __init__(self, session: Session, instrument: Instrument) -> None:
        self._session = session
        self.session_id = session.session_id
        self.name = "none" if session.market is None else session.market.name
        self.instrument = instrument
        self.counts = session.counts

    @property
    def book(self) -> OrderBook:
        """Return the session's book."""
        return self._session.book

    def enter(self, command: Submit) -> Sequence[Event]:
        """Let an order enter and return its events."""
        self._session.watched[command.order_id] = []
        return _plain(self._session.act(command))

    def trades(self, order_id: int) -> list[OwnTrade]:
        """Return the trades in which a resting order gave."""
        return [OwnTrade(*trade) for trade in self._session.watched.get(order_id, ())]

    def leave(self, order_id: int) -> None:
        """Take out what is left of an order."""
        self._session.watched.pop(order_id, None)
        if order_id in self._session.book:
            self._session.act(Cancel(order_id))

    def next_order_id(self) -> int:
        """Return an id that nobody has had."""
        return self._session.next_execution_id()


class LiveExecutions:
    """Execute in sessions' books, one at a time in each."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def session_for(self, request: ExecutionRequest, session_id: str | None) -> Session | None:
        """Return the session that a request executes in; None where it executes in none.

        Raises:
            NotFound: no such session.
            InvalidInput: it is of another symbol.
            NotSupported: it has no tick and lot size.
        """
        symbol = request.order.symbol
        if session_id is None:
            return self._sessions.live_of(symbol)
        session = self._sessions.get(session_id)
        if session.symbol != symbol:
            raise InvalidInput(
                f"order.symbol: {symbol!r}; allowed in this session: {session.symbol!r}"
            )
        return session

    async def execute(
        self,
        session: Session,
        request: ExecutionRequest,
        seed: int | None,
        under: Configured,
        remaining: Callable[[], float | None],
    ) -> Fill:
        """Return what becomes of one request in a session's book.

        Raises:
            DeadlineExceeded: the time was over first; the order is out of the book.
            Fault: what the provider refuses, or the session ended.
        """

        def keep_on() -> None:
            left = remaining()
            if left is not None and left <= 0:
                raise DeadlineExceeded("the deadline passed before the execution ended")

        instrument = session.book.instrument
        provider = under.providers[request.asset_class]
        if instrument is None or not isinstance(provider, L3Provider):
            raise NotSupported("session_id: the session has no instrument to execute in")
        async with session.busy:
            self._sessions.require_open(session)
            keep_on()
            book = SessionBook(session, instrument)
            steps = provider.execute_live(
                request.order, book, request.market, request.bar, seed=seed
            )
            try:
                while True:
                    await self._sessions.move(session, next(steps), keep_on)
            except StopIteration as ended:
                fill: Fill = ended.value
                return fill
            finally:
                steps.close()
                self._sessions.count_cut_off(session)


def _plain(events: Sequence[Numbered]) -> list[Event]:
    return [event for _, event, _ in events if not isinstance(event, SourceEnded)]

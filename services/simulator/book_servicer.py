"""BookService: sessions of the matching core, and replay of a feed file."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from execution_providers.slippage import plain
from lob.errors import InvalidInput
from lob.live_market import FIRST_OWN_ID
from lob.types import Cancel, Command, Reduce, Replace, Side
from services.simulator.book_messages import (
    event_to_proto,
    instrument_from_proto,
    levels_to_proto,
    stops_to_proto,
    submit_from_proto,
)
from services.simulator.faults import answering, require_time
from services.simulator.replays import ReplayAsked, Replays
from services.simulator.sessions import Session, Sessions
from services.simulator.sources import market_of, scale_from_proto
from touchstone.v1 import book_pb2 as pb
from touchstone.v1 import book_pb2_grpc

DEFAULT_LEVELS: Final = 10
MAX_LEVELS: Final = 1000


class BookServicer(book_pb2_grpc.BookServiceServicer):
    """Answer `touchstone.v1.BookService`."""

    def __init__(self, sessions: Sessions, replays: Replays, folder: Path | None) -> None:
        self._sessions = sessions
        self._replays = replays
        self._folder = folder

    async def OpenSession(  # noqa: N802
        self, request: pb.OpenSessionRequest, context: Any
    ) -> pb.OpenSessionResponse:
        """Open a session with an empty book, or one that a file or a generator drives."""
        async with answering(context):
            self._sessions.require_room(request.symbol, live=request.live)
            market = await market_of(request, self._folder)
            instrument = None
            if market is None:
                tick, lot = scale_from_proto(request)
                one = Decimal(1)
                instrument = replace(
                    instrument_from_proto(request), tick_size=tick or one, lot_size=lot or one
                )
            session = self._sessions.open(request.symbol, instrument, market, live=request.live)
            return self._opened(session)
        raise AssertionError  # the context manager has ended the call

    async def CloseSession(  # noqa: N802
        self, request: pb.CloseSessionRequest, context: Any
    ) -> pb.CloseSessionResponse:
        """Close a session."""
        async with answering(context):
            self._sessions.close(request.session_id)
            return pb.CloseSessionResponse()
        raise AssertionError

    async def Submit(self, request: pb.SubmitRequest, context: Any) -> pb.CommandResponse:  # noqa: N802
        """Submit an order; a refusal is an event, not a status."""
        async with answering(context):
            return await self._apply(request.session_id, submit_from_proto(request))
        raise AssertionError

    async def Cancel(self, request: pb.CancelRequest, context: Any) -> pb.CommandResponse:  # noqa: N802
        """Cancel a resting order."""
        async with answering(context):
            return await self._apply(request.session_id, Cancel(request.order_id))
        raise AssertionError

    async def Reduce(self, request: pb.ReduceRequest, context: Any) -> pb.CommandResponse:  # noqa: N802
        """Take lots off an order."""
        async with answering(context):
            return await self._apply(
                request.session_id, Reduce(request.order_id, request.quantity_lots)
            )
        raise AssertionError

    async def Advance(self, request: pb.AdvanceRequest, context: Any) -> pb.CommandResponse:  # noqa: N802
        """Move a session's time on, and let its source act until then."""
        async with answering(context):
            session, done = await self._sessions.advance(
                request.session_id, request.now_ns, lambda: require_time(context)
            )
            return pb.CommandResponse(
                events=[event_to_proto(*event) for event in done.events],
                now_ns=session.book.now_ns,
                source_events=done.source_events,
                source_ended=session.source_ended,
            )
        raise AssertionError

    async def Replace(self, request: pb.ReplaceRequest, context: Any) -> pb.CommandResponse:  # noqa: N802
        """Replace a resting order."""
        async with answering(context):
            command = Replace(request.order_id, request.price_ticks, request.quantity_lots)
            return await self._apply(request.session_id, command)
        raise AssertionError

    async def GetBook(self, request: pb.GetBookRequest, context: Any) -> pb.GetBookResponse:  # noqa: N802
        """Read a session's book."""
        async with answering(context):
            if not 0 <= request.levels <= MAX_LEVELS:
                raise InvalidInput(f"levels: {request.levels}; allowed: 0..{MAX_LEVELS}")
            session = self._sessions.get(request.session_id)
            book = session.book
            bids, asks = book.depth(request.levels or DEFAULT_LEVELS)
            return pb.GetBookResponse(
                bids=levels_to_proto(book, Side.BUY, bids, request.orders),
                asks=levels_to_proto(book, Side.SELL, asks, request.orders),
                sequence=session.sequence,
                state_hash=book.state_hash() if request.state_hash else None,
                stops=stops_to_proto(book) if request.orders else (),
                now_ns=book.now_ns,
                source_ended=session.source_ended,
            )
        raise AssertionError

    async def StreamEvents(  # noqa: N802
        self, request: pb.StreamEventsRequest, context: Any
    ) -> AsyncIterator[pb.BookEvent]:
        """Stream a session's events; the initial metadata says that the stream listens."""
        async with answering(context):
            session = self._sessions.get(request.session_id)
            subscription = session.subscribe(own_only=request.own_only)
            try:
                await context.send_initial_metadata(())
                while True:
                    yield event_to_proto(*await subscription.next())
            finally:
                session.unsubscribe(subscription)

    async def Replay(  # noqa: N802
        self, request: pb.ReplayRequest, context: Any
    ) -> AsyncIterator[pb.ReplayProgress]:
        """Rebuild a book from a file, telling how far it is; the last message has the summary."""
        async with answering(context):
            scale = scale_from_proto(request)
            asked = ReplayAsked(request.path, request.format, request.symbol, *scale)
            async with aclosing(self._replays.run(asked)) as progress:
                async for step in progress:
                    yield pb.ReplayProgress(
                        messages=step.messages,
                        messages_total=step.messages_total,
                        done=step.done,
                        summary=step.summary,
                        state_hash=step.state_hash,
                    )

    def _opened(self, session: Session) -> pb.OpenSessionResponse:
        instrument, market = session.book.instrument, session.market
        return pb.OpenSessionResponse(
            session_id=session.session_id,
            idle_timeout_seconds=self._sessions.limits.idle_seconds,
            first_own_order_id=1 if market is None else FIRST_OWN_ID,
            now_ns=session.book.now_ns,
            tick_size="" if instrument is None else plain(instrument.tick_size),
            lot_size="" if instrument is None else plain(instrument.lot_size),
            source="" if market is None else market.name,
        )

    async def _apply(self, session_id: str, command: Command) -> pb.CommandResponse:
        session, events = await self._sessions.apply(session_id, command)
        return pb.CommandResponse(
            events=[event_to_proto(*event) for event in events],
            now_ns=session.book.now_ns,
            source_ended=session.source_ended,
        )
